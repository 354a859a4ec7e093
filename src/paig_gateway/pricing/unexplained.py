"""Numbers in an answer that may be billed and that no table explains: one of them makes the cost `estimated`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from paig_gateway.formats.base import Json
from paig_gateway.formats.folding import dig, each, mapping

USAGE_OBJECTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "gemini": (("usageMetadata",),),
    "gemini-live": (("usageMetadata",),),
    "gemini-embed": (("usageMetadata",), ("metadata",)),
    "mistral-ocr": (("usage_info",),),
    "rerank": (("usage",), ("meta", "billed_units")),
    "cohere-embed": (("usage",), ("meta", "billed_units")),
    "cohere-chat": (("usage",), ("meta", "billed_units")),
}
"""The places of numbers that may be billed, by format, besides `DEFAULT_USAGE_OBJECTS`."""

DEFAULT_USAGE_OBJECTS = (("usage",), ("tool_usage",))

_TOKENS = (
    r"(?:input|output|prompt|completion|total|cached|cache_read|cache_write|cache_creation|cache_hit|cache_miss|"
    r"prompt_cache_hit|prompt_cache_miss|num_cached|local_cached|cache_read_input|cache_creation_input|cache_write_input|"
    r"cached_prompt_text|prompt_text|prompt_image|cached_text|cached_image|cached_audio|text|audio|image|video|document|"
    r"file|multimodal|reasoning|thinking|thought|thoughts|citation|search|tool|tool_use|accepted_prediction|"
    r"rejected_prediction|prediction|ephemeral_5m_input|ephemeral_1h_input|ttl_12h|ttl_30m|grok|connector)_tokens"
)
_CAMEL = (
    r"(?:(?:prompt|candidates|cachedContent|toolUsePrompt|thoughts|total|response|billablePrompt)?[tT]okenCount|"
    r"(?:input|output|total|cacheReadInput|cacheWriteInput)(?:Tokens|TokenCount)|billableCharacterCount)"
)
_EXPLAINED = re.compile(
    rf"(?:.*\.)?(?:{_TOKENS}|{_CAMEL})$"
    # How long the answer took.
    r"|(?:.*\.)?(?:\w*_time(?:_m?s)?|time_\w+|\w*latency\w*|\w*Latency|\w+_ms|tokens_per_second)$"
    # The provider's own charge, and the gateway's.
    r"|(?:.*\.)?(?:estimated_)?cost(?:_in_usd_ticks|_in_nano_usd|_details)?(?:\..*)?$"
    r"|(?:.*\.)?(?:logfire_ai_gateway|pydantic_ai_gateway)\..*$"
    # Counted by the table above, or free.
    r"|usage\.(?:server_tool_use(?:_details)?)\.(?:web_search_requests|web_fetch_requests|tool_search_requests|"
    r"tool_calls_requested|tool_calls_executed)$"
    r"|usage\.server_side_tool_usage_details\.(?:web_search|x_search|code_interpreter|file_search|collections_search|"
    r"document_search|attachment_search|mcp|view_image|view_x_video)_calls$"
    r"|usage\.(?:num_search_queries|num_sources_used|num_server_side_tools_used|prompt_audio_seconds|seconds|images?)$"
    r"|usage\.(?:total_(?:input|output|cached|thought|tool_use)_tokens|initial_input_tokens|"
    r"(?:input|output|cached|tool_use)_tokens_by_modality\[\]\.tokens|grounding_tool_count\[\]\.count)$"
    r"|usage\.connectors\.(?:web_search|web_search_premium|code_interpreter|image_generation|document_library)$"
    r"|usage\.tool_calls_details\.(?:search_web|fetch_url)\.invocation$"
    r"|tool_usage\.(?:web_search\.num_requests|image_gen\..*)$"
    r"|usage\.(?:billable_audio_seconds|input_text_messages)$"
    r"|usage_info\.(?:pages_processed|doc_size_bytes)$"
    r"|usage\.\w*Policy(?:Image|Free)?Units$"
    r"|(?:usage|meta)\.billed_units\.(?:search_units|images)$"
    r"|usage\.(?:iterations\[\]\..*)$"
)


def unexplained(fmt: str, body: Json) -> list[str]:
    """Numbers above zero in usage objects, and server tools in the output, that may be billed and have no row."""
    names: list[str] = []
    if fmt == "cohere-embed" and dig(body, "meta", "billed_units", "image_tokens"):
        return ["meta.billed_units.image_tokens"]  # dearer than those of text
    for place in USAGE_OBJECTS.get(fmt, ()) or DEFAULT_USAGE_OBJECTS:
        if place[0] in body:
            _note_numbers(dig(body, *place), ".".join(place), names)
    found = [name for name in names if not _is_explained(name)]
    return list(dict.fromkeys([*found, *_unknown_modalities(body), *_unknown_tools(body)]))


_MODALITIES = frozenset({"TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT", "MODALITY_UNSPECIFIED"})


def _unknown_modalities(body: Json) -> Iterator[str]:
    """Kinds of tokens of Gemini's that have no rate of their own here."""
    for name, details in mapping(body.get("usageMetadata")).items():
        for detail in each(details):
            kind = dig(detail, "modality")
            if isinstance(kind, str) and kind.upper() not in _MODALITIES and dig(detail, "tokenCount"):
                yield f"usageMetadata.{name} {kind}"


