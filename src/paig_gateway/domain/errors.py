"""The gateway's own errors: one code each, one table of statuses, a message that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from paig_client.api.errors import STATUS, ErrorCode
from paig_gateway.domain.limits import Balance, Limit
from paig_gateway.domain.money import format_usd

Detail = str | int | None


class GatewayError(Exception):
    """A refusal that the gateway itself makes, or a failure it reports.

    Attributes:
        code: One of the contract's codes; decides the HTTP status.
        message: What happened and what to do next, for people. Never a secret.
        details: Machine-readable facts, as strings and integers (money as decimal strings of dollars).
        retry_after: Whole seconds for the `Retry-After` header, or None.
        retryable: Whether the same request may succeed later if nothing is changed. If it is False, the
            answer says `x-should-retry: false`, which OpenAI's and Anthropic's SDKs obey.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: Mapping[str, Detail] | None = None,
        retry_after: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.details: Mapping[str, Detail] = details or {}
        self.retry_after = retry_after
        self.retryable = STATUS[code] in (429, 502, 503, 504) if retryable is None else retryable

    @property
    def status(self) -> int:
        return STATUS[self.code]


class UpgradeRefused(GatewayError):
    """`no-price` for a WebSocket where the same API is there over HTTP: Codex goes on over HTTP after this status."""

    @property
    def status(self) -> int:
        return 426


class LedgerDown(GatewayError):
    """`overloaded`, because the ledger's database does not take reservations."""

    def __init__(self, message: str) -> None:
        super().__init__("overloaded", message, retry_after=1)


LONGEST_RETRY = 120
"""Seconds until a window ends, above which a refused program is not told to try again by itself."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What makes a request smaller: its output maximum.

    Attributes:
        field: The member of the request that states it.
        now: The largest value that fits now; None if none does.
        ever: The largest value that fits the unused limit; None if no value does.
    """

    field: str
    now: int | None
    ever: int | None


class LimitRefused(GatewayError):
    """A limit has no room for a request.

    Attributes:
        balances: The balance of each hard limit on money or tokens that binds the request.
        waits: Whether it lacks room only for what requests in flight hold.
    """

    def __init__(
        self,
        limit: Limit,
        *,
        spent: int,
        held: int,
        needed: int,
        resets_at: datetime | None,
        now: datetime,
        balances: tuple[Balance, ...] = (),
        advice: Advice | None = None,
    ) -> None:
        """Word the refusal.

        Args:
            spent: What its window has been charged, in the limit's unit.
            held: The amount that requests in flight hold.
            resets_at: When the window ends, or None for `total`.
            balances: See the class.
            advice: What makes the request smaller, where that is known.
        """
        self.limit, self.balances = limit, balances
        self._facts = (spent, held, needed, resets_at, now)
        never = needed > limit.amount and not limit.soft
        waits = not never and not limit.soft and spent + needed <= limit.amount and limit.unit != "requests"
        self.waits = waits
        seconds = max(1, int((resets_at - now).total_seconds()) + 1) if resets_at else None
        soon = seconds is not None and seconds <= LONGEST_RETRY
        show = format_usd if limit.unit == "usd" else str
        resets = resets_at.strftime("%Y-%m-%dT%H:%M:%SZ") if resets_at else None
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
        if limit.member is not None:
            details["member"] = limit.member
        if advice is not None:
            details |= {"field": advice.field, "lower_to": advice.now}
        super().__init__(
            "limit-too-small" if never else "rate-limited" if limit.is_rate else "limit-exceeded",
            _never_fits(limit, details, advice) if never else _no_room(limit, details, waits, advice),
            details=details,
            retry_after=None if never else seconds if soon else IN_FLIGHT_RETRY if waits else None,
            retryable=not never and (soon or waits),
        )

    def advised(self, advice: Advice | None) -> LimitRefused:
        """The same refusal, saying what makes the request smaller."""
        spent, held, needed, resets_at, now = self._facts
        return LimitRefused(
            self.limit, spent=spent, held=held, needed=needed, resets_at=resets_at, now=now, balances=self.balances,
            advice=advice,
        )  # fmt: skip


IN_FLIGHT_RETRY = 5
"""Seconds after which requests in flight may have released their holds."""


def _never_fits(limit: Limit, details: Mapping[str, Detail], advice: Advice | None) -> str:
    needed, resets = details["needed"], details["resets_at"]
    dollars = "$" if limit.unit == "usd" else ""
    unit = "" if limit.unit == "usd" else f" {limit.unit}"
    message = (
        f"This request can never fit the {_described(limit)}: at worst it needs {dollars}{needed}{unit}, "
        "more than the whole limit. "
    )
    if advice is not None and advice.now is not None:
        return message + f"Set {advice.field} to {advice.now} or less, or {_more(limit)}."
    if advice is not None and advice.ever is not None:
        when = f"after it resets at {resets}" if resets else "once there is room again"
        return message + (
            f"Set {advice.field} to {advice.ever} or less and send it {when} (spent {details['spent']}, held "
            f"{details['held']}), or {_more(limit)}."
        )
    return message + f"Send a smaller request, or {_more(limit)}."


def _more(limit: Limit) -> str:
    """How to get more: the first request of a run sets its budget, and no administrator can raise it."""
    own = limit.owner_kind == "run"
    return "begin another run with a larger budget" if own else "ask an administrator to raise the limit"


def _no_room(limit: Limit, details: Mapping[str, Detail], waits: bool, advice: Advice | None) -> str:
    message = (
        f"The {_described(limit)} has no room for this request: spent {details['spent']}, held by requests in flight "
        f"{details['held']}, needed at worst {details['needed']}. "
    )
    resets = details["resets_at"]
    message += f"It resets at {resets}." if resets else f"It does not reset; {_more(limit)}."
    if waits:
        return message + " Requests in flight hold the rest: try again shortly."
    if advice is not None and advice.now is not None:
        return message + f" With {advice.field} at {advice.now} or less, it fits now."
    return message


def _described(limit: Limit) -> str:
    amount = f"${format_usd(limit.amount)}" if limit.unit == "usd" else f"{limit.amount} {limit.unit}"
    window = "per-minute" if limit.window == "minute" else limit.window
    if limit.owner_kind == "limit":
        lacking = "a " + (limit.per or "member").replace("tag:", "tag ")
        named = f" for '{limit.member}'" if limit.member else f" for all requests without {lacking}"
        member = "" if limit.member is None else named
        return f"{window} limit '{limit.owner}' of {amount}{member}"
    owner = "the organisation" if limit.owner_kind == "organisation" else f"{limit.owner_kind} '{limit.owner}'"
    return f"{window} limit of {amount} on {owner}"


def too_many_members(limit: Limit) -> GatewayError:
    """The refusal of a request that would need one more counter than a named limit may have."""
    return GatewayError(
        "rate-limited" if limit.is_rate else "limit-exceeded",
        f"The limit '{limit.owner}' counts {limit.max_members} members, its maximum, and "
        f"'{limit.member}' is not among them. Ask an administrator to raise its max_members.",
        details={"owner_kind": limit.owner_kind, "owner": limit.owner, "member": limit.member, "window": limit.window},
        retryable=False,
    )
