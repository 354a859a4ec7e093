"""The codes of the gateway's own errors (`x-paig-error`) and their HTTP statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

ErrorCode = Literal[
    "missing-key", "unknown-key", "key-disabled", "key-expired", "key-blocked", "not-allowed", "route-not-found",
    "not-found", "model-not-allowed", "no-price", "limit-exceeded", "limit-too-small", "rate-limited", "loop-stopped",
    "bad-request", "ambiguous-request", "headers-too-large", "target-too-long", "too-slow", "body-too-large",
    "upstream-unreachable", "upstream-timeout", "overloaded",
]  # fmt: skip

STATUS: Mapping[ErrorCode, int] = {
    "missing-key": 401, "unknown-key": 401, "key-disabled": 403, "key-expired": 403, "key-blocked": 403,
    "not-allowed": 403, "route-not-found": 404, "not-found": 404, "model-not-allowed": 403, "no-price": 400,
    "limit-exceeded": 402, "limit-too-small": 400, "rate-limited": 429, "loop-stopped": 429, "bad-request": 400,
    "ambiguous-request": 400, "headers-too-large": 431, "target-too-long": 414, "too-slow": 408,
    "body-too-large": 413, "upstream-unreachable": 502, "upstream-timeout": 504, "overloaded": 503,
}  # fmt: skip
"""The status of each code; `not-found` takes the one with which the provider answers for an unknown id."""

CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)
