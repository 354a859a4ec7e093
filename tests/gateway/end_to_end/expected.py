"""What a recording should cost, worked out from its bytes without the gateway's own code."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from botocore.eventstream import EventStreamBuffer
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Usage

from tests.recordings import Recording

PRICES = {
    "google-vertex": "google",
    "bedrock": "aws",
    "bedrock-mantle": "aws",
    "xai": "x-ai",
}


def sse(body: bytes) -> Iterator[Any]:
    """The JSON of each event of a stream."""
    for block in re.split(r"\r\n\r\n|\n\n|\r\r", body.decode("utf-8", "replace")):
        data = "\n".join(line[5:].lstrip(" ") for line in re.split(r"\r\n|\n|\r", block) if line.startswith("data:"))
        if data.strip().startswith("{"):
            yield json.loads(data)


def answer(recording: Recording) -> dict[str, Any] | None:
    """The answer as the non-streaming call would have given it, as far as usage goes."""
    body = recording.response_body
    if not recording.stream:
        try:
            found = json.loads(body)
        except ValueError:
            return None
        if isinstance(found, dict) and recording.provider == "voyageai" and "usage" in found:
            # Voyage's embeddings count all their tokens as one total.
            return {**found, "usage": {"prompt_tokens": found["usage"]["total_tokens"]}}
        return found if isinstance(found, dict) else None
    if "eventstream" in recording.response_headers.get("content-type", ""):
        return _frames(recording)
    merged: dict[str, Any] = {}
    for event in sse(body):
        if not isinstance(event, dict):
            continue
        if event.get("type") in ("response.completed", "response.incomplete", "response.failed"):
            merged = event["response"]
        elif event.get("type") == "message_start":
            merged = event["message"]
            merged["_start"] = True
        elif event.get("type") == "message_delta":
            merged["usage"] = {**merged["usage"], **{k: v for k, v in event["usage"].items() if v is not None}}
            merged.pop("_start", None)
        elif "usageMetadata" in event:
            usage = {**merged.get("usageMetadata", {}), **event["usageMetadata"]}
            merged = {"usageMetadata": usage, "modelVersion": event.get("modelVersion")}
        elif event.get("usage"):
            merged = event
        elif (event.get("x_groq") or {}).get("usage"):
            merged = {**event, "usage": event["x_groq"]["usage"]}
    return None if "_start" in merged else merged


def _frames(recording: Recording) -> dict[str, Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(recording.response_body)
    found: dict[str, Any] = {}
    for frame in buffer:
        payload = json.loads(frame.payload)
        if "usage" in payload:
            found = {"usage": payload["usage"]}
        elif "bytes" in payload:
            event = json.loads(base64.b64decode(payload["bytes"]))
            if event.get("type") == "message_start":
                found = {"usage": event["message"]["usage"]}
            elif event.get("type") == "message_delta":
                found["usage"] = {**found["usage"], **event["usage"]}
    return found


def _owner(recording: Recording) -> str:
    """The genai-prices provider that is paid."""
    if recording.provider == "huggingface":
        return "huggingface_" + recording.path.split("/")[1]
    name = recording.path.split("/")[1] if recording.provider == "hosted-gateway" else recording.provider
    return PRICES.get(name, name)


def _flavors(recording: Recording) -> tuple[tuple[str, str], ...]:
    """genai-prices' extractors that may read the answer: (provider, flavor)."""
    path, own = recording.path, _owner(recording)
    if path.endswith("/embeddings"):
        return ((own, "embeddings"), ("openai", "embeddings"))
    if path.endswith(("/responses", "/responses/compact")) or "/responses/resp_" in path:
        return ((own, "responses"), ("openai", "responses"))
    if path.endswith("/messages"):
        return ((own, "default"),)
    if "/invoke" in path:
        return ((own, "anthropic"),)
    if path.endswith("/embed"):
        return ((own, "embeddings"),)
    return ((own, "chat"), (own, "default"), ("openai", "chat"))


def usage(recording: Recording) -> Usage | None:
    """The recording's usage; None where its answer carries none."""
    body = answer(recording)
    if not body:
        return None
    for name, flavor in _flavors(recording):
        provider = next((known for known in get_snapshot().providers if known.id == name), None)
        try:
            if provider is not None:
                return provider.extract_usage(body, api_flavor=flavor)[1]
        except ValueError:
            continue
    return None


def cost(recording: Recording, found: Usage, at: datetime) -> Decimal | None:
    """What genai-prices asks for that usage; None where it knows no price."""
    body = answer(recording) or {}
    named = re.search(r"/models?/([^/:]+(?:%3A[^/:]+)*)", recording.path)
    asked = named.group(1).replace("%3A", ":") if named else json.loads(recording.request_body)["model"]
    price = None
    for ref in (body.get("model") or body.get("modelVersion"), asked):
        try:
            if price is None and ref:
                price = get_snapshot().find_provider_model(ref, None, _owner(recording), None)
        except LookupError:
            continue
    if price is None:
        return None
    provider, model = price
    context = {}
    if isinstance(tier := body.get("service_tier"), str) and tier != "auto":
        context["service_tier"] = tier
    if isinstance(speed := (body.get("usage") or {}).get("speed"), str):
        context["speed"] = speed
    return model.calc_price(found, provider, genai_request_timestamp=at, price_context=context).total_price
