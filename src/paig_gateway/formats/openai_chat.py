"""OpenAI's chat completions and completions, which many providers have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from paig_gateway.formats import folding, reading, references
from paig_gateway.formats.base import EVENT_ERROR, Call, Format, Generated, Json, Marker, StreamEvent
from paig_gateway.formats.folding import dig, each, in_base64, joined, mapping, text_size
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.splice import splice_member
from paig_gateway.formats.text import Media, bound

SEARCHES = 20
"""Server-side tool calls assumed at most where a request sets no bound of its own."""

# Parts of a message that consist only of text.
_TEXT_PARTS = frozenset({"text", "refusal", "thinking", "redacted_thinking", "reference", "tool_reference"})
# Members that set tools of the server's own to work: OpenAI, OpenRouter, xAI, Qwen, Groq, Azure.
_SERVER_TOOLS = (
    "web_search_options",
    "plugins",
    "search_parameters",
    "enable_search",
    "compound_custom",
    "mcp_servers",
    "data_sources",
    "dataSources",
)
_RESULTS = ("max_results", "max_total_results", "max_search_results")
# OpenAI's name of the output maximum, and the older one.
_MAXIMA = ("max_completion_tokens", "max_tokens")
# Models that search or run tools whether asked to or not: Perplexity, Groq's compound systems, OpenAI's search models.
_SEARCHING = re.compile(r"sonar|compound|search|deep-research|:online$")


def media_in(messages: Raw | None) -> Media:
    """The media in a list of chat messages."""
    media = Media()
    for message in reading.objects(messages):
        if "audio" in message and reading.present(message["audio"]):  # an earlier spoken answer, kept at the provider
            media.unbounded()
        for part in reading.objects(message.get("content")):
            kind = reading.string(part.get("type"))
            if kind == "image_url":
                image = part.get("image_url")
                inside = reading.members(image)
                media.image(image, reading.string(inside.get("detail")), inside)
            elif kind == "input_audio":
                media.audio(part.get("input_audio"))
            elif kind == "file":
                media.document(part.get("file"))
            elif kind not in _TEXT_PARTS:
                media.unbounded()
    return media


def _server_tools(top: Members, tools: list[Members], model: str) -> frozenset[str]:
    """What runs at the provider, by the names that the request uses; for a model that always searches, its own name."""
    if not tools and top.keys().isdisjoint(_SERVER_TOOLS) and _SEARCHING.search(model) is None:
        return frozenset()
    kinds = {reading.string(tool.get("type")) or "function" for tool in tools} - {"function", "custom"}
    asked = {name for name in _SERVER_TOOLS if reading.present(top.get(name)) and not _is_off(top[name])}
    return frozenset(kinds | asked | ({model} if _SEARCHING.search(model) else set()))


def _results(top: Members, tools: list[Members]) -> list[int]:
    """How many results of searches the request allows, each of which may be billed."""
    asking = (reading.members(tool.get("parameters")) for tool in tools)
    options = (reading.members(top.get("search_parameters")), *reading.objects(top.get("plugins")), *tools, *asking)
    return [reading.count(option[name], 0, name) for option in options for name in _RESULTS if name in option] or [0]


AGENTS = 16
"""Agents that a multi-agent model lets work side by side at most: Grok's at high effort."""

PRO = 16
"""How often a mode that tries several times is assumed to do the work; no provider documents a number."""

SUBAGENTS = 3
"""Subagents of OpenAI's multi-agent mode at a time, where the request does not say."""

DRAWN = 2 * 2_520
"""Output tokens of the pictures in an answer of a chat model that draws: two of 4K by Gemini 3.1 Flash Image."""


def repeats(top: Members, model: str) -> int:
    """How many times over the work may be done: agents side by side, modes that try several times."""
    if "multi_agent" not in top and "reasoning" not in top and "multi-agent" not in model.lower():
        return 1
    agents = reading.members(top.get("multi_agent"))
    count = 1
    if agents and reading.truth(agents.get("enabled", msgspec.Raw(b"true"))):
        count = 1 + reading.count(agents.get("max_concurrent_subagents"), SUBAGENTS, "max_concurrent_subagents")
    elif "multi_agent" in top and not agents and not _is_off(top["multi_agent"]):
        count = AGENTS
    if "multi-agent" in model.lower():
        count = max(count, AGENTS)
    mode = reading.string(reading.members(top.get("reasoning")).get("mode"))
    return count * (PRO if mode not in (None, "", "standard") else 1)


