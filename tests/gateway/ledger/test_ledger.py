"""The ledger, through its public methods, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from paig_gateway.domain.errors import GatewayError
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Settlement
from tests.gateway.ledger.books import (
    NOON,
    Clock,
    Totals,
    bind_limit,
    counters,
    drop_limit,
    limit,
    reservation,
    rollup_sums,
    row,
    rows,
    settlement,
    totals,
    used,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    """The ledger's clock: it is Monday noon."""
    return Clock()


@pytest.fixture
async def ledger(engine: Engine, clock: Clock) -> AsyncIterator[Ledger]:
    """A running ledger."""
    ledger = Ledger(engine, node_id="node_a", clock=clock)
    await ledger.start()
    yield ledger
    await ledger.stop()


async def refused(ledger: Ledger, request: object, **more: float) -> GatewayError:
    """The error that a reservation meets."""
    with pytest.raises(GatewayError) as caught:
        await ledger.reserve(request, **more)  # type: ignore[arg-type]
    return caught.value


async def test_a_reservation_holds_and_a_settlement_charges(ledger: Ledger, engine: Engine) -> None:
    """The worst case is held while the request runs; its true cost is what remains of it."""
    cap = limit("cap", 10_000)
    request = reservation(cap, ceiling=3000, tags={"customer": "acme"}, run="nightly", provider="openai", stream=True)
    await ledger.reserve(request)
    assert totals(engine, cap) == Totals(spent=0, held=3000)
    opened = row(engine, request.id)
    assert (opened["state"], opened["reserved"], opened["cost"], opened["node_id"]) == ("open", 3000, None, "node_a")

    usage = used(12, 5, cache_read_tokens=3)
    end = settlement(
        request, 700, usage=usage, raw_usage={"prompt_tokens": 12}, price="openai/gpt-5", model="gpt-5-2025",
        attempts=[{"provider": "openai", "status": 200}], work_id="resp_1", ms_total=12.5, ms_gateway=0.5,
    )  # fmt: skip
    await ledger.settle(end)
    assert totals(engine, cap) == Totals(spent=700, held=0)
    closed = row(engine, request.id)
    assert (closed["state"], closed["cost"], closed["certainty"], closed["status"]) == ("settled", 700, "exact", 200)
    assert (closed["model"], closed["provider"], closed["price"]) == ("gpt-5-2025", "openai", "openai/gpt-5")
    assert (closed["key"], closed["project"], closed["user"], closed["run"]) == ("ci", "lab", "ada", "nightly")
    assert (closed["work_id"], closed["ms_total"], closed["ms_gateway"]) == ("resp_1", 12.5, 0.5)
    documents = {name: value if not isinstance(value, str) else json.loads(value) for name, value in closed.items()
                 if name in ("usage", "raw_usage", "tags", "attempts")}  # fmt: skip
    assert documents == {
        "usage": usage,
        "raw_usage": {"prompt_tokens": 12},
        "tags": {"customer": "acme"},
        "attempts": [{"provider": "openai", "status": 200}],
    }
    assert rollup_sums(engine) == (1, 0, 12, 5, 700)


async def test_a_refusal_names_the_limit_and_changes_nothing(ledger: Ledger, engine: Engine) -> None:
    """One limit without room refuses for all: neither its counter nor another's moves, and there is no row."""
    wide, tight = limit("wide", 10_000, owner_kind="project", owner="lab"), limit("tight", 2500)
    await ledger.reserve(reservation(wide, tight, ceiling=2000))
    before = counters(engine)
    error = await refused(ledger, reservation(wide, tight, ceiling=1000))
    assert error.code == "limit-exceeded"
    assert error.details == {
        "owner_kind": "key", "owner": "ci", "unit": "usd", "window": "daily", "amount": "0.0000025", "spent": "0",
        "held": "0.000002", "needed": "0.000001", "resets_at": "2026-11-24T00:00:00Z",
    }  # fmt: skip
    assert counters(engine) == before
    assert len(rows(engine)) == 1


