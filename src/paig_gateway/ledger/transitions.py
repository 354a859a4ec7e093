"""The rules of the ledger: what each command does to holds, rows, counters and rollups. Pure, without I/O.

A `LedgerBatch` starts with what one transaction has read. Its methods decide, one command after the other, and collect
what the transaction is going to write.

A request in flight is a hold. Its settlement deletes the hold and inserts one finished row. A finished row is in one of
three states: `settled` is final; `swept` was charged at its ceiling because its node died, and is corrected if the
settlement arrives after all; `pending` is background work charged by guess, until its usage is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal

import msgspec

from paig_client.api.limits import Unit, Window
from paig_client.api.vocabulary import Certainty
from paig_gateway.database.columns import json_text, milliseconds, moment, text
from paig_gateway.domain.errors import GatewayError, LimitRefused, too_many_members
from paig_gateway.domain.limits import UTC_ZONE, Balance, Limit, Zone, window_end, window_start
from paig_gateway.ledger.records import BatchLine, Reservation, Settlement
from paig_gateway.pricing.usage import Usage

CounterKey = tuple[str, int]
"""A limit's id and the start of a window, in seconds since the epoch."""
RollupKey = tuple[int, str, str, str, str, str, str]
"""Start of the step in milliseconds, key, project, user, route, provider, model."""
LimitHold = tuple[str, int, int, Unit]
"""Limit id, window start, amount held, unit: one for each limit in dollars or tokens that binds a request."""
Value = str | int | float | bool | None
RowState = Literal["settled", "swept", "pending"]
Corrected = Literal["unknown", "corrected", "already"]

STEP_MS = 900_000
"""The length of a rollup's step: a quarter of an hour, so that days of any time zone can be summed."""
MAX_COUNT = 10**12
"""The largest count that is recorded. A larger one is a provider's error, and sums must not overflow."""
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
METRICS = ("requests", "errors", *COUNTS, "cost")
"""The sums of a rollup."""

HELD = ("id", "node_id", "time", "key_id", "project_id", "user_id", "reserved", "limits", "request")
"""The columns of `holds`."""
IDENTITY = (
    *("id", "node", "time", "key_id", "key", "project_id", "project", "user_id", "user", "route", "format", "stream"),
    *("tags", "run", "session", "agent", "agent_parent", "agent_name", "trace_id", "reserved"),
)
"""The columns of a finished row that never change."""
CORRECTED = (
    *("state", "holds", "provider", "model", "cost", "certainty", "certainty_reason", "cost_source", "list_price"),
    *("usage", "raw_usage", "price"),
)
"""The columns that a correction writes, besides `finished_at`, which the transaction stamps."""
SETTLED = (
    *(*CORRECTED, "status", "error", "refusal", "attempts", "work_id"),
    *("ms_total", "ms_first_byte", "ms_gateway"),
)
"""The columns that a settlement writes, besides `finished_at`."""
FINISHED = (*IDENTITY, *SETTLED)
"""The columns of a finished row, besides `finished_at`."""

SWEPT_ERROR = "node-lost"
UNUSED_ERROR = "not-dispatched"
"""The `error` of a request whose caller had left, or was refused, before its reservation was known to be written."""

_encode = msgspec.json.Encoder().encode


class HeldRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a request that its hold keeps, as one JSON document, until the finished row is written."""

    key: str
    route: str
    model: str
    format: str
    project: str | None = None
    user: str | None = None
    provider: str | None = None
    stream: bool = False
    tags: dict[str, str] | None = None
    run: str | None = None
    session: str | None = None
    trace_id: str | None = None
    agent: str | None = None
    agent_parent: str | None = None
    agent_name: str | None = None

    @classmethod
    def of(cls, r: Reservation) -> HeldRequest:
        """The kept fields of a reservation; text that a database refuses is replaced."""
        caller = r.caller
        tags = {text(name): text(value) for name, value in r.tags.items()} if r.tags else None
        return cls(
            caller.key, r.route, text(r.model), r.format, caller.project, caller.user, text(r.provider), r.stream, tags,
            r.run and text(r.run), r.session and text(r.session), r.trace_id, r.agent and text(r.agent),
            r.agent_parent and text(r.agent_parent), r.agent_name and text(r.agent_name),
        )  # fmt: skip

    def document(self) -> str:
        return _encode(self).decode()


@dataclass(slots=True)
class Hold:
    """A row of `holds`; the fields are its columns, in the order of `HELD`."""

    id: str
    node_id: str
    time: int
    key_id: str
    project_id: str
    user_id: str
    reserved: int
    limits: list[LimitHold]
    request: HeldRequest


@dataclass(slots=True)
class FinishedRow:
    """A finished row as far as money is concerned; the fields are the columns that a transaction reads."""

    id: str
    state: RowState
    time: int
    key_id: str
    project_id: str
    user_id: str
    route: str
    provider: str | None
    model: str
    holds: list[LimitHold]
    reserved: int
    cost: int
    certainty: Certainty | None
    usage: Usage | None
    status: int | None
    error: str | None
    work_id: str | None
    price: str | None


@dataclass(slots=True)
class Counter:
    """A counter, before and after; `is_new` if it did not exist yet."""

    spent: int
    held: int
    is_new: bool = False
    spent_before: int = field(init=False)
    held_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.spent_before, self.held_before = self.spent, self.held


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reservation was refused.

    Attributes:
        limit: The limit that is reported.
        waits: Ids of the limits that lack room only because of requests in flight; empty if waiting would not help.
        balances: The balance of each hard limit on money or tokens that binds the request; none where a smaller
            request would be refused as well.
        crowded: Whether the limit has all the counters that it may have, and none for this request's member.
    """

    limit: Limit
    spent: int
    held: int
    needed: int
    time: datetime
    waits: frozenset[str]
    balances: tuple[Balance, ...] = ()
    crowded: bool = False

    def error(self, now: datetime) -> GatewayError:
        if self.crowded:
            return too_many_members(self.limit)
        return LimitRefused(
            self.limit,
            spent=self.spent,
            held=self.held,
            needed=self.needed,
            resets_at=window_end(self.limit.window, self.time, self.limit.zone),
            now=now,
            balances=self.balances,
        )


