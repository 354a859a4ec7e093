"""Chat completions, in the dialects of OpenAI, Groq, Mistral and compatible servers."""

from __future__ import annotations

from typing import Any

from .openai_common import (
    SHAPE,
    answered_model,
    body,
    choose,
    fingerprint,
    functions,
    padding,
    read_messages,
    stream,
    tier,
    wanted_model,
)
from .operation import Operation, SimulatedAnswer, SimulatedRequest
from .reply import Prompt, Reply, TokenCounts, effort
from .wire import Document, inner, new_id, objects, sse

_DONE = b"data: [DONE]\n\n"
_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls"}


def _read(request: SimulatedRequest) -> Prompt:
    fields = request.body
    prompt = Prompt(model=wanted_model(request), stream=bool(fields.get("stream")))
    tools = objects(fields.get("tools"))
    prompt.offer(tools, functions(tools))
    choose(prompt, fields.get("tool_choice"))
    read_messages(prompt, fields["messages"])
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    prompt.limit = None if limit is None else int(limit)
    wanted = inner(fields, "response_format")
    if wanted.get("type") in ("json_schema", "json_object"):
        prompt.schema = inner(wanted, "json_schema").get("schema") or {"type": "object"}
    prompt.reasoning = effort(prompt.model, fields.get("reasoning_effort"))
    prompt.samples = int(fields.get("n") or 1)
    return prompt


def usage(family: str, tokens: TokenCounts) -> Document:
    """The usage object with each family's details."""
    counts: Document = {"prompt_tokens": tokens.input, "completion_tokens": tokens.output, "total_tokens": tokens.total}
    if family == "groq":
        spent = {"prompt_time": tokens.input / 50_000, "completion_time": tokens.output / 500}
        counts = {"queue_time": 0.01, **counts, **spent, "total_time": sum(spent.values())}
        if tokens.cached:
            counts["prompt_tokens_details"] = {"cached_tokens": tokens.cached}
        if tokens.reasoning:
            counts["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
        return counts
    details: Document = {"cached_tokens": tokens.cached}
    if family in ("openai", "azure"):
        details["audio_tokens"] = tokens.media.get("AUDIO", 0)
        if tokens.written:
            details["cache_write_tokens"] = tokens.written
        counts["completion_tokens_details"] = {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    elif tokens.reasoning:
        counts["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
    if family == "openrouter":
        counts |= {"cost": round(tokens.input * 1e-6 + tokens.output * 4e-6, 9), "is_byok": False}
    return {**counts, "prompt_tokens_details": details}


def _tool_calls(request: SimulatedRequest, reply: Reply) -> list[Document]:
    made: list[Document] = []
    for index, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": call.json}
        if request.family == "mistral":
            made.append({"id": new_id("", 9), "function": function, "index": index})
        else:
            made.append({"id": new_id("call_", 24), "type": "function", "function": function})
    return made


def _message(request: SimulatedRequest, reply: Reply) -> Document:
    calls = _tool_calls(request, reply)
    text = reply.text if not calls else "" if request.family == "mistral" else None
    message: Document = {"role": "assistant", "content": text}
    if request.family == "mistral":
        return {**message, "tool_calls": calls or None}
    if request.family == "groq":
        if reply.thought:
            message["reasoning"] = reply.thought
    else:
        message |= {"refusal": None, "annotations": []}
    return {**message, "tool_calls": calls} if calls else message


def _envelope(request: SimulatedRequest, reply: Reply, kind: str) -> Document:
    family = request.family
    prefix, length = ("", 32) if family == "mistral" else ("chatcmpl-", 29)
    head = {"id": new_id(prefix, length), "object": kind, "created": int(request.now)}
    return {**head, "model": answered_model(request, reply.model)}


def _extras(request: SimulatedRequest, reply: Reply) -> Document:
    if request.family in ("openai", "azure"):
        return {"service_tier": tier(request), "system_fingerprint": fingerprint(reply.model)}
    if request.family == "openrouter":
        return {"provider": "OpenAI"}
    return {"system_fingerprint": fingerprint(reply.model)} if request.family == "groq" else {}


def _choice(request: SimulatedRequest, index: int, **content: Any) -> Document:
    finish = content.pop("finish_reason")
    silent = request.family == "mistral" or (request.family in ("openai", "azure") and "delta" in content)
    native = {"native_finish_reason": finish} if request.family == "openrouter" else {}
    return {"index": index, **content, **({} if silent else {"logprobs": None}), "finish_reason": finish, **native}


def _write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    reply = request.reply(prompt)
    if prompt.stream:
        answer = stream(request, _events(request, prompt, reply))
    else:
        value = _envelope(request, reply, "chat.completion")
        finish = _FINISH[reply.finish]
        value["choices"] = [
            _choice(request, index, message=_message(request, reply), finish_reason=finish)
            for index in range(prompt.samples)
        ]
        if not request.faults.no_usage:
            value["usage"] = usage(request.family, reply.tokens)
        value |= _extras(request, reply)
        if request.family == "groq":
            value |= {"service_tier": "on_demand", "usage_breakdown": None, "x_groq": {"id": new_id("req_", 26)}}
        answer = body(request, value)
    answer.tokens = reply.tokens
    return answer


def _deltas(request: SimulatedRequest, reply: Reply) -> list[Document]:
    first: Document = {"role": "assistant", "content": ""}
    if request.family in ("openai", "azure"):
        first["refusal"] = None
    deltas = [first]
    if reply.thought and request.family == "groq":
        deltas.append({"reasoning": reply.thought, "channel": "analysis"})
    deltas += [{"content": piece} for piece in reply.pieces]
    for index, call in enumerate(_tool_calls(request, reply)):
        numbered = {"index": index, **call}
        if request.family in ("groq", "mistral"):
            deltas.append({"tool_calls": [numbered]})
            continue
        text = call["function"]["arguments"]
        half = len(text) // 2
        numbered["function"] = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [numbered]})
        parts = [part for part in (text[:half], text[half:]) if part]
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in parts]
    return deltas


