"""Every fault, at a provider alone, before another, beside another: what the client sees, what each try cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_client.api.resources import Request
from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.config.model import Timeouts
from paig_gateway.pricing.price import PriceBook
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import NO_BREAKER, World, running_world
from tests.gateway.end_to_end.replay import running_replay
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class Fault:
    """A way to fail.

    Attributes:
        name: Also the failing provider's name, and its mount's after a hyphen.
        alone: The status that the client sees where there is nobody else.
        tried: What the ledger says of the try: a status or a code.
        directive: What the simulated provider is told.
        where: Where the provider is, if not at the simulator.
        ceiling: Whether the try is charged at its ceiling, for the provider may be at work.
    """

    name: str
    alone: int
    tried: int | str
    directive: str = ""
    where: str | None = None
    ceiling: bool = False
    stream: bool = True


FAULTS = (
    Fault("refused", 502, "upstream-unreachable", where="http://127.0.0.1:9"),
    Fault("dns", 502, "upstream-unreachable", where="http://nowhere.invalid"),
    Fault("tls", 502, "upstream-unreachable", where="https:"),
    Fault("slow", 504, "upstream-timeout", "delay=30", ceiling=True),
    Fault("f408", 408, 408, "status=408"),
    Fault("f429", 429, 429, "status=429] [sim@openai-f429:retry_after=2"),
    Fault("f500", 500, 500, "status=500"),
    Fault("f529", 529, 529, "status=529"),
    Fault("f401", 401, 401, "status=401"),
    Fault("first", 200, "server_error", "error_first"),
    Fault("reset", 502, "upstream-unreachable", "reset"),
    Fault("half", 502, "upstream-unreachable", "disconnect=1", ceiling=True, stream=False),
)


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Simulator]]:
    """For each fault a provider that has it, a route where another one follows, and a route where both are equals."""
    simulator = Simulator()
    async with running_simulator(simulator) as base:
        specs = {"good": ProviderSpec(kind="openai", base_url=f"{base}/openai-good/v1", credential="value:k")}
        for fault in FAULTS:
            where = {None: base, "https:": base.replace("http:", "https:")}.get(fault.where, fault.where)
            url = f"{where}/openai-{fault.name}/v1"
            specs[fault.name] = ProviderSpec(kind="openai", base_url=url, credential="value:k")
        timeouts = Timeouts(connect=5, first_byte=1, idle=5, total=20)
        server = NO_BREAKER.model_copy(update={"timeouts": timeouts})
        async with running_world(tmp_path_factory.mktemp("home"), specs, server) as running:
            for fault in FAULTS:
                bad, good = MemberSpec(provider=fault.name, priority=5), MemberSpec(provider="good")
                await running.admin.routes.create(f"{fault.name}-failover", RouteSpec(members=[bad, good]))
                equal = good.model_copy(update={"priority": 5})
                await running.admin.routes.create(f"{fault.name}-weighted", RouteSpec(members=[bad, equal]))
            yield running, simulator


async def ask(
    world: World, route: str, fault: Fault, key: str | None = None, prompt: str = "", **more: Any
) -> httpx2.Response:
    """One chat completion that fails at the faulty provider alone."""
    directive = f"[sim@openai-{fault.name}:{fault.directive}] " if fault.directive else ""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"{prompt}{directive}Tell me a story"}],
        "max_completion_tokens": 50,
        "stream": fault.stream,
    }
    headers = {"authorization": f"Bearer {key or world.key}"}
    return await world.http.post(f"/proxy/{route}/chat/completions", headers=headers, json={**body, **more})


def tries(row: Request) -> list[tuple[str, int | str | None]]:
    """Whom the request was sent to, and what came of it."""
    return [(attempt.provider, attempt.error or attempt.status) for attempt in row.attempts]


def whole(response: httpx2.Response) -> bool:
    """Whether a good answer came, to its end."""
    if response.headers["content-type"].startswith("text/event-stream"):
        return response.status_code == 200 and "error" not in response.text and "[DONE]" in response.text
    return response.status_code == 200 and bool(response.json()["choices"])


def check_costs(row: Request, fault: Fault) -> None:
    """Each try has its cost, their sum is the row's, and what is held was never exceeded."""
    costs = [Decimal(attempt.cost) for attempt in row.attempts]
    assert sum(costs) == Decimal(row.cost) <= Decimal(row.reserved)
    for attempt in row.attempts:
        if attempt.provider == "good" or (attempt.provider == fault.name and fault.ceiling):
            assert Decimal(attempt.cost) > 0
        else:
            assert attempt.cost == Decimal(0)
    # Half a body says how long it would have been.
    guessed = "estimated" if fault.name == "half" else "ceiling"
    assert row.certainty == (guessed if fault.ceiling and row.attempts[0].provider == fault.name else "exact")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_alone(world: tuple[World, Simulator], fault: Fault) -> None:
    """Without another member, the provider's own answer passes, or the gateway says that none came."""
    running, _ = world
    response = await ask(running, fault.name, fault)
    assert response.status_code == fault.alone
    own = str(fault.tried) if str(fault.tried).startswith("upstream-") else None
    assert response.headers.get("x-paig-error") == own
    row = await settled(running, response.headers["x-paig-request-id"])
    assert [attempt.provider for attempt in row.attempts] == [fault.name]
    check_costs(row, fault)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_before_another(world: tuple[World, Simulator], fault: Fault) -> None:
    """The next member answers, and the client sees nothing of the fault."""
    running, _ = world
    response = await ask(running, f"{fault.name}-failover", fault)
    assert whole(response), response.text
    row = await settled(running, response.headers["x-paig-request-id"])
    assert tries(row) == [(fault.name, fault.tried), ("good", 200)]
    check_costs(row, fault)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_beside_another(world: tuple[World, Simulator], fault: Fault) -> None:
    """Whichever of two equals is tried first, the client sees one good answer."""
    running, _ = world
    for _ in range(3):
        response = await ask(running, f"{fault.name}-weighted", fault)
        assert whole(response), response.text
        row = await settled(running, response.headers["x-paig-request-id"])
        assert tries(row)[-1] == ("good", 200)
        assert tries(row)[:-1] in ([], [(fault.name, fault.tried)])
        check_costs(row, fault)


