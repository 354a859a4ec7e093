"""What work cost, read back from a real gateway's ledger: runs of agents, and everything inside a `with`."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Callable
from decimal import Decimal

import pytest
from pydantic_ai import Agent, capabilities
from pydantic_ai.exceptions import ModelHTTPError

import paig_client
from paig_client import PaigGateway, charges, sdks
from paig_client.admin import AdminClient, Invalid
from tests.client import calls
from tests.client.double import Double, limit_refusal
from tests.client.real import Real

SUBCLASSED = "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(SUBCLASSED), pytest.mark.usefixtures("quiet_sockets")]

RESOLVES = pytest.mark.skipif(
    not hasattr(capabilities, "ResolveModelId"), reason="this pydantic-ai has no capabilities that resolve models yet"
)
MODELS = ["openai:gpt-5", "openai-chat:gpt-5", "anthropic:claude-sonnet-4-6", "google-vertex:gemini-2.5-flash"]
MODELS += ["google-gla:gemini-2.5-flash", "groq:openai/gpt-oss-120b", "bedrock:amazon.nova-micro-v1:0"]
MODELS += ["mistral:mistral-small-latest"]
numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A key's name that no other test has."""
    return f"charges-{next(numbers)}"


@pytest.mark.parametrize("model", MODELS)
async def test_a_run_knows_what_it_cost(real: Real, real_key: str, model: str) -> None:
    """Whole or streamed, by any SDK: cost, tokens and certainty are the ledger's, to the nanodollar."""
    settings = {"max_tokens": 200}
    with paig_client.register(api_key=real_key, base_url=real.root):
        async with Agent(f"gateway/{model}", model_settings=settings) as agent:
            result = await agent.run("Hello")
            async with agent.run_stream("Hello") as streamed:
                await streamed.get_output()
    for work in (result, streamed):
        spend = await paig_client.async_spend_of(work)
        [charge] = spend.charges
        row = real.admin.request(charge.id)
        assert spend.settled
        assert (spend.cost, spend.certainty, charge.provider) == (Decimal(row.cost), "exact", row.provider)
        assert spend.cost > 0
        assert row.usage is not None
        assert (spend.input_tokens, spend.output_tokens) == (row.usage["input_tokens"], row.usage["output_tokens"])
        assert (spend.fitted, spend.refusals, spend.missing) == ((), (), ())


async def test_a_run_of_several_requests(real: Real, real_key: str) -> None:
    """Each request of a run is a charge, in order, and those of another run at the same time are not its."""

    def weather(city: str) -> str:
        """The weather."""
        return "sun"

    model = paig_client.gateway_model("openai-chat:gpt-5", api_key=real_key, base_url=real.root)
    async with Agent(model, tools=[weather], model_settings={"max_tokens": 200}) as agent:
        tooled, plain = await asyncio.gather(agent.run("call weather"), agent.run("Hello"))
    spends = [await paig_client.async_spend_of(work) for work in (tooled, plain)]
    assert [len(spend.charges) for spend in spends] == [2, 1]
    assert spends[0].cost == sum(charge.cost for charge in spends[0].charges)
    assert not set(spends[0].request_ids) & set(spends[1].request_ids)
    assert [charge.time for charge in spends[0].charges] == sorted(charge.time for charge in spends[0].charges)


@RESOLVES
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_agents_of_tools_are_part_of_the_run(real: Real, real_key: str) -> None:
    """With the capability, what an agent's tools spend by agents of their own counts as the outer run's, too."""
    capability = PaigGateway(api_key=real_key, base_url=real.root)
    inner = Agent("gateway/groq:openai/gpt-oss-120b", capabilities=[capability], model_settings={"max_tokens": 200})
    outer = Agent("gateway/openai-chat:gpt-5", capabilities=[capability], model_settings={"max_tokens": 200})
    results = []

    @outer.instructions
    async def ask_the_other() -> str:
        results.append(await inner.run("Hello"))
        return "Go on."

    whole = await paig_client.async_spend_of(await outer.run("Hello"))
    part = await paig_client.async_spend_of(results[0])
    assert [charge.route for charge in whole.charges] == ["groq", "openai"]
    assert part.request_ids == whole.request_ids[:1]


@pytest.mark.parametrize("call", [call for call, _, _ in calls.SYNC + calls.STREAMED], ids=lambda call: call.__name__)
def test_everything_inside_a_with(real: Real, real_key: str, call: Callable[..., object]) -> None:
    """Whichever SDK asks: what is inside counts, in an outer `with` too, and what is after it does not."""
    with paig_client.spending() as outer:
        with paig_client.spending() as inner:
            call(api_key=real_key, base_url=real.root)
        call(api_key=real_key, base_url=real.root)
    call(api_key=real_key, base_url=real.root)
    ids = [charge.id for charge in paig_client.spend_of(inner).charges]
    spend = paig_client.spend_of(outer)
    assert len(ids) == 1
    assert len(spend.charges) == 2
    assert spend.request_ids[0] == ids[0]
    assert (spend.certainty, spend.cost > 0) == ("exact", True)


