"""Whatever happens in whatever order, the sums agree and no cap is passed: a machine that tries, on both databases.

The machine drives several nodes step by step, through `BatchExecutor`, which is the ledger without its thread. After
every step it recomputes, from the rows alone, what counters and rollups must say.
"""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, event, text
from sqlmodel import SQLModel

from paig_client.api.limits import Unit, Window
from paig_client.api.vocabulary import Certainty, OwnerKind
from paig_gateway.database.columns import moment
from paig_gateway.database.engine import writing
from paig_gateway.database.tables import LimitRow
from paig_gateway.domain.limits import Limit, window_start
from paig_gateway.ledger import new_limits
from paig_gateway.ledger.executor import BatchExecutor, ChargeRow, Correct, Extend, Reserve, Settle
from paig_gateway.ledger.nodes import Process
from paig_gateway.ledger.records import Reservation
from paig_gateway.ledger.transitions import Refusal
from tests.gateway.ledger.books import Clock, Totals, counters, document, reservation, settlement, used

EXAMPLES = int(os.environ.get("PAIG_TEST_EXAMPLES", "20"))
KEYS = ("ci", "bob")
OWNERS: dict[tuple[OwnerKind, str], str] = {
    ("key", "ci"): "key_ci",
    ("key", "bob"): "key_bob",
    ("project", "lab"): "proj_lab",
    ("organisation", ""): "",
}
KINDS: list[tuple[Unit, Window]] = [
    *(("usd", window) for window in ("daily", "weekly", "monthly", "total")),
    ("requests", "minute"),
    ("tokens", "minute"),
]  # type: ignore[list-item]
AMOUNTS = {"usd": (1000, 3000, 20_000), "requests": (1, 5, 100), "tokens": (50, 400, 10_000)}

money = st.integers(0, 1500)
tokens = st.integers(0, 120)
anyone = st.integers(0, 10**6)


