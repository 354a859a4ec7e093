"""The rules of the ledger: what each kind of command does to rows, counters and rollups. No I/O.

A `LedgerBatch` holds what one transaction has read; its methods decide, one command after the other, and collect
what is to be written. A row is `open` while its request is in flight, and ends `settled`. Two states are in between,
where a row is charged but the truth may still come: `swept`, at its ceiling, when its node died, until it settles after
all; `pending`, by guess, for background work, until its usage comes through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from paig_gateway.database.columns import json_text, milliseconds, moment, text
from paig_gateway.domain.errors import GatewayError, LimitRefused
from paig_gateway.domain.limits import Balance, Limit, Unit, Window, window_end, window_start
from paig_gateway.ledger.records import Certainty, Reservation, Settlement
from paig_gateway.pricing.usage import Usage

CounterKey = tuple[str, int]
"""A limit's id and the start of a window, in seconds since the epoch."""
RollupKey = tuple[int, str, str, str, str, str, str]
"""Hour in milliseconds, key, project, user, route, provider, model."""
Hold = tuple[str, int, int, Unit]
"""Limit id, window start, amount held, unit: one for each limit in dollars or tokens that binds a row."""
Value = str | int | float | bool | None
State = Literal["open", "settled", "swept", "pending"]
Corrected = Literal["unknown", "corrected", "already"]

HOUR_MS = 3_600_000
MAX_COUNT = 10**12
"""More of anything than this in one answer are a provider's nonsense; adding them up must not overflow."""
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
METRICS = ("requests", "errors", *COUNTS, "cost")
"""What a rollup adds up."""

RESERVED = (
    *("id", "node_id", "state", "time", "key_id", "key", "project_id", "project", "user_id", "user", "route"),
    *("provider", "model", "format", "stream", "tags", "run", "trace_id", "holds", "reserved"),
)
"""The columns that a reservation writes."""
CORRECTED = ("state", "provider", "model", "cost", "certainty", "usage", "raw_usage", "price")
"""The columns that a correction writes."""
SETTLED = (*CORRECTED, "status", "error", "attempts", "work_id", "ms_total", "ms_first_byte", "ms_gateway")
"""The columns that a settlement writes, besides `finished_at`, which the transaction stamps."""

SWEPT_ERROR = "node-lost"


@dataclass(slots=True)
class Row:
    """A row as far as money is concerned; the fields are the columns that a transaction reads."""

    id: str
    node_id: str
    state: State
    time: int
    key_id: str
    project_id: str
    user_id: str
    route: str
    provider: str | None
    model: str
    holds: list[Hold]
    reserved: int
    cost: int | None
    certainty: Certainty | None
    usage: Usage | None
    status: int | None
    error: str | None
    work_id: str | None


@dataclass(slots=True)
class Counter:
    """A counter as it was read and as it will be; `is_new` where there was none yet."""

    spent: int
    held: int
    is_new: bool = False
    spent_before: int = field(init=False)
    held_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.spent_before, self.held_before = self.spent, self.held


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reservation did not go through.

    Attributes:
        limit: The limit that is reported.
        waits: Ids of the limits that lack room only for what requests in flight hold; empty where waiting is no use.
        balances: Every hard limit on money or tokens that binds the request, as it stands.
    """

    limit: Limit
    spent: int
    held: int
    needed: int
    time: datetime
    waits: frozenset[str]
    balances: tuple[Balance, ...] = ()

    def error(self, now: datetime) -> GatewayError:
        """What the client is told."""
        return LimitRefused(
            self.limit,
            spent=self.spent,
            held=self.held,
            needed=self.needed,
            resets_at=window_end(self.limit.window, self.time),
            now=now,
            balances=self.balances,
        )


def counter_key(limit: Limit, at: datetime) -> CounterKey:
    """The counter that a request of that moment moves."""
    return limit.id, _start(limit.window, int(at.timestamp()) // 60)


@lru_cache(maxsize=4096)
def _start(window: Window, minute: int) -> int:
    return window_start(window, datetime.fromtimestamp(minute * 60, UTC))


def run_id(reservation: Reservation) -> str | None:
    """The id of the run's budget and of its counter, or None where the request is of no run."""
    return None if reservation.run is None else f"run:{reservation.caller.key_id}:{reservation.run}"


