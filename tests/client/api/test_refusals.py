"""What a person reads of a request that failed, or that not the first provider answered."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from paig_client.api.errors import CODES, STATUS
from paig_client.api.refusals import EXPLAINED, failover, next_step, reasons, what_happened, would_help
from paig_client.api.resources import Attempt, Request, Session, SessionLoop
from paig_client.api.session_words import session_state, session_trouble

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def row(status: int | None = 200, error: str | None = None, **more: Any) -> Request:
    """A row of the ledger."""
    given: dict[str, Any] = {
        **dict.fromkeys(("project", "user", "usage", "raw_usage", "certainty", "price", "run")),
        **dict.fromkeys(("provider", "ms_total", "ms_first_byte", "ms_gateway")),
        **{"id": "req_1", "time": NOON, "state": "settled", "key": "ci", "route": "fast", "model": "gpt-5"},
        **{"format": "openai-chat", "stream": False, "cost": "0", "reserved": "0", "attempts": [], "tags": {}},
    }
    return Request.model_validate({**given, "status": status, "error": error, **more})


@pytest.mark.parametrize("code", CODES)
def test_every_error_says_what_happened_and_what_to_do_next(code: str) -> None:
    """Two sentences for each code of the contract's table, also where a row has no details."""
    what, step = EXPLAINED[code]
    assert what.endswith(".")
    assert step.endswith(".")
    assert len(step.split()) >= 3
    told = dict(reasons(row(STATUS[code], code)))  # type: ignore[index]
    assert told == {"failed because": what, "next step": step}


def test_the_gateways_own_message_comes_first_and_what_would_fit_is_named() -> None:
    refusal = {"message": "No room.", "field": "max_tokens", "lower_to": 400, "owner": "ci", "window": "daily"}
    told = dict(reasons(row(402, "limit-exceeded", refusal=refusal)))
    assert told["refused because"] == "No room."
    assert told["next step"].startswith("It would pass with max_tokens at 400 or less.")
    assert "paig limits ask" in told["next step"]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "credential"), (429, "second member"), (503, "Send it again"), (400, "answer says")]
)
def test_a_providers_own_error_has_a_next_step_too(status: int, words: str) -> None:
    assert what_happened(None, status, None) == f"The provider answered {status}."
    assert words in next_step(None, status, None)


def test_an_answered_request_needs_no_words() -> None:
    one = Attempt(provider="openai", model="gpt-5", status=200, ms=12)
    assert list(reasons(row(attempts=[one]))) == []


def test_failover_is_told_as_sentences() -> None:
    tried = [
        Attempt(provider="groq", model="m", status=429, ms=31),
        Attempt(provider="broken", model="m", error="upstream-unreachable", ms=2010),
        Attempt(provider="openai", model="m", status=200, ms=700),
    ]
    words = "groq had too much to do (429 after 31 ms); then broken could not be reached (after 2.0 s)"
    assert failover(row(attempts=tried)) == f"{words}; then openai answered."
    lost = row(502, "upstream-unreachable", attempts=tried[:2])
    assert dict(reasons(lost))["failover"] == f"{words}, and no other was left."


def session(**more: Any) -> Session:
    """A session."""
    counts = dict.fromkeys(("errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 0)
    return Session(
        session="s", key="ci", project=None, user=None, agents=0, began=NOON, ended=NOON, requests=8, cost="0.1",
        ms_busy=1.0, **counts, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "state", "words"),
    [
        ({}, "", None),
        ({"stopped_by": "token:admin"}, "■ stopped", "Stopped by token:admin"),
        ({"loop": SessionLoop(kind="repeated", at=NOON, requests=20)}, "▲ loop", "the same request 20 times"),
        ({"loop": SessionLoop(kind="spending", at=NOON, spent=Decimal("6.5"))}, "▲ loop", "spent $6.5 within a minute"),
        ({"last_error": "limit-exceeded"}, "■ limit", "paig limits ask"),
        ({"last_error": "upstream-timeout"}, "✕ failed", "Send it again"),
    ],
)
def test_a_sessions_trouble_is_a_word_and_a_sentence(more: dict[str, Any], state: str, words: str | None) -> None:
    one = session(**more)
    assert session_state(one) == state
    told = session_trouble(one)
    assert [True for _, sentence in told if words and words in sentence] == ([True] if words else [])
    assert len(told) == (1 if words else 0)


def test_no_one_waits_for_a_limit_that_does_not_reset() -> None:
    """What to do depends on whether the window ends."""
    details = {"owner_kind": "limit", "owner": "agents", "window": "total", "resets_at": None}
    assert next_step("limit-exceeded", 402, details).startswith("The limit does not reset: send a smaller request")
    assert next_step("limit-exceeded", 402, {**details, "resets_at": "2026-12-01T00:00:00Z"}).startswith("Wait until")


def test_waiting_is_no_advice_for_what_never_fits() -> None:
    """A larger limit alone helps; a run's budget is its client's own to give."""
    details = {
        "owner_kind": "key",
        "owner": "ci",
        "window": "daily",
        "amount": "0.001",
        "resets_at": "2026-12-01T00:00Z",
    }
    assert would_help({**details, "needed": "0.0023"}) == "a larger limit"
    assert would_help({**details, "needed": "0.0009"}) == "a larger limit; or waiting until 2026-12-01T00:00Z"
    assert "larger budget" in next_step("limit-too-small", 400, {**details, "owner_kind": "run"})


def test_advice_is_given_once() -> None:
    """If the gateway's message says what would fit, the next step does not repeat it."""
    details = {"field": "max_tokens", "lower_to": 31, "message": "With max_tokens at 31 or less, it fits now."}
    assert "31" not in next_step("limit-exceeded", 402, details)


def test_a_number_in_a_message_is_not_taken_for_what_would_fit() -> None:
    details = {"field": "max_tokens", "lower_to": 4, "message": "It needs 1400 tokens: with max_tokens at 40 or less …"}
    assert next_step("limit-exceeded", 402, details).startswith("It would pass with max_tokens at 4 or less.")
