"""The gateway's errors have the providers' native shapes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from paig_gateway.formats.base import ErrorShape
from paig_gateway.formats.errors import error_body

DETAILS = {"limit": "daily", "needed": "0.01", "resets_at": None, "request_id": "req_1"}


def shaped(shape: ErrorShape, status: int) -> tuple[dict[str, Any], dict[bytes, bytes]]:
    """An error of that status, decoded."""
    body, headers = error_body(shape, status, "some-code", 'It said "no".', DETAILS)
    return json.loads(body), dict(headers)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "insufficient_quota"),
        (429, "rate_limit_error"),
        (502, "server_error"),
    ],
)
def test_openai(status: int, kind: str) -> None:
    """OpenAI: message, type and code in `error`, the facts beside them."""
    body, headers = shaped("openai", status)
    said = {"message": 'It said "no".', "type": kind, "param": None, "code": "some-code", "paig": DETAILS}
    assert (body, headers) == ({"error": said}, {})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
    ],
)
def test_anthropic(status: int, kind: str) -> None:
    """Anthropic: a typed error with the request's id."""
    body, headers = shaped("anthropic", status)
    assert body["type"] == "error"
    assert body["request_id"] == "req_1"
    assert body["error"] == {"type": kind, "message": 'It said "no".', "paig": {"code": "some-code", **DETAILS}}
    assert headers == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (402, "FAILED_PRECONDITION"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_google(status: int, kind: str) -> None:
    """Google: a status name, and the facts as an ErrorInfo, whose metadata are strings."""
    body, headers = shaped("google", status)
    assert body["error"]["code"] == status
    assert body["error"]["status"] == kind
    info = body["error"]["details"][0]
    assert info["reason"] == "some-code"
    assert info["metadata"] == {"limit": "daily", "needed": "0.01", "request_id": "req_1"}
    assert headers == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, b"ValidationException"),
        (401, b"AccessDeniedException"),
        (402, b"ServiceQuotaExceededException"),
        (404, b"ResourceNotFoundException"),
        (429, b"ThrottlingException"),
        (500, b"InternalServerException"),
        (503, b"ServiceUnavailableException"),
        (504, b"ModelTimeoutException"),
    ],
)
def test_bedrock(status: int, kind: bytes) -> None:
    """Bedrock: a message, and the exception's name in a header."""
    body, headers = shaped("bedrock", status)
    assert body["message"] == 'It said "no".'
    assert headers == {b"x-amzn-errortype": kind}


@pytest.mark.parametrize("shape", get_args(ErrorShape))
def test_without_details(shape: ErrorShape) -> None:
    """An error needs no facts, and a status that no table names has a type all the same."""
    body, _ = error_body(shape, 418, "some-code", "No.")
    assert b"No." in body
