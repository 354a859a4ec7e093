"""Sound, images, videos and files by the providers' own SDKs, with the simulator as provider: each row is right."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from paig_client.api.resources import Request
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.gemini_media import PNG
from paig_gateway.simulator.sound import wav
from paig_gateway.simulator.videos import MP4
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.waiting import until

pytestmark = [
    pytest.mark.anyio,
    # The SDKs' own calls for translation, OpenAI's videos, Imagen and Veo warn of models that will end.
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore:Sending a large body directly"
    ),  # google-genai's, of its own asynchronous upload
    pytest.mark.filterwarnings("ignore:The generate_(images|videos) method"),
]

MILLION = 1_000_000


@pytest.fixture
async def client(simulated: World) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's SDK, aimed at the gateway."""
    async with openai.AsyncOpenAI(api_key=simulated.key, base_url=f"{simulated.origin}/proxy/openai/v1") as sdk:
        yield sdk


async def newest(world: World, fmt: str) -> Request:
    """The newest row, which is of that format, once it is settled."""
    found: list[Request] = []

    async def is_there() -> bool:
        found[:] = [row for row in (await world.admin.requests(limit=1)).items if row.format == fmt and row.certainty]
        return bool(found)

    await until(is_there)
    return found[0]


@pytest.mark.parametrize(
    ("model", "reply", "cost"),
    [
        ("whisper-1", "json", Decimal("0.0003")),  # $0.006 a minute: three seconds
        ("whisper-1", "verbose_json", Decimal("0.0003")),
        ("gpt-4o-transcribe", "json", None),
        ("gpt-4o-mini-transcribe", "stream", None),
    ],
)
async def test_transcription(
    simulated: World, client: openai.AsyncOpenAI, model: str, reply: str, cost: Decimal | None
) -> None:
    """By the second or by tokens, as the answer states."""
    file = ("three-seconds.wav", wav(3.0), "audio/wav")
    usage: Any = None
    if reply == "stream":
        stream = await client.audio.transcriptions.create(model=model, file=file, stream=True)
        async for event in stream:
            if event.type == "transcript.text.done":
                usage = event.usage
    else:
        form: Any = reply
        answer: Any = await client.audio.transcriptions.create(model=model, file=file, response_format=form)
        assert answer.text
        usage = answer.usage
    row = await newest(simulated, "openai-transcription")
    assert (row.certainty, row.status, row.model) == ("exact", 200, model)
    if cost is None:
        heard, told, written = (Decimal(6), Decimal("2.5"), 10) if "mini" not in model else (3, Decimal("1.25"), 5)
        detail = usage.input_token_details
        cost = heard * detail.audio_tokens + told * detail.text_tokens + written * usage.output_tokens
        cost /= MILLION
        assert detail.audio_tokens == 30
    assert row.cost == cost


async def test_translation_and_speech(simulated: World, client: openai.AsyncOpenAI) -> None:
    """Whisper by the second, `tts-1` by the character, `gpt-4o-mini-tts` by the tokens that its events state."""
    answer = await client.audio.translations.create(model="whisper-1", file=("a.wav", wav(2.0), "audio/wav"))
    assert "Hello from whisper-1" in answer.text
    row = await newest(simulated, "openai-transcription")
    assert (row.cost, row.certainty) == (Decimal("0.0002"), "exact")
    said: dict[str, Any] = {"voice": "alloy", "input": "Hello there, you!"}
    spoken = await client.audio.speech.create(model="tts-1", response_format="wav", **said)
    assert (await spoken.aread())[:4] == b"RIFF"
    row = await newest(simulated, "openai-speech")
    assert (row.cost, row.certainty) == (17 * Decimal("0.000015"), "exact")
    async with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", stream_format="sse", **said
    ) as streamed:
        text = (await streamed.read()).decode()
    assert "speech.audio.done" in text
    row = await newest(simulated, "openai-speech")
    tokens = row.usage or {}
    assert (row.certainty, tokens["input_tokens"], tokens["output_tokens"]) == ("exact", 5, 22)
    assert row.cost == (Decimal("0.6") * 5 + 12 * 22) / MILLION