def binding(reservation: Reservation, runs: Mapping[str, int]) -> tuple[Limit, ...]:
    """The limits that bind a request, its run's budget being the one that the run's first request fixed.

    Args:
        reservation: The request, with the budget it states, if it states one.
        runs: Budgets already fixed, by run id.
    """
    run = run_id(reservation)
    if run is None or run not in runs:
        return reservation.limits
    others = tuple(limit for limit in reservation.limits if limit.owner_kind != "run")
    return (*others, Limit(run, "run", reservation.run or "", "usd", "total", runs[run]))


@dataclass
class LedgerBatch:
    """What one transaction read, and what it is going to write.

    Attributes:
        node_id: Who writes.
        now: The moment of the transaction, in milliseconds since the epoch.
        rows: The rows read, by id; locked.
        counters: The counters read; locked. One that a settlement names and that is missing belonged to a limit that is
            gone, and is left alone.
        runs: Budgets of the runs concerned.
        opened: Rows to insert, as `RESERVED` has the columns.
        settled: Rows to update, as `SETTLED` has the columns.
        corrected: Rows to update, as `CORRECTED` has the columns.
        reheld: Rows whose hold is raised: `holds`, `reserved`.
        budgets: Runs to insert: id, amount.
        rollups: What to add to each rollup, as `METRICS` has them.
    """

    node_id: str
    now: int
    rows: dict[str, Row]
    counters: dict[CounterKey, Counter]
    runs: dict[str, int]
    opened: list[tuple[Value, ...]] = field(default_factory=list)
    settled: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    corrected: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    reheld: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    budgets: list[tuple[str, int]] = field(default_factory=list)
    rollups: dict[RollupKey, list[int]] = field(default_factory=dict)

    def reserve(self, reservation: Reservation, waited_for: Collection[str] = ()) -> Refusal | None:
        """Hold the worst case of a request against every limit that binds it, or refuse and change nothing.

        Args:
            reservation: The request.
            waited_for: Ids of limits that others already wait for; behind them this one has to wait, too.
        """
        limits = binding(reservation, self.runs)
        refusal = self._room(limits, reservation.time, reservation.ceiling, reservation.tokens)
        behind = frozenset(limit.id for limit in limits if limit.id in waited_for)
        if refusal is not None:
            return replace(refusal, waits=refusal.waits | behind) if refusal.waits and behind else refusal
        if behind:
            limit = next(limit for limit in limits if limit.id in behind)
            counter = self.counters[counter_key(limit, reservation.time)]
            needed = reservation.tokens if limit.unit == "tokens" else reservation.ceiling
            balances = self._balances(limits, reservation.time)
            return Refusal(limit, counter.spent, counter.held, needed, reservation.time, behind, balances)
        holds: list[Hold] = []
        for limit in limits:
            key = counter_key(limit, reservation.time)
            counter = self.counters[key]
            if limit.unit == "requests":
                counter.spent += 1
                continue
            amount = 0 if limit.soft else reservation.ceiling if limit.unit == "usd" else reservation.tokens
            counter.held += amount
            holds.append((*key, amount, limit.unit))
            if limit.owner_kind == "run" and limit.id not in self.runs:
                self.runs[limit.id] = limit.amount
                self.budgets.append((limit.id, limit.amount))
        self._insert(reservation, holds, reservation.ceiling)
        return None

    def extend(self, id: str, limits: Iterable[Limit], extra: int) -> Refusal | None:
        """Hold more for a request in flight, or refuse and change nothing.

        Raises:
            LookupError: The row is not open.
        """
        row = self.rows.get(id)
        if row is None or row.state != "open":
            raise LookupError(f"request {id} is not open")
        dollars = {hold[0]: hold for hold in row.holds if hold[3] == "usd"}
        bound = [limit for limit in limits if limit.id in dollars and not limit.soft]
        refusal = self._room(bound, moment(row.time), extra, 0)
        if refusal:
            return refusal
        for limit in bound:
            lid, start, amount, unit = dollars[limit.id]
            if counter := self.counters.get((lid, start)):
                counter.held += extra
                dollars[lid] = (lid, start, amount + extra, unit)
        row.holds = [dollars.get(hold[0], hold) for hold in row.holds]
        row.reserved += extra
        self.reheld[id] = (json_text(row.holds), row.reserved)
        return None

    def settle(self, settlement: Settlement, reservation: Reservation | None) -> None:
        """Put what a request cost in place of what it held; a second time is nothing.

        Args:
            settlement: How it ended.
            reservation: The request as this process remembers it, should the database have lost the row.

        Raises:
            LookupError: The ledger has no such row, and nobody remembers it.
        """
        row = self.rows.get(settlement.id)
        if row is None:
            if reservation is None:
                raise LookupError(f"the ledger has no request {settlement.id}")
            row = self._insert_charged(reservation)
        elif row.state not in ("open", "swept"):
            return
        if settlement.work_id is not None and settlement.certainty != "exact":
            # The work's usage may have come through in a later look before this first row was settled.
            seen = self._of_work(settlement.work_id, row.key_id, settlement.provider)
            if any(other.certainty == "exact" and other.id != row.id for other in seen):
                settlement = replace(settlement, cost=0, certainty="exact", usage=None, raw_usage=None)
        self._finish(row, settlement)

    def charge(self, reservation: Reservation, settlement: Settlement, *, counted: bool = True) -> None:
        """Write a finished row that held nothing, whether or not its limits have room.

        Args:
            reservation: The request.
            settlement: How it ended. Work that the ledger has already charged is written as a row that cost nothing.
            counted: Whether limits take notice; a refusal's row moves none.
        """
        if settlement.id in self.rows:
            return
        if settlement.work_id is not None:
            known = self.correct(settlement.work_id, reservation.caller.key_id, settlement)
            if known != "unknown":
                settlement = replace(settlement, cost=0, certainty="exact", usage=None, raw_usage=None)
        row = self._insert_charged(reservation) if counted else self._insert(reservation, [], 0)
        self._finish(row, settlement)

    def correct(self, work_id: str, key_id: str | None, settlement: Settlement) -> Corrected:
        """Give work that was charged by guess its true cost, once.

        Returns:
            `unknown` where the ledger has no row of the work, `already` where its row is exact.
        """
        rows = self._of_work(work_id, key_id, settlement.provider)
        if not rows:
            return "unknown"
        if any(row.certainty == "exact" for row in rows):
            return "already"
        row = min(rows, key=lambda row: (row.time, row.id))
        truth = replace(settlement, id=row.id, status=row.status, error=row.error, work_id=work_id)
        self._move(row, truth)
        self.corrected[row.id] = _values(row, truth)[: len(CORRECTED)]
        return "corrected"

    def sweep(self, id: str, node_id: str) -> None:
        """Charge the row of a dead node at its ceiling."""
        row = self.rows.get(id)
        if row is None or row.state != "open" or row.node_id != node_id:
            return
        self._finish(row, Settlement(id, moment(self.now), row.reserved, "ceiling", error=SWEPT_ERROR), swept=True)

    def _room(self, limits: Collection[Limit], at: datetime, ceiling: int, tokens: int) -> Refusal | None:
        """Whether every limit has room; the refusal that is reported is the one that keeps the request out longest."""
        short: list[tuple[Limit, Counter, int]] = []
        for limit in limits:
            counter = self.counters.get(counter_key(limit, at))
            if counter is None:
                continue  # an extension of a request whose limit is gone
            needed = 1 if limit.unit == "requests" else ceiling if limit.unit == "usd" else tokens
            if limit.soft:
                full = counter.spent >= limit.amount and needed > 0  # what costs nothing may pass
            else:
                full = counter.spent + counter.held + needed > limit.amount
            if full:
                short.append((limit, counter, needed))
        if not short:
            return None
        waits = [limit.id for limit, counter, needed in short if _has_room_later(limit, counter, needed)]
        limit, counter, needed = max(short, key=lambda s: (not _has_room_later(*s), _wait(s[0], at)))
        patient = frozenset(waits) if len(waits) == len(short) else frozenset[str]()
        return Refusal(limit, counter.spent, counter.held, needed, at, patient, self._balances(limits, at))

    def _balances(self, limits: Iterable[Limit], at: datetime) -> tuple[Balance, ...]:
        """The hard limits on money and tokens, as they stand."""
        found = [(limit, self.counters.get(counter_key(limit, at))) for limit in limits]
        return tuple(
            Balance(limit, counter.spent, counter.held)
            for limit, counter in found
            if counter is not None and not limit.soft and limit.unit != "requests"
        )

    def _insert(self, reservation: Reservation, holds: list[Hold], reserved: int) -> Row:
        r, caller = reservation, reservation.caller
        row = Row(
            r.id, self.node_id, "open", milliseconds(r.time), caller.key_id, caller.project_id or "",
            caller.user_id or "", r.route, text(r.provider), text(r.model), holds, reserved,
            None, None, None, None, None, None,
        )  # fmt: skip
        self.rows[r.id] = row
        self.opened.append(
            (
                row.id, row.node_id, row.state, row.time, row.key_id, caller.key, row.project_id, caller.project,
                row.user_id, caller.user, row.route, row.provider, row.model, r.format, r.stream,
                json_text(r.tags) if r.tags else None, text(r.run), r.trace_id,
                json_text(holds) if holds else None, reserved,
            )
        )  # fmt: skip
        return row

    def _insert_charged(self, reservation: Reservation) -> Row:
        holds: list[Hold] = []
        for limit in binding(reservation, self.runs):
            key = counter_key(limit, reservation.time)
            if limit.unit == "requests":
                self.counters[key].spent += 1
            else:
                holds.append((*key, 0, limit.unit))
        return self._insert(reservation, holds, 0)

    def _finish(self, row: Row, settlement: Settlement, *, swept: bool = False) -> None:
        self._move(row, settlement, swept=swept)
        self.settled[row.id] = _values(row, settlement)

    def _move(self, row: Row, settlement: Settlement, *, swept: bool = False) -> None:
        """Move counters and rollups from what the row says now to what it will say, and let it say so."""
        was_open = row.state == "open"
        for lid, start, held, unit in row.holds:
            counter = self.counters.get((lid, start))
            if counter is None:
                continue
            if unit == "usd":
                before, after = row.cost or 0, settlement.cost
            else:
                before = _tokens(row.usage, row.certainty, held)
                after = _tokens(settlement.usage, settlement.certainty, held)
            counter.spent += after if was_open else after - before
            counter.held -= held if was_open else 0
        if not was_open:
            self._roll(row, -1)
        guessed = settlement.work_id is not None and settlement.certainty != "exact"
        row.state = "swept" if swept else "pending" if guessed else "settled"
        row.cost, row.certainty = settlement.cost, settlement.certainty
        row.usage, row.status, row.error = settlement.usage, settlement.status, settlement.error
        row.work_id = text(settlement.work_id)
        row.provider, row.model = text(settlement.provider) or row.provider, text(settlement.model) or row.model
        self._roll(row, 1)

    def _roll(self, row: Row, sign: int) -> None:
        key = (
            row.time // HOUR_MS * HOUR_MS, row.key_id, row.project_id, row.user_id, row.route, row.provider or "",
            row.model,
        )  # fmt: skip
        sums = self.rollups.setdefault(key, [0] * len(METRICS))
        for place, value in enumerate(_metrics(row)):
            sums[place] += sign * value

    def _of_work(self, work_id: str, key_id: str | None, provider: str | None) -> list[Row]:
        stored = text(work_id)
        return [
            row
            for row in self.rows.values()
            if row.work_id == stored
            and (key_id is None or row.key_id == key_id)
            and (provider is None or row.provider is None or row.provider == provider)
        ]


