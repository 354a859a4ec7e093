"""The table of units that providers bill besides tokens.

`UNITS` has, per API format, the name of a unit, the place of its count in an answer, and whether the answer states all
of it (`pricing/rates.py` has prices of those that the price book has none for). A counted unit without a price makes a
cost `estimated`, and so does a number in a usage object that no row or list explains (`pricing/unexplained.py`).

Sources: [D] the provider's documentation, [L] litellm 1.110.2's price map, [3] a third party, [S] the provider's SDK.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from paig_gateway.formats.base import Call, Json
from paig_gateway.formats.folding import dig, each
from paig_gateway.formats.images import IMAGE_UNITS
from paig_gateway.pricing import counts


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of one or more formats.

    Attributes:
        name: Its key in the usage of a ledger row: genai-prices' key where there is one.
        formats: Names of the API formats that it occurs in.
        where: Where the count stands, in words, for the page on billing.
        complete: Whether the answer states everything that is billed of it; otherwise the cost is an estimate.
        models: Matches its models; None for all.
        sources: Its price sources (genai-prices providers); empty for all.
    """

    name: str
    formats: frozenset[str]
    where: str
    count: counts.Count
    complete: bool = True
    models: re.Pattern[str] | None = None
    sources: frozenset[str] = frozenset()

    def is_of(self, fmt: str, source: str, model: str) -> bool:
        """Whether the unit can occur in an answer of that format, price source and model."""
        if fmt not in self.formats or (self.sources and source not in self.sources):
            return False
        return self.models is None or self.models.search(model) is not None


@dataclass(frozen=True, slots=True)
class Counts:
    """The units of an answer.

    Attributes:
        found: How many there are of each, by name.
        incomplete: The units that the answer may not state completely.
    """

    found: dict[str, int | float] = field(default_factory=dict)
    incomplete: tuple[str, ...] = ()


FEW_MEMBERS = 100
"""The units of an answer with more members are not remembered."""


def count(fmt: str, source: str, model: str, body: Json, call: Call) -> Counts:
    """Count the units of an answer.

    Args:
        fmt: The API format's name.
        source: The genai-prices provider whose prices apply, or empty.
        model: The model that answered.
        body: The answer, in the shape of a body that is not streamed.
    """
    found: dict[str, int | float] = {}
    incomplete: list[str] = []
    present = frozenset(counts.present(body))
    possible = _possible if len(present) <= FEW_MEMBERS else _possible.__wrapped__
    for unit in possible(fmt, source, model, present):
        if unit.name in found:
            continue
        number = unit.count(body, call)
        if number:
            found[unit.name] = number
            if not unit.complete:
                incomplete.append(unit.name)
    return Counts(found, tuple(incomplete))


@lru_cache(maxsize=1024)
def _units_of(fmt: str, source: str, model: str) -> tuple[tuple[Unit, frozenset[str] | None], ...]:
    """The units that can occur, each with members of which at least one is in every answer that has the unit."""
    return tuple((unit, counts.NEEDED.get(unit.count)) for unit in UNITS if unit.is_of(fmt, source, model))


@lru_cache(maxsize=1024)
def _possible(fmt: str, source: str, model: str, present: frozenset[str]) -> tuple[Unit, ...]:
    """The units that can occur in an answer with those members."""
    units = _units_of(fmt, source, model)
    return tuple(unit for unit, names in units if names is None or not names.isdisjoint(present))


_RESPONSES = frozenset({"openai-responses", "openai-responses-compact", "openai-responses-get"})
_CHAT = frozenset({"openai-chat", "openai-completions"})
_ANTHROPIC = frozenset({"anthropic", "bedrock-invoke"})
_GEMINI = frozenset({"gemini", "gemini-live"})
_INTERACTIONS = frozenset({"gemini-interactions", "gemini-interactions-get"})
_TRANSCRIPTION = frozenset({"openai-transcription"})
_BY_THE_SECOND = re.compile(r"whisper|voxtral|gpt-transcribe")
_TOKENS_OR_SECONDS = re.compile(r"gpt-4o(?:-mini)?-transcribe")
_FIXED_CONTENT = re.compile(r"gpt-4(?:o|\.1)-mini")
_BY_THE_CHARACTER = re.compile(r"tts-1|^tts(?:-hd)?$|orpheus|playai")
_BEDROCK = frozenset({"bedrock-converse", "bedrock-invoke"})
_OLD_GEMINI = re.compile(r"gemini-[12]")
_NEW_GEMINI = re.compile(r"gemini-(?![12](?!\d))")
_SEARCH_MODELS = {"preview_searches": re.compile(r"search-preview"), "web_searches": re.compile(r"search-api")}

