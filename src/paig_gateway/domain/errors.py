"""The gateway's own errors: one code each, one table of statuses, a message that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, get_args

from paig_gateway.domain.limits import Limit
from paig_gateway.domain.money import format_usd

ErrorCode = Literal[
    "missing-key",
    "unknown-key",
    "key-disabled",
    "key-expired",
    "key-blocked",
    "route-not-found",
    "model-not-allowed",
    "no-price",
    "limit-exceeded",
    "rate-limited",
    "bad-request",
    "body-too-large",
    "upstream-unreachable",
    "upstream-timeout",
    "overloaded",
]

STATUS: Mapping[ErrorCode, int] = {
    "missing-key": 401,
    "unknown-key": 401,
    "key-disabled": 403,
    "key-expired": 403,
    "key-blocked": 403,
    "route-not-found": 404,
    "model-not-allowed": 403,
    "no-price": 400,
    "limit-exceeded": 402,
    "rate-limited": 429,
    "bad-request": 400,
    "body-too-large": 413,
    "upstream-unreachable": 502,
    "upstream-timeout": 504,
    "overloaded": 503,
}

Detail = str | int | None

CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)


class GatewayError(Exception):
    """A refusal that the gateway itself makes, or a failure it reports.

    Attributes:
        code: One of the contract's codes; decides the HTTP status.
        message: For the person who reads it: what happened and what to do next. Never a secret.
        details: Machine-readable facts, as strings and integers (money as decimal strings of dollars).
        retry_after: Whole seconds for the `Retry-After` header, or None.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: Mapping[str, Detail] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.details: Mapping[str, Detail] = details or {}
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status that belongs to the code."""
        return STATUS[self.code]


class LedgerDown(GatewayError):
    """`overloaded`, because the ledger's database does not take reservations."""

    def __init__(self, message: str) -> None:
        super().__init__("overloaded", message, retry_after=1)


def limit_error(
    limit: Limit, *, spent: int, held: int, needed: int, resets_at: datetime | None, now: datetime
) -> GatewayError:
    """The refusal of a request that a limit has no room for.

    Args:
        limit: The limit that refused.
        spent: What its window has already been charged, in the limit's unit.
        held: What requests in flight hold of it.
        needed: What this request needed.
        resets_at: When the window ends, or None for `total`.
        now: The present.
    """
    show = format_usd if limit.unit == "usd" else str
    amount = f"${show(limit.amount)}" if limit.unit == "usd" else f"{limit.amount} {limit.unit}"
    resets = resets_at.strftime("%Y-%m-%dT%H:%M:%SZ") if resets_at else None
    owner = "the organisation" if limit.owner_kind == "organisation" else f"{limit.owner_kind} '{limit.owner}'"
    window = "per-minute" if limit.window == "minute" else limit.window
    message = (
        f"The {window} limit of {amount} on {owner} has no room for this request: "
        f"spent {show(spent)}, held by requests in flight {show(held)}, needed at worst {show(needed)}. "
    )
    message += f"It resets at {resets}." if resets else "It does not reset; ask an administrator to raise it."
    if not limit.is_rate and spent + needed <= limit.amount:
        message += " Requests in flight hold the rest: try again shortly."
    elif not limit.is_rate and spent < limit.amount:
        message += " A smaller output maximum (max_tokens) needs less."
    details: dict[str, Detail] = {
        "owner_kind": limit.owner_kind,
        "owner": limit.owner,
        "unit": limit.unit,
        "window": limit.window,
        "amount": show(limit.amount),
        "spent": show(spent),
        "held": show(held),
        "needed": show(needed),
        "resets_at": resets,
    }
    if not limit.is_rate:
        return GatewayError("limit-exceeded", message, details=details)
    wait = max(1, int((resets_at - now).total_seconds()) + 1) if resets_at else 60
    return GatewayError("rate-limited", message, details=details, retry_after=wait)
