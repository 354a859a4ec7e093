"""A gateway moves from SQLite to PostgreSQL and back as docs/databases.md walks it, and nothing changes on the way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select
from sqlmodel import SQLModel

from paig_client.admin import AsyncAdminClient
from paig_client.api.specs import ProviderSpec, RaiseSpec
from paig_client.cli import main
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.backup import BackupError, restore
from paig_gateway.database.engine import open_engine
from paig_gateway.server import running_gateway
from paig_gateway.simulator import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import ADMIN, running_world, simulated_providers

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
LITERAL = "sk-a-stored-literal"
WHY = "a tab\there, a \\ and \\N,\r\na new line, ✓ and \x7f"
TABLES = SQLModel.metadata.tables


def walk(title: str) -> str:
    """The commands of a section of the page."""
    page = (ROOT / "docs" / "databases.md").read_text("utf-8")
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S))


def run(commands: str, folder: Path, **variables: str) -> str:
    """What a shell says that runs commands of the page, where `paig` is this one."""
    program = folder / "bin" / "paig"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!{sys.executable}\nfrom paig_client.cli import main\nmain()\n")
    program.chmod(0o755)
    commands = re.sub(r"^(paig restore .*)$", r"\1 --yes", commands, flags=re.M)
    environment = {**os.environ, **variables, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    shell = ["sh", "-ec", commands]
    done = subprocess.run(shell, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def contents(url: str) -> dict[str, list[Any]]:
    """Every row of every table, as Python sees it."""
    engine = open_engine(url)
    with engine.connect() as connection:
        found = {
            name: sorted(map(repr, (tuple(row) for row in connection.execute(select(table)))))
            for name, table in TABLES.items()
        }
    engine.dispose()
    return found


def sums(url: str) -> tuple[int, int, int]:
    """What the ledger's rows cost, what the totals say, and what the key's daily limit counts; in nanodollars."""
    engine = open_engine(url)
    with engine.connect() as connection:
        rows, rollups = (
            connection.execute(select(func.coalesce(func.sum(TABLES[name].c.cost), 0))).scalar_one()
            for name in ("requests", "rollups")
        )
        counters, limits = TABLES["counters"], TABLES["limits"]
        counted = connection.execute(
            select(func.sum(counters.c.spent)).where(
                counters.c.limit_id.in_(select(limits.c.id).where(limits.c.unit == "usd"))
            )
        ).scalar_one()
    engine.dispose()
    return int(rows), int(rollups), int(counted)


async def ask(http: httpx2.AsyncClient, key: str) -> int:
    """One chat completion; its status."""
    body = {"model": "gpt-4o-mini", "max_completion_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}", "x-paig-tags": "customer=acme"}
    return int((await http.post("/proxy/openai/chat/completions", headers=headers, json=body)).status_code)


async def test_there_and_back_again(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows, sums, ids and cursors stay, and what is sealed is read; both ways by the page's own commands."""
    home = tmp_path / "home"
    monkeypatch.setenv("PAIG_HOME", str(home))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("PAIG_SECRET_KEY", "PAIG_DATABASE_URL", "PAIG_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    home.mkdir(mode=0o700)
    (home / "admin.token").touch(0o600)
    (home / "admin.token").write_text(ADMIN)
    sqlite, postgresql = f"sqlite:///{home / 'paig.db'}", postgres.new_database()
    simulator = Simulator(credentials=[LITERAL])
    async with running_simulator(simulator) as base:
        openai = simulated_providers(base)["openai"].model_copy(update={"credential": f"value:{LITERAL}"})
        async with running_world(home, {"openai": ProviderSpec.model_validate(dict(openai))}) as world:
            key = await world.make_key("capped", daily="5", requests_per_minute=1000)
            [limit, *_] = [one for one in (await world.admin.limits()) if one.unit == "usd"]
            until = datetime.now(UTC) + timedelta(hours=2)
            await world.admin.raise_limit(
                RaiseSpec(owner_kind="key", owner="capped", window=limit.window, to="6", until=until, why=WHY)
            )
            headers = {"authorization": f"Bearer {ADMIN}", "idempotency-key": "once"}
            made = await world.http.post("/admin/v1/keys", headers=headers, json={"name": "once"})
            assert made.status_code == 201
            assert [await ask(world.http, key) for _ in range(3)] == [200] * 3
            page = await world.admin.requests(limit=2)
            rest = await world.admin.requests(limit=2, cursor=page.next_cursor)
        before = contents(sqlite)
        assert len(before["requests"]) == 3
        assert before["repeats"], "the bytes of a stored answer are part of this"
        spent, *others = sums(sqlite)
        assert spent > 0
        assert others == [spent, spent]

        there = walk("Move from SQLite to PostgreSQL")
        said = run(there.replace("postgresql+psycopg://paig@db.internal/paig", postgresql), tmp_path)
        assert "Restored" in said
        assert contents(postgresql) == before
        assert sums(postgresql) == (spent, spent, spent)

        monkeypatch.setenv("PAIG_DATABASE_URL", postgresql)
        store = OpenDatabase.open(home)
        assert store.catalog.verify_audit().problem is None
        async with running_gateway(Gateway(store)) as origin, AsyncAdminClient(origin, token=ADMIN) as admin:
            found = await admin.requests(limit=2, cursor=page.next_cursor)
            assert [one.id for one in found.items] == [one.id for one in rest.items]
            async with httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60) as http:
                assert await ask(http, key) == 200
        after = contents(postgresql)
        assert len(after["requests"]) == 4
        assert len(set(sums(postgresql))) == 1

        (home / "paig.db").rename(tmp_path / "old.db")
        back = walk("Move from PostgreSQL to SQLite")
        run(back, tmp_path, PAIG_DATABASE_URL=postgresql)
        monkeypatch.delenv("PAIG_DATABASE_URL")
        assert contents(sqlite) == after
        assert len(set(sums(sqlite))) == 1
        OpenDatabase.open(home).engine.dispose()
        assert f"Bearer {LITERAL}" in repr(simulator.requests[-1].headers)


def test_a_target_that_is_not_empty_is_refused(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of either kind; so are another gateway's secrets, a password as an argument, and what is not a URL."""
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("PAIG_SECRET_KEY", "PAIG_DATABASE_URL", "PAIG_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    OpenDatabase.open().engine.dispose()
    file, postgresql = tmp_path / "move.zip", postgres.new_database()

    def paig(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(ended.value.code or 0), capsys.readouterr().err

    assert paig("backup", str(file))[0] == 0
    assert paig("restore", str(file), "--yes")[1].endswith("move it away, or name another database\n")
    code, said = paig("restore", str(file), "--yes", "--database-url", postgresql)
    assert code == 0
    assert f"PAIG_DATABASE_URL='{postgresql}' paig serve" in said
    code, said = paig("restore", str(file), "--yes", "--database-url", postgresql)
    assert (code, "name an empty one" in said) == (1, True)
    code, said = paig("restore", str(file), "--yes", "--database-url", "postgresql://paig:hunter2@db/paig")
    assert (code, "set PAIG_DATABASE_URL instead" in said, "hunter2" in said) == (2, True, False)
    code, said = paig("restore", str(file), "--yes", "--database-url", "nonsense")
    assert (code, "not a database URL" in said) == (1, True)
    monkeypatch.setenv("PAIG_HOME", str(tmp_path / "other"))
    OpenDatabase.open().engine.dispose()
    with pytest.raises(BackupError, match=r"another gateway's secret\.key"):
        restore(file, postgres.new_database())
