"""A process shares its breaker states, also after failures of the database and of other nodes."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from paig_gateway.cluster import health_rows
from paig_gateway.cluster.health_sync import FIGURES_EVERY, HealthSync
from paig_gateway.database.engine import migrate, open_engine, writing
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.ledger import nodes
from paig_gateway.ledger.nodes import Process
from paig_gateway.routing.breaker import BreakerSpec
from paig_gateway.routing.health import HealthTracker
from paig_gateway.routing.retry_budget import RetriesSpec

pytestmark = pytest.mark.anyio

KEY = Credential("cred_1", "secret")


class Node:
    """A node's knowledge and its voice, in a time of its own."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.time = engine, 1000.0
        self.providers = {"openai": ActiveProvider("openai", "openai", "http://x", (KEY,))}
        self.health = HealthTracker(lambda: self.time, self.now, BreakerSpec(), RetriesSpec(), random.Random(1))
        self.sharing = HealthSync(self.health, engine, name, lambda: self.providers)
        with writing(engine) as connection:
            nodes.beat(connection, name, Process.present(), 0)

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 12, 0, tzinfo=UTC) + timedelta(seconds=self.time - 1000)

    def fail(self, count: int = 5) -> None:
        breaker = self.health.entry(self.providers["openai"], KEY).breaker
        for _ in range(count):
            breaker.provider_failure(breaker.begin(self.time), self.time, "503")

    def told(self) -> list[str]:
        return [report.state for _, report in health_rows.read(self.engine)]

    def changes(self) -> list[str]:
        return [change.state for change in health_rows.changes_since(self.engine, 0, limit=100)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite file."""
    engine = open_engine(f"sqlite:///{tmp_path / 'paig.db'}")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def node(engine: Engine) -> Node:
    """A node."""
    return Node(engine, "one")


async def test_only_news_is_told(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """A state is told once, its changes once each, and figures every few looks."""
    caplog.set_level(logging.INFO)
    await node.sharing.share()
    assert node.told() == []
    node.fail()
    for _ in range(3):
        await node.sharing.share()
    assert (node.told(), node.changes()) == (["open"], ["open"])
    [(_, before)] = health_rows.read(node.engine)
    node.fail(2)
    for _ in range(FIGURES_EVERY):
        await node.sharing.share()
    [(_, after)] = health_rows.read(node.engine)
    assert (before.sums.tries, after.sums.tries, after.since, after.until) == (5, 7, before.since, before.until)
    node.time += 6
    await node.sharing.share()
    assert node.changes() == ["open", "half-open"]
    assert [record.message for record in caplog.records] == [
        "the provider openai (credential cred_1) is open: 503",
        "the provider openai (credential cred_1) is half-open: 503",
    ]


async def test_a_node_taken_for_dead_speaks_again(node: Node) -> None:
    """Rows that another removed are written again, without a change that never was."""
    node.fail()
    await node.sharing.share()
    health_rows.forget(node.engine, "one")
    await node.sharing.share()
    await node.sharing.share()
    assert (node.told(), node.changes()) == (["open"], ["open"])


async def test_a_provider_that_is_gone_is_told_of_no_more(node: Node) -> None:
    """Its row goes, and so does what was known of it."""
    node.fail()
    await node.sharing.share()
    node.providers = {}
    await node.sharing.share()
    assert node.told() == []
    assert list(node.health.breakers()) == []


async def test_a_node_that_signs_off_removes_its_rows(node: Node) -> None:
    """A node that stops leaves nothing behind."""
    node.fail()
    await node.sharing.share()
    await node.sharing.stop()
    assert node.told() == []


async def test_what_a_database_missed_is_told_later(node: Node) -> None:
    """While it is away breakers work on; then it hears how things are, and each change once."""
    node.fail()
    with node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE breakers RENAME TO away"))
    for _ in range(3):
        with pytest.raises(Exception, match="no such table"):
            await node.sharing.share()
    with node.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO breakers"))
    await node.sharing.share()
    assert (node.told(), node.changes()) == (["open"], ["open"])


async def test_models_names_are_clients_words(node: Node) -> None:
    """One that no database takes, or that is endless, spoils nothing."""
    breaker = node.health.entry(node.providers["openai"], KEY).breaker
    breaker.wait("a\0b\ud800" + "x" * 10_000, node.time, "429", 20)
    await node.sharing.share()
    [(_, report)] = health_rows.read(node.engine)
    assert len(report.waits[0].model) == health_rows.LONGEST_MODEL


async def test_an_idle_node_hears_of_a_recovery(engine: Engine) -> None:
    """A breaker that followed another node does not stay half-open until the next request."""
    one, two = (Node(engine, name) for name in ("one", "two"))
    one.fail()
    await one.sharing.share()
    await two.sharing.share()
    for node in (one, two):
        node.time += 10
        await node.sharing.share()
    assert two.told() == ["half-open", "half-open"]
    breaker = one.health.entry(one.providers["openai"], KEY).breaker
    for _ in range(2):
        breaker.ok(breaker.begin(one.time), "gpt-5", one.time, 0.5)
    await one.sharing.share()
    for _ in range(2):
        await two.sharing.share()
    assert two.told() == ["closed", "closed"]


async def test_a_chain_of_hearsay_ends(engine: Engine) -> None:
    """What a node goes by on another's word it does not pass on as its own."""
    one, two, three = (Node(engine, name) for name in ("one", "two", "three"))
    one.fail()
    await one.sharing.share()
    await two.sharing.share()  # hears
    await two.sharing.share()  # tells that it goes by another's word
    await one.sharing.stop()
    await three.sharing.share()
    await three.sharing.share()
    assert [(name, report.state, report.own) for name, report in health_rows.read(engine)] == [("two", "open", False)]
    assert list(three.health.breakers()) == []
