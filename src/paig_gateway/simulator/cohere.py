"""Cohere's second API: chat, whole and streamed, embeddings, reranking, tokens and models."""

from __future__ import annotations

from .embeddings import vector
from .openai_common import choose, functions, read_messages, texts, wanted_model
from .operation import Operation, Shape, SimulatedAnswer, SimulatedRequest, free
from .reply import Prompt, Reply, TokenCounts, count, quarter
from .wire import Document, HeaderFields, encode, inner, new_id, objects, sse

JSON = b"application/json"
_FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool": "TOOL_CALL"}
_DIMENSIONS = 1_536
_MODELS = ("command-a-03-2025", "command-r-08-2024", "embed-v4.0", "rerank-v3.5")
MOST_DOCUMENTS = 100
"""Documents of one search, which is what reranking is billed by."""
_META = {"api_version": {"version": "2"}}


def _headers() -> HeaderFields:
    return ((b"x-api-warning", b"simulated"), (b"x-debug-trace-id", new_id("", 32).encode()))


def _answer(value: Document, tokens: TokenCounts | None = None) -> SimulatedAnswer:
    return SimulatedAnswer(JSON, encode(value), headers=_headers(), tokens=tokens)


def _read_chat(request: SimulatedRequest) -> Prompt:
    fields = request.body
    prompt = Prompt(model=wanted_model(request), stream=bool(fields.get("stream")))
    tools = objects(fields.get("tools"))
    prompt.offer(tools, functions(tools))
    choose(prompt, str(fields.get("tool_choice") or "auto").lower())
    for document in fields.get("documents") or ():
        prompt.texts.append(document if isinstance(document, str) else encode(document).decode())
    read_messages(prompt, fields["messages"])
    limit = fields.get("max_tokens")
    prompt.limit = None if limit is None else int(limit)
    if (wanted := inner(fields, "response_format")).get("type") == "json_object":
        prompt.schema = wanted.get("json_schema") or wanted.get("schema") or {"type": "object"}
    return prompt


def _usage(tokens: TokenCounts) -> Document:
    counted = {"input_tokens": tokens.input, "output_tokens": tokens.output}
    return {"billed_units": counted, "tokens": counted}


def _calls(reply: Reply) -> list[Document]:
    return [
        {"id": new_id(f"{call.name}_", 12), "type": "function", "function": {"name": call.name, "arguments": call.json}}
        for call in reply.calls
    ]


def _write_chat(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    reply = request.reply(prompt)
    calls, finish = _calls(reply), _FINISH[reply.finish]
    usage_part = {} if request.faults.no_usage else {"usage": _usage(reply.tokens)}
    if prompt.stream:
        events = [sse(event, event["type"]) for event in _events(reply, calls, {"finish_reason": finish, **usage_part})]
        answer = SimulatedAnswer(b"text/event-stream", events=events, headers=_headers())
    else:
        message: Document = {"role": "assistant"}
        if calls:
            message |= {"tool_plan": "I will call a tool.", "tool_calls": calls}
        else:
            message["content"] = [{"type": "text", "text": reply.text}]
        answer = _answer({"id": new_id("", 32), "finish_reason": finish, "message": message, **usage_part})
    answer.tokens = reply.tokens
    return answer


def _events(reply: Reply, calls: list[Document], end: Document) -> list[Document]:
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[Document] = [{"type": "message-start", "id": new_id("", 32), "delta": {"message": start}}]
    if not calls:
        text = {"type": "text", "text": ""}
        events.append({"type": "content-start", "index": 0, "delta": {"message": {"content": text}}})
        events += [
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}
            for piece in reply.pieces
        ]
        events.append({"type": "content-end", "index": 0})
    for index, call in enumerate(calls):
        begun = {**call, "function": {**call["function"], "arguments": ""}}
        rest = {"function": {"arguments": call["function"]["arguments"]}}
        events += [
            {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": begun}}},
            {"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": rest}}},
            {"type": "tool-call-end", "index": index},
        ]
    return [*events, {"type": "message-end", "delta": end}]


def _read_embed(request: SimulatedRequest) -> Prompt:
    fields = request.body
    inputs = objects(fields.get("inputs"))
    found: list[str] = list(fields.get("texts") or ())
    prompt = Prompt(model=wanted_model(request))
    for one in inputs:
        found.append(" ".join(texts(prompt, one["content"])))
    for _ in fields.get("images") or ():
        prompt.attach("IMAGE")
        found.append("an image")
    prompt.texts = found
    prompt.user(found)
    return prompt


def _write_embed(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    used = count(prompt).input
    size = int(request.body.get("output_dimension") or _DIMENSIONS)
    vectors = [vector(text, size) for text in prompt.texts]
    kinds = request.body.get("embedding_types") or ["float"]
    value = {"id": new_id("", 32), "texts": prompt.texts, "embeddings": dict.fromkeys(kinds, vectors)}
    meta = {**_META, "billed_units": {"input_tokens": used}}
    return _answer({**value, "meta": _META if request.faults.no_usage else meta}, TokenCounts(input=used))


def _read_rerank(request: SimulatedRequest) -> Prompt:
    documents = request.body["documents"]
    prompt = Prompt(model=wanted_model(request), samples=len(documents))
    prompt.texts = [one if isinstance(one, str) else encode(one).decode() for one in documents]
    prompt.user([request.body["query"]])
    return prompt


def _write_rerank(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    """The documents with the most words of the query first."""
    asked = set(prompt.ask.lower().split())
    scores = [len(asked & set(text.lower().split())) / max(1, len(asked)) for text in prompt.texts]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[: request.body.get("top_n")]
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    searches = -(-prompt.samples // MOST_DOCUMENTS)
    meta = {**_META, "billed_units": {"search_units": searches}}
    return _answer({"id": new_id("", 32), "results": results, "meta": meta}, TokenCounts())


def _tokenize(request: SimulatedRequest) -> SimulatedAnswer:
    words = request.body["text"].split()
    tokens = list(range(max(1, quarter(len(request.body["text"])))))
    return _answer({"tokens": tokens, "token_strings": words, "meta": _META})


def _models(request: SimulatedRequest) -> SimulatedAnswer:
    def shown(name: str) -> Document:
        kind = "embed" if name.startswith("embed") else "rerank" if name.startswith("rerank") else "chat"
        return {"name": name, "endpoints": [kind], "context_length": 128_000}

    if (name := request.params.get("id")) is not None:
        return _answer(shown(name))
    return _answer({"models": [shown(name) for name in _MODELS]})


def _error(family: str, status: int, message: str | None) -> SimulatedAnswer:
    shown = message or ("invalid api token" if status == 401 else f"The simulated provider answers {status}.")
    value = {"id": new_id("", 32), "message": shown}
    return SimulatedAnswer(JSON, encode(value), status=status, headers=_headers())


def _error_event(request: SimulatedRequest, sent: int) -> bytes:
    failed = {"finish_reason": "ERROR", "error": "The simulated provider failed."}
    return sse({"type": "message-end", "delta": failed}, "message-end")


SHAPE = Shape(_error, _error_event)
OPERATIONS = {
    "chat": Operation(_read_chat, _write_chat, SHAPE),
    "embed": Operation(_read_embed, _write_embed, SHAPE),
    "rerank": Operation(_read_rerank, _write_rerank, SHAPE),
    "tokenize": free(SHAPE, _tokenize, "text"),
    "models": free(SHAPE, _models),
}
