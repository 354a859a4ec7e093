"""What a request's body names: stored objects, and further models.

Stored objects are files, responses and their items, vector stores, containers. Only names at which a provider looks
something up count, in whichever spelling a lenient server takes them. What the client itself made up (schemas and
arguments of its tools, metadata) and what an earlier answer cited is passed over. So are OpenAI's prompts and
workflows: they are made in its dashboard, for all keys of the account.

Further models are fallbacks, advisors, agents. Each must be among the key's models, and what it may cost is held, so
they are collected from everywhere that any API is known to take one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from paig_gateway.formats import form, reading
from paig_gateway.formats.ambiguity import read_once
from paig_gateway.formats.base import MalformedRequest, ModelCall
from paig_gateway.formats.reading import Members, Raw

MOST = 1_000
"""Stored objects that one request may name."""

_NAMES = frozenset(
    {
        *("previous_response_id", "previous_interaction_id", "conversation", "conversation_id", "container"),
        *("container_id", "file_id", "file_ids", "input_file_id", "input_file_ids", "input_files", "training_file"),
        *("training_files", "validation_file", "validation_files", "vector_store_id", "vector_store_ids"),
        *("file_search_store_names", "cached_content", "file_uri", "uri", "file_name", "assistant_id", "thread_id"),
        *("agent_id", "agent", "environment_id", "memory_store_id", "memory_store_ids", "vault_ids", "skill_id"),
        *("library_id", "library_ids", "eval_id", "batch_id", "operation_name", "video_id", "collection_id"),
        *("collection_ids", "dataset_id", "deployment_id", "audio", "video", "voice", "characters"),
        *("consent", "from_checkpoint", "rag_corpus", "rag_corpora", "rag_file_ids", "semantic_retriever"),
        *("user_profile_id", "upload_id", "connectors", "connector_id"),
    }
)


def _plain(name: str) -> str:
    """A name as the most lenient server compares it: `fileUri`, `file_uri` and `FileURI` are one."""
    return name.replace("_", "").lower()


_KNOWN = frozenset(map(_plain, _NAMES))
_TYPES = frozenset({"item_reference", "file_id", "agent"})
"""Objects of these types name something by their own `id`."""
_ALL = frozenset({"stored_completions", "responses"})
"""Sources of these types mean everything that the account has, which no key owns."""
_DATA_SOURCE = "data_source"
"""The data source of an eval run: its own type may be `responses`, but the source inside it decides."""
_WORDS = frozenset(word.encode() for word in (*_KNOWN, *map(_plain, (*_TYPES, *_ALL))))
_LONGEST = max(map(len, _NAMES)) + 8
_QUOTED = re.compile(rb'"([A-Za-z_]{2,%d})"' % _LONGEST)


@lru_cache(maxsize=1024)
def _plain_word(word: bytes) -> bytes:
    return word.lower().replace(b"_", b"")


_ESCAPED = re.compile(rb"\\u00[4-7]")
"""A letter or an underscore, written as an escape."""

# Names of which only certain values are stored objects; others are well-known things or places elsewhere.
_PREFIXES = {"agent": "agent_", "skillid": "skill_", "filename": "files/"}
_OBJECTS_ALONE = frozenset({"audio", "video", "voice", "characters", "connectors"})
"""Names whose strings are text or well-known things, and whose objects name something by their `id`."""
_NO_IDS = {"conversation": ("auto", "none"), "connectors": ("web-search",)}
"""Values that are no ids: the Realtime API says so whether an answer belongs to the session's conversation."""
_MEMBER = {"semanticretriever": "source"}
"""The member by which an object names something, if it is not `id`."""
_PLACES = frozenset({"fileuri", "uri"})
_PASSED_OVER = frozenset(
    {
        *("parameters", "input_schema", "inputSchema", "schema", "json_schema", "properties", "args", "arguments"),
        *("metadata", "client_metadata", "labels", "annotations", "citations", "enum", "default", "examples"),
    }
)
_OWN: Mapping[str | None, tuple[str, ...]] = {
    None: ("content",),
    "item_reference": (),
    "reasoning": ("encrypted_content", "content"),
    "compaction": ("encrypted_content",),
    "image_generation_call": ("result",),
    "file_search_call": ("results",),
}
"""Input items of the Responses API that stand for stored ones, unless they have one of these members."""