async def test_exactly_what_is_left_may_be_held(ledger: Ledger, engine: Engine) -> None:
    """A cap may be used to its last nanodollar, and not one beyond."""
    cap = limit("cap", 1000)
    await ledger.reserve(reservation(cap, ceiling=600))
    await refused(ledger, reservation(cap, ceiling=401))
    await ledger.reserve(reservation(cap, ceiling=400))
    await ledger.reserve(reservation(cap, ceiling=0))
    assert totals(engine, cap) == Totals(spent=0, held=1000)


async def test_the_cost_belongs_to_the_windows_of_the_requests_own_time(
    ledger: Ledger, engine: Engine, clock: Clock
) -> None:
    """A request that came before midnight and ended after it is charged to the day before."""
    cap = limit("cap", 1000)
    eve = NOON.replace(hour=23, minute=59, second=59, microsecond=999_999)
    request = reservation(cap, ceiling=1000, time=eve)
    await ledger.reserve(request)
    clock.now = eve + timedelta(hours=1)
    await ledger.reserve(reservation(cap, ceiling=1000, time=clock.now))
    await ledger.settle(settlement(request, 900))
    assert totals(engine, cap, eve) == Totals(spent=900, held=0)
    assert totals(engine, cap, clock.now) == Totals(spent=0, held=1000)


async def test_the_refusal_that_lasts_longest_is_reported(ledger: Ledger) -> None:
    """Of several limits without room: first one that is used up by what is spent, then the one that resets last."""
    day, month = limit("day", 1000), limit("month", 1000, window="monthly")
    total = limit("total", 1500, window="total")
    first = reservation(day, month, total, ceiling=1000)
    await ledger.reserve(first)
    held = await refused(ledger, reservation(day, month, total, ceiling=1000))
    assert held.details["window"] == "total"
    await ledger.settle(settlement(first, 900))
    spent = await refused(ledger, reservation(day, month, total, ceiling=500))
    assert spent.details["window"] == "monthly"
    never = await refused(ledger, reservation(day, total, ceiling=1001))
    assert (never.details["window"], never.code) == ("daily", "limit-too-small")  # the month's end would not help


async def test_requests_per_minute(ledger: Ledger, engine: Engine, clock: Clock) -> None:
    """So many requests a minute, then `rate-limited` until the next minute; ended requests still count."""
    pace = limit("pace", 2, unit="requests", window="minute")
    first = reservation(pace)
    await ledger.reserve(first)
    await ledger.settle(settlement(first))
    await ledger.reserve(reservation(pace))
    clock.now = NOON + timedelta(seconds=18)
    error = await refused(ledger, reservation(pace, time=clock.now), wait=5)
    assert (error.code, error.retry_after) == ("rate-limited", 43)
    clock.now = NOON + timedelta(minutes=1)
    await ledger.reserve(reservation(pace, time=clock.now))
    assert totals(engine, pace) == Totals(spent=2, held=0)


async def test_tokens_per_minute(ledger: Ledger, engine: Engine) -> None:
    """The most tokens it could use are held, those it used are charged; what is not known is charged as held."""
    pace = limit("pace", 1000, unit="tokens", window="minute")
    known, guessed, failed = (reservation(pace, tokens=300) for _ in range(3))
    for request in (known, guessed, failed):
        await ledger.reserve(request)
    error = await refused(ledger, reservation(pace, tokens=101), wait=5)
    assert error.code == "rate-limited"
    await ledger.settle(settlement(known, usage=used(50, 20)))
    await ledger.settle(settlement(guessed, certainty="ceiling"))
    await ledger.settle(settlement(failed, 0, status=502))
    assert totals(engine, pace) == Totals(spent=370, held=0)


async def test_a_soft_limit_holds_nothing(ledger: Ledger, engine: Engine) -> None:
    """It lets everything pass until what is spent has reached it."""
    soft = limit("soft", 1000, soft=True)
    first, second = reservation(soft, ceiling=5000), reservation(soft, ceiling=5000)
    await ledger.reserve(first)
    await ledger.reserve(second)
    assert totals(engine, soft) == Totals(0, 0)
    await ledger.settle(settlement(first, 999))
    await ledger.reserve(reservation(soft, ceiling=5000))
    await ledger.settle(settlement(second, 1))
    assert (await refused(ledger, reservation(soft, ceiling=1), wait=5)).code == "limit-exceeded"
    assert totals(engine, soft) == Totals(spent=1000, held=0)