def modifiers(top: Members) -> dict[str, str]:
    """What changes the price, as the request words it."""
    names = [name for name in ("service_tier", "speed", "inference_geo") if name in top]
    return {name: value for name in names if (value := reading.string(top[name]))}


_TWELVE_HOURS = re.compile(rb"12h")  # a pattern finds three bytes in a quarter of the time that `in` takes


def keeps_cache(body: bytes) -> bool:
    """Whether what is written to the prompt cache is to be kept for twelve hours (`ttl`), which costs more."""
    return _TWELVE_HOURS.search(body) is not None and reading.mentions(body, "12h")


def _is_off(raw: Raw) -> bool:
    return bytes(raw) in (b"false", b"[]")


def _asks_usage(top: Members) -> bool:
    return "stream_options" in top and reading.literally(
        reading.members(top.get("stream_options")).get("include_usage")
    )


def _speaks(raw: Raw | None) -> bool:
    return raw is not None and any(kind != "text" for kind in each(reading.value(raw)))


def read_chat(model: str | None, body: bytes) -> Call:
    """Read a chat completions request."""
    top = reading.request(body)
    # Mistral's agents have a model that the request does not name.
    by_agent = not model and not reading.present(top.get("model")) and reading.present(top.get("agent_id"))
    instead = tuple(call.model for call in references.models_instead(top))
    # OpenRouter takes a list of models alone, of which the first one is asked first.
    first = next(iter(instead), None) if "models" in top and not reading.present(top.get("model")) else None
    named = "" if by_agent else reading.model_of(top, model or first)
    media = media_in(top.get("messages"))
    tools = reading.objects(top.get("tools"))
    server_tools = _server_tools(top, tools, named)
    n = reading.answers(top.get("n"))
    maxima = tuple(name for name in _MAXIMA if name in top and reading.present(top[name]))
    budget = reading.members(top["reasoning"]).get("max_tokens") if "reasoning" in top else None
    most = reading.with_budget(reading.largest(*(top[name] for name in maxima)), budget)
    draws = "image" in named
    return Call(
        model=named,
        stream=reading.truth(top.get("stream")),
        background=reading.truth(top.get("deferred")),
        input_tokens=bound(body, media, tools=len(tools) + len(reading.array(top.get("functions")))),
        output_tokens=None if most is None else most * n,
        maxima=maxima,
        answers=n,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        media_out=draws or _speaks(top.get("modalities")) or reading.present(top.get("audio")),
        cache_write=True,
        long_cache=keeps_cache(body),
        searches=max(SEARCHES, *_results(top, tools)) if server_tools else 0,
        unbounded_tools=bool(server_tools),
        asks_usage=_asks_usage(top),
        service_tier=reading.string(top.get("service_tier")),
        extra_output=(reading.size(top.get("prediction")) + DRAWN * draws) * n,
        repeats=repeats(top, named),
        server_tools=server_tools,
        modifiers=modifiers(top),
        thinking=reading.integer(budget),
        fallbacks=instead,
        also=tuple(references.models_besides(top)),
        session=reading.string(top.get("prompt_cache_key")),
        stores=reading.truth(top.get("store")),
    )


