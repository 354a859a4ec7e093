"""Amazon Bedrock's Converse API: whole and streamed answers, token counting."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import msgspec

from . import eventstream
from .anthropic import FINISH, read_messages
from .operation import Operation, Shape, SimulatedAnswer, SimulatedRefusal, SimulatedRequest
from .reply import Prompt, Reply, TokenCounts, Tool, count, effort
from .wire import Document, HeaderFields, encode, inner, new_id, objects

_KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_MESSAGES = {
    401: "The security token included in the request is invalid.",
    429: "Too many requests, please wait before trying again.",
    500: "The system encountered an unexpected error during processing. Try your request again.",
    503: "The service is temporarily unable to handle the request.",
}
_MEDIA = {"image": "IMAGE", "document": "DOCUMENT", "video": "VIDEO", "audio": "AUDIO"}


def _read(request: SimulatedRequest) -> Prompt:
    check_model(request)
    streamed = request.params["action"] == "converse-stream"
    return read_converse(request.body, request.params["model"], stream=streamed)


def read_converse(fields: Document, model: str, *, stream: bool = False) -> Prompt:
    """Read a Converse body; Nova's body for invoke has the same shape."""
    prompt = Prompt(model=model, stream=stream, marks=[])
    config = inner(fields, "toolConfig")
    tools = objects(config.get("tools"))
    specs = [tool["toolSpec"] for tool in tools if "toolSpec" in tool]
    prompt.offer(tools, [Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs])
    if any("cachePoint" in tool for tool in tools):
        _mark(prompt, inner(tools[-1], "cachePoint"))
    choice = inner(config, "toolChoice")
    prompt.choice = choice["tool"]["name"] if "tool" in choice else "required" if "any" in choice else "auto"
    names: dict[str, str] = {}
    _blocks(prompt, fields.get("system"), names)
    for message in fields["messages"]:
        found = _blocks(prompt, message["content"], names)
        if message["role"] == "user":
            prompt.user(found)
    inference = inner(fields, "inferenceConfig")
    limit = inference.get("maxTokens") or inference.get("max_new_tokens")
    prompt.limit = None if limit is None else int(limit)
    extra = inner(fields, "additionalModelRequestFields")
    if inner(extra, "thinking").get("type") in ("enabled", "adaptive"):
        prompt.reasoning = effort(model, "medium")
    elif "gpt-oss" in model:
        prompt.reasoning = effort(model, extra.get("reasoning_effort") or "medium")
    structure = inner(inner(inner(fields, "outputConfig"), "textFormat"), "structure")
    if (schema := inner(structure, "jsonSchema").get("schema")) is not None:
        prompt.schema = msgspec.json.decode(schema) if isinstance(schema, str) else schema
    return prompt


def _mark(prompt: Prompt, point: Document) -> None:
    if prompt.marks is not None and prompt.texts:
        prompt.marks.append(len(prompt.texts))
        prompt.ttl = point.get("ttl", "")


def _blocks(prompt: Prompt, content: Any, names: dict[str, str]) -> list[str]:
    """Add a message's content and cache points to the prompt; return the texts of its text blocks."""
    blocks: list[Document] = [{"text": content}] if isinstance(content, str) else content or []
    found: list[str] = []
    for block in blocks:
        if "text" in block:
            found.append(block["text"])
            prompt.texts.append(block["text"])
        elif "json" in block:
            found.append(encode(block["json"]).decode())
            prompt.texts.append(found[-1])
        elif "toolUse" in block:
            use = block["toolUse"]
            names[use["toolUseId"]] = use["name"]
            prompt.texts += [use["name"], encode(use["input"]).decode()]
        elif "toolResult" in block:
            result = block["toolResult"]
            prompt.answered(names.get(result["toolUseId"], "tool"), _blocks(prompt, result["content"], names))
        elif "cachePoint" in block:
            _mark(prompt, block["cachePoint"])
        else:
            for kind in _MEDIA.keys() & block.keys():
                prompt.attach(_MEDIA[kind])
    return found


def usage(tokens: TokenCounts, ttl: str = "") -> Document:
    """The usage object; input tokens exclude tokens read from or written to the cache."""
    counted: Document = {"inputTokens": tokens.plain, "outputTokens": tokens.output, "totalTokens": tokens.total}
    if tokens.cached or tokens.written:
        counted |= {"cacheReadInputTokens": tokens.cached, "cacheWriteInputTokens": tokens.written}
        counted |= {"cacheReadInputTokenCount": tokens.cached, "cacheWriteInputTokenCount": tokens.written}
        if ttl and tokens.written:
            counted["cacheDetails"] = [{"inputTokens": tokens.written, "ttl": ttl}]
    return {**counted, "serverToolUsage": {}}