class _Object(list[tuple[str, object]]):
    """A JSON object with all of its members, also those of one name."""


def _object(pairs: list[tuple[str, object]]) -> _Object:
    """An `_Object`; made by a function in Python, so that other threads have their turn while a large body is read."""
    return _Object(pairs)


def stored_ids(body: bytes) -> list[str]:
    """The ids of stored objects that a body names, each once, in their order.

    Raises:
        MalformedRequest: There are too many; or the body may name some, and cannot be read.
    """
    ids: dict[str, None] = {}
    for id in _in_form(body) if form.is_form(body) else _in_text(body):
        ids[id] = None
        if len(ids) > MOST:
            raise MalformedRequest(f"The request names more than {MOST} stored objects.")
    return list(ids)


def last_name(name: str) -> str:
    """The id in a resource's name: `files/abc` and `projects/p/locations/l/cachedContents/abc` both end in it."""
    return name.rstrip("/").rpartition("/")[2] if not name.startswith("arn:") else name


def _in_form(body: bytes) -> Iterator[str]:
    for name, start, end in form.fields(body):
        yield from ids_in_field(name, body[start:end])


def ids_in_field(name: str, content: bytes) -> Iterator[str]:
    """The ids of stored objects that a field of a form names: `file_id`, `image[0][file_id]`, or one in JSON.

    Raises:
        MalformedRequest: As `stored_ids`.
    """
    if content.lstrip()[:1] in (b"{", b"["):
        try:
            yield from _in_text(content)
        except MalformedRequest:
            return  # text that only looks like JSON
        return
    parts = [_plain(part) for part in re.split(r"[\[\].]+", name) if part]
    inner = next((part for part in reversed(parts) if part in _KNOWN), None)
    if inner is not None and (inner not in _OBJECTS_ALONE or parts[-1] == "id"):
        value = content[:513].decode("utf-8", "replace").strip()
        yield from _ids(inner, _Object([("id", value)]) if parts[-1] == "id" else value)


def _in_text(body: bytes) -> Iterator[str]:
    escaped = (b"\\" in body and _ESCAPED.search(body) is not None) or not _is_utf8(body)
    words = set(map(_plain_word, set(_QUOTED.findall(body))))
    if escaped or not words.isdisjoint(_WORDS):
        for text in _readings(body):
            yield from _in_json(text)
    if escaped or (b"id" in words and not words.isdisjoint((b"input", b"items"))):
        yield from _items(body)


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _readings(body: bytes) -> set[str]:
    """The text of a body; what is not UTF-8 is replaced by some servers and left away by others."""
    return {body.decode("utf-8", how).removeprefix("\ufeff") for how in ("replace", "ignore")}


