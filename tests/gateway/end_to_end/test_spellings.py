"""The spellings of paths that SDKs and their users send, at every kind of provider and at the one address.

A real gateway stands before a provider that answers in the shape of what it was asked. Each row says in which format
the request was metered, and which path the provider saw.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_gateway.providers.kinds import KINDS, base_url
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.gateway.end_to_end.echo import Answer, Asked, Echo, as_json, running_echo

pytestmark = pytest.mark.anyio

HI = [{"role": "user", "content": "Hi"}]
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
CLAUDE = {"model": "claude-sonnet-4-5", "messages": HI, "max_tokens": 50}
AT_VERTEX = {"anthropic_version": "vertex-2023-10-16", "messages": HI, "max_tokens": 50}
AT_BEDROCK = {"anthropic_version": "bedrock-2023-05-31", "messages": HI, "max_tokens": 50}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 50}}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 50}}
RESPONSE = {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 50}
EMBED = {"model": "text-embedding-3-small", "input": "Hi"}
RERANK = {"model": "rerank-v3.5", "query": "q", "documents": ["a"]}
ARN = "arn:aws:bedrock:us-east-1::foundation-model/"
BEDROCK_RERANK = {
    "queries": [{"type": "TEXT", "textQuery": {"text": "q"}}],
    "sources": [{"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": "a"}}}],
    "rerankingConfiguration": {
        "type": "BEDROCK_RERANKING_MODEL",
        "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": f"{ARN}cohere.rerank-v3-5:0"}},
    },
}
HAIKU, SONNET = "anthropic.claude-3-haiku-20240307-v1%3A0", "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
QUOTED = "arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2F"


def chat(model: str) -> dict[str, object]:
    """A chat completion."""
    return {"model": model, "messages": HI, "max_tokens": 50}


_MESSAGE = {
    **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn"},
    **{"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 100, "output_tokens": 10}},
}
_CHAT = {
    **{"id": "c", "object": "chat.completion", "model": "m", "usage": USAGE},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}
ANSWERS: tuple[tuple[str, object], ...] = (
    (r"count[_-]tokens|countTokens", {"input_tokens": 5}),
    (r"anthropic.*[rR]awPredict|/messages$|/invoke$", _MESSAGE),
    (r"(?<!async/chat/)completions$|[rR]awPredict$", _CHAT),
    (
        r"enerateContent$",
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110},
            "modelVersion": "gemini-2.5-flash",
        },
    ),
    (
        r"/converse$",
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 100, "outputTokens": 10, "totalTokens": 110},
        },
    ),
    (
        r"/responses$",
        {
            **{"id": "resp_1", "object": "response", "model": "gpt-5-mini", "status": "completed", "output": []},
            "usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
        },
    ),
    (r"/decisions$", {"answers": {}, "usage": {"total_input_tokens": 100, "total_output_tokens": 10}}),
    (r"/ocr$", {"pages": [], "usage_info": {"pages_processed": 2}, "model": "mistral-ocr-2505"}),
    (r"/embeddings$", {"data": [{"embedding": [0.1], "index": 0}], "model": "m", "usage": USAGE}),
    (
        r"/rerank$",
        {
            "results": [{"index": 0, "relevance_score": 1}],
            "meta": {"billed_units": {"search_units": 1}},
            "usage": {"total_tokens": 1000},
        },
    ),
    (r"/images$", {"created": 1, "data": [{"b64_json": "aa"}], "usage": {**USAGE, "cost": 0.04}}),
    (r"", {"id": "obj_1", "name": "cachedContents/obj_1"}),
)


def answer(asked: Asked) -> Answer:
    """An answer of the shape that the path asks for."""
    path = asked.path.partition("?")[0].rstrip("/")
    return as_json(next(body for pattern, body in ANSWERS if re.search(pattern, path)))


@pytest.fixture(scope="module")
async def echo() -> AsyncIterator[Echo]:
    """The provider."""
    async with running_echo() as running:
        running.by = answer
        yield running


@pytest.fixture(scope="module")
async def world(environment: None, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway with a provider of every kind, each at the path of its own base URL."""
    specs = {}
    for kind in KINDS.values():
        own = base_url(kind, None, {})
        specs[kind.name] = ProviderSpec(
            kind=kind.name,
            base_url=echo.base + (urlsplit(own).path if own else ""),
            credential=f"value:{UPSTREAM_KEY}",
            project="p" if kind.name == "google-vertex" else None,
        )
    async with running_world(tmp_path_factory.mktemp("home"), specs) as running:
        yield running


