"""A lost secret key without a backup: said in one line at the start, and the way out of it, on both databases."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from paig_client.api.specs import KeySpec, ProviderSpec
from paig_client.cli import main
from paig_gateway.app import OpenDatabase
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.database.engine import open_engine, utc_now
from paig_gateway.ledger import nodes
from paig_gateway.ledger.nodes import Process
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.secrets.home import admin_token, secret_key
from paig_gateway.server import _announced, serve

SECRET = "sk-a-literal-that-is-lost"


@pytest.fixture
def home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a gateway that has a stored literal and a reference, two keys and an audit log."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PAIG_HOME", str(folder))
    monkeypatch.setenv("PAIG_DATABASE_URL", url)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("OTHER_KEY", "sk-by-reference")
    for name in ("PAIG_SECRET_KEY", "PAIG_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    store = OpenDatabase.open()
    store.catalog.providers.create("openai", ProviderSpec(kind="openai", credential=f"value:{SECRET}"), actor="test")
    store.catalog.providers.create("groq", ProviderSpec(kind="groq", credential="env:OTHER_KEY"), actor="test")
    store.catalog.keys.create("ci", KeySpec(), actor="test")
    store.engine.dispose()
    return folder


def paig(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of a command, and all that it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_a_lost_key_is_given_up(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The start names what is lost and the command; after it all else is as before, and the log shows it."""
    (home / "secret.key").unlink()
    assert serve(port=0) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot read the credentials of openai" in line
    assert "If it is lost, `paig secret reset` goes on without them." in line
    assert not (home / "secret.key").exists()  # a new one would fit nothing, and get into the next backup
    token, made = admin_token(home), secret_key(home)

    code, said = paig(capsys, "secret", "reset")
    assert (code, "--yes" in said) == (2, True)
    code, said = paig(capsys, "secret", "reset", "--yes")
    assert code == 0, said
    assert "paig providers update openai --credential -" in said
    assert "groq" not in said
    assert secret_key(home) != made

    store = OpenDatabase.open()
    directory = Directory(store.engine, store.vault)
    directory.refresh()
    assert directory.problem("groq") is None
    problem = directory.problem("openai") or ""
    assert "must be given again: `paig providers update openai --credential -`" in problem
    shown = store.catalog.providers.get("openai").credentials
    assert [one.reference for one in shown] == ["value:<lost: give it again>"]
    assert [key.name for key in store.catalog.keys.list()] == ["ci"]
    assert store.admin_token == token
    [newest, *_] = store.catalog.audit()
    assert (newest.actor, newest.action, newest.kind) == ("paig secret reset", "reset", "secret")
    assert (newest.after or {}).get("lost_credentials") == ["openai"]
    verified = store.catalog.verify_audit()
    assert (verified.problem, verified.rows) == (None, 4)

    store.catalog.providers.update("openai", {"credential": "value:sk-again"}, actor="test")
    directory.refresh()
    assert [one.secret for one in directory.providers()["openai"].credentials] == ["sk-again"]
    assert store.catalog.verify_audit().problem is None
    store.engine.dispose()
    assert paig(capsys, "secret", "reset", "--yes") == (
        0,
        "The secret key opens everything, so nothing was changed.\n",
    )


def test_what_is_altered_after_the_reset_is_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows whose key is lost are sealed as they were at the reset, and no other row makes up for their key."""
    (home / "secret.key").unlink()
    with pytest.raises(SecretKeyError):
        OpenDatabase.open()
    assert paig(capsys, "secret", "reset", "--yes")[0] == 0
    store = OpenDatabase.open()
    store.catalog.keys.create("later", KeySpec(), actor="test")
    assert store.catalog.verify_audit().problem is None
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE audit SET actor = 'innocent' WHERE name = 'ci'"))
    assert "were altered" in (store.catalog.verify_audit().problem or "")
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE audit SET actor = 'test' WHERE name = 'ci'"))
    assert store.catalog.verify_audit().problem is None
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE action = 'reset'"))
    assert "secret key that is not known" in (store.catalog.verify_audit().problem or "")
    store.engine.dispose()


def test_the_audit_log_s_key_alone_is_lost(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where every credential is a reference, the start says that no credential depends on the key."""
    store = OpenDatabase.open()
    store.catalog.providers.delete("openai", actor="test")
    store.engine.dispose()
    (home / "secret.key").unlink()
    assert serve(port=0) == 1
    assert "no credential is stored under it" in capsys.readouterr().err
    code, said = paig(capsys, "secret", "reset", "--yes", "--json")
    assert (code, '"lost_credentials": []' in said) == (0, True)
    store = OpenDatabase.open()
    assert store.catalog.verify_audit().problem is None
    store.engine.dispose()


def test_an_entry_of_the_keyring_that_is_gone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that names it is set aside, and a new key is made."""
    (home / "secret.key").write_text("keyring:paig/secret.key-00000000\n")
    assert paig(capsys, "secret", "reset", "--yes")[0] == 0
    assert (home / "secret.key.lost").read_text().startswith("keyring:")
    assert not secret_key(home).startswith("keyring:")
    OpenDatabase.open().engine.dispose()


def test_a_chosen_key_is_taken(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """PAIG_SECRET_KEY is the new key where it is set; the files stay."""
    kept = (home / "secret.key").read_text()
    monkeypatch.setenv("PAIG_SECRET_KEY", "a-weak-one")
    code, said = paig(capsys, "secret", "reset", "--yes")
    assert (code, "too weak" in said) == (1, True)
    monkeypatch.setenv("PAIG_SECRET_KEY", "another-secret-key-0123456789-abcdefgh")
    code, said = paig(capsys, "secret", "reset", "--yes")
    assert (code, "PAIG_SECRET_KEY" in said) == (0, True)
    OpenDatabase.open().engine.dispose()
    assert (home / "secret.key").read_text() == kept


def test_a_gateway_that_runs_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One with this home, and one elsewhere on the same database."""
    (home / "secret.key").unlink()
    with _announced(home, "http://127.0.0.1:8787"):
        code, said = paig(capsys, "secret", "reset", "--yes")
    assert (code, "http://127.0.0.1:8787: stop it first" in said) == (1, True)
    with pytest.raises(SecretKeyError):
        OpenDatabase.open()
    engine = open_engine(os.environ["PAIG_DATABASE_URL"])
    with engine.begin() as connection:
        other = Process(f"elsewhere {socket.gethostname()} -", 17)
        nodes.beat(connection, "node-2", other, nodes.now_ms(connection, utc_now))
    engine.dispose()
    code, said = paig(capsys, "secret", "reset", "--yes")
    assert (code, "process 17 on elsewhere" in said) == (1, True)


def test_the_command_as_a_program(home: Path) -> None:
    """From a shell: one line of why on standard error, and the exit code."""
    (home / "secret.key").unlink()
    program = [sys.executable, "-c", "from paig_client.cli import main; main()", "serve", "--port", "0"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_folder_that_no_gateway_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is most likely not the one that is meant: it stays as it is, and the command says so in one line."""
    monkeypatch.delenv("PAIG_DATABASE_URL", raising=False)
    monkeypatch.setenv("PAIG_HOME", str(tmp_path))
    for words in (("secret", "reset", "--yes"), ("secret", "rotate"), ("backup", str(tmp_path / "x.zip"))):
        code, said = paig(capsys, *words)
        assert (code, "is PAIG_HOME the gateway's?" in said) == (1, True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "file" / "home"))
    code, said = paig(capsys, "backup", str(tmp_path / "x.zip"))
    assert (code, "set PAIG_HOME to a folder you can write to" in said) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
