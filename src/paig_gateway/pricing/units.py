"""What providers bill besides tokens: one table of units, and one of our own prices for them.

`UNITS` says, per API format, what a unit is called, where its count stands in an answer, and whether the answer says
all of it. `RATES` has US dollars for one unit where the price book has none: each row is dated and names its source.
A unit that is counted and has no price makes a cost `estimated`, and so does a number in a usage object that no row
and no list explains: see `count` and `unexplained`.

Sources: [D] the provider's documentation, [L] litellm 1.110.2's price map, [3] a third party, [S] the provider's SDK.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from paig_gateway.formats.base import Call, Json
from paig_gateway.formats.folding import dig, each, mapping, whole

Count = Callable[[Json, Call], int | float | None]
"""Counts a unit in an answer; None where the answer does not mention it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of one or more formats.

    Attributes:
        name: Its key in the usage of a ledger row: genai-prices' key where there is one.
        formats: Names of the API formats that it occurs in.
        where: Where the count stands, in words, for the page on billing.
        count: Reads it.
        complete: Whether the answer states all that is billed of it; otherwise the cost is an estimate.
        models: Matches the models that it is for; every model if None.
        sources: Price sources (genai-prices providers) that it is for; every one if empty.
    """

    name: str
    formats: frozenset[str]
    where: str
    count: Count
    complete: bool = True
    models: re.Pattern[str] | None = None
    sources: frozenset[str] = frozenset()

    def is_of(self, fmt: str, source: str, model: str) -> bool:
        """Whether the unit can occur in an answer of that format, price source and model."""
        if fmt not in self.formats or (self.sources and source not in self.sources):
            return False
        return self.models is None or self.models.search(model) is not None


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars for one unit, where the price book has no price for it."""

    unit: str
    sources: re.Pattern[str]
    models: re.Pattern[str]
    usd: Decimal
    origin: str


@dataclass(frozen=True, slots=True)
class Counts:
    """The units of an answer.

    Attributes:
        found: How many there are of each, by name.
        incomplete: Those of which the answer may not state all.
    """

    found: dict[str, int | float] = field(default_factory=dict)
    incomplete: tuple[str, ...] = ()


def count(fmt: str, source: str, model: str, body: Json, call: Call) -> Counts:
    """Count the units of an answer.

    Args:
        fmt: The API format's name.
        source: Whose prices apply: a genai-prices provider, or empty.
        model: The model that answered.
        body: The answer, in the shape of a body that is not streamed.
        call: The request.
    """
    found: dict[str, int | float] = {}
    incomplete: list[str] = []
    present = _present(body)
    for unit, names in _units_of(fmt, source, model):
        if unit.name in found or (names is not None and names.isdisjoint(present)):
            continue
        number = unit.count(body, call)
        if number:
            found[unit.name] = number
            if not unit.complete:
                incomplete.append(unit.name)
    return Counts(found, tuple(incomplete))


@lru_cache(maxsize=1024)
def _units_of(fmt: str, source: str, model: str) -> tuple[tuple[Unit, frozenset[str] | None], ...]:
    """The units that can occur, each with the members of which an answer with some of it has at least one."""
    return tuple((unit, _NEEDED.get(unit.count)) for unit in UNITS if unit.is_of(fmt, source, model))


def _present(body: Json) -> set[str]:
    """The members of an answer, of its usage, and of the messages of its choices."""
    found = {*body, *mapping(body.get("usage"))}
    for choice in each(body.get("choices")):
        found.update(mapping(dig(choice, "message")))
    return found


_NEEDED: dict[Count, frozenset[str]] = {}
"""By count: names of which one stands in `_present` of every answer that mentions what is counted."""


def own_rate(unit: str, source: str, model: str) -> Decimal | None:
    """Our own dated price of one unit, or None."""
    rows = (rate for rate in RATES if rate.unit == unit and rate.sources.fullmatch(source))
    return next((rate.usd for rate in rows if rate.models.search(model)), None)


# Reading counts