def _events(request: SimulatedRequest, prompt: Prompt, reply: Reply) -> list[bytes]:
    family = request.family
    head = _envelope(request, reply, "chat.completion.chunk") | _extras(request, reply)
    counted = None if request.faults.no_usage else usage(family, reply.tokens)
    asked = family not in ("groq", "mistral") and bool(inner(request.body, "stream_options").get("include_usage"))
    groq_id = new_id("req_", 26)
    events: list[bytes] = []

    def emit(choices: list[Document], size: str, **extra: Any) -> None:
        value = {**head, "choices": choices, **extra}
        if asked:
            value.setdefault("usage", None)
        if family == "openai":
            value["obfuscation"] = padding(size)
        events.append(sse(value))

    for delta in _deltas(request, reply):
        extra: Document = {"x_groq": {"id": groq_id}} if family == "groq" and not events else {}
        for index in range(prompt.samples):
            choice = _choice(request, index, delta=delta, finish_reason=None)
            emit([choice], delta.get("content") or "", **extra)
    last: Document = {}
    if counted is not None and family == "mistral":
        last["usage"] = counted
    elif counted is not None and family == "groq":
        last["x_groq"] = {"id": groq_id, "usage": counted}
        if reply.model.startswith("openai/"):  # its newer models are counted in both places
            last["usage"] = counted
    content = {"content": ""} if family == "mistral" else {}
    finish = _FINISH[reply.finish]
    for index in range(prompt.samples):
        extra = last if index == prompt.samples - 1 else {}
        emit([_choice(request, index, delta=content, finish_reason=finish)], "", **extra)
    if asked and counted is not None:
        emit([], "", usage=counted)
    events.append(_DONE)
    return events


OPERATION = Operation(_read, _write, SHAPE)