_LONGEST_KEPT = 256
"""The most characters of a name whose lookup is remembered: a provider may send any name."""


def _is_explained(name: str) -> bool:
    return _matches(name) if len(name) <= _LONGEST_KEPT else _matches.__wrapped__(name)


@lru_cache(maxsize=4096)
def _matches(name: str) -> bool:
    return _EXPLAINED.match(name) is not None


def _note_numbers(found: object, name: str, names: list[str]) -> None:
    """Note the places of all numbers but 0 in a value at `name`."""
    if type(found) is dict or isinstance(found, Mapping):
        for key, value in found.items():
            if type(value) is int:
                if value:
                    names.append(f"{name}.{key}")
            else:
                _note_numbers(value, f"{name}.{key}", names)
    elif isinstance(found, list):
        for value in found:
            _note_numbers(value, f"{name}[]", names)
    elif found and isinstance(found, (int, float)) and not isinstance(found, bool):
        names.append(name)


_KNOWN_CALLS = frozenset(
    {
        *("function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call"),
        *("mcp_call", "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
        *("x_search_call", "tool_search_call", "program_call"),
    }
)
_KNOWN_TOOLS = frozenset(
    {
        *("web_search", "web_fetch", "code_execution", "bash_code_execution", "text_editor_code_execution", "advisor"),
        *("tool_search_tool_regex", "tool_search_tool_bm25", "memory"),
    }
)
_KNOWN_EXECUTED = frozenset(
    {
        *("search", "browser_search", "browser.search", "visit", "visit_website", "browser_open", "browser.open"),
        *("python", "code_interpreter", "function", "mcp", "browser.find", "browser_find"),
    }
)


def _unknown_tools(body: Json) -> Iterator[str]:
    for item in map(mapping, each(body.get("output"))) if "output" in body else ():
        kind = item.get("type")
        if isinstance(kind, str) and kind.endswith("_call") and kind not in _KNOWN_CALLS:
            yield kind
    for block in map(mapping, each(body.get("content"))) if "content" in body else ():
        name = block.get("name")
        if block.get("type") == "server_tool_use" and isinstance(name, str) and name not in _KNOWN_TOOLS:
            yield name
    for choice in each(body.get("choices")):
        for tool in each(dig(choice, "message", "executed_tools")):
            kind = dig(tool, "type")
            if isinstance(kind, str) and kind not in _KNOWN_EXECUTED:
                yield kind
