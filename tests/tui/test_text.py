"""What is shown says what it means without colour, rounds down, and cannot be led astray by what is in it."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_client.api.errors import CODES
from paig_client.api.refusals import failed
from paig_client.api.vocabulary import BreakerState, KeyStatus
from paig_tui.screens.providers.health import STATES, credentials
from paig_tui.screens.requests.text import trace_link
from paig_tui.screens.usage.csv import to_csv
from paig_tui.screens.usage.rows import SPANS
from paig_tui.text import (
    KEY_STATUS,
    WHY,
    bar,
    dollars,
    exact,
    fitted,
    outcome,
    percent,
    plain,
    pointed,
    safe,
    span,
    took,
    until,
)
from paig_tui.widgets.plot import chart, columns, resampled, spark, spread
from tests.tui.scene import NOW, provider_health, providers, requests, usage

amounts = st.decimals(min_value=0, max_value=10**9, places=9)


@given(st.floats(0, 3), st.integers(1, 40))
def test_only_what_is_full_looks_full(share: float, width: int) -> None:
    """A bar is full, and says 100 %, from a whole cap on and not before."""
    drawn, words = bar(share, width).plain, percent(share)
    assert len(drawn) == width
    assert (drawn == "━" * width) == (share >= 1)
    assert (int(words[:3]) >= 100) == (share >= 1)


@given(st.text(max_size=40))
def test_no_sign_moves_the_cursor_or_turns_the_text(text: str) -> None:
    """Of what comes from outside no control, format or private character is left, and its length stays."""
    shown = safe(text)
    assert len(shown) == len(text)
    assert not [sign for sign in shown if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Co"} and sign != "\u200d"]


@given(st.text(max_size=30), st.integers(1, 20))
def test_cells_are_kept_to(text: str, width: int) -> None:
    """A cell has its width, whatever wide or combining characters are in it."""
    assert fitted(plain(text), width).cell_length == width


def test_each_status_has_a_sign_and_a_word_of_its_own() -> None:
    """Colour only repeats what sign and word say, of keys as of breakers."""
    assert set(KEY_STATUS) == set(get_args(KeyStatus))
    assert len({glyph for glyph, _, _ in KEY_STATUS.values()}) == len({word for _, word, _ in KEY_STATUS.values()}) == 5
    assert set(STATES) == set(get_args(BreakerState))
    assert len({word for word, _ in STATES.values()}) == len({word[0] for word, _ in STATES.values()}) == 4


def test_each_of_the_gateways_errors_has_a_word() -> None:
    """A row with one of the gateway's own errors says which, in a word that fits beside its status."""
    never_rows = {"missing-key", "unknown-key", "bad-request"}
    assert set(CODES) - never_rows <= set(WHY)
    assert max(map(len, WHY.values())) <= 6


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("1234.5", "$1,234"), ("36.57", "$36.57"), ("0.0421", "$0.0421"), ("0.000017", "$0.000017"),
     ("0.0000000021", "$0.000000002"), ("0", "$0"), (None, "–")],
)  # fmt: skip
def test_amounts_are_short_and_clear(amount: str | None, shown: str) -> None:
    """What is not known is no zero."""
    assert dollars(None if amount is None else Decimal(amount)) == shown


@given(amounts)
def test_amounts_to_edit_keep_every_digit(amount: Decimal) -> None:
    """What is put into a field and read back is the same amount."""
    assert Decimal(exact(amount)) == amount


@given(st.decimals(min_value=Decimal("0.000001"), max_value=999, places=6))
def test_points_stand_below_each_other(amount: Decimal) -> None:
    """In a column of costs the points are in line: as many cells follow each."""
    text = pointed(amount)
    assert len(text) - (text.index(".") if "." in text else len(text.rstrip())) == 7


def test_spans_of_time() -> None:
    """One unit or two, never none."""
    assert [span(seconds) for seconds in (-5, 4, 720, 7200, 42_960, 600_000)] == [
        "0s",
        "4s",
        "12m",
        "2h",
        "11h56m",
        "6d",
    ]
    assert [took(ms) for ms in (None, 3.2, 999.4, 999.6, 3920, 120_000)] == [
        "–",
        "3ms",
        "999ms",
        "1.00s",
        "3.92s",
        "2.0m",
    ]
    assert until(None, NOW) == "never"
    assert until(NOW + timedelta(hours=2), NOW) == "2h"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80), st.integers(1, 120), st.integers(1, 12))
