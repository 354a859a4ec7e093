"""Google's APIs, through google-genai: the Gemini API and Vertex AI."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import genai_prices
import httpx2
import pytest
from google import genai
from google.auth import crypt
from google.genai import types
from google.oauth2 import service_account

from paig_gateway.simulator import Simulator
from paig_gateway.simulator.gemini_media import MOST_SECONDS, SPOKEN, generated
from paig_gateway.simulator.reply import Prompt, Reply, TokenCounts

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),  # google-genai's aiohttp session
]

MODEL = "gemini-2.5-flash"
GEMINI = f"/google/v1beta/models/{MODEL}"
VERTEX = f"/vertex/v1beta1/projects/p/locations/global/publishers/google/models/{MODEL}"
HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}


class Signer(crypt.Signer):
    """Signs as a service account would, without its key: the simulator checks only the form."""

    key_id = "k1"

    def sign(self, message: bytes) -> bytes:
        """A made-up signature."""
        return b"signature"


def client_of(base_url: str, vertex: bool) -> genai.Client:
    """The SDK's client: with an API key, or for Vertex AI with a service account that asks the token endpoint."""
    if not vertex:
        return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=f"{base_url}/google"))
    account = service_account.Credentials(
        Signer(),
        "robot@p.example",
        f"{base_url}/vertex/token",
        scopes=["https://www.googleapis.com/auth/cloud-platform"],
    )
    options = types.HttpOptions(base_url=f"{base_url}/vertex")
    return genai.Client(vertexai=True, project="p", location="global", credentials=account, http_options=options)


@pytest.mark.parametrize("vertex", [False, True])
async def test_generate(base_url: str, simulator: Simulator, vertex: bool) -> None:
    """The SDK gets text and usage, thoughts apart; Vertex AI says in addition how the traffic is billed."""
    client = client_of(base_url, vertex)
    got = await client.aio.models.generate_content(model=MODEL, contents="Hello there")
    await client.aio.aclose()
    client.close()
    assert got.text == f"Hello from {MODEL} (simulated). You said: Hello there"
    usage = got.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (3, 8, 16)
    assert usage.total_token_count == 27
    assert (usage.traffic_type is not None) is vertex
    assert (got.create_time is not None) is vertex
    assert simulator.served["vertex" if vertex else "google"].output_tokens == 24


@pytest.mark.parametrize("vertex", [False, True])
async def test_stream(base_url: str, vertex: bool) -> None:
    """Usage is cumulative on every chunk; Vertex AI's chunks say nothing of tokens until the last."""
    client = client_of(base_url, vertex)
    stream = await client.aio.models.generate_content_stream(model=MODEL, contents="Hello there")
    chunks = [chunk async for chunk in stream]
    await client.aio.aclose()
    client.close()
    assert "".join(chunk.text or "" for chunk in chunks) == f"Hello from {MODEL} (simulated). You said: Hello there"
    counts = [chunk.usage_metadata.candidates_token_count for chunk in chunks if chunk.usage_metadata]
    assert counts == ([None] * 7 + [8] if vertex else [1, 2, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize("path", [GEMINI, VERTEX])
async def test_stream_bytes(http: httpx2.AsyncClient, path: str) -> None:
    """With `alt=sse` events end in CRLF; without it the stream is one JSON array. Both say the same."""
    events = await http.post(f"{path}:streamGenerateContent?alt=sse", json=HELLO)
    array = await http.post(f"{path}:streamGenerateContent", json=HELLO)
    assert events.headers["content-type"] == "text/event-stream"
    assert array.headers["content-type"] == "application/json; charset=UTF-8"
    shown = [json.loads(event.removeprefix("data: ")) for event in events.text.split("\r\n\r\n") if event]

    def candidates(chunks: list[Any]) -> list[Any]:
        return [chunk["candidates"] for chunk in chunks]

    assert candidates(shown) == candidates(array.json())
    assert shown[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("vertex", [False, True])
async def test_tool_call_and_its_result(base_url: str, vertex: bool) -> None:
    """The tool that the message names is called; its result is answered with text."""
    schema = types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)})
    schema.required = ["city"]
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="get_weather", parameters=schema)])
    config = types.GenerateContentConfig(tools=[tool])
    client = client_of(base_url, vertex)
    ask: Any = types.UserContent("Please get_weather")
    got = await client.aio.models.generate_content(model=MODEL, contents=ask, config=config)
    assert got.function_calls is not None
    assert (got.function_calls[0].name, got.function_calls[0].args) == ("get_weather", {"city": "city"})
    assert got.candidates is not None
    result = types.Part.from_function_response(name="get_weather", response={"result": "wet"})
    after: Any = [ask, got.candidates[0].content, types.UserContent(result)]
    final = await client.aio.models.generate_content(model=MODEL, contents=after, config=config)
    await client.aio.aclose()
    client.close()
    assert final.text == f'Hello from {MODEL} (simulated). get_weather says: {{"result":"wet"}}'


