"""The gateway's own errors, each in the shape that the provider's SDK turns into its own exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from paig_gateway.domain.http import Headers
from paig_gateway.formats.base import ErrorShape, Format

Details = Mapping[str, object]

# Names of errors in each shape, by HTTP status; 0 stands for all others.
_TYPES: Mapping[ErrorShape, Mapping[int, str]] = {
    "openai": {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "insufficient_quota",
        403: "permission_error",
        404: "invalid_request_error",
        413: "invalid_request_error",
        429: "rate_limit_error",
        0: "server_error",
    },
    "anthropic": {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        504: "timeout_error",
        529: "overloaded_error",
        0: "api_error",
    },
    "google": {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        402: "FAILED_PRECONDITION",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        413: "INVALID_ARGUMENT",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        502: "UNAVAILABLE",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
        0: "UNKNOWN",
    },
    "ollama": {0: "error"},
    "bedrock": {
        400: "ValidationException",
        401: "AccessDeniedException",
        402: "ServiceQuotaExceededException",
        403: "AccessDeniedException",
        404: "ResourceNotFoundException",
        413: "ValidationException",
        429: "ThrottlingException",
        502: "ServiceUnavailableException",
        503: "ServiceUnavailableException",
        504: "ModelTimeoutException",
        0: "InternalServerException",
    },
}


def error_kind(shape: ErrorShape, status: int) -> str:
    """The API's name for an error with that status."""
    return _TYPES[shape].get(status, _TYPES[shape][0])


def error_body(
    shape: ErrorShape, status: int, code: str, message: str, details: Details | None = None
) -> tuple[bytes, Headers]:
    """An error response.

    Args:
        code: The gateway's own code.
        details: Machine-readable facts; they are sent under a name of the gateway's own.

    Returns:
        The JSON body, and headers of the shape besides the content type.
    """
    kind = error_kind(shape, status)
    body, headers = _SHAPES[shape](kind, status, code, message, dict(details or {}))
    return msgspec.json.encode(body), headers


def _openai(kind: str, status: int, code: str, message: str, details: Details) -> tuple[object, Headers]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code, "paig": details}}, []


def _anthropic(kind: str, status: int, code: str, message: str, details: Details) -> tuple[object, Headers]:
    error = {"type": kind, "message": message, "paig": {"code": code, **details}}
    return {"type": "error", "error": error, "request_id": details.get("request_id")}, []


def _google(kind: str, status: int, code: str, message: str, details: Details) -> tuple[object, Headers]:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": code,
        "domain": "paig",
        "metadata": {name: str(value) for name, value in details.items() if value is not None},
    }
    return {"error": {"code": status, "message": message, "status": kind, "details": [info]}}, []


def _bedrock(kind: str, status: int, code: str, message: str, details: Details) -> tuple[object, Headers]:
    return {"message": message, "paig": {"code": code, **details}}, [(b"x-amzn-errortype", kind.encode())]


def _ollama(kind: str, status: int, code: str, message: str, details: Details) -> tuple[object, Headers]:
    return {"error": message, "paig": {"code": code, **details}}, []


_Shape = Callable[[str, int, str, str, Details], tuple[object, Headers]]
_SHAPES: Mapping[ErrorShape, _Shape] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
    "bedrock": _bedrock,
    "ollama": _ollama,
}


def error_shape(found: Format | None, route: str, path: str) -> ErrorShape:
    """The native shape of errors: the format's, else what the route's name or path suggests."""
    if found is not None:
        return found.errors
    text = f"{route}{path}"
    if "anthropic" in route or path.endswith("/messages"):
        return "anthropic"
    if "bedrock" in route or path.startswith("/model/"):
        return "bedrock"
    return "google" if "google" in text or "gemini" in route else "openai"
