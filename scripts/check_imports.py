"""Hold the direction of imports: who may know whom, one row per part of the code.

Run as `python scripts/check_imports.py [SRC]`; prints each offence and exits with 1 if there is one. Reads the source
with `ast`, imports nothing of it, needs the standard library only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("paig_client", "paig_gateway", "paig_tui")
# What the gateway takes from the client: the vocabulary, the errors of the wire, and how clients are pointed at it.
API = ("paig_client.api", "paig_client.errors", "paig_client.environment")

# The rooms of the gateway from the ground up: each row may import every row below it in the house, that is, above it in
# this list, and no room of its own row but itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("domain",),
    ("formats", "database"),
    ("pricing", "providers", "secrets", "listener"),
    ("routing", "ledger", "catalog", "sso"),
    ("proxy", "cluster"),
    ("telemetry",),
    ("alerts", "config"),
    ("admin",),
    ("core",),
    ("observability", "dispatch"),
    ("app",),
    ("server", "backup", "secret_rotation", "diagnosis"),
    ("demo",),
)


def _gateway() -> dict[str, tuple[str, ...]]:
    """A row for each room of the gateway, from its floor."""
    found: dict[str, tuple[str, ...]] = {}
    below: tuple[str, ...] = API
    for floor in FLOORS:
        rooms = tuple(f"paig_gateway.{room}" for room in floor)
        found |= dict.fromkeys(rooms, below)
        below += rooms
    return found


# Part of our code -> the parts it may import, wherever in the file the import stands. The longest matching row counts,
# and every part may import itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "paig_client": (),
    "paig_client.api": (),
    "paig_tui": ("paig_client",),
    "paig_gateway": (),
    **_gateway(),
    "paig_gateway.observability": (*_gateway()["paig_gateway.observability"], "paig_gateway.__version__"),
    "paig_gateway.app": (*_gateway()["paig_gateway.app"], "paig_gateway.__version__"),
    "paig_gateway.domain": ("paig_client.api",),
    "paig_gateway.demo": ("paig_gateway", "paig_client"),
    "paig_gateway.simulator": ("paig_gateway.domain", "paig_gateway.formats"),
}

# The command line starts the gateway and the TUI, and so may import them, but only inside a function.
MAY_IMPORT_LATE: dict[str, tuple[str, ...]] = {"paig_client.cli": ("paig_gateway", "paig_tui")}

IO_LIBRARIES = (
    *("asyncio", "anyio", "socket", "ssl", "select", "selectors", "subprocess", "sqlite3"),
    *("http.client", "http.server", "urllib.request", "requests"),
    *("httpx", "httpx2", "aiohttp", "pyreqwest", "websockets"),
    *("uvicorn", "uvloop", "starlette", "fastapi", "sqlalchemy", "sqlmodel", "alembic", "psycopg"),
    *("botocore", "boto3", "google.auth", "keyring"),
)
# Part of our code -> libraries it must do without.
MUST_NOT_IMPORT: dict[str, tuple[str, ...]] = {
    "paig_gateway.domain": IO_LIBRARIES,
    "paig_gateway.formats": IO_LIBRARIES,
}


@dataclass(frozen=True)
class Import:
    """One name that a file imports."""

    target: str  # the full dotted name; its last part may be a module or something inside one
    line: int
    late: bool  # inside a function
    typing_only: bool  # under `if TYPE_CHECKING:`


def within(name: str, part: str) -> bool:
    """Whether `name` is `part` or lies below it."""
    return name == part or name.startswith(part + ".")


def row(table: dict[str, tuple[str, ...]], module: str) -> tuple[str, tuple[str, ...]]:
    """The longest part in `table` that holds `module`, and what the table says of it."""
    part = max((part for part in table if within(module, part)), key=len, default="")
    return part, table.get(part, ())


def modules(src: Path) -> dict[str, Path]:
    """Every module of our packages under `src`, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((src / package).rglob("*.py")):
            parts = path.relative_to(src).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path) -> Iterator[Import]:
    """The imports of one file, wherever in it they stand."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]

    def walk(node: ast.AST, late: bool, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, late, typing_only)
        elif isinstance(node, ast.ImportFrom):
            anchor = package[: len(package) - node.level + 1] if node.level else []
            for alias in node.names:
                target = ".".join([*anchor, *([node.module] if node.module else []), alias.name])
                yield Import(target, node.lineno, late, typing_only)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.body:
                yield from walk(statement, late, True)
            for statement in node.orelse:
                yield from walk(statement, late, typing_only)
        else:
            late = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for child in ast.iter_child_nodes(node):
                yield from walk(child, late, typing_only)

    yield from walk(ast.parse(path.read_text("utf-8"), str(path)), False, False)


def offence(module: str, found: Import) -> str | None:
    """What is wrong with `module` importing this, or None."""
    part, banned = row(MUST_NOT_IMPORT, module)
    if any(within(found.target, library) for library in banned):
        return f"{part} does no I/O, so it may not import {found.target}"
    if not any(within(found.target, package) for package in PACKAGES):
        return None
    part, allowed = row(MAY_IMPORT, module)
    if any(within(found.target, other) for other in (part, *allowed)):
        return None
    part_late, allowed_late = row(MAY_IMPORT_LATE, module)
    if any(within(found.target, other) for other in allowed_late):
        return None if found.late else f"{part_late} may import {found.target} only inside a function"
    return f"{part} may not import {found.target}"


def check(src: Path) -> list[str]:
    """Every offence under `src`, as lines to print."""
    known = modules(src)
    problems = []
    runs_first: dict[str, set[str]] = {module: set() for module in known}  # what importing a module runs before it
    for module, path in known.items():
        for found in imports(module, path):
            if (wrong := offence(module, found)) is not None:
                problems.append(f"{path.relative_to(src.parent)}:{found.line}: {wrong}")
            target = found.target if found.target in known else found.target.rpartition(".")[0]
            if target in known and not found.late:
                runs_first[module].add(target)
    try:
        TopologicalSorter(runs_first).prepare()
    except CycleError as error:
        problems.append(f"circle of imports: {' -> '.join(reversed(error.args[1]))}")
    return problems


def main(src: Path) -> int:
    """Print the offences under `src`; the exit status says whether there were any."""
    problems = check(src)
    print("\n".join(problems) or f"imports: {len(modules(src))} modules, none against the direction")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "src"))
