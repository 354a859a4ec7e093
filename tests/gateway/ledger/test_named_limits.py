"""What the ledger does for named limits: counters of members, exchange of limits, time zones, and their past."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.limits import Limit, Zone, in_force, member_id, window_end, window_start
from paig_gateway.domain.limits import Raise as Raised
from paig_gateway.ledger.ledger import Ledger
from tests.gateway.ledger.books import NOON, Clock, Totals, counters, limit, reservation, settlement, totals

pytestmark = pytest.mark.anyio
BASE = "lim_0123456789abcdef"
OTHER = "lim_fedcba9876543210"


@pytest.fixture
async def ledger(engine: Engine) -> AsyncIterator[Ledger]:
    """A running ledger."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock())
    await ledger.start()
    yield ledger
    await ledger.stop()


def named(id: str = BASE, amount: int = 5000, *, member: str | None = None, most: int | None = None) -> Limit:
    found = limit(id, amount, owner_kind="limit", owner="gpt")
    if member is None:
        return found
    return replace(found, id=member_id(id, member), member=member, max_members=most or 10_000)


async def test_members_have_counters_of_their_own(ledger: Ledger, engine: Engine) -> None:
    acme, other = named(member="acme"), named(member="other")
    request = reservation(acme, ceiling=4000)
    await ledger.reserve(request)
    with pytest.raises(GatewayError, match=r"daily limit 'gpt' of .* for 'acme'"):
        await ledger.reserve(reservation(acme, ceiling=4000))
    await ledger.reserve(reservation(other, ceiling=4000))
    await ledger.settle(settlement(request, cost=700))
    assert totals(engine, acme) == Totals(700, 0)
    assert totals(engine, other) == Totals(0, 4000)


async def test_more_members_than_allowed_are_refused(ledger: Ledger, engine: Engine) -> None:
    for member in ("a", "b"):
        await ledger.reserve(reservation(named(member=member, most=2)))
    with pytest.raises(GatewayError, match="counts 2 members, its maximum, and 'c'") as caught:
        await ledger.reserve(reservation(named(member="c", most=2)))
    assert caught.value.code == "limit-exceeded"
    assert not caught.value.retryable
    await ledger.reserve(reservation(named(member="b", most=2), ceiling=10))
    await ledger.reserve(reservation(named(OTHER, member="c", most=2)))
    assert len(counters(engine)) == 3


async def test_a_refusals_row_is_written_though_its_member_has_no_counter(ledger: Ledger, engine: Engine) -> None:
    await ledger.reserve(reservation(named(member="a", most=1)))
    late = reservation(named(member="b", most=1))
    await ledger.charge(late, settlement(late, cost=5))
    assert member_id(BASE, "b") not in {id for id, _ in counters(engine)}


async def test_limits_are_exchanged_in_one_transaction(ledger: Ledger, engine: Engine) -> None:
    key, here, there = limit("key", 10_000), named(BASE), named(OTHER)
    request = reservation(key, here, ceiling=1000, tokens=50)
    await ledger.reserve(request)
    await ledger.extend(request.id, 500, (key, there), 60)
    assert totals(engine, key) == Totals(0, 1500)
    assert totals(engine, here) == Totals(0, 0)
    assert totals(engine, there) == Totals(0, 1500)
    await ledger.settle(settlement(request, cost=300))
    assert [totals(engine, one) for one in (key, here, there)] == [Totals(300, 0), Totals(0, 0), Totals(300, 0)]


async def test_an_exchange_without_room_changes_nothing(ledger: Ledger, engine: Engine) -> None:
    key, here, there = limit("key", 10_000), named(BASE), named(OTHER, 1200)
    request = reservation(key, here, ceiling=1000)
    await ledger.reserve(request)
    with pytest.raises(GatewayError, match="daily limit 'gpt'"):
        await ledger.extend(request.id, 500, (key, there))
    assert [totals(engine, one) for one in (key, here, there)] == [Totals(0, 1000), Totals(0, 1000), Totals(0, 0)]
    await ledger.settle(settlement(request, cost=300))
    assert [totals(engine, one) for one in (key, here, there)] == [Totals(300, 0), Totals(300, 0), Totals(0, 0)]


async def test_days_begin_in_the_limits_time_zone(ledger: Ledger, engine: Engine) -> None:
    tokyo = replace(limit("day", 1000), zone=Zone("Asia/Tokyo"))
    before, after = datetime(2026, 11, 23, 14, 59, tzinfo=UTC), datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    await ledger.reserve(reservation(tokyo, ceiling=900, time=before))
    with pytest.raises(GatewayError) as caught:
        await ledger.reserve(reservation(tokyo, ceiling=900, time=before))
    assert caught.value.details["resets_at"] == "2026-11-23T15:00:00Z"
    await ledger.reserve(reservation(tokyo, ceiling=900, time=after))


def test_a_changed_zone_counts_from_the_next_window() -> None:
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    zone = Zone("Asia/Tokyo", "UTC", int(midnight.timestamp()))
    evening = midnight - timedelta(hours=3)
    assert window_start("daily", evening, zone) == window_start("daily", evening)
    assert window_end("daily", evening, zone) == midnight
    assert window_start("daily", midnight, zone) == int(datetime(2026, 11, 23, 15, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("at", "hours"),
    [
        pytest.param(datetime(2026, 3, 29, 12, tzinfo=UTC), 23, id="clocks-go-forward"),
        pytest.param(datetime(2026, 10, 25, 12, tzinfo=UTC), 25, id="clocks-go-back"),
    ],
)
def test_a_day_on_which_clocks_change_ends_at_midnight(at: datetime, hours: int) -> None:
    zone = Zone("Europe/Berlin")
    end = window_end("daily", at, zone)
    assert end is not None
    assert end.timestamp() - window_start("daily", at, zone) == hours * 3600
    assert window_start("daily", end, zone) == int(end.timestamp())


def test_a_raise_ends_by_itself() -> None:
    raised = replace(limit("day", 1000), raises=(Raised(5000, (NOON + timedelta(hours=1)).timestamp()),))
    assert [one.amount for one in in_force([raised], NOON)] == [5000]
    assert [one.amount for one in in_force([raised], NOON + timedelta(hours=1))] == [1000]


async def test_an_attempt_more_knows_the_limits_of_an_exchange(ledger: Ledger, engine: Engine) -> None:
    here, there = named(BASE, 5000), named(OTHER, 1500)
    request = reservation(here, ceiling=1000)
    await ledger.reserve(request)
    await ledger.extend(request.id, 0, (there,))
    with pytest.raises(GatewayError, match=r"daily limit 'gpt' of \$0.0000015"):
        await ledger.extend(request.id, 1000)
    await ledger.extend(request.id, 400)
    assert totals(engine, there) == Totals(0, 1400)


async def test_nodes_count_members_together(ledger: Ledger, engine: Engine) -> None:
    two = Ledger(engine, node_id="node_b", clock=Clock())
    await two.start()
    await ledger.reserve(reservation(named(member="a", most=2)))
    await two.reserve(reservation(named(member="b", most=2)))
    with pytest.raises(GatewayError, match="counts 2 members"):
        await ledger.reserve(reservation(named(member="c", most=2)))
    await two.stop()
    assert len(counters(engine)) == 2
