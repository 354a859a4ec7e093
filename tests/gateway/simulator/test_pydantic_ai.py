"""Pydantic AI's agents, pointed straight at the simulator: text, streams, tools and structured output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.oauth2.credentials import Credentials
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.embeddings import Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.groq import GroqModel
from pydantic_ai.models.mistral import MistralModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.bedrock import BedrockProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.google_cloud import GoogleCloudProvider
from pydantic_ai.providers.groq import GroqProvider
from pydantic_ai.providers.mistral import MistralProvider
from pydantic_ai.providers.openai import OpenAIProvider

from paig_gateway.simulator import Simulator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("quiet_sockets"),
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # google-genai's aiohttp session
]


class City(BaseModel):
    """What a structured run answers."""

    name: str
    people: int
    twin: City | None


def openai(url: str) -> OpenAIProvider:
    """OpenAI's API."""
    return OpenAIProvider(base_url=f"{url}/openai/v1", api_key="k")


def bedrock(url: str) -> Model:
    """Nova through Converse, signed."""
    provider = BedrockProvider(
        base_url=f"{url}/bedrock", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s"
    )
    return BedrockConverseModel("us.amazon.nova-micro-v1:0", provider=provider)


def vertex(url: str) -> Model:
    """Gemini through Vertex AI."""
    provider = GoogleCloudProvider(
        credentials=Credentials(token="t"), project="p", location="global", base_url=f"{url}/vertex"
    )
    return GoogleModel("gemini-2.5-flash", provider=provider)


MODELS: dict[str, Callable[[str], Model]] = {
    "openai-chat": lambda url: OpenAIChatModel("gpt-5", provider=openai(url)),
    "openai-responses": lambda url: OpenAIResponsesModel("gpt-5", provider=openai(url)),
    "anthropic": lambda url: AnthropicModel(
        "claude-sonnet-5", provider=AnthropicProvider(base_url=f"{url}/anthropic", api_key="k")
    ),
    "google": lambda url: GoogleModel(
        "gemini-2.5-flash", provider=GoogleProvider(base_url=f"{url}/google", api_key="k")
    ),
    "vertex": vertex,
    "groq": lambda url: GroqModel("openai/gpt-oss-120b", provider=GroqProvider(base_url=f"{url}/groq", api_key="k")),
    "mistral": lambda url: MistralModel(
        "mistral-small-latest", provider=MistralProvider(base_url=f"{url}/mistral", api_key="k")
    ),
    "bedrock": bedrock,
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, base_url: str) -> Model:
    """Each model in turn."""
    return MODELS[request.param](base_url)


def billed(simulator: Simulator) -> tuple[int, int, int]:
    """Requests, input and output tokens of the only mount that was asked."""
    (served,) = simulator.served.values()
    return served.completed, served.input_tokens, served.output_tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_text(model: Model, simulator: Simulator, stream: bool) -> None:
    """Plain and streamed runs end with the same text, and with the usage that was billed."""
    async with Agent(model) as agent:
        if stream:
            async with agent.run_stream("Hello there") as running:
                output, usage = await running.get_output(), running.usage
        else:
            result = await agent.run("Hello there")
            output, usage = result.output, result.usage
    assert output.endswith("(simulated). You said: Hello there")
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == billed(simulator)


async def test_tool_and_structured_output(model: Model, simulator: Simulator) -> None:
    """The agent's tool is called with valid arguments, and the run ends with a valid object."""
    asked: list[Any] = []
    async with Agent(model, output_type=City) as agent:

        @agent.tool_plain
        def find_people(city: str, years: list[int]) -> int:
            """How many live there."""
            asked.append((city, years))
            return 7

        result = await agent.run("Please find_people of Paris")
    assert asked == [("city", [])]
    assert result.output == City(name="name", people=0, twin=None)
    assert (result.usage.requests, result.usage.input_tokens, result.usage.output_tokens) == billed(simulator)


async def test_picture(base_url: str, simulator: Simulator) -> None:
    """Pictures go in."""
    for make in (MODELS["openai-responses"], MODELS["anthropic"], MODELS["google"], MODELS["bedrock"]):
        simulator.reset()
        async with Agent(make(base_url)) as agent:
            await agent.run(["What is this?", BinaryContent(b"\x89PNG", media_type="image/png")])
        assert billed(simulator)[1] == 4 + 256


async def test_embedding(base_url: str) -> None:
    """Embeddings come out."""
    async with openai(base_url) as provider:
        embedder = Embedder(OpenAIEmbeddingModel("text-embedding-3-small", provider=provider))
        got = await embedder.embed_documents(["Hello there"])
    assert (len(got.embeddings[0]), got.usage.input_tokens) == (1536, 3)
