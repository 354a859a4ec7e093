"""Work that goes on after the answer: charged at its worst case, and at its true cost when its result passes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, ProjectSpec, ProviderSpec
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.echo import Answer, Echo, as_json, running_echo
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def echo() -> AsyncIterator[Echo]:
    """The providers."""
    async with running_echo() as running:
        yield running


@pytest.fixture(scope="module")
async def world(environment: None, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of the echo."""
    specs = {
        "openai": ProviderSpec(kind="openai", base_url=f"{echo.base}/v1", credential="value:a"),
        "google": ProviderSpec(kind="google", base_url=echo.base, credential="value:b"),
        "vertex": ProviderSpec(kind="google-vertex", base_url=echo.base, credential="value:c", project="p"),
        "xai": ProviderSpec(kind="xai", base_url=f"{echo.base}/v1", credential="value:d"),
        "bedrock": ProviderSpec(kind="bedrock", base_url=echo.base, credential="value:e"),
    }
    async with running_world(tmp_path_factory.mktemp("home"), specs) as running:
        yield running


@pytest.fixture(autouse=True)
def reset(echo: Echo) -> None:
    """Each test sets its own answers."""
    echo.answer, echo.by = Answer(), lambda asked: None
    echo.seen.clear()


async def key_for(world: World, name: str, project: str | None = None, daily: str | None = None) -> str:
    """A new key."""
    limits = LimitsSpec.model_validate({"daily": daily} if daily else {})
    return (await world.admin.keys.create(name, KeySpec(project=project, limits=limits))).key


async def ask(world: World, key: str, method: str, path: str, body: object = None) -> httpx2.Response:
    """A request."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return await world.http.request(method, f"/proxy{path}", headers=headers, content=content)


async def row_is(world: World, request_id: str, cost: str, certainty: str) -> Any:
    """The row of a request, once it says so."""
    found: list[Any] = []

    async def says() -> bool:
        row = await world.admin.request(request_id)
        found.append(row)
        return (Decimal(row.cost), row.certainty) == (Decimal(cost), certainty)

    await until(says, seconds=20)
    return found[-1]


async def spent(world: World, key_name: str) -> tuple[Decimal, Decimal]:
    """What a key's limit says of spent and held money."""
    [limit] = [limit for limit in await world.admin.limits() if limit.owner == key_name]
    return Decimal(limit.spent), Decimal(limit.held)


async def test_a_video_at_openai(world: World, echo: Echo) -> None:
    """Charged by its seconds when it begins, as a form has them; exact when anybody has seen its end."""
    await world.admin.projects.create("film", ProjectSpec())
    mine, mate = await key_for(world, "film1", "film", "1"), await key_for(world, "film2", "film", "1")
    video: dict[str, object] = {
        "id": "video_1",
        "object": "video",
        "model": "sora-2",
        "status": "queued",
        "seconds": "8",
    }
    echo.answer = as_json(video)
    fields = [("model", "sora-2"), ("prompt", "A cat"), ("seconds", "8")]
    form = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields)
    headers = {"authorization": f"Bearer {mine}", "content-type": "multipart/form-data; boundary=x"}
    made = await world.http.post("/proxy/openai/v1/videos", content=f"{form}--x--\r\n", headers=headers)
    row = await row_is(world, made.headers["x-paig-request-id"], "0.8", "ceiling")
    assert (row.reserved, row.usage["video_seconds"], row.format) == (Decimal("0.8"), 8, "openai-videos")
    refused = await ask(world, mine, "POST", "/openai/v1/videos", {"model": "sora-2", "prompt": "x", "seconds": "4"})
    assert refused.headers["x-paig-error"] == "limit-exceeded"
    assert (await ask(world, mine, "GET", "/openai/v1/videos/video_1")).json()["status"] == "queued"
    echo.answer = as_json({**video, "status": "completed"})
    for _ in range(2):
        assert (await ask(world, mate, "GET", "/openai/v1/videos/video_1")).status_code == 200
    row = await row_is(world, made.headers["x-paig-request-id"], "0.8", "exact")
    assert row.usage["video_seconds"] == 8
    assert await spent(world, "film1") == (Decimal("0.8"), 0)
    assert await spent(world, "film2") == (0, 0)
    stranger = await key_for(world, "film3")
    hidden = await ask(world, stranger, "GET", "/openai/v1/videos/video_1")
    assert hidden.headers["x-paig-error"] == "not-found"