def _number(found: object) -> int | float | None:
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= 10**9:
        return None
    return int(found) if isinstance(found, float) and found.is_integer() else found


def _at(*path: str) -> Count:
    """The number at a path."""

    def counted(body: Json, call: Call) -> int | float | None:
        return _number(dig(body, *path))

    _NEEDED[counted] = frozenset({path[1] if path[0] == "usage" and len(path) > 1 else path[0]})
    return counted


def _first(*counts: Count) -> Count:
    """The first of several counts that the answer mentions."""

    def counted(body: Json, call: Call) -> int | float | None:
        for one in counts:
            if (number := one(body, call)) is not None:
                return number
        return None

    if all(one in _NEEDED for one in counts):
        _NEEDED[counted] = frozenset().union(*(_NEEDED[one] for one in counts))
    return counted


def _output(body: Json, *kinds: str) -> Iterator[Json]:
    """The output items of those types that were not refused or failed."""
    for item in map(mapping, each(body.get("output"))):
        if item.get("type") in kinds and item.get("status") != "failed":
            yield item


def _items(*kinds: str) -> Count:
    return lambda body, call: sum(1 for _ in _output(body, *kinds)) or None


def _searches(body: Json, call: Call) -> int | None:
    """Searches among web search calls: opening a page and finding text in it are not billed [D]."""
    actions = [dig(item, "action", "type") for item in _output(body, "web_search_call")]
    return sum(action in (None, "search") for action in actions) or None


def _containers(body: Json, call: Call) -> int | None:
    """Containers that the gateway cannot tell to be an earlier request's: one that the request names is not new."""
    calls = list(_output(body, "code_interpreter_call", "shell_call"))
    named = {item.get("container_id") or dig(item, "environment", "container_id") for item in calls}
    ids = {name for name in named if isinstance(name, str)}
    local = [item for item in calls if dig(item, "environment", "type") == "local"]
    if not calls or len(local) == len(calls):
        return None
    return max(1, len(ids))


def _images(body: Json, call: Call) -> int | None:
    """Images that an image tool made, where the answer does not state their tokens."""
    if _number(dig(body, "tool_usage", "image_gen", "output_tokens")):
        return None
    return sum(1 for _ in _output(body, "image_generation_call")) or None


def _data(body: Json, call: Call) -> int | None:
    """Images of an answer that states no tokens."""
    return None if mapping(body.get("usage")) else len(each(body.get("data"))) or None


def _grounding(body: Json) -> Iterator[Json]:
    for candidate in each(body.get("candidates")):
        if found := mapping(dig(candidate, "groundingMetadata")):
            yield found


def _queries(body: Json, *names: str) -> int:
    return sum(1 for found in _grounding(body) for name in names for query in each(found.get(name)) if query)


def _search_queries(body: Json, call: Call) -> int | None:
    return _queries(body, "webSearchQueries", "imageSearchQueries") or None


def _searched_prompt(body: Json, call: Call) -> int | None:
    return 1 if _search_queries(body, call) else None


def _maps(body: Json, call: Call) -> int | None:
    chunks = (chunk for found in _grounding(body) for chunk in each(found.get("groundingChunks")))
    return 1 if any("maps" in mapping(chunk) for chunk in chunks) else None


def _grounded(kind: str) -> Count:
    """Uses of a grounding tool that an interaction counts."""

    def counted(body: Json, call: Call) -> int | None:
        counts = map(mapping, each(dig(body, "usage", "grounding_tool_count")))
        return sum(whole(one.get("count")) or 0 for one in counts if one.get("type") == kind) or None

    return counted


def _transcribed(body: Json, call: Call) -> int | float | None:
    """Seconds of sound; None where the answer counts tokens."""
    if _number(dig(body, "usage", "input_tokens")) or _number(dig(body, "usage", "prompt_tokens")):
        return None
    return _first(_at("usage", "seconds"), _at("usage", "prompt_audio_seconds"), _at("duration"))(body, call)


_SPEECH_BYTES = 4_000
"""Bytes a second of compressed speech (32 kbit/s), for estimates only."""