def test_charts_keep_to_their_size_and_peak(values: list[float], width: int, height: int) -> None:
    """A chart has its width and height, its highest column fills it, and what is not zero is to be seen."""
    drawn = columns(values, width, height)
    assert [len(line) for line in drawn] == [width] * height
    if max(resampled(values, width)) > 0:
        assert "█" in drawn[0]
    assert len(spark(values, width)) == width
    wide = width + 20
    *lines, last = chart(values, wide, height, ticks=["then", "now"], unit=dollars).split()
    assert [line.cell_length for line in lines] == [wide] * (height - 1)
    assert last.cell_length <= wide


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80), st.integers(1, 120))
def test_resampling_keeps_the_sum(values: list[float], width: int) -> None:
    """Spread over more or fewer columns, the mean stays."""
    found = resampled(values, width)
    assert sum(found) / width == pytest.approx(sum(values) / len(values), abs=1e-6 + max(values) * 1e-9)


@given(st.lists(st.text("abc-9", min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 60))
def test_ticks_do_not_run_into_each_other(words: list[str], width: int) -> None:
    """Ticks keep to their line, with a blank between two."""
    line = spread(words, width)
    assert len(line) == width
    assert all(word in words for word in line.split())


@pytest.mark.parametrize("which", SPANS, ids=lambda span: span.words)
def test_a_span_is_whole(which: object) -> None:
    """A span has all its steps, ends now, and has a tick for the present."""
    span = next(one for one in SPANS if one is which)
    times = list(span.times(NOW))
    assert len(times) == round(span.length / span.step)
    assert times[-1] <= NOW < times[-1] + span.step
    assert (len(span.ticks(NOW)), span.ticks(NOW)[-1]) == (5, "now")


def test_a_spreadsheet_runs_nothing_of_a_csv() -> None:
    """A name that begins as a formula is written as text."""
    report = usage(["model"], NOW, None)
    named = zip(report.items, ("=1", "+1", "-1", "a;=1"), strict=False)
    evil = [item.model_copy(update={"group": {"model": name}}) for item, name in named]
    lines = to_csv("model", report.model_copy(update={"items": evil})).splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == ["'=1", "'+1", "'-1", "a;'=1"]


def test_a_trace_is_found_only_where_its_address_is_known() -> None:
    """The address is a web address with the trace's id in it; nothing else is opened."""
    traced = next(row for row in requests() if row.trace_id)
    assert trace_link(traced, {"PAIG_TRACE_URL": "https://t/{trace_id}?a=1"}) == f"https://t/{traced.trace_id}?a=1"
    assert trace_link(traced, {}) is None
    assert trace_link(traced, {"PAIG_TRACE_URL": "javascript:alert({trace_id})"}) is None
    assert trace_link(traced.model_copy(update={"trace_id": None}), {"PAIG_TRACE_URL": "https://t/"}) is None


def test_a_turn_that_was_held_and_never_began_is_no_error() -> None:
    """A WebSocket's turns have the status 101; one that was broken off failed, one that was not needed did not."""
    turn = requests()[0].model_copy(update={"status": 101, "state": "settled", "error": None, "attempts": []})
    unused = turn.model_copy(update={"error": "not-dispatched"})
    lost = turn.model_copy(update={"error": "upstream-lost"})
    assert [outcome(row).plain[:5] for row in (turn, unused, lost)] == ["● 101", "◌ 101", "✕ 101"]
    assert [failed(row) for row in (turn, unused, lost)] == [False, False, True]
    other = unused.model_copy(update={"status": 503})
    assert failed(other)


@pytest.mark.parametrize(("tries", "words"), [(0, "0 tries"), (1, "1 try"), (1530, "1,530 tries")])
def test_one_try_is_not_tries(tries: int, words: str) -> None:
    """The count of a credential's tries reads as English."""
    [provider] = [one for one in providers() if one.name == "openai"]
    [health] = [one for one in provider_health() if one.provider == "openai"]
    told = [health.credentials[0].model_copy(update={"tries": tries})]
    first = next(credentials(provider, health.model_copy(update={"credentials": told}), NOW, 100))
    assert first.plain.endswith(f" {words}")
