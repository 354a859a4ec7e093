"""One Anthropic request over Anthropic, Bedrock and Vertex AI: the client speaks Anthropic's Messages throughout."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import anthropic
import pytest

from paig_client.api.resources import Request
from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.pricing.price import PriceBook
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import NO_BREAKER, World, running_world
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

CLAUDE = "claude-sonnet-4-5"
AT_BEDROCK, AT_VERTEX = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5@20250929"
NO_ANTHROPIC = "[sim@anthropic:status=529] "
NO_BEDROCK = NO_ANTHROPIC + "[sim@bedrock:status=503] "
PRICES = {
    "anthropic": ("anthropic", CLAUDE),
    "bedrock": ("aws", AT_BEDROCK),
    "worldwide": ("aws", AT_BEDROCK.replace("us.", "global.")),
    "vertex": ("google", AT_VERTEX),
}
WHERE = [("anthropic", ""), ("bedrock", NO_ANTHROPIC), ("vertex", NO_BEDROCK)]


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Simulator]]:
    """The three providers and the route `claude` over them."""
    simulator = Simulator()
    async with running_simulator(simulator) as base:
        specs = {
            "anthropic": ProviderSpec(kind="anthropic", base_url=f"{base}/anthropic", credential="value:a"),
            "bedrock": ProviderSpec(kind="bedrock", base_url=f"{base}/bedrock", credential="value:b"),
            "vertex": ProviderSpec(kind="google-vertex", base_url=f"{base}/vertex", credential="value:c", project="p"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, NO_BREAKER) as running:
            members = [
                MemberSpec(provider="anthropic", priority=10),
                MemberSpec(provider="bedrock", priority=5, models={CLAUDE: AT_BEDROCK}),
                MemberSpec(provider="vertex", models={CLAUDE: AT_VERTEX}),
            ]
            await running.admin.routes.create("claude", RouteSpec(members=members))
            worldwide = MemberSpec(provider="bedrock", models={CLAUDE: PRICES["worldwide"][1]})
            await running.admin.routes.create("worldwide", RouteSpec(members=[worldwide]))
            yield running, simulator


def client(world: World, route: str = "claude") -> anthropic.AsyncAnthropic:
    """The SDK, aimed at a route."""
    return anthropic.AsyncAnthropic(base_url=f"{world.origin}/proxy/{route}", auth_token=world.key, max_retries=0)


async def last_row(world: World, route: str = "claude") -> Request:
    """The newest request's row, once it is settled."""
    return await settled(world, (await world.admin.requests(route=route, limit=1)).items[0].id)


def price_of(who: str, simulator: Simulator, before: tuple[int, int]) -> Decimal:
    """What the provider's own count costs at its price, in dollars."""
    served = simulator.served["bedrock" if who == "worldwide" else who]
    price = PriceBook().find(*PRICES[who])
    assert price is not None
    counts = {"input_tokens": served.input_tokens - before[0], "output_tokens": served.output_tokens - before[1]}
    return Decimal(price.cost(counts, datetime.now(UTC))) / 10**9


def counted(simulator: Simulator, who: str) -> tuple[int, int]:
    """What a provider has served so far."""
    served = simulator.served.get("bedrock" if who == "worldwide" else who)
    return (served.input_tokens, served.output_tokens) if served else (0, 0)


@pytest.mark.parametrize(("who", "faults"), WHERE, ids=[who for who, _ in WHERE])
async def test_whole_answers(world: tuple[World, Simulator], who: str, faults: str) -> None:
    """Whoever answers, the SDK reads Anthropic's message, and the row has that provider's price."""
    running, simulator = world
    before = counted(simulator, who)
    async with client(running) as claude:
        message = await claude.messages.create(
            model=CLAUDE, max_tokens=100, messages=[{"role": "user", "content": f"{faults}Tell me a story"}]
        )
    assert message.type == "message"
    assert message.content[0].type == "text"
    assert message.stop_reason == "end_turn"
    row = await last_row(running)
    assert (row.provider, row.format, row.certainty) == (who, "anthropic", "exact")
    assert Decimal(row.cost) == price_of(who, simulator, before) > 0


@pytest.mark.parametrize(("who", "faults"), WHERE, ids=[who for who, _ in WHERE])
async def test_streams(world: tuple[World, Simulator], who: str, faults: str) -> None:
    """Bedrock's frames reach the client as Anthropic's events; the text is that of the answer that is not streamed."""
    running, simulator = world
    before = counted(simulator, who)
    said = [{"role": "user", "content": f"{faults}Tell me a streamed story"}]
    async with client(running) as claude:
        async with claude.messages.stream(model=CLAUDE, max_tokens=100, messages=said) as stream:  # type: ignore[arg-type]
            kinds = [event.type async for event in stream]
            message = await stream.get_final_message()
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        assert "content_block_delta" in kinds
        row = await last_row(running)
        assert (row.provider, row.stream, row.certainty) == (who, True, "exact")
        assert Decimal(row.cost) == price_of(who, simulator, before) > 0
        whole = await claude.messages.create(model=CLAUDE, max_tokens=100, messages=said)  # type: ignore[arg-type]
    assert message.content[0].text == whole.content[0].text  # type: ignore[union-attr]
    assert message.usage.output_tokens == whole.usage.output_tokens