async def test_settling_twice_is_nothing(ledger: Ledger, engine: Engine) -> None:
    """The second settlement, even a different one, moves neither row nor counter nor rollup."""
    cap = limit("cap", 10_000)
    request = reservation(cap)
    await ledger.reserve(request)
    await ledger.settle(settlement(request, 400))
    await asyncio.gather(ledger.settle(settlement(request, 400)), ledger.settle(settlement(request, 900)))
    assert totals(engine, cap) == Totals(spent=400, held=0)
    assert rollup_sums(engine)[-1] == 400


async def test_a_settlement_that_nobody_waits_for_is_written_with_the_next_reservation(
    ledger: Ledger, engine: Engine
) -> None:
    """One commit serves both, and what the settlement releases is there for the reservation."""
    cap = limit("cap", 1000)
    first, second = reservation(cap, ceiling=1000), reservation(cap, ceiling=900)
    await ledger.reserve(first)
    ledger.settle_soon(settlement(first, 100))
    await ledger.reserve(second)
    assert row(engine, first.id)["state"] == "settled"
    assert totals(engine, cap) == Totals(spent=100, held=900)


async def test_a_settlement_that_nobody_waits_for_is_written_soon(ledger: Ledger, engine: Engine) -> None:
    """Without a further reservation, too."""
    cap = limit("cap", 1000)
    request = reservation(cap, ceiling=1000)
    await ledger.reserve(request)
    ledger.settle_soon(settlement(request, 100))
    async with asyncio.timeout(30):
        while row(engine, request.id)["state"] != "settled":  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.01)
    assert totals(engine, cap) == Totals(spent=100, held=0)
    assert ledger.queued == 0


async def test_a_provider_that_charges_more_is_recorded_honestly(ledger: Ledger, engine: Engine) -> None:
    """What was spent stands there even where it is more than was held, and more than the cap."""
    cap = limit("cap", 1000)
    request = reservation(cap, ceiling=1000)
    await ledger.reserve(request)
    await ledger.settle(settlement(request, 1300))
    assert totals(engine, cap) == Totals(spent=1300, held=0)
    assert (await refused(ledger, reservation(cap, ceiling=0))).details["spent"] == "0.0000013"


async def test_an_unknown_request_cannot_be_settled(ledger: Ledger) -> None:
    """It is an error of the caller's, and says so."""
    with pytest.raises(LookupError, match="req_nowhere"):
        await ledger.settle(settlement("req_nowhere"))


async def test_a_row_that_the_database_lost_is_charged_all_the_same(ledger: Ledger, engine: Engine) -> None:
    """A database restored to a moment before the reservation does not make the request free."""
    cap, pace = limit("cap", 10_000), limit("pace", 5, unit="requests", window="minute")
    request = reservation(cap, pace)
    await ledger.reserve(request)
    with engine.begin() as connection:
        for table in ("holds", "counters"):
            connection.execute(text(f"DELETE FROM {table}"))
    await ledger.settle(settlement(request, 400))
    assert (totals(engine, cap).spent, totals(engine, pace).spent) == (400, 1)
    assert row(engine, request.id)["cost"] == 400


async def test_extending_a_hold(ledger: Ledger, engine: Engine) -> None:
    """A further attempt raises the hold if there is room; otherwise the first hold stays."""
    cap, soft = limit("cap", 2500), limit("soft", 10_000, soft=True, window="total")
    request = reservation(cap, soft, ceiling=1000)
    await ledger.reserve(request)
    await ledger.extend(request.id, 1000)
    assert totals(engine, cap) == Totals(spent=0, held=2000)
    with pytest.raises(GatewayError, match="no room"):
        await ledger.extend(request.id, 501)
    assert row(engine, request.id)["reserved"] == 2000
    await ledger.settle(settlement(request, 1700))
    assert totals(engine, cap) == Totals(spent=1700, held=0)
    with pytest.raises(LookupError):
        await ledger.extend(request.id, 1)


