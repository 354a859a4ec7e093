"""The codes of problems (RFC 9457), each with its status and title.

A problem has the error, its place and what to do; no secret, and nothing about the gateway's internals.
"""

from __future__ import annotations

from collections.abc import Mapping

from paig_client.api.resources import Problem

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be read"),
    "missing-token": (401, "An admin token is needed"),
    "unknown-token": (401, "The admin token is unknown"),
    "expired-token": (401, "The admin token has expired"),
    "login-refused": (403, "The login is refused"),
    "forbidden": (403, "The admin token does not permit this"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "conflict": (409, "The change conflicts with an existing object"),
    "in-use": (409, "The object is in use"),
    "changed": (412, "The object has changed meanwhile"),
    "rate-limited": (429, "There were too many wrong attempts"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body is not JSON"),
    "invalid": (422, "The request is not valid"),
    "idempotency-mismatch": (422, "The idempotency key was used for another request"),
    "internal": (500, "The gateway failed"),
    "unavailable": (503, "The gateway cannot do this at present"),
}
"""Each code: its HTTP status and its title."""

MEDIA_TYPE = "application/problem+json"


def problem(code: str, detail: str) -> dict[str, object]:
    """The body of an answer that is a problem."""
    status, title = PROBLEMS[code]
    return Problem(type=f"/admin/docs#{code}", title=title, status=status, detail=detail, code=code).model_dump()
