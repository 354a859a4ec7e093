"""Documentation that is true: its snippets run, its tables name everything there is."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import httpx2
import pytest
import typer.main
from pydantic import BaseModel

from paig_client import admin, cli
from paig_client.api import specs as written
from paig_client.api.errors import STATUS
from paig_client.api.limits import LimitsSpec
from paig_client.api.vocabulary import Certainty
from paig_client.cli.app import HELP, app
from paig_gateway import config
from paig_gateway.admin.problem_codes import PROBLEMS
from paig_gateway.config import Config, ServerSpec
from paig_gateway.config.parse import TABLES
from paig_gateway.providers.kinds import KINDS
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, environment, running_world, simulated_providers
from tests.gateway.end_to_end.test_batches import jsonl
from tests.gateway.end_to_end.test_bucket_batches import asked, record
from tests.gateway.end_to_end.test_bucket_batches import providers as with_buckets

__all__ = ["environment"]
pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(language: str) -> list[object]:
    """Every fenced block of a language, as test parameters."""
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, (kind, code) in enumerate(BLOCK.findall(page.read_text("utf-8")))
        if kind == language
    ]


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of simulated providers."""
    home, simulator = tmp_path_factory.mktemp("home"), Simulator()
    simulator.buckets.put("gs://my-requests/nightly.jsonl", jsonl([asked()]))
    simulator.buckets.put("s3://my-requests/nightly.jsonl", jsonl([record("r-0")]))
    async with (
        running_simulator(simulator) as base,
        running_world(home, {**simulated_providers(base), **with_buckets(base)}) as running,
    ):
        yield running