async def test_what_bedrock_and_vertex_are_sent(world: tuple[World, Simulator]) -> None:
    """The model goes into the path, betas into Bedrock's body; everything else is as the client wrote it."""
    running, simulator = world
    said = {
        "max_tokens": 64,
        "metadata": {"user_id": "u1"},
        "messages": [{"role": "user", "content": f"{NO_BEDROCK}Zwölf \u2028 Boxkämpfer"}],
        "temperature": 0.10,
        "model": CLAUDE,
        "stream": True,
    }
    response = await running.http.post(
        "/proxy/claude/v1/messages?beta=true",
        headers={
            "x-api-key": running.key,
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "context-1m-2025-08-07, fine-grained-tool-streaming-2025-05-14",
        },
        json=said,
    )
    assert response.status_code == 200, response.text
    home, bedrock, vertex = simulator.requests[-3:]
    assert (home.path, home.query) == ("/anthropic/v1/messages", "beta=true")
    assert bedrock.path == f"/bedrock/model/{AT_BEDROCK.replace(':', '%3A')}/invoke-with-response-stream"
    assert (bedrock.query, bedrock.header("anthropic-beta"), bedrock.header("x-api-key")) == ("", None, None)
    plain = {name: value for name, value in said.items() if name not in ("model", "stream")}
    assert json.loads(bedrock.body) == {
        **plain,
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["context-1m-2025-08-07", "fine-grained-tool-streaming-2025-05-14"],
    }
    assert b'"temperature":0.1' in bedrock.body
    assert "Zwölf".encode() in bedrock.body
    assert vertex.path == (
        "/vertex/v1/projects/p/locations/global/publishers/anthropic/models/"
        f"{AT_VERTEX.replace('@', '%40')}:streamRawPredict"
    )
    assert json.loads(vertex.body) == {**plain, "stream": True, "anthropic_version": "vertex-2023-10-16"}
    assert vertex.header("anthropic-beta") == "context-1m-2025-08-07, fine-grained-tool-streaming-2025-05-14"


async def test_an_exception_frame_is_passed_over(world: tuple[World, Simulator]) -> None:
    """A Bedrock stream that opens with an exception is a failure of Bedrock's, and Vertex answers."""
    running, _ = world
    said = f"{NO_ANTHROPIC}[sim@bedrock:error_first] Hello"
    async with (
        client(running) as claude,
        claude.messages.stream(model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": said}]) as stream,
    ):
        assert await stream.get_final_text()
    row = await last_row(running)
    tries = [(attempt.provider, attempt.status, attempt.error) for attempt in row.attempts]
    assert [who for who, _, _ in tries] == ["anthropic", "bedrock", "vertex"]
    assert tries[1][1] == 200
    assert tries[1][2]
    assert [attempt.cost for attempt in row.attempts][:2] == [0, 0]


async def test_errors_are_anthropics(world: tuple[World, Simulator]) -> None:
    """What Bedrock refuses raises the SDK's own exception, whole or in the middle of a stream."""
    running, _ = world
    async with client(running, "worldwide") as claude:
        with pytest.raises(anthropic.RateLimitError) as limited:
            await claude.messages.create(
                model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": "[sim:status=429] Hi"}]
            )
        body = limited.value.body
        assert isinstance(body, dict)
        assert body["type"] == "error"
        assert body["error"]["type"] == "rate_limit_error"
        with pytest.raises(anthropic.APIStatusError):
            async with claude.messages.stream(
                model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": "[sim:error_event] Hi"}]
            ) as stream:
                await stream.get_final_message()


async def test_the_profile_in_the_path_decides_the_price(world: tuple[World, Simulator]) -> None:
    """A worldwide profile costs less than a region's, though both answer under the same model's name."""
    running, simulator = world
    before = counted(simulator, "worldwide")
    async with client(running, "worldwide") as claude:
        await claude.messages.create(model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": "Hi there"}])
    row = await last_row(running, "worldwide")
    assert Decimal(row.cost) == price_of("worldwide", simulator, before)


async def test_vertex_spelling_reaches_anthropic(world: tuple[World, Simulator]) -> None:
    """A client of Vertex AI's Claude is answered by Anthropic too, as a member of the same route."""
    running, simulator = world
    response = await running.http.post(
        f"/proxy/claude/v1/projects/p/locations/global/publishers/anthropic/models/{CLAUDE}:rawPredict",
        headers={"authorization": f"Bearer {running.key}"},
        json={
            "anthropic_version": "vertex-2023-10-16",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "Hello"}],
        },
    )
    assert response.status_code == 200, response.text
    assert simulator.requests[-1].path == "/anthropic/v1/messages"
    assert json.loads(simulator.requests[-1].body)["model"] == CLAUDE