def _in_json(text: str) -> Iterator[str]:
    try:
        # Numbers stay text: a very long one costs nothing, and may be an id.
        top = json.loads(text, object_pairs_hook=_object, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise MalformedRequest("The request body may name stored objects, and is not JSON.") from None
    stack: list[object] = [top]
    outer: set[int] = set()
    while stack:
        value = stack.pop()
        if not isinstance(value, _Object):
            if isinstance(value, list):
                stack.extend(reversed(value))
            continue
        names = {name for name, _ in value}
        types = {member.lower() for name, member in value if name == "type" and isinstance(member, str)}
        own = _own_words(names, types) if value is not top else ()
        if not types.isdisjoint(_TYPES):
            yield from _of_type(value, types)
        yield from (f"all {one}" for one in types & _ALL if one != "responses" or id(value) not in outer)
        for name, member in value:
            if name in _PASSED_OVER or name in own:
                stack.extend(_inside(name, member))
                continue
            if len(name) <= _LONGEST and (known := _plain(name)) in _KNOWN:
                yield from _ids(known, member)
            if name == "documents":
                stack.extend(_typed(member))
            elif isinstance(member, list):
                stack.append(member)
                if name == _DATA_SOURCE:
                    outer.add(id(member))


_CONVERSE_CALL = frozenset({"toolUseId", "name", "input", "type"})
_CONVERSE_JSON = frozenset({"json"})
_COHERE_RESULT = frozenset({"call", "outputs"})
_COHERE_DOCUMENT = frozenset({"id", "data"})


def _own_words(names: set[str], types: set[str]) -> tuple[str, ...]:
    """The members of an object that the client's own program said: arguments and results of its tools, its texts."""
    if "name" in names and "model" not in names and any(kind.endswith("tool_use") for kind in types):
        return ("input",)
    if "toolUseId" in names:
        return ("input",) if names <= _CONVERSE_CALL else ()
    if "name" in names and "type" not in names:
        return ("response",)  # of a function, at Google
    if names == _CONVERSE_JSON:
        return ("json",)
    if names == _COHERE_RESULT:
        return ("outputs",)
    if "data" in names and names <= _COHERE_DOCUMENT:
        return ("data",)
    if types == {"function_result"}:
        return ("result",)
    return ("results",) if types == {"file_search_call"} else ()


def _inside(name: str, member: object) -> Iterator[object]:
    """What counts nevertheless: the contents of a function's result in the Interactions API."""
    if name == "result" and isinstance(member, _Object):
        yield from (value for inner, value in member if inner == "items" and isinstance(value, list))
    elif name == "result" and isinstance(member, list):
        yield member


def _typed(documents: object) -> Iterator[object]:
    """Those of some documents that are contents; the others are texts under names of the client's choice."""
    if isinstance(documents, list) and not isinstance(documents, _Object):
        for one in documents:
            if isinstance(one, _Object) and any(name in ("type", "data") for name, _ in one):
                yield one
    elif isinstance(documents, _Object):
        yield documents


def _of_type(value: _Object, types: set[str]) -> Iterator[str]:
    """The `id` of an object whose type says that it names something."""
    for name, member in value:
        if name == "id" and isinstance(member, str) and (types != {"agent"} or member.startswith("agent_")):
            yield member


def _ids(name: str, value: object) -> Iterator[str]:
    if isinstance(value, _Object):
        for inner, id in value:
            if inner != _MEMBER.get(name, "id") or not isinstance(id, str):
                continue
            if id.startswith(_PREFIXES.get(name, "")) and id not in _NO_IDS.get(name, ()):
                yield last_name(id)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, (str, _Object)):
                yield from _ids(name, one)
    elif name in _OBJECTS_ALONE:
        return
    elif isinstance(value, str):
        text = value.strip()
        if text.startswith(_PREFIXES.get(name, "")) and _is_stored(name, text):
            yield last_name(text)


_GOOGLE = re.compile(r"\w+:/+[^/?#]*\bgenerativelanguage\.", re.IGNORECASE)
_GEMINI_FILE = re.compile(r"https?:/+[^/?#]+/(?:v\w+/)?files/[\w-]+(?:[:/?#]|$)", re.IGNORECASE)
"""A file at another host that speaks Google's API. Its ids have no dot, as names of files on web pages have."""


def _is_stored(name: str, value: str) -> bool:
    """Whether a place is one at the provider that the request goes to, and not a bucket or a web page."""
    if not value or value in _NO_IDS.get(name, ()):
        return False
    if name == "connectorid":
        return not value.startswith("connector_")  # OpenAI's own
    if name not in _PLACES:
        return True
    if "://" not in value:
        return name == "fileuri" or value.startswith("files/")
    return _GOOGLE.match(value) is not None or _GEMINI_FILE.match(value) is not None


