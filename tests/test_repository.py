"""The repository itself: its checks find what they are for, and its packaging says what was promised."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def script(name: str) -> ModuleType:
    """A script of the repository, loaded as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


check_imports = script("check_imports")
check_files = script("check_files")


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files`, paths from `root` to text, and return `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


ALLOWED = {
    "paig_client/__init__.py": "from paig_client.api.specs import Key\n",
    "paig_client/api/specs.py": "import pydantic\n\nclass Key: ...\n",
    "paig_client/cli/__init__.py": "def serve():\n    from paig_gateway import server\n",
    "paig_gateway/__init__.py": "",
    "paig_gateway/domain/money.py": "from decimal import Decimal\nfrom urllib.parse import quote\n",
    "paig_gateway/formats/__init__.py": "from . import sse\n",
    "paig_gateway/formats/sse.py": "from paig_gateway.domain import money\nfrom ..domain.money import quote\n",
    "paig_gateway/ledger/ledger.py": "import asyncio\nfrom paig_gateway.domain.money import Decimal\n",
    "paig_gateway/admin/app.py": "from paig_client.api.specs import Key\nimport paig_gateway.ledger.ledger\n",
    "paig_gateway/server.py": "from paig_gateway.admin.app import Key\nfrom paig_gateway.proxy import proxy\n",
    "paig_gateway/proxy/proxy.py": "from paig_gateway.ledger import ledger\nfrom paig_gateway.formats import sse\n",
    "paig_tui/app.py": "from paig_client.api import specs\n",
}


def test_imports_in_the_right_direction_pass(tmp_path: Path) -> None:
    """A tree that keeps the direction, late import of the gateway by the command line included, has no offence."""
    assert check_imports.check(tree(tmp_path / "src", ALLOWED)) == []


@pytest.mark.parametrize(
    ("name", "text", "offence"),
    [
        ("paig_gateway/domain/limits.py", "import asyncio\n", "does no I/O, so it may not import asyncio"),
        ("paig_gateway/domain/limits.py", "from urllib import request\n", "may not import urllib.request"),
        ("paig_gateway/formats/chat.py", "def f():\n    import sqlalchemy.orm\n", "may not import sqlalchemy.orm"),
        ("paig_gateway/domain/limits.py", "from ..ledger import ledger\n", "may not import paig_gateway.ledger.ledger"),
        ("paig_gateway/formats/chat.py", "from paig_gateway.ledger import ledger\n", "paig_gateway.formats may not"),
        ("paig_gateway/ledger/rows.py", "from paig_gateway.proxy import proxy\n", "paig_gateway.ledger may not"),
        ("paig_gateway/ledger/rows.py", "import paig_gateway.proxy.proxy\n", "paig_gateway.ledger may not"),
        ("paig_gateway/proxy/response.py", "from paig_gateway import server\n", "may not import paig_gateway.server"),
        ("paig_gateway/proxy/response.py", "from paig_gateway.admin import app\n", "paig_gateway.proxy may not"),
        (
            "paig_gateway/simulator/app.py",
            "from paig_gateway.ledger import ledger\n",
            "paig_gateway.simulator may not",
        ),
        ("paig_gateway/config/model.py", "from paig_client.admin import Client\n", "may not import paig_client.admin"),
        ("paig_gateway/config/model.py", "import paig_tui.app\n", "paig_gateway.config may not import paig_tui.app"),
        ("paig_client/sdks.py", "def f():\n    import paig_gateway\n", "paig_client may not import paig_gateway"),
        ("paig_client/cli/demo.py", "from paig_gateway import server\n", "only inside a function"),
        ("paig_tui/keys.py", "from paig_gateway.domain import money\n", "paig_tui may not import paig_gateway"),
        (
            "paig_gateway/domain/limits.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from paig_gateway.ledger import ledger\n",
            "paig_gateway.domain may not import paig_gateway.ledger.ledger",
        ),
    ],
)
def test_import_against_the_direction_is_an_offence(tmp_path: Path, name: str, text: str, offence: str) -> None:
    """One wrong import in an otherwise right tree is reported with its file and line."""
    problems = check_imports.check(tree(tmp_path / "src", {**ALLOWED, name: text}))
    line = text.count("\n")
    assert len(problems) == 1
    assert problems[0].startswith(f"src/{name}:{line}: ")
    assert offence in problems[0]


