"""`paig apply` and `paig export` against a real gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.client.cli.conftest import Paig


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small configuration."""
    file = tmp_path / "paig.toml"
    file.write_text('[projects.applied]\nlimits = { daily = 3 }\n[keys.applied-key]\nproject = "applied"\n')
    return file


def test_a_plan_is_shown_applied_and_then_empty(paig: Paig, url: str, file: Path) -> None:
    """A dry run changes nothing; applying makes what was shown, once, and prints new keys."""
    dry = paig("apply", str(file), "--dry-run", "--url", url)
    made = "+ project applied\n    limits.daily: 3\n+ key applied-key\n    project: applied\n"
    assert (dry.code, dry.out) == (0, made)
    assert paig("projects", "show", "applied", "--url", url).code == 1
    done = paig("apply", str(file), "--url", url)
    assert done.code == 0
    assert done.out.startswith(f"{made}paig_")
    assert "Applied: 2 changes." in done.err
    again = paig("apply", str(file), "--url", url)
    assert (again.code, again.out, again.err) == (0, "", "Nothing to change.\n")
    file.write_text("[projects.applied]\nlimits = { daily = 4 }\n")
    assert paig("apply", str(file), "--url", url).out == "~ project applied\n    limits.daily: 3 → 4\n"
    assert json.loads(paig("projects", "show", "applied", "--json", "--url", url).out)["limits"]["daily"] == "4"


def test_the_plan_can_be_had_as_json_from_standard_input(paig: Paig, url: str) -> None:
    """`-` reads the configuration; the JSON has the steps."""
    ran = paig("apply", "-", "--dry-run", "--json", "--url", url, stdin="[users.piped]\n")
    plan = json.loads(ran.out)
    assert [(step["action"], step["kind"], step["name"]) for step in plan["items"]] == [("create", "user", "piped")]
    assert plan["keys"] == []


def test_what_was_changed_by_hand_is_shown(paig: Paig, url: str, tmp_path: Path) -> None:
    """With what the file puts right, and apart from it where the file does not name it."""
    file = tmp_path / "paig.toml"
    file.write_text("[projects.drifting]\nlimits = { daily = 3 }\n")
    assert paig("apply", str(file), "--url", url).code == 0
    assert "by hand" not in paig("apply", str(file), "--dry-run", "--url", url).out
    paig("projects", "update", "drifting", "--daily", "5", "--weekly", "9", "--url", url)
    paig("users", "create", "by-hand", "--url", url)
    shown = paig("apply", str(file), "--dry-run", "--url", url).out.splitlines()
    assert shown[:3] == ["~ project drifting", "    limits.daily: 5 → 3", "    limits.weekly: 9 → none"]
    assert shown[3].startswith("    changed by hand since the last apply, by ")
    assert shown[4] == "? user by-hand"
    assert shown[5].startswith("    made by hand since the last apply, by ")
    assert shown[5].endswith("; the file does not name it")
    plan = json.loads(paig("apply", str(file), "--json", "--url", url).out)
    assert [(entry["kind"], entry["name"]) for entry in plan["drift"]] == [("project", "drifting"), ("user", "by-hand")]
    assert paig("apply", str(file), "--url", url).err == "Nothing to change.\n"


def test_a_file_of_a_windows_editor(paig: Paig, url: str, tmp_path: Path) -> None:
    """With a byte order mark and CRLF it means the same."""
    file = tmp_path / "paig.toml"
    file.write_bytes(b"\xef\xbb\xbf[users.windows]\r\n")
    assert "+ user windows" in paig("apply", str(file), "--dry-run", "--url", url).out


def test_a_credential_that_cannot_be_read_is_told(paig: Paig, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is applied, since the first request would fail; a variable is looked up where the gateway runs."""
    monkeypatch.delenv("NO_SUCH_CREDENTIAL", raising=False)
    text = '[providers.spare]\nkind = "openai"\ncredential = "env:NO_SUCH_CREDENTIAL"\n'
    ran = paig("apply", "-", "--dry-run", "--url", url, stdin=text)
    assert ran.code == 0
    told = " ".join(ran.err.split())
    assert "Note: provider spare: the environment variable NO_SUCH_CREDENTIAL is not set where the gateway runs" in told


def test_pruning_asks_before_it_deletes(paig: Paig, url: str) -> None:
    """Without a terminal to ask at and without --yes nothing is deleted."""
    paig("users", "create", "prunable", "--url", url)
    exported = paig("export", "--url", url).out
    without = exported.replace("[users.prunable]\n", "")
    assert without != exported
    refused = paig("apply", "-", "--prune", "--url", url, stdin=without)
    assert refused.code == 2
    assert "- user prunable" in refused.out
    assert paig("users", "show", "prunable", "--url", url).code == 0
    assert paig("apply", "-", "--prune", "--yes", "--url", url, stdin=without).code == 0
    assert paig("users", "show", "prunable", "--url", url).code == 1


def test_an_export_applies_to_nothing_changed(paig: Paig, url: str) -> None:
    """What is exported is what is there."""
    exported = paig("export", "--url", url)
    assert exported.code == 0
    assert paig("apply", "-", "--url", url, stdin=exported.out).err == "Nothing to change.\n"


def test_a_wrong_file_is_refused_with_its_line(paig: Paig, url: str, file: Path, tmp_path: Path) -> None:
    """The gateway names line and field; a file that is not there is a usage error."""
    file.write_text("[projects.lab]\n\ncolour = 1\n")
    ran = paig("apply", str(file), "--url", url)
    assert ran.code == 1
    assert ran.err == f"{file}:3: projects.lab.colour: unknown field\n"
    both = paig("apply", "-", "--url", url, stdin='[users.a]\nx = 1\n[keys.b]\nuser = "c"\n')
    assert [line.split(": ")[0] for line in both.err.splitlines()] == ["paig.toml:2", "paig.toml:4"]
    assert paig("apply", str(tmp_path / "missing.toml"), "--url", url).code == 2