def _sounding(body: Json, call: Call) -> int | float | None:
    """About how long the sounds in the request last; None where the answer counts tokens."""
    if mapping(body.get("usage")):
        return None
    sounds = [item for item in call.media if item.kind == "audio"]
    lengths = (item.size / _SPEECH_BYTES if item.seconds is None else item.seconds for item in sounds)
    return round(sum(lengths), 3) or None


def _retrievals(body: Json, call: Call) -> int | None:
    return _queries(body, "retrievalQueries") or None


def _blocks(*names: str) -> Count:
    """Calls of Anthropic's own tools among the content blocks."""

    def counted(body: Json, call: Call) -> int | None:
        blocks = [mapping(block) for block in each(body.get("content"))]
        used = [block.get("name") for block in blocks if block.get("type") == "server_tool_use"]
        return sum(name in names for name in used) or None

    return counted


def _executed(*kinds: str) -> Count:
    """Tools that a Groq model ran."""

    def counted(body: Json, call: Call) -> int | None:
        tools = (
            tool for choice in each(body.get("choices")) for tool in each(dig(choice, "message", "executed_tools"))
        )
        return sum(dig(tool, "type") in kinds for tool in tools) or None

    _NEEDED[counted] = frozenset({"executed_tools"})
    return counted


def _called(name: str) -> Count:
    """Calls of a built-in function that the provider runs under a reserved name."""

    def counted(body: Json, call: Call) -> int | None:
        choices = each(body.get("choices"))
        calls = (one for choice in choices for one in each(dig(choice, "message", "tool_calls")))
        return sum(dig(one, "function", "name") == name for one in calls) or None

    _NEEDED[counted] = frozenset({"tool_calls"})
    return counted


def _one_each_time(body: Json, call: Call) -> int:
    return 1


def _asked(name: str) -> Count:
    """What the request alone makes billable."""
    return lambda body, call: call.units.get(name)


_GUARDRAIL = {
    "guardrail_text_units": ("contentPolicyUnits", "topicPolicyUnits"),
    "guardrail_filter_units": ("sensitiveInformationPolicyUnits", "contextualGroundingPolicyUnits"),
    "guardrail_reasoning_units": ("automatedReasoningPolicyUnits",),
    "guardrail_images": ("contentPolicyImageUnits",),
}
"""Units of Bedrock's guardrails that cost the same; words, regular expressions and free filters cost nothing [L]."""


def _guardrail(*names: str) -> Count:
    def counted(body: Json, call: Call) -> int | None:
        trace = dig(body, "trace", "guardrail") or dig(body, "amazon-bedrock-trace", "guardrail")
        return sum(_units_in(trace, names)) or None

    return counted


def _units_in(found: object, names: tuple[str, ...]) -> Iterator[int]:
    """The counts below every `invocationMetrics.usage` of a guardrail's assessments."""
    if isinstance(found, list):
        for one in found:
            yield from _units_in(one, names)
    elif isinstance(found, Mapping):
        usage = mapping(dig(found, "invocationMetrics", "usage"))
        yield from (whole(usage.get(name)) or 0 for name in names)
        yield from (
            number for name, one in found.items() if name != "invocationMetrics" for number in _units_in(one, names)
        )


def _unseen_guardrail(body: Json, call: Call) -> int | None:
    """A guardrail that ran without a trace: it is billed, and nothing says how much."""
    traced = dig(body, "trace", "guardrail") or dig(body, "amazon-bedrock-trace", "guardrail")
    return 1 if "guardrail" in call.server_tools and not traced else None


