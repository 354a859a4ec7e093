"""`paig_client.pydantic_ai`: real agents, real HTTP, the provider simulator behind a double of the gateway."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import requires
from importlib.util import find_spec

import httpx
import httpx2
import pytest
from pydantic_ai import Agent, Embedder, capabilities
from pydantic_ai.exceptions import ModelHTTPError, UserError
from pydantic_ai.models import infer_model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.providers import gateway as pydantic_gateway

import paig_client
from paig_client import PaigGateway, keychain, profiles, providers
from tests.client import keyrings
from tests.client.double import KEY, Double, Seen, limit_refusal, serving

# Some of its models never close their client, others only in an agent that is entered.
pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet_sockets")]

HTTP = httpx2 if any(need.startswith("httpx2") for need in requires("pydantic-ai-slim") or ()) else httpx

RESOLVES = pytest.mark.skipif(
    not hasattr(capabilities, "ResolveModelId"), reason="this pydantic-ai has no capabilities that resolve models yet"
)

SERVED = [
    ("openai:gpt-5", "openai", "/responses"),
    ("openai-responses:gpt-5", "openai", "/responses"),
    ("responses:gpt-5", "openai", "/responses"),
    ("openai-chat:gpt-5", "openai", "/chat/completions"),
    ("chat:gpt-5", "openai", "/chat/completions"),
    ("anthropic:claude-sonnet-4-5", "anthropic", "/v1/messages"),
    ("google:gemini-2.5-flash", "google-vertex", "/publishers/google/models/gemini-2.5-flash:"),
    ("google-vertex:gemini-2.5-flash", "google-vertex", "/publishers/google/models/gemini-2.5-flash:"),
    ("google-cloud:gemini-2.5-flash", "google-vertex", "/publishers/google/models/gemini-2.5-flash:"),
    ("gemini:gemini-2.5-flash", "google-vertex", "/publishers/google/models/gemini-2.5-flash:"),
    ("google-gla:gemini-2.5-flash", "google", "/v1beta/models/gemini-2.5-flash:"),
    ("groq:openai/gpt-oss-120b", "groq", "/openai/v1/chat/completions"),
    ("bedrock:amazon.nova-micro-v1:0", "bedrock", "/model/amazon.nova-micro-v1%3A0/converse"),
    ("converse:amazon.nova-micro-v1:0", "bedrock", "/model/amazon.nova-micro-v1%3A0/converse"),
    ("mistral:mistral-small-latest", "mistral", "/v1/chat/completions"),
    ("azure:gpt-5", "azure", "/openai/v1/chat/completions"),
    ("huggingface:openai/gpt-oss-120b", "huggingface", "/v1/chat/completions"),
    ("xai:grok-4", "xai", "/chat/completions"),
    ("deepseek:deepseek-chat", "deepseek", "/chat/completions"),
    ("openrouter:openai/gpt-5", "openrouter", "/chat/completions"),
    ("cerebras:gpt-oss-120b", "cerebras", "/chat/completions"),
    ("together:openai/gpt-oss-120b", "together", "/chat/completions"),
    ("fireworks:accounts/fireworks/models/gpt-oss-120b", "fireworks", "/chat/completions"),
    ("ollama:gpt-oss", "ollama", "/chat/completions"),
    ("heroku:gpt-oss-120b", "heroku", "/chat/completions"),
    ("ovhcloud:gpt-oss-120b", "ovhcloud", "/chat/completions"),
    ("crusoe:gpt-oss-120b", "crusoe", "/chat/completions"),
    ("snowflake:openai-gpt-5", "snowflake", "/chat/completions"),
    ("zai:glm-4.6", "zai", "/chat/completions"),
    ("vllm:gpt-oss", "vllm", "/chat/completions"),
    ("moonshotai:kimi-k2", "moonshotai", "/chat/completions"),
    ("fast:gpt-5", "fast", "/chat/completions"),
]


PROVIDER_SECRETS = {
    **{"OPENAI_API_KEY": "sk-real", "ANTHROPIC_API_KEY": "sk-ant-real", "ANTHROPIC_AUTH_TOKEN": "ant-token-real"},
    **{
        "GOOGLE_API_KEY": "AIza-real",
        "GEMINI_API_KEY": "AIza-real",
        "GROQ_API_KEY": "gsk-real",
        "CO_API_KEY": "co-real",
    },
    **{
        "AWS_BEARER_TOKEN_BEDROCK": "aws-bearer-real",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "MISTRAL_API_KEY": "mistral-real",
    },
    **{"AWS_SECRET_ACCESS_KEY": "aws-secret-real", "AWS_SESSION_TOKEN": "aws-session-real", "HF_TOKEN": "hf-real"},
    **{"AZURE_OPENAI_API_KEY": "azure-real", "AZURE_OPENAI_AD_TOKEN": "azure-ad-real", "XAI_API_KEY": "xai-real"},
    **{"OPENROUTER_API_KEY": "or-real", "DEEPSEEK_API_KEY": "ds-real", "SNOWFLAKE_TOKEN": "snow-real"},
    **{"OPENAI_BASE_URL": "http://127.0.0.1:9/real", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/real"},
}

CHAT = {
    **{
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1763900000,
        "model": "openai/gpt-5",
        "provider": "OpenAI",
    },
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
}
COHERE = {
    **{"id": "1", "finish_reason": "COMPLETE"},
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
    "usage": {
        "tokens": {"input_tokens": 8, "output_tokens": 2},
        "billed_units": {"input_tokens": 8, "output_tokens": 2},
    },
}


@pytest.fixture
def registered(gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The double, registered, its address and key in the environment, beside credentials of the providers' own."""
    double.canned = {"openrouter": CHAT, "cohere": COHERE}
    for name, value in PROVIDER_SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_API_KEY", KEY)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_BASE_URL", f"{gateway}/proxy")
    with paig_client.register():
        yield gateway


