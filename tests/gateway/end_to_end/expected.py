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
    """What the answer costs; None where genai-prices knows no price.

    Tokens cost what genai-prices asks for them. To that come searches, the iterations of other models, and Google's
    flex tier, which the price book leaves out; and what a provider says that it charges goes before all of it.
    """
    body = answer(recording) or {}
    usage = body.get("usage") or {}
    if recording.provider == "openrouter" and "cost" in usage:
        return Decimal(str(usage["cost"]))
    named = re.search(r"/models?/([^/:]+(?:%3A[^/:]+)*)", recording.path)
    asked = named.group(1).replace("%3A", ":") if named else json.loads(recording.request_body)["model"]
    tokens = None
    for ref in (body.get("model") or body.get("modelVersion"), asked):
        if tokens is None and ref:
            tokens = _tokens(recording, body, ref, found, at)
    if tokens is None:
        return None
    if (body.get("usageMetadata") or {}).get("trafficType") == "ON_DEMAND_FLEX":
        tokens /= 2
    others = Decimal(0)
    for entry in usage.get("iterations") or []:
        if entry["type"] == "advisor_message":
            counts = Usage(input_tokens=entry["input_tokens"], output_tokens=entry["output_tokens"])
            others += _tokens(recording, {}, entry["model"], counts, at) or 0
    return tokens + others + searches(body) * Decimal("0.01")


def searches(body: dict[str, Any]) -> int:
    """Web searches of OpenAI's Responses API; Anthropic's are in the usage that genai-prices prices."""
    stated = ((body.get("tool_usage") or {}).get("web_search") or {}).get("num_requests")
    if stated is not None:
        return int(stated)
    output = body.get("output")
    items = output if isinstance(output, list) else []
    calls = [item for item in items if item.get("type") == "web_search_call"]
    return sum((item.get("action") or {}).get("type") in (None, "search") for item in calls)


def certainties(recording: Recording, priced: bool) -> set[str]:
    """How the cost of the answer may be known."""
    blocks = (answer(recording) or {}).get("content") or []
    names = [
        block.get("name") for block in blocks if isinstance(block, dict) and block.get("type") == "server_tool_use"
    ]
    if any(name and "code_execution" in name for name in names):
        return {"estimated"}  # containers are billed by the hour
    return {"exact"} if priced or recording.provider in ("ollama", "oddball") else {"unknown"}


def _tokens(recording: Recording, body: dict[str, Any], ref: str, found: Usage, at: datetime) -> Decimal | None:
    if recording.provider == "bedrock-mantle" and ref.startswith("openai.gpt-oss"):
        ref += "-1:0"  # this address of Bedrock leaves the version out
    try:
        provider, model = get_snapshot().find_provider_model(ref, None, _owner(recording), None)
    except LookupError:
        return None
    context = {}
    if isinstance(tier := body.get("service_tier"), str) and tier != "auto":
        context["service_tier"] = tier
    if isinstance(speed := (body.get("usage") or {}).get("speed"), str):
        context["speed"] = speed
    return model.calc_price(found, provider, genai_request_timestamp=at, price_context=context).total_price
