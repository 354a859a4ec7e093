"""What the ledger can be asked, on both databases."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from paig_client.api.resources import Request
from paig_gateway.database.engine import writing
from paig_gateway.database.order import BadOrder
from paig_gateway.database.tables import KeyRow, RequestRow
from paig_gateway.ledger.balances import limit_balances
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.reports import (
    BadQuery,
    Filter,
    finished_since,
    get_request,
    last_finished,
    list_requests,
    usage,
)
from tests.gateway.ledger.books import NOON, Clock, reservation, settlement, used

pytestmark = pytest.mark.anyio

MODELS = ("gpt-5", "claude-sonnet-4-5")


@pytest.fixture
async def filled(engine: Engine) -> Engine:
    """Thirty requests, 25 minutes apart, of two models and two customers; every fifth failed."""
    clock = Clock()
    ledger = Ledger(engine, node_id="node_a", clock=clock)
    await ledger.start()
    for number in range(30):
        clock.now = NOON + timedelta(minutes=25 * number)
        request = replace(
            reservation(ceiling=5000),
            time=clock.now,
            model=MODELS[number % 2],
            tags={"customer": "acme"} if number % 3 else {},
        )
        await ledger.reserve(request)
        done = settlement(request, 100 + number, usage=used(10 + number, number))
        await ledger.settle(
            replace(done, status=500 if number % 5 == 0 else 200, error="x" if number % 5 == 0 else None)
        )
    await ledger.stop()
    return engine


async def test_totals_equal_the_rows_over_any_span(filled: Engine) -> None:
    """A span that begins and ends within hours is as exact as one of whole hours."""
    rows = list_requests(filled, Filter(), limit=100).items
    for start, length in [(0, 720), (7, 33), (61, 300), (120, 60), (13, 1), (500, 1000)]:
        which = Filter(since=NOON + timedelta(minutes=start), until=NOON + timedelta(minutes=start + length))
        assert which.since is not None
        assert which.until is not None
        inside = [row for row in rows if which.since <= row.time < which.until]
        total = usage(filled, [], which).total
        assert total.requests == len(inside)
        assert total.errors == sum(row.error is not None for row in inside)
        assert Decimal(total.cost) == sum(Decimal(row.cost) for row in inside)
        assert total.input_tokens == sum((row.usage or {})["input_tokens"] for row in inside)


@pytest.mark.parametrize(
    "by", [["model"], ["hour"], ["day", "model"], ["key"], ["tag:customer"], ["tag:customer", "model"]]
)
async def test_groups_add_up(filled: Engine, by: list[str]) -> None:
    """Every grouping tells each request once."""
    report = usage(filled, by, Filter())
    rows = list_requests(filled, Filter(), limit=100).items
    assert sum(item.requests for item in report.items) == len(rows) == report.total.requests
    assert sum(Decimal(item.cost) for item in report.items) == sum(Decimal(row.cost) for row in rows)
    assert all(list(item.group) == by for item in report.items)
    if by == ["tag:customer"]:
        expected: dict[str | None, int] = defaultdict(int)
        for row in rows:
            expected[row.tags.get("customer")] += 1
        assert {item.group["tag:customer"]: item.requests for item in report.items} == expected


async def test_pages_are_newest_first_and_complete(filled: Engine) -> None:
    """Following the cursor gives every row once, newest first."""
    found, cursor = [], None
    while True:
        page = list_requests(filled, Filter(), cursor=cursor, limit=7)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len({row.id for row in found}) == 30
    assert [row.time for row in found] == sorted((row.time for row in found), reverse=True)
    assert get_request(filled, found[0].id) == found[0]
    assert get_request(filled, "req_none") is None


async def test_filters(filled: Engine) -> None:
    """Rows are picked by what they say."""
    assert len(list_requests(filled, Filter(model="gpt-5"), limit=100).items) == 15
    assert len(list_requests(filled, Filter(status=500), limit=100).items) == 6
    assert list_requests(filled, Filter(key="nobody")).items == []
    assert usage(filled, [], Filter(model="gpt-5")).total.requests == 15


async def test_owners_are_found_by_name_or_id(filled: Engine) -> None:
    """Also those that are there no more, by their id; a name that is another's id means both."""
    [row] = list_requests(filled, Filter(), limit=1).items
    with writing(filled) as connection:
        key_id = connection.execute(select(RequestRow.key_id).limit(1)).scalar_one()
        own = {"state": "active", "version": 1, "created_at": 0, "updated_at": 0, "hint": ""}
        keys = [{"id": key_id, "name": row.key, "hash": "1"}, {"id": "key_2", "name": key_id, "hash": "2"}]
        assert usage(filled, [], Filter(key=key_id)).total.requests == 30  # deleted, for all that is known
        assert usage(filled, [], Filter(key=row.key)).total.requests == 0
        connection.execute(insert(KeyRow), [{**own, **key} for key in keys])
    for named, found in [(key_id, 30), (row.key, 30), ("key_2", 0), ("nobody", 0)]:
        assert usage(filled, [], Filter(key=named)).total.requests == found
        assert len(list_requests(filled, Filter(key=named)).items) == found


