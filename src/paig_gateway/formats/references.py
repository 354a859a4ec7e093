"""Stored objects that a request's body names: files, responses, vector stores, containers, cached contents.

Only names at which a provider looks something up count. What the client itself made up (schemas and arguments of its
tools, metadata) and what an earlier answer cited is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import msgspec

from paig_gateway.formats import form
from paig_gateway.formats.base import MalformedRequest

MOST = 1_000
"""Stored objects that one request may name."""

_NAMES = frozenset(
    {
        *("previous_response_id", "previous_interaction_id", "conversation", "conversation_id", "container"),
        *("container_id", "file_id", "file_ids", "input_file_id", "input_file_ids", "input_files", "training_file"),
        *("validation_file", "vector_store_id", "vector_store_ids", "fileSearchStoreNames", "file_search_store_names"),
        *("cachedContent", "cached_content", "fileUri", "file_uri", "fileName", "file_name", "assistant_id"),
        *("thread_id", "agent_id", "agent", "environment_id", "memory_store_id", "memory_store_ids", "vault_ids"),
        *("skill_id", "library_id", "library_ids", "eval_id", "batch_id", "operationName", "operation_name"),
        *("video_id", "collection_id", "collection_ids", "datasetId", "dataset_id", "deployment_id"),
    }
)
_MARKER = re.compile(rb'"(?:%b)"' % b"|".join(sorted(name.encode() for name in _NAMES)))
# Names of which only certain values are stored objects; others are well-known things or places elsewhere.
_PREFIXES = {"agent": "agent_", "skill_id": "skill_", "fileName": "files/", "file_name": "files/"}
_WORDS = {"conversation": ("auto", "none")}
"""Values that are no ids: the Realtime API says so whether an answer belongs to the session's conversation."""
_PLACES = frozenset({"fileUri", "file_uri"})
_PASSED_OVER = frozenset(
    {
        *("parameters", "input_schema", "inputSchema", "schema", "json_schema", "properties", "args", "arguments"),
        *("metadata", "client_metadata", "labels", "annotations", "citations", "enum", "default", "examples"),
    }
)


def stored_ids(body: bytes) -> list[str]:
    """The ids of stored objects that a body names, each once, in their order.

    Raises:
        MalformedRequest: There are too many.
    """
    if form.is_form(body):
        found = list(_in_form(body))
    elif _MARKER.search(body) is None and b"\\u00" not in body:
        return []
    else:
        found = list(_in_json(body))
    ids = list(dict.fromkeys(found))
    if len(ids) > MOST:
        raise MalformedRequest(f"The request names more than {MOST} stored objects.")
    return ids


def last_name(name: str) -> str:
    """The id in a resource's name: `files/abc` and `projects/p/locations/l/cachedContents/abc` both end in it."""
    return name.rstrip("/").rpartition("/")[2] if not name.startswith("arn:") else name


def _in_form(body: bytes) -> Iterator[str]:
    for name, start, end in form.fields(body):
        yield from ids_in_field(name, body[start : min(end, start + 513)])


def ids_in_field(name: str, content: bytes) -> Iterator[str]:
    """The ids of stored objects that a field of a form names."""
    name = name.partition("[")[0]
    if name in _NAMES and len(content) <= 512:
        yield from _ids(name, content.decode("utf-8", "replace").strip())


def _in_json(body: bytes) -> Iterator[str]:
    try:
        stack: list[object] = [msgspec.json.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack.extend(reversed(value))
            continue
        if not isinstance(value, dict):
            continue
        inner = cast("dict[str, object]", value)
        made_up = str(inner.get("type", "")).endswith("tool_use")
        for name, member in inner.items():
            if name in _PASSED_OVER or (made_up and name == "input") or (name == "response" and "name" in inner):
                continue
            if name in _NAMES:
                yield from _ids(name, member)
            if isinstance(member, (dict, list)):
                stack.append(member)


def _ids(name: str, value: object) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            if isinstance(one, str):
                yield from _ids(name, one)
    elif isinstance(value, dict):
        id = value.get("id")
        if isinstance(id, str) and name in ("conversation", "container"):
            yield id
    elif isinstance(value, str) and value and value.startswith(_PREFIXES.get(name, "")) and _is_stored(name, value):
        yield last_name(value)


def _is_stored(name: str, value: str) -> bool:
    """Whether a place is one at the provider that the request goes to, and not a bucket or a web page."""
    if value in _WORDS.get(name, ()):
        return False
    return name not in _PLACES or "://" not in value or re.search(r"://[^/]*/(?:v\w+/)?files/", value) is not None