def credentials_sent(seen: Seen) -> str:
    """Everything in a request that could carry a credential."""
    return repr((seen.headers, seen.path))


@pytest.mark.parametrize(("model", "route", "path"), SERVED)
async def test_every_format_is_served(registered: str, double: Double, model: str, route: str, path: str) -> None:
    """`gateway/…` strings of each format reach their route, with the gateway key and no provider's."""
    async with Agent(f"gateway/{model}") as agent:
        result = await agent.run("Hello there")
    assert result.output
    assert result.usage.output_tokens > 0
    seen = double.seen[-1]
    assert seen.route == route
    assert path in seen.path
    assert KEY in credentials_sent(seen)
    assert "real" not in credentials_sent(seen)


TAGGED = ["openai:gpt-5", "openai-chat:gpt-5", "anthropic:claude-sonnet-4-5", "google-vertex:gemini-2.5-flash"]
TAGGED += ["google-gla:gemini-2.5-flash", "groq:openai/gpt-oss-120b", "bedrock:amazon.nova-micro-v1:0"]
TAGGED += ["mistral:mistral-small-latest", "azure:gpt-5", "huggingface:openai/gpt-oss-120b", "xai:grok-4"]


async def test_cohere_is_served(registered: str, double: Double) -> None:
    """Cohere's own SDK is aimed at the gateway too."""
    async with Agent("gateway/cohere:command-a-03-2025") as agent:
        assert (await agent.run("Hello")).output == "Hello"
    assert (double.seen[-1].route, double.seen[-1].path) == ("cohere", "/v2/chat")
    assert "real" not in credentials_sent(double.seen[-1])


