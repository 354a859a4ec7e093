"""The Responses API: whole, streamed, stored and background responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .openai_common import SHAPE as COMMON
from .openai_common import (
    answered_model,
    body,
    choose,
    error_object,
    functions,
    padding,
    stream,
    texts,
    tier,
    wanted_model,
)
from .operation import Operation, Shape, SimulatedAnswer, SimulatedRequest, free
from .reply import Prompt, Reply, TokenCounts, count, effort
from .response_store import ResponseStore, pending
from .wire import Document, inner, new_id, objects, sse

_ECHOED: Document = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}

_BEGUN: dict[str, Document] = {
    "message": {"status": "in_progress", "content": []},
    "function_call": {"status": "in_progress", "arguments": ""},
}


def _reader(store: ResponseStore) -> Callable[[SimulatedRequest], Prompt]:
    def read(request: SimulatedRequest) -> Prompt:
        fields = request.body
        prompt = Prompt(model=wanted_model(request), stream=bool(fields.get("stream")))
        tools = objects(fields.get("tools"))
        prompt.offer(tools, functions(tools))
        choose(prompt, fields.get("tool_choice"))
        if fields.get("instructions"):
            prompt.texts += texts(prompt, fields["instructions"])
        _read_input(prompt, fields["input"])
        limit = fields.get("max_output_tokens")
        prompt.limit = None if limit is None else int(limit)
        wanted = inner(inner(fields, "text"), "format")
        if wanted.get("type") in ("json_schema", "json_object"):
            prompt.schema = wanted.get("schema") or {"type": "object"}
        prompt.reasoning = effort(prompt.model, inner(fields, "reasoning").get("effort"))
        if previous := fields.get("previous_response_id"):
            prompt.carried = store.context(previous)
        return prompt

    return read


def _read_input(prompt: Prompt, given: Any) -> None:
    names: dict[str, str] = {}
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        kind = item.get("type", "message")
        if kind == "message":
            found = texts(prompt, item["content"])
            prompt.texts += found
            if item["role"] == "user":
                prompt.user(found)
        elif kind == "function_call":
            names[item["call_id"]] = item["name"]
            prompt.texts += [item["name"], item["arguments"]]
        elif kind == "function_call_output":
            found = texts(prompt, item["output"])
            prompt.texts += found
            prompt.answered(names.get(item["call_id"], "tool"), found)
        elif kind == "reasoning":
            prompt.texts += texts(prompt, item.get("summary"))


def usage(model: str, tokens: TokenCounts) -> Document:
    """The usage object."""
    details = {"cached_tokens": tokens.cached}
    if model.startswith(("gpt-5.5", "gpt-5.6")):
        details = {"cache_write_tokens": tokens.written, **details}
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": details,
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.total,
    }


def _output(request: SimulatedRequest, reply: Reply) -> list[Document]:
    items: list[Document] = []
    if reply.tokens.reasoning:
        item: Document = {"id": new_id("rs_", 50), "type": "reasoning", "summary": []}
        if "reasoning.encrypted_content" in (request.body.get("include") or ()):
            item["encrypted_content"] = new_id("gAAAAAB", 80)
        items.append(item)
    for call in reply.calls:
        ids = {"id": new_id("fc_", 50), "type": "function_call", "status": "completed"}
        items.append({**ids, "arguments": call.json, "call_id": new_id("call_", 24), "name": call.name})
    if not reply.calls:
        part: Document = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
        status = "incomplete" if reply.finish == "length" else "completed"
        ids = {"id": new_id("msg_", 50), "type": "message", "status": status}
        items.append({**ids, "content": [part], "role": "assistant"})
    return items


def _response(request: SimulatedRequest, prompt: Prompt, reply: Reply) -> Document:
    fields = request.body
    cut = reply.finish == "length"
    echoed = {name: fields.get(name, default) for name, default in _ECHOED.items()}
    reasoning = inner(fields, "reasoning")
    return {
        "id": new_id("resp_", 50),
        "object": "response",
        "created_at": int(request.now),
        "status": "incomplete" if cut else "completed",
        "background": bool(fields.get("background")),
        "billing": {"payer": "developer"},
        "completed_at": int(request.now),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": answered_model(request, reply.model),
        "output": _output(request, reply),
        "reasoning": {
            "effort": reasoning.get("effort", "medium" if prompt.reasoning else None),
            "summary": reasoning.get("summary"),
        },
        "service_tier": tier(request),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **inner(fields, "text")},
        "tools": fields.get("tools") or [],
        "usage": None if request.faults.no_usage else usage(reply.model, reply.tokens),
        **echoed,
    }


def _writer(store: ResponseStore) -> Callable[[SimulatedRequest, Prompt], SimulatedAnswer]:
    def write(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        reply = request.reply(prompt)
        response = _response(request, prompt, reply)
        if response["background"] or response["store"] is not False:
            store.keep(response, reply.tokens)
        if prompt.stream:
            answer = stream(request, _events(response, reply))
        else:
            answer = body(request, pending(response, "queued") if response["background"] else response)
        answer.tokens = reply.tokens
        return answer

    return write


def _events(response: Document, reply: Reply) -> list[bytes]:
    events: list[bytes] = []

    def emit(kind: str, **fields: Any) -> None:
        events.append(sse({"type": kind, **fields, "sequence_number": len(events)}, kind))

    if response["background"]:
        emit("response.created", response=pending(response, "queued"))
        emit("response.queued", response=pending(response, "queued"))
    else:
        emit("response.created", response=pending(response, "in_progress"))
    emit("response.in_progress", response=pending(response, "in_progress"))
    for index, item in enumerate(response["output"]):
        emit("response.output_item.added", item={**item, **_BEGUN.get(item["type"], {})}, output_index=index)
        place: Document = {"item_id": item["id"], "output_index": index}
        if item["type"] == "message":
            part = item["content"][0]
            place["content_index"] = 0
            emit("response.content_part.added", **place, part={**part, "text": ""})
            for piece in reply.pieces:
                emit("response.output_text.delta", **place, delta=piece, logprobs=[], obfuscation=padding(piece))
            emit("response.output_text.done", **place, text=part["text"], logprobs=[])
            emit("response.content_part.done", **place, part=part)
        elif item["type"] == "function_call":
            text = item["arguments"]
            half = len(text) // 2
            for piece in (text[:half], text[half:]):
                emit("response.function_call_arguments.delta", **place, delta=piece, obfuscation=padding(piece))
            emit("response.function_call_arguments.done", **place, arguments=text)
        emit("response.output_item.done", item=item, output_index=index)
    emit(f"response.{response['status']}", response=response)
    return events


def _error_event(request: SimulatedRequest, sent: int) -> bytes:
    error = error_object(request.family, 500, None)["error"]
    return sse({"type": "error", "error": error, "sequence_number": sent}, "error")


def _read_count(request: SimulatedRequest) -> Prompt:
    prompt = Prompt(model=wanted_model(request))
    tools = objects(request.body.get("tools"))
    prompt.offer(tools, functions(tools))
    prompt.texts += texts(prompt, request.body.get("instructions"))
    _read_input(prompt, request.body.get("input") or [])
    return prompt


def _write_count(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    return body(request, {"object": "response.input_tokens", "input_tokens": count(prompt).input})


SHAPE = Shape(COMMON.error, _error_event)
COUNT = Operation(_read_count, _write_count, COMMON, free=True)


def operations(store: ResponseStore) -> dict[str, Operation]:
    """Create, get, cancel and delete responses, over one store."""

    def over(act: Callable[[str], Document]) -> Operation:
        return free(SHAPE, lambda request: body(request, act(request.params["id"])))

    return {
        "create": Operation(_reader(store), _writer(store), SHAPE),
        "get": over(store.look),
        "cancel": over(store.cancel),
        "delete": over(store.delete),
    }