_RESPONSES = frozenset({"openai-responses", "openai-responses-compact", "openai-responses-get"})
_CHAT = frozenset({"openai-chat", "openai-completions"})
_ANTHROPIC = frozenset({"anthropic", "bedrock-invoke"})
_GEMINI = frozenset({"gemini", "gemini-live"})
_INTERACTIONS = frozenset({"gemini-interactions", "gemini-interactions-get"})
_TRANSCRIPTION = frozenset({"openai-transcription"})
_BY_THE_SECOND = re.compile(r"whisper|voxtral|gpt-transcribe")
_BY_THE_CHARACTER = re.compile(r"tts-1|orpheus|playai")
_BEDROCK = frozenset({"bedrock-converse", "bedrock-invoke"})
_OLD_GEMINI = re.compile(r"gemini-[12]")
_NEW_GEMINI = re.compile(r"gemini-(?![12](?!\d))")
_SEARCH_MODELS = re.compile(r"search-(?:preview|api)")

_XAI = ("usage", "server_side_tool_usage_details")

UNITS: tuple[Unit, ...] = (
    # Searches
    Unit(
        "web_searches",
        _RESPONSES,
        "`tool_usage.web_search.num_requests`, else `usage.server_side_tool_usage_details.web_search_calls` (xAI), "
        "else `usage.tool_calls_details.search_web.invocation` (Perplexity), else `output[]` of type `web_search_call` "
        "whose action is a search",
        _first(
            _at("tool_usage", "web_search", "num_requests"),
            _at(*_XAI, "web_search_calls"),
            _at("usage", "tool_calls_details", "search_web", "invocation"),
            _searches,
        ),
    ),
    Unit(
        "web_searches",
        _CHAT,
        "one for each request of a model that always searches: the answer states none",
        _one_each_time,
        complete=False,
        models=_SEARCH_MODELS,
        sources=frozenset({"openai", "azure"}),
    ),
    Unit(
        "web_searches",
        _CHAT,
        "`usage.num_search_queries` (Perplexity), `usage.server_tool_use.web_search_requests` or "
        "`usage.server_tool_use_details.web_search_requests` (OpenRouter), "
        "`usage.server_side_tool_usage_details.web_search_calls` (xAI)",
        _first(
            _at("usage", "num_search_queries"),
            _at("usage", "server_tool_use", "web_search_requests"),
            _at("usage", "server_tool_use_details", "web_search_requests"),
            _at(*_XAI, "web_search_calls"),
        ),
    ),
    Unit(
        "web_searches",
        _CHAT,
        "`choices[].message.executed_tools[]` of type `search` or `browser_search` (Groq), calls of `$web_search` "
        "(Moonshot)",
        _first(_executed("search", "browser_search", "browser.search"), _called("$web_search")),
    ),
    Unit("web_searches", _CHAT, "`web_search[]` (Z.ai)", lambda body, call: int(bool(each(body.get("web_search"))))),
    Unit(
        "web_searches",
        _ANTHROPIC,
        "`usage.server_tool_use.web_search_requests`",
        _at("usage", "server_tool_use", "web_search_requests"),
    ),
    Unit(
        "web_searches",
        _GEMINI,
        "`candidates[].groundingMetadata.webSearchQueries` and `imageSearchQueries`: each query",
        _search_queries,
        models=_NEW_GEMINI,
    ),
    Unit(
        "web_searches",
        _GEMINI,
        "the same members: one for a prompt that ran any query",
        _searched_prompt,
        models=_OLD_GEMINI,
    ),
    Unit(
        "web_searches",
        _INTERACTIONS,
        "`usage.grounding_tool_count[]` of type `google_search`",
        _grounded("google_search"),
    ),
    Unit(
        "map_groundings",
        _INTERACTIONS,
        "`usage.grounding_tool_count[]` of type `google_maps`",
        _grounded("google_maps"),
    ),
    Unit(
        "retrieval_queries",
        _INTERACTIONS,
        "`usage.grounding_tool_count[]` of type `retrieval`",
        _grounded("retrieval"),
    ),
    Unit(
        "audio_seconds",
        _TRANSCRIPTION,
        "`usage.seconds` of usage by duration, else `duration`, where no tokens are stated",
        _transcribed,
        models=_BY_THE_SECOND,
    ),
    Unit(
        "audio_seconds",
        _TRANSCRIPTION,
        "the length of the sound in the request, where the answer states neither",
        _sounding,
        complete=False,
        models=_BY_THE_SECOND,
    ),
    Unit(
        "input_characters",
        frozenset({"openai-speech"}),
        "the characters of the request's `input`",
        _asked("input_characters"),
        models=_BY_THE_CHARACTER,
    ),
    Unit(
        "map_groundings",
        _GEMINI,
        "`candidates[].groundingMetadata.groundingChunks[].maps`: one for a prompt that has any",
        _maps,
    ),
    Unit(
        "retrieval_queries",
        _GEMINI,
        "`candidates[].groundingMetadata.retrievalQueries`: each query",
        _retrievals,
    ),
    Unit(
        "storage_searches",
        _RESPONSES,
        "`output[]` of type `file_search_call`, else xAI's `…file_search_calls` or `…collections_search_calls`",
        _first(
            _at(*_XAI, "file_search_calls"),
            _at(*_XAI, "collections_search_calls"),
            _at(*_XAI, "document_search_calls"),
            _items("file_search_call"),
        ),
    ),
    Unit(
        "social_searches",
        _RESPONSES | _CHAT,
        "xAI's `usage.server_side_tool_usage_details.x_search_calls`, else `output[]` of type `x_search_call`",
        _first(_at(*_XAI, "x_search_calls"), _items("x_search_call")),
    ),
    Unit(
        "attachment_searches",
        _RESPONSES | _CHAT,
        "xAI's `usage.server_side_tool_usage_details.attachment_search_calls`",
        _at(*_XAI, "attachment_search_calls"),
    ),
    Unit(
        "search_sources",
        _CHAT,
        "`usage.num_sources_used` of a live search (xAI)",
        _at("usage", "num_sources_used"),
        sources=frozenset({"x-ai"}),
    ),
    Unit(
        "page_visits",
        _CHAT,
        "`choices[].message.executed_tools[]` of type `visit` or `browser.open` (Groq)",
        _executed("visit", "visit_website", "browser_open", "browser.open"),
    ),
    Unit(
        "web_fetches",
        _RESPONSES,
        "Perplexity's `usage.tool_calls_details.fetch_url.invocation`",
        _at("usage", "tool_calls_details", "fetch_url", "invocation"),
    ),
    Unit(
        "rerank_searches",
        frozenset({"rerank", "cohere-chat"}),
        "`meta.billed_units.search_units` or `usage.billed_units.search_units`",
        _first(_at("meta", "billed_units", "search_units"), _at("usage", "billed_units", "search_units")),
    ),
    Unit(
        "rerank_searches",
        frozenset({"bedrock-invoke"}),
        "one for each hundred documents of the request, begun ones included",
        _asked("rerank_searches"),
        models=re.compile("rerank"),
    ),
    # Code and containers
    Unit(
        "code_executions",
        _RESPONSES | _CHAT,
        "xAI's `usage.server_side_tool_usage_details.code_interpreter_calls`",
        _at(*_XAI, "code_interpreter_calls"),
        sources=frozenset({"x-ai"}),
    ),
    Unit(
        "code_interpreter",
        _RESPONSES,
        "different `container_id`s of `output[]` of type `code_interpreter_call` and `shell_call`: whether a container "
        "is a new session the answer does not say",
        _containers,
        complete=False,
    ),
    Unit(
        "code_interpreter",
        _CHAT,
        "`choices[].message.executed_tools[]` of type `python` or `code_interpreter` (Groq): how long they ran is not "
        "said",
        _executed("python", "code_interpreter"),
        complete=False,
    ),
    Unit(
        "code_execution",
        _ANTHROPIC,
        "content blocks of type `server_tool_use` named `code_execution`, `bash_code_execution` or "
        "`text_editor_code_execution`: billed by container hours, which the answer does not state",
        _blocks("code_execution", "bash_code_execution", "text_editor_code_execution"),
        complete=False,
    ),
    # Images, pages, audio
    Unit(
        "images",
        _RESPONSES,
        "`output[]` of type `image_generation_call`, where `tool_usage.image_gen` does not state their tokens",
        _images,
        complete=False,
    ),
    Unit("images", frozenset({"openai-images"}), "`data[]`, where the answer states no tokens", _data),
    Unit(
        "embedded_images",
        frozenset({"cohere-embed"}),
        "`meta.billed_units.images`",
        _at("meta", "billed_units", "images"),
    ),
    Unit(
        "input_annotated_document_pages",
        frozenset({"mistral-ocr"}),
        "`usage_info.pages_processed` of a request for annotations",
        lambda body, call: (
            _number(dig(body, "usage_info", "pages_processed")) if "annotations" in call.server_tools else None
        ),
    ),
    Unit(
        "audio_seconds",
        _CHAT,
        "`usage.prompt_audio_seconds` (Mistral)",
        _at("usage", "prompt_audio_seconds"),
    ),
    # Connectors and guardrails
    *(
        Unit(
            f"connector_{name}",
            _CHAT,
            f"`usage.connectors.{name}` (Mistral)",
            _at("usage", "connectors", name),
        )
        for name in ("web_search", "web_search_premium", "code_interpreter", "image_generation", "document_library")
    ),
    *(
        Unit(name, _BEDROCK, f"`trace.guardrail…invocationMetrics.usage`: {', '.join(parts)}", _guardrail(*parts))
        for name, parts in _GUARDRAIL.items()
    ),
    Unit(
        "guardrail",
        _BEDROCK,
        "a guardrail that the request names, where the answer has no trace of it",
        _unseen_guardrail,
        complete=False,
    ),
)


