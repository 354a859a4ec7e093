"""What a try says about the provider that was asked."""

from __future__ import annotations

from typing import get_args

import pytest

from paig_gateway.routing.verdicts import REACH, Verdict, named, of_error, of_status


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"", "ok"),
        (302, b"", "ok"),
        (400, b'{"error":{"message":"messages: field required"}}', "client_error"),
        (
            400,
            b'{"error":{"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}',
            "credential_rejected",
        ),
        (400, rb'{"error":{"message":"no such model: \"reason\": \"API_KEY_INVALID\""}}', "client_error"),
        (
            403,
            b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}',
            "credential_rejected",
        ),
        (401, b"", "credential_rejected"),
        (401, b'{"error":{"message":"Missing scopes: api.model.read.","code":"missing_scope"}}', "client_error"),
        (401, b'{"error":{"message":"You have no access to this model"}}', "client_error"),
        (401, b'{"error":{"message":"Project p does not have access to model gpt-5"}}', "client_error"),
        (401, b'{"message":"You don\'t have access to the model with that ID."}', "client_error"),
        (
            401,
            b'{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action to perform'
            b' POST operation"}}',
            "client_error",
        ),
        (401, b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}', "credential_rejected"),
        (402, b'{"error":{"message":"Insufficient Balance"}}', "credential_rejected"),
        (403, b'{"error":{"message":"Your quota is exhausted"}}', "credential_rejected"),
        (403, b'{"error":{"message":"This model is not for your country"}}', "client_error"),
        (404, b"", "client_error"),
        (408, b"", "provider_failure"),
        (413, b"", "client_error"),
        (422, b"", "client_error"),
        (429, b'{"error":{"message":"Rate limit reached for gpt-5"}}', "rate_limited"),
        (
            429,
            b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}',
            "credential_rejected",
        ),
        (
            429,
            b'{"error":{"status":"RESOURCE_EXHAUSTED","message":"check your plan and billing"}}',
            "rate_limited",
        ),
        (500, b"", "provider_failure"),
        (503, b"", "provider_failure"),
        (529, b"", "provider_failure"),
    ],
)
def test_a_status_and_where_need_be_its_body(status: int, body: bytes, verdict: Verdict) -> None:
    """The provider's trouble, the credential's, its rate's, or the request's own fault."""
    assert of_status(status, body) == verdict


def test_aws_says_it_in_a_header() -> None:
    """What Bedrock's body only describes, its error type names."""
    body = b'{"message":"The security token included in the request is invalid."}'
    assert (
        of_status(403, body, b"UnrecognizedClientException:http://internal.amazon.com/coral/") == "credential_rejected"
    )
    assert of_status(403, body, b"AccessDeniedException") == "client_error"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        *[
            ("overloaded_error", "provider_failure"),
            ("api_error", "provider_failure"),
            ("server_error", "provider_failure"),
            ("UNAVAILABLE", "provider_failure"),
        ],
        *[("internalServerException", "provider_failure"), ("modelStreamErrorException", "provider_failure")],
        *[("upstream-error", "provider_failure")],
        *[
            ("rate_limit_error", "rate_limited"),
            ("throttlingException", "rate_limited"),
            ("RESOURCE_EXHAUSTED", "rate_limited"),
        ],
        *[
            ("authentication_error", "credential_rejected"),
            ("insufficient_quota", "credential_rejected"),
            ("billing_error", "credential_rejected"),
        ],
        *[
            ("invalid_request_error", "client_error"),
            ("validationException", "client_error"),
            ("INVALID_ARGUMENT", "client_error"),
        ],
        *[
            ("content_filter", "client_error"),
            ("context_length_exceeded", "client_error"),
            ("not_found_error", "client_error"),
        ],
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
    """Only a name is passed on; a sentence may hold secrets."""
    assert named(error) == "stream-error"
    assert named("overloaded_error") == "overloaded_error"