def counter_key(limit: Limit, at: datetime) -> CounterKey:
    """The counter that a request of that moment moves."""
    return limit.id, _start(limit.window, int(at.timestamp()) // 60, limit.zone)


_KNOWN_KEYS: dict[int, tuple[tuple[Limit, ...], int, tuple[CounterKey, ...]]] = {}
"""By the `id()` of a tuple of limits: the tuple (so that the id stays its own), a minute, and the counters in it."""


def counter_keys(limits: tuple[Limit, ...], at: datetime) -> tuple[CounterKey, ...]:
    """The counters that a request of that moment moves, one for each limit.

    All requests of a key have the same limits, in the same object, so this is worked out once a minute.
    """
    minute = int(at.timestamp()) // 60
    known = _KNOWN_KEYS.get(id(limits))
    if known is not None and known[0] is limits and known[1] == minute:
        return known[2]
    keys = tuple((limit.id, _start(limit.window, minute, limit.zone)) for limit in limits)
    if len(_KNOWN_KEYS) >= 4096:
        _KNOWN_KEYS.clear()
    _KNOWN_KEYS[id(limits)] = limits, minute, keys
    return keys


@lru_cache(maxsize=4096)
def _start(window: Window, minute: int, zone: Zone = UTC_ZONE) -> int:
    # Zones differ from UTC by whole minutes since 1972.
    return window_start(window, datetime.fromtimestamp(minute * 60, UTC), zone)


def run_id(reservation: Reservation) -> str | None:
    """The id of the run's budget and of its counter, or None where the request belongs to no run."""
    return None if reservation.run is None else f"run:{reservation.caller.key_id}:{reservation.run}"


def binding(reservation: Reservation, runs: Mapping[str, int]) -> tuple[Limit, ...]:
    """The limits that bind a request; its run's budget is the one that the run's first request fixed.

    Args:
        reservation: The request, with the budget it states, if it states one.
        runs: Budgets already fixed, by run id.
    """
    run = run_id(reservation)
    if run is None or run not in runs:
        return reservation.limits
    others = tuple(limit for limit in reservation.limits if limit.owner_kind != "run")
    return (*others, Limit(run, "run", reservation.run or "", "usd", "total", runs[run]))


@dataclass(slots=True)
class _Finished:
    """A row to insert, in place of its hold, or to update."""

    row: FinishedRow
    settlement: Settlement
    hold: Hold | None


@dataclass
class LedgerBatch:
    """The rows that one transaction read, and the changes that it will write.

    Attributes:
        node_id: The node that writes.
        now: The moment of the transaction, in milliseconds since the epoch.
        holds: The holds read, by id; locked.
        rows: The finished rows read, by id; locked.
        counters: The counters read; locked. A settlement leaves alone a counter that is missing: its limit is deleted.
        runs: Budgets of the runs concerned.
        opened: Holds to insert, as `HELD` has the columns.
        closed: Ids of holds to delete.
        extended: Holds whose amount is raised: `limits`, `reserved`.
        corrected: Rows to update, as `CORRECTED` has the columns.
        budgets: Runs to insert: id, amount.
        rollups: What to add to each rollup, as `METRICS` has them.
    """

    node_id: str
    now: int
    holds: dict[str, Hold]
    rows: dict[str, FinishedRow]
    counters: dict[CounterKey, Counter]
    runs: dict[str, int]
    opened: list[tuple[Value, ...]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    extended: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    corrected: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    budgets: list[tuple[str, int]] = field(default_factory=list)
    rollups: dict[RollupKey, list[int]] = field(default_factory=dict)
    _finished: dict[str, _Finished] = field(default_factory=dict)

    @property
    def inserted(self) -> list[tuple[Value, ...]]:
        """Finished rows to insert, as `FINISHED` has the columns."""
        return [_new_values(f.row, f.settlement, f.hold) for f in self._finished.values() if f.hold is not None]

    @property
    def updated(self) -> dict[str, tuple[Value, ...]]:
        """Finished rows to update, as `SETTLED` has the columns."""
        return {id: _values(f.row, f.settlement) for id, f in self._finished.items() if f.hold is None}

    @property
    def finishes(self) -> bool:
        """Whether any row is inserted or updated."""
        return bool(self._finished or self.corrected)

    def reserve(self, reservation: Reservation, waited_for: Collection[str] = ()) -> Refusal | None:
        """Hold the worst case of a request against every limit that binds it, or refuse and change nothing.

        Args:
            waited_for: Ids of limits that others already wait for; this request waits behind them.
        """
        limits = binding(reservation, self.runs)
        keys = counter_keys(limits, reservation.time)
        refusal = self._room(limits, keys, reservation.time, reservation.ceiling, reservation.tokens)
        behind = frozenset(limit.id for limit in limits if limit.id in waited_for) if waited_for else frozenset[str]()
        if refusal is not None:
            return replace(refusal, waits=refusal.waits | behind) if refusal.waits and behind else refusal
        if behind:
            limit, key = next(pair for pair in zip(limits, keys, strict=True) if pair[0].id in behind)
            counter = self.counters[key]
            needed = reservation.tokens if limit.unit == "tokens" else reservation.ceiling
            balances = self._balances(limits, keys)
            return Refusal(limit, counter.spent, counter.held, needed, reservation.time, behind, balances)
        held = self._take(limits, keys, reservation.ceiling, reservation.tokens)
        r, caller, request = reservation, reservation.caller, HeldRequest.of(reservation)
        hold = Hold(
            r.id, self.node_id, milliseconds(r.time), caller.key_id, caller.project_id or "", caller.user_id or "",
            r.ceiling, held, request,
        )  # fmt: skip
        self.holds[r.id] = hold
        self.opened.append(
            (
                hold.id, hold.node_id, hold.time, hold.key_id, hold.project_id, hold.user_id, hold.reserved,
                _encode(held).decode(), request.document(),
            )
        )  # fmt: skip
        return None

    def extend(
        self, id: str, limits: Iterable[Limit], extra: int, exchange: Sequence[Limit] | None = None, tokens: int = 0
    ) -> Refusal | None:
        """Hold more for a request in flight, or refuse and change nothing.

        Args:
            limits: The limits that it holds something of.
            extra: Nanodollars to hold more.
            exchange: The limits that bind it from now on, where its next try is bound by others; what it holds of those
                that do not bind it any more is released.
            tokens: What it holds of limits on tokens that are new to it.

        Raises:
            LookupError: The request is not in flight.
        """
        hold = self.holds.get(id)
        if hold is None:
            raise LookupError(f"request {id} is not open")
        known = {limit.id: limit for limit in limits}
        stays = known.keys() if exchange is None else {limit.id for limit in exchange}
        gone = {held[0] for held in hold.limits if held[0] in known and held[0] not in stays}
        new = [limit for limit in exchange or () if limit.id not in known]
        dollars = {held[0] for held in hold.limits if held[3] == "usd"} - gone
        bound = [limit for limit in known.values() if limit.id in dollars and not limit.soft]
        at, total = moment(hold.time), hold.reserved + extra
        bound_keys, new_keys = ([counter_key(limit, at) for limit in limits] for limits in (bound, new))
        refusal = self._room(bound, bound_keys, at, extra, 0) or self._room(new, new_keys, at, total, tokens)
        if refusal:
            return refusal
        held: list[LimitHold] = []
        for lid, start, amount, unit in hold.limits:
            counter = self.counters.get((lid, start))
            more = -amount if lid in gone else extra if any(limit.id == lid for limit in bound) else 0
            if counter is not None:
                counter.held += more
            if lid not in gone:
                held.append((lid, start, amount + (more if counter is not None else 0), unit))
        hold.limits = [*held, *self._take(new, new_keys, total, tokens)]
        hold.reserved = total
        self.extended[id] = (_encode(hold.limits).decode(), hold.reserved)
        return None

    def settle(self, settlement: Settlement, reservation: Reservation | None) -> None:
        """Replace a request's hold by its cost. A second call does nothing.

        Args:
            settlement: How it ended.
            reservation: The request as this process remembers it, in case the database has lost its hold.

        Raises:
            LookupError: The ledger has no such request, and this process does not remember it.
        """
        hold = self._close(settlement.id)
        row = self.rows.get(settlement.id)
        if hold is not None and row is not None:
            self._release(hold)
            return
        if hold is not None:
            row = _row_of(hold, None)
        elif row is None:
            if reservation is None:
                raise LookupError(f"the ledger has no request {settlement.id}")
            hold = self._hold_nothing(reservation)
            row = _row_of(hold, None)
        elif row.state != "swept":
            return
        if settlement.work_id is not None and settlement.certainty != "exact":
            # The work's usage may have come through in a later look before this first row was settled.
            seen = self._of_work(settlement.work_id, row.key_id, settlement.provider)
            if any(other.certainty == "exact" and other.id != row.id for other in seen):
                settlement = _free(settlement)
        self._finish(row, settlement, hold)

    def settle_lines(self, id: str, lines: Iterable[BatchLine], end: Settlement | None) -> None:
        """Write rows of a batch's lines, each once, in place of what the batch's hold has for them.

        Args:
            id: The batch's hold. What a line costs is taken from it; the rest stays held until the end.
            end: How the batch itself ended, which closes its hold; None while lines are still to come.

        Raises:
            LookupError: The batch has no hold: all of it is charged already.
        """
        hold = self.holds.get(id)
        if hold is None:
            raise LookupError(f"the ledger has no open batch {id}")
        for line in lines:
            if line.settlement.id not in self.rows:
                part = _part(hold, line, self.node_id)
                self._finish(_row_of(part, None), line.settlement, part)
        self.extended[id] = (_encode(hold.limits).decode(), hold.reserved)
        if end is not None:
            self.settle(end, None)

    def charge(self, reservation: Reservation, settlement: Settlement, *, counted: bool = True) -> None:
        """Write a finished row that held nothing, whether or not its limits have room.

        Args:
            settlement: How it ended. Work that the ledger has already charged is written as a row that costs nothing.
            counted: Whether limits count it; a refusal's row moves none.
        """
        row = self.rows.get(settlement.id)
        if row is not None and row.error != UNUSED_ERROR:
            return
        if settlement.work_id is not None:
            known = self.correct(settlement.work_id, reservation.caller.key_id, settlement)
            if known != "unknown":
                settlement = _free(settlement)
        hold = self._hold_nothing(reservation, counted=counted)
        if row is not None:  # its hold was taken for one that was never used
            row.holds = hold.limits
            self._finish(row, settlement, None)
            return
        self._finish(_row_of(hold, None), settlement, hold)

    def correct(self, work_id: str, key_id: str | None, settlement: Settlement) -> Corrected:
        """Correct the cost of work that was charged by an estimate, once.

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
        if settlement.of_ceiling is not None:
            part = settlement.of_ceiling
            usage = {name: _share(amount, part) for name, amount in (row.usage or {}).items()}
            truth = replace(truth, cost=int(row.cost * part), usage=usage, cost_source="list", price=row.price)
        self._move(row, truth)
        if (mine := self._finished.get(row.id)) is not None:  # its row is written by this very batch
            first = mine.settlement
            mine.settlement = replace(
                truth, refusal=first.refusal, attempts=first.attempts, ms_total=first.ms_total,
                ms_first_byte=first.ms_first_byte, ms_gateway=first.ms_gateway,
            )  # fmt: skip
        else:
            self.corrected[row.id] = _values(row, truth)[: len(CORRECTED)]
        return "corrected"

    def sweep(self, id: str, node_id: str) -> None:
        """Charge the hold of a dead node at its ceiling."""
        hold = self.holds.get(id)
        if hold is None or hold.node_id != node_id:
            return
        self._close(id)
        if id in self.rows:
            self._release(hold)
            return
        end = Settlement(
            id, moment(self.now), hold.reserved, "ceiling", error=SWEPT_ERROR, certainty_reason="node-lost"
        )
        self._finish(_row_of(hold, "swept"), end, hold)

    def _take(self, limits: Iterable[Limit], keys: Iterable[CounterKey], ceiling: int, tokens: int) -> list[LimitHold]:
        """Hold an amount of each limit; a limit on requests counts one."""
        held: list[LimitHold] = []
        for limit, key in zip(limits, keys, strict=True):
            counter = self.counters[key]
            if limit.unit == "requests":
                counter.spent += 1
                continue
            amount = 0 if limit.soft else ceiling if limit.unit == "usd" else tokens
            counter.held += amount
            held.append((*key, amount, limit.unit))
            if limit.owner_kind == "run" and limit.id not in self.runs:
                self.runs[limit.id] = limit.amount
                self.budgets.append((limit.id, limit.amount))
        return held

    def _room(
        self, limits: Collection[Limit], keys: Collection[CounterKey], at: datetime, ceiling: int, tokens: int
    ) -> Refusal | None:
        """Whether every limit has room; the refusal that is reported is the one that keeps the request out longest."""
        short: list[tuple[Limit, Counter, int]] = []
        for limit, key in zip(limits, keys, strict=True):
            counter = self.counters.get(key)
            needed = 1 if limit.unit == "requests" else ceiling if limit.unit == "usd" else tokens
            if counter is None:
                if limit.max_members is not None:
                    return Refusal(limit, 0, 0, needed, at, frozenset(), crowded=True)
                continue  # an extension of a request whose limit is deleted
            if limit.soft:
                full = counter.spent >= limit.amount and needed > 0  # what costs nothing may pass
            else:
                full = counter.spent + counter.held + needed > limit.amount
            if full:
                short.append((limit, counter, needed))
        if not short:
            return None
        waits = [limit.id for limit, counter, needed in short if _has_room_later(limit, counter, needed)]
        limit, counter, needed = max(
            short, key=lambda s: (_never_fits(s[0], s[2]), not _has_room_later(*s), _wait(s[0], at))
        )
        patient = frozenset(waits) if len(waits) == len(short) else frozenset[str]()
        helps = all(not one.soft and one.unit != "requests" for one, _, _ in short)
        balances = self._balances(limits, keys) if helps else ()
        return Refusal(limit, counter.spent, counter.held, needed, at, patient, balances)

    def _balances(self, limits: Iterable[Limit], keys: Iterable[CounterKey]) -> tuple[Balance, ...]:
        """The balances of the hard limits on money and tokens."""
        found = [(limit, self.counters.get(key)) for limit, key in zip(limits, keys, strict=True)]
        return tuple(
            Balance(limit, counter.spent, counter.held)
            for limit, counter in found
            if counter is not None and not limit.soft and limit.unit != "requests"
        )

    def _close(self, id: str) -> Hold | None:
        hold = self.holds.pop(id, None)
        if hold is not None:
            self.closed.append(id)
            self.extended.pop(id, None)
        return hold

    def _release(self, hold: Hold) -> None:
        """Release a hold whose request has a row: it was refused, or passed, while its commit's outcome was unknown."""
        for limit_id, start, amount, _ in hold.limits:
            if (counter := self.counters.get((limit_id, start))) is not None:
                counter.held -= amount

    def _hold_nothing(self, reservation: Reservation, *, counted: bool = True) -> Hold:
        """A hold of nothing, for a request whose row is written without a reservation."""
        r, caller = reservation, reservation.caller
        held: list[LimitHold] = []
        limits = binding(reservation, self.runs) if counted else ()
        for limit, key in zip(limits, counter_keys(limits, r.time), strict=True):
            if (counter := self.counters.get(key)) is None:
                continue  # the limit has too many members
            if limit.unit == "requests":
                counter.spent += 1
            else:
                held.append((*key, 0, limit.unit))
        return Hold(
            r.id, self.node_id, milliseconds(r.time), caller.key_id, caller.project_id or "", caller.user_id or "", 0,
            held, HeldRequest.of(r),
        )  # fmt: skip

    def _finish(self, row: FinishedRow, settlement: Settlement, hold: Hold | None) -> None:
        """Write a row: inserted where it comes from a hold, else updated."""
        self._move(row, settlement, hold)
        self.rows[row.id] = row
        mine = self._finished.get(row.id)
        self._finished[row.id] = _Finished(row, settlement, hold if mine is None else mine.hold)

    def _move(self, row: FinishedRow, settlement: Settlement, hold: Hold | None = None) -> None:
        """Change counters and rollups by the difference between the row's old and new values, and change the row."""
        for lid, start, held, unit in row.holds:
            counter = self.counters.get((lid, start))
            if counter is None:
                continue
            if unit == "usd":
                before, after = row.cost, settlement.cost
            else:
                before = 0 if hold is not None else _tokens(row.usage, row.certainty, held)
                after = _tokens(settlement.usage, settlement.certainty, held)
            counter.spent += after - before
            if hold is not None:
                counter.held -= held
        if hold is None:
            self._roll(row, -1)
        guessed = settlement.work_id is not None and settlement.certainty != "exact"
        if hold is None or row.state != "swept":  # a sweep names the state itself
            row.state = "pending" if guessed else "settled"
        row.cost, row.certainty = settlement.cost, settlement.certainty
        row.usage, row.status, row.error = settlement.usage, settlement.status, settlement.error
        row.work_id, row.price = text(settlement.work_id), text(settlement.price)
        row.provider, row.model = text(settlement.provider) or row.provider, text(settlement.model) or row.model
        self._roll(row, 1)

    def _roll(self, row: FinishedRow, sign: int) -> None:
        key = (
            row.time // STEP_MS * STEP_MS, row.key_id, row.project_id, row.user_id, row.route, row.provider or "",
            row.model,
        )  # fmt: skip
        sums = self.rollups.get(key)
        if sums is None:
            sums = self.rollups[key] = [0] * len(METRICS)
        for place, value in enumerate(_metrics(row)):
            sums[place] += sign * value

    def _of_work(self, work_id: str, key_id: str | None, provider: str | None) -> list[FinishedRow]:
        stored = text(work_id)
        return [
            row
            for row in self.rows.values()
            if row.work_id == stored
            and (key_id is None or row.key_id == key_id)
            and (provider is None or row.provider is None or row.provider == provider)
        ]


def _part(hold: Hold, line: BatchLine, node_id: str) -> Hold:
    """One line's part of a batch's hold, as its own hold: the line's cost, as far as the batch's hold covers it."""
    cost = line.settlement.cost
    given = [(lid, start, min(cost, held) if unit == "usd" else 0, unit) for lid, start, held, unit in hold.limits]
    hold.limits = [
        (lid, start, held - part[2], unit) for (lid, start, held, unit), part in zip(hold.limits, given, strict=True)
    ]
    request = msgspec.structs.replace(
        hold.request,
        model=text(line.model),
        format=line.format,
        tags={**(hold.request.tags or {}), **{text(name): text(value) for name, value in line.tags.items()}},
    )
    return Hold(
        line.settlement.id, node_id, hold.time, hold.key_id, hold.project_id, hold.user_id, line.reserved, given,
        request,
    )  # fmt: skip


def _row_of(hold: Hold, state: Literal["swept"] | None) -> FinishedRow:
    """The row that a hold becomes; its state is decided by its settlement unless a sweep decides it."""
    request = hold.request
    return FinishedRow(
        hold.id, state or "settled", hold.time, hold.key_id, hold.project_id, hold.user_id, request.route,
        request.provider, request.model, hold.limits, hold.reserved, 0, None, None, None, None, None, None,
    )  # fmt: skip


def _share(amount: int | float, part: Decimal) -> int | float:
    found = Decimal(str(amount)) * part
    return int(found) if found == int(found) else float(found)


def _free(settlement: Settlement) -> Settlement:
    """A row of work that another row has been charged for."""
    return replace(
        settlement, cost=0, certainty="exact", certainty_reason=None, list_price=None, usage=None, raw_usage=None
    )


def _never_fits(limit: Limit, needed: int) -> bool:
    """Whether a request is larger than the whole limit, so that no reset of it helps."""
    return not limit.soft and needed > limit.amount


def _has_room_later(limit: Limit, counter: Counter, needed: int) -> bool:
    """Whether the limit lacks room only because of requests in flight, so that waiting may help."""
    return limit.unit != "requests" and not limit.soft and counter.spent + needed <= limit.amount


def _wait(limit: Limit, at: datetime) -> float:
    end = window_end(limit.window, at, limit.zone)
    return end.timestamp() if end else float("inf")


def _tokens(usage: Usage | None, certainty: Certainty | None, held: int) -> int:
    """The charge to a limit on tokens: the usage, or the held amount if the usage is not known."""
    if usage is None:
        return held if certainty not in ("exact", None) else 0
    return _count(usage, "input_tokens") + _count(usage, "output_tokens")


def _tally(usage: Usage, name: str) -> int | float:
    """A count that can be stored and added up; those that rollups add up are whole."""
    count = usage.get(name, 0)
    if type(count) is int and 0 <= count <= MAX_COUNT:
        return count
    count = max(0, min(count, MAX_COUNT)) if count == count else 0  # NaN is not equal to itself
    return int(count) if name in COUNTS else count


def _count(usage: Usage, name: str) -> int:
    return int(_tally(usage, name))


def _counts(usage: Usage) -> Sequence[int]:
    """The counts that rollups add up."""
    found = []
    for name in COUNTS:
        count = usage.get(name, 0)
        found.append(count if type(count) is int and 0 <= count <= MAX_COUNT else _count(usage, name))
    return found


def _stored(usage: Usage) -> Usage:
    for count in usage.values():
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            return {name: _tally(usage, name) for name in usage}
    return usage


def _metrics(row: FinishedRow) -> Sequence[int]:
    failed = row.error is not None or (row.status is not None and row.status >= 400)
    counts = _counts(row.usage) if row.usage else (0, 0, 0, 0)
    return (1, int(failed), *counts, row.cost)


def _values(row: FinishedRow, s: Settlement) -> tuple[Value, ...]:
    """A settlement, after it has moved the row, as `SETTLED` has the columns."""
    usage = None if s.usage is None else _stored(s.usage)
    final = row.state == "settled"  # its limits will not be moved again
    return (
        row.state, None if final or not row.holds else _encode(row.holds).decode(), row.provider, row.model, s.cost,
        s.certainty, s.certainty_reason and text(s.certainty_reason), s.cost_source, s.list_price, json_text(usage),
        json_text(s.raw_usage), text(s.price), s.status, s.error and text(s.error),
        json_text(s.refusal) if s.refusal else None, json_text(s.attempts) if s.attempts else None,
        text(s.work_id), s.ms_total, s.ms_first_byte, s.ms_gateway,
    )  # fmt: skip


def _new_values(row: FinishedRow, s: Settlement, hold: Hold) -> tuple[Value, ...]:
    """A row that takes its hold's place, as `FINISHED` has the columns."""
    request = hold.request
    return (
        row.id, hold.node_id, row.time, row.key_id, request.key, row.project_id, request.project, row.user_id,
        request.user, request.route, request.format, request.stream,
        None if request.tags is None else json_text(request.tags), request.run,
        request.session, request.agent, request.agent_parent, request.agent_name, request.trace_id, row.reserved,
        *_values(row, s),
    )  # fmt: skip