async def test_a_charge_counts_whether_or_not_there_is_room(ledger: Ledger, engine: Engine) -> None:
    """A finished request that held nothing is in the counters, the rollups and the rows."""
    cap, pace = limit("cap", 100), limit("pace", 1, unit="requests", window="minute")
    tokens = limit("tokens", 10, unit="tokens", window="minute")
    for _ in range(2):
        request = reservation(cap, pace, tokens)
        await ledger.charge(request, settlement(request, 80, usage=used(6, 4)))
    assert totals(engine, cap) == Totals(spent=160, held=0)
    assert (totals(engine, pace).spent, totals(engine, tokens).spent) == (2, 20)
    assert rollup_sums(engine) == (2, 0, 12, 8, 160)


async def test_a_refusals_row_moves_no_limit(ledger: Ledger, engine: Engine) -> None:
    """It is there to be seen, and costs nothing, not even of a rate."""
    cap, pace = limit("cap", 100), limit("pace", 1, unit="requests", window="minute")
    request = reservation(cap, pace)
    ledger.note(request, settlement(request, 0, status=402, error="limit-exceeded"))
    await ledger.reserve(reservation())
    noted = row(engine, request.id)
    assert (noted["state"], noted["status"], noted["error"], noted["cost"]) == ("settled", 402, "limit-exceeded", 0)
    assert counters(engine) == {}
    assert rollup_sums(engine) == (1, 1, 0, 0, 0)


async def test_refusals_rows_are_dropped_where_there_are_too_many(engine: Engine) -> None:
    """Nobody fills the memory by being refused; what is dropped is counted."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_queue=4)
    await ledger.start()
    requests = [reservation() for _ in range(20_000)]
    for request in requests:
        ledger.note(request, settlement(request, 0, status=402))
    await ledger.stop()
    assert ledger.dropped > 0
    assert len(rows(engine)) + ledger.dropped == 20_000


async def test_background_work_is_charged_once(ledger: Ledger, engine: Engine, clock: Clock) -> None:
    """Charged at its ceiling at first, at its cost when it is first seen, in the request's own windows, never again."""
    cap = limit("cap", 10_000)
    request = reservation(cap, ceiling=3000)
    await ledger.reserve(request)
    await ledger.settle(settlement(request, 3000, certainty="ceiling", work_id="resp_7", provider="openai"))
    clock.now = NOON + timedelta(days=2)
    poll = settlement("req_poll", 800, usage=used(10, 4), provider="openai", price="openai/gpt-5", status=200)
    assert await ledger.correct("resp_8", request.caller.key_id, poll) == "unknown"
    assert await ledger.correct("resp_7", "key_other", poll) == "unknown"
    assert await ledger.correct("resp_7", None, replace(poll, provider="azure")) == "unknown"
    seen = await asyncio.gather(*(ledger.correct("resp_7", request.caller.key_id, poll) for _ in range(3)))
    assert sorted(seen) == ["already", "already", "corrected"]
    assert totals(engine, cap) == Totals(spent=800, held=0)
    assert rollup_sums(engine) == (1, 0, 10, 4, 800)
    corrected = row(engine, request.id)
    assert (corrected["cost"], corrected["certainty"], corrected["price"]) == (800, "exact", "openai/gpt-5")
    assert corrected["work_id"] == "resp_7"


async def test_a_corrected_share_of_a_ceiling_keeps_its_price(ledger: Ledger, engine: Engine) -> None:
    """A later look that tells how much was done names no price: the one that the ceiling came from stays."""
    request = reservation(limit("cap", 10_000), ceiling=3000)
    await ledger.reserve(request)
    held = settlement(request, 3000, certainty="ceiling", usage=used(10), work_id="vid_1", price="openai/sora-2")
    await ledger.settle(held)
    look = replace(settlement("req_look", 0), of_ceiling=Decimal("0.5"))
    assert await ledger.correct("vid_1", request.caller.key_id, look) == "corrected"
    found = row(engine, request.id)
    assert (found["cost"], found["certainty"], found["price"]) == (1500, "exact", "openai/sora-2")
    assert rollup_sums(engine) == (1, 0, 5, 0, 1500)


