"""What all commands have in common: help at a gauges, JSON, questions, exit codes, and ends without a traceback."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.cells import cell_len

from paig_client.cli.app import app
from tests.client.cli.conftest import Paig

# They answer with something that is no data, or with nothing.
WITHOUT_JSON = {"serve", "demo", "tui", "export", "login", "logout", "run", "setup", "import litellm", "secret rotate"}
# What cannot be taken back.
DANGEROUS = {"delete", "revoke", "rotate", "prune", "apply", "setup", "restore", "reset"}


def tree(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group, with its words."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from tree(inner, *words, name)


PAIG = typer.main.get_command(app)
COMMANDS = dict(tree(PAIG))


def options(command: Any) -> set[str]:
    """What a command takes."""
    return {name for parameter in command.params for name in parameter.opts}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_read_at_a_glance(narrow: None, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It fits 80 columns, a list has a line for each command, each option is explained, no switch has a type."""
    PAIG.main([*words, "--help"], prog_name="paig", standalone_mode=False)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert "bool" not in shown
    panel = ""
    for line in lines:
        panel = line.split()[1] if line.startswith("╭") else panel
        if getattr(COMMANDS[words], "commands", None) and panel not in ("", "Options") and line.startswith("│"):
            assert not line.startswith("│   "), f"the summary goes on over a line: {line}"
    explained = [p for p in COMMANDS[words].params if not getattr(p, "hidden", False) and not p.help]
    assert [p.name for p in explained] == []


def test_options_of_settings_say_what_they_do() -> None:
    """Their help is the docstring of the setting, not a sentence made of its name."""
    for words, command in COMMANDS.items():
        for parameter in command.params:
            made = f"Its {parameter.name.replace('_', ' ')}."
            assert made not in (getattr(parameter, "help", None) or ""), (words, parameter.name)


LEAVES = {words: command for words, command in COMMANDS.items() if words and "commands" not in dir(command)}


@pytest.mark.parametrize("words", [words for words in LEAVES if words != ("usage",)], ids=" ".join)
def test_every_example_can_be_typed(words: tuple[str, ...]) -> None:
    """Each help ends in an example of its own command, whose options and arguments are right."""
    example = LEAVES[words].epilog.removeprefix("Example: ")
    line = re.sub(r'^eval "\$\((.*)\)"$', r"\1", example).partition(" > ")[0]
    given = shlex.split(line)
    assert given[: len(words) + 1] == ["paig", *words]
    rest = [__file__ if word in ("paig.toml", "paig-backup.zip", "config.yaml") else word for word in given]
    LEAVES[words].make_context(words[-1], rest[len(words) + 1 :])


def test_every_command_takes_json() -> None:
    """Whatever answers with data gives it as JSON, too."""
    leaves = {words for words, command in COMMANDS.items() if words and "commands" not in dir(command)}
    assert {" ".join(words) for words in leaves if "--json" not in options(COMMANDS[words])} == WITHOUT_JSON


def test_every_dangerous_verb_asks() -> None:
    """What cannot be taken back is asked about, and takes --yes."""
    asking = {words for words, command in COMMANDS.items() if "--yes" in options(command)}
    assert asking == {words for words in COMMANDS if words and words[-1] in DANGEROUS and words != ("secret", "rotate")}


@pytest.mark.parametrize("kind", ["keys", "projects", "users", "providers", "routes", "prices", "admins", "tokens"])
def test_nothing_is_deleted_without_an_answer(paig: Paig, kind: str) -> None:
    """Without a terminal to ask at, the gateway is not contacted."""
    verb = "revoke" if kind == "tokens" else "delete"
    ran = paig(kind, verb, "x", "--url", "http://127.0.0.1:9")
    assert (ran.code, ran.out) == (2, "")
    assert "add --yes" in ran.err


def test_deletions_are_told_in_json(paig: Paig, url: str) -> None:
    """Of each kind; scripts read what is gone."""
    at = ("--url", url)
    for kind, rest in (
        ("projects", ()),
        ("users", ()),
        ("keys", ()),
        ("providers", ("--kind", "openai", "--credential", "env:X")),
        ("prices", ("--rate", "input_mtok=1")),
        ("admins", ("--role", "viewer")),
    ):
        assert paig(kind, "create", "going", *rest, *at).code == 0
        assert paig(kind, "delete", "going", "--yes", "--json", *at).out.split() == ["{", '"deleted":', '"going"', "}"]


def test_the_organisation_has_limits(paig: Paig, url: str) -> None:
    """They are shown with a bar, changed one by one, and lifted."""
    at = ("--url", url)
    assert "The gateway as a whole has no limit" in paig("organisation", "show", *at).err
    try:
        assert paig("organisation", "update", "--daily", "1000", "--soft", *at).code == 0
        assert paig("organisation", "update", "--requests-per-minute", "60000", *at).code == 0
        assert "No such option" in paig("organisation", "update", "--model", "gpt-5", *at).err
        shown = paig("organisation", "show", *at).out
        assert "$1,000.00" in shown
        assert "requests/minute" in shown
        assert "░" in shown
        assert '"soft": true' in paig("organisation", "show", "--json", *at).out
    finally:
        lifted = ("--daily", "none", "--requests-per-minute", "none", "--hard")
        assert paig("organisation", "update", *lifted, *at).code == 0
    assert "The gateway as a whole has no limit" in paig("organisation", "show", *at).err


@pytest.mark.parametrize("command", [["keys", "list"], ["usage"], ["tail"], ["apply", "-"]], ids=" ".join)
def test_a_server_that_is_not_a_gateway_is_reported(
    paig: Paig, gateway: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """What else answers at an address is not quoted at length: the address is what is wrong."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", "any")
    ran = paig(*command, "--url", f"{gateway}/elsewhere", stdin="")
    assert (ran.code, ran.out) == (3, "")
    assert "is not a paig gateway: it says HTTP 404" in ran.err
    assert "<h1>" not in ran.err
    ran = paig(*command, "--url", "ftp://x", stdin="")
    assert (ran.code, ran.out) == (2, "")


def start(*words: str, **more: Any) -> subprocess.Popen[str]:
    """A real `paig …` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from paig_client.cli import main; main()", *words],
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_closing_the_pipe_early_is_not_a_failure(url: str) -> None:
    """`paig usage | head -1` ends without a word, whatever was still to come."""
    reading, writing = os.pipe()
    os.close(reading)
    commands = [("usage", "--csv", "--url", url), ("keys", "list", "--json", "--url", url), ("--help",)]
    running = [start(*words, stdout=writing) for words in commands]
    os.close(writing)
    for process in running:
        assert (process.communicate(timeout=20)[1], process.returncode) == ("", 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
def test_a_full_disk_is_told_of(url: str) -> None:
    """What cannot be written is a failure of one line."""
    with open("/dev/full", "w") as full, start("keys", "list", "--json", "--url", url, stdout=full) as process:
        assert process.communicate(timeout=20)[1] == "paig: No space left on device\n"
    assert process.returncode == 1


@pytest.mark.parametrize("after", [0.05, 0.6])
def test_ctrl_c_ends_without_a_traceback(after: float) -> None:
    """Whenever it comes once the command has begun: while it still loads, or while it waits for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # Where the tests run in the background, the shell lets them ignore Ctrl+C.
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        code += "import paig_client.cli, sys; print(flush=True); paig_client.cli.main()"
        words = [sys.executable, "-c", code, "keys", "list", "--url", address]
        variables = {**os.environ, "PAIG_ADMIN_TOKEN": "t"}
        with subprocess.Popen(
            words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(after)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=20)[1]
    assert (said, process.returncode) == ("", 130)