def content(reply: Reply) -> list[Document]:
    """The blocks of the model's message."""
    blocks: list[Document] = []
    if reply.thought:
        blocks.append({"reasoningContent": {"reasoningText": {"text": reply.thought, "signature": "c2ltdWxhdGVk"}}})
    if reply.text or not reply.calls:
        blocks.append({"text": reply.text})
    for call in reply.calls:
        ids = {"toolUseId": new_id("tooluse_", 22), "name": call.name}
        blocks.append({"toolUse": {**ids, "input": call.arguments}})
    return blocks


def stream_events(reply: Reply) -> list[tuple[str, Document]]:
    """The events of the model's message, without the stream's closing metadata."""
    events: list[tuple[str, Document]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(content(reply)):
        at = {"contentBlockIndex": index}
        deltas: list[Document]
        if "text" in block:
            deltas = [{"text": piece} for piece in reply.pieces]
        elif "toolUse" in block:
            use = block["toolUse"]
            text = encode(use.pop("input")).decode()
            events.append(("contentBlockStart", {**at, "start": {"toolUse": use}}))
            half = len(text) // 2
            deltas = [{"toolUse": {"input": part}} for part in (text[:half], text[half:])]
        else:
            thought = block["reasoningContent"]["reasoningText"]
            deltas = [{"reasoningContent": {name: thought[name]}} for name in ("text", "signature")]
        events += [("contentBlockDelta", {**at, "delta": delta}) for delta in deltas]
        events.append(("contentBlockStop", at))
    return [*events, ("messageStop", {"stopReason": FINISH[reply.finish]})]


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    reply = request.reply(prompt)
    end: Document = {"metrics": {"latencyMs": 1}}
    if not request.faults.no_usage:
        end["usage"] = usage(reply.tokens, prompt.ttl)
    if tier := request.body.get("serviceTier"):
        end["serviceTier"] = tier
    if prompt.stream:
        events = stream_events(reply)
        if not request.faults.no_usage:
            events.append(("metadata", end))
        frames = [eventstream.event(kind, payload) for kind, payload in events]
        return SimulatedAnswer(eventstream.CONTENT_TYPE, events=frames, headers=headers(), tokens=reply.tokens)
    message = {"role": "assistant", "content": content(reply)}
    value = {"output": {"message": message}, "stopReason": FINISH[reply.finish], **end}
    return SimulatedAnswer(b"application/json", encode(value), headers=headers(), tokens=reply.tokens)


def _read_count(request: SimulatedRequest) -> Prompt:
    check_model(request)
    model = request.params["model"]
    given: Document = request.body["input"]
    if "converse" in given:
        return read_converse(given["converse"], model)
    inner: Document = msgspec.json.decode(base64.b64decode(given["invokeModel"]["body"]))
    if "anthropic_version" in inner:
        request.body = inner
        return read_messages(request, model)
    return read_converse(inner, model)


def _write_count(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    return SimulatedAnswer(b"application/json", encode({"inputTokens": count(prompt).input}), headers=headers())


def headers() -> HeaderFields:
    """The headers of every answer."""
    return ((b"x-amzn-requestid", str(uuid.uuid4()).encode()),)


def check_model(request: SimulatedRequest) -> None:
    """Refuse a model id without a vendor, as Bedrock does."""
    if "." not in request.params["model"] and not request.params["model"].startswith("arn:"):
        raise SimulatedRefusal(400, "The provided model identifier is invalid.")


def _error(family: str, status: int, message: str | None) -> SimulatedAnswer:
    kind = _KINDS.get(status, "InternalServerException" if status >= 500 else "ValidationException")
    text = message or _MESSAGES.get(status, f"The simulated provider answers {status}.")
    # Bedrock says 403 where others say 401.
    shown = 403 if status == 401 else status
    kinds = (b"x-amzn-errortype", f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/".encode())
    return SimulatedAnswer(b"application/json", encode({"message": text}), status=shown, headers=(*headers(), kinds))


SHAPE = Shape(_error, lambda request, sent: eventstream.exception("internalServerException", _MESSAGES[500]))
OPERATION = Operation(_read, _write, SHAPE)
COUNT = Operation(_read_count, _write_count, SHAPE, free=True)