@pytest.mark.parametrize("way", ["generate", "edit", "stream"])
async def test_images(simulated: World, client: openai.AsyncOpenAI, way: str) -> None:
    """By the tokens that the answer states: text, pictures that came in, pictures that came out."""
    usage: Any = None
    if way == "generate":
        made = await client.images.generate(model="gpt-image-1.5", prompt="A cat", n=2, quality="low")
        assert [bool(image.b64_json) for image in made.data or []] == [True, True]
        usage = made.usage
    elif way == "edit":
        made = await client.images.edit(
            model="gpt-image-1.5", prompt="A dog", image=[("a.png", PNG, "image/png"), ("b.png", PNG, "image/png")]
        )
        usage = made.usage
    else:
        stream = await client.images.generate(model="gpt-image-1.5", prompt="A cow", stream=True, partial_images=1)
        async for event in stream:
            if event.type == "image_generation.completed":
                usage = event.usage
    row = await newest(simulated, "openai-images")
    assert usage.output_tokens == {"generate": 544, "edit": 1056, "stream": 1056}[way]
    assert usage.input_tokens_details.image_tokens == (512 if way == "edit" else 0)
    details = usage.input_tokens_details
    cost = 5 * details.text_tokens + 8 * details.image_tokens + 32 * usage.output_tokens
    assert (row.certainty, row.cost) == ("exact", Decimal(cost) / MILLION)


async def test_a_video_from_its_prompt_to_its_film(simulated: World, client: openai.AsyncOpenAI) -> None:
    """The SDK makes it, waits for it and downloads it; charged once, by its seconds. One that failed costs nothing."""
    made = await client.videos.create_and_poll(model="sora-2", prompt="A cat", seconds="8", poll_interval_ms=20)
    assert (made.status, made.seconds) == ("completed", "8")
    assert await (await client.videos.download_content(made.id)).aread() == MP4

    async def charged(cost: Decimal) -> bool:
        rows = (await simulated.admin.requests(limit=20)).items
        work = next(row for row in rows if row.format == "openai-videos")
        return (work.cost, work.certainty) == (cost, "exact")

    await until(lambda: charged(Decimal("0.8")))
    await client.videos.delete(made.id)
    failed = await client.videos.create_and_poll(model="sora-2", prompt="A dog [video:fail]", poll_interval_ms=20)
    assert failed.status == "failed"
    await until(lambda: charged(Decimal(0)))


def google(world: World, route: str) -> genai.Client:
    """google-genai, aimed at the gateway."""
    options = types.HttpOptions(base_url=f"{world.origin}/proxy/{route}")
    if route == "google":
        return genai.Client(api_key=world.key, http_options=options)
    return genai.Client(vertexai=True, api_key=world.key, http_options=options)


async def test_imagen(simulated: World) -> None:
    """By the image; the SDK has it at Vertex AI alone."""
    client = google(simulated, "google-vertex")
    try:
        images = await client.aio.models.generate_images(
            model="imagen-4.0-generate-001", prompt="A cat", config=types.GenerateImagesConfig(number_of_images=2)
        )
    finally:
        await client.aio.aclose()
        client.close()
    assert [image.image.image_bytes == PNG for image in images.generated_images or [] if image.image] == [True] * 2
    row = await newest(simulated, "gemini-images")
    assert (row.cost, row.certainty) == (Decimal("0.08"), "exact")


@pytest.mark.parametrize("route", ["google", "google-vertex"])
async def test_veo(simulated: World, route: str) -> None:
    """A video that is polled for and charged once."""
    client = google(simulated, route)
    try:
        work = await client.aio.models.generate_videos(
            model="veo-3.1-generate-preview", prompt="A cat", config=types.GenerateVideosConfig(duration_seconds=8)
        )
        for _ in range(3):
            work = await client.aio.operations.get(work)
        assert work.done
        assert work.response is not None
        assert work.response.generated_videos
    finally:
        await client.aio.aclose()
        client.close()

    async def charged() -> bool:
        rows = (await simulated.admin.requests(limit=20)).items
        made = next(row for row in rows if row.format == "gemini-videos")
        return (made.certainty, made.cost) == ("exact", Decimal("3.2"))  # eight seconds at $0.40

    await until(charged)