async def test_work_first_seen_in_two_looks_at_once_is_charged_once(ledger: Ledger, engine: Engine) -> None:
    """Of two looks at work that was not asked for here, one costs and the other is a free row."""
    cap = limit("cap", 10_000)
    looks = [reservation(cap) for _ in range(3)]
    await asyncio.gather(*(ledger.charge(look, settlement(look, 500, work_id="resp_9")) for look in looks))
    assert totals(engine, cap) == Totals(spent=500, held=0)
    assert sorted(found["cost"] for found in rows(engine)) == [0, 0, 500]


async def test_a_look_that_overtakes_the_first_settlement(ledger: Ledger, engine: Engine) -> None:
    """Work whose cost came through before the request that began it was settled is not charged again by that one."""
    cap = limit("cap", 10_000)
    create, look = reservation(cap, ceiling=3000), reservation(cap)
    await ledger.reserve(create)
    await ledger.charge(look, settlement(look, 500, work_id="resp_9"))
    await ledger.settle(settlement(create, 3000, certainty="ceiling", work_id="resp_9"))
    assert totals(engine, cap) == Totals(spent=500, held=0)
    assert await ledger.correct("resp_9", create.caller.key_id, settlement("req_poll", 500)) == "already"


async def test_a_runs_budget_is_that_of_its_first_request(ledger: Ledger, engine: Engine) -> None:
    """Later requests of the run are bound by it, whatever they state, and if they state nothing at all."""

    def of_run(stated: int | None, ceiling: int, key: str = "ci") -> object:
        name = f"run:key_{key}:nightly"
        budget = [] if stated is None else [limit(name, stated, owner_kind="run", owner="nightly", window="total")]
        return reservation(*budget, ceiling=ceiling, key=key, run="nightly")

    assert (await refused(ledger, of_run(500, 600))).details["owner_kind"] == "run"
    await ledger.reserve(of_run(1000, 600))  # type: ignore[arg-type]
    assert (await refused(ledger, of_run(50_000, 401))).details["amount"] == "0.000001"
    assert (await refused(ledger, of_run(None, 401))).details["owner"] == "nightly"
    await ledger.reserve(of_run(None, 400))  # type: ignore[arg-type]
    await ledger.reserve(of_run(2000, 2000, key="other"))  # type: ignore[arg-type]
    assert counters(engine) == {
        ("run:key_ci:nightly", 0): Totals(0, 1000),
        ("run:key_other:nightly", 0): Totals(0, 2000),
    }


async def test_what_clients_and_providers_write_is_stored_or_replaced(ledger: Ledger, engine: Engine) -> None:
    """Text and numbers that a database refuses do not keep a request from being charged."""
    cap = limit("cap", 10_000)
    request = reservation(cap, model="gpt\0-\ud800 ü", tags={"a\0": "\ud800"})
    await ledger.reserve(request)
    usage = {"input_tokens": 10**30, "output_tokens": float("nan"), "other": float("inf")}
    raw = {"big": 10**40, "text": "\0\ud800", "nan": float("nan")}
    await ledger.settle(settlement(request, 400, usage=usage, raw_usage=raw, error="e\0", work_id="w\0"))  # type: ignore[arg-type]
    assert totals(engine, cap) == Totals(spent=400, held=0)
    stored = row(engine, request.id)
    assert (stored["model"], stored["error"], stored["work_id"]) == ("gpt\ufffd-? ü", "e\ufffd", "w\ufffd")
    assert await ledger.correct("w\0", None, settlement("req_poll")) == "already"
    assert rollup_sums(engine)[2:4] == (10**12, 0)