@pytest.mark.parametrize("where", ["", "-failover", "-weighted"])
async def test_broken_in_the_middle(world: tuple[World, Simulator], where: str) -> None:
    """Once a byte has reached the client no other member is tried: the stream breaks, and what came is charged."""
    running, _ = world
    fault = Fault("f500", 0, "upstream-unreachable", "disconnect=4")

    async def until_it_breaks() -> None:
        while True:  # beside another, it is tried first as often as not
            assert whole(await ask(running, f"f500{where}", fault))

    with pytest.raises(httpx2.RemoteProtocolError):
        await until_it_breaks()
    row = (await running.admin.requests(route=f"f500{where}", limit=1)).items[0]
    row = await settled(running, row.id)
    assert tries(row) == [("f500", "upstream-unreachable")]
    assert (row.certainty, row.cost) == ("estimated", row.attempts[0].cost)
    assert 0 < Decimal(row.cost) < Decimal(row.reserved)


@pytest.mark.parametrize("where", ["", "-failover", "-weighted"])
async def test_an_error_in_the_middle(world: tuple[World, Simulator], where: str) -> None:
    """An error event after the first content is the client's: no other member is tried, and what came is charged."""
    running, _ = world
    fault = Fault("f500", 200, "server_error", "error_event")
    for _ in range(50):
        response = await ask(running, f"f500{where}", fault)
        assert response.status_code == 200
        if not whole(response):
            break
    row = await settled(running, response.headers["x-paig-request-id"])
    assert [(attempt.provider, attempt.status) for attempt in row.attempts] == [("f500", 200)]
    assert (row.error, row.certainty) == ("server_error", "estimated")
    assert 0 < Decimal(row.cost) < Decimal(row.reserved)