_BARE = frozenset({"id", "type", "status", "role"})
"""An item with nothing else has nothing of its own."""


_EMPTY = (b"null", b'""', b"[]", b"{}")


def _has(raw: reading.Raw | None) -> bool:
    """Whether a member has a value that is not empty."""
    return raw is not None and bytes(memoryview(raw)[:8]).translate(None, b" \t\r\n") not in _EMPTY


def _items(body: bytes) -> Iterator[str]:
    """Items of a Responses request that stand for stored ones: they have an id, and nothing of their own."""
    top = reading.members(body)
    for member in ("input", "items"):
        for raw in reading.array(top.get(member)):
            item = reading.members(raw)
            kind = reading.string(item.get("type"))
            bare = item.keys() <= _BARE
            if "id" not in item or not (bare or kind in _OWN):
                continue
            if not bare and any(_has(item.get(name)) for name in _OWN[kind]):
                continue
            if kind is None and reading.present(item.get("type")):
                continue
            if id := reading.string(read_once(bytes(raw), member).get("id")):
                yield id


DEEPEST = 6
"""Levels that are looked into; no API nests a model's name deeper."""

# Members that list models of which one may answer in place of the request's own.
_INSTEAD = ("models", "fallbacks", "fallback_models", "fallback_model", "background_options", "route_models")
# Members that set further models to work, besides the request's own.
_BESIDES = ("tools", "agents", "subagents", "sub_agents", "advisor", "multi_agent", "multiagent", "plugins", "judge")
# Members whose content is the client's own data, in which "model" means nothing.
_DATA = frozenset({"parameters", "input_schema", "inputSchema", "schema", "json_schema", "function", "examples"})

MOST_MODELS = 1_000
"""Models that one list may name."""

CALLS = 20
"""How often a model that a tool brings in is assumed to be called at most, where the tool does not say."""


def models_instead(top: Members) -> list[ModelCall]:
    """The models that may answer in place of the request's own."""
    if top.keys().isdisjoint(_INSTEAD):
        return []
    return [call for name in _INSTEAD if name in top for call in _models_in(top[name], times=1, plain=True)]


def models_besides(top: Members, tools: Sequence[Raw] = ()) -> list[ModelCall]:
    """The models that may work besides the request's own.

    Args:
        tools: Tools that stand elsewhere in it.
    """
    if not tools and top.keys().isdisjoint(_BESIDES):
        return []
    places = [*(top[name] for name in _BESIDES if name in top), *tools]
    return [call for place in places for call in _models_in(place, times=CALLS, plain=False)]


def _models_in(raw: Raw, *, times: int, plain: bool, depth: int = 0) -> list[ModelCall]:
    """The models named in a value: as an object's `model`, and as plain strings where those name models."""
    if depth > DEEPEST or (b"model" not in (text := bytes(raw)) and not plain and b"\\u" not in text):
        return []
    if plain and (name := reading.string(raw)):
        return [] if name == "default" else [ModelCall(name, times)]
    if text.lstrip()[:1] == b"[":
        parts = reading.array(raw)
        if plain and len(parts) > MOST_MODELS:
            raise MalformedRequest(f"The request lists more than {MOST_MODELS} models.")
        return [one for part in parts for one in _models_in(part, times=times, plain=plain, depth=depth + 1)]
    found: list[ModelCall] = []
    members = reading.members(raw)
    for name, value in members.items():
        if name in ("model", "model_id", "modelId"):
            if model := reading.string(value):
                most = reading.largest(members.get("max_tokens"))
                found.append(ModelCall(model, reading.count(members.get("max_uses"), times, "max_uses"), most))
        elif name == "models":
            found += _models_in(value, times=times, plain=True, depth=depth + 1)
        elif name not in _DATA and bytes(value)[:1] in (b"{", b"["):
            found += _models_in(value, times=times, plain=False, depth=depth + 1)
    return found