def _read_completions(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    prompt = reading.array(top.get("prompt"))
    several = len(prompt) if any(bytes(first)[:1] in (b'"', b"[") for first in prompt[:1]) else 1
    n = max(reading.answers(top.get("n")), reading.answers(top.get("best_of"))) * several
    most = reading.largest(top.get("max_tokens"))
    return Call(
        model=reading.model_of(top, model),
        stream=reading.truth(top.get("stream")),
        input_tokens=bound(body, Media()),
        output_tokens=None if most is None else most * n,
        answers=n,
        cache_write=True,
        asks_usage=_asks_usage(top),
        service_tier=reading.string(top.get("service_tier")),
    )


def asks(body: bytes) -> bytes:
    """Request usage in the stream; only for streamed requests, since others may not do so."""
    options = reading.members(body).get("stream_options")
    if options is not None and bytes(options).startswith(b"{"):
        return splice_member(body, ("stream_options", "include_usage"), b"true")
    return splice_member(body, ("stream_options",), b'{"include_usage":true}')


def is_asked_only(event: StreamEvent) -> bool:
    """Whether an event has usage, no choice, and nothing else that a client could want to see."""
    top = reading.members(event.data)
    choices = top.get("choices")
    if choices is None or bytes(choices).translate(None, b" \t\r\n") != b"[]":
        return False
    extras = [bytes(raw) for name, raw in top.items() if name not in ("choices", "usage", "x_groq")]
    holds_more = any(raw[:1] in (b"{", b"[") and raw not in (b"{}", b"[]") for raw in extras)
    return bool(reading.members(top.get("usage"))) and not holds_more


# Usage, the end, and errors; `"usage":null` is in every chunk of some.
_MARKER = Marker(
    rb'"usage"\s*:\s*\{',
    rb'"finish_reason"\s*:\s*"',
    rb'"error"\s*:\s*[{"]',
    rb'"executed_tools"',
    (b'"audio"', rb'"audio"\s*:\s*\{\s*"id"'),
    (b"$", rb'"\$web_search"'),
    rb"\[DONE\]",
    EVENT_ERROR,
)


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take a chunk in. Usage is final with the end: no choice any more, a finish reason seen, or `[DONE]`."""
    if event.data.strip() == b"[DONE]":
        folding.finish(body)
        return
    top = reading.members(event.data)
    folding.keep(body, top, ("id", "model", "service_tier", "system_fingerprint", "provider", "usage_breakdown"))
    folding.keep(body, top, ("web_search", "cost"))
    folding.note_error(body, folding.error_of(event, top))
    choices = reading.objects(top.get("choices"))
    for choice in choices:
        _fold_choice(body, choice)
    usage = folding.usage_in(top.get("usage")) or folding.usage_in(reading.members(top.get("x_groq")).get("usage"))
    for choice in choices:  # Moonshot's place
        usage = usage or folding.usage_in(choice.get("usage"))
    folding.note_usage(body, usage, final=not choices or folding.END in body)


def _fold_choice(body: dict[str, object], choice: Members) -> None:
    """Keep a choice's end, and the tools that ran at the provider."""
    known = mapping(next(iter(each(body.get("choices"))), None))
    kept = dict(known)
    if reason := reading.string(choice.get("finish_reason")):
        body[folding.END] = True
        kept["finish_reason"] = reason
    message = dict(mapping(known.get("message")))
    delta = reading.members(choice.get("delta")) or reading.members(choice.get("message"))
    if executed := each(reading.value(delta.get("executed_tools"))):
        message["executed_tools"] = _by_index(each(message.get("executed_tools")), executed)
    if (id := reading.string(reading.members(delta.get("audio")).get("id"))) is not None:
        message["audio"] = {"id": id}
    calls = [call for call in each(reading.value(delta.get("tool_calls"))) if dig(call, "function", "name")]
    if calls:
        message["tool_calls"] = folding.appended(message.get("tool_calls"), calls)
    if message:
        kept["message"] = message
    if kept:
        body["choices"] = [kept]


def _by_index(known: list[object], new: list[object]) -> list[object]:
    """Executed tools: each is sent when it begins and again when it has ended, with the same index."""
    if len(known) >= folding.MOST_ITEMS:
        return known
    found = {dig(tool, "index") if dig(tool, "index") is not None else place: tool for place, tool in enumerate(known)}
    for place, tool in enumerate(new):
        index = dig(tool, "index")
        found[index if index is not None else len(known) + place] = tool
    return list(found.values())[: folding.MOST_ITEMS]


def text(event: StreamEvent) -> str:
    """The model's output in a chunk or a body: text, reasoning, tool calls."""
    pieces: list[object] = []
    for choice in each(dig(reading.value(event.data), "choices")):
        pieces.append(dig(choice, "text"))
        for message in (dig(choice, "delta"), dig(choice, "message")):
            pieces += _texts(message)
    return joined(*pieces)


def _texts(message: object) -> list[object]:
    content = dig(message, "content")
    pieces = [content, dig(message, "reasoning_content") or dig(message, "reasoning"), dig(message, "refusal")]
    for part in each(content):
        pieces.append(dig(part, "text"))
        pieces += [dig(thought, "text") for thought in each(dig(part, "thinking"))]
    calls = [dig(call, "function") for call in each(dig(message, "tool_calls"))]
    for function in (*calls, dig(message, "function_call")):
        pieces += [dig(function, "name"), dig(function, "arguments")]
    pieces.append(dig(message, "audio", "transcript"))
    return pieces


def generated(event: StreamEvent) -> Generated:
    """Encrypted reasoning, images and audio in a chunk or a body."""
    found = Generated()
    for choice in each(dig(reading.value(event.data), "choices")):
        for message in (dig(choice, "delta"), dig(choice, "message")):
            hidden = sum(text_size(dig(part, "data")) for part in each(dig(message, "reasoning_details")))
            parts = [part for part in each(dig(message, "content")) if dig(part, "type") == "image_url"]
            images = len(each(dig(message, "images"))) + len(parts)
            found += Generated(in_base64(hidden), images, in_base64(text_size(dig(message, "audio", "data"))))
    return found


def context(body: Json, headers: Mapping[str, str]) -> dict[str, str]:
    """The service tier that the answer names, and how much Perplexity searched."""
    tier = body.get("service_tier") or dig(body, "usage", "service_tier")
    found = {"service_tier": tier.lower()} if isinstance(tier, str) and tier.lower() not in ("", "auto") else {}
    traffic = dig(body, "usage", "extra_properties", "google", "traffic_type")
    if isinstance(size := dig(body, "usage", "search_context_size"), str):
        found["search_context_size"] = size.lower()
    return found | folding.traffic_type(traffic)


REFUSED_OPTION = re.compile(rb"stream_?options|include_?usage", re.IGNORECASE)

_UNKNOWN_MEMBER = re.compile(
    rb"(?:extra|additional|unexpected|unknown|unrecognized|unsupported)[ _](?:\w+ )?"
    rb"(?:inputs?|fields?|parameters?|arguments?|propert(?:y|ies)|keys?|members?)",
    re.IGNORECASE,
)


def refuses_stream_options(status: int, body: bytes) -> bool:
    """Whether a refusal is about `stream_options`, which some servers do not support."""
    return status in (400, 404, 415, 422, 500) and REFUSED_OPTION.search(body[:65536]) is not None


def refuses_some_member(status: int, body: bytes) -> bool:
    """Whether a refusal is about a member of the request that the server does not know, whichever it is."""
    return status in (400, 422) and _UNKNOWN_MEMBER.search(body[:65536]) is not None


def _deferred(body: Json) -> str | None:
    """The name of work whose answer is to be fetched later."""
    found = body.get("request_id")
    return found if isinstance(found, str) and found and not body.get("choices") else None


CHAT = Format(
    name="openai-chat",
    # Also Mistral's fill-in-the-middle, which is a chat answer to a prompt.
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?(?:chat|fim)/completions/?$"),
    read=read_chat,
    flavor="chat",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    usage_paths=(("usage",), ("x_groq", "usage")),
    splice_streams=True,
    asks=asks,
    is_asked_only=is_asked_only,
    context=context,
    text=text,
    generated=generated,
    # A deferred completion is fetched later by its `request_id`.
    work_id=_deferred,
    answer=frozenset({"choices", "request_id"}),
)

DEFERRED = replace(
    CHAT,
    name="openai-chat-deferred",
    path=re.compile(r"(?!)"),
    methods=frozenset({"GET"}),
    read=lambda model, body: Call(model=""),
    framing=None,
    usage_marker=None,
    fold=None,
    splice_streams=False,
    asks=None,
    is_asked_only=None,
    work_id=None,
    answer=frozenset(),
    later_look=True,
)
"""A later look at a chat completion that was asked for before; until it is there, the answer is 202 and empty."""

COMPLETIONS = replace(
    CHAT,
    name="openai-completions",
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?(?<!agents/)completions/?$"),
    read=_read_completions,
    usage_paths=(("usage",),),
    work_id=None,
    answer=frozenset({"choices"}),
)
