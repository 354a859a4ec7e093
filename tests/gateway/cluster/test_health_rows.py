"""What nodes tell each other of their breakers, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete
from sqlmodel import col

from paig_gateway.cluster import health_rows
from paig_gateway.cluster.health_rows import KEPT_CHANGES, Report, ReportedWait, StateChange
from paig_gateway.database.engine import writing
from paig_gateway.database.tables import NodeRow
from paig_gateway.ledger import nodes
from paig_gateway.ledger.nodes import Process
from paig_gateway.routing.outcomes import Sums

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CLOSED = Report("openai", "cred_1", "closed", NOW)
OPEN = Report(
    "openai",
    "cred_1",
    "open",
    NOW,
    until=NOW + timedelta(seconds=5),
    reason="503",
    waits=(ReportedWait("gpt-5", NOW, NOW + timedelta(seconds=20), "429", own=False),),
    sums=Sums(3, 1, {"503": 5, "429": 1}, {12: 2, 40: 1}),
    last_error="503",
    last_error_at=NOW,
)


def register(engine: Engine, *names: str) -> None:
    """Nodes that live."""
    with writing(engine) as connection:
        for name in names:
            nodes.beat(connection, name, Process.present(), 0)


def change(state: str = "open", node: str = "one") -> StateChange:
    """A change of state."""
    return StateChange(NOW, node, "openai", "cred_1", "closed", state, NOW + timedelta(seconds=5), "503")  # type: ignore[arg-type]


def test_all_read_what_each_writes(engine: Engine) -> None:
    """A row is read as it was written; its node's later row replaces it, and other nodes' rows stay."""
    register(engine, "one", "two")
    health_rows.publish(engine, "one", [OPEN])
    health_rows.publish(engine, "two", [CLOSED])
    assert sorted(health_rows.read(engine)) == [("one", OPEN), ("two", CLOSED)]
    health_rows.publish(engine, "one", [CLOSED])
    assert sorted(health_rows.read(engine)) == [("one", CLOSED), ("two", CLOSED)]
    health_rows.publish(engine, "one", [], gone=[("openai", "cred_1")])
    assert health_rows.read(engine) == [("two", CLOSED)]
    health_rows.forget(engine, "two")
    assert health_rows.read(engine) == []


def test_a_dead_node_has_nothing_to_say(engine: Engine) -> None:
    """Rows of a node that is gone are skipped, and removed by the next write."""
    register(engine, "one", "two")
    health_rows.publish(engine, "two", [OPEN])
    with writing(engine) as connection:
        connection.execute(delete(NodeRow).where(col(NodeRow.id) == "two"))
    assert health_rows.read(engine) == []
    health_rows.publish(engine, "one", [CLOSED])
    register(engine, "two")
    assert health_rows.read(engine) == [("one", CLOSED)]


def test_changes_come_in_order_once(engine: Engine) -> None:
    """Whoever follows them from a number on misses none, though several nodes write at once."""
    register(engine, "one", "two")
    assert health_rows.last_change(engine) == 0

    def write(node: str) -> None:
        for _ in range(10):
            health_rows.publish(engine, node, [CLOSED], [change("open", node), change("half-open", node)])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, ["one", "two"]))
    found = health_rows.changes_since(engine, 0, limit=1000)
    assert [one.id for one in found] == list(range(1, 41))
    assert [one.state for one in found if one.node_id == "one"] == ["open", "half-open"] * 10
    assert health_rows.changes_since(engine, 38, limit=1) == [found[38]]
    assert health_rows.last_change(engine) == 40


def test_old_changes_are_forgotten(engine: Engine) -> None:
    """The last thousand are kept."""
    register(engine, "one")
    health_rows.publish(engine, "one", [CLOSED], [change()] * (KEPT_CHANGES + 5))
    assert health_rows.changes_since(engine, 0, limit=1)[0].id == 6