async def test_azure_speaks_the_older_api_where_the_environment_asks(
    registered: str, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OPENAI_API_VERSION` chooses deployments and an api-version, as it does without a gateway."""
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    async with Agent("gateway/azure:gpt-5") as agent:
        assert (await agent.run("Hello")).output
    assert double.seen[-1].path == "/openai/deployments/gpt-5/chat/completions"
    assert "real" not in credentials_sent(double.seen[-1])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_embeddings_go_through_the_gateway(registered: str, double: Double) -> None:
    """`Embedder('gateway/…')` works for OpenAI's, Google's and Mistral-shaped embeddings."""
    assert (await Embedder("gateway/openai:text-embedding-3-small").embed_query("x")).embeddings
    assert (double.seen[-1].route, double.seen[-1].path) == ("openai", "/embeddings")
    assert (await Embedder("gateway/google-vertex:gemini-embedding-001").embed_query("x")).embeddings
    assert double.seen[-1].route == "google-vertex"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_images_and_realtime_are_built_for_the_gateway(registered: str) -> None:
    """Image and realtime models take their provider from the registration."""
    images = pytest.importorskip("pydantic_ai.images", reason="since pydantic-ai 2.50")
    realtime = pytest.importorskip("pydantic_ai.realtime")
    image = images.infer_image_generation_model("gateway/google-vertex:gemini-2.5-flash-image")
    assert image.base_url is not None
    assert image.base_url.startswith(f"{registered}/proxy/google-vertex")
    assert realtime.infer_realtime_model("gateway/openai:gpt-realtime").model_name == "gpt-realtime"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_images_go_through_the_gateway(registered: str, double: Double) -> None:
    """An image is asked for at the route's own address, with the gateway key alone."""
    images = pytest.importorskip("pydantic_ai.images", reason="since pydantic-ai 2.50")
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    part = {"inlineData": {"mimeType": "image/png", "data": dot}}
    usage = {"promptTokenCount": 8, "candidatesTokenCount": 1290, "totalTokenCount": 1298}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    double.canned["google-vertex"] = {"candidates": [candidate], "usageMetadata": usage}
    result = await images.ImageGenerator("gateway/google-vertex:gemini-2.5-flash-image").generate("A dot")
    assert result.images
    assert double.seen[-1].route == "google-vertex"
    assert ":generateContent" in double.seen[-1].path
    assert "real" not in credentials_sent(double.seen[-1])


def test_register_is_idempotent_and_reversible() -> None:
    """Twice is once; the handle takes it back; an inner `with` does not end an outer one."""
    own = pydantic_gateway.gateway_provider, pydantic_gateway.normalize_gateway_provider
    handle = paig_client.register()
    assert pydantic_gateway.gateway_provider is not own[0]
    with paig_client.register():
        pass
    assert pydantic_gateway.gateway_provider is not own[0]
    handle.undo()
    handle.undo()
    assert (pydantic_gateway.gateway_provider, pydantic_gateway.normalize_gateway_provider) == own
    paig_client.register()
    paig_client.register(base_url="http://127.0.0.1:1")
    paig_client.unregister()
    assert (pydantic_gateway.gateway_provider, pydantic_gateway.normalize_gateway_provider) == own


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_latest_registration_counts_until_it_is_undone(gateway: str) -> None:
    """Another gateway can be registered over one, and taken back in any order."""
    first = paig_client.register(api_key=KEY, base_url="http://127.0.0.1:1")
    second = paig_client.register(api_key=KEY, base_url=gateway)

    def address() -> str:
        return infer_model("gateway/openai:gpt-5").base_url or ""

    assert address().startswith(gateway)
    first.undo()
    assert address().startswith(gateway)
    first = paig_client.register(api_key=KEY, base_url="http://127.0.0.1:1")
    assert address().startswith("http://127.0.0.1:1/")
    first.undo()
    second.undo()
    with pytest.raises(UserError):
        address()


async def test_gateway_model_needs_no_registration(gateway: str, double: Double) -> None:
    """The explicit form takes route, key and address, and changes nothing global."""
    own = pydantic_gateway.gateway_provider
    model = paig_client.gateway_model("openai-chat:gpt-5", route="fast", api_key=KEY, base_url=gateway)
    async with Agent(model) as agent:
        assert (await agent.run("Hello")).output
    assert (double.seen[-1].route, double.seen[-1].path) == ("fast", "/chat/completions")
    assert pydantic_gateway.gateway_provider is own
    with pytest.raises(UserError, match="openai:gpt-5"):
        paig_client.gateway_model("gpt-5", api_key=KEY, base_url=gateway)


async def test_gateway_provider_fits_infer_model(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a provider factory as pydantic-ai wants one."""
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    monkeypatch.setenv("PAIG_BASE_URL", gateway)
    model = infer_model("openai:gpt-5", provider_factory=paig_client.gateway_provider)
    async with Agent(model) as agent:
        assert (await agent.run("Hello")).output


@pytest.mark.skipif(find_spec("pydantic_ai.models.bedrock_mantle") is None, reason="this pydantic-ai has it not yet")
@pytest.mark.parametrize("model", ["openai.gpt-oss-120b", "openai.gpt-5"])
async def test_bedrock_mantle_by_the_explicit_form(gateway: str, double: Double, model: str) -> None:
    """Bedrock's OpenAI-shaped API goes by its own model class, which only the explicit forms reach."""
    made = paig_client.gateway_model(f"bedrock-mantle:{model}", api_key=KEY, base_url=gateway)
    async with Agent(made) as agent:
        assert (await agent.run("Hello")).output
    assert double.seen[-1].route == "bedrock-mantle"
    with paig_client.register(api_key=KEY, base_url=gateway), pytest.raises(UserError, match="PaigGateway"):
        Agent(f"gateway/bedrock-mantle:{model}")


@RESOLVES
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_two_gateways_in_one_process(gateway: str, double: Double) -> None:
    """Each agent's capability sends its models to its own gateway; models are made once."""
    other = Double(key="paig_other_key")
    with serving(other) as other_root:
        mine = PaigGateway(api_key=KEY, base_url=gateway)
        theirs = PaigGateway(api_key="paig_other_key", base_url=other_root, prefix="other/")
        agent = Agent("gateway/openai:gpt-5", capabilities=[mine, theirs])
        await agent.run("one")
        await agent.run("two")
        await agent.run("three", model="other/anthropic:claude-sonnet-4-5")
    assert [seen.route for seen in double.seen] == ["openai", "openai"]
    assert [seen.route for seen in other.seen] == ["anthropic"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_fallback_models_and_override_take_gateway_names(registered: str, double: Double) -> None:
    """Names inside `FallbackModel` and `Agent.override` mean the same."""
    async with Agent(FallbackModel("gateway/openai:gpt-5", "gateway/groq:openai/gpt-oss-120b")) as agent:
        assert (await agent.run("Hello")).output
        with agent.override(model="gateway/anthropic:claude-sonnet-4-5"):
            await agent.run("Hello")
    assert [seen.route for seen in double.seen] == ["openai", "anthropic"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_names_may_be_resolved_late(gateway: str, double: Double) -> None:
    """An agent may be defined before the registration; durable workers look the name up again, as text, each time."""
    agent = Agent("gateway/mistral:mistral-small-latest", defer_model_check=True)
    with paig_client.register(api_key=KEY, base_url=gateway):
        await agent.run("Hello")
        again = infer_model("gateway/mistral:mistral-small-latest")  # what a durable wrapper does on its worker
        await agent.run("Hello", model=again)
    assert [seen.route for seen in double.seen] == ["mistral", "mistral"]


@RESOLVES
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_hanging_keyring_does_not_hold_up_the_event_loop(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a model's key is looked for in the keyring, other tasks go on."""
    monkeypatch.setattr(keyrings.Hanging, "release", threading.Event())
    monkeypatch.setattr(keyrings.Hanging, "asked", 0)
    keyrings.use(monkeypatch, keyrings.Hanging())
    profiles.write(profiles.Contents(secrets={gateway: {"key": profiles.Stored(place="keyring")}}))
    agent = Agent("gateway/openai:gpt-5", capabilities=[PaigGateway(base_url=gateway)])
    monkeypatch.setattr(keychain, "BOUND", 20.0)
    running = asyncio.create_task(agent.run("Hello"))
    while not keyrings.Hanging.asked:  # this task goes on, or the test never ends
        assert not running.done()
        await asyncio.sleep(0.01)
    keyrings.Hanging.release.set()
    with pytest.raises(UserError, match="paig login"):
        await running


@pytest.mark.parametrize("model", TAGGED)
async def test_tags_and_budgets_travel_with_every_request(registered: str, double: Double, model: str) -> None:
    """What surrounds the run goes along as headers, and nothing once it has ended."""
    async with Agent(f"gateway/{model}") as agent:
        with paig_client.tags(run="nightly", customer="acmé"), paig_client.budget(usd=0.50) as run:
            await agent.run("Hello")
        sent = double.seen[-1].headers
        assert sent["x-paig-tags"].encode("latin-1").decode() == "run=nightly,customer=acmé"
        assert (sent["x-paig-run"], sent["x-paig-run-budget"]) == (run, "0.5")
        await agent.run("Hello")
    rest = {name for name in double.seen[-1].headers if name.startswith("x-paig-")}
    assert rest <= {"x-paig-session", "x-paig-agent-name"}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.anyio
async def test_a_session_travels_with_its_requests(registered: str, double: Double) -> None:
    """Inside the `with` each request says what it belongs to; outside, the conversation is the session."""
    agent = Agent("gateway/openai-chat:gpt-5")
    async with agent:
        with paig_client.session("chat 7") as name:
            await agent.run("Hello")
            with paig_client.session() as inner:
                await agent.run("Hello")
        await agent.run("Hello")
    assert [seen.headers.get("x-paig-session") for seen in double.seen[-3:-1]] == [name, inner]
    assert double.seen[-1].headers["x-paig-session"] not in (name, inner)
    assert (name, len(inner)) == ("chat 7", 32)
    with pytest.raises(ValueError, match="a session's name"):
        paig_client.session("a\nb")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.anyio
async def test_a_conversation_is_a_session(registered: str, double: Double) -> None:
    """Runs that go on from one another send the same session, another run another; no code is needed."""
    async with Agent("gateway/openai-chat:gpt-5", name="clerk & co") as agent:
        first = await agent.run("Hello")
        await agent.run("And then?", message_history=first.all_messages())
        await agent.run("Hello")
    one, same, other = (seen.headers["x-paig-session"] for seen in double.seen[-3:])
    assert one == same != other
    assert {seen.headers["x-paig-agent-name"] for seen in double.seen[-3:]} == {"clerk - co"}
    assert not any("x-paig-agent" in seen.headers for seen in double.seen[-3:])


@RESOLVES
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.anyio
async def test_an_agent_within_an_agent_is_its_branch(gateway: str, double: Double) -> None:
    """With the capability, what a tool's own agents send belongs to the session of the agent that has the tool."""
    capability = PaigGateway(api_key=KEY, base_url=gateway)
    inner = Agent("gateway/openai-chat:gpt-5", name="inner", capabilities=[capability])
    middle = Agent("gateway/openai-chat:gpt-5", name="middle", capabilities=[capability])
    outer = Agent("gateway/openai-chat:gpt-5", name="outer", capabilities=[capability])

    @middle.instructions
    async def digging() -> str:
        return (await inner.run("Dig")).output

    @outer.instructions
    async def asking() -> str:
        return (await middle.run("Ask")).output

    result = await outer.run("Begin")
    sent = [seen.headers for seen in double.seen[-3:]]
    assert [one["x-paig-agent-name"] for one in sent] == ["inner", "middle", "outer"]
    assert {one["x-paig-session"] for one in sent} == {result.conversation_id}
    inner_ids, middle_ids, outer_ids = ((one.get("x-paig-agent"), one.get("x-paig-agent-parent")) for one in sent)
    assert outer_ids == (None, None)
    assert middle_ids[1] is None
    assert inner_ids[1] == middle_ids[0] is not None


def test_agents_outside_a_run_are_named_by_hand() -> None:
    """One inside another is its child; without a session, one begins."""
    headers = paig_client.attribution.headers
    with paig_client.agent("editor"):
        session = headers()["x-paig-session"]
        assert headers() == {"x-paig-session": session, "x-paig-agent-name": "editor"}
        with paig_client.agent("writer", id="w1"), paig_client.agent(id="r1"):
            assert headers() == {"x-paig-session": session, "x-paig-agent": "r1", "x-paig-agent-parent": "w1"}
    assert headers() == {}
    with paig_client.session("chat 7"), paig_client.agent():
        assert headers() == {"x-paig-session": "chat 7"}
    for wrong in ({"name": "a\nb"}, {"id": "x" * 129}, {"session": ""}):
        with pytest.raises(ValueError, match="may have only"):
            paig_client.agent(**wrong)


def test_tags_outlive_the_event_loop(registered: str, double: Double) -> None:
    """pydantic-ai makes a new HTTP client on a new event loop; it carries tags as the first did."""
    agent = Agent("gateway/openai:gpt-5")

    async def run() -> None:
        async with agent:
            with paig_client.tags(customer="acme"):
                await agent.run("Hello")

    asyncio.run(run())
    asyncio.run(run())
    assert [seen.headers.get("x-paig-tags") for seen in double.seen] == ["customer=acme"] * 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_client_of_ones_own_is_used_and_tags_only_the_gateway(gateway: str, double: Double) -> None:
    """A shared HTTP client gets the hook once, and other hosts see no tags."""
    async with HTTP.AsyncClient() as http:
        for _ in range(2):
            model = paig_client.gateway_model("openai:gpt-5", api_key=KEY, base_url=gateway, http_client=http)
        with paig_client.tags(customer="acme"):
            await Agent(model).run("Hello")
            with serving(Double()) as elsewhere:
                answer = await http.get(f"{elsewhere}/healthz")
    assert double.seen[-1].headers["x-paig-tags"] == "customer=acme"
    assert "x-paig-tags" not in answer.request.headers


async def test_keys_come_from_what_login_stored(gateway: str, double: Double) -> None:
    """Without a word in the environment, the default profile gives address and key."""
    profiles.write(profiles.Contents(profiles={"default": gateway}))
    profiles.put(gateway, "key", KEY, "file")
    with paig_client.register():
        async with Agent("gateway/openai:gpt-5") as agent:
            assert (await agent.run("Hello")).output


def test_a_missing_key_is_said_in_words() -> None:
    """The error is pydantic-ai's own, and says where a key may come from."""
    with paig_client.register(), pytest.raises(UserError, match="paig login"):
        Agent("gateway/openai:gpt-5")


@pytest.mark.parametrize("model", ["system-one:x", "sentence-transformers:x", "openai-codex:x"])
def test_what_cannot_go_through_a_gateway_is_said(registered: str, model: str) -> None:
    """Models that run elsewhere, or by a login of their own, are refused when they are made."""
    if providers.kind(model.partition(":")[0]) == "openai-chat":
        pytest.skip("this pydantic-ai has it not yet: it is a route's name like any other")
    with pytest.raises((UserError, ImportError)):
        Agent(f"gateway/{model}")


async def test_refusals_become_typed_errors(registered: str, double: Double) -> None:
    """What pydantic-ai raises can be turned into the gateway's own error."""
    double.refusal = limit_refusal()
    async with Agent("gateway/openai:gpt-5") as agent:
        with pytest.raises(ModelHTTPError) as raised:
            await agent.run("Hello")
    error = paig_client.from_exception(raised.value)
    assert isinstance(error, paig_client.LimitExceeded)
    assert (error.owner, error.amount, error.status) == ("ci", Decimal("0.05"), 402)