async def test_settings(http: httpx2.AsyncClient) -> None:
    """Limits, thinking, thoughts shown, schemas, forced functions and attachments, in camel and in snake case."""
    parts = [
        {"text": "What is this?"},
        {"inline_data": {"mime_type": "image/png", "data": "AAAA"}},
        {"fileData": {"mimeType": "audio/mp3", "fileUri": "gs://a/b"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://a/b"}},
    ]
    asked: dict[str, Any] = {"contents": [{"parts": parts}], "generation_config": {"max_output_tokens": 20}}
    got = (await http.post(f"{GEMINI}:generateContent", json=asked)).json()
    usage = got["usageMetadata"]
    assert (got["candidates"][0]["finishReason"], usage["candidatesTokenCount"]) == ("MAX_TOKENS", 4)
    assert {part["modality"]: part["tokenCount"] for part in usage["promptTokensDetails"]} == {
        "TEXT": 4,
        "IMAGE": 256,
        "AUDIO": 256,
        "DOCUMENT": 256,
    }
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}
    asked["generation_config"] = {
        "responseMimeType": "application/json",
        "responseSchema": schema,
        "thinkingConfig": {"thinkingBudget": 0},
    }
    got = (await http.post(f"{GEMINI}:generateContent", json=asked)).json()
    assert json.loads(got["candidates"][0]["content"]["parts"][0]["text"]) == {"n": 0}
    assert "thoughtsTokenCount" not in got["usageMetadata"]
    asked = {**HELLO, "generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"}}}
    got = (await http.post(f"{GEMINI}:generateContent", json=asked)).json()
    assert got["candidates"][0]["content"]["parts"][0]["thought"] is True
    assert got["usageMetadata"]["thoughtsTokenCount"] == 8
    asked = {
        **HELLO,
        "serviceTier": "flex",
        "tools": [{"function_declarations": [{"name": "a"}, {"name": "b", "parameters_json_schema": {}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["b"]}},
    }
    got = (await http.post(f"{GEMINI}:generateContent", json=asked)).json()
    assert got["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == "b"
    assert got["usageMetadata"]["serviceTier"] == "flex"
    flex = {"x-vertex-ai-llm-shared-request-type": "flex"}
    got = (await http.post(f"{VERTEX}:generateContent", json=HELLO, headers=flex)).json()
    assert got["usageMetadata"]["trafficType"] == "ON_DEMAND_FLEX"


@pytest.mark.parametrize("path", [GEMINI, VERTEX])
async def test_price_library_reads_the_usage(http: httpx2.AsyncClient, simulator: Simulator, path: str) -> None:
    """genai-prices extracts what was billed, cached and thought tokens included."""
    asked = {"contents": [{"role": "user", "parts": [{"text": "long " * 1000}]}]}
    for _ in range(2):
        got = (await http.post(f"{path}:generateContent", json=asked)).json()
    model = {"model": got["modelVersion"]}
    found = genai_prices.extract_usage({**got, **model}, provider_id="google").usage
    billed = simulator.served[path.split("/")[1]]
    assert (found.input_tokens, found.output_tokens) == (billed.input_tokens // 2, billed.output_tokens // 2)
    assert (found.cache_read_tokens, found.output_reasoning_tokens) == (1024, 16)


@pytest.mark.parametrize("vertex", [False, True])
async def test_counting_and_embedding(base_url: str, simulator: Simulator, vertex: bool) -> None:
    """Counting is free; embedding gives a vector for each text, in each API's own way."""
    client = client_of(base_url, vertex)
    counted = await client.aio.models.count_tokens(model=MODEL, contents="Hello there")
    assert simulator.served == {}
    config = types.EmbedContentConfig(output_dimensionality=8)
    texts: Any = ["Hello there", "you"]
    got = await client.aio.models.embed_content(model="gemini-embedding-001", contents=texts, config=config)
    await client.aio.aclose()
    client.close()
    assert counted.total_tokens == 3
    assert got.embeddings is not None
    assert [len(item.values or ()) for item in got.embeddings] == [8, 8]
    assert simulator.served["vertex" if vertex else "google"].input_tokens == 4


async def test_single_embedding(http: httpx2.AsyncClient) -> None:
    """`embedContent` takes one text; at Vertex AI it says what it used."""
    asked = {"content": {"parts": [{"text": "Hello there"}]}, "outputDimensionality": 4}
    gemini = (await http.post("/google/v1beta/models/gemini-embedding-001:embedContent", json=asked)).json()
    path = "/vertex/v1beta1/projects/p/locations/global/publishers/google/models/gemini-embedding-2:embedContent"
    vertex = (await http.post(path, json=asked)).json()
    assert len(gemini["embedding"]["values"]) == len(vertex["embedding"]["values"]) == 4
    assert "usageMetadata" not in gemini
    assert vertex["usageMetadata"]["promptTokenCount"] == 3


async def test_models(base_url: str) -> None:
    """The models can be listed and looked up."""
    client = client_of(base_url, False)
    listed = [model.name async for model in await client.aio.models.list()]
    one = await client.aio.models.get(model=MODEL)
    await client.aio.aclose()
    client.close()
    assert f"models/{MODEL}" in listed
    assert one.name == f"models/{MODEL}"


async def test_vertex_wants_project_and_token(base_url: str) -> None:
    """With an access token the path must name project and location; an API key does without (express mode)."""
    short = f"/vertex/v1beta1/publishers/google/models/{MODEL}:generateContent"
    async with httpx2.AsyncClient(base_url=base_url) as client:
        statuses = [
            (await client.post(path, json=HELLO, headers=headers)).status_code
            for path in (short, f"{VERTEX}:generateContent")
            for headers in ({"authorization": "Bearer t"}, {"x-goog-api-key": "k"}, {})
        ]
    assert statuses == [404, 200, 401, 200, 200, 401]


def statement(**changes: object) -> str:
    """The signed statement of a service account, with some of its claims changed."""
    now = int(time.time())
    claims = {"iss": "robot@p.example", "scope": "s", "aud": "https://x/token", "iat": now, "exp": now + 600, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    parts = [json.dumps(part).encode() for part in ({"alg": changes.get("alg", "RS256")}, kept)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in [*parts, b"signature"])


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({}, "Invalid grant_type"),
        ({"grant_type": "refresh_token"}, "Missing refresh_token"),
        ({"assertion": "a.b"}, "Invalid JWT: it must have three parts"),
        ({"assertion": "a.b.c"}, "Invalid JWT: its parts must be base64url of JSON"),
        ({"assertion": statement(alg="none")}, "Invalid JWT: alg must be RS256"),
        ({"assertion": statement(iss=None, aud=None)}, "Invalid JWT: missing iss, aud"),
        ({"assertion": statement(exp=1)}, "Invalid JWT: Token must be a short-lived token"),
        ({"assertion": statement(exp=int(time.time()) + 9999)}, "Invalid JWT: Token must be a short-lived token"),
    ],
)
async def test_token_endpoint_refuses(http: httpx2.AsyncClient, form: dict[str, str], problem: str) -> None:
    """A token request of the wrong form gets Google's `invalid_grant`."""
    if "assertion" in form:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", **form}
    response = await http.post("/vertex/token", data=form)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"
    assert response.json()["error_description"].startswith(problem)


async def test_token_endpoint_gives_tokens(http: httpx2.AsyncClient) -> None:
    """Statements and refresh tokens are worth an access token."""
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    forms = ({"grant_type": grant, "assertion": statement()}, {"grant_type": "refresh_token", "refresh_token": "r"})
    tokens = [(await http.post("/vertex/token", data=form)).json() for form in forms]
    assert [token["token_type"] for token in tokens] == ["Bearer", "Bearer"]
    assert tokens[0]["access_token"] != tokens[1]["access_token"]


def test_speech_has_an_end() -> None:
    """A text of megabytes does not make an answer of gigabytes."""
    reply = Reply("gemini-2.5-flash-preview-tts", "", [], "", [], "stop", TokenCounts())
    [part] = generated(["AUDIO"], Prompt(ask="a" * 10_000_000), reply)
    assert len(part["inlineData"]["data"]) < 5_000_000
    assert reply.tokens.output == SPOKEN * MOST_SECONDS