async def test_one_that_cannot_be_written_does_not_stop_the_others(ledger: Ledger, engine: Engine) -> None:
    """The rest of its batch goes through; the one hears that the ledger cannot take it."""
    cap = limit("cap", 10_000)
    fine = [reservation(cap) for _ in range(3)]
    results = await asyncio.gather(
        ledger.reserve(fine[0]),
        ledger.reserve(reservation(cap, ceiling=-(10**30))),
        ledger.reserve(fine[1]),
        ledger.reserve(replace(fine[2], id=fine[0].id)),
        return_exceptions=True,
    )
    assert [result is None for result in results] == [True, False, True, False]
    assert totals(engine, cap) == Totals(spent=0, held=2000)
    assert ledger.healthy


async def test_a_full_queue_refuses(engine: Engine) -> None:
    """More than the ledger can take in is turned away at once, with a hint when to come back."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock(), max_queue=5)
    await ledger.start()
    requests = [reservation() for _ in range(2000)]
    results = await asyncio.gather(*(ledger.reserve(request) for request in requests), return_exceptions=True)
    errors = [result for result in results if isinstance(result, GatewayError)]
    assert {(error.code, error.retry_after) for error in errors} == {("overloaded", 1)}
    assert len(rows(engine)) == len(requests) - len(errors)
    await ledger.stop()


async def test_stopping_writes_what_is_queued(engine: Engine) -> None:
    """Nothing that was handed over is lost, waiting requests are refused, and the node signs off."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock())
    await ledger.start()
    cap = limit("cap", 100_000)
    requests = [reservation(cap) for _ in range(100)]
    await asyncio.gather(*(ledger.reserve(request) for request in requests))
    waiting = asyncio.create_task(refused(ledger, reservation(cap, ceiling=1), wait=20))
    settling = [asyncio.create_task(ledger.settle(settlement(request, 1000))) for request in requests]
    await asyncio.sleep(0)
    await ledger.stop()
    assert (await waiting).code in ("overloaded", "limit-exceeded")
    await asyncio.gather(*settling)
    assert totals(engine, cap) == Totals(spent=100_000, held=0)
    assert (await refused(ledger, reservation(cap))).code == "overloaded"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM nodes")).scalar() == 0


async def test_a_limit_made_in_mid_window_knows_its_past(ledger: Ledger, engine: Engine) -> None:
    """It begins with what its owner spent in the window, and holds what its requests in flight may cost."""
    yesterday = NOON - timedelta(days=1)
    for cost, time in ((300, NOON - timedelta(hours=5)), (200, NOON), (9000, yesterday)):
        request = reservation(time=time)
        await ledger.charge(request, settlement(request, cost))
    other = reservation(key="other")
    await ledger.charge(other, settlement(other, 70))
    flying = reservation(ceiling=1000)
    await ledger.reserve(flying)

    day = limit("day", 1600)
    kinds = {
        "day": (day, "key_ci"),
        "month": (limit("month", 50_000, window="monthly", owner_kind="project"), "proj_lab"),
        "all": (limit("all", 50_000, window="total", owner_kind="organisation"), ""),
        "week": (limit("week", 50_000, window="weekly", owner_kind="user"), "user_ada"),
        "soft": (limit("soft", 50_000, window="total", soft=True), "key_ci"),
    }
    for made, owner_id in kinds.values():
        await bind_limit(ledger, engine, made, owner_id)
    assert {name: totals(engine, made) for name, (made, _) in kinds.items()} == {
        "day": Totals(500, 1000),
        "month": Totals(9570, 1000),
        "all": Totals(9570, 1000),
        "week": Totals(570, 1000),
        "soft": Totals(9500, 0),
    }
    await refused(ledger, reservation(day, ceiling=101))
    await ledger.settle(settlement(flying, 600))
    assert {name: totals(engine, made).spent for name, (made, _) in kinds.items()} == {
        "day": 1100, "month": 10_170, "all": 10_170, "week": 1170, "soft": 10_100,
    }  # fmt: skip
    assert all(totals(engine, made).held == 0 for made, _ in kinds.values())


