"""Google's generateContent, streamGenerateContent, countTokens and models, of the Gemini API and Vertex AI."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

from . import gemini_media
from .operation import Operation, Shape, SimulatedAnswer, SimulatedRequest, free
from .reply import Prompt, Reply, TokenCounts, Tool, count, effort
from .wire import Document, HeaderFields, encode, new_id, objects, pretty, spaced

JSON = b"application/json; charset=UTF-8"
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool": "STOP"}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGES = {
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred. Please retry or report.",
    503: "The model is overloaded. Please try again later.",
}
_KINDS = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO"}
_MODES = {"ANY": "required", "NONE": "none"}
_MODELS = ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001")


@cache
def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match.group().lower(), name)


def get(record: Document, name: str) -> Any:
    """A field in camel case or snake case: Google accepts both."""
    value = record.get(name)
    return record.get(_snake(name)) if value is None else value


def on_vertex(request: SimulatedRequest) -> bool:
    """Whether the request is for Vertex AI, not the Gemini API."""
    return "/publishers/" in request.path


def asked_model(request: SimulatedRequest) -> str:
    """The model in the path."""
    return request.params["model"]


def read_parts(prompt: Prompt, content: Document) -> list[str]:
    """Add a content's parts to the prompt; return the texts of its text parts."""
    found: list[str] = []
    for part in objects(content.get("parts")):
        if isinstance(part.get("text"), str):
            found.append(part["text"])
            prompt.texts.append(part["text"])
        elif data := get(part, "inlineData") or get(part, "fileData"):
            kind = str(get(data, "mimeType") or "").partition("/")[0]
            prompt.attach(_KINDS.get(kind, "DOCUMENT"))
        elif call := get(part, "functionCall"):
            prompt.texts += [call["name"], encode(call.get("args") or {}).decode()]
        elif response := get(part, "functionResponse"):
            text = encode(response.get("response")).decode()
            prompt.texts.append(text)
            prompt.answered(response["name"], [text])
    return found


def _contents(prompt: Prompt, given: Any) -> None:
    for content in [{"parts": [{"text": given}]}] if isinstance(given, str) else objects(given):
        found = read_parts(prompt, content)
        if content.get("role", "user") == "user":
            prompt.user(found)


def _read(request: SimulatedRequest) -> Prompt:
    fields = request.body
    prompt = Prompt(model=asked_model(request), stream=request.params["action"] == "streamGenerateContent")
    tools = objects(fields.get("tools"))
    declared = [function for tool in tools for function in objects(get(tool, "functionDeclarations"))]
    named = [
        Tool(function["name"], get(function, "parametersJsonSchema") or function.get("parameters") or {})
        for function in declared
    ]
    prompt.offer(tools, named)
    calling: Document = get(get(fields, "toolConfig") or {}, "functionCallingConfig") or {}
    prompt.choice = _MODES.get(str(calling.get("mode", "AUTO")).upper(), "auto")
    allowed = get(calling, "allowedFunctionNames")
    if allowed:
        prompt.tools = [tool for tool in prompt.tools if tool.name in allowed]
    if system := get(fields, "systemInstruction"):
        read_parts(prompt, system)
    _contents(prompt, fields["contents"])
    config: Document = get(fields, "generationConfig") or {}
    limit = get(config, "maxOutputTokens")
    prompt.limit = None if limit is None else int(limit)
    if get(config, "responseMimeType") == "application/json":
        prompt.schema = get(config, "responseJsonSchema") or get(config, "responseSchema") or {"type": "object"}
    prompt.samples = int(get(config, "candidateCount") or 1)
    thinking: Document = get(config, "thinkingConfig") or {}
    level = get(thinking, "thinkingLevel")
    prompt.reasoning = effort(prompt.model, level.lower() if isinstance(level, str) else None)
    if get(thinking, "thinkingBudget") == 0 or "-tts" in prompt.model or "-image" in prompt.model:
        prompt.reasoning = 0
    return prompt


def modalities(tokens: TokenCounts) -> list[Document]:
    """The input tokens by kind."""
    rest = tokens.input - sum(tokens.media.values())
    split = {"TEXT": rest, **tokens.media}
    return [{"modality": kind, "tokenCount": amount} for kind, amount in split.items() if amount]


