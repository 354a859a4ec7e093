"""Endpoints that the gateway cannot meter: which keys may use them, flat prices, and what never passes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.resources import Request
from paig_client.api.specs import KeySpec, PriceSpec, ProviderSpec
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.gateway.end_to_end.echo import Echo, running_echo
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

SECRETS = "/v1/realtime/client_secrets"


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    """A provider that answers everything with the same JSON."""
    async with running_echo() as running:
        yield running


Made = Callable[..., Awaitable[World]]


@asynccontextmanager
async def world_of(home: Path, echo: Echo, *, allow: bool) -> AsyncIterator[World]:
    """A gateway before the echo, at two kinds of provider."""
    kinds = {"openai": "/v1", "google": "", "anthropic": ""}
    providers = {
        kind: ProviderSpec(
            kind=kind, base_url=echo.base + path, credential=f"value:{UPSTREAM_KEY}", allow_unmetered=allow
        )
        for kind, path in kinds.items()
    }
    async with running_world(home, providers) as world:
        yield world


async def send(world: World, method: str, path: str, key: str | None = None, body: object = None) -> httpx2.Response:
    """One request with a key."""
    headers = {"authorization": f"Bearer {key or world.key}"}
    return await world.http.request(method, f"/proxy{path}", headers=headers, json={} if body is None else body)


async def row(world: World, answer: httpx2.Response) -> Request:
    """The ledger's row of an answer."""
    return await world.admin.request(answer.headers["x-paig-request-id"])


async def test_they_need_a_word_of_the_operator(environment: None, echo: Echo, tmp_path: Path) -> None:
    """Without one they are refused, with what to write; the provider sees nothing."""
    async with world_of(tmp_path, echo, allow=False) as world:
        for path in (f"/openai{SECRETS}", "/google/v1beta/cachedContents", "/openai/v1/brand/new"):
            refused = await send(world, "POST", path)
            assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "no-price"), path
            assert "allow_unmetered" in refused.text
        assert echo.seen == []
        trusted = (await world.admin.keys.create("trusted", KeySpec(allow_unmetered=True))).key
        assert (await send(world, "POST", f"/openai{SECRETS}", trusted)).status_code == 200


async def test_allowed_they_pass_and_their_rows_say_unknown(environment: None, echo: Echo, tmp_path: Path) -> None:
    """Caches, client secrets, model lists and what is brand new; capped keys only by a word of their own."""
    async with world_of(tmp_path, echo, allow=True) as world:
        for method, path, certainty in (
            ("POST", f"/openai{SECRETS}", "unknown"),
            ("POST", "/google/v1beta/cachedContents", "unknown"),
            ("POST", "/openai/v1/brand/new", "unknown"),
            ("GET", "/openai/v1/models", "exact"),
            ("GET", "/google/v1beta/models", "exact"),
        ):
            answer = await send(world, method, path)
            assert answer.status_code == 200, path
            found = await row(world, answer)
            assert (found.certainty, found.cost) == (certainty, Decimal(0)), path
            assert bool(found.certainty_reason) == (certainty == "unknown")
        capped = await world.make_key("capped", daily=1)
        refused = await send(world, "POST", f"/openai{SECRETS}", capped)
        assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "no-price")
        assert "for the key 'capped'" in refused.text
        assert (await send(world, "GET", "/openai/v1/models", capped)).status_code == 200
        spec = KeySpec(limits=LimitsSpec(daily=Decimal(1)), allow_unmetered=True)
        trusted = (await world.admin.keys.create("trusted", spec)).key
        answer = await send(world, "POST", f"/openai{SECRETS}", trusted)
        assert (answer.status_code, (await row(world, answer)).certainty) == (200, "unknown")


async def test_a_flat_price_is_held_and_charged(environment: None, echo: Echo, tmp_path: Path) -> None:
    """An endpoint with a flat price needs no word, binds caps, and costs nothing when it fails."""
    async with world_of(tmp_path, echo, allow=False) as world:
        await world.admin.prices.create(
            "secrets", PriceSpec.model_validate({"model": "POST /realtime/client_secrets", "requests_kcount": "400"})
        )
        capped = await world.make_key("capped", daily=1)
        answers = [await send(world, "POST", f"/openai{SECRETS}", capped) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 402]
        found = await row(world, answers[0])
        assert (found.cost, found.reserved, found.certainty) == (Decimal("0.4"), Decimal("0.4"), "exact")
        echo.answer = replace(echo.answer, status=500)
        other = await world.make_key("other", daily=1)
        failed = await send(world, "POST", f"/openai{SECRETS}", other)
        assert (failed.status_code, (await row(world, failed)).cost) == (500, Decimal(0))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/openai/v1/organization/costs"),
        ("POST", "/openai/v1/organization/admin_api_keys"),
        ("POST", "/openai/v1/Organization/admin_api_keys"),
        ("POST", "/openai/v1/%6frganization/admin_api_keys"),
        ("GET", "/anthropic/v1/organizations/api_keys"),
        ("POST", "/anthropic/v1/tunnels/t/reveal_token"),
    ],
)
async def test_the_account_itself_is_never_passed(
    environment: None, echo: Echo, tmp_path: Path, method: str, path: str
) -> None:
    """Keys and money of the account stay out of reach, whatever is allowed."""
    async with world_of(tmp_path, echo, allow=True) as world:
        trusted = (await world.admin.keys.create("trusted", KeySpec(allow_unmetered=True))).key
        refused = await send(world, method, path, trusted)
        assert refused.headers.get("x-paig-error") in ("not-allowed", "no-price")
        assert refused.status_code in (400, 403)
        assert echo.seen == []