async def test_binding_again_counts_requests_that_did_not_know_the_limit(ledger: Ledger, engine: Engine) -> None:
    """A second time counts what was spent meanwhile by requests that the limit did not bind, and nothing twice."""
    day = limit("day", 10_000)
    await bind_limit(ledger, engine, day, "key_ci")
    knowing, unaware, flying = reservation(day), reservation(), reservation(ceiling=500)
    await ledger.reserve(knowing)
    await ledger.charge(unaware, settlement(unaware, 70))
    await ledger.reserve(flying)
    await ledger.settle(settlement(knowing, 400))
    for _ in range(2):
        await bind_limit(ledger, engine, day, "key_ci")
        assert totals(engine, day) == Totals(spent=470, held=500)


async def test_the_hold_of_a_limit_that_came_later_is_extended_with_the_rest(ledger: Ledger, engine: Engine) -> None:
    """An attempt more is refused by a limit that the request met only in flight."""
    request = reservation(limit("old", 10_000), ceiling=1000)
    await ledger.reserve(request)
    day = limit("day", 1500)
    with engine.begin() as connection:
        values = {"id": "day", "owner": "key_ci", "amount": 1500}
        connection.execute(
            text(
                'INSERT INTO limits (id, owner_kind, owner_id, unit, "window", amount, soft) '
                "VALUES (:id, 'key', :owner, 'usd', 'daily', :amount, false)"
            ),
            values,
        )
    await bind_limit(ledger, engine, day, "key_ci")
    await ledger.extend(request.id, 400)
    assert totals(engine, day) == Totals(spent=0, held=1400)
    with pytest.raises(GatewayError, match="daily limit"):
        await ledger.extend(request.id, 200)


async def test_a_deleted_limit_leaves_no_counter(ledger: Ledger, engine: Engine) -> None:
    """Its counters go; a request in flight that holds some of it settles without it."""
    old, kept = limit("old", 10_000), limit("kept", 10_000, window="total")
    request = reservation(old, kept)
    await ledger.reserve(request)
    await drop_limit(ledger, engine, old)
    await ledger.settle(settlement(request, 400))
    assert counters(engine) == {("kept", 0): Totals(400, 0)}


async def test_pruning_keeps_every_total(ledger: Ledger, engine: Engine, clock: Clock) -> None:
    """Rows that ended long ago go, and budgets of old runs; rollups, limits and what is in flight stay."""
    cap = limit("cap", 10**9, window="total")
    last_year = NOON - timedelta(days=365)
    budget = limit("run:key_ci:old", 10_000, owner_kind="run", owner="old", window="total")
    clock.now = last_year
    old = [reservation(cap, time=last_year) for _ in range(1500)]
    await asyncio.gather(*(ledger.charge(request, settlement(request, 2)) for request in old))
    of_run = reservation(cap, budget, time=last_year, run="old")
    await ledger.reserve(of_run)
    await ledger.settle(settlement(of_run, 3))
    flying = reservation(cap, time=last_year)
    await ledger.reserve(flying)
    clock.now = NOON
    recent = reservation(cap)
    await ledger.charge(recent, settlement(recent, 5))

    assert await ledger.prune(NOON - timedelta(days=90)) == 1501
    assert {found["id"] for found in rows(engine)} == {flying.id, recent.id}
    assert rollup_sums(engine)[-1] == 3008
    assert counters(engine) == {("cap", 0): Totals(3008, 1000)}


async def test_attempts_and_usage_of_any_mapping_are_stored(ledger: Ledger, engine: Engine) -> None:
    """What the relay hands over need not be plain dictionaries."""
    from types import MappingProxyType

    request = reservation()
    end = Settlement(
        request.id, NOON, 1, "exact", raw_usage=MappingProxyType({"a": MappingProxyType({"b": 1})}),
        attempts=(MappingProxyType({"provider": "openai"}),),
    )  # fmt: skip
    await ledger.charge(request, end)
    stored = row(engine, request.id)["raw_usage"]
    assert (json.loads(stored) if isinstance(stored, str) else stored) == {"a": {"b": 1}}
