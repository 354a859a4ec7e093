"""Long random histories of a ledger: what was reserved, exchanged and settled must agree with what is stored.

    python -m tests.gateway.ledger.histories 1000000 [--on sqlite|postgres|both] [--room 25] [--seconds 500]

Both databases, one after the other, unless --on names one. --room multiplies the caps: with 1, most reservations are
refused; with 25, most are accepted, and the caps still bind.

Reservations over limits of keys, projects and the organisation, and named limits with a counter for each member; in
time zones, some of them raised for a while; settled at less than they held, exchanged for the limits of another member,
or left to a dead node; while the clock jumps. After each batch no hard limit's counter is over what the limit allowed
when it was last reserved against, and the counters are those that a second, much simpler bookkeeping comes to.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from paig_gateway.database.engine import migrate, open_engine
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit, Raise, Zone, in_force, member_id, window_start
from paig_gateway.ledger.executor import BatchExecutor, Extend, LedgerCommand, Release, Reserve, Settle
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.ledger.transitions import Refusal
from tests.gateway.databases import Postgres

START = datetime(2026, 10, 20, 9, 30, tzinfo=UTC)  # before clocks go back in Europe
ZONES = ("UTC", "Europe/Berlin", "Asia/Tokyo", "America/St_Johns", "Asia/Kathmandu")
KEYS, MEMBERS, PROVIDERS = 8, 6, 2
BATCH = 400

Place = tuple[str, int]
"""A counter: its name, and the start of its window."""


@dataclass
class History:
    """A ledger, and what must be in it."""

    engine: Engine
    seed: int = 1
    length: int = 4000
    room: int = 1
    now: datetime = START
    done: int = 0
    refused: int = 0
    spent: dict[Place, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[Place, int] = field(default_factory=lambda: defaultdict(int))
    open: dict[str, tuple[Reservation, tuple[Limit, ...], int]] = field(default_factory=dict)
    cost: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.executor = BatchExecutor(self.engine, "node_history", lambda: self.now)
        self.executor.start()
        self.limits = self._limits()

    def _limits(self) -> dict[str, tuple[Limit, ...]]:
        """By owner: a key, `project`, `organisation`, or a provider whose named limit counts members apart."""
        choose = self.random
        found: dict[str, tuple[Limit, ...]] = {}
        owners = [*(f"key_{number}" for number in range(KEYS)), "project", "organisation"]
        owners += [f"provider_{number}" for number in range(PROVIDERS)]
        for place, owner in enumerate(owners):
            kind = owner.partition("_")[0]
            limits = []
            for number, window in enumerate(("daily", "weekly", "monthly", "total")):
                if choose.random() < 0.4:
                    continue
                scale = 20 if kind in ("project", "organisation") else 4
                amount = choose.randrange(20_000, 200_000) * scale * (number + 1) * self.room
                if window == "total":  # it must last
                    amount = amount * self.length // 4000
                zone = choose.choice(ZONES)
                changed = int((START + timedelta(days=choose.randrange(1, 9))).timestamp()) // 86_400 * 86_400
                limits.append(
                    Limit(
                        f"lim_{place:08x}{number:08x}",
                        "limit" if kind == "provider" else "organisation" if kind == "organisation" else "key",
                        owner,
                        "usd",
                        window,  # type: ignore[arg-type]
                        amount,
                        soft=choose.random() < 0.1,
                        zone=Zone(zone, "UTC", changed) if choose.random() < 0.3 else Zone(zone),
                    )
                )
            found[owner] = tuple(limits)
        return found

    def _bound(self, key: str, provider: str, member: str) -> tuple[Limit, ...]:
        own = (*self.limits[key], *self.limits["project"], *self.limits["organisation"])
        named = (
            replace(limit, id=member_id(limit.id, member), member=member, max_members=MEMBERS)
            for limit in self.limits[provider]
        )
        return in_force((*own, *named), self.now)

    def step(self) -> None:
        """One batch of random commands, and the check of what it left."""
        choose = self.random
        if choose.random() < 0.3:
            self.now += timedelta(seconds=choose.choice((1, 60, 3600, 40_000)))
        if choose.random() < 0.1:
            self._raise()
        commands: list[LedgerCommand] = []
        waiting = [*self.open]
        choose.shuffle(waiting)
        settling = waiting[: len(waiting) * 9 // 10]
        for id in settling:
            request, _, ceiling = self.open[id]
            if choose.random() < 0.05:
                commands.append(Release(id))
            else:
                commands.append(Settle(Settlement(id, self.now, choose.randrange(ceiling + 1), "exact", status=200)))
            assert request.id == id
        for id in waiting[len(settling) :]:
            request, _, _ = self.open[id]
            bound = self._bound(request.caller.key_id, f"provider_{choose.randrange(PROVIDERS)}", _member(choose))
            exchange = bound if choose.random() < 0.7 else None
            commands.append(Extend(id, choose.randrange(500), exchange))
        for _ in range(BATCH):
            key, ceiling = f"key_{choose.randrange(KEYS)}", choose.randrange(1, 3000)
            limits = self._bound(key, f"provider_{choose.randrange(PROVIDERS)}", _member(choose))
            self.done += 1
            request = Reservation(
                f"req_{self.done:016x}", self.now, Caller(key, key), limits, "openai", "gpt-5", "openai-chat", False,
                ceiling, 100,
            )  # fmt: skip
            commands.append(Reserve(request))
        results = self.executor.execute(commands).results
        for command, result in zip(commands, results, strict=True):
            self._follow(command, result)
        self._check_room(commands, results)

    def _raise(self) -> None:
        owner = self.random.choice([*self.limits])
        until = (self.now + timedelta(hours=self.random.randrange(1, 30))).timestamp()
        self.limits[owner] = tuple(
            replace(limit, raises=(Raise(limit.amount * 2, until),)) for limit in self.limits[owner]
        )

    def _follow(self, command: LedgerCommand, result: object) -> None:
        """The second bookkeeping."""
        if isinstance(result, Exception):
            raise result
        match command:
            case Reserve(reservation=request):
                if isinstance(result, Refusal):
                    self.refused += 1
                    return
                self.open[request.id] = (request, request.limits, request.ceiling)
                self._hold(request, request.limits, request.ceiling)
            case Extend(id=id, extra=extra, exchange=exchange) if result is None:
                request, bound, ceiling = self.open[id]
                self._hold(request, bound, -ceiling)
                after = bound if exchange is None else _exchanged(bound, exchange)
                self.open[id] = (request, after, ceiling + extra)
                self._hold(request, after, ceiling + extra)
            case Release(id=id):
                request, bound, ceiling = self.open.pop(id)
                self._hold(request, bound, -ceiling)
            case Settle(settlement=settlement):
                request, bound, ceiling = self.open.pop(settlement.id)
                self._hold(request, bound, -ceiling)
                for limit in bound:
                    self.spent[_place(limit, request.time)] += settlement.cost
                self.cost += settlement.cost

    def _hold(self, request: Reservation, limits: tuple[Limit, ...], amount: int) -> None:
        for limit in limits:
            self.held[_place(limit, request.time)] += 0 if limit.soft else amount

    def _check_room(self, commands: list[LedgerCommand], results: object) -> None:
        """No hard limit that this batch reserved against is over the amount that it had then."""
        assert isinstance(results, list)
        for command, result in zip(commands, results, strict=True):
            if isinstance(command, Reserve) and result is None:
                for limit in command.reservation.limits:
                    place = _place(limit, command.reservation.time)
                    assert limit.soft or self.spent[place] + self.held[place] <= limit.amount, (limit, place)

    def check(self) -> None:
        """Rows, counters and rollups are those of the second bookkeeping."""
        with self.engine.connect() as connection:
            counters = connection.execute(text("SELECT limit_id, window_start, spent, held FROM counters")).all()
            [rollups] = connection.execute(text("SELECT coalesce(sum(cost), 0) FROM rollups")).scalars()
            [rows] = connection.execute(text("SELECT coalesce(sum(cost), 0) FROM requests")).scalars()
            [held] = connection.execute(text("SELECT coalesce(sum(reserved), 0) FROM holds")).scalars()
        stored = {(id, start): (spent, held) for id, start, spent, held in counters if spent or held}
        places = self.spent.keys() | self.held.keys()
        expected = {
            place: (self.spent.get(place, 0), self.held.get(place, 0))
            for place in places
            if self.spent.get(place) or self.held.get(place)
        }
        assert stored == expected
        assert int(rollups) == int(rows) == self.cost
        assert int(held) == sum(ceiling for _, _, ceiling in self.open.values())

    def die(self) -> None:
        """The node stops without a word; when it is back, what was open is charged at its ceiling."""
        self.executor.close()
        self.executor = BatchExecutor(self.engine, "node_history", lambda: self.now)
        self.executor.start()
        for request, bound, ceiling in self.open.values():
            self._hold(request, bound, -ceiling)
            for limit in bound:
                self.spent[_place(limit, request.time)] += ceiling
            self.cost += ceiling
        self.open.clear()

    def run(self, count: int, seconds: float = 1e9) -> None:
        """So many reservations, or as many as can be made in the time."""
        began = time.monotonic()
        for number in range(count // BATCH):
            self.step()
            if number % 50 == 49:
                self.check()
            if number % 200 == 199:
                self.die()
            if time.monotonic() - began > seconds:
                break
        self.check()
        self.executor.stop()


def _member(choose: random.Random) -> str:
    return f"customer-{choose.randrange(MEMBERS)}"


def _place(limit: Limit, at: datetime) -> Place:
    return limit.id, window_start(limit.window, at, limit.zone)


def _exchanged(before: tuple[Limit, ...], after: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """What binds after an exchange: only named limits change."""
    return (
        *(limit for limit in before if limit.owner_kind != "limit"),
        *(limit for limit in after if limit.owner_kind == "limit"),
    )


def main() -> None:
    """Run one on each database, and say how it went."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("count", type=int)
    options.add_argument("--on", choices=["sqlite", "postgres", "both"], default="both")
    options.add_argument("--room", type=int, default=25, help="what the caps are multiplied by")
    options.add_argument("--seconds", type=float, default=1e9, help="how long each may take")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        if given.on != "postgres":
            _run_on(f"sqlite:///{Path(folder) / 'paig.db'}", given)
        if given.on != "sqlite":
            _run_on(opened.enter_context(Postgres()).new_database(), given)


def _run_on(url: str, given: argparse.Namespace) -> None:
    engine = open_engine(url)
    migrate(engine)
    history = History(engine, given.seed, given.count, given.room)
    began = time.monotonic()
    history.run(given.count, given.seconds)
    taken = time.monotonic() - began
    print(
        f"{history.done:,} reservations ({history.refused:,} refused) on {engine.dialect.name} in {taken:.0f} s: "
        f"{len(history.spent)} counters, no hard limit overrun, rows = counters = rollups (seed {given.seed})",
        flush=True,
    )
    engine.dispose()


if __name__ == "__main__":
    main()
