"""What becomes of caps while a request is in flight and its key, its limits or the clock change."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx2
import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.resources import LimitStatus, Request
from paig_client.api.specs import (
    KeySpec,
    MatchSpec,
    MemberSpec,
    NamedLimitSpec,
    OwnerSpec,
    ProjectSpec,
    ProviderSpec,
    RaiseSpec,
    RouteSpec,
)
from paig_gateway.config import ServerSpec
from paig_gateway.config.model import BreakerSpec
from paig_gateway.database.engine import utc_now
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import Time, World, running_world

pytestmark = pytest.mark.anyio

AT_ONCE = ServerSpec(breaker=BreakerSpec(enabled=False), limit_wait=0)
"""Refusals do not wait for requests in flight."""
MODEL = "gpt-4o"
COST = Decimal("0.004025")
"""10 tokens in, 400 out."""
USAGE = {"prompt_tokens": 10, "completion_tokens": 400, "total_tokens": 410}


class Gate:
    """A provider whose streams stay open until they are let go; its other answers come at once.

    A message of `fail@NAME` fails at the provider of that name.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
                asked = json.loads(await reader.readexactly(int(length.partition(":")[2])))
                await self._answer(writer, head.split()[1].split("/")[1], asked)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, name: str, asked: dict[str, object]) -> None:
        if f"fail@{name}" in json.dumps(asked["messages"]):
            writer.write(b"HTTP/1.1 500 no\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
            return
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
            body = json.dumps({"id": "c", "model": MODEL, "choices": [choice], "usage": USAGE}).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        choice = {"index": 0, "delta": {"content": "ok"}, "finish_reason": None}
        _chunk(writer, {"id": "c", "model": MODEL, "choices": [choice]})
        await writer.drain()
        await self.open.wait()
        _chunk(writer, {"id": "c", "model": MODEL, "choices": [{**choice, "delta": {}, "finish_reason": "stop"}]})
        _chunk(writer, {"id": "c", "model": MODEL, "choices": [], "usage": USAGE})
        end = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))


def _chunk(writer: asyncio.StreamWriter, event: dict[str, object]) -> None:
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


class WallClock(Time):
    """The gateway's clock on the wall, which may jump; the one that measures waits goes on as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = timedelta()

    def now(self) -> datetime:
        return utc_now() + self.ahead

    def set(self, at: datetime) -> None:
        """From now on it is that time."""
        self.ahead = at - utc_now()


class Scene:
    """A gateway on one database, its clock, and the provider behind it."""

    def __init__(self, world: World, gate: Gate, clock: WallClock) -> None:
        self.world, self.gate, self.clock, self.admin = world, gate, clock, world.admin

    @asynccontextmanager
    async def stream(self, secret: str, max_tokens: int = 1_000) -> AsyncIterator[str]:
        """A request in flight, by its id; it ends, and is settled, with the block."""
        self.gate.open.clear()
        given = {"authorization": f"Bearer {secret}"}
        async with self.world.http.stream("POST", PATH, headers=given, json=body(max_tokens, stream=True)) as answer:
            assert answer.status_code == 200, await answer.aread()
            arriving = answer.aiter_bytes()
            await anext(arriving)
            id = answer.headers["x-paig-request-id"]
            yield id
            self.gate.open.set()
            async for _ in arriving:
                pass
        await self.settled(id)

    async def settled(self, id: str) -> Request:
        """The row of a request, once its totals are written."""
        async with asyncio.timeout(20):
            while True:
                row = await self.admin.request(id)
                if row.status is not None and not any(limit.held for limit in await self.admin.limits()):
                    return row
                await asyncio.sleep(0.01)

    async def ask(self, secret: str, text: str = "hi", max_tokens: int = 1_000, **more: str) -> httpx2.Response:
        """A request that is answered at once; `more` are headers."""
        given = {"authorization": f"Bearer {secret}"} | {name.replace("_", "-"): value for name, value in more.items()}
        return await self.world.http.post(PATH, headers=given, json=body(max_tokens, text))

    async def until(self, secret: str, code: str | None) -> httpx2.Response:
        """The first answer with that error, or without one: a change takes up to a second to be known."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.ask(secret)
                if answer.headers.get("x-paig-error") == code:
                    return answer
                await asyncio.sleep(0.02)

    async def limits(self, owner: str) -> dict[str, LimitStatus]:
        """An owner's limits, by window and member."""
        found = [limit for limit in await self.admin.limits() if limit.owner == owner]
        return {limit.window if limit.member is None else limit.member: limit for limit in found}

    async def rows(self) -> list[Request]:
        """All requests."""
        rows: list[Request] = []
        cursor: str | None = None
        while True:
            page = await self.admin.requests(limit=500, cursor=cursor)
            rows += page.items
            if (cursor := page.next_cursor) is None:
                return rows

    async def books(self) -> None:
        """Rows, totals and counters say the same: of the gateway's first request as of its last."""
        total = sum((row.cost or Decimal(0) for row in await self.rows()), Decimal(0))
        usage = await self.admin.usage(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2030, 1, 1, tzinfo=UTC))
        assert usage.total.cost == total
        assert (await self.limits("organisation"))["total"].spent == total


