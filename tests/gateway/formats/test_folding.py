"""What folds share: cumulative counts, partial until they are final."""

from __future__ import annotations

from typing import Any

from paig_gateway.formats.folding import MOST_MEMBERS, finish, note_usage, provisional


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