def test_circle_of_imports_is_an_offence(tmp_path: Path) -> None:
    """Modules that import one another are reported, for types only too; a late import makes no circle."""
    ring = {
        "paig_gateway/ledger/a.py": "from paig_gateway.ledger import b\n",
        "paig_gateway/ledger/b.py": "from paig_gateway.ledger.c import C\n",
        "paig_gateway/ledger/c.py": "from . import a\n",
    }
    [problem] = check_imports.check(tree(tmp_path / "ring" / "src", ring))
    assert problem.startswith("circle of imports: ")
    assert all(f"paig_gateway.ledger.{name}" in problem for name in "abc")

    late = {"paig_gateway/ledger/c.py": "def f():\n    from . import a\n"}
    assert check_imports.check(tree(tmp_path / "late" / "src", {**ring, **late})) == []
    typing = {"paig_gateway/ledger/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a\n"}
    [problem] = check_imports.check(tree(tmp_path / "typing" / "src", {**ring, **typing}))
    assert problem.startswith("circle of imports: ")


def test_import_check_fails_as_a_command(tmp_path: Path) -> None:
    """The command exits with 1 and prints the offence, so that `make check` stops."""
    src = tree(tmp_path / "src", {"paig_tui/app.py": "import paig_gateway\n"})
    command = [sys.executable, str(ROOT / "scripts" / "check_imports.py"), str(src)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "src/paig_tui/app.py:1: paig_tui may not import paig_gateway\n")


# Each line is cut in two, so that this file holds no such line itself.
@pytest.mark.parametrize(
    ("line", "offence"),
    [
        ("see /ro" "ot/notes.txt", "a path of one machine"),
        ('path = "/wo' 'rk/main"', "a path of one machine"),
        ("/ho" "me/ada/src/x.py", "a path of one machine"),
        ("file:/" "//opt/wheels", "a path of one machine"),
        ("https://py" "pi.org/project/paig", "a package registry's address"),
        ("https://mirror.example/simp" "le/paig", "a package registry's address"),
        ('"resolved": "ht' 'tps://mirror.example/x.tgz"', "a package registry's address"),
        ("--extra-index" "-url x", "a choice of package index"),
        ("--find" "-links wheels", "a choice of package index"),
    ],
)  # fmt: skip
def test_line_of_one_workplace_is_an_offence(tmp_path: Path, line: str, offence: str) -> None:
    """A machine's path or a registry's address is reported with its file and line."""
    tree(tmp_path, {"notes.md": f"fine\n{line}\n"})
    assert list(check_files.problems(tmp_path, ["notes.md"])) == [f"notes.md:2: {offence}"]


@pytest.mark.parametrize(
    "line",
    ["https://gateway.example/proxy/work/x", "tests/root/x", "sqlite:////var/paig.db", "file:key.json", "a simple/x"],
)
def test_harmless_line_is_not_an_offence(tmp_path: Path, line: str) -> None:
    """Lines that only look like a path of one machine pass."""
    tree(tmp_path, {"notes.md": line})
    assert list(check_files.problems(tmp_path, ["notes.md"])) == []


def test_long_source_file_is_an_offence(tmp_path: Path) -> None:
    """A source file over the bound is reported; one at the bound, and a long test, are not."""
    lines = check_files.MAX_LINES
    files = {"src/long.py": "x\n" * (lines + 1), "src/right.py": "x\n" * lines, "tests/long.py": "x\n" * (lines + 1)}
    tree(tmp_path, files)
    [problem] = check_files.problems(tmp_path, files)
    assert problem.startswith(f"src/long.py: {lines + 1} lines; split it")


def test_files_git_ignores_are_not_checked(tmp_path: Path) -> None:
    """The files looked at are those that git tracks or would track."""
    tree(tmp_path, {".gitignore": "built/\n", "built/x.txt": "", "new.txt": "", "known.txt": ""})
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "known.txt"], cwd=tmp_path, check=True)
    assert check_files.tracked(tmp_path) == [".gitignore", "known.txt", "new.txt"]


def test_extras_and_command_are_the_promised_ones() -> None:
    """The extras, the command and the Python version that the documentation names are the packaging's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    ours = ["gateway", "telemetry", "tui"]
    singles = [*ours, "pydantic-ai", "openai", "anthropic", "google", "groq", "bedrock", "mistral"]
    assert list(extras) == [*singles, "all"]
    assert extras["all"] == [f"paig[{','.join(singles)}]"]
    assert project["scripts"] == {"paig": "paig_client.cli:main"}
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_names_no_host_and_hashes_everything(lock: Path) -> None:
    """A lock pins every requirement with hashes and names no address, index or path."""
    text = lock.read_text("utf-8")
    assert not re.search(r"https?:|file:|://|^-|^\s*--(?!hash=sha256:)", text, re.MULTILINE)
    pins = [pin for pin in re.split(r"\n(?=\S)", text) if not pin.startswith("#")]
    assert len(pins) > (5 if lock.name == "oldest.txt" else 50)
    for pin in pins:
        assert re.match(r"[a-z0-9-]+==\S+ ", pin), pin
        assert "--hash=sha256:" in pin, pin


def test_locks_agree() -> None:
    """The demo's lock is a part of the full one, so that either may fill the same environment."""
    full, demo = (
        set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE))
        for name in ("dev.txt", "demo.txt")
    )
    assert demo < full