def _rate(unit: str, sources: str, usd: str, origin: str, models: str = "") -> Rate:
    return Rate(unit, re.compile(sources), re.compile(models), Decimal(usd), origin)


RATES: tuple[Rate, ...] = (
    # Preview searches with models that do not reason cost more; their search tokens are free.
    _rate("web_searches", "openai|azure", "0.025", "[L] 2026-11", r"gpt-4o(?:-mini)?-search-preview"),
    _rate("web_searches", "openai|azure", "0.010", "[L] 2026-11", r"search-api"),
    _rate("web_searches", "google", "0.035", "[L] 2026-11", r"gemini-[12]"),
    _rate("web_searches", "google", "0.014", "[L] 2026-11", r"gemini-"),
    _rate("web_searches", "x-ai", "0.005", "[D] docs.x.ai, 2026-11"),
    _rate("web_searches", "groq", "0.005", "[3] 2026-11"),
    _rate("web_searches", "openrouter", "0.02", "[3] 2026-11: five results at $4 a thousand"),
    _rate("social_searches", "x-ai", "0.005", "[D] docs.x.ai, 2026-11"),
    _rate("code_executions", "x-ai", "0.005", "[D] docs.x.ai, 2026-11"),
    _rate("attachment_searches", "x-ai", "0.010", "[D] docs.x.ai, 2026-11"),
    _rate("storage_searches", "x-ai", "0.0025", "[D] docs.x.ai, 2026-11"),
    _rate("storage_searches", "openai|azure", "0.0025", "[L] 2026-11"),
    _rate("page_visits", "groq", "0.001", "[3] 2026-11"),
    _rate("map_groundings", "google", "0.025", "[L] 2026-11", r"gemini-[12]"),
    _rate("map_groundings", "google", "0.014", "[L] 2026-11", r"gemini-"),
    _rate("web_fetches", "perplexity", "0.0005", "[3] 2026-11"),
    _rate("rerank_searches", "cohere|azure", "0.0025", "[L] 2026-11", r"rerank-v[45](?:\.0)?-pro"),
    _rate("rerank_searches", "cohere|azure", "0.002", "[L] 2026-11", r"rerank"),
    _rate("rerank_searches", "aws", "0.001", "[L, D] 2026-11", r"amazon\.rerank"),
    _rate("rerank_searches", "aws", "0.002", "[L, D] 2026-11", r"cohere\.rerank"),
    _rate("code_interpreter", "openai", "0.03", "[L] 2026-11: a container of the smallest size"),
    _rate("code_interpreter", "azure", "0.033", "[L] 2026-11: a session"),
    _rate("guardrail_text_units", "aws", "0.00015", "[L] 2026-11"),
    _rate("guardrail_filter_units", "aws", "0.0001", "[L] 2026-11"),
    _rate("guardrail_reasoning_units", "aws", "0.00017", "[L] 2026-11"),
    _rate("guardrail_images", "aws", "0.00075", "[L] 2026-11"),
)

