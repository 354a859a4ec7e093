"""How providers ask to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.routing.verdicts import retry_after, retry_after_in_body, until_refilled

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Mon, 23 Nov 2026 12:01:30 GMT"}, 90),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({}, None),
    ],
)
def test_a_refusal_says_how_long(headers: dict[str, str], seconds: float | None) -> None:
    """In seconds, as a date, in milliseconds, or as the reset of what is used up; zero and the past say nothing."""
    found = retry_after([(name.encode(), value.encode()) for name, value in headers.items()], NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("remaining", "reset", "value", "seconds"),
    [
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "1s", 1),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "2m59.56s", 179.56),
        ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute", "12.5", 12.5),
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "1h2m3s", 3723),
        ("x-ratelimit-remaining", "x-ratelimit-reset", str(int(NOW.timestamp()) + 30), 30),
        ("x-ratelimit-remaining", "x-ratelimit-reset", str((int(NOW.timestamp()) + 30) * 1000), 30),
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset", "2026-11-23T12:00:07Z", 7),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", "2026-11-23T11:59:00Z", 0),
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "later", None),
        ("x-ratelimit-remaining-requests", "another", "1s", None),
    ],
)
def test_what_is_used_up_comes_back(remaining: str, reset: str, value: str, seconds: float | None) -> None:
    """A remaining 0 holds until its own reset, written in whichever way."""
    headers = [(b"content-type", b"application/json"), (remaining.encode(), b"0"), (reset.encode(), value.encode())]
    assert until_refilled(headers, NOW) == (seconds if seconds is None else pytest.approx(seconds))


def test_the_last_of_several_counts() -> None:
    """Requests and tokens are both used up: nothing goes until both are back."""
    headers = [
        *[(b"x-ratelimit-remaining-requests", b"0"), (b"x-ratelimit-reset-requests", b"1s")],
        *[(b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"6s")],
    ]
    assert until_refilled(headers, NOW) == 6


def test_google_says_it_in_the_body() -> None:
    """`RetryInfo` among the error's details."""
    details = b'[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay": "34.07s"}]'
    assert retry_after_in_body(b'{"error":{"code":429,"details":' + details + b"}}") == 34.07
    assert retry_after_in_body(b'{"error":{"code":429}}') is None


values = st.binary(max_size=60) | st.floats().map(lambda number: str(number).encode())
names = st.sampled_from(
    [
        *[b"retry-after", b"retry-after-ms", b"x-ratelimit-remaining", b"x-ratelimit-reset"],
        *[b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset"],
    ]
)


@given(st.lists(st.tuples(names, values | st.just(b"0")), max_size=6))
def test_nothing_a_provider_says_can_hurt(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever stands there, it is a length of time or nothing."""
    for found in (retry_after(headers, NOW), until_refilled(headers, NOW)):
        assert found is None or 0 <= found < float("inf")


@given(st.integers(0, 10**6))
def test_dates_and_seconds_agree(seconds: int) -> None:
    """A date is as good as the seconds until it."""
    at = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
    assert retry_after([(b"retry-after", at)], NOW) == retry_after([(b"retry-after", str(seconds).encode())], NOW)
