"""A ledger that the release before wrote: what it holds in flight, owes and has summed up survives the migration.

`ledger_0010.sql` has the rows of a small SQLite database that this release wrote, with the tables of `schema_0010.sql`:
thirteen settled requests in six quarters of an hour, one pending, one swept, two in flight on a node that has since
died, and one refusal.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from paig_gateway.database.engine import migrate, open_engine, writing
from paig_gateway.ledger.executor import BatchExecutor, Correct, Reserve
from paig_gateway.ledger.reports import Filter, list_requests, usage
from paig_gateway.ledger.statements import SchemaChangedError
from tests.gateway.databases import Postgres
from tests.gateway.ledger.books import NOON, Totals, counters, document, limit, reservation, settlement, used

HERE = Path(__file__).parent
DUMP = "".join((HERE / name).read_text("utf-8") for name in ("schema_0010.sql", "ledger_0010.sql"))
MIGRATIONS = Path(__file__).parents[3] / "src/paig_gateway/database/migrations"
OLD_RESERVE = (
    "INSERT INTO requests (id, node_id, state, time, key_id, key, project_id, user_id, route, model, format, stream, "
    "reserved) VALUES ('req_late', 'node_old', 'open', 0, 'key_ci', 'ci', '', '', 'openai', 'gpt-5', 'openai-chat', "
    "false, 1000)"
)
"""What a node of that release says to reserve; the columns that may be null are left out."""


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """The old database, of either kind; not migrated yet."""
    file = tmp_path / "old.db"
    connection = sqlite3.connect(file)
    connection.executescript(DUMP)
    if request.param == "sqlite":
        connection.close()
        return open_engine(f"sqlite:///{file}")
    server: Postgres = request.getfixturevalue("postgres")
    engine = open_engine(server.new_database())
    with writing(engine) as target:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = target
        command.upgrade(config, "0010")
        for table in ("requests", "rollups", "counters", "runs", "limits", "nodes", "meta"):
            _copy(connection, target, table)
    connection.close()
    return engine


def _copy(source: sqlite3.Connection, target: Any, table: str) -> None:
    cursor = source.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    booleans = {"stream", "soft"} & set(names)
    target.execute(text(f"DELETE FROM {table}"))
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        row |= {name: bool(row[name]) for name in booleans}
        documents = {name for name, value in row.items() if isinstance(value, str) and value[:1] in ("[", "{")}
        columns = ", ".join(f'"{name}"' for name in names)
        places = ", ".join(f"CAST(:{name} AS json)" if name in documents else f":{name}" for name in names)
        target.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), row)


def _all(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def test_open_requests_become_holds(old: Engine) -> None:
    """They keep their node, their amounts and what their rows will say; counters hold for them as before."""
    before = counters(old)
    migrate(old)
    assert counters(old) == before
    first, second = _all(old, "SELECT * FROM holds ORDER BY id")
    assert (first["id"], first["node_id"], first["reserved"]) == ("req_00000015", "node_old", 1000)
    assert [held[2:] for held in document(first["limits"])] == [[1000, "usd"], [100, "tokens"], [1000, "usd"]]
    assert document(first["request"]) == {
        "key": "ci", "route": "openai", "model": "gpt-5", "format": "openai-chat", "project": "lab", "user": "ada",
        "provider": "openai", "stream": False, "run": "nightly", "trace_id": "0" * 32,
    }  # fmt: skip
    assert document(second["request"])["tags"] == {"a": "b"}
    assert _all(old, "SELECT id FROM requests WHERE state = 'open'") == []
    page = list_requests(old, Filter(), limit=100).items
    assert len(page) == 17
    assert [row.id for row in page if row.state == "open"] == ["req_00000016", "req_00000015"]
    old.dispose()


def test_the_next_node_charges_what_was_in_flight(old: Engine) -> None:
    """Its node is dead, so both are charged at their ceiling, and all sums agree."""
    migrate(old)
    executor = BatchExecutor(old, "node_new", lambda: NOON + timedelta(hours=2))
    executor.start()
    executor.close()
    assert _all(old, "SELECT * FROM holds") == []
    swept = _all(old, "SELECT id, cost, state, error FROM requests WHERE id IN ('req_00000015', 'req_00000016')")
    assert {(row["cost"], row["state"], row["error"]) for row in swept} == {(1000, "swept", "node-lost")}
    [rows] = _all(old, "SELECT count(*) AS n, sum(cost) AS cost FROM requests")
    [sums] = _all(old, "SELECT sum(requests) AS n, sum(cost) AS cost FROM rollups")
    assert (int(sums["n"]), int(sums["cost"])) == (rows["n"], rows["cost"])
    day = {key: value for key, value in counters(old).items() if key[0] == "lim_day"}
    assert list(day.values()) == [Totals(spent=rows["cost"], held=0)]
    old.dispose()


def test_hours_are_split_into_quarters(old: Engine) -> None:
    """Where all rows of an hour are there, its sums are those of its quarters from now on."""
    migrate(old)
    rollups = _all(old, "SELECT start, requests FROM rollups ORDER BY start")
    quarter = int(NOON.timestamp()) * 1000
    assert [(row["start"] - quarter) // 900_000 for row in rollups] == [0, 1, 2, 3, 4, 5]
    assert [row["requests"] for row in rollups] == [4, 3, 2, 2, 2, 2]
    part = usage(old, [], Filter(since=NOON + timedelta(minutes=15), until=NOON + timedelta(minutes=30)))
    assert part.total.requests == 3
    old.dispose()


def test_hours_whose_rows_are_gone_stay_whole(old: Engine) -> None:
    """Their sums count in the quarter that they began in."""
    with old.begin() as connection:
        connection.execute(text("DELETE FROM requests WHERE id = 'req_00000001'"))
    migrate(old)
    rollups = _all(old, "SELECT start, requests FROM rollups ORDER BY start")
    assert [row["requests"] for row in rollups] == [11, 2, 2]
    old.dispose()


def test_pending_work_is_corrected_after_the_migration(old: Engine) -> None:
    """What was charged by guess still gets its true cost, in its limits too."""
    migrate(old)
    [before] = [value.spent for key, value in counters(old).items() if key[0] == "lim_day"]
    executor = BatchExecutor(old, "node_new", lambda: datetime(2026, 11, 23, 15, tzinfo=UTC))
    end = settlement("req_look", 300, usage=used(3, 1), provider="openai")
    assert executor.execute([Correct("resp_1", None, end)]).results == ["corrected"]
    [after] = [value.spent for key, value in counters(old).items() if key[0] == "lim_day"]
    assert before - after == 700
    executor.close()
    old.dispose()


def test_a_node_of_the_old_schema_can_reserve_nothing(old: Engine) -> None:
    """Its statement names a column that is gone, so it refuses its clients, and nothing passes unrecorded."""
    with old.begin() as connection:
        connection.execute(text(OLD_RESERVE))
        connection.execute(text("DELETE FROM requests WHERE id = 'req_late'"))
    migrate(old)
    with pytest.raises(DBAPIError, match="node_id"), old.begin() as connection:
        connection.execute(text(OLD_RESERVE))
    old.dispose()


def test_a_node_refuses_when_a_newer_version_has_changed_the_ledger(old: Engine) -> None:
    """The schema number that it reads is not its own; its holds stay for the newer nodes to charge."""
    migrate(old)
    executor = BatchExecutor(old, "node_new", lambda: NOON)
    executor.start()
    with old.begin() as connection:
        connection.execute(text("UPDATE meta SET value = value + 1 WHERE name = 'ledger_schema'"))
    with pytest.raises(SchemaChangedError, match="Upgrade this gateway"):
        executor.execute([Reserve(reservation(limit("cap", 1000)))])
    assert {row["id"] for row in _all(old, "SELECT id FROM holds")} == {"req_00000015", "req_00000016"}
    executor.close()
    old.dispose()