async def test_work_that_failed_costs_nothing(world: World, echo: Echo) -> None:
    """Its money is free again."""
    key = await key_for(world, "failing", daily="2")
    body = {"model": "sora-2-pro", "prompt": "x", "seconds": 4, "size": "1792x1024"}
    echo.answer = as_json({"id": "video_f", "status": "queued"})
    made = await ask(world, key, "POST", "/openai/v1/videos", body)
    await row_is(world, made.headers["x-paig-request-id"], "2", "ceiling")
    echo.answer = as_json({"id": "video_f", "status": "failed", "error": {"code": "x", "message": "no"}})
    await ask(world, key, "GET", "/openai/v1/videos/video_f")
    await row_is(world, made.headers["x-paig-request-id"], "0", "exact")
    assert await spent(world, "failing") == (0, 0)


VEO = {
    "instances": [{"prompt": "A cat"}],
    "parameters": {"sampleCount": 2, "durationSeconds": 8, "resolution": "1080p"},
}


async def test_a_video_at_google(world: World, echo: Echo) -> None:
    """By seconds, resolution and count; what a filter took away is not charged."""
    key = await key_for(world, "veo", daily="50")
    name = "models/veo-3.1-fast-generate-001/operations/op1"
    echo.answer = as_json({"name": name})
    made = await ask(world, key, "POST", "/google/v1beta/models/veo-3.1-fast-generate-001:predictLongRunning", VEO)
    row = await row_is(world, made.headers["x-paig-request-id"], "1.92", "ceiling")
    assert row.usage["video_seconds_1080p"] == 16
    assert (await ask(world, key, "GET", f"/google/v1beta/{name}")).status_code == 200
    done = {"generateVideoResponse": {"generatedSamples": [{"video": {}}], "raiMediaFilteredCount": 1}}
    echo.answer = as_json({"name": name, "done": True, "response": done})
    for _ in range(2):
        await ask(world, key, "GET", f"/google/v1beta/{name}")
    row = await row_is(world, made.headers["x-paig-request-id"], "0.96", "exact")
    assert row.usage["video_seconds_1080p"] == 8
    assert await spent(world, "veo") == (Decimal("0.96"), 0)


async def test_a_video_at_vertex(world: World, echo: Echo) -> None:
    """Which is asked for by a request that names the operation in its body."""
    key = await key_for(world, "vertex", daily="50")
    model = "/vertex/v1/projects/p/locations/us-central1/publishers/google/models/veo-3.1-generate-001"
    name = "projects/p/locations/us-central1/publishers/google/models/veo-3.1-generate-001/operations/op2"
    echo.answer = as_json({"name": name})
    made = await ask(world, key, "POST", f"{model}:predictLongRunning", {"instances": [{"prompt": "x"}]})
    await row_is(world, made.headers["x-paig-request-id"], "3.2", "ceiling")
    echo.answer = as_json({"name": name, "done": True, "response": {"videos": [{"gcsUri": "gs://x"}]}})
    stranger = await key_for(world, "stranger")
    hidden = await ask(world, stranger, "POST", f"{model}:fetchPredictOperation", {"operationName": name})
    assert hidden.headers["x-paig-error"] == "not-found"
    assert (await ask(world, key, "POST", f"{model}:fetchPredictOperation", {"operationName": name})).status_code == 200
    await row_is(world, made.headers["x-paig-request-id"], "3.2", "exact")


async def test_a_video_at_xai_costs_what_the_provider_says(world: World, echo: Echo) -> None:
    """The charge that the result states goes before the price list."""
    key = await key_for(world, "grok", daily="50")
    body = {"model": "grok-imagine-video", "prompt": "x", "duration": 10, "resolution": "720p"}
    echo.answer = as_json({"request_id": "r1"})
    made = await ask(world, key, "POST", "/xai/v1/videos/generations", body)
    await row_is(world, made.headers["x-paig-request-id"], "0.7", "ceiling")
    result = {"status": "done", "video": {"url": "u"}, "usage": {"cost_in_usd_ticks": 5_000_000_000}}
    echo.answer = as_json(result)
    await ask(world, key, "GET", "/xai/v1/videos/r1")
    row = await row_is(world, made.headers["x-paig-request-id"], "0.5", "exact")
    assert row.cost_source == "provider"


