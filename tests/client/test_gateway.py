"""The client against a real gateway: what it sends is understood, charged, capped and attributed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from pydantic_ai import Agent, Embedder

import paig_client
from paig_client import LimitExceeded, from_exception, sdks
from paig_client.api.resources import Request
from tests.client import calls
from tests.client.real import COMPATIBLE, Real

# google-genai subclasses aiohttp's session, which aiohttp warns of.
SUBCLASSED = "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(SUBCLASSED), pytest.mark.usefixtures("quiet_sockets")]

MODELS = ["openai:gpt-5", "openai-responses:gpt-5", "openai-chat:gpt-5", "anthropic:claude-sonnet-4-6"]
MODELS += ["google:gemini-2.5-flash", "google-vertex:gemini-2.5-flash", "google-gla:gemini-2.5-flash"]
MODELS += ["groq:openai/gpt-oss-120b", "bedrock:amazon.nova-micro-v1:0", "mistral:mistral-small-latest", "azure:gpt-5"]
MODELS += ["openrouter:openai/gpt-5", "huggingface:openai/gpt-oss-120b", *(f"{kind}:some-model" for kind in COMPATIBLE)]
UNPRICED = set(COMPATIBLE) - {"openai-compatible", "ollama", "vllm"}
"""Kinds that require a price unless the operator says otherwise, as the test's configuration does."""

numbers = itertools.count()


@pytest.fixture
def tag() -> str:
    """A tag's value that no other test has."""
    return f"case-{next(numbers)}"


def rows(real: Real, tag: str) -> list[Request]:
    """The rows of the ledger with that tag, once all are settled: a client may stop reading before the stream ends."""
    until = time.monotonic() + 60
    while True:
        found = [row for row in real.admin.requests(limit=50).items if row.tags.get("case") == tag]
        if all(row.state == "settled" for row in found):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.02)


def check(real: Real, tag: str, run: str, certainty: str = "exact") -> None:
    """One attributed row with the provider's usage."""
    [row] = rows(real, tag)
    assert (row.status, row.certainty, row.run) == (200, certainty, run)
    assert row.usage is not None
    assert row.usage["output_tokens"] > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_agents(real: Real, real_key: str, tag: str, model: str, stream: bool) -> None:
    """Each format, streamed and not, becomes one attributed row; it is exact where the price is known."""
    with paig_client.register(api_key=real_key, base_url=real.root):
        async with Agent(f"gateway/{model}", model_settings={"max_tokens": 200}) as agent:
            with paig_client.tags(case=tag), paig_client.budget(usd=5) as run:
                if stream:
                    async with agent.run_stream("Hello") as result:
                        assert [text async for text in result.stream_text(delta=True, debounce_by=None)]
                else:
                    assert (await agent.run("Hello")).output
    kind = model.partition(":")[0]
    # Hugging Face's router does not say which provider answered: the dearest one's price is charged.
    check(real, tag, run, "unknown" if kind in UNPRICED else "estimated" if kind == "huggingface" else "exact")


@pytest.mark.parametrize("call", [call for call, _, _ in calls.SYNC + calls.STREAMED], ids=lambda call: call.__name__)
def test_sdks(real: Real, real_key: str, tag: str, call: Callable[..., object]) -> None:
    """And each SDK's own client, streamed and not."""
    with paig_client.tags(case=tag), paig_client.budget(usd=5) as run:
        assert "Hello" in str(call(api_key=real_key, base_url=real.root))
    check(real, tag, run)


@pytest.mark.parametrize("call", [call for call, _, _ in calls.ASYNC], ids=lambda call: call.__name__)
async def test_async_sdks(real: Real, real_key: str, tag: str, call: Callable[..., Awaitable[object]]) -> None:
    """And each async one."""
    with paig_client.tags(case=tag), paig_client.budget(usd=5) as run:
        assert "Hello" in str(await call(api_key=real_key, base_url=real.root))
    check(real, tag, run)