class LedgerMachine(RuleBasedStateMachine):
    """Nodes, limits and requests, and a clock that jumps."""

    engine: Engine

    @initialize()
    def begin(self) -> None:
        """Two nodes on an empty database; nothing is limited yet."""
        with self.engine.begin() as connection:
            for table in SQLModel.metadata.tables:
                kept = " WHERE name <> 'ledger_schema'" if table == "meta" else ""
                connection.execute(text(f"DELETE FROM {table}{kept}"))
        self.clock = Clock()
        self.limits: dict[str, tuple[LimitRow, Limit]] = {}
        self.flying: dict[str, Reservation] = {}
        self.ended: list[str] = []
        self.works: list[str] = []
        self.counted: dict[tuple[str, int], int] = defaultdict(int)
        self.slack: dict[str, int] = defaultdict(int)
        self.paced: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
        self.names = 0
        self.nodes: list[BatchExecutor] = []
        self.sleepers: list[tuple[BatchExecutor, set[str]]] = []
        self.home: dict[str, BatchExecutor] = {}
        for _ in range(2):
            self._new_node()

    def teardown(self) -> None:
        """Close what is open."""
        for books in (*self.nodes, *(books for books, _ in self.sleepers)):
            books.close()

    def _name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}_{self.names:04d}"

    def _new_node(self) -> None:
        name = self._name("node")
        books = BatchExecutor(self.engine, name, self.clock, Process(f"far elsewhere {name}", 1))
        books.start()
        self.nodes.append(books)

    def _limits_of(self, key: str) -> tuple[Limit, ...]:
        mine = {("key", key), ("project", "lab"), ("organisation", "")}
        return tuple(limit for _, limit in self.limits.values() if (limit.owner_kind, limit.owner) in mine)

    def _pick(self, number: int) -> Reservation:
        return self.flying[sorted(self.flying)[number % len(self.flying)]]

    # What administrators do

    @rule(
        owner=st.sampled_from(sorted(OWNERS)), kind=st.sampled_from(KINDS), size=st.integers(0, 2), soft=st.booleans()
    )
    def make_limit(self, owner: tuple[OwnerKind, str], kind: tuple[Unit, Window], size: int, soft: bool) -> None:
        """A limit appears, perhaps while its owner has requests in flight."""
        unit, window = kind
        if any(
            (known.owner_kind, known.owner, known.unit, known.window) == (*owner, *kind)
            for _, known in self.limits.values()
        ):
            return
        made = Limit(self._name("lim"), *owner, unit, window, AMOUNTS[unit][size], soft and unit == "usd")
        row = LimitRow(
            id=made.id, owner_kind=owner[0], owner_id=OWNERS[owner], unit=unit, window=window, amount=made.amount,
            soft=made.soft,
        )  # fmt: skip
        with writing(self.engine) as connection:
            connection.execute(LimitRow.__table__.insert().values(**row.model_dump()))  # type: ignore[attr-defined]
            new_limits.bind(connection, row, self.clock())
        self.limits[made.id] = (row, made)
        self.slack[made.id] += max(
            [t.spent + t.held for (id, _), t in counters(self.engine).items() if id == made.id] or [0]
        )

    @precondition(lambda self: self.limits)
    @rule(number=anyone)
    def drop_limit(self, number: int) -> None:
        """A limit goes, perhaps while requests in flight hold some of it."""
        id = sorted(self.limits)[number % len(self.limits)]
        row, _ = self.limits.pop(id)
        with writing(self.engine) as connection:
            connection.execute(text("DELETE FROM limits WHERE id = :id"), {"id": id})
            new_limits.drop(connection, row)

    # What requests do

    @rule(
        number=anyone, key=st.sampled_from(KEYS), ceiling=money, tokens=tokens, run=st.booleans(), patient=st.booleans()
    )
    def reserve(self, number: int, key: str, ceiling: int, tokens: int, run: bool, patient: bool) -> None:
        """A request is reserved on some node; if it is granted, every hard limit that binds it had room."""
        books = self.nodes[number % len(self.nodes)]
        limits = self._limits_of(key)
        if run:
            limits = (*limits, Limit(f"run:key_{key}:r", "run", "r", "usd", "total", 2500))
        id = self._name("req")
        request = reservation(
            *limits, ceiling=ceiling, tokens=tokens, time=self.clock(), key=key, id=id, run="r" if run else None
        )
        before = counters(self.engine)
        result = books.execute([Reserve(request, patient=patient)]).results[0]
        after = counters(self.engine)
        if isinstance(result, Refusal):
            assert after == before
            return
        assert result is None
        self.flying[id], self.home[id] = request, books
        for limit in limits:
            where = (limit.id, window_start(limit.window, request.time))
            now = after.get(where, Totals(0, 0))
            if limit.unit == "requests":
                self.counted[where] += 1
            if limit.unit == "tokens":
                self.paced[id].append((*where, tokens))
            if limit.soft:
                assert before.get(where, Totals(0, 0)).spent < limit.amount
            elif (ceiling if limit.unit == "usd" else tokens if limit.unit == "tokens" else 1) > 0:
                assert now.spent + now.held <= limit.amount

    @precondition(lambda self: self.flying)
    @rule(number=anyone, extra=money)
    def extend(self, number: int, extra: int) -> None:
        """A request in flight asks to hold more."""
        request = self._pick(number)
        books = self.home[request.id]
        before = counters(self.engine)
        result = books.execute([Extend(request.id, extra)]).results[0]
        if result is not None:
            assert counters(self.engine) == before

    @precondition(lambda self: self.flying)
    @rule(
        number=anyone, share=st.sampled_from([0, 25, 100, 150]), spent=tokens, again=st.booleans(),
        certainty=st.sampled_from(["exact", "estimated", "ceiling"]), background=st.booleans(), counts=st.booleans(),
        switch=st.booleans(),
    )  # fmt: skip
    def settle(
        self, number: int, share: int, spent: int, again: bool, certainty: Certainty, background: bool, counts: bool,
        switch: bool,
    ) -> None:  # fmt: skip
        """A request ends, on the node that began it, whether or not others took that node for dead; perhaps twice."""
        request = self._pick(number)
        cost = request.ceiling * share // 100
        work = self._name("work") if background else None
        more: dict[str, Any] = {"provider": "azure", "model": "gpt-5-mini"} if switch else {}
        end = settlement(
            request, cost, certainty=certainty, usage=used(spent, spent // 2) if counts else None, work_id=work, **more
        )
        books = self.home[request.id]
        assert books.execute([Settle(end)] * (1 + again)).results == [None] * (1 + again)
        self._may_exceed(request, max(0, cost - request.ceiling), spent * 2)
        del self.flying[request.id]
        self.ended.append(request.id)
        if work is not None:
            self.works.append(work)

    @precondition(lambda self: self.ended)
    @rule(number=anyone, cost=money)
    def settle_what_has_ended(self, number: int, cost: int) -> None:
        """A late second settlement changes nothing at all."""
        id = self.ended[number % len(self.ended)]
        before = counters(self.engine)
        self.nodes[number % len(self.nodes)].execute([Settle(settlement(id, cost))])
        assert counters(self.engine) == before

    @rule(number=anyone, key=st.sampled_from(KEYS), cost=money, spent=tokens, counted=st.booleans(), work=st.booleans())
    def charge(self, number: int, key: str, cost: int, spent: int, counted: bool, work: bool) -> None:
        """A finished request that held nothing; perhaps a refusal's, perhaps a look at work that is known."""
        request = reservation(*self._limits_of(key), time=self.clock(), key=key, id=self._name("req"))
        known = self.works[number % len(self.works)] if work and self.works else None
        end = settlement(request, cost if counted else 0, usage=used(spent, 1), work_id=known if counted else None)
        self.nodes[number % len(self.nodes)].execute([ChargeRow(request, end, counted=counted)])
        self.ended.append(request.id)
        if counted:
            self._may_exceed(request, cost, spent + 1)
            for limit in request.limits:
                where = (limit.id, window_start("minute", request.time))
                if limit.unit == "requests":
                    self.counted[where] += 1
                if limit.unit == "tokens":
                    self.paced[request.id].append((*where, 0))
        if known is not None:
            self._may_exceed(None, cost, spent + 1)

    @precondition(lambda self: self.works)
    @rule(number=anyone, cost=money, certainty=st.sampled_from(["exact", "estimated"]))
    def correct(self, number: int, cost: int, certainty: Certainty) -> None:
        """Background work's usage comes through, once or again."""
        work = self.works[number % len(self.works)]
        books = self.nodes[number % len(self.nodes)]
        end = settlement("poll", cost, certainty=certainty, usage=used(cost % 50, 1))
        first, second = books.execute([Correct(work, None, end), Correct(work, None, end)]).results
        assert first in ("corrected", "already")
        assert second == "already" or certainty != "exact"
        self._may_exceed(None, cost, 60)

    def _may_exceed(self, request: Reservation | None, cost: int, spent: int) -> None:
        """What was charged without having been held may take a limit over its amount."""
        for limit in request.limits if request else [limit for _, limit in self.limits.values()]:
            self.slack[limit.id] += spent if limit.unit == "tokens" else cost
        if request is None:
            for key in KEYS:
                self.slack[f"run:key_{key}:r"] += cost

    # What nodes and time do

    @rule(
        by=st.sampled_from([1, 14, 61, 3600, 86_400, 7 * 86_400, 31 * 86_400]),
        sleeper=st.none() | st.integers(0, 1),
    )
    def pass_time(self, by: int, sleeper: int | None) -> None:
        """Time passes, over the ends of windows, and every node beats, except one that perhaps sleeps."""
        self.clock.now += timedelta(seconds=by)
        if sleeper is not None and len(self.nodes) > 1:
            books = self.nodes.pop(sleeper % len(self.nodes))
            self.sleepers.append((books, set(books.open)))
            self._new_node()
        for books in self.nodes:
            books.beat()

    @rule(number=anyone)
    def crash(self, number: int) -> None:
        """A node dies with all that it knew; what it had in flight never settles, and another node starts."""
        books = self.nodes.pop(number % len(self.nodes))
        for id in list(books.open):
            del self.flying[id]
        books.close()
        self._new_node()

    @precondition(lambda self: self.sleepers)
    @rule()
    def wake(self) -> None:
        """A node that slept goes on as if nothing had been."""
        books, _ = self.sleepers.pop()
        books.beat()
        self.nodes.append(books)

    @rule(number=anyone)
    def bury(self, number: int) -> None:
        """A node charges what dead nodes left, and touches nothing of live ones."""
        books = self.nodes[number % len(self.nodes)]
        with self.engine.connect() as connection:
            mine = [id for node in self.nodes for id in node.open]
            states = text("SELECT id FROM holds")
            before = set(connection.execute(states).scalars())
        for beat in books.silent():
            books.bury(beat.node_id)
        with self.engine.connect() as connection:
            after = set(connection.execute(states).scalars())
        assert before & set(mine) == after & set(mine)

    @rule(number=anyone)
    def audit(self, number: int) -> None:
        """A node that lost nothing finds nothing to let go of."""
        assert self.nodes[number % len(self.nodes)].audit() == 0

    # What must always be so

    @invariant()
    def sums_agree(self) -> None:
        """Counters and rollups say what the rows add up to, and hard limits are kept."""
        if not hasattr(self, "clock"):
            return
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(text("SELECT * FROM requests")).mappings()]
            holds = [dict(row) for row in connection.execute(text("SELECT * FROM holds")).mappings()]
            rollups = connection.execute(text("SELECT * FROM rollups")).all()
            stored = connection.execute(text("SELECT limit_id, window_start, spent, held FROM counters")).all()
        for row in rows:
            row["usage"] = document(row["usage"])
        found = {(id, start): Totals(spent, held) for id, start, spent, held in stored if spent or held}
        counted = self._expected(rows, holds, {tuple(row[:2]) for row in stored})
        expected = {key: totals for key, totals in counted.items() if totals != Totals(0, 0)}
        assert found == expected
        assert not {row["id"] for row in rows} & {hold["id"] for hold in holds}
        assert {tuple(row[:7]): tuple(row[7:]) for row in rollups if any(row[7:])} == _rolled_up(rows)
        for (id, _), totals in found.items():
            limit = self.limits[id][1] if id in self.limits else Limit(id, "run", "r", "usd", "total", 2500)
            if not limit.soft and limit.unit != "requests":
                assert totals.spent + totals.held <= limit.amount + self.slack[id]

    def _expected(
        self, rows: list[dict[str, Any]], holds: list[dict[str, Any]], known: set[tuple[Any, ...]]
    ) -> dict[tuple[str, int], Totals]:
        """What the counters that there are must say."""
        sums: dict[tuple[str, int], list[int]] = {}
        for id, start in known:
            sums[id, start] = [0, 0]
            if id in self.limits and self.limits[id][1].unit == "requests":
                sums[id, start][0] = self.counted[id, start]
        for hold in holds:
            for id, start, held, _ in document(hold["limits"]):
                if (id, start) in sums:
                    sums[id, start][1] += held
        for row in rows:
            for id, start, held in self.paced[row["id"]]:
                if (id, start) in sums:
                    sums[id, start][0] += _tokens(row, held)
            if (run := (f"run:{row['key_id']}:{row['run']}", 0)) in sums:
                sums[run][0] += row["cost"]
        for id, start in known:
            if id in self.limits and self.limits[id][1].unit == "usd":
                of_limit = self.limits[id][0]
                column = {"key": "key_id", "project": "project_id"}.get(of_limit.owner_kind)
                sums[id, start][0] = sum(
                    row["cost"] or 0
                    for row in rows
                    if (column is None or row[column] == of_limit.owner_id)
                    and window_start(self.limits[id][1].window, moment(row["time"])) == start
                )
        return {key: Totals(*value) for key, value in sums.items()}


def _tokens(row: dict[str, Any], held: int) -> int:
    if row["usage"] is None:
        return 0 if row["certainty"] == "exact" else held
    return int(row["usage"]["input_tokens"] + row["usage"]["output_tokens"])


def _rolled_up(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 7)
    for row in rows:
        usage = row["usage"] or {}
        key = (
            row["time"] // 900_000 * 900_000, row["key_id"], row["project_id"], row["user_id"], row["route"],
            row["provider"] or "", row["model"],
        )  # fmt: skip
        failed = row["error"] is not None or (row["status"] or 0) >= 400
        values = (1, int(failed), usage.get("input_tokens", 0), usage.get("output_tokens", 0), 0, 0, row["cost"])
        for place, value in enumerate(values):
            sums[key][place] += value
    return {key: tuple(value) for key, value in sums.items()}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_sums_always_agree_and_no_cap_is_passed(engine: Engine) -> None:
    """Random limits, owners, windows, clocks, reservations, settlements, crashes: after every step all is right."""
    if engine.dialect.name == "sqlite":
        engine.dispose()
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    machine = type("Machine", (LedgerMachine,), {"engine": engine})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
