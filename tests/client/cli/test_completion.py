"""What the shell offers at Tab, asked as bash asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paig_client import profiles
from paig_client.cli.completion import GROUPS, KINDS
from tests.client.cli.conftest import Paig
from tests.client.double import TOKEN, Double

Offered = Callable[..., list[str]]


@pytest.fixture
def offered(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What is offered for the last of these words."""

    def ask(*words: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv("_PAIG_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", " ".join(["paig", *words]))
            patch.setenv("COMP_CWORD", str(len(words)))
            ran = paig()
        assert ran.code == 0
        return ran.out.split()

    return ask


@pytest.fixture
def administrator(gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch) -> str:
    """A profile and a token for the double, which has an object of each kind."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    profiles.write(profiles.Contents(profiles={"default": gateway, "prod": gateway}))
    return gateway


# The double has no others; the next test asks a real gateway.
@pytest.mark.parametrize("kind", sorted({*KINDS} - {"prices", "admins", "tokens"}))
def test_names_come_from_the_gateway(offered: Offered, administrator: str, paig: Paig, kind: str) -> None:
    """Each group offers the names of its own kind, as far as they begin so."""
    create = {"providers": ["--kind", "openai"], "routes": ["--member", "openai"]}.get(kind, [])
    for name in ("first", "second"):
        assert paig(kind, "create", name, *create).code == 0
    assert offered(kind, "show", "f") == ["first"]
    assert offered(kind, "delete", "") == ["first", "second"]


def test_names_of_prices_and_admins_and_ids_of_tokens(offered: Offered, url: str, paig: Paig) -> None:
    """So do these; a token is known by its id, for each admin may call theirs the same."""
    at = ("--url", url)
    assert paig("prices", "create", "tab-model", "--rate", "input_mtok=1", *at).code == 0
    assert paig("admins", "create", "tabby", "--role", "viewer", *at).code == 0
    made = json.loads(paig("tokens", "create", "laptop", "--admin", "tabby", "--json", *at).out)
    try:
        assert offered("prices", "show", *at, "tab") == ["tab-model"]
        assert offered("admins", "update", *at, "tab") == ["tabby"]
        assert offered("tokens", "revoke", *at, made["id"][:8]) == [made["id"]]
    finally:
        paig("prices", "delete", "tab-model", "--yes", *at)
        paig("admins", "delete", "tabby", "--yes", *at)


@pytest.mark.parametrize(
    ("shell", "file", "asked"),
    [
        ("bash", ".bash_completions/paig.sh", {"COMP_WORDS": "paig keys rot", "COMP_CWORD": "2"}),
        ("zsh", ".zfunc/_paig", {"_TYPER_COMPLETE_ARGS": "paig keys rot"}),
        (
            "fish",
            ".config/fish/completions/paig.fish",
            {"_TYPER_COMPLETE_ARGS": "paig keys rot", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        ),
    ],
)
def test_completion_is_installed(
    paig: Paig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, file: str, asked: dict[str, str]
) -> None:
    """`--install-completion` leaves a script where the shell looks, and what that asks is answered."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert paig("--install-completion", shell).code == 0
    script = (tmp_path / file).read_text()
    assert f"_PAIG_COMPLETE=complete_{shell}" in script
    for name, value in {**asked, "_PAIG_COMPLETE": f"complete_{shell}"}.items():
        assert name in script
        monkeypatch.setenv(name, value)
    assert "rotate" in paig().out


def test_bash_completes(tmp_path: Path) -> None:
    """A real bash that has read the script offers what begins so."""
    line = """
        eval "$(paig --show-completion bash)"
        COMP_WORDS=(paig keys ro); COMP_CWORD=2; _paig_completion paig; echo "${COMPREPLY[@]}"
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True, timeout=20, check=False)
    assert (ran.stdout, ran.stderr) == ("rotate\n", "")


def test_options_that_take_names_offer_them(offered: Offered, administrator: str, paig: Paig) -> None:
    """Projects where a project is due, groups for --by, clients for --for, profiles for --profile."""
    assert paig("projects", "create", "research").code == 0
    assert offered("keys", "create", "x", "--project", "r") == ["research"]
    assert offered("usage", "--project", "") == ["research"]
    assert offered("usage", "--by", "") == sorted([*GROUPS, "tag:"])
    assert offered("env", "--for", "gem") == ["gemini-cli", "gemini-cli-vertex"]
    assert offered("keys", "list", "--profile", "p") == ["prod"]


def test_nothing_is_offered_where_no_gateway_answers(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion never fails and never complains."""
    assert offered("keys", "show", "") == []
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    assert offered("keys", "show", "--url", "http://127.0.0.1:9", "") == []
    profiles.path().parent.mkdir(parents=True)
    profiles.path().write_text("damaged")
    assert offered("keys", "list", "--profile", "") == []