@pytest.mark.parametrize("call", [call for call, _, _ in calls.SYNC + calls.STREAMED], ids=lambda call: call.__name__)
def test_a_cap_that_bites_is_typed(real: Real, tag: str, call: Callable[..., object]) -> None:
    """The gateway's own refusal, through each SDK, with its facts."""
    key = real.make_key(tag, daily="0.000000001")
    with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever the SDK raises)
        call(api_key=key, base_url=real.root)
    error = from_exception(raised.value)
    assert isinstance(error, LimitExceeded)
    assert (error.owner_kind, error.owner, error.window) == ("key", tag, "daily")
    assert (error.amount, error.spent) == (Decimal("0.000000001"), 0)
    assert error.needed is not None
    assert error.needed > error.amount
    assert error.resets_at is not None


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # an Embedder has no end that closes its HTTP client
@pytest.mark.parametrize("model", ["openai:text-embedding-3-small", "google-vertex:gemini-embedding-001"])
async def test_embeddings(real: Real, real_key: str, tag: str, model: str) -> None:
    """And embeddings, whose cost is that of their input."""
    with paig_client.register(api_key=real_key, base_url=real.root), paig_client.tags(case=tag):
        assert (await Embedder(f"gateway/{model}").embed_query("Hello")).embeddings
    [row] = rows(real, tag)
    assert (row.status, row.certainty) == (200, "exact")
    assert row.usage is not None
    assert row.usage["input_tokens"] > 0


async def test_images(real: Real, real_key: str, tag: str) -> None:
    """And images, whose tokens are priced as such."""
    images = pytest.importorskip("pydantic_ai.images", reason="since pydantic-ai 2.50")
    with paig_client.register(api_key=real_key, base_url=real.root), paig_client.tags(case=tag):
        generator = images.ImageGenerator("gateway/google-vertex:gemini-2.5-flash-image")
        assert (await generator.generate("A dot")).images
    [row] = rows(real, tag)
    assert (row.status, row.certainty, Decimal(row.cost) > 0) == (200, "exact", True)


async def test_realtime(real: Real, real_key: str) -> None:
    """A realtime session is relayed, and its turn is a row that is charged."""
    pytest.importorskip("pydantic_ai.realtime")
    before = {row.id for row in real.admin.requests(limit=200).items}
    with paig_client.register(api_key=real_key, base_url=real.root):
        async with Agent().realtime("gateway/openai:gpt-realtime").session() as session:
            await session.send("Hello there")
            async for event in session:
                if event.event_kind == "realtime_turn_complete":
                    break
    assert session.result is not None
    assert "Hello" in session.result.output
    [row] = [row for row in real.admin.requests(limit=200).items if row.id not in before]
    assert (row.format, row.certainty, Decimal(row.cost) > 0) == ("openai-realtime", "exact", True)


async def test_tags_and_budgets_keep_to_their_task(real: Real, real_key: str, tag: str) -> None:
    """Runs at the same time have each its own tags and budget; tasks started inside a `with` have its."""
    async with Agent(paig_client.gateway_model(MODELS[0], api_key=real_key, base_url=real.root)) as agent:

        async def work(customer: str, tasks: int) -> str:
            with paig_client.tags(customer=customer), paig_client.budget(usd=5) as run:
                await asyncio.gather(*(agent.run("Hello", model_settings={"max_tokens": 50}) for _ in range(tasks)))
            return run

        with paig_client.tags(case=tag):
            runs = await asyncio.gather(work("acme", 3), work("initech", 2))
            await agent.run("Hello", model_settings={"max_tokens": 50})
    found = Counter((row.tags.get("customer"), row.run) for row in rows(real, tag))
    assert found == {("acme", runs[0]): 3, ("initech", runs[1]): 2, (None, None): 1}


def test_a_run_cannot_cost_more_than_its_budget(real: Real, real_key: str, tag: str) -> None:
    """A budget holds over all requests of its run, and only of that."""
    with sdks.openai(api_key=real_key, base_url=real.root, max_retries=0) as client:

        def ask() -> None:
            client.chat.completions.create(model="gpt-4o", messages=calls.CHAT, max_completion_tokens=50)

        with paig_client.tags(case=tag), paig_client.budget(usd="0.001") as run:
            with pytest.raises(Exception) as raised:  # noqa: PT011, PT012  (openai's)
                for _ in range(50):
                    ask()
            ask_again = from_exception(raised.value)
        ask()
    assert isinstance(ask_again, LimitExceeded)
    assert (ask_again.owner_kind, ask_again.owner, ask_again.amount) == ("run", run, Decimal("0.001"))
    paid = [row for row in rows(real, tag) if row.status == 200]
    assert paid
    assert sum(Decimal(row.cost) for row in paid) <= Decimal("0.001")


def test_usage_can_be_grouped_by_tags(real: Real, real_key: str, tag: str) -> None:
    """What was attributed can be asked for."""
    for customer in ("acmé", "acmé", "initech"):
        with paig_client.tags(case=tag, customer=customer):
            calls.openai_chat(api_key=real_key, base_url=real.root)
    report = real.admin.usage(by=["tag:case", "tag:customer"])
    mine = {item.group["tag:customer"]: item.requests for item in report.items if item.group["tag:case"] == tag}
    assert mine == {"acmé": 2, "initech": 1}
