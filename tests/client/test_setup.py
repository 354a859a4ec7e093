"""`paig setup`: a client's own settings get the gateway, and are put back."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
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


def test_other_modes_of_claude_code_are_turned_off(paig: Paig, person: Path) -> None:
    """In Vertex mode it would send the key to the address that the settings name for that."""
    file = person / ".claude/settings.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        '{"env": {"CLAUDE_CODE_USE_VERTEX": "1", "ANTHROPIC_VERTEX_BASE_URL": "https://elsewhere.example"}}'
    )
    assert paig("setup", "claude-code", "--yes").code == 0
    env = json.loads(file.read_text())["env"]
    assert env["CLAUDE_CODE_USE_VERTEX"] == ""
    assert "CLAUDE_CODE_USE_BEDROCK" not in env


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


@pytest.mark.parametrize(
    ("client", "name", "before"),
    [
        ("claude-code", ".claude/settings.json", b'\xef\xbb\xbf// mine\r\n{\r\n\t"env": {},\r\n}\r\n'),
        ("codex", ".codex/config.toml", b'# mine\r\nmodel = "gpt-5" # why\r\n\r\n[tui]\r\ntheme = "x"\r\n'),
        ("gemini-cli", ".gemini/.env", b"export GEMINI_API_KEY='old'\r\nOTHER=1"),
        ("opencode", ".config/opencode/opencode.jsonc", b'{\n  // mine\n  "theme": "x",\n}\n'),
    ],
)
def test_undo_gives_back_every_byte(paig: Paig, person: Path, client: str, name: str, before: bytes) -> None:
    """Line ends, comments, permissions and a link into a repository of dotfiles stay, in both directions."""
    target = person / "dotfiles" / Path(name).name
    target.parent.mkdir(parents=True)
    target.write_bytes(before)
    target.chmod(0o644)
    link = person / name
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    for url in ("http://127.0.0.1:8787", "http://127.0.0.1:9000"):
        assert paig("setup", client, "--yes", "--url", url).code == 0
        assert link.is_symlink()
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    written = target.read_bytes()
    assert (b"mine" in written, written.count(b"\r\n") > 1) == (b"mine" in before, b"\r\n" in before)
    assert paig("setup", client, "--undo").code == 0
    assert (link.is_symlink(), target.read_bytes()) == (True, before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_a_link_that_leads_nowhere_is_kept(paig: Paig, person: Path) -> None:
    """The file is made where the link points, and goes again."""
    link = person / ".codex/config.toml"
    link.parent.mkdir(parents=True)
    target = person / "dotfiles.toml"
    link.symlink_to(target)
    assert paig("setup", "codex", "--yes").code == 0
    assert target.is_file()
    assert paig("setup", "codex", "--undo").code == 0
    assert (link.is_symlink(), target.exists()) == (True, False)


def test_files_are_found_where_the_client_reads_them(paig: Paig, person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claude Code and Codex can be told of another folder."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(person / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(person / "codex"))
    for client, name in (("claude-code", "claude/settings.json"), ("codex", "codex/config.toml")):
        assert paig("setup", client, "--yes").code == 0
        assert (person / name).is_file()
        assert paig("setup", client, "--undo").code == 0
        assert not (person / name).exists()
    assert not (person / ".codex").exists()


def test_a_setup_that_ends_half_way_can_be_undone(paig: Paig, person: Path) -> None:
    """If the second file cannot be written, the first is put back, and the second is as it was."""
    (person / ".gemini/.env").mkdir(parents=True)
    ran = paig("setup", "gemini-cli", "--yes")
    assert (ran.code, "cannot read" in ran.err) == (1, True)
    assert not (person / ".gemini/settings.json").exists()
    (person / ".gemini/.env").rmdir()
    assert paig("setup", "gemini-cli", "--yes").code == 0
    (person / ".gemini/.env").unlink()  # as if it had not been written
    assert paig("setup", "gemini-cli", "--undo").code == 0
    assert not (person / ".gemini/settings.json").exists()


@pytest.mark.parametrize(
    ("client", "name", "text"),
    [
        ("claude-code", ".claude/settings.json", b"[]"),
        ("claude-code", ".claude/settings.json", b'{"env": '),
        ("claude-code", ".claude/settings.json", '{"env": {}}'.encode("utf-16")),
        ("codex", ".codex/config.toml", b"model_providers = { paig = { name = 'x' } }\n"),
        ("codex", ".codex/config.toml", b"model = \n"),
        (
            "qwen-code",
            ".qwen/settings.json",
            b'{"modelProviders": {"openai": [{"baseUrl": "https://elsewhere.example"}]}}',
        ),
    ],
)
def test_what_cannot_be_edited_is_left_alone(paig: Paig, person: Path, client: str, name: str, text: bytes) -> None:
    """The message names the file."""
    file = person / name
    file.parent.mkdir(parents=True)
    file.write_bytes(text)
    ran = paig("setup", client, "--yes")
    assert (ran.code, f"{file}: " in ran.err) == (1, True)
    assert file.read_bytes() == text


def test_an_unknown_client_is_answered_with_the_nearest(paig: Paig) -> None:
    """And those that have a setup are listed."""
    assert "Did you mean 'codex'?" in paig("setup", "kodex").err


@pytest.mark.parametrize(
    ("client", "folder", "stem", "edited"),
    [("opencode", ".config/opencode", "opencode", ".jsonc"), ("claude-code", ".claude", "settings", ".json")],
)
def test_of_two_files_the_one_that_counts_is_edited(
    paig: Paig, person: Path, client: str, folder: str, stem: str, edited: str
) -> None:
    """OpenCode merges both, and the one with comments wins; other clients know only the plain one."""
    plain, commented = (person / folder / f"{stem}{suffix}" for suffix in (".json", ".jsonc"))
    plain.parent.mkdir(parents=True)
    for file in (plain, commented):
        file.write_text("{}")
    assert paig("setup", client, "--yes").code == 0
    assert [file.suffix for file in (plain, commented) if KEY in file.read_text()] == [edited]


@pytest.mark.parametrize(
    ("client", "name", "before"),
    [
        ("claude-code", ".claude/settings.json", '{"env": {"ANTHROPIC_AUTH_TOKEN": "private 1", "A": "b"}}'),
        (
            "claude-code",
            ".claude/settings.json",
            '{\n  "env": {\n    "ANTHROPIC_API_KEY": "private",\n    "A": "b"\n  }\n}',
        ),
        ("gemini-cli", ".gemini/.env", "GEMINI_API_KEY='private'\nOTHER_SECRET=private\nA=b"),
        ("codex", ".codex/config.toml", '[model_providers.paig]\nexperimental_bearer_token = "private"\nname = "A"'),
    ],
)
def test_secrets_of_a_file_are_not_shown(paig: Paig, person: Path, client: str, name: str, before: str) -> None:
    """Neither those that the key replaces nor those beside it; the rest is."""
    file = person / name
    file.parent.mkdir(parents=True)
    file.write_text(before)
    ran = paig("setup", client, "--yes")
    assert (ran.code, "private" in ran.out, KEY in ran.out) == (0, False, False)
    assert "paig_…" in ran.out
    assert "A" in ran.out


@pytest.mark.parametrize(
    ("client", "name", "text", "setting"),
    [
        ("opencode", "opencode.json", '{"provider": {"a": {"options": {"baseURL": "https://x.example"}}}}', "baseURL"),
        ("opencode", ".opencode/opencode.jsonc", '{\n  // "baseURL": "x"\n  "apiKey": "sk-mine"\n}', "apiKey"),
        ("claude-code", ".claude/settings.local.json", '{"CLAUDE_CODE_USE_VERTEX": "1"}', "CLAUDE_CODE_USE_VERTEX"),
        ("claude-code", ".claude/settings.json", '{"apiKeyHelper": "cat key"}', "apiKeyHelper"),
        ("codex", ".codex/config.toml", 'model = "gpt-5"\nmodel_provider = "other"\n', "model_provider"),
        ("gemini-cli", ".env", "A=b\nGOOGLE_GEMINI_BASE_URL=https://x.example\n", "GOOGLE_GEMINI_BASE_URL"),
        ("qwen-code", ".qwen/settings.json", '{"security": {"auth": {"baseUrl": "https://x.example"}}}', "baseUrl"),
    ],
)  # fmt: skip
def test_a_projects_own_settings_are_told(
    paig: Paig, person: Path, monkeypatch: pytest.MonkeyPatch, client: str, name: str, text: str, setting: str
) -> None:
    """They win over what `paig setup` writes, from any folder of the project; those that name the gateway are right."""
    project = person / "project"
    inside = project / "src"
    inside.mkdir(parents=True)
    (project / ".git").mkdir()
    monkeypatch.chdir(inside)
    assert "wins over" not in paig("setup", client, "--yes").err
    file = project / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    told = paig("setup", client, "--yes").err
    assert f"{file} has {setting}, which wins over" in told
    assert "remove it, or use `paig run -- " in told
    assert told.count("wins over") == 1
    for right in (f'"http://127.0.0.1:8787/proxy/a"\n{setting} = "http://127.0.0.1:8787"', "'{env:PAIG_API_KEY}'"):
        file.write_text(f"{setting} = {right}")
        assert "wins over" not in paig("setup", client, "--yes").err
    for wrong in (
        "http://127.0.0.1:8787.example",
        "http://127.0.0.1:8787@a.example",
        "https://a.example/{env:PAIG_API_KEY}",
    ):
        file.write_text(f"{setting}: '{wrong}?http://127.0.0.1:8787/'")
        assert f"{file} has {setting}" in paig("setup", client, "--yes").err


@pytest.mark.parametrize(
    ("client", "name", "text"),
    [
        ("codex", ".codex/config.toml", 'model_provider = "paig"'),
        ("gemini-cli", ".gemini/settings.json", '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'),
        ("qwen-code", ".qwen/settings.json", '{"security": {"auth": {"selectedType": "openai"}}}'),
    ],
)
def test_a_projects_settings_may_choose_the_gateway(
    paig: Paig, person: Path, monkeypatch: pytest.MonkeyPatch, client: str, name: str, text: str
) -> None:
    """A project may have the setting that `paig setup` writes."""
    file = person / "project" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.chdir(person / "project")
    assert "wins over" not in paig("setup", client, "--yes").err
    file.write_text(text.replace('": "', '": "x').replace('= "', '= "x'))
    assert f"{file} has " in paig("setup", client, "--yes").err


def test_a_run_tells_what_it_overrides(person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, and the client is started. A pipe is not waited for, and blank lines take no time."""
    project, programs = person / "project", person / "bin"
    for folder in (project, programs):
        folder.mkdir(parents=True)
    settings = '{"provider": {"x": {"options": {"baseURL": "https://x.example"}}}}'
    (project / "opencode.json").write_text("\n" * 500_000 + settings)
    os.mkfifo(project / "opencode.jsonc")
    program = programs / "opencode"
    program.write_text("#!/bin/sh\necho started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.chdir(project)
    code = "from paig_client.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "run", "opencode"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (0, "started\n")
    assert ran.stderr.count("\n") == 1
    assert "opencode.json has baseURL" in ran.stderr
    assert "when OpenCode is started without `paig run`" in ran.stderr
