"""The client's pages name everything there is; `tests/test_docs.py` runs their snippets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import typer.main

import paig_client
from paig_client.api.resources import ProviderOutcome
from paig_client.cli.app import app
from paig_client.environment import CLIENTS
from paig_client.errors import TYPES
from paig_client.providers import KINDS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {page.stem: page.read_text("utf-8") for page in (DOCS / "client").glob("*.md")}


def commands(group: object, path: str) -> Iterator[str]:
    """Every command below a group, as it is written."""
    below = getattr(group, "commands", None)
    if below is None:
        yield path
        return
    for name, command in below.items():
        yield from commands(command, f"{path} {name}")


@pytest.mark.parametrize("command", list(commands(typer.main.get_command(app), "paig")))
def test_every_command_is_documented(command: str) -> None:
    """The page of the command line has it in its table."""
    assert f"`{command}`" in PAGES["command-line"]


@pytest.mark.parametrize("name", paig_client.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """Some page of the client names it."""
    assert any(name in page for page in PAGES.values())


def test_every_client_is_documented() -> None:
    """`--for` takes what the page of clients lists."""
    page = (DOCS / "clients.md").read_text("utf-8")
    assert [name for name in CLIENTS if f"`{name}`" not in page] == []


def test_each_client_has_its_page() -> None:
    """The pages are what `scripts/client_pages.py` writes from the tables, and no client is left out."""
    check = [sys.executable, "scripts/client_pages.py", "--check"]
    done = subprocess.run(check, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "clients").glob("*.md"))
    listed = {name for name, client in CLIENTS.items() if client.agent}
    assert {name for name in listed if f"--for {name}" not in pages} == set()


def test_every_code_is_documented_with_its_type() -> None:
    """The table of exceptions is the code's."""
    for code, kind in TYPES.items():
        [line] = [line for line in PAGES["errors"].splitlines() if line.startswith(f"| `{kind.__name__}`")]
        assert f"`{code}`" in line


def test_every_outcome_of_a_test_is_documented() -> None:
    """The page of providers says what each means and what to do."""
    page = (DOCS / "providers.md").read_text("utf-8")
    assert [name for name in get_args(ProviderOutcome) if f"`{name}`" not in page] == []


def test_every_spelling_is_documented() -> None:
    """What can be written after `gateway/` is on its page."""
    assert [name for name in KINDS if f"`{name}`" not in PAGES["pydantic-ai"]] == []
