from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from paig_client.api.errors import CODES, STATUS
from paig_client.api.limits import Window
from paig_gateway.domain.errors import Advice, LimitRefused
from paig_gateway.domain.limits import Limit, window_end, window_start

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


@given(MOMENTS, st.sampled_from(get_args(Window)))
def test_a_window_holds_its_moment(at: datetime, window: Window) -> None:
    """A window starts at or before its moment and ends after it, and its end is the start of the next."""
    start, end = window_start(window, at), window_end(window, at)
    assert start <= at.timestamp()
    if end is None:
        assert (window, start) == ("total", 0)
        return
    assert at < end
    assert window_start(window, end) == int(end.timestamp())
    assert window_start(window, end - timedelta(microseconds=1)) == start


def test_windows_are_those_of_the_contract() -> None:
    """Days are UTC days, weeks run Monday to Sunday, months are calendar months."""
    sunday = datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC)
    assert window_end("daily", sunday) == datetime(2026, 11, 30, tzinfo=UTC)
    assert window_end("weekly", sunday) == datetime(2026, 11, 30, tzinfo=UTC)
    assert window_end("monthly", sunday) == datetime(2026, 12, 1, tzinfo=UTC)
    assert window_start("weekly", sunday) == int(datetime(2026, 11, 23, tzinfo=UTC).timestamp())
    assert window_end("monthly", datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_every_code_has_a_status() -> None:
    """The table of statuses names each error code once, and no other."""
    assert set(CODES) == set(STATUS)


def test_a_spending_refusal_says_all_that_the_contract_names() -> None:
    """`limit-exceeded` names owner, window, amount, spent, held, needed and the reset, in words and as data."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    limit = Limit("lim_1", "project", "research", "usd", "daily", 10_000_000_000)
    error = LimitRefused(
        limit,
        spent=9_990_000_000,
        held=0,
        needed=50_000_000,
        resets_at=window_end("daily", now),
        now=now,
    )
    assert (error.code, error.status, error.retry_after) == ("limit-exceeded", 402, None)
    for part in ("project 'research'", "daily", "$10", "9.99", "0.05", "2026-11-24T00:00:00Z"):
        assert part in error.message
    assert error.details["resets_at"] == "2026-11-24T00:00:00Z"
    assert error.details["spent"] == "9.99"
    assert not error.retryable


def test_a_rate_refusal_says_when_to_come_back() -> None:
    """`rate-limited` carries the whole seconds until the minute is over."""
    now = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
    limit = Limit("lim_2", "key", "ci", "requests", "minute", 60)
    error = LimitRefused(limit, spent=60, held=0, needed=1, resets_at=window_end("minute", now), now=now)
    assert (error.code, error.status) == ("rate-limited", 429)
    assert error.retry_after == 31


def test_what_can_never_fit_is_not_to_be_tried_again() -> None:
    """`limit-too-small` says which field to lower to what, and that waiting is no use."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    limit = Limit("lim_1", "key", "ci", "usd", "daily", 1_000_000_000)
    error = LimitRefused(
        limit, spent=0, held=0, needed=1_280_000_000, resets_at=window_end("daily", now), now=now,
        advice=Advice("max_tokens", now=90_000, ever=99_000),
    )  # fmt: skip
    assert (error.code, error.status, error.retry_after, error.retryable) == ("limit-too-small", 400, None, False)
    assert "max_tokens to 90000 or less" in error.message
    assert (error.details["field"], error.details["lower_to"]) == ("max_tokens", 90_000)
    later = error.advised(Advice("max_tokens", now=None, ever=99_000))
    assert "max_tokens to 99000 or less and send it after it resets at 2026-11-24T00:00:00Z" in later.message
    assert later.details["lower_to"] is None


def test_a_rate_that_a_request_can_never_fit_is_not_to_be_tried_again() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    limit = Limit("lim_1", "key", "ci", "tokens", "minute", 100_000)
    error = LimitRefused(limit, spent=0, held=0, needed=128_134, resets_at=window_end("minute", now), now=now)
    assert (error.code, error.retry_after, error.retryable) == ("limit-too-small", None, False)


def test_waiting_helps_where_requests_in_flight_hold_the_rest() -> None:
    """A spending cap of which enough is merely held says so, and when to try again."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    limit = Limit("lim_1", "key", "ci", "usd", "total", 1_000_000_000)
    error = LimitRefused(limit, spent=0, held=900_000_000, needed=200_000_000, resets_at=None, now=now)
    assert (error.code, error.retryable, error.waits) == ("limit-exceeded", True, True)
    assert error.retry_after is not None
    assert "in flight hold the rest" in error.message


def test_an_advice_says_what_fits_now() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    limit = Limit("lim_1", "key", "ci", "usd", "daily", 1_000_000_000)
    error = LimitRefused(limit, spent=900_000_000, held=0, needed=200_000_000, resets_at=None, now=now)
    advised = error.advised(Advice("max_output_tokens", now=5_000, ever=90_000))
    assert "With max_output_tokens at 5000 or less, it fits now." in advised.message
    assert advised.details["lower_to"] == 5_000