def _has_room_later(limit: Limit, counter: Counter, needed: int) -> bool:
    """Whether the limit lacks room only for what requests in flight hold, so that waiting may help."""
    return limit.unit != "requests" and not limit.soft and counter.spent + needed <= limit.amount


def _wait(limit: Limit, at: datetime) -> float:
    end = window_end(limit.window, at)
    return end.timestamp() if end else float("inf")


def _tokens(usage: Usage | None, certainty: Certainty | None, held: int) -> int:
    """What a limit on tokens is charged; what was held, where nobody knows better."""
    if usage is None:
        return held if certainty in ("estimated", "ceiling") else 0
    return _count(usage, "input_tokens") + _count(usage, "output_tokens")


def _tally(usage: Usage, name: str) -> int | float:
    """A count that can be stored and added up; those that rollups add up are whole."""
    count = usage.get(name, 0)
    count = max(0, min(count, MAX_COUNT)) if count == count else 0  # not a number is not itself
    return int(count) if name in COUNTS else count


def _count(usage: Usage, name: str) -> int:
    return int(_tally(usage, name))


def _metrics(row: Row) -> Sequence[int]:
    failed = row.error is not None or (row.status is not None and row.status >= 400)
    counts = [_count(row.usage, name) for name in COUNTS] if row.usage else (0, 0, 0, 0)
    return (1, int(failed), *counts, row.cost or 0)


def _values(row: Row, s: Settlement) -> tuple[Value, ...]:
    """A settlement, after it has moved the row, as `SETTLED` has the columns."""
    usage = None if s.usage is None else {name: _tally(s.usage, name) for name in s.usage}
    return (
        row.state, row.provider, row.model, s.cost, s.certainty, json_text(usage),
        json_text(s.raw_usage), text(s.price), s.status, text(s.error), json_text(s.attempts or None), text(s.work_id),
        s.ms_total, s.ms_first_byte, s.ms_gateway,
    )  # fmt: skip