async def test_google_genais_own_upload(simulated: World, simulator: Simulator, tmp_path: Path) -> None:
    """A file of three pieces (the SDK sends 8 MB at a time): it comes whole, and its owner finds and deletes it."""
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(range(256)) * (20 * 4096))
    client = google(simulated, "google")
    try:
        made = await asyncio.to_thread(
            client.files.upload, file=big, config=types.UploadFileConfig(mime_type="application/octet-stream")
        )
        assert (made.size_bytes, made.state) == (big.stat().st_size, types.FileState.ACTIVE)
        assert made.name is not None
        assert (await client.aio.files.get(name=made.name)).sha256_hash == made.sha256_hash
        again = await client.aio.files.upload(
            file=io.BytesIO(big.read_bytes()), config=types.UploadFileConfig(mime_type="application/octet-stream")
        )
        assert again.sha256_hash == made.sha256_hash
        await client.aio.files.delete(name=made.name)
    finally:
        await client.aio.aclose()
        client.close()


@pytest.mark.parametrize("route", ["anthropic", "bedrock", "google-vertex"])
async def test_the_newest_anthropic_version(simulated: World, route: str) -> None:
    """As today's SDK sends it by itself to each host of Claude; sampling parameters are refused there, betas pass."""
    base = f"{simulated.origin}/proxy/{route}"
    hi: Any = [{"role": "user", "content": "Hello"}]
    sdk: Any
    if route == "anthropic":
        sdk = anthropic.AsyncAnthropic(api_key=simulated.key, base_url=base, max_retries=0)
    elif route == "bedrock":
        sdk = anthropic.AsyncAnthropicBedrock(
            aws_access_key=simulated.key, aws_secret_key="unused", aws_region="us-east-1", base_url=base, max_retries=0
        )
    else:
        sdk = anthropic.AsyncAnthropicVertex(
            access_token=simulated.key, project_id="p", region="global", base_url=f"{base}/v1", max_retries=0
        )
    model = {"bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}.get(route, "claude-sonnet-4-5")
    async with sdk:
        answer = await sdk.beta.messages.create(
            model=model,
            max_tokens=50,
            messages=hi,
            betas=["files-api-2025-04-14", "newer-than-paig-2026-11-01"],
        )
        row = (await simulated.admin.requests(limit=1)).items[0]
        assert (row.status, row.certainty) == (200, "exact")
        assert (row.usage or {})["output_tokens"] == answer.usage.output_tokens
        with pytest.raises(anthropic.BadRequestError, match="temperature"):
            await sdk.messages.create(model=model, max_tokens=50, messages=hi, extra_body={"temperature": 0.5})


async def test_geminis_images_and_speech(simulated: World) -> None:
    """Whole and streamed: the tokens of an image and of speech have prices of their own."""
    google = genai.Client(api_key=simulated.key, http_options={"base_url": f"{simulated.origin}/proxy/google"})
    image = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
    drawn = await google.aio.models.generate_content(model="gemini-2.5-flash-image", contents="A heron", config=image)
    parts = (drawn.candidates or [])[0].content
    assert parts is not None
    assert [part.inline_data.data for part in parts.parts or [] if part.inline_data] == [PNG]
    row = await newest(simulated, "gemini")
    assert (row.certainty, row.usage["output_image_tokens"]) == ("exact", 1290)
    assert Decimal(row.cost or 0) >= Decimal(30) * 1290 / MILLION
    voice = types.PrebuiltVoiceConfig(voice_name="Kore")
    speech = types.GenerateContentConfig(
        response_modalities=["AUDIO"],
        speech_config=types.SpeechConfig(voice_config=types.VoiceConfig(prebuilt_voice_config=voice)),
    )
    heard = b""
    async for chunk in await google.aio.models.generate_content_stream(
        model="gemini-2.5-flash-preview-tts", contents="Say it: thirty-two letters, or so", config=speech
    ):
        for candidate in chunk.candidates or []:
            for part in (candidate.content.parts or []) if candidate.content else []:
                heard += part.inline_data.data or b"" if part.inline_data else b""
    await google.aio.aclose()
    assert len(heard) == 3 * 2 * 24_000
    row = await newest(simulated, "gemini")
    assert (row.certainty, row.usage["output_audio_tokens"]) == ("exact", 75)
    assert Decimal(10) * 75 / MILLION <= Decimal(row.cost or 0) < Decimal(row.reserved)
