"""What a try says about the provider that was asked."""

from __future__ import annotations

from typing import get_args

import pytest

from paig_gateway.routing.verdicts import REACH, Verdict, named, of_error, of_status


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"", "good"),
        (302, b"", "good"),
        (400, b'{"error":{"message":"messages: field required"}}', "neither"),
        (400, b'{"error":{"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}', "refused"),
        (400, rb'{"error":{"message":"no such model: \"reason\": \"API_KEY_INVALID\""}}', "neither"),
        (403, b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}', "refused"),
        (401, b"", "refused"),
        (402, b'{"error":{"message":"Insufficient Balance"}}', "refused"),
        (403, b'{"error":{"message":"Your quota is exhausted"}}', "refused"),
        (403, b'{"error":{"message":"This model is not for your country"}}', "neither"),
        (404, b"", "neither"),
        (408, b"", "failed"),
        (413, b"", "neither"),
        (422, b"", "neither"),
        (429, b'{"error":{"message":"Rate limit reached for gpt-5"}}', "throttled"),
        (429, b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}', "refused"),
        (
            429,
            b'{"error":{"status":"RESOURCE_EXHAUSTED","message":"check your plan and billing"}}',
            "throttled",
        ),
        (500, b"", "failed"),
        (503, b"", "failed"),
        (529, b"", "failed"),
    ],
)
def test_a_status_and_where_need_be_its_body(status: int, body: bytes, verdict: Verdict) -> None:
    """The provider's trouble, the credential's, its rate's, or the request's own fault."""
    assert of_status(status, body) == verdict


def test_aws_says_it_in_a_header() -> None:
    """What Bedrock's body only describes, its error type names."""
    body = b'{"message":"The security token included in the request is invalid."}'
    assert of_status(403, body, b"UnrecognizedClientException:http://internal.amazon.com/coral/") == "refused"
    assert of_status(403, body, b"AccessDeniedException") == "neither"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        *[
            ("overloaded_error", "failed"),
            ("api_error", "failed"),
            ("server_error", "failed"),
            ("UNAVAILABLE", "failed"),
        ],
        *[("internalServerException", "failed"), ("modelStreamErrorException", "failed")],
        *[("upstream-error", "failed")],
        *[("rate_limit_error", "throttled"), ("throttlingException", "throttled"), ("RESOURCE_EXHAUSTED", "throttled")],
        *[("authentication_error", "refused"), ("insufficient_quota", "refused"), ("billing_error", "refused")],
        *[("invalid_request_error", "neither"), ("validationException", "neither"), ("INVALID_ARGUMENT", "neither")],
        *[("content_filter", "neither"), ("context_length_exceeded", "neither"), ("not_found_error", "neither")],
    ],
)
def test_an_error_in_a_stream(error: str, verdict: Verdict) -> None:
    """By what the providers call it."""
    assert of_error(error) == verdict


def test_every_verdict_has_a_reach() -> None:
    """What a verdict means for the other candidates is in the table."""
    assert set(REACH) == set(get_args(Verdict))


@pytest.mark.parametrize("error", ["The user's text: hello", "x" * 61, "", "line\nline"])
def test_what_an_error_quotes_is_not_shown(error: str) -> None:
    """Only a name is told on; a sentence may hold what nobody else is to read."""
    assert named(error) == "stream-error"
    assert named("overloaded_error") == "overloaded_error"
