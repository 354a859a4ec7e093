"""Formats that a provider serves under another path, in another wrapping: Anthropic's Messages on Bedrock and Vertex.

An adapter packs the request as the provider wants it, and unpacks the answer into the format's original shape. Members
of a body that are not named here keep their bytes and their order.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from paig_gateway.domain.http import Headers
from paig_gateway.formats import reading
from paig_gateway.formats.base import MalformedRequest, StreamEvent
from paig_gateway.formats.errors import error_kind

_METRICS = "amazon-bedrock-invocationMetrics"
# Bedrock's names of exceptions, and the statuses that they stand for.
_EXCEPTIONS = {
    "throttlingException": 429,
    "serviceQuotaExceededException": 429,
    "serviceUnavailableException": 529,
    "modelTimeoutException": 504,
    "validationException": 400,
    "accessDeniedException": 403,
    "resourceNotFoundException": 404,
}


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """A request for the provider: the address after the base URL, the headers and the decoded body."""

    path: str
    query: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Adapter:
    """How a kind of provider sends and receives a format in a wrapping of its own.

    Attributes:
        pack: The request for the provider, given the model's name there and whether it is to be streamed.
        native: Whether a path has the provider's own spelling already, so that nothing is changed.
        unframe: The server-sent event for a frame of an AWS event stream; None if streams come as they are.
    """

    pack: Callable[[OutboundRequest, str, bool], OutboundRequest]
    native: Callable[[str], bool] = lambda path: False
    unframe: Callable[[StreamEvent], bytes] | None = None


def _beta(headers: Headers) -> list[str]:
    """The names in `anthropic-beta` headers."""
    values = b",".join(value for name, value in headers if name == b"anthropic-beta").decode("latin-1")
    return [name.strip() for name in values.split(",") if name.strip()]


def _segment(model: str) -> str:
    if model.strip(".") == "":
        raise MalformedRequest(f"'{model}' is not a valid model name.")
    return quote(model, safe="")


def _changed(body: bytes, drop: frozenset[str], add: Mapping[str, object]) -> bytes:
    """A JSON object without some members, and with others added at its end."""
    kept: dict[str, object] = {name: raw for name, raw in reading.request(body).items() if name not in drop}
    return msgspec.json.encode({**kept, **add})


def _is_at_home(path: str) -> bool:
    return path.rstrip("/").endswith("/messages")


def to_bedrock(outbound: OutboundRequest, model: str, stream: bool) -> OutboundRequest:
    """InvokeModel takes the native body: without `model` and `stream`, with a version of its own, betas inside.

    `service_tier` is left out, since only Anthropic has it.
    """
    body = reading.request(outbound.body)
    betas = reading.value(body.get("anthropic_beta"))
    names = [name for name in betas if isinstance(name, str)] if isinstance(betas, list) else []
    added = {"anthropic_version": "bedrock-2023-05-31"}
    beta = list(dict.fromkeys([*names, *_beta(outbound.headers)]))
    return OutboundRequest(
        path=f"/model/{_segment(model)}/{'invoke-with-response-stream' if stream else 'invoke'}",
        query=b"",
        headers=[
            *(pair for pair in outbound.headers if pair[0] != b"accept" and not pair[0].startswith(b"anthropic-")),
            (b"accept", b"application/json"),
        ],
        body=_changed(
            outbound.body,
            frozenset({"model", "stream", "service_tier", "anthropic_version", "anthropic_beta"}),
            {**added, **({"anthropic_beta": beta} if beta else {})},
        ),
    )


def to_vertex(outbound: OutboundRequest, model: str, stream: bool) -> OutboundRequest:
    """`rawPredict` takes the native body: without `model`, with a version of its own; betas stay a header."""
    verb = "streamRawPredict" if stream else "rawPredict"
    return OutboundRequest(
        path=f"/v1/publishers/anthropic/models/{_segment(model)}:{verb}",
        query=b"",
        headers=outbound.headers,
        body=_changed(
            outbound.body,
            frozenset({"model", "service_tier", "anthropic_version"}),
            {"anthropic_version": "vertex-2023-10-16"},
        ),
    )


def to_anthropic(outbound: OutboundRequest, model: str, stream: bool) -> OutboundRequest:
    """Anthropic itself: a request in Vertex's spelling is changed back into Anthropic's."""
    headers = [pair for pair in outbound.headers if pair[0] != b"anthropic-version"]
    return OutboundRequest(
        path="/v1/messages",
        query=b"",
        headers=[*headers, (b"anthropic-version", b"2023-06-01")],
        body=_changed(
            outbound.body, frozenset({"anthropic_version", "model", "stream"}), {"model": model, "stream": stream}
        ),
    )


def unframed(frame: StreamEvent) -> bytes:
    """The server-sent event that a frame of Bedrock's carries; an exception becomes an event of type `error`."""
    if frame.is_exception:
        status = _EXCEPTIONS.get(frame.name, 500)
        message = reading.string(reading.members(frame.data).get("message")) or frame.name
        return _event("error", msgspec.json.encode(_error(status, message)))
    raw = reading.members(frame.data).get("bytes")
    if raw is None:
        return b""
    try:
        inner = base64.b64decode(reading.string(raw) or "", validate=True)
    except ValueError:
        return b""
    top = reading.members(inner)
    if _METRICS in top:
        inner = _changed(inner, frozenset({_METRICS}), {})
    return _event(reading.string(top.get("type")) or "message", inner)


def error_at_home(status: int, body: bytes) -> bytes:
    """An error of Bedrock's or Google's in Anthropic's shape; one in that shape is unchanged."""
    top = reading.members(body)
    if not top and (first := reading.objects(body)):
        top = first[0]
    if reading.string(top.get("type")) == "error":
        return body
    inner = reading.members(top.get("error"))
    messages = [reading.string(part.get(name)) for part in (inner, top) for name in ("message", "Message")]
    message = next(filter(None, messages), None)
    return msgspec.json.encode(_error(status, message or body[:500].decode("utf-8", "replace")))


def _error(status: int, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": error_kind("anthropic", status), "message": message}}


def _event(name: str, data: bytes) -> bytes:
    # Bedrock's JSON has no line ends; any would end the field.
    lines = b"\ndata: ".join(data.splitlines())
    return b"event: " + name.encode() + b"\ndata: " + lines + b"\n\n"


BEDROCK = Adapter(to_bedrock, unframe=unframed)
VERTEX = Adapter(to_vertex, native=lambda path: not _is_at_home(path))
ANTHROPIC = Adapter(to_anthropic, native=_is_at_home)
