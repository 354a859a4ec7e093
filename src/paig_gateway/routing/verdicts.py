"""Verdicts: classifies a provider's result by tables of statuses and errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

Verdict = Literal["ok", "provider_failure", "credential_rejected", "rate_limited", "client_error"]
"""`provider_failure`: the provider has trouble. `credential_rejected`: it does not accept this credential.
`rate_limited`: it accepts no further requests at present. `client_error`: the fault is the request's, at any
provider."""

Reach = Literal["credential", "elsewhere", "member"]
"""What a failure concerns.

`credential`: the provider is tried with its next credential. `member`: the next member is tried. `elsewhere`: this
account does not have the requested object, and another one may.
"""

REACH: Mapping[Verdict, Reach | None] = {
    "ok": None,
    "provider_failure": "member",
    "credential_rejected": "credential",
    "rate_limited": "credential",
    "client_error": None,
}
"""Which other candidates may succeed, by verdict; None if none can."""

BODY_TELLS = frozenset({400, 401, 402, 403, 404, 413, 429})
"""Statuses whose meaning depends on the body."""

_MEANS = re.compile(rb"quota|rate.?limit|throttl|billing|credit|balance|insufficient|exceeded|exhausted", re.IGNORECASE)
"""Matches the body of a 402 or 403 that is about the account's money rather than the request."""

_REFUSED = re.compile(
    rb'"reason"\s*:\s*"API_KEY_INVALID"|"__type"\s*:\s*"[\w.#]*(?:UnrecognizedClient|InvalidSignature|ExpiredToken)'
)
"""Matches a 400 or 403 by which a provider rejects the credential.

Google and AWS say so in a field that a quotation of the request cannot imitate.
"""

_REFUSED_TYPE = re.compile(rb"UnrecognizedClient|InvalidSignature|ExpiredToken")
"""Matches an `x-amzn-errortype` of AWS with that meaning."""

_NO_MEANS = re.compile(rb"insufficient_quota|billing_(?:hard_limit|not_active)|credit balance", re.IGNORECASE)
"""Matches the body of a 429 that waiting does not help."""

_SAID: tuple[tuple[re.Pattern[str], Verdict], ...] = (
    (
        re.compile(r"authenticat|unauthori[sz]ed|api.?key|insufficient.?quota|billing", re.IGNORECASE),
        "credential_rejected",
    ),
    (re.compile(r"throttl|rate.?limit|too.?many|quota|exhausted", re.IGNORECASE), "rate_limited"),
    (
        re.compile(
            r"invalid|not.?found|too.?(?:large|long)|context.?length|content|policy|permission|unsupported|validation"
            r"|moderation|safety",
            re.IGNORECASE,
        ),
        "client_error",
    ),
)
"""Names of errors in a stream; any other is a failure."""

_SCOPE = re.compile(
    rb"missing.{0,3}scope|insufficient.{0,3}(?:permission|scope|privilege)|SCOPE_INSUFFICIENT|AccessDenied"
    rb"|not (?:authorized|allowed|permitted) to (?:perform|access|call|use|invoke)"
    rb"|(?:not|n't) have (?:the )?(?:permission|access|required)|no (?:access|permission)s? (?:to|for)"
    rb"|lacks? (?:the )?(?:required|necessary|permission)|permission.?denied",
    re.IGNORECASE,
)
"""Matches a 401 or 403 that names a scope or an operation: the credential is good for other requests."""

_OWN_SIZE = re.compile(
    rb"request (?:is )?too large|too large for|context.?length|maximum context|reduce the length|too many tokens in"
    rb"|payload.too.large|request_too_large",
    re.IGNORECASE,
)
"""Matches a refusal because of the request's size: smaller requests are served."""

_UNKNOWN_MODEL = re.compile(
    rb"model_?not_?found|unknown.?model|no such model|"
    rb"model[^{}]{0,120}(?:does(?:n't| not) exist|not found|not supported)"
    rb"|not.found[^{}]{0,40}model|invalid model",
    re.IGNORECASE,
)
"""Matches a 400 or 404 that means that the model is not served here."""

_PAGE = re.compile(rb"\s*<(?:!doctype|html|head|\?xml)", re.IGNORECASE)
"""Matches a page for people: a firewall or proxy before the provider refused the request, not its API."""

_NAME = re.compile(r"[\w.:-]{1,60}", re.ASCII)


