"""The Responses API: asking, compacting, deciding, and looking again at a stored response."""

from __future__ import annotations

import re

from paig_gateway.formats import folding, reading, references
from paig_gateway.formats.ambiguity import read_once
from paig_gateway.formats.base import EVENT_ERROR, Call, Format, Generated, Json, Marker, StreamEvent
from paig_gateway.formats.folding import dig, each, in_base64, joined
from paig_gateway.formats.openai_chat import SEARCHES, context, keeps_cache, modifiers, repeats
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.text import GENERATED_IMAGE, Media, bound

# Tools that the client runs; whatever else there is runs at the provider and feeds its results back into the input.
_CLIENT_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch", "namespace"})
_COMPUTER_TOOLS = frozenset({"computer", "computer_use_preview", "computer-preview"})
# Tools whose calls cost nothing apiece.
_NOT_BILLED_BY_CALL = frozenset({"image_generation", "mcp", "code_interpreter", "shell", "tool_search"})
_CONTAINERS = frozenset({"code_interpreter", "shell"})
LARGEST_CONTAINER = 64
"""Gigabytes of memory of the largest container."""
IMAGES = 2
"""Images that a tool is assumed to make in one answer at most, where `max_tool_calls` says no less."""
# Parts and items that consist only of text; encrypted reasoning is longer than the reasoning itself.
_TEXT = frozenset(
    {
        *("input_text", "output_text", "text", "refusal", "reasoning", "reasoning_text", "summary_text", "compaction"),
        *("function_call", "custom_tool_call", "local_shell_call", "local_shell_call_output", "shell_call"),
        *("shell_call_output", "apply_patch_call", "apply_patch_call_output", "computer_call", "web_search_call"),
        *("file_search_call", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"),
        *("tool_search_call", "program", "program_output"),
    }
)
# Items of the input that add tools to those of the request: Codex sends all of its tools in one.
_ADD_TOOLS = frozenset({"additional_tools", "tool_search_output"})
# Fields that make the provider add input that is not in the request.
_REFERENCES = ("previous_response_id", "conversation", "prompt")
_ENDS = frozenset({"completed", "incomplete", "failed", "cancelled"})


def _media_in(items: Raw | None, media: Media, added: list[Raw] | None = None) -> Media:
    """The media in a list of input items, or of a message's content parts; tools of items go into `added`."""
    for item in reading.objects(items):
        kind = reading.string(item.get("type"))
        if kind in (None, "message"):
            _media_in(item.get("content"), media)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            _media_in(item.get("output"), media)
        elif kind == "input_image":
            media.image(item.get("image_url"), reading.string(item.get("detail")))
        elif kind == "image_generation_call":
            media.image(item.get("result"))
        elif kind == "computer_call_output":
            media.image(reading.members(item.get("output")).get("image_url"))
        elif kind == "input_audio":
            media.audio(item.get("input_audio"))
        elif kind == "input_file" and not reading.present(item.get("file_id")):
            media.document(item.get("file_data"))
        elif kind in _ADD_TOOLS and added is not None:
            added.extend(reading.array(item.get("tools")))
        elif kind not in _TEXT:  # files, audio, references to stored items, what is yet unknown
            media.unbounded()
    return media


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    added: list[Raw] = []
    media = _media_in(top.get("input"), Media(), added)
    if any(reading.present(top.get(name)) for name in _REFERENCES):
        media.unbounded()
    tools = [*reading.objects(top.get("tools")), *(read_once(bytes(tool), "input.tools") for tool in added)]
    kinds = ["function" if _is_client_search(tool) else reading.string(tool.get("type")) for tool in tools]
    server_tools = {kind or "" for kind in kinds if kind not in _CLIENT_TOOLS | _COMPUTER_TOOLS}
    searches = reading.count(top.get("max_tool_calls"), SEARCHES, "max_tool_calls")
    searching = bool(server_tools - _NOT_BILLED_BY_CALL)
    images = min(IMAGES, searches) if "image_generation" in server_tools else 0
    only_images = server_tools == {"image_generation"}
    named = _model(top, model)
    text = bound(body, media, tools=len(kinds), built_in=sum(kind in _COMPUTER_TOOLS for kind in kinds))
    return Call(
        model=named,
        stream=reading.truth(top.get("stream")),
        # The model reads everything again after each image, and the image.
        input_tokens=text + images * (text + GENERATED_IMAGE) if only_images else text,
        output_tokens=reading.largest(top.get("max_output_tokens")),
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        media_out="image_generation" in server_tools,
        cache_write=True,
        long_cache=keeps_cache(body),
        searches=searches if searching else 0,
        unbounded_tools=bool(server_tools) and not only_images,
        server_tools=frozenset(server_tools),
        units=_units(tools, images),
        modifiers=modifiers(top),
        extra_output=reading.size(top.get("prediction")),
        repeats=repeats(top, named),
        fallbacks=tuple(call.model for call in references.models_instead(top)),
        also=tuple(references.models_besides(top, added)),
        asks_usage=True,
        service_tier=reading.string(top.get("service_tier")),
        background=reading.truth(top.get("background")),
        session=reading.string(top.get("prompt_cache_key")),
        stored=reading.string(top.get("previous_response_id")) or _conversation(top.get("conversation")),
    )


def _is_client_search(tool: Members) -> bool:
    """Whether a tool is the search for tools that the client runs."""
    return reading.string(tool.get("type")) == "tool_search" and reading.string(tool.get("execution")) == "client"


def _units(tools: list[Members], images: int) -> dict[str, int]:
    """What tools make billable besides their calls: images, and containers by the gigabyte of their memory."""
    found = {"tool_images": images} if images else {}
    sizes = [_memory(tool) for tool in tools if reading.string(tool.get("type")) in _CONTAINERS]
    return {**found, "tool_containers": sum(sizes)} if sizes else found


def _memory(tool: Members) -> int:
    """The gigabytes of the container that a tool asks for."""
    container = reading.members(tool.get("container")) or reading.members(tool.get("environment"))
    if not reading.present(container.get("memory_limit")):
        return 1
    stated = re.fullmatch(r"(\d{1,3})[gG]", reading.string(container["memory_limit"]) or "")
    return int(stated[1]) if stated else LARGEST_CONTAINER


def _model(top: reading.Members, model: str | None) -> str:
    """The requested model; empty if a stored prompt may name it."""
    named = reading.present(top.get("model")) or model
    return reading.model_of(top, model) if named or not reading.present(top.get("prompt")) else ""


def _conversation(raw: Raw | None) -> str | None:
    """The conversation's id, given as a string or in an object."""
    return reading.string(raw) or reading.string(reading.members(raw).get("id"))


_MARKER = Marker(
    rb'"usage"\s*:\s*\{',
    rb'"error"\s*:\s*[{"]',
    (b'"error"', rb'"type"\s*:\s*"error"'),
    rb"response\.(?:created|completed|incomplete|failed|cancelled)\b",
    rb'"response\.output_item\.done"',
    EVENT_ERROR,
)
# The kept members of an output item: its kind, and what identifies a billed call.
_ITEM = ("type", "id", "status", "action", "container_id", "environment", "size", "quality")


def fold(body: dict[str, object], event: StreamEvent) -> None:
    """Take an event in. Usage is final with the response's end, whichever it is."""
    top = reading.members(event.data)
    kind = reading.string(top.get("type")) or event.name
    if kind == "error":
        folding.note_error(body, folding.error_of(StreamEvent("error", event.data), top))
        return
    folding.note_error(body, folding.error_of(event, top))
    if kind == "response.output_item.done":
        _keep_item(body, _kept_item(top.get("item")))
    response = reading.members(top.get("response"))
    if ended_items := [_kept_item(bytes(raw)) for raw in reading.array(response.get("output"))]:
        body["output"] = ended_items
    folding.keep(body, response, ("id", "object", "model", "status", "service_tier", "background"))
    folding.keep(body, response, ("incomplete_details", "tool_usage", "tools"))
    folding.note_error(body, reading.value(response.get("error")))
    ended = kind.rpartition(".")[2] in _ENDS or reading.string(response.get("status")) in _ENDS
    if ended and kind != "response.output_item.done":
        body[folding.END] = True
    ended = folding.END in body
    folding.note_usage(body, folding.usage_in(response.get("usage")), final=ended)


def _keep_item(body: dict[str, object], new: dict[str, object]) -> None:
    """Put an item in the place of the one with the same id, or at the end."""
    known = each(body.get("output"))
    items = folding.appended(known, [new])
    if items is not known:
        body["output"] = list({dig(item, "id") or place: item for place, item in enumerate(items)}.values())


def _kept_item(raw: Raw | None) -> dict[str, object]:
    item = reading.members(raw)
    kept = {name: reading.value(item[name]) for name in _ITEM if name in item}
    size = len(_item_text(reading.value(raw)).encode("utf-8", "replace")) if raw is not None else 0
    return {**kept, folding.TEXT_SIZE: size} if size else kept


def _item_text(item: object) -> str:
    """The model's output in an item: text, reasoning, arguments of calls."""
    pieces = [dig(item, "name"), dig(item, "arguments"), dig(item, "input"), dig(item, "code")]
    pieces += [dig(item, "operation", "diff"), *each(dig(item, "action", "commands"))]
    pieces += [dig(part, "text") for part in (*each(dig(item, "content")), *each(dig(item, "summary")))]
    return joined(*pieces)


def generated(event: StreamEvent) -> Generated:
    """Encrypted reasoning, images and audio in an event or a body."""
    top = reading.members(event.data)
    kind = reading.string(top.get("type"))
    if kind in ("response.audio.delta", "response.output_audio.delta"):
        return Generated(audio_bytes=in_base64(reading.size(top.get("delta"))))
    raws = [top["item"]] if kind == "response.output_item.done" and "item" in top else reading.array(top.get("output"))
    found = Generated()
    for raw in raws:
        item = reading.members(raw)
        found += Generated(
            hidden_bytes=in_base64(reading.size(item.get("encrypted_content"))),
            images=int(reading.string(item.get("type")) == "image_generation_call"),
        )
    return found


def text(event: StreamEvent) -> str:
    """The model's output in an event or a body: text, reasoning, arguments of calls."""
    data = reading.value(event.data)
    kind = dig(data, "type")
    if isinstance(kind, str) and kind.endswith(".delta"):
        return "" if kind.endswith("audio.delta") else joined(dig(data, "delta"))
    pieces = [dig(data, "item", "name")] if kind == "response.output_item.added" else []
    return joined(*pieces, *map(_item_text, each(dig(data, "output"))))


def work_id(body: Json) -> str | None:
    """The stored response's id."""
    found = body.get("id")
    return found if isinstance(found, str) and found else None


_USAGE_PATHS = (("usage",), ("response", "usage"))

RESPONSES = Format(
    name="openai-responses",
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?responses/?$"),
    read=_read,
    flavor="responses",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    usage_paths=_USAGE_PATHS,
    splice_streams=True,
    context=context,
    work_id=work_id,
    text=text,
    generated=generated,
    answer=frozenset({"output", "status"}),
)

COMPACT = Format(
    name="openai-responses-compact",
    path=re.compile(r"(?:^|/)responses/compact/?$"),
    read=_read,
    flavor="responses",
    usage_paths=(("usage",),),
    context=context,
    text=text,
    answer=frozenset({"output"}),
)

DECISIONS = Format(
    name="openai-decisions",
    path=re.compile(r"(?:^|/)decisions/?$"),
    read=_read,
    flavor="responses",
    usage_paths=(("usage",),),
    context=context,
    answer=frozenset({"answers"}),
)
"""Questions about an input, answered by probabilities (openai 3.57, `types/decision.py`)."""

LATER_LOOK = Format(
    name="openai-responses-get",
    path=re.compile(r"(?:^|/)responses/(?P<stored>[^/]+)/?$"),
    methods=frozenset({"GET"}),
    read=lambda model, body: Call(model=""),
    flavor="responses",
    framing="sse",
    usage_marker=_MARKER,
    fold=fold,
    usage_paths=_USAGE_PATHS,
    splice_streams=True,
    context=context,
    work_id=work_id,
    text=text,
    later_look=True,
)