@pytest.mark.parametrize("code", blocks("python"))
async def test_python_snippets_run(world: World, code: str) -> None:
    """A snippet runs as it stands, with the environment that the page tells to set."""
    base = f"{world.origin}/proxy"
    variables = {
        **os.environ,
        **{"PAIG_API_KEY": world.key, "PAIG_BASE_URL": base},
        **{"PYDANTIC_AI_GATEWAY_API_KEY": world.key, "PYDANTIC_AI_GATEWAY_BASE_URL": base},
        "PYTHONPATH": str(ROOT / "src"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize("code", blocks("toml"))
def test_toml_snippets_are_configurations(code: str) -> None:
    """What a page shows of a configuration file is one, without an error."""
    # A snippet may name what another on its page defines.
    config.parse(code if "[providers" in code else '[providers.openai]\nkind = "openai"\n' + code)


@pytest.mark.parametrize("code", blocks("sh"))
def test_commands_exist(code: str) -> None:
    """Every `paig` command that a page shows is there, with the options shown."""
    for line in code.replace("\\\n", " ").splitlines():
        if not line.startswith("paig "):
            continue
        words = shlex.split(line, comments=True)
        command = typer.main.get_command(app)
        words = words[1:]
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        if "--" in words:  # what follows is another program's
            words = words[: words.index("--")]
        known = {"--help"} | {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known, line


def test_navigation_has_every_page_once() -> None:
    """The site's navigation is written by hand, and leaves no page out."""

    def pages(entries: list[dict[str, Any]]) -> list[str]:
        values = [value for entry in entries for value in entry.values()]
        return [page for value in values for page in (pages(value) if isinstance(value, list) else [value])]

    site = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
    files = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(pages(site["nav"])) == sorted(files)


def test_table_of_scale_is_the_simulation_s() -> None:
    """The page has what `benchmarks/scale.py` prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    assert page.partition("<!-- scale -->\n")[2].partition("<!-- /scale -->")[0] == printed


def test_every_error_code_is_documented() -> None:
    """The page of errors has a row for each code, with its status."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    for code, status in STATUS.items():
        assert f"| `{code}` | {status} |" in page


def test_every_problem_of_the_admin_api_is_documented() -> None:
    """The admin API's page names each code with its status."""
    rows = [line for line in (ROOT / "docs" / "admin-api.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {code: int(row.split("|")[2]) for row in rows for code in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    assert {code: status for code, (status, _) in PROBLEMS.items()}.items() <= named.items()


async def test_every_operation_of_the_admin_api_is_documented(world: World) -> None:
    """The admin API's page has a row for each: method, path, what it needs, and what it does."""
    page = (ROOT / "docs" / "admin-api.md").read_text("utf-8").partition("## Every operation")[2]
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        document = (await http.get(f"{world.origin}/admin/openapi.json")).json()
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needs = "no token" if "security" not in operation else "any token"
            if permission := operation.get("x-permission"):
                needs = f"`{permission}`" + (", a project's is enough" if operation["x-in-project"] else "")
            where = path.removeprefix("/admin/v1/").replace("name_or_id", "name")
            rows.append(f"| `{method.upper()} {where}` | {needs} | {operation['summary']} |")
    written = [line for line in page.splitlines() if line.startswith("| `")]
    assert written == rows, "the rows should be:\n" + "\n".join(rows)


def test_every_method_of_the_admin_client_is_documented() -> None:
    """Its page names each, those of its collections included."""
    page = (ROOT / "docs" / "client" / "admin.md").read_text("utf-8")
    kinds = (admin.AdminClient, admin.Keys, admin.Providers, admin.Tokens)
    names = {name for kind in kinds for name in dir(kind) if not name.startswith("_")} - {"send", "close"}
    assert {name for name in names if f"`{name}(" not in page and f".{name}(" not in page} == set()


def models_in(annotation: object) -> set[type[BaseModel]]:
    """Every model in a type, and in the fields of those models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = (field.annotation for field in annotation.model_fields.values())
        return {annotation}.union(*map(models_in, fields))
    return set().union(*map(models_in, get_args(annotation)))


def test_every_setting_is_documented() -> None:
    """The page of settings names each field of whatever can stand in a configuration file, each table and each kind."""
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    found = set().union(*map(models_in, get_type_hints(Config).values()))
    assert {ServerSpec, written.ProviderSpec, LimitsSpec, written.PriceSpec} <= found
    names = {name for spec in found for name in spec.model_fields} | set(KINDS)
    assert {name for name in names if f"`{name}`" not in page} == set()
    assert {table for table in TABLES if f"[{table}" not in page} == set()


def test_every_kind_of_provider_is_on_its_page() -> None:
    """The page of providers has a row for each, with the settings that only it has."""
    rows = [row for row in (ROOT / "docs" / "providers.md").read_text("utf-8").splitlines() if row.startswith("| `")]
    for kind in KINDS.values():
        [row] = [row for row in rows if f"`{kind.name}`" in row.split("|")[1]]
        named = [*kind.settings, *([] if kind.base_url else ["base_url"])]
        assert [name for name in named if name != "token_url" and f"`{name}`" not in row] == [], row


def test_every_certainty_is_explained() -> None:
    """The page of caps has a row for each."""
    page = (ROOT / "docs" / "caps.md").read_text("utf-8")
    assert [word for word in get_args(Certainty) if f"\n| `{word}` | " not in page] == []


def test_every_variable_of_the_environment_is_documented() -> None:
    """The page of settings names each variable that the code reads; `PAIG_SERVER_SETTINGS` is between its processes."""
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    code = "".join(file.read_text("utf-8") for file in (ROOT / "src").rglob("*.py"))
    names = set(re.findall(r"\b(?:PAIG|PYDANTIC_AI_GATEWAY)_[A-Z_]+\b", code)) - {"PAIG_SERVER_SETTINGS"}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_exit_code_is_documented() -> None:
    """The page of the command line has a row for each, and so has `paig --help`."""
    page = (ROOT / "docs" / "client" / "command-line.md").read_text("utf-8")
    codes = (cli.OK, cli.FAILED, cli.USAGE, cli.UNREACHABLE, cli.NOT_AUTHORISED, cli.INTERRUPTED)
    assert [code for code in codes if f"| {code} |" not in page] == []
    assert [code for code in codes if f"{code} " not in HELP] == []