def of_status(status: int, body: bytes = b"", error_type: bytes = b"") -> Verdict:
    """Classify an answer by its status, and for the statuses of `BODY_TELLS` by its body.

    Args:
        body: The part of its body that was read, without quotes from the request.
        error_type: AWS's `x-amzn-errortype`.
    """
    if status < 400:
        return "ok"
    if of_request(status, body):
        return "client_error"
    match status:
        case 401:
            return "credential_rejected"  # the gateway's own credential, which a client cannot change
        case 400 | 402 | 403 if _REFUSED.search(body) or _REFUSED_TYPE.match(error_type):
            return "credential_rejected"
        case 402 | 403:
            return "credential_rejected" if _MEANS.search(body) else "client_error"
        case 429:
            return "credential_rejected" if _NO_MEANS.search(body) else "rate_limited"
        case _:
            return "provider_failure" if status == 408 or status >= 500 else "client_error"


def of_request(status: int, body: bytes) -> bool:
    """Whether a refusal concerns only this request (scope, operation, size), so that others may be served."""
    if status in (401, 403):
        return _SCOPE.search(body) is not None and _REFUSED.search(body) is None
    return status == 413 or (status == 429 and _OWN_SIZE.search(body) is not None)


def another_may(status: int, body: bytes) -> Reach | None:
    """Which other candidate may serve a request that was refused without a failure; None if no other may.

    Another credential may have a scope that this one lacks; another member may know the model, accept the size, or have
    no firewall that refuses the request with a page.
    """
    if status in (401, 403) and of_request(status, body):
        return "credential"
    if status in (400, 404) and _UNKNOWN_MODEL.search(body):
        return "member"
    if status in (400, 403, 404) and _PAGE.match(body):
        return "member"
    return "member" if status in (413, 429) and of_request(status, body) else None


def of_error(name: str) -> Verdict:
    """Classify an error that a provider reports in a stream."""
    return next((verdict for pattern, verdict in _SAID if pattern.search(name)), "provider_failure")


def named(error: str) -> str:
    """An error's name without anything that it quotes."""
    return error if _NAME.fullmatch(error) else "stream-error"


HeaderPairs = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

_EPOCH = 1_000_000_000
"""A number of seconds above this is a moment, not a duration."""
_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|[smhd]))")
_LENGTH = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[smhd])){1,5}")
_NUMBER = re.compile(r"\d{1,13}(?:\.\d{1,9})?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RETRY_INFO = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')


def retry_after(headers: HeaderPairs, now: datetime) -> float | None:
    """The seconds to wait that a refusal's headers state; None if they state none.

    Args:
        headers: The answer's.
    """
    given = dict(headers)
    if (milliseconds := _number(given.get(b"retry-after-ms"))) is not None:
        return milliseconds / 1000 or None
    if (value := given.get(b"retry-after")) is not None and (seconds := _retry_after(value, now)) is not None:
        return seconds or None
    return until_refilled(given.items(), now) or None


def retry_after_in_body(body: bytes) -> float | None:
    """The seconds to wait that a refusal's body states, as Google's do."""
    found = _RETRY_INFO.search(body)
    return float(found[1]) or None if found else None


def until_refilled(headers: HeaderPairs, now: datetime) -> float | None:
    """The seconds until an exhausted rate limit is refilled, by the answer's headers; None if none is exhausted.

    If several are, the one that is refilled last.
    """
    given = dict(headers)
    if b"0" not in given.values():
        return None
    names = [name for name, value in given.items() if value == b"0" and b"ratelimit" in name and b"remaining" in name]
    waits = [_until(given.get(name.replace(b"remaining", b"reset")), now) for name in names]
    return max((wait for wait in waits if wait is not None), default=None)


def _retry_after(value: bytes, now: datetime) -> float | None:
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        at = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, IndexError, OverflowError):  # any error of the parser for a hostile date
        return None
    return _left(at, now)


def _until(value: bytes | None, now: datetime) -> float | None:
    """A reset as seconds from now: a duration, a moment in RFC 3339, or one in seconds or milliseconds."""
    if value is None or len(value) > 40:
        return None
    text = value.decode("latin-1").strip()
    if (number := _number(value)) is not None:
        if number > _EPOCH * 1000:
            number /= 1000
        return number if number < _EPOCH else max(number - now.timestamp(), 0.0)
    if _LENGTH.fullmatch(text):
        return sum(float(count) * _SECONDS[unit] for count, unit in _PARTS.findall(text))
    try:
        return _left(datetime.fromisoformat(text), now)
    except (ValueError, OverflowError):
        return None


def _left(at: datetime, now: datetime) -> float:
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max((at - now).total_seconds(), 0.0)


def _number(value: bytes | None) -> float | None:
    text = (value or b"").decode("latin-1").strip()
    return float(text) if _NUMBER.fullmatch(text) else None
