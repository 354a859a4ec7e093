"""`paig setup`: a client's own settings get the gateway, and are put back."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from paig_client.setup import SETUPS
from tests.client.cli.conftest import Paig

KEY = "paig_0123456789"


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder, and a key for a gateway."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    return tmp_path / "person"


@pytest.fixture
def paig(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Paig:
    """The command line."""
    return Paig(capsys, monkeypatch)


@pytest.mark.parametrize("client", sorted(SETUPS))
def test_settings_are_written_and_put_back(paig: Paig, person: Path, client: str) -> None:
    """The change is shown without the key; a file that was not there goes again."""
    assert paig("setup", client).code == 2  # nobody to ask
    ran = paig("setup", client, "--yes")
    assert ran.code == 0, ran.err
    assert KEY not in ran.out
    written = [person / name for name in SETUPS[client].files]
    assert "http://127.0.0.1:8787/proxy" in "".join(path.read_text() for path in written)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in written)
    assert "already" in paig("setup", client, "--yes").err
    assert paig("setup", client, "--undo").code == 0
    assert not any(path.exists() for path in written)
    assert paig("setup", client, "--undo").code == 1


def test_settings_that_are_there_stay(paig: Paig, person: Path) -> None:
    """Other settings are kept; putting back gives the file byte for byte, even after a second setup."""
    file = person / ".claude/settings.json"
    file.parent.mkdir(parents=True)
    before = '{"theme": "dark",   "env": {"ANTHROPIC_BASE_URL": "https://elsewhere.example", "A": "b"}}'
    file.write_text(before)
    assert paig("setup", "claude-code", "--yes").code == 0
    found = json.loads(file.read_text())
    assert (found["theme"], found["env"]["A"]) == ("dark", "b")
    assert found["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8787/proxy/anthropic"
    assert paig("setup", "claude-code", "--yes", "--url", "http://127.0.0.1:9000").code == 0
    assert paig("setup", "claude-code", "--undo").code == 0
    assert file.read_text() == before


def test_a_file_that_was_changed_since_is_left_alone(paig: Paig, person: Path) -> None:
    """What the person wrote after the setup is theirs."""
    paig("setup", "claude-code", "--yes")
    file = person / ".claude/settings.json"
    file.write_text("{}")
    ran = paig("setup", "claude-code", "--undo")
    assert (ran.code, "changed since" in ran.err) == (1, True)
    assert file.read_text() == "{}"


def test_codex_keeps_its_other_providers(paig: Paig, person: Path) -> None:
    """The provider is chosen at the top, described at the end, and set up twice it stands there once."""
    file = person / ".codex/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('model = "gpt-5"\nmodel_provider = "other"\n\n[model_providers.other]\nname = "other"\n')
    for _ in range(2):
        assert paig("setup", "codex", "--yes").code == 0
        file.write_text(file.read_text() + "\n")
    found = tomllib.loads(file.read_text())
    assert (found["model"], found["model_provider"]) == ("gpt-5", "paig")
    assert found["model_providers"]["other"] == {"name": "other"}
    assert found["model_providers"]["paig"]["wire_api"] == "responses"
    assert found["model_providers"]["paig"]["supports_websockets"] is True


def test_what_cannot_be_edited_is_said(paig: Paig, person: Path) -> None:
    """A file with comments is not rewritten; an unknown client is answered with the nearest."""
    file = person / ".claude/settings.json"
    file.parent.mkdir(parents=True)
    file.write_text("// mine\n{}")
    ran = paig("setup", "claude-code", "--yes")
    assert (ran.code, "not plain JSON" in ran.err) == (1, True)
    assert file.read_text() == "// mine\n{}"
    assert "Did you mean 'codex'?" in paig("setup", "kodex").err