WHISPER = {"text": "hi", "usage": {"type": "duration", "seconds": 30}}


def form(model: str) -> tuple[dict[str, str], bytes]:
    """A form with a sound."""
    body = (
        f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--b\r\n'
        'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
    ).encode()
    return {"content-type": "multipart/form-data; boundary=b"}, body + b"\xff\xfb" + bytes(120_000) + b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("model", "answer", "cost", "certainty"),
    [
        ("whisper-1", WHISPER, "0.003", "exact"),
        ("whisper-1", {"text": "hi", "duration": 30.0}, "0.003", "exact"),
        ("whisper-1", {"text": "hi"}, "0.003", "estimated"),
        (
            "gpt-4o-transcribe",
            {
                "text": "hi",
                "usage": {
                    "type": "tokens", "input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100,
                    "input_token_details": {"audio_tokens": 900, "text_tokens": 100},
                },
            },
            "0.00665",
            "exact",
        ),
    ],
)  # fmt: skip
async def test_transcription_is_metered_under_a_cap(
    environment: None, echo: Echo, tmp_path: Path, model: str, answer: object, cost: str, certainty: str
) -> None:
    """By the second or by tokens, as the answer states; by the sound's length where it states nothing."""
    async with world_of(tmp_path, echo, allow=False) as world:
        echo.answer = replace(echo.answer, body=json.dumps(answer).encode())
        key = await world.make_key("capped", daily=1)
        headers, body = form(model)
        headers["authorization"] = f"Bearer {key}"
        got = await world.http.post("/proxy/openai/v1/audio/transcriptions", headers=headers, content=body)
        assert got.status_code == 200, got.text
        found = await row(world, got)
        assert (found.format, found.model, found.cost, found.certainty) == (
            "openai-transcription", model, Decimal(cost), certainty,
        )  # fmt: skip
        assert Decimal(found.cost or 0) <= Decimal(found.reserved)


async def test_models_in_forms_bind_keys(environment: None, echo: Echo, tmp_path: Path) -> None:
    """A key's models hold for a form's field as for a JSON member."""
    async with world_of(tmp_path, echo, allow=False) as world:
        key = (await world.admin.keys.create("only", KeySpec(models=["gpt-4o*"]))).key
        headers, body = form("whisper-1")
        headers["authorization"] = f"Bearer {key}"
        refused = await world.http.post("/proxy/openai/v1/audio/transcriptions", headers=headers, content=body)
        assert (refused.status_code, refused.headers["x-paig-error"]) == (403, "model-not-allowed")


async def test_speech_is_metered_and_streams(environment: None, echo: Echo, tmp_path: Path) -> None:
    """By the character, exactly; by the sound that came, where only tokens are priced."""
    sound = b"\xff\xfb" + bytes(9_598)
    async with world_of(tmp_path, echo, allow=False) as world:
        echo.answer = replace(echo.answer, content_type="audio/mpeg", body=sound)
        key = await world.make_key("capped", daily=1)
        body = {"model": "tts-1", "input": "é" * 100, "voice": "alloy"}
        got = await send(world, "POST", "/openai/v1/audio/speech", key, body)
        assert (got.status_code, got.content) == (200, sound)
        found = await row(world, got)
        assert (found.cost, found.certainty, found.format) == (Decimal("0.0015"), "exact", "openai-speech")
        got = await send(world, "POST", "/openai/v1/audio/speech", key, {**body, "model": "gpt-4o-mini-tts"})
        found = await row(world, got)
        assert found.certainty == "estimated"
        assert Decimal("0.0003") < Decimal(found.cost or 0) <= Decimal(found.reserved)


async def test_interactions_are_metered(environment: None, echo: Echo, tmp_path: Path) -> None:
    """Gemini's interactions: their tokens and searches; work in the background once, when its usage comes through."""
    usage = {
        "total_input_tokens": 1000,
        "total_output_tokens": 100,
        "total_thought_tokens": 50,
        "grounding_tool_count": [{"type": "google_search", "count": 1}],
    }
    done = {"id": "int_1", "model": "gemini-2.5-flash", "status": "completed", "outputs": [], "usage": usage}
    async with world_of(tmp_path, echo, allow=False) as world:
        key = await world.make_key("capped", daily=5)
        body = {
            **{"model": "gemini-2.5-flash", "input": "hi " * 2000, "tools": [{"type": "google_search"}]},
            "generation_config": {"max_output_tokens": 5000},
        }
        echo.answer = replace(echo.answer, body=json.dumps(done).encode())
        found = await row(world, await send(world, "POST", "/google/v1beta/interactions", key, body))
        assert (found.format, found.cost, found.certainty) == ("gemini-interactions", Decimal("0.035675"), "exact")
        assert found.raw_usage == usage
        started = {"id": "int_2", "model": "gemini-2.5-flash", "status": "in_progress"}
        echo.answer = replace(echo.answer, body=json.dumps(started).encode())
        first = await send(world, "POST", "/google/v1beta/interactions", key, {**body, "background": True})
        assert (await row(world, first)).certainty == "ceiling"
        echo.answer = replace(echo.answer, body=json.dumps({**done, "id": "int_2"}).encode())
        for _ in range(2):
            assert (await send(world, "GET", "/google/v1beta/interactions/int_2", key)).status_code == 200

        async def is_settled() -> bool:
            return (await row(world, first)).cost == Decimal("0.035675")

        await until(is_settled)
        spent = sum(Decimal(one.cost or 0) for one in (await world.admin.requests()).items)
        assert spent == 2 * Decimal("0.035675")
