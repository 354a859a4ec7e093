"""Anthropic's Messages API: whole and streamed answers, token counting, models."""

from __future__ import annotations

from typing import Any

from .faults import strip
from .operation import Operation, Shape, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .reply import Prompt, Reply, TokenCounts, Tool, count, effort
from .wire import Document, HeaderFields, encode, inner, new_id, objects, sse

# The model name in the answer, where it differs from the requested one.
SNAPSHOTS = {"claude-haiku-4-5": "claude-haiku-4-5-20251001", "claude-sonnet-4-5": "claude-sonnet-4-5-20250929"}
FINISH = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_MESSAGES = {
    401: "invalid x-api-key",
    429: "This request would exceed your organization's rate limit.",
    500: "Internal server error",
    529: "Overloaded",
}
_MODELS = ("claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5")
_MEDIA = {"image": "IMAGE", "document": "DOCUMENT", "container_upload": "DOCUMENT"}
VERSION = "2026-10-21"
"""The newest version of the API, which takes no sampling parameters."""
_VERSIONS = ("2023-01-01", "2023-06-01", VERSION)
_SAMPLING = ("temperature", "top_p", "top_k")
_FORCED = {"any": "required", "auto": "auto", "none": "none"}


def read_messages(request: SimulatedRequest, model: Any) -> Prompt:
    """Read a Messages body; Bedrock's invoke has the same shape."""
    fields = request.body
    if not isinstance(model, str):
        raise SimulatedRefusal(400, "model: Field required")
    prompt = Prompt(model=model, stream=bool(fields.get("stream")), marks=[])
    tools = objects(fields.get("tools"))
    offered = [Tool(tool["name"], tool["input_schema"]) for tool in tools if "input_schema" in tool]
    prompt.offer(tools, offered)
    for tool in tools:
        _mark(prompt, tool.get("cache_control"))
    _blocks(prompt, fields.get("system"), {})
    names: dict[str, str] = {}
    for message in fields["messages"]:
        found = _blocks(prompt, message["content"], names)
        if message["role"] == "user":
            prompt.user(found)
    if "cache_control" in fields:  # automatic: up to the last block
        _mark(prompt, fields["cache_control"])
    choice = inner(fields, "tool_choice")
    prompt.choice = choice.get("name") or _FORCED.get(choice.get("type", "auto"), "auto")
    prompt.limit = None if fields.get("max_tokens") is None else int(fields["max_tokens"])
    output = inner(fields, "output_config")
    prompt.schema = inner(output, "format").get("schema")
    if inner(fields, "thinking").get("type") in ("enabled", "adaptive"):
        prompt.reasoning = effort(model, output.get("effort", "medium"))
    return prompt


def _mark(prompt: Prompt, control: Any) -> None:
    """A cache mark: everything before it may be cached."""
    if control and prompt.marks is not None and prompt.texts:
        prompt.marks.append(len(prompt.texts))
        prompt.ttl = control.get("ttl", "")


