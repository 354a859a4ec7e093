"""Backups: written while the gateway works, restored into an empty home folder and database, on both databases."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_client.cli import main
from paig_gateway.app import OpenDatabase
from paig_gateway.backup import BackupError, manifest, restore, write
from paig_gateway.server import _announced
from tests.gateway.databases import Postgres


@pytest.fixture
def store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenDatabase:
    """A gateway's store in a home folder of its own, with a provider and a key in it."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PAIG_DATABASE_URL", url)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("PAIG_SECRET_KEY", "PAIG_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    found = OpenDatabase.open()
    spec = ProviderSpec(kind="openai", credential="value:sk-upstream-secret-0123456789")
    found.catalog.providers.create("openai", spec, actor="test")
    found.catalog.keys.create("ci", KeySpec(limits=LimitsSpec.model_validate({"daily": "5"})), actor="test")
    return found


def elsewhere(
    store: OpenDatabase, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turn to another home folder and another, empty database of the same kind."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "other"))
    if store.engine.dialect.name == "sqlite":
        monkeypatch.setenv("PAIG_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("PAIG_DATABASE_URL", server.new_database())


def test_a_backup_is_restored_whole(
    store: OpenDatabase, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects, secrets and what they encrypt are as they were; the database was open all the time."""
    file = tmp_path / "backup.zip"
    made = write(file)
    assert made["rows"]["keys"] == made["rows"]["providers"] == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert manifest(file) == made
    elsewhere(store, request, tmp_path, monkeypatch)
    restore(file)
    again = OpenDatabase.open()
    assert again.admin_token == store.admin_token
    assert [key.name for key in again.catalog.keys.list()] == ["ci"]
    before, after = (one.catalog.providers.get("openai") for one in (store, again))
    assert after.credentials == before.credentials
    again.catalog.keys.create("second", KeySpec(), actor="test")  # numbers that the database gives out go on
    again.engine.dispose()
    store.engine.dispose()


def test_nothing_is_overwritten(store: OpenDatabase, tmp_path: Path) -> None:
    """Neither a file by a backup nor a gateway by a restore."""
    file = tmp_path / "backup.zip"
    write(file)
    with pytest.raises(BackupError, match="exists already"):
        write(file)
    with pytest.raises(BackupError, match=r"exists already|already: name an empty one"):
        restore(file)
    assert [key.name for key in store.catalog.keys.list()] == ["ci"]
    assert sorted(path.name for path in tmp_path.glob(".backup*")) == []
    store.engine.dispose()


def test_the_secrets_alone(store: OpenDatabase, tmp_path: Path) -> None:
    """Beside pg_dump, they are all that is missing."""
    file = tmp_path / "secrets.zip"
    assert write(file, secrets_only=True)["database"] == "none"
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == ["admin.token", "manifest.json", "secret.key"]
        assert archive.read("admin.token").decode() == store.admin_token
    store.engine.dispose()


def test_what_is_not_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused in one line that says so."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "home"))
    file = tmp_path / "x"
    file.write_text("no archive")
    with pytest.raises(BackupError, match="is not a backup of paig"):
        restore(file)


def test_a_damaged_database_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the start of the gateway; no half of a file is left."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path))
    monkeypatch.delenv("PAIG_DATABASE_URL", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("PAIG_SECRET_KEY", "s" * 44)
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "t" * 44)
    (tmp_path / "paig.db").write_bytes(b"no database")
    with pytest.raises(BackupError, match=r"is damaged .* restore a backup"):
        write(tmp_path / "x.zip")
    assert list(tmp_path.glob("*.zip")) == []


@pytest.mark.parametrize("secrets_only", [False, True])
def test_a_backup_makes_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secrets_only: bool
) -> None:
    """In a folder without secrets it is refused: new ones would open nothing that the gateway stored."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path))
    for name in ("PAIG_DATABASE_URL", "PAIG_SECRET_KEY", "PAIG_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["backup", str(tmp_path / "x.zip"), *(["--secrets-only"] if secrets_only else [])])
    assert ended.value.code == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "secret.key, and PAIG_SECRET_KEY is not set: is PAIG_HOME the gateway's?" in told
    assert list(tmp_path.iterdir()) == []


def test_a_restore_is_refused_while_a_gateway_runs(
    store: OpenDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where its secrets come from the environment, so that nothing in the folder would be overwritten."""
    file, home = tmp_path / "backup.zip", tmp_path / "other"
    write(file)
    home.mkdir()
    monkeypatch.setenv("PAIG_HOME", str(home))
    with _announced(home, "http://127.0.0.1:8787"), pytest.raises(SystemExit) as ended:
        main(["restore", str(file), "--yes"])
    assert ended.value.code == 1
    assert "a gateway runs with this PAIG_HOME at http://127.0.0.1:8787" in capsys.readouterr().err
    assert not (home / "secret.key").exists()
    store.engine.dispose()