PATH = "/proxy/both/v1/chat/completions"


def body(max_tokens: int, text: str = "hi", *, stream: bool = False) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": max_tokens, "messages": messages, "stream": stream}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def scene(
    request: pytest.FixtureRequest, environment: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    gate, clock = Gate(), WallClock()
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    specs = {
        name: ProviderSpec(kind="openai", base_url=f"{base}/{name}/v1", credential="value:k")
        for name in ("first", "second")
    }
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            postgres: Postgres = request.getfixturevalue("postgres")
            patch.setenv("PAIG_DATABASE_URL", postgres.fresh_database())
        async with running_world(tmp_path_factory.mktemp("home"), specs, AT_ONCE, time=clock) as world:
            members = [MemberSpec(provider="first", priority=1), MemberSpec(provider="second")]
            await world.admin.routes.create("both", RouteSpec(members=members))
            await world.admin.update_organisation({"limits": {"total": "1000000"}})
            yield Scene(world, gate, clock)
    server.close()


Change = Callable[[Scene, str, str], Awaitable[None]]
"""Does something to a key, by its name and its secret, while it has a request in flight."""


async def moved(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.update(key, {"project": f"{key}-other"})


async def deleted(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.delete(key)


async def disabled(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.disable(key)
    await scene.until(secret, "key-disabled")


async def rotated(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.rotate(key)


async def raised(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.update(key, {"limits": {"total": "5"}})


async def lowered(scene: Scene, key: str, secret: str) -> None:
    """Below what is held: nothing passes until that is settled."""
    await scene.admin.keys.update(key, {"limits": {"total": "0.012"}})
    await scene.until(secret, "limit-exceeded")


async def removed(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.update(key, {"limits": {"total": None, "daily": None}})
    await scene.admin.projects.update(f"{key}-own", {"limits": {"total": None}})


async def removed_and_made_again(scene: Scene, key: str, secret: str) -> None:
    """A new limit knows what is in flight."""
    held = (await scene.limits(key))["total"].held
    await removed(scene, key, secret)
    await scene.admin.keys.update(key, {"limits": {"total": "1", "daily": "1"}})
    await scene.admin.projects.update(f"{key}-own", {"limits": {"total": "1"}})
    assert [limit.held for limit in (await scene.limits(key)).values()] == [held, held]
    assert (await scene.limits(f"{key}-own"))["total"].held == held


async def without_its_project(scene: Scene, key: str, secret: str) -> None:
    await moved(scene, key, secret)
    await scene.admin.projects.delete(f"{key}-own")


async def without_its_user(scene: Scene, key: str, secret: str) -> None:
    await scene.admin.keys.update(key, {"user": None})
    await scene.admin.users.delete(f"{key}-user")


CHANGES: tuple[Change, ...] = (
    moved, deleted, disabled, rotated, raised, lowered, removed, removed_and_made_again, without_its_project,
    without_its_user,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_request_in_flight_is_charged_to_the_owners_that_it_began_with(scene: Scene, change: Change) -> None:
    """Whatever happens to them meanwhile: nothing stays held, nothing is lost, and no other owner pays."""
    key = change.__name__.replace("_", "-")
    own = LimitsSpec(total=Decimal(1))
    for project in ("own", "other"):
        await scene.admin.projects.create(f"{key}-{project}", ProjectSpec(limits=own))
    await scene.admin.users.create(f"{key}-user", OwnerSpec(limits=own))
    limits = LimitsSpec(total=Decimal(1), daily=Decimal(1))
    secret = (await scene.admin.keys.create(key, KeySpec(project=f"{key}-own", user=f"{key}-user", limits=limits))).key
    await scene.until(secret, None)
    async with scene.stream(secret) as id:
        held = (await scene.limits(key))["total"].held
        assert held > COST
        await change(scene, key, secret)
    row = await scene.settled(id)
    assert (row.status, row.cost, row.certainty, row.key, row.project) == (200, COST, "exact", key, f"{key}-own")
    costs = sum((row.cost or 0 for row in await scene.rows() if row.key == key), Decimal(0))
    for owner in (key, f"{key}-own", f"{key}-other", f"{key}-user"):
        for limit in (await scene.limits(owner)).values():
            assert (limit.held, limit.spent) == (0, 0 if owner.endswith("other") else costs), owner
    await scene.books()


async def test_a_moved_keys_next_request_counts_for_its_new_project(scene: Scene) -> None:
    for name in ("old-home", "new-home"):
        await scene.admin.projects.create(name, ProjectSpec(limits=LimitsSpec(total=Decimal("0.02"))))
    secret = (await scene.admin.keys.create("mover", KeySpec(project="old-home"))).key
    await scene.until(secret, None)
    async with scene.stream(secret, max_tokens=1_500):
        await scene.admin.keys.update("mover", {"project": "new-home"})
        await scene.until(secret, None)
        assert (await scene.limits("new-home"))["total"].spent == COST
        # What is held of the old project is not room of the new one, nor the other way round.
        assert (await scene.limits("old-home"))["total"].held > Decimal("0.015")
    assert (await scene.limits("old-home"))["total"].spent == 2 * COST
    await scene.books()


async def test_a_raise_that_ends_while_a_request_holds_more_than_the_limit(scene: Scene) -> None:
    scene.clock.set(datetime(2027, 6, 1, 9, tzinfo=UTC))  # two hours later it is still the same day
    secret = (await scene.admin.keys.create("brief", KeySpec(limits=LimitsSpec(daily=Decimal("0.02"))))).key
    until = scene.clock.now() + timedelta(hours=1)
    spec = RaiseSpec(owner_kind="key", owner="brief", to=Decimal(1), until=until, why="a burst")
    await scene.admin.raise_limit(spec)
    await scene.until(secret, None)
    async with scene.stream(secret, max_tokens=16_000):
        [limit] = (await scene.limits("brief")).values()
        assert (limit.amount, limit.held > Decimal("0.15")) == (Decimal(1), True)
        scene.clock.ahead += timedelta(hours=2)
        refused = await scene.until(secret, "limit-exceeded")
        assert refused.status_code == 402
        [limit] = (await scene.limits("brief")).values()
        assert limit.amount == Decimal("0.02")
    await scene.until(secret, None)
    await scene.books()


DAYS = (
    # In Europe clocks go forward: the day has 23 hours; and back: 25.
    ("Europe/Berlin", datetime(2027, 3, 27, 23, 0, tzinfo=UTC), 23),
    ("Europe/Berlin", datetime(2027, 10, 30, 22, 0, tzinfo=UTC), 25),
    # In Newfoundland, half an hour beside the others.
    ("America/St_Johns", datetime(2028, 3, 12, 3, 30, tzinfo=UTC), 23),
)


@pytest.mark.parametrize(("zone", "midnight", "hours"), DAYS)
async def test_a_day_on_which_clocks_change(scene: Scene, zone: str, midnight: datetime, hours: int) -> None:
    """A cap of that day lasts as long as the day, and a request that crosses its end counts for the day it began in."""
    name = f"{zone.partition('/')[2].lower().replace('_', '-')}-{hours}"
    scene.clock.set(midnight + timedelta(minutes=1))
    await scene.admin.projects.create(name, ProjectSpec(timezone=zone, limits=LimitsSpec(daily=Decimal("0.02"))))
    secret = (await scene.admin.keys.create(name, KeySpec(project=name))).key
    await scene.until(secret, None)
    [limit] = (await scene.limits(name)).values()
    assert limit.resets_at == midnight + timedelta(hours=hours)
    scene.clock.set(midnight + timedelta(hours=hours, minutes=-1))
    async with scene.stream(secret, max_tokens=1_500):
        assert (await scene.ask(secret, max_tokens=1_500)).headers["x-paig-error"] == "limit-exceeded"
        scene.clock.set(midnight + timedelta(hours=hours, minutes=1))
        assert (await scene.ask(secret, max_tokens=1_500)).status_code == 200
        [limit] = (await scene.limits(name)).values()
        assert (limit.spent, limit.held) == (COST, Decimal(0))  # of the new day
    [limit] = (await scene.limits(name)).values()
    assert (limit.spent, limit.held) == (COST, Decimal(0))
    scene.clock.set(midnight + timedelta(hours=hours, minutes=-1))  # the clock is put back into the day before
    [limit] = (await scene.limits(name)).values()
    assert (limit.spent, limit.held) == (2 * COST, Decimal(0))
    scene.clock.ahead = timedelta()
    await scene.books()


async def test_a_changed_zone_counts_from_the_next_day(scene: Scene) -> None:
    """The present day ends where it would have ended, also for a request in flight; then the new zone's begins."""
    scene.clock.set(datetime(2027, 6, 1, 20, 0, tzinfo=UTC))
    await scene.admin.projects.create("traveller", ProjectSpec(limits=LimitsSpec(daily=Decimal("0.02"))))
    secret = (await scene.admin.keys.create("traveller-key", KeySpec(project="traveller"))).key
    await scene.until(secret, None)
    async with scene.stream(secret, max_tokens=1_500):
        await scene.admin.projects.update("traveller", {"timezone": "Asia/Tokyo"})  # where it is the next day
        [limit] = (await scene.limits("traveller")).values()
        assert (limit.spent, limit.held > 0) == (COST, True)
        assert limit.resets_at == datetime(2027, 6, 2, tzinfo=UTC)
        await scene.until(secret, "limit-exceeded")
    [limit] = (await scene.limits("traveller")).values()
    assert limit.spent == 2 * COST
    scene.clock.set(datetime(2027, 6, 2, 0, 1, tzinfo=UTC))
    assert (await scene.ask(secret)).status_code == 200
    [limit] = (await scene.limits("traveller")).values()
    assert (limit.spent, limit.resets_at) == (COST, datetime(2027, 6, 2, 15, tzinfo=UTC))
    scene.clock.ahead = timedelta()
    await scene.books()


async def test_a_clock_that_jumps_loses_and_forgives_nothing(scene: Scene) -> None:
    """Requests in flight over jumps of days and months, forth and back: each counts where it began."""
    spec = KeySpec(limits=LimitsSpec(total=Decimal(1), daily=Decimal("0.05"), monthly=Decimal("0.5")))
    secret = (await scene.admin.keys.create("jumper", spec)).key
    await scene.until(secret, None)
    sent = 1
    for jump in (timedelta(days=1), timedelta(days=40), timedelta(days=-40), timedelta(days=-1), timedelta(days=-300)):
        async with scene.stream(secret):
            scene.clock.ahead += jump
            assert (await scene.ask(secret)).status_code == 200
        sent += 2
        assert (await scene.limits("jumper"))["total"].spent == sent * COST
    scene.clock.ahead = timedelta()
    found = await scene.limits("jumper")
    # Of today: the first request, the stream that began then, and the pair between two jumps.
    assert found["daily"].spent == 4 * COST
    await scene.books()


PERS = ("key", "user", "session", "tag:customer")
AMOUNT = Decimal("0.06")


def name_of(provider: str, per: str) -> str:
    """The name of the limit that counts so at a provider."""
    return f"{provider}-{per.partition(':')[0]}"


async def members(scene: Scene, names: list[str]) -> dict[tuple[str, str], Decimal]:
    """What is spent, by limit and member; a session has a counter for each key, and they are added up."""
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for limit in await scene.admin.limits():
        if limit.owner in names:
            found[limit.owner, limit.member or ""] += limit.spent
    return found


async def test_counters_of_members_hold_under_failover_and_many_at_once(scene: Scene) -> None:
    """Each request that fails at the first provider takes its hold along to the second one's limits."""
    secrets: dict[str, str] = {}
    for name in ("anna", "bert", "carl"):
        await scene.admin.users.create(name, OwnerSpec())
        secrets[name] = (await scene.admin.keys.create(f"{name}-key", KeySpec(user=name, routes=["both"]))).key
    names: list[str] = []
    for provider in ("first", "second"):
        for per in PERS:
            names.append(name_of(provider, per))
            match = MatchSpec(provider=provider)
            await scene.admin.named_limits.create(names[-1], NamedLimitSpec(match=match, per=per, total=AMOUNT))
    over: list[LimitStatus] = []
    finished = asyncio.Event()

    async def watch() -> None:
        while not finished.is_set():
            found = [limit for limit in await scene.admin.limits() if limit.owner in names]
            allowed = {place: max(AMOUNT, spent_before) for place, spent_before in before.items()}
            over.extend(
                limit
                for limit in found
                if limit.spent + limit.held > allowed.get((limit.owner, limit.member or ""), AMOUNT)
            )
            await asyncio.sleep(0.02)

    async def one(number: int) -> httpx2.Response:
        who = ("anna", "bert", "carl")[number % 3]
        text = "fail@first" if number % 2 else "hi"
        tags, session = f"customer=c{number % 4}", f"s{number % 5}"
        return await scene.ask(secrets[who], text, x_paig_tags=tags, x_session_id=session)

    for secret in secrets.values():
        await scene.until(secret, None)
    before = await members(scene, names)
    seen = {row.id for row in await scene.rows()}
    watcher = asyncio.create_task(watch())
    answers = await asyncio.gather(*map(one, range(150)))
    finished.set()
    await watcher
    assert over == []
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {200, 400, 402, 500}, statuses
    assert statuses[200] >= 20, statuses
    assert statuses[402] + statuses[500] > 0, statuses
    spent: dict[tuple[str, str], Decimal] = {}
    mine = [row for row in await scene.rows() if row.id not in seen]
    for provider in ("first", "second"):
        served = [row for row in mine if row.provider == provider and row.cost]
        by: dict[str, dict[str, Decimal]] = {per: defaultdict(Decimal) for per in PERS}
        for row in served:
            by["user"][row.user or ""] += row.cost or 0
            by["key"][row.key or ""] += row.cost or 0
            by["tag:customer"][(row.tags or {}).get("customer", "")] += row.cost or 0
            by["session"][row.session or ""] += row.cost or 0
        for per in PERS:
            spent.update({(name_of(provider, per), who): cost for who, cost in by[per].items()})
    after = await members(scene, names)
    assert {place: after[place] - before[place] for place in after if after[place] != before[place]} == spent
    assert not any(limit.held for limit in await scene.admin.limits())
    for name in names:
        await scene.admin.named_limits.delete(name)
    await scene.books()