def test_nothing_was_asked() -> None:
    """No request is no cost, and no gateway is asked."""
    with paig_client.spending() as work:
        pass
    spend = paig_client.spend_of(work)
    assert (spend.cost, spend.certainty, spend.settled, spend.charges) == (Decimal(0), "exact", True, ())


async def test_a_run_that_is_not_known() -> None:
    """A run of models that are not paig's is told from one that cost nothing."""
    async with Agent("test") as agent:
        result = await agent.run("Hello")
    with pytest.raises(LookupError, match="no request of the run"):
        paig_client.spend_of(result)


def test_a_fitted_answer_says_so(real: Real, name: str) -> None:
    """Where the gateway set the output maximum, the spend says which field, how many tokens, and that all were used."""
    key = real.make_key(name, daily="0.05")
    with paig_client.spending() as work, sdks.openai(api_key=key, base_url=real.root, max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=calls.CHAT)
    [fitted] = paig_client.spend_of(work).fitted
    assert fitted.field == "max_completion_tokens"
    assert 1024 <= fitted.maximum < 16384
    assert fitted.cut is False
    assert charges.Fitted("max_tokens", 4, True) in set(charges._fitted("max_tokens=4", {"output_tokens": 4}))


def test_refused_requests_are_in_it(real: Real, name: str) -> None:
    """A refusal costs nothing, and its facts are there as the exception has them."""
    key = real.make_key(name, daily="0.000000001")
    with paig_client.spending() as work, pytest.raises(Exception) as raised:  # noqa: PT011  (the SDK's)
        calls.openai_chat(api_key=key, base_url=real.root)
    error = paig_client.from_exception(raised.value)
    spend = paig_client.spend_of(work)
    [refusal] = spend.refusals
    assert isinstance(refusal, paig_client.LimitTooSmall)
    assert isinstance(error, paig_client.LimitTooSmall)
    assert (refusal.request_id, refusal.owner, refusal.amount) == (error.request_id, name, error.amount)
    assert (spend.cost, spend.charges[0].status) == (Decimal(0), 400)


def test_a_key_sees_its_own_requests_alone(real: Real, real_key: str, name: str) -> None:
    """Another key that knows an id learns nothing of it, as of an id that does not exist."""
    with paig_client.spending() as work:
        calls.openai_chat(api_key=real_key, base_url=real.root)
    [id] = paig_client.spend_of(work).request_ids
    with AdminClient(real.root, token=real.make_key(name)) as other:
        assert other.my_requests([id, "req_that_never_was"]) == []
        with pytest.raises(Invalid):
            other.my_requests([])
        with pytest.raises(Invalid):
            other.my_requests([id] * 101)
    work.noted.append(charges.Noted("req_that_never_was", work.noted[0].gateway))
    assert paig_client.spend_of(work).missing == ("req_that_never_was",)


@RESOLVES
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("model", MODELS[:4])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_capability_raises_typed_refusals(gateway: str, double: Double, model: str, stream: bool) -> None:
    """A refusal is the gateway's typed error and pydantic-ai's own at once, also after a journey between processes."""
    double.refusal = limit_refusal()
    agent = Agent(f"gateway/{model}", capabilities=[PaigGateway(api_key=double.key, base_url=gateway)])

    async def streamed() -> None:
        async with agent.run_stream("Hello") as result:
            await result.get_output()

    with pytest.raises(paig_client.LimitExceeded) as raised:
        await (streamed() if stream else agent.run("Hello"))
    for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        assert isinstance(error, paig_client.LimitExceeded)
        assert isinstance(error, ModelHTTPError)
        assert (error.code, error.status, error.status_code) == ("limit-exceeded", 402, 402)
        assert (error.owner, error.window, error.amount) == ("ci", "daily", Decimal("0.05"))
        assert error.would_help == "a larger limit; or waiting until 2026-11-24T00:00:00Z"
        assert str(error) == "The daily limit of $0.05 on key 'ci' has no room for this request."
        assert error.request_id == "req_1"


@RESOLVES
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_providers_own_error_stays_as_it_is(gateway: str, double: Double) -> None:
    """What the provider says is no refusal of the gateway's."""
    double.upstream_status = 400
    agent = Agent("gateway/openai-chat:gpt-5", capabilities=[PaigGateway(api_key=double.key, base_url=gateway)])
    with pytest.raises(ModelHTTPError) as raised:
        await agent.run("Hello")
    assert not isinstance(raised.value, paig_client.PaigError)


def test_old_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded."""
    monkeypatch.setattr(charges, "MAX_RUNS", 2)
    for number in range(3):
        charges._of_run(f"run-{number}-of-the-bound")
    assert list(charges._runs) == ["run-1-of-the-bound", "run-2-of-the-bound"]
