"""Shared by OpenAI's APIs and compatible ones: headers, errors, message parts, the list of models."""

from __future__ import annotations

import random
from typing import Any

from .faults import strip
from .operation import Shape, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .reply import Prompt, Tool
from .wire import Document, HeaderFields, encode, inner, new_id, pretty, sse

# The model name in the answer, where it differs from the requested one.
SNAPSHOTS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "o3": "o3-2025-04-16",
    "o4-mini": "o4-mini-2025-04-16",
}
_MODELS = {
    "groq": ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
    "mistral": ("mistral-small-latest", "mistral-large-latest"),
}
_KINDS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_MESSAGES = {
    401: "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The engine is currently overloaded, please try again later.",
}
_MEDIA = {
    "image_url": "IMAGE",
    "input_image": "IMAGE",
    "input_audio": "AUDIO",
    "video_url": "VIDEO",
    "file": "DOCUMENT",
    "input_file": "DOCUMENT",
    "document_url": "DOCUMENT",
}
_PADDING = "kRzu8Wq4TnVbYxEa"


def answered_model(request: SimulatedRequest, model: str) -> str:
    """The name that the provider puts in its answer."""
    return SNAPSHOTS.get(model, model) if request.family in ("openai", "azure") else model


def headers(family: str) -> HeaderFields:
    """The response headers of the family."""
    if family == "groq":
        return ((b"x-request-id", new_id("req_", 26).encode()), (b"cache-control", b"private, max-age=0, no-store"))
    if family == "mistral":
        return ((b"mistral-correlation-id", new_id("", 32).encode()),)
    return (
        (b"x-request-id", new_id("req_", 32).encode()),
        (b"openai-version", b"2020-10-01"),
        (b"openai-organization", b"simulated"),
        (b"openai-processing-ms", b"1"),
    )


def body(request: SimulatedRequest, value: Document) -> SimulatedAnswer:
    """A whole answer; OpenAI indents its JSON."""
    data = pretty(value) if request.family == "openai" else encode(value)
    return SimulatedAnswer(b"application/json", data, headers=headers(request.family))


def stream(request: SimulatedRequest, events: list[bytes]) -> SimulatedAnswer:
    """A streamed answer."""
    kind = b"text/event-stream" if request.family == "groq" else b"text/event-stream; charset=utf-8"
    return SimulatedAnswer(kind, events=events, headers=headers(request.family))


def padding(text: str) -> str:
    """The `obfuscation` that hides a delta's length."""
    return _PADDING[len(text) % 16 :]


def error_object(family: str, status: int, message: str | None) -> Document:
    """The error body in the family's shape."""
    kind, code = _KINDS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    text = message or _MESSAGES.get(status, f"The simulated provider answers {status}.")
    if family == "mistral":
        if status == 401:
            return {"detail": "Unauthorized"}
        return {"object": "error", "message": text, "type": kind, "param": None, "code": str(status)}
    if family == "groq":
        return {"error": {"message": text, "type": kind, **({"code": code} if code else {})}}
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def error(family: str, status: int, message: str | None) -> SimulatedAnswer:
    """The error response."""
    value = error_object(family, status, message)
    data = pretty(value) if family == "openai" else encode(value)
    return SimulatedAnswer(b"application/json", data, status=status, headers=headers(family))


def error_event(request: SimulatedRequest, sent: int) -> bytes:
    """The event that ends a chat stream early."""
    if request.family == "groq":
        value = error_object("groq", 500, None)
        value["error"]["status_code"] = 500
        return sse(value, "error")
    return sse(error_object(request.family, 500, None))


SHAPE = Shape(error, error_event)


def wanted_model(request: SimulatedRequest) -> str:
    """The requested model: in the body, or in the path of an Azure deployment."""
    model = request.body.get("model") or request.params.get("deployment")
    if not isinstance(model, str):
        raise SimulatedRefusal(400, "you must provide a model parameter")
    return model


def texts(prompt: Prompt, content: Any) -> list[str]:
    """The texts of a message's content; its other parts are attached to the prompt."""
    if content is None or isinstance(content, str):
        return [content] if content else []
    found: list[str] = []
    for part in content:
        if isinstance(part.get("text"), str):
            found.append(part["text"])
        elif isinstance(part.get("refusal"), str):
            found.append(part["refusal"])
        elif kind := _MEDIA.get(part.get("type")):
            prompt.attach(kind)
    return found


def read_messages(prompt: Prompt, messages: list[Document]) -> None:
    """Add the messages of a chat to the prompt, tool calls and their results included."""
    names: dict[str, str] = {}
    for message in messages:
        found = texts(prompt, message.get("content"))
        prompt.texts += found
        if message["role"] == "user":
            prompt.user(found)
        elif message["role"] == "tool":
            prompt.answered(names.get(message.get("tool_call_id", ""), "tool"), found)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            names[call["id"]] = function["name"]
            prompt.texts += [function["name"], function.get("arguments") or ""]


def choose(prompt: Prompt, choice: Any) -> None:
    """Read `tool_choice`, as chat completions or the Responses API write it."""
    if isinstance(choice, str):
        prompt.choice = "required" if choice == "any" else choice
    elif choice:
        given: Document = choice
        named = inner(given, "function").get("name") or given.get("name")
        prompt.choice = named or (inner(given, "allowed_tools") or given).get("mode") or "required"


def functions(tools: list[Document]) -> list[Tool]:
    """The functions among the tools: nested as in chat completions, or flat as in the Responses API."""
    found = [tool.get("function", tool) for tool in tools if tool.get("type", "function") == "function"]
    return [Tool(function["name"], function.get("parameters") or {}) for function in found]


def tier(request: SimulatedRequest) -> str:
    """The service tier of the answer: the requested one, else `default`."""
    asked = request.body.get("service_tier")
    return "default" if asked in (None, "auto") else str(asked)


def _models(request: SimulatedRequest) -> SimulatedAnswer:
    owner = request.family
    if (name := request.params.get("id")) is not None:
        return body(request, {"id": strip(name), "object": "model", "created": 1754524800, "owned_by": owner})
    names = _MODELS.get(owner) or tuple(SNAPSHOTS)
    data = [{"id": name, "object": "model", "created": 1754524800, "owned_by": owner} for name in names]
    return body(request, {"object": "list", "data": data})


def fingerprint(model: str) -> str:
    """A system fingerprint; each model has one."""
    return f"fp_{random.Random(model).getrandbits(40):010x}"


MODELS = free(SHAPE, _models)