def usage(request: SimulatedRequest, tokens: TokenCounts, output: int | None = None) -> Document:
    """The usage metadata.

    Args:
        output: The visible output tokens so far; all by default.
    """
    visible = tokens.output - tokens.reasoning if output is None else output
    counted: Document = {"promptTokenCount": tokens.input, "candidatesTokenCount": visible}
    counted["totalTokenCount"] = tokens.input + visible + tokens.reasoning
    if tokens.cached:
        counted["cachedContentTokenCount"] = tokens.cached
        counted["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cached}]
    counted["promptTokensDetails"] = modalities(tokens)
    if tokens.reasoning:
        counted["thoughtsTokenCount"] = tokens.reasoning
    if on_vertex(request) or tokens.made:
        split = {"TEXT": max(0, visible - sum(tokens.made.values())), **tokens.made}
        counted["candidatesTokensDetails"] = [
            {"modality": kind, "tokenCount": amount} for kind, amount in split.items() if amount
        ]
    if on_vertex(request):
        counted["trafficType"] = _traffic(request)
    else:
        counted["serviceTier"] = str(get(request.body, "serviceTier") or "standard").lower()
    return counted


def _traffic(request: SimulatedRequest) -> str:
    asked = request.headers.get(b"x-vertex-ai-llm-shared-request-type", b"").decode().upper()
    return f"ON_DEMAND_{asked}" if asked in ("FLEX", "PRIORITY") else "ON_DEMAND"


def _calls(reply: Reply) -> list[Document]:
    parts: list[Document] = []
    for call in reply.calls:
        part: Document = {"functionCall": {"name": call.name, "args": call.arguments}}
        if reply.tokens.reasoning:
            part["thoughtSignature"] = "c2ltdWxhdGVk"
        parts.append(part)
    return parts


def _candidate(request: SimulatedRequest, index: int, parts: list[Document], reply: Reply | None) -> Document:
    """A candidate; the last piece is given the whole reply."""
    found: Document = {"content": {"parts": parts, "role": "model"}}
    if reply is not None:
        found["finishReason"] = _FINISH[reply.finish]
        if reply.calls and not on_vertex(request):
            found["finishMessage"] = "Model generated function call(s)."
    if on_vertex(request):
        found["avgLogprobs"] = -0.25
        return {**found, "index": index} if index else found
    return {**found, "index": index}


def _closing(request: SimulatedRequest, reply: Reply) -> Document:
    tail: Document = {"modelVersion": reply.model}
    if on_vertex(request):
        made = datetime.fromtimestamp(request.now, UTC)
        tail["createTime"] = made.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {**tail, "responseId": new_id("", 22)}


def _thoughts(request: SimulatedRequest, reply: Reply) -> list[Document]:
    config: Document = get(request.body, "generationConfig") or {}
    shown = get(get(config, "thinkingConfig") or {}, "includeThoughts") and reply.thought
    return [{"text": reply.thought, "thought": True}] if shown else []


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    reply = request.reply(prompt)
    made = [] if reply.calls else gemini_media.generated(_modalities(request), prompt, reply)
    if prompt.stream:
        answer = _stream(request, _chunks(request, prompt, reply, made))
    else:
        said = [] if made and not reply.text else [{"text": reply.text}]
        parts = [*_thoughts(request, reply), *(_calls(reply) or said), *made]
        value: Document = {"candidates": [_candidate(request, n, parts, reply) for n in range(prompt.samples)]}
        if not request.faults.no_usage:
            value["usageMetadata"] = usage(request, reply.tokens)
        answer = SimulatedAnswer(JSON, pretty(value | _closing(request, reply)), headers=headers())
    answer.tokens = reply.tokens
    return answer


def _modalities(request: SimulatedRequest) -> list[str]:
    config: Document = get(request.body, "generationConfig") or {}
    return [str(kind).upper() for kind in get(config, "responseModalities") or ()]


def _chunks(request: SimulatedRequest, prompt: Prompt, reply: Reply, made: list[Document]) -> list[Document]:
    steps = [[part] for part in _thoughts(request, reply)]
    pieces = reply.pieces or ([] if made else [""])
    steps += [[part] for part in _calls(reply)] or [[{"text": piece}] for piece in pieces]
    steps += [[part] for part in made]
    closing = _closing(request, reply)
    visible = reply.tokens.output - reply.tokens.reasoning
    chunks: list[Document] = []
    for step, parts in enumerate(steps, 1):
        last = step == len(steps)
        ending = reply if last else None
        chunk: Document = {"candidates": [_candidate(request, n, parts, ending) for n in range(prompt.samples)]}
        if not request.faults.no_usage:
            if on_vertex(request) and not last:  # Vertex counts tokens in the last chunk alone
                chunk["usageMetadata"] = {"trafficType": _traffic(request)}
            else:
                chunk["usageMetadata"] = usage(request, reply.tokens, visible * step // len(steps))
        chunks.append(chunk | closing)
    return chunks


def _stream(request: SimulatedRequest, chunks: list[Document]) -> SimulatedAnswer:
    if request.query.get("alt") == "sse":
        events = [b"data: " + spaced(chunk) + b"\r\n\r\n" for chunk in chunks]
        extra_headers = (*headers(), (b"content-disposition", b"attachment"))
        return SimulatedAnswer(b"text/event-stream", events=events, headers=extra_headers)
    events = [(b"\n,\r\n" if index else b"[") + pretty(chunk).rstrip() for index, chunk in enumerate(chunks)]
    return SimulatedAnswer(JSON, events=[*events, b"\n]\n"], headers=headers())


def _read_count(request: SimulatedRequest) -> Prompt:
    prompt = Prompt(model=asked_model(request))
    wrapped: Document = get(request.body, "generateContentRequest") or request.body
    prompt.offer(wrapped.get("tools"), [])
    if system := get(wrapped, "systemInstruction"):
        read_parts(prompt, system)
    _contents(prompt, wrapped["contents"])
    return prompt


def _write_count(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    tokens = count(prompt)
    value: Document = {"totalTokens": tokens.input, "promptTokensDetails": modalities(tokens)}
    if on_vertex(request):
        value["totalBillableCharacters"] = sum(map(len, prompt.texts))
    return SimulatedAnswer(JSON, pretty(value), headers=headers())


def _models(request: SimulatedRequest) -> SimulatedAnswer:
    def shown(name: str) -> Document:
        methods = ["embedContent"] if "embedding" in name else ["generateContent", "countTokens"]
        return {"name": f"models/{name}", "version": "001", "supportedGenerationMethods": methods}

    if (name := request.params.get("id")) is not None:
        return SimulatedAnswer(JSON, pretty(shown(name)), headers=headers())
    return SimulatedAnswer(JSON, pretty({"models": [shown(name) for name in _MODELS]}), headers=headers())


def whole(value: Document, more: HeaderFields = ()) -> SimulatedAnswer:
    """A whole answer."""
    return SimulatedAnswer(JSON, pretty(value), headers=(*headers(), *more))


def headers() -> HeaderFields:
    """The headers of every answer."""
    return (
        (b"vary", b"Origin"),
        (b"vary", b"X-Origin"),
        (b"vary", b"Referer"),
        (b"server-timing", b"gfet4t7; dur=1"),
    )


def _problem(status: int, message: str | None) -> Document:
    name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    shown = message or _MESSAGES.get(status, f"The simulated provider answers {status}.")
    return {"error": {"code": status, "message": shown, "status": name}}


def _error(family: str, status: int, message: str | None) -> SimulatedAnswer:
    return SimulatedAnswer(JSON, pretty(_problem(status, message)), status=status, headers=headers())


def _error_event(request: SimulatedRequest, sent: int) -> bytes:
    if request.query.get("alt") == "sse":
        return b"data: " + spaced(_problem(503, None)) + b"\r\n\r\n"
    return (b"\n,\r\n" if sent else b"[") + pretty(_problem(503, None)).rstrip() + b"\n]\n"


SHAPE = Shape(_error, _error_event)
OPERATION = Operation(_read, _write, SHAPE)
COUNT = Operation(_read_count, _write_count, SHAPE, free=True)
MODELS = free(SHAPE, _models)