@pytest.mark.parametrize("where", ["", "-failover", "-weighted"])
async def test_when_all_are_throttled_the_last_says_until_when(world: tuple[World, Simulator], where: str) -> None:
    """The 429 that the client gets is the last provider's own, with its own `Retry-After`; it costs nothing."""
    running, _ = world
    everywhere = "[sim:status=429] [sim:retry_after=7] "
    response = await ask(running, f"f429{where}", Fault("none", 0, ""), prompt=everywhere)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert "x-paig-error" not in response.headers
    row = await settled(running, response.headers["x-paig-request-id"])
    assert [attempt.status for attempt in row.attempts] == [429] * (2 if where else 1)
    assert row.cost == Decimal(0)


async def test_a_cap_holds_over_all_tries(world: tuple[World, Simulator]) -> None:
    """Who may have billed is paid for in full; the next is tried only if the cap has room for both."""
    running, _ = world
    fault = next(fault for fault in FAULTS if fault.name == "slow")
    probe = await ask(running, "slow-failover", fault)
    row = await settled(running, probe.headers["x-paig-request-id"])
    worst = Decimal(row.attempts[0].cost)
    assert Decimal(row.reserved) == 2 * worst
    narrow = await running.make_key("narrow", total=str(worst * 2 - Decimal("0.000000001")))
    response = await ask(running, "slow-failover", fault, narrow)
    assert (response.status_code, response.headers["x-paig-error"]) == (504, "upstream-timeout")
    row = await settled(running, response.headers["x-paig-request-id"])
    assert tries(row) == [("slow", "upstream-timeout")]
    assert Decimal(row.cost) == Decimal(row.reserved) == worst
    wide = await running.make_key("wide", total=str(worst * 2))
    assert whole(await ask(running, "slow-failover", fault, wide))


async def test_rows_counters_and_upstream_agree(world: tuple[World, Simulator]) -> None:
    """Over all unbilled faults, the rows' sum is the counter, and both equal the providers' counts."""
    running, simulator = world
    key = await running.make_key("summed", total=100)
    before = {name: (served.input_tokens, served.output_tokens) for name, served in simulator.served.items()}
    for fault in FAULTS:
        if not fault.ceiling:
            assert whole(await ask(running, f"{fault.name}-failover", fault, key))
    total = Decimal(0)
    for row in (await running.admin.requests(key="summed")).items:
        total += Decimal((await settled(running, row.id)).cost)
    spent = next(limit for limit in await running.admin.limits() if limit.owner == "summed")
    assert (Decimal(spent.spent), Decimal(spent.held)) == (total, 0)
    price = PriceBook().find("openai", MODEL)
    assert price is not None
    counted = 0
    for name, served in simulator.served.items():
        old = before.get(name, (0, 0))
        tokens = served.input_tokens - old[0], served.output_tokens - old[1]
        counted += price.cost({"input_tokens": tokens[0], "output_tokens": tokens[1]}, datetime.now(UTC))
    assert total * 10**9 == counted


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        (b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}', True),
        (b'{"error":{"message":"This model is not for your country"}}', False),
    ],
)
async def test_a_403_of_an_exhausted_account(
    environment: None, tmp_path: Path, simulator: Simulator, body: bytes, passes: bool
) -> None:
    """A 403 that speaks of quota is the account's trouble, so the next member is tried; any other is the client's."""
    async with running_replay() as replay, running_simulator(simulator) as base:
        replay.status, replay.headers, replay.pieces = 403, [("content-type", "application/json")], [body]
        specs = {
            "poor": ProviderSpec(kind="openai", base_url=f"{replay.base}/v1", credential="value:k"),
            "good": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:k"),
        }
        async with running_world(tmp_path, specs) as running:
            members = [MemberSpec(provider="poor", priority=5), MemberSpec(provider="good")]
            await running.admin.routes.create("both", RouteSpec(members=members))
            response = await ask(running, "both", Fault("none", 0, ""))
            if passes:
                assert whole(response)
            else:
                assert (response.status_code, response.content) == (403, body)
