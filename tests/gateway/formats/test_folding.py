"""What folds share: cumulative counts, partial until they are final."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paig_gateway.formats import gemini_live, openai_realtime
from paig_gateway.formats.base import StreamEvent
from paig_gateway.formats.folding import MOST_ITEMS, MOST_MEMBERS, finish, note_usage, provisional
from paig_gateway.formats.registry import FORMATS


def test_counts_replace_and_never_add() -> None:
    """A later count replaces an earlier one, and what it leaves out stays."""
    body: dict[str, Any] = {}
    note_usage(body, {"a": 1, "b": 2}, final=False)
    note_usage(body, {"b": 3}, final=True)
    assert body == {"usage": {"a": 1, "b": 3}}


def test_a_stream_cannot_make_its_usage_grow() -> None:
    """New names without end, long texts and long lists are left out, on every level; counts still replace others."""
    body: dict[str, Any] = {}
    for number in range(1000):
        noise = {f"a{number}": 1, f"b{number}": {str(other): 1 for other in range(1000)}, "note": "x" * 100_000}
        note_usage(body, {"tokens": number, "list": [1] * 5000, **noise}, final=False)
    finish(body)
    usage = body["usage"]
    assert (usage["tokens"], len(usage)) == (999, MOST_MEMBERS)
    assert "note" not in usage
    assert "list" not in usage
    assert len(usage["b0"]) == MOST_MEMBERS


SEARCHED = {"type": "response.output_item.done", "item": {"type": "web_search_call", "id": "w%d"}}
CALLED = {"choices": [{"delta": {"tool_calls": [{"function": {"name": "$web_search%d"}}]}}]}
EXECUTED = {"choices": [{"delta": {"executed_tools": [{"type": "search%d"}]}}]}
USED = {"type": "content_block_start", "content_block": {"type": "server_tool_use", "name": "web_search%d"}}
GROUNDED = {"candidates": [{"index": "%d", "groundingMetadata": {"webSearchQueries": ["q%d"]}}]}
ASKED = {"candidates": [{"index": 0, "groundingMetadata": {"webSearchQueries": ["q%d"]}}]}
LIVE = {"serverContent": {"groundingMetadata": {"webSearchQueries": ["q%d"]}}}
HEARD = {"type": "conversation.item.input_audio_transcription.completed", "usage": {"input_tokens": "%d"}}


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("openai-responses", SEARCHED),
        ("openai-chat", CALLED),
        ("openai-chat", EXECUTED),
        ("anthropic", USED),
        ("gemini", GROUNDED),
        ("gemini", ASKED),
        ("gemini-live", LIVE),
        ("openai-realtime", HEARD),
    ],
    ids=["searched", "called", "executed", "used", "candidates", "queries", "live", "transcribed"],
)
def test_a_stream_cannot_make_its_answer_grow(name: str, event: dict[str, object]) -> None:
    """What is kept of an answer has an end; each further event would take longer to fold than the one before."""
    fold = next(
        fmt.fold
        for fmt in (*FORMATS, gemini_live.LIVE, openai_realtime.REALTIME)
        if fmt.name == name and fmt.fold is not None
    )
    template = json.dumps(event).replace('"%d"', "%d")
    body: dict[str, Any] = {}
    sizes = []
    for number in range(10_000, 10_000 + 2 * MOST_ITEMS):
        fold(body, StreamEvent("", template.replace("%d", str(number)).encode()))
        sizes.append(str(body).count(str(number)))
    assert sizes[0], "the event is kept at first"
    assert not any(sizes[MOST_ITEMS:]), "a full list takes nothing more"


def test_final_stays_final() -> None:
    """What comes after the final usage changes it, and nothing said changes nothing."""
    body: dict[str, Any] = {"usage": {"a": 1}}
    note_usage(body, {"a": 2}, final=False)
    note_usage(body, {}, final=True)
    finish(body)
    assert body == {"usage": {"a": 2}, "stream_end": True}


def test_the_end_makes_what_is_known_final() -> None:
    """At the end of the answer partial usage is usage."""
    body: dict[str, Any] = {}
    note_usage(body, {"a": 1}, final=False)
    assert body == {"partial_usage": {"a": 1}}
    finish(body)
    assert body == {"usage": {"a": 1}, "stream_end": True}


def test_provisional() -> None:
    """Partial usage is put where the extractor looks, in a copy."""
    body: dict[str, Any] = {"model": "m", "partial_usage": {"input_tokens": 1}}
    assert provisional(body)["usage"] == {"input_tokens": 1}
    assert "usage" not in body
    assert provisional({"partial_usage": {"promptTokenCount": 1}})["usageMetadata"] == {"promptTokenCount": 1}
    assert provisional({"model": "m"}) == {"model": "m"}


def test_a_zero_never_erases_a_count() -> None:
    """Servers that repeat every member fill in only those that are new; nested counts are merged alike."""
    body: dict[str, Any] = {}
    note_usage(body, {"input_tokens": 5, "cache": {"read": 2, "write": 1}}, final=False)
    note_usage(body, {"input_tokens": 0, "output_tokens": 9, "cache": {"read": 0, "write": 3}}, final=True)
    assert body == {"usage": {"input_tokens": 5, "output_tokens": 9, "cache": {"read": 2, "write": 3}}}