_XAI = ("usage", "server_side_tool_usage_details")

_VIDEOS = {
    "video_seconds": "the request's `seconds`, `duration` or `durationSeconds`, times the videos that it asks for: "
    "charged when the work begins, and what came of it when its result passes",
    "video_seconds_480p": "the same at `resolution` 480p (xAI)",
    "video_seconds_720p": "the same at 720p (xAI)",
    "video_seconds_1080p": "the same at 1080p",
    "video_seconds_4k": "the same at 4k",
    "video_seconds_high": "the same at a `size` above 1280x720 (OpenAI)",
    "input_images": "the pictures that a video begins with (xAI)",
}

_RESPONSES_SEARCHES = counts.unless(
    counts.previews,
    counts.first(
        counts.at("tool_usage", "web_search", "num_requests"),
        counts.at(*_XAI, "web_search_calls"),
        counts.at("usage", "tool_calls_details", "search_web", "invocation"),
        counts.searches,
    ),
)

UNITS: tuple[Unit, ...] = (
    # Searches
    Unit(
        "web_searches",
        _RESPONSES,
        "`tool_usage.web_search.num_requests`, else `usage.server_side_tool_usage_details.web_search_calls` (xAI), "
        "else `usage.tool_calls_details.search_web.invocation` (Perplexity), else `output[]` of type `web_search_call` "
        "whose action is a search",
        _RESPONSES_SEARCHES,
    ),
    Unit(
        "search_contents",
        _RESPONSES,
        "the same searches: what each of them found is billed as 8,000 input tokens, which the usage leaves out",
        _RESPONSES_SEARCHES,
        models=_FIXED_CONTENT,
        sources=frozenset({"openai", "azure"}),
    ),
    Unit(
        "preview_searches",
        _RESPONSES,
        "the searches of the tool `web_search_preview`, by a model that does not reason",
        counts.previews,
    ),
    Unit("web_searches", frozenset({"perplexity-search"}), "one for each request", counts.one_each_time),
    *(
        Unit(
            name,
            _CHAT,
            "one for each request of a model that always searches: the answer states none",
            counts.one_each_time,
            complete=False,
            models=models,
            sources=frozenset({"openai", "azure"}),
        )
        for name, models in _SEARCH_MODELS.items()
    ),
    Unit(
        "web_searches",
        _CHAT,
        "`usage.num_search_queries` (Perplexity), `usage.server_tool_use.web_search_requests` or "
        "`usage.server_tool_use_details.web_search_requests` (OpenRouter), "
        "`usage.server_side_tool_usage_details.web_search_calls` (xAI)",
        counts.first(
            counts.at("usage", "num_search_queries"),
            counts.at("usage", "server_tool_use", "web_search_requests"),
            counts.at("usage", "server_tool_use_details", "web_search_requests"),
            counts.at(*_XAI, "web_search_calls"),
        ),
    ),
    Unit(
        "web_searches",
        _CHAT,
        "`choices[].message.executed_tools[]` of type `search` or `browser_search` (Groq)",
        counts.executed("search", "browser_search", "browser.search"),
    ),
    Unit(
        "web_searches",
        _CHAT,
        "calls of `$web_search` in a choice whose `finish_reason` is `tool_calls` (Moonshot)",
        counts.called("$web_search"),
    ),
    Unit(
        "web_searches",
        _CHAT,
        "`web_search[]` (Z.ai): one for an answer that has any, which does not say how often it searched",
        lambda body, call: int(bool(each(body.get("web_search")))),
        complete=False,
    ),
    Unit(
        "web_searches",
        _ANTHROPIC,
        "`usage.server_tool_use.web_search_requests`; in an answer that was cut off, content blocks of type "
        "`server_tool_use` named `web_search`",
        counts.first(counts.at("usage", "server_tool_use", "web_search_requests"), counts.cut_off("web_search")),
    ),
    Unit(
        "web_searches",
        _GEMINI,
        "`candidates[].groundingMetadata.webSearchQueries` and `imageSearchQueries`: each different query",
        counts.search_queries,
        models=_NEW_GEMINI,
    ),
    Unit(
        "web_searches",
        _GEMINI,
        "the same members: one for a prompt that ran any query",
        counts.searched_prompt,
        models=_OLD_GEMINI,
    ),
    Unit(
        "web_searches",
        _INTERACTIONS,
        "`usage.grounding_tool_count[]` of type `google_search`",
        counts.grounded("google_search"),
    ),
    Unit(
        "map_groundings",
        _INTERACTIONS,
        "`usage.grounding_tool_count[]` of type `google_maps`",
        counts.grounded("google_maps"),
    ),
    Unit(
        "retrieval_queries",
        _INTERACTIONS,
        "`usage.grounding_tool_count[]` of type `retrieval`",
        counts.grounded("retrieval"),
    ),
    Unit(
        "audio_seconds",
        _TRANSCRIPTION,
        "`usage.seconds` of usage by duration, else `duration`, where no tokens are stated",
        counts.transcribed,
        models=_BY_THE_SECOND,
    ),
    Unit(
        "audio_seconds",
        _TRANSCRIPTION,
        "the same for models billed by tokens, whose price by the minute is approximate",
        counts.transcribed,
        complete=False,
        models=_TOKENS_OR_SECONDS,
    ),
    Unit(
        "audio_seconds",
        _TRANSCRIPTION,
        "the length of the sound in the request, where the answer states neither",
        counts.sounding,
        complete=False,
        models=_BY_THE_SECOND,
    ),
    Unit(
        "input_characters",
        frozenset({"openai-speech"}),
        "the characters of the request's `input`",
        counts.requested("input_characters"),
        models=_BY_THE_CHARACTER,
    ),
    Unit(
        "map_groundings",
        _GEMINI,
        "`candidates[].groundingMetadata.groundingChunks[].maps` or `googleMapsWidgetContextToken`: one for a prompt "
        "that has any",
        counts.maps,
    ),
    Unit(
        "retrieval_queries",
        _GEMINI,
        "`candidates[].groundingMetadata.retrievalQueries`: each different query",
        counts.retrievals,
    ),
    Unit(
        "storage_searches",
        _RESPONSES,
        "`output[]` of type `file_search_call`, else xAI's `…file_search_calls` or `…collections_search_calls`",
        counts.first(
            counts.at(*_XAI, "file_search_calls"),
            counts.at(*_XAI, "collections_search_calls"),
            counts.at(*_XAI, "document_search_calls"),
            counts.items("file_search_call"),
        ),
    ),
    Unit(
        "social_searches",
        _RESPONSES | _CHAT,
        "xAI's `usage.server_side_tool_usage_details.x_search_calls`, else `output[]` of type `x_search_call`",
        counts.first(counts.at(*_XAI, "x_search_calls"), counts.items("x_search_call")),
    ),
    Unit(
        "attachment_searches",
        _RESPONSES | _CHAT,
        "xAI's `usage.server_side_tool_usage_details.attachment_search_calls`",
        counts.at(*_XAI, "attachment_search_calls"),
    ),
    Unit(
        "search_sources",
        _CHAT,
        "`usage.num_sources_used` of a live search (xAI)",
        counts.at("usage", "num_sources_used"),
        sources=frozenset({"x-ai"}),
    ),
    Unit(
        "page_visits",
        _CHAT,
        "`choices[].message.executed_tools[]` of type `visit` or `browser.open` (Groq)",
        counts.executed("visit", "visit_website", "browser_open", "browser.open"),
    ),
    Unit(
        "web_fetches",
        _RESPONSES,
        "Perplexity's `usage.tool_calls_details.fetch_url.invocation`",
        counts.at("usage", "tool_calls_details", "fetch_url", "invocation"),
    ),
    Unit(
        "rerank_searches",
        frozenset({"rerank", "cohere-chat", "cohere-chat-v1"}),
        "`meta.billed_units.search_units` or `usage.billed_units.search_units`",
        counts.first(
            counts.at("meta", "billed_units", "search_units"), counts.at("usage", "billed_units", "search_units")
        ),
    ),
    Unit(
        "rerank_searches",
        frozenset({"bedrock-invoke", "bedrock-rerank"}),
        "one for every 100 documents of the request, rounded up",
        counts.requested("rerank_searches"),
        models=re.compile("rerank"),
    ),
    Unit(
        "images",
        frozenset({"bedrock-invoke"}),
        "`images[]` or `artifacts[]`: Amazon's cost by size and quality, which the answer does not state",
        counts.bedrock_images,
        complete=False,
        models=re.compile(r"nova-canvas|titan-image"),
    ),
    Unit(
        "images",
        frozenset({"bedrock-invoke"}),
        "`images[]` or `artifacts[]`",
        counts.bedrock_images,
        models=re.compile(r"stability\.|luma\."),
    ),
    Unit(
        "routed_tokens",
        _CHAT | _RESPONSES,
        "the input tokens of a request to Azure's model router, which costs besides the model that answers",
        counts.routed,
    ),
    # Code and containers
    Unit(
        "code_executions",
        _RESPONSES | _CHAT,
        "xAI's `usage.server_side_tool_usage_details.code_interpreter_calls`",
        counts.at(*_XAI, "code_interpreter_calls"),
        sources=frozenset({"x-ai"}),
    ),
    Unit(
        "code_interpreter",
        _RESPONSES,
        "different `container_id`s of `output[]` of type `code_interpreter_call` and `shell_call`, times the gigabytes "
        "of the request's `memory_limit`: the answer does not say whether a container is a new session",
        counts.containers,
        complete=False,
    ),
    Unit(
        "code_interpreter",
        _CHAT,
        "`choices[].message.executed_tools[]` of type `python` or `code_interpreter` (Groq): the answer "
        "does not say how long they ran",
        counts.executed("python", "code_interpreter"),
        complete=False,
    ),
    Unit(
        "code_execution",
        _ANTHROPIC,
        "content blocks of type `server_tool_use` named `code_execution`, `bash_code_execution` or "
        "`text_editor_code_execution`: billed by container hours, which the answer does not state",
        counts.blocks("code_execution", "bash_code_execution", "text_editor_code_execution"),
        complete=False,
    ),
    # Images, pages, audio
    Unit(
        "images",
        _RESPONSES,
        "`output[]` of type `image_generation_call`, where `tool_usage.image_gen` does not state their tokens",
        counts.images,
        complete=False,
    ),
    *(
        Unit(
            name,
            frozenset({"openai-images"}),
            "`data[]`, where the answer states no tokens, by the `size` and `quality` of the request",
            counts.drawn(name),
        )
        for name in IMAGE_UNITS
    ),
    Unit(
        "embedded_images",
        frozenset({"cohere-embed"}),
        "`meta.billed_units.images`",
        counts.at("meta", "billed_units", "images"),
    ),
    Unit(
        "input_annotated_document_pages",
        frozenset({"mistral-ocr"}),
        "`usage_info.pages_processed` of a request for annotations",
        lambda body, call: (
            counts.number(dig(body, "usage_info", "pages_processed")) if "annotations" in call.server_tools else None
        ),
    ),
    Unit(
        "audio_seconds",
        _CHAT,
        "`usage.prompt_audio_seconds` (Mistral)",
        counts.at("usage", "prompt_audio_seconds"),
    ),
    Unit("images", frozenset({"gemini-images"}), "`predictions[]` that have an image", counts.predicted),
    *(
        Unit(name, frozenset({"openai-videos", "xai-videos", "gemini-videos"}), where, counts.charged_before)
        for name, where in _VIDEOS.items()
    ),
    # Connectors and guardrails
    *(
        Unit(
            f"connector_{name}",
            _CHAT | {"mistral-conversations"},
            f"`usage.connectors.{name}` (Mistral)",
            counts.at("usage", "connectors", name),
        )
        for name in ("web_search", "web_search_premium", "code_interpreter", "image_generation", "document_library")
    ),
    *(
        Unit(name, _BEDROCK, f"`trace.guardrail…invocationMetrics.usage`: {', '.join(parts)}", counts.guardrail(*parts))
        for name, parts in counts.GUARDRAIL.items()
    ),
    *(
        Unit(name, frozenset({"bedrock-guardrail"}), f"`usage`: {', '.join(parts)}", counts.guardrail_units(*parts))
        for name, parts in counts.GUARDRAIL.items()
    ),
    Unit(
        "guardrail",
        _BEDROCK,
        "a guardrail that the request names, where the answer has no trace of it",
        counts.unseen_guardrail,
        complete=False,
    ),
)


SUFFICIENT = frozenset(
    {
        *(("rerank", "rerank_searches"), ("bedrock-invoke", "rerank_searches")),
        *(("openai-images", name) for name in IMAGE_UNITS),
        *(("openai-transcription", "audio_seconds"), ("openai-speech", "input_characters")),
        *(("gemini-images", "images"), ("bedrock-invoke", "images"), ("bedrock-rerank", "rerank_searches")),
        ("perplexity-search", "web_searches"),
        *(("bedrock-guardrail", name) for name in counts.GUARDRAIL),
    }
)
"""Formats and units for which only that count is billed, so that an answer without tokens is priced by it."""