async def test_a_deferred_completion(world: World, echo: Echo) -> None:
    """Charged at its ceiling, then by the usage of the completion that is fetched."""
    key = await key_for(world, "deferred", daily="50")
    body = {"model": "grok-4.5", "messages": [{"role": "user", "content": "Hi"}], "deferred": True, "max_tokens": 100}
    echo.answer = as_json({"request_id": "d1"})
    made = await ask(world, key, "POST", "/xai/v1/chat/completions", body)
    row = await world.admin.request(made.headers["x-paig-request-id"])
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)
    echo.answer = Answer(b"", 202)
    assert (await ask(world, key, "GET", "/xai/v1/chat/deferred-completion/d1")).status_code == 202
    echo.answer = as_json(
        {
            "id": "other", "model": "grok-4.5", "choices": [{"message": {"role": "assistant", "content": "Hello"}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "cost_in_usd_ticks": 2_000_000},
        }
    )  # fmt: skip
    for _ in range(2):
        assert (await ask(world, key, "GET", "/xai/v1/chat/deferred-completion/d1")).status_code == 200
    row = await row_is(world, made.headers["x-paig-request-id"], "0.0002", "exact")
    assert (row.usage["input_tokens"], await spent(world, "deferred")) == (10, (Decimal("0.0002"), 0))


async def test_images_of_imagen(world: World, echo: Echo) -> None:
    """Held for as many as are asked for, charged for those that were made."""
    key = await key_for(world, "imagen", daily="5")
    body = {"instances": [{"prompt": "x"}], "parameters": {"sampleCount": 3}}
    made = [{"bytesBase64Encoded": "AA=="}, {"bytesBase64Encoded": "AA=="}, {"raiFilteredReason": "no"}]
    echo.answer = as_json({"predictions": made})
    for route, path in (("google", "/v1beta/models"), ("vertex", "/v1/publishers/google/models")):
        done = await ask(world, key, "POST", f"/{route}{path}/imagen-4.0-generate-001:predict", body)
        row = await row_is(world, done.headers["x-paig-request-id"], "0.08", "exact")
        assert (row.reserved, row.usage["images"], row.format) == (Decimal("0.12"), 2, "gemini-images")


async def test_a_guardrail_by_itself(world: World, echo: Echo) -> None:
    """By the units of each policy; words alone cost nothing."""
    key = await key_for(world, "guarded", daily="5")
    body = {"source": "INPUT", "content": [{"text": {"text": "x" * 1500}}]}
    usage = {"topicPolicyUnits": 2, "contentPolicyUnits": 2, "sensitiveInformationPolicyUnits": 2, "wordPolicyUnits": 2}
    echo.answer = as_json({"usage": usage, "action": "NONE", "outputs": [], "assessments": []})
    one = await ask(world, key, "POST", "/bedrock/guardrail/g1/version/1/apply", body)
    row = await row_is(world, one.headers["x-paig-request-id"], "0.0008", "exact")
    assert row.usage["guardrail_text_units"] == 4
    assert Decimal(row.reserved) >= Decimal(row.cost)
    echo.answer = as_json({"usage": {"topicPolicyUnits": 0, "wordPolicyUnits": 0}, "action": "NONE"})
    two = await ask(world, key, "POST", "/bedrock/guardrail/g1/version/1/apply", body)
    await row_is(world, two.headers["x-paig-request-id"], "0", "exact")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/videos", {"model": "sora-2", "prompt": "x", "seconds": "many"}),
        ("/google/v1beta/models/veo-3.1-generate-001:predictLongRunning", {"parameters": {"resolution": "8k"}}),
        ("/google/v1beta/models/veo-3.1-generate-001:predictLongRunning",
         {"parameters": {"sampleCount": 1, "sample_count": 4}}),
        ("/xai/v1/videos/generations", {"model": "grok-imagine-video", "resolution": "huge"}),
    ],
)  # fmt: skip
async def test_what_decides_the_price_must_be_readable(world: World, echo: Echo, path: str, body: object) -> None:
    """Else it is refused, and nothing is sent."""
    refused = await ask(world, world.key, "POST", path, body)
    assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "bad-request")
    assert echo.seen == []


async def test_a_model_without_a_price(world: World, echo: Echo) -> None:
    """Is refused, as everywhere; a resolution that has no price cannot be held under a cap."""
    refused = await ask(world, world.key, "POST", "/openai/v1/videos", {"model": "sora-9", "prompt": "x"})
    assert refused.headers["x-paig-error"] == "no-price"
    key = await key_for(world, "capped", daily="5")
    body = {"instances": [{"prompt": "x"}], "parameters": {"resolution": "4k"}}
    refused = await ask(world, key, "POST", "/google/v1beta/models/veo-2.0-generate-001:predictLongRunning", body)
    assert refused.headers["x-paig-error"] == "no-price"
    assert "video seconds 4k" in refused.text
    assert echo.seen == []