def _blocks(prompt: Prompt, content: Any, names: dict[str, str]) -> list[str]:
    """Add a message's content and cache marks to the prompt; return the texts of its text blocks."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    found: list[str] = []
    for block in content or ():
        kind = block["type"]
        if kind == "text":
            found.append(block["text"])
            prompt.texts.append(block["text"])
        elif kind == "tool_use":
            names[block["id"]] = block["name"]
            prompt.texts += [block["name"], encode(block["input"]).decode()]
        elif kind == "tool_result":
            prompt.answered(names.get(block["tool_use_id"], "tool"), _blocks(prompt, block.get("content"), names))
        elif kind == "thinking":
            prompt.texts.append(block["thinking"])
        elif kind == "document" and block["source"]["type"] == "text":
            prompt.texts.append(block["source"]["data"])
        elif kind in _MEDIA:
            prompt.attach(_MEDIA[kind])
        _mark(prompt, block.get("cache_control"))
    return found


def _read(request: SimulatedRequest) -> Prompt:
    version = request.headers.get(b"anthropic-version", b"2023-06-01").decode("latin-1")
    if version not in _VERSIONS:
        raise SimulatedRefusal(400, f"anthropic-version: {version} is not a valid version")
    check_sampling(request, version)
    prompt = read_messages(request, request.body.get("model"))
    if prompt.limit is None:
        raise SimulatedRefusal(400, "max_tokens: Field required")
    return prompt


def check_sampling(request: SimulatedRequest, version: str) -> None:
    """Refuse what the newest version of the API no longer takes.

    Raises:
        SimulatedRefusal: 400.
    """
    if version == VERSION and (given := [name for name in _SAMPLING if name in request.body]):
        raise SimulatedRefusal(400, f"{given[0]}: Extra inputs are not permitted")


def check_foreign(request: SimulatedRequest, version: str, *, stream: bool | None = None) -> None:
    """Check what Bedrock and Vertex AI require of a Messages body: their own version, the model only in the path.

    Raises:
        SimulatedRefusal: 400.
    """
    if request.body.get("anthropic_version") not in (version, VERSION):
        raise SimulatedRefusal(400, f"anthropic_version: must be {version} or {VERSION}")
    check_sampling(request, str(request.body["anthropic_version"]))
    if "model" in request.body:
        raise SimulatedRefusal(400, "model: Extra inputs are not permitted")
    if stream is None and "stream" in request.body:
        raise SimulatedRefusal(400, "stream: Extra inputs are not permitted")
    if stream is not None and bool(request.body.get("stream")) != stream:
        raise SimulatedRefusal(400, "stream: does not fit the method")


def _read_vertex(request: SimulatedRequest) -> Prompt:
    check_foreign(request, "vertex-2023-10-16", stream=request.params["action"] == "streamRawPredict")
    return read_messages(request, request.params["model"])


def usage(tokens: TokenCounts, ttl: str) -> Document:
    """The usage of a whole message; input tokens exclude tokens read from or written to the cache."""
    return {
        "input_tokens": tokens.plain,
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 0 if ttl == "1h" else tokens.written,
            "ephemeral_1h_input_tokens": tokens.written if ttl == "1h" else 0,
        },
        "output_tokens": tokens.output,
    }


def message(reply: Reply, ttl: str, tier: str, prefix: str = "msg_01") -> Document:
    """The whole message."""
    content: list[Document] = []
    if reply.thought:
        content.append({"type": "thinking", "thinking": reply.thought, "signature": new_id("EqoB", 40)})
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    for call in reply.calls:
        content.append({"type": "tool_use", "id": new_id("toolu_01", 22), "name": call.name, "input": call.arguments})
    return {
        "model": SNAPSHOTS.get(reply.model, reply.model),
        "id": new_id(prefix, 22),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": FINISH[reply.finish],
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            **usage(reply.tokens, ttl),
            "service_tier": tier,
            "inference_geo": "global",
            "output_tokens_details": {"thinking_tokens": reply.tokens.reasoning},
        },
    }


def stream_events(whole: Document, reply: Reply, *, no_usage: bool) -> list[Document]:
    """The events that add up to the message."""
    counted: Document = whole["usage"]
    details = counted["output_tokens_details"]
    # The first event's output count is a placeholder: the stream has hardly begun.
    begun = {name: value for name, value in counted.items() if name != "output_tokens_details"} | {"output_tokens": 1}
    empty: Document = {"content": [], "stop_reason": None, "usage": begun}
    events: list[Document] = [{"type": "message_start", "message": {**whole, **empty}}]
    for index, block in enumerate(whole["content"]):
        deltas: list[Document]
        if block["type"] == "text":
            start: Document = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces]
        elif block["type"] == "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            start = {**block, "input": {}}
            text = encode(block["input"]).decode()
            half = len(text) // 2
            parts = ("", text[:half], text[half:])
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        if index == 0:
            events.append({"type": "ping"})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    totals = {**{name: counted[name] for name in names}, "output_tokens_details": details}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None, "stop_details": None}
    events.append({"type": "message_delta", "delta": delta, **({} if no_usage else {"usage": totals})})
    return [*events, {"type": "message_stop"}]


def _tier(request: SimulatedRequest) -> str:
    asked = request.body.get("service_tier")
    return "standard" if asked in (None, "auto", "standard_only") else str(asked)


def _headers() -> HeaderFields:
    return (
        (b"request-id", new_id("req_011C", 20).encode()),
        (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
    )


def whole(value: Document) -> SimulatedAnswer:
    """A whole answer."""
    return SimulatedAnswer(b"application/json", encode(value), headers=_headers())


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    reply = request.reply(prompt)
    whole_message = message(reply, prompt.ttl, _tier(request))
    no_usage = request.faults.no_usage
    if prompt.stream:
        events = [sse(event, event["type"]) for event in stream_events(whole_message, reply, no_usage=no_usage)]
        headers = (*_headers(), (b"cache-control", b"no-cache"))
        answer = SimulatedAnswer(b"text/event-stream; charset=utf-8", events=events, headers=headers)
    else:
        if no_usage:
            del whole_message["usage"]
        answer = whole(whole_message)
    answer.tokens = reply.tokens
    return answer


def _write_count(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    return whole({"input_tokens": count(prompt).input})


def _models(request: SimulatedRequest) -> SimulatedAnswer:
    def shown(name: str) -> Document:
        return {"type": "model", "id": name, "display_name": name, "created_at": "2025-10-01T00:00:00Z"}

    if (name := request.params.get("id")) is not None:
        return whole(shown(strip(name)))
    data = [shown(name) for name in _MODELS]
    return whole({"data": data, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]})


def error_body(status: int, text: str | None, request_id: str | None) -> Document:
    """The error, as a body or as an event."""
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    message = text or _MESSAGES.get(status, f"The simulated provider answers {status}.")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _error(family: str, status: int, text: str | None) -> SimulatedAnswer:
    headers = _headers()
    value = error_body(status, text, headers[0][1].decode())
    return SimulatedAnswer(b"application/json", encode(value), status=status, headers=headers)


SHAPE = Shape(_error, lambda request, sent: sse(error_body(529, None, None), "error"))
OPERATION = Operation(_read, _write, SHAPE)
VERTEX = Operation(_read_vertex, _write, SHAPE)
COUNT = Operation(lambda request: read_messages(request, request.body.get("model")), _write_count, SHAPE, free=True)
MODELS = free(SHAPE, _models)
