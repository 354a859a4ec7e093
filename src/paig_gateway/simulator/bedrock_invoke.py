"""Amazon Bedrock's InvokeModel, whole and streamed; each model family has its own body."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Protocol

from . import anthropic, bedrock, eventstream
from .embeddings import vector
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest
from .reply import Prompt, Reply, TokenCounts, count
from .wire import Document, HeaderFields, encode


class _Reader(Protocol):
    def __call__(self, request: SimulatedRequest) -> Prompt: ...


class _Whole(Protocol):
    def __call__(self, request: SimulatedRequest, prompt: Prompt, reply: Reply) -> Document: ...


class _Events(Protocol):
    def __call__(self, request: SimulatedRequest, whole: Document, reply: Reply) -> list[Document]: ...


@dataclass(frozen=True, slots=True)
class _Family:
    """How a family of models reads a body and writes an answer, whole or as a stream."""

    read: _Reader
    whole: _Whole
    events: _Events


def _read_claude(request: SimulatedRequest) -> Prompt:
    prompt = anthropic.read_messages(request, request.params["model"])
    anthropic.check_foreign(request, "bedrock-2023-05-31")
    return prompt


def _whole_claude(request: SimulatedRequest, prompt: Prompt, reply: Reply) -> Document:
    whole = anthropic.message(reply, prompt.ttl, "standard", prefix="msg_bdrk_")
    # The region and the version are Bedrock's; the model's own name is between them.
    del whole["usage"]["inference_geo"]
    whole["model"] = reply.model.rpartition("anthropic.")[2].partition("-v1")[0]
    return whole


def _events_claude(request: SimulatedRequest, whole: Document, reply: Reply) -> list[Document]:
    return anthropic.stream_events(whole, reply, no_usage=request.faults.no_usage)


def _read_nova(request: SimulatedRequest) -> Prompt:
    return bedrock.read_converse(request.body, request.params["model"])


def _whole_nova(request: SimulatedRequest, prompt: Prompt, reply: Reply) -> Document:
    message = {"role": "assistant", "content": bedrock.content(reply)}
    caches = {"cacheReadInputTokenCount": reply.tokens.cached, "cacheWriteInputTokenCount": reply.tokens.written}
    counted = {key: value for key, value in bedrock.usage(reply.tokens).items() if key != "serverToolUsage"}
    finish = anthropic.FINISH[reply.finish]
    return {"output": {"message": message}, "stopReason": finish, "usage": {**counted, **caches}}


def _events_nova(request: SimulatedRequest, whole: Document, reply: Reply) -> list[Document]:
    events: list[Document] = [{kind: payload} for kind, payload in bedrock.stream_events(reply)]
    usage = {} if request.faults.no_usage else {"usage": whole["usage"]}
    return [*events, {"metadata": {**usage, "metrics": {}, "trace": {}}}]


_FAMILIES = {
    "anthropic.": _Family(_read_claude, _whole_claude, _events_claude),
    "amazon.nova": _Family(_read_nova, _whole_nova, _events_nova),
}


def _family(request: SimulatedRequest) -> _Family:
    for name, family in _FAMILIES.items():
        if name in request.params["model"]:
            return family
    raise SimulatedRefusal(400, "The simulator invokes models of Anthropic, Amazon Nova and Titan embeddings only.")


def _titan(request: SimulatedRequest) -> bool:
    return "amazon.titan-embed" in request.params["model"]


def _read(request: SimulatedRequest) -> Prompt:
    bedrock.check_model(request)
    if _titan(request):
        prompt = Prompt(model=request.params["model"], texts=[request.body["inputText"]])
        prompt.user(prompt.texts)
        return prompt
    prompt = _family(request).read(request)
    prompt.stream = request.params["action"] == "invoke-with-response-stream"
    return prompt


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    if _titan(request):
        return _embedding(request, prompt)
    family = _family(request)
    reply = request.reply(prompt)
    whole = family.whole(request, prompt, reply)
    if prompt.stream:
        events = family.events(request, whole, reply)
        if not request.faults.no_usage:
            events[-1]["amazon-bedrock-invocationMetrics"] = _metrics(reply.tokens)
        frames = [eventstream.event("chunk", {"bytes": base64.b64encode(encode(one)).decode()}) for one in events]
        headers = (*_headers(request, None), (b"x-amzn-bedrock-content-type", b"application/json"))
        return SimulatedAnswer(eventstream.CONTENT_TYPE, events=frames, headers=headers, tokens=reply.tokens)
    if request.faults.no_usage:
        del whole["usage"]
    headers = _headers(request, None if request.faults.no_usage else reply.tokens)
    return SimulatedAnswer(b"application/json", encode(whole), headers=headers, tokens=reply.tokens)


def _embedding(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    tokens = count(prompt)
    values = vector(prompt.texts[0], int(request.body.get("dimensions") or 1024))
    value: Document = {"embedding": values, "embeddingsByType": {"float": values}}
    if not request.faults.no_usage:
        value["inputTextTokenCount"] = tokens.input
    headers = _headers(request, None if request.faults.no_usage else tokens)
    return SimulatedAnswer(b"application/json", encode(value), headers=headers, tokens=tokens)


def _metrics(tokens: TokenCounts) -> Document:
    metrics: Document = {"inputTokenCount": tokens.plain, "outputTokenCount": tokens.output}
    if tokens.cached or tokens.written:
        metrics |= {"cacheReadInputTokenCount": tokens.cached, "cacheWriteInputTokenCount": tokens.written}
    return {**metrics, "invocationLatency": 2, "firstByteLatency": 1}


def _headers(request: SimulatedRequest, tokens: TokenCounts | None) -> HeaderFields:
    headers = list(bedrock.headers())
    if tier := request.headers.get(b"x-amzn-bedrock-service-tier"):
        headers.append((b"x-amzn-bedrock-service-tier", tier))
    if tokens is not None:
        headers += [
            (b"x-amzn-bedrock-invocation-latency", b"2"),
            (b"x-amzn-bedrock-input-token-count", b"%d" % tokens.plain),
            (b"x-amzn-bedrock-output-token-count", b"%d" % tokens.output),
            (b"x-amzn-bedrock-cache-read-input-token-count", b"%d" % tokens.cached),
        ]
        if tokens.written:
            headers.append((b"x-amzn-bedrock-cache-write-input-token-count", b"%d" % tokens.written))
    return tuple(headers)


OPERATION = Operation(_read, _write, bedrock.SHAPE)
