"""What a try says about the provider that was asked: a table of statuses and errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Verdict = Literal["good", "failed", "refused", "throttled", "neither"]
"""`failed`: the provider has trouble. `refused`: it does not take this credential. `throttled`: it takes no more at
present. `neither`: the fault is the request's, whoever is asked."""

Reach = Literal["credential", "elsewhere", "member"]
"""What a failure says something about: after one of the credential the provider is tried with its next one, after one
of the member the next member is. `elsewhere`: that account has not what the request goes on from; another may."""

REACH: Mapping[Verdict, Reach | None] = {
    "good": None,
    "failed": "member",
    "refused": "credential",
    "throttled": "credential",
    "neither": None,
}
"""What another candidate may make good, by verdict; None where no other can."""

BODY_TELLS = frozenset({400, 402, 403, 429})
"""Statuses whose meaning stands in the body."""

_MEANS = re.compile(rb"quota|rate.?limit|throttl|billing|credit|balance|insufficient|exceeded|exhausted", re.IGNORECASE)
"""Matches in the body of a 402 or 403 that speaks of the account's means rather than of the request."""

_REFUSED = re.compile(
    rb'"reason"\s*:\s*"API_KEY_INVALID"|"__type"\s*:\s*"[\w.#]*(?:UnrecognizedClient|InvalidSignature|ExpiredToken)'
)
"""Matches where a provider says by a 400 or a 403 that it does not take the credential: as Google and AWS do, in a
field that no quotation of the request can look like."""

_REFUSED_TYPE = re.compile(rb"UnrecognizedClient|InvalidSignature|ExpiredToken")
"""Matches AWS's `x-amzn-errortype` where it says so there."""

_NO_MEANS = re.compile(rb"insufficient_quota|billing_(?:hard_limit|not_active)|credit balance", re.IGNORECASE)
"""Matches in the body of a 429 that no waiting will mend."""

_SAID: tuple[tuple[re.Pattern[str], Verdict], ...] = (
    (re.compile(r"authenticat|unauthori[sz]ed|api.?key|insufficient.?quota|billing", re.IGNORECASE), "refused"),
    (re.compile(r"throttl|rate.?limit|too.?many|quota|exhausted", re.IGNORECASE), "throttled"),
    (
        re.compile(
            r"invalid|not.?found|too.?(?:large|long)|context.?length|content|policy|permission|unsupported|validation"
            r"|moderation|safety",
            re.IGNORECASE,
        ),
        "neither",
    ),
)
"""What errors in a stream are called; any other is a failure."""

_NAME = re.compile(r"[\w.:-]{1,60}", re.ASCII)


def of_status(status: int, body: bytes = b"", error_type: bytes = b"") -> Verdict:
    """What an answer's status means, and, of those of `BODY_TELLS`, its body.

    Args:
        status: The status.
        body: What was read of its body, without what it quotes of the request.
        error_type: AWS's `x-amzn-errortype`.
    """
    if status < 400:
        return "good"
    match status:
        case 401:
            return "refused"  # the gateway's own credential; a client can do nothing about it
        case 400 | 402 | 403 if _REFUSED.search(body) or _REFUSED_TYPE.match(error_type):
            return "refused"
        case 402 | 403:
            return "refused" if _MEANS.search(body) else "neither"
        case 429:
            return "refused" if _NO_MEANS.search(body) else "throttled"
        case _:
            return "failed" if status == 408 or status >= 500 else "neither"


def of_error(name: str) -> Verdict:
    """What an error means that a provider reports in a stream."""
    return next((verdict for pattern, verdict in _SAID if pattern.search(name)), "failed")


def named(error: str) -> str:
    """An error's name, fit for people who are not to see what it quotes."""
    return error if _NAME.fullmatch(error) else "stream-error"