SUFFICIENT = frozenset(
    {
        *(("rerank", "rerank_searches"), ("bedrock-invoke", "rerank_searches"), ("openai-images", "images")),
        *(("openai-transcription", "audio_seconds"), ("openai-speech", "input_characters")),
    }
)
"""Formats and units whose count is all that is billed, so that an answer without tokens is priced by it."""

# What usage objects say that is not billed apart

USAGE_OBJECTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "gemini": (("usageMetadata",),),
    "gemini-live": (("usageMetadata",),),
    "gemini-embed": (("usageMetadata",), ("metadata",)),
    "mistral-ocr": (("usage_info",),),
    "rerank": (("usage",), ("meta", "billed_units")),
    "cohere-embed": (("usage",), ("meta", "billed_units")),
    "cohere-chat": (("usage",), ("meta", "billed_units")),
}
"""Where a format keeps numbers that may be billed, besides `DEFAULT_USAGE_OBJECTS`."""

DEFAULT_USAGE_OBJECTS = (("usage",), ("tool_usage",))

_TOKENS = (
    r"(?:input|output|prompt|completion|total|cached|cache_read|cache_write|cache_creation|cache_hit|cache_miss|"
    r"prompt_cache_hit|prompt_cache_miss|num_cached|local_cached|cache_read_input|cache_creation_input|cache_write_input|"
    r"cached_prompt_text|prompt_text|prompt_image|cached_text|cached_image|cached_audio|text|audio|image|video|document|"
    r"file|multimodal|reasoning|thinking|thought|thoughts|citation|search|tool|tool_use|accepted_prediction|"
    r"rejected_prediction|prediction|ephemeral_5m_input|ephemeral_1h_input|ttl_12h|ttl_30m|grok)_tokens"
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
    r"|(?:usage|meta)\.billed_units\.(?:search_units|images)$"
    r"|usage\.(?:iterations\[\]\..*)$"
)