class Row(NamedTuple):
    """One request.

    Attributes:
        path: The path that the client sends, with its query.
        body: Its body; None for a GET.
        format: The format that it is metered in.
        seen: The path that the provider sees, with its query; None if it is not looked at.
    """

    path: str
    body: object
    format: str
    seen: str | None = None


AT_ROUTES = (
    Row("/openai//v1//chat//completions", chat("gpt-5-mini"), "openai-chat", "/v1/chat/completions"),
    Row("/openai/v1/chat/completions/", chat("gpt-5-mini"), "openai-chat"),
    Row("/openai/v1/openai/v1/responses", RESPONSE, "openai-responses", "/v1/responses"),
    Row("/azure/openai/v1/responses?api-version=preview", RESPONSE, "openai-responses",
        "/openai/v1/responses?api-version=preview"),
    Row("/azure/openai/deployments/gpt-4o%2Dmini/chat/completions", {"messages": HI, "max_tokens": 50}, "openai-chat",
        "/openai/deployments/gpt-4o%2Dmini/chat/completions?api-version=2024-10-21"),
    Row("/azure/anthropic/v1/messages?beta=true", CLAUDE, "anthropic", "/anthropic/v1/messages?beta=true"),
    Row("/azure/v1/messages/count_tokens", CLAUDE, "count-tokens", "/anthropic/v1/messages/count_tokens"),
    Row("/azure/models/chat/completions", chat("gpt-4o-mini"), "openai-chat", "/models/chat/completions"),
    Row("/moonshot/v1/messages", {**CLAUDE, "model": "kimi-k2-0905-preview"}, "anthropic", "/anthropic/v1/messages"),
    Row("/moonshot/anthropic/v1/messages", {**CLAUDE, "model": "kimi-k2-0905-preview"}, "anthropic",
        "/anthropic/v1/messages"),
    Row("/zai/api/anthropic/v1/messages", {**CLAUDE, "model": "glm-4.6"}, "anthropic", "/api/anthropic/v1/messages"),
    Row("/zai/api/coding/paas/v4/chat/completions", chat("glm-4.6"), "openai-chat",
        "/api/coding/paas/v4/chat/completions"),
    Row("/zai/openai/v1/chat/completions", chat("glm-4.6"), "openai-chat", "/api/paas/v4/chat/completions"),
    Row("/deepseek/anthropic/messages", {**CLAUDE, "model": "deepseek-chat"}, "anthropic", "/anthropic/v1/messages"),
    Row("/deepseek/beta/v1/chat/completions", chat("deepseek-chat"), "openai-chat", "/beta/v1/chat/completions"),
    Row("/anthropic/v1/v1/messages", CLAUDE, "anthropic", "/v1/messages"),
    Row("/anthropic/anthropic/v1/messages", CLAUDE, "anthropic", "/v1/messages"),
    Row("/anthropic/openai/v1/chat/completions", CLAUDE, "openai-chat", "/v1/chat/completions"),
    Row("/anthropic-aws/v1/messages", CLAUDE, "anthropic", "/v1/messages"),
    Row("/bedrock-mantle/anthropic/v1/messages", {**CLAUDE, "model": "anthropic.claude-sonnet-4-5-20250929-v1:0"},
        "anthropic"),
    Row("/openrouter/api/v1/messages", {**CLAUDE, "model": "anthropic/claude-sonnet-4.5"}, "anthropic"),
    Row("/openrouter/v1/images", {"model": "google/gemini-2.5-flash-image", "prompt": "x"}, "openai-images",
        "/api/v1/images"),
    Row("/fireworks/v1/chat/completions", chat("accounts/fireworks/models/deepseek-v3p1"), "openai-chat",
        "/inference/v1/chat/completions"),
    Row("/google/v1/chat/completions", chat("gemini-2.5-flash"), "openai-chat", "/v1beta/openai/chat/completions"),
    Row("/google/chat/completions", chat("gemini-2.5-flash"), "openai-chat", "/v1beta/openai/chat/completions"),
    Row("/google/v1beta/openai/v1/chat/completions", chat("gemini-2.5-flash"), "openai-chat",
        "/v1beta/openai/chat/completions"),
    Row("/google/v1beta/models/gemini-2.5-flash%3AgenerateContent", GEMINI, "gemini",
        "/v1beta/models/gemini-2.5-flash%3AgenerateContent"),
    Row("/google/v1beta/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, "gemini",
        "/v1beta/models/gemini-2.5-flash:generateContent"),
    Row("/google/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent", GEMINI, "gemini",
        "/v1beta/models/gemini-2.5-flash:generateContent"),
    Row("/google/v1beta/decisions", {"model": "models/gemini-2.5-flash", "input": "Hi", "questions": {"q": {}}},
        "gemini-decisions", "/v1beta/decisions"),
    Row("/google-vertex/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, "gemini",
        "/v1beta1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:generateContent"),
    Row("/google-vertex/v1/chat/completions", chat("google/gemini-2.5-flash"), "openai-chat",
        "/v1/projects/p/locations/global/endpoints/openapi/chat/completions"),
    Row("/google-vertex/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5%4020250929"
        ":rawPredict", AT_VERTEX, "anthropic"),
    Row("/google-vertex/v1/projects/p/locations/us-east5/publishers/anthropic/models/count-tokens:rawPredict", CLAUDE,
        "count-tokens"),
    Row("/google-vertex/v1/publishers/mistralai/models/mistral-medium-3:rawPredict", chat("mistral-medium-3"),
        "openai-chat", "/v1/projects/p/locations/global/publishers/mistralai/models/mistral-medium-3:rawPredict"),
    Row(f"/bedrock/model/{QUOTED}{HAIKU}/converse", CONVERSE, "bedrock-converse",
        f"/model/{QUOTED}{HAIKU}/converse"),
    Row(f"/bedrock/model/{ARN}anthropic.claude-3-haiku-20240307-v1:0/converse", CONVERSE, "bedrock-converse"),
    Row(f"/bedrock/model/{SONNET}/invoke", AT_BEDROCK, "bedrock-invoke"),
    Row("/bedrock/openai/v1/chat/completions", chat("openai.gpt-oss-20b-1:0"), "openai-chat"),
    Row("/bedrock/v1/messages", {**CLAUDE, "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}, "anthropic"),
    Row("/mistral/chat/completions", chat("mistral-small-latest"), "openai-chat", "/v1/chat/completions"),
    Row("/mistral/openai/v1/chat/completions", chat("mistral-small-latest"), "openai-chat", "/v1/chat/completions"),
    Row("/cohere/v1/chat/completions", chat("command-r-08-2024"), "openai-chat", "/compatibility/v1/chat/completions"),
    Row("/cohere/v2/rerank", RERANK, "rerank", "/v2/rerank"),
    Row("/huggingface/v1/chat/completions", chat("openai/gpt-oss-120b:cerebras"), "openai-chat"),
    Row("/perplexity/v1/chat/completions", chat("sonar"), "openai-chat", "/chat/completions"),
    Row("/ollama/v1/chat/completions", chat("llama3"), "openai-chat", "/v1/chat/completions"),
)  # fmt: skip


async def send(world: World, key: str, row: Row, **headers: str) -> httpx2.Response:
    """Send a row's request."""
    method = "GET" if row.body is None else "POST"
    sent = {"authorization": f"Bearer {key}"} | headers
    return await world.http.request(method, world.origin + row.path, headers=sent, json=row.body)


async def fault(world: World, echo: Echo, key: str, row: Row, **headers: str) -> str | None:
    """What is wrong with a row; None if nothing is."""
    echo.seen.clear()
    got = await send(world, key, row, **headers)
    if got.status_code != 200:
        return f"{row.path}: {got.status_code} {got.text}"
    found = await world.admin.request(got.headers["x-paig-request-id"])
    seen = [asked.path for asked in echo.seen]
    if found.format != row.format or (row.seen is not None and seen != [row.seen]):
        return f"{row.path}: {found.format} at {seen}"
    metered = row.format not in ("count-tokens", "models", "moderations", "other-free", "files")
    return f"{row.path}: free" if metered and not Decimal(found.cost or 0) and "ollama" not in row.path else None


async def test_every_kind_takes_its_usual_spellings(world: World, echo: Echo) -> None:
    """Versions added, forgotten and doubled, prefixes of the native SDKs, ids in any encoding: under a cap, metered."""
    key = await world.make_key("routes", daily=50)
    assert [
        wrong for row in AT_ROUTES if (wrong := await fault(world, echo, key, row._replace(path=f"/proxy{row.path}")))
    ] == []


ANTHROPIC, GOOGLE_KEY = {"anthropic-version": "2023-06-01"}, {"x-goog-api-key": "paig_unused"}
AT_ONE_ADDRESS: tuple[tuple[str, Row, Mapping[str, str]], ...] = (
    ("openai anthropic google groq", Row("/v1/chat/completions", chat("gpt-5-mini"), "openai-chat"), {}),
    ("openai google", Row("/v1/chat/completions", chat("gemini-2.5-flash"), "openai-chat",
                          "/v1beta/openai/chat/completions"), {}),
    ("openai groq", Row("/openai/v1/chat/completions", chat("llama-3.3-70b-versatile"), "openai-chat"), {}),
    ("openai anthropic", Row("/openai/v1/chat/completions", CLAUDE, "openai-chat"), {}),
    ("openai cohere", Row("/openai/v1/chat/completions", chat("command-r-08-2024"), "openai-chat"), {}),
    ("openai mistral", Row("/v1/v1/chat/completions/", chat("mistral-small-latest"), "openai-chat"), {}),
    ("openai anthropic deepseek", Row("/v1/messages?beta=true", CLAUDE, "anthropic"), ANTHROPIC),
    ("anthropic deepseek", Row("/v1/messages", {**CLAUDE, "model": "deepseek-chat"}, "anthropic"), ANTHROPIC),
    ("openai anthropic", Row("/v1/messages/count_tokens", CLAUDE, "count-tokens"), ANTHROPIC),
    ("openai google", Row("/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, "gemini"), {}),
    ("openai google", Row("/v1alpha/models/gemini-2.5-flash:generateContent", GEMINI, "gemini"), {}),
    ("openai google", Row("/v1/models/gemini-2.5-flash:generateContent", GEMINI, "gemini"), {}),
    ("openai google-vertex", Row("/v1beta/models/gemini-2.5-flash:generateContent", GEMINI, "gemini"), {}),
    ("openai google", Row("/v1beta1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash"
                          ":generateContent", GEMINI, "gemini"), {}),
    ("openai google", Row("/v1beta/openai/chat/completions", chat("gemini-2.5-flash"), "openai-chat"), {}),
    ("openai bedrock", Row(f"/model/{SONNET}/converse", CONVERSE, "bedrock-converse"), {}),
    ("openai bedrock", Row(f"/model/{QUOTED}{HAIKU}/converse", CONVERSE, "bedrock-converse"), {}),
    ("openai bedrock", Row("/rerank", BEDROCK_RERANK, "bedrock-rerank"), {}),
    ("openai bedrock", Row("/foundation-models", None, "models", "/foundation-models"), {}),
    ("anthropic azure", Row("/openai/responses?api-version=2025-04-01-preview", RESPONSE, "openai-responses"), {}),
    ("openai cohere together", Row("/v2/rerank", RERANK, "rerank"), {}),
    ("cohere voyageai", Row("/v1/rerank", {**RERANK, "model": "rerank-2.5"}, "rerank"), {}),
    ("openai google mistral", Row("/v1/embeddings", EMBED, "openai-embeddings"), {}),
    ("openai anthropic google", Row("/v1/responses", RESPONSE, "openai-responses"), {}),
    # Without a model: the API that the request speaks.
    ("openai anthropic google", Row("/v1/moderations", {"input": "Hi"}, "moderations"), {}),
    ("openai anthropic google deepseek", Row("/v1/vector_stores", None, "other-free"), {}),
    ("openai anthropic google", Row("/v1/files?purpose=batch", None, "files", "/v1/files?purpose=batch"), {}),
    ("openai anthropic google", Row("/v1/files", None, "files"), ANTHROPIC),
    ("openai anthropic google", Row("/v1beta/files", None, "files", "/v1beta/files"), {}),
    ("openai anthropic", Row("/v1/messages/batches?limit=3", None, "other-free"), {}),
    ("openai google", Row("/v1beta/cachedContents?pageSize=3", None, "other-free"), {}),
)  # fmt: skip


async def test_the_one_address_takes_them_too(world: World, echo: Echo) -> None:
    """The route follows from the model, else from the API that the request speaks."""
    keys: dict[str, str] = {}
    wrong: list[str | None] = []
    for routes, row, headers in AT_ONE_ADDRESS:
        if routes not in keys:
            spec = KeySpec(routes=routes.split(), limits=LimitsSpec(daily=Decimal(50)))
            keys[routes] = (await world.admin.keys.create(routes.replace(" ", "-"), spec)).key
        wrong.append(await fault(world, echo, keys[routes], row, **headers))
    assert [one for one in wrong if one] == []


AT_VERTEX_PLACE = "/google-vertex/v1/projects/p/locations/global"
LIFECYCLES = (
    ("/google/v1beta/environments", "GET", "/google/v1beta/environments/obj_1/files/a.txt", None),
    ("/google/v1beta/triggers", "POST", "/google/v1beta/triggers/obj_1/executions", {}),
    ("/google/v1beta/cachedContents", "PATCH", "/google/v1beta/cachedContents/obj_1", {"ttl": "60s"}),
    (f"{AT_VERTEX_PLACE}/cachedContents", "PATCH", f"{AT_VERTEX_PLACE}/cachedContents/obj_1", {"ttl": "60s"}),
    ("/openai/v1/vector_stores", "POST", "/openai/v1/vector_stores/obj_1", {"name": "x"}),
    ("/openai/v1/containers", "GET", "/openai/v1/containers/obj_1", None),
    ("/together/v1/fine-tunes", "POST", "/together/v1/fine-tunes/obj_1/cancel", {}),
    ("/together/v1/evaluation", "GET", "/together/v1/evaluation/obj_1/status", None),
    ("/perplexity/async/chat/completions", "GET", "/perplexity/async/chat/completions/obj_1", None),
    ("/zai/api/paas/v4/async/chat/completions", "GET", "/zai/api/paas/v4/async-result/obj_1", None),
    ("/cohere/v1/embed-jobs", "POST", "/cohere/v1/embed-jobs/obj_1/cancel", {}),
)
"""What is made, and what its maker does with it afterwards: the method, the path and a body."""


async def test_what_cannot_be_metered_has_a_whole_life(world: World) -> None:
    """A key with allow_unmetered makes it (`unknown`), reads it and changes it; another key does neither."""
    spec = KeySpec(limits=LimitsSpec(daily=Decimal(50)), allow_unmetered=True)
    maker = (await world.admin.keys.create("maker", spec)).key
    other = (await world.admin.keys.create("other", spec)).key
    capped = await world.make_key("no word", daily=50)
    library = await world.http.post(
        "/proxy/mistral/v1/libraries", headers={"authorization": f"Bearer {maker}"}, json={}
    )
    assert library.status_code == 200
    for path, method, after, body in LIFECYCLES:
        create = Row(f"/proxy{path}", {}, "unmetered")
        if "obj_1" not in path:
            refused = await send(world, capped, create)
            assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "no-price"), path
        made = await send(world, maker, create)
        assert made.status_code == 200, (path, made.text)
        assert (await world.admin.request(made.headers["x-paig-request-id"])).certainty == "unknown", path
        place = f"/proxy{after}"
        for key, status in ((maker, {200}), (other, {403, 404})):
            headers = {"authorization": f"Bearer {key}"}
            got = await world.http.request(method, place, headers=headers, json=body)
            assert got.status_code in status, (place, got.status_code, got.text)


async def test_client_secrets(world: World) -> None:
    """At a route and at the one address; without the operator's word refused, with what to do instead."""
    spec = KeySpec(routes=["openai", "anthropic", "google"], allow_unmetered=True)
    trusted = (await world.admin.keys.create("secrets", spec)).key
    everywhere = (await world.admin.keys.create("secrets everywhere", KeySpec(allow_unmetered=True))).key
    capped = await world.make_key("no secrets", daily=1)
    session = {"session": {"type": "realtime", "model": "gpt-realtime"}}
    for key, path in (
        (trusted, "/v1/realtime/client_secrets"),
        (everywhere, "/proxy/azure/openai/v1/realtime/client_secrets"),
        (everywhere, "/proxy/xai/v1/realtime/client_secrets"),
        (everywhere, "/proxy/openai/realtime/transcription_sessions"),
        (everywhere, "/proxy/google/v1alpha/auth_tokens"),
    ):
        got = await send(world, key, Row(path, session, "unmetered"))
        assert got.status_code == 200, (path, got.text)
        assert (await world.admin.request(got.headers["x-paig-request-id"])).certainty == "unknown"
    refused = await send(world, capped, Row("/proxy/xai/v1/realtime/client_secrets", session, "unmetered"))
    assert refused.headers["x-paig-error"] == "no-price"
    assert "/proxy/xai/realtime" in refused.text