async def test_the_tail_misses_nothing(filled: Engine) -> None:
    """Reading on from each place gives every finished row once, and the end is where nothing follows."""
    place, seen = (0, ""), []
    while batch := finished_since(filled, *place, limit=4):
        seen += [finished.request.id for finished in batch]
        place = batch[-1].finished_at, batch[-1].request.id
    assert len(seen) == len(set(seen)) == 30
    assert place == last_finished(filled)


async def test_bad_questions_are_told_what_is_wrong(filled: Engine) -> None:
    """An unknown group, a group named twice, a cursor of another list."""
    with pytest.raises(BadQuery, match="no group 'colour'"):
        usage(filled, ["colour"], Filter())
    with pytest.raises(BadQuery, match="twice"):
        usage(filled, ["model", "model"], Filter())
    with pytest.raises(BadQuery, match="status"):
        usage(filled, [], Filter(status=200))
    with pytest.raises(BadOrder, match="begin again"):
        list_requests(filled, Filter(), cursor="?!")


async def test_no_limits_no_status(filled: Engine) -> None:
    """Where there is no limit, none is shown."""
    assert limit_balances(filled, NOON) == []


@pytest.mark.parametrize("sort", ["cost", "-cost", "model", "-error", "error", "-input_tokens", "ms_total", "time"])
async def test_pages_in_any_order_have_each_row_once(filled: Engine, sort: str) -> None:
    """In the order of the values by code point; rows without one come last, whichever way."""
    rows, cursor = [], None
    while True:
        page = list_requests(filled, Filter(), cursor=cursor, limit=7, sort=sort)
        rows += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert len({row.id for row in rows}) == len(rows) == 30
    name = sort.removeprefix("-")

    def value(row: Request) -> Any:
        if name == "input_tokens":
            return (row.usage or {}).get(name)
        found = getattr(row, name)
        return Decimal(found) if name == "cost" else found

    values = [value(row) for row in rows]
    known = [found for found in values if found is not None]
    assert known == sorted(known, reverse=sort.startswith("-"))
    assert values == [*known, *[None] * (30 - len(known))]


async def test_usage_shows_what_the_list_says_beside_a_providers_charge(engine: Engine) -> None:
    """The difference is the charge without the list's price, over whole steps and parts of them."""
    ledger = Ledger(engine, node_id="node_a", clock=Clock())
    await ledger.start()
    for cost, list_price in ((800, 1000), (500, None), (300, 250)):
        request = reservation(ceiling=5000)
        await ledger.reserve(request)
        source = {"cost_source": "list" if list_price is None else "provider", "list_price": list_price}
        await ledger.settle(settlement(request, cost, **source))
    await ledger.stop()
    for which in (Filter(), Filter(since=NOON - timedelta(minutes=1), until=NOON + timedelta(minutes=1))):
        total = usage(engine, ["model"], which).total
        assert (total.cost, total.list_cost, total.difference) == (
            Decimal("0.0000016"),
            Decimal("0.00000175"),
            Decimal("-0.00000015"),
        )
