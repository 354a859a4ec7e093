"""The figures of the last minutes are running sums that say the same as counting again."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from paig_client.api.resources import Attempt, Request
from paig_tui.data.recent import TAIL, WINDOW, Recent, quantile
from paig_tui.text import failed
from tests.tui.scene import NOW, requests


def row(number: int, age: float, *, ms: float = 100.0, status: int = 200, cost: str = "0.001") -> Request:
    """A finished request, so many seconds old."""
    some = requests()[0]
    tries = [Attempt(provider=f"p{number % 3}", model="m", status=status, ms=ms)]
    changes = {"id": f"r{number}", "time": NOW - timedelta(seconds=age), "ms_total": ms, "status": status}
    return some.model_copy(
        update={
            **changes,
            "cost": Decimal(cost),
            "attempts": tries,
            "key": f"k{number % 4}",
            "error": None,
            "state": "settled",
        }
    )


def counted(rows: list[Request], now: datetime) -> tuple[object, ...]:
    """The figures of these rows, counted one by one."""
    inside = [one for one in rows if one.time >= now - WINDOW]
    good = sorted(one.ms_total or 0.0 for one in inside if not failed(one))
    spent: dict[str, int] = {}
    for one in inside:
        spent[one.key] = spent.get(one.key, 0) + round(float(one.cost) * 1e9)
    return (
        sum(one.time >= now - timedelta(minutes=1) for one in inside),
        quantile(good, 0.5),
        quantile(good, 0.95),
        sum(map(failed, inside)) / len(inside) if inside else None,
        {key: value / 1e9 for key, value in spent.items() if value},
        {name: sum(one.attempts[0].provider == name for one in inside) for name in {"p0", "p1", "p2"}},
    )


def figures(recent: Recent, now: datetime) -> tuple[object, ...]:
    """The same, as they are kept."""
    found, providers = recent.figures(now), recent.provider_figures(now)
    tries = {name: providers[name].attempts if name in providers else 0 for name in ("p0", "p1", "p2")}
    return found.per_minute, found.p50, found.p95, found.errors, dict(found.spending), tries


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 900), st.floats(1, 9000), st.sampled_from([200, 200, 402, 500])), max_size=60),
       st.integers(0, 2**32))  # fmt: skip
def test_running_sums_equal_counting(shapes: list[tuple[float, float, int]], seed: int) -> None:
    """In whatever order rows come, change and grow old, the figures are those of counting again."""
    chance = random.Random(seed)
    recent, rows = Recent(), {}
    for number, (age, ms, status) in enumerate(shapes):
        one = row(number, age, ms=ms, status=status, cost=f"{(number % 9) / 1000:.3f}")
        recent.add([one])
        rows[one.id] = one
        if chance.random() < 0.3:  # settled anew, at another cost
            again = chance.choice(list(rows.values())).model_copy(update={"cost": Decimal("0.5")})
            recent.add([again])
            rows[again.id] = again
        if chance.random() < 0.2:
            assert figures(recent, NOW) == counted(list(rows.values()), NOW)
    later = NOW + timedelta(seconds=chance.randrange(400))
    assert figures(recent, later) == counted(list(rows.values()), later)


def test_the_tail_is_capped_and_in_order() -> None:
    """Of any number of requests the last 500 are kept, the last that finished first."""
    recent = Recent()
    recent.add(row(number, 10) for number in range(3 * TAIL))
    assert [one.id for one in recent.tail] == [f"r{number}" for number in range(3 * TAIL - 1, 2 * TAIL - 1, -1)]


def test_old_rows_come_once() -> None:
    """On a gateway that has been idle for hours, its last requests do not pile up as they are looked at again."""
    recent = Recent()
    old = [row(number, 3 * 3600) for number in range(5)]
    for _ in range(3):
        recent.add(one for one in old if not recent.knows(one.id))
        recent.forget(NOW)
    assert len(recent.tail) == 5


def test_open_requests_do_not_count() -> None:
    """What has not ended is no figure yet."""
    recent = Recent()
    recent.add([row(1, 5).model_copy(update={"state": "open"})])
    assert recent.tail == []
    assert recent.figures(NOW).errors is None


def test_minutes_are_the_sums_of_their_requests() -> None:
    """A minute has the requests, errors and costs of its rows, and none before it is known from when on."""
    recent = Recent()
    recent.since = NOW - timedelta(minutes=10)
    recent.add([row(1, 5), row(2, 6, status=500), row(3, 65, cost="0.25")])
    minutes = recent.per_minute(NOW)
    assert len(minutes) == 11
    assert [(minute.requests, minute.errors, minute.cost) for minute in minutes[-2:]] == [
        (1, 0, 250_000_000),
        (2, 1, 2_000_000),
    ]