def unexplained(fmt: str, body: Json) -> list[str]:
    """Numbers above zero in an answer's usage objects, and server tools in its output, that may be billed unseen."""
    places = USAGE_OBJECTS.get(fmt, ()) or DEFAULT_USAGE_OBJECTS
    found = [
        name
        for place in places
        for name, number in _numbers(dig(body, *place), ".".join(place))
        if number and not _is_explained(name)
    ]
    return list(dict.fromkeys([*found, *_unknown_tools(body)]))


@lru_cache(maxsize=4096)
def _is_explained(name: str) -> bool:
    return _EXPLAINED.match(name) is not None


def _numbers(found: object, name: str) -> Iterator[tuple[str, int | float]]:
    if isinstance(found, Mapping):
        for key, value in found.items():
            if type(value) is int:
                yield f"{name}.{key}", value
            else:
                yield from _numbers(value, f"{name}.{key}")
    elif isinstance(found, list):
        for value in found:
            yield from _numbers(value, f"{name}[]")
    elif isinstance(found, (int, float)) and not isinstance(found, bool):
        yield name, found


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
    for item in map(mapping, each(body.get("output"))):
        kind = item.get("type")
        if isinstance(kind, str) and kind.endswith("_call") and kind not in _KNOWN_CALLS:
            yield kind
    for block in map(mapping, each(body.get("content"))):
        name = block.get("name")
        if block.get("type") == "server_tool_use" and isinstance(name, str) and name not in _KNOWN_TOOLS:
            yield name
    for choice in each(body.get("choices")):
        for tool in each(dig(choice, "message", "executed_tools")):
            kind = dig(tool, "type")
            if isinstance(kind, str) and kind not in _KNOWN_EXECUTED:
                yield kind
