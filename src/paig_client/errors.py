"""The gateway's refusals and failures as typed exceptions, from any SDK.

```
PaigError                  any error that the gateway itself made
├── KeyRejected            missing-key, unknown-key, key-disabled, key-expired, key-blocked, not-allowed
├── RouteNotFound          route-not-found
├── ObjectNotFound         not-found
├── ModelNotAllowed        model-not-allowed
├── NoPrice                no-price
├── LimitExceeded          limit-exceeded
│   └── LimitTooSmall      limit-too-small
├── RateLimited            rate-limited, loop-stopped
├── BadRequest             bad-request, ambiguous-request, headers-too-large, target-too-long, too-slow
├── BodyTooLarge           body-too-large
├── UpstreamFailed         upstream-unreachable, upstream-timeout
└── Overloaded             overloaded
```

A provider's own error, relayed by the gateway, is none of these. Nothing here imports an SDK: exceptions are recognised
by their shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

from paig_client.api.refusals import would_help

CODE_HEADER = "x-paig-error"
DETAILS_HEADER = "x-paig-error-details"
"""A JSON object in ASCII, beside the code."""


class PaigError(Exception):
    """An error that the gateway itself made.

    Attributes:
        code: The contract's code, such as `limit-exceeded`.
        status: The HTTP status, where the SDK kept it.
        message: What happened and what to do next, in the gateway's words.
        details: The gateway's facts as they came; money as decimal strings of dollars.
        request_id: The request's id in the ledger, or None.
        retry_after: Seconds to wait before another try, or None.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        details: Mapping[str, object] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.details: Mapping[str, object] = details or {}
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def would_help(self) -> str | None:
        """Advice that would let the same request pass, or None."""
        return would_help(self.details)

    def __reduce__(self) -> tuple[Any, ...]:
        """As copies and pickles need it: an error may cross processes."""
        return _again, (type(self), dict(vars(self)))

    def _text(self, name: str) -> str | None:
        value = self.details.get(name)
        return value if isinstance(value, str) else None

    def _number(self, name: str) -> Decimal | None:
        try:
            number = Decimal(str(self.details[name]))
        except (KeyError, InvalidOperation):
            return None
        return number if number.is_finite() else None


def _again(kind: type[PaigError], known: Mapping[str, Any]) -> PaigError:
    """An error of a kind, by its attributes."""
    made = kind(known["code"], known["message"])
    vars(made).update(known)
    return made


class KeyRejected(PaigError):
    """The key is missing, unknown, disabled, expired or blocked, or not allowed this; `code` says which."""


class RouteNotFound(PaigError):
    """There is no such route, or the key may not use it."""


class ObjectNotFound(PaigError):
    """There is no such stored object, or it belongs to another owner."""


class ModelNotAllowed(PaigError):
    """The model is outside what the key may use."""


class NoPrice(PaigError):
    """The model has no known price, and the provider is set to require one."""


class BadRequest(PaigError):
    """The request could not be read, or could be read in two ways."""


class BodyTooLarge(PaigError):
    """The request's body is over the gateway's bound."""


class UpstreamFailed(PaigError):
    """No member of the route could be reached, or none answered in time."""


class Overloaded(PaigError):
    """The gateway sheds load, or cannot record; try again after `retry_after` seconds."""


class _Limited(PaigError):
    """A limit refused the request. Facts that the gateway did not give are None."""

    @property
    def owner_kind(self) -> str | None:
        """Whose limit it is: `organisation`, `project`, `user`, `key`, or `run` for a run's budget."""
        return self._text("owner_kind")

    @property
    def owner(self) -> str | None:
        """The owner's name; a run's id."""
        return self._text("owner")

    @property
    def unit(self) -> str | None:
        """What is counted: `usd`, `requests` or `tokens`."""
        return self._text("unit")

    @property
    def window(self) -> str | None:
        """`daily`, `weekly`, `monthly` or `total`; `minute` for rates."""
        return self._text("window")

    @property
    def amount(self) -> Decimal | None:
        """The limit, in dollars (or requests, or tokens)."""
        return self._number("amount")

    @property
    def spent(self) -> Decimal | None:
        """The amount charged in the window so far."""
        return self._number("spent")

    @property
    def held(self) -> Decimal | None:
        """The amount held by requests in flight."""
        return self._number("held")

    @property
    def needed(self) -> Decimal | None:
        """The worst case of this request."""
        return self._number("needed")

    @property
    def resets_at(self) -> datetime | None:
        """When the window ends, in UTC; None for `total`."""
        text = self._text("resets_at")
        if text is None:
            return None
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None


class LimitExceeded(_Limited):
    """A spending cap has no room for the request."""


class LimitTooSmall(LimitExceeded):
    """The request can never fit a limit: `details` say which `field` to lower to what (`lower_to`), if any."""


class RateLimited(_Limited):
    """Too many requests or tokens in a minute; try again after `retry_after` seconds."""


TYPES: Mapping[str, type[PaigError]] = {
    "missing-key": KeyRejected,
    "unknown-key": KeyRejected,
    "key-disabled": KeyRejected,
    "key-expired": KeyRejected,
    "key-blocked": KeyRejected,
    "not-allowed": KeyRejected,
    "route-not-found": RouteNotFound,
    "not-found": ObjectNotFound,
    "model-not-allowed": ModelNotAllowed,
    "no-price": NoPrice,
    "limit-exceeded": LimitExceeded,
    "limit-too-small": LimitTooSmall,
    "rate-limited": RateLimited,
    "loop-stopped": RateLimited,
    "bad-request": BadRequest,
    "ambiguous-request": BadRequest,
    "headers-too-large": BadRequest,
    "target-too-long": BadRequest,
    "too-slow": BadRequest,
    "body-too-large": BodyTooLarge,
    "upstream-unreachable": UpstreamFailed,
    "upstream-timeout": UpstreamFailed,
    "overloaded": Overloaded,
}
"""The type of each of the gateway's codes; a code that is newer than this client is a plain `PaigError`."""


def from_exception(exc: BaseException) -> PaigError | None:
    """The gateway's error behind an SDK's exception, or None if the gateway did not make it.

    Looks at the exception, at what caused it, and into exception groups. Knows what openai, anthropic, google-genai,
    groq, boto3, mistral, cohere, huggingface_hub, pydantic-ai and httpx raise. `__cause__` of the result is `exc`.
    """
    for link in _chain(exc):
        found = link if isinstance(link, PaigError) else _read(link)
        if found is not None:
            if found is not exc:
                found.__cause__ = exc
            return found
    return None


def from_response(status: int, headers: Mapping[str, str], body: object = None) -> PaigError | None:
    """The gateway's error in an HTTP answer, or None.

    Args:
        status: The HTTP status.
        headers: The answer's headers, in any letter case.
        body: The body: bytes, text or decoded JSON. Used if the headers have no code.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    inner_code, inner, message = _body(_decoded(body))
    code = lower.get(CODE_HEADER) or inner_code
    if not code:
        return None
    details = _decoded(lower.get(DETAILS_HEADER))
    return TYPES.get(code, PaigError)(
        code,
        message or f"the gateway refused the request: {code}",
        status=status or None,
        details=details if _is_object(details) else inner,
        request_id=lower.get("x-paig-request-id"),
        retry_after=_seconds(lower.get("retry-after")),
    )


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception, those in it and those behind it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [exc]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            waiting.extend(link.exceptions)
        waiting.append(link.__cause__)


def _read(exc: BaseException) -> PaigError | None:
    """The gateway's error in one exception, whatever SDK made it."""
    response = getattr(exc, "response", None) or getattr(exc, "raw_response", None)  # mistral: raw_response
    if _is_object(response):  # boto3: the parsed answer
        meta = response.get("ResponseMetadata")
        meta = meta if _is_object(meta) else {}
        error = response.get("Error")
        message = error.get("Message") if _is_object(error) else None
        body: object = {"message": message}
        return from_response(_status(meta.get("HTTPStatusCode")), _headers(meta.get("HTTPHeaders")), body)
    headers = _headers(getattr(response, "headers", None)) or _headers(getattr(exc, "headers", None))
    body = getattr(exc, "body", None)
    if body is None:
        body = getattr(exc, "details", None)  # google-genai: the decoded body
    if body is None and response is not None:
        body = _content(response)
    codes = (getattr(exc, "status_code", None), getattr(exc, "code", None), getattr(response, "status_code", None))
    return from_response(next(filter(None, map(_status, codes)), 0), headers, body)


def _content(response: object) -> object:
    """The body of an httpx response, if it has been read."""
    try:
        return getattr(response, "content", None)
    except RuntimeError:  # httpx: a stream that was not read
        return None


def _body(body: object) -> tuple[str | None, Mapping[str, object], str | None]:
    """Code, details and message in a decoded body, in whichever provider's shape."""
    if isinstance(body, list) and body:  # Gemini wraps errors of array streams
        body = body[0]
    if not _is_object(body):
        return None, {}, None
    error = body.get("error")
    error = error if _is_object(error) else body  # openai's SDK passes on only the inside of `error`
    message = error.get("message") or body.get("Message")
    facts = error.get("paig")
    if not _is_object(facts):
        facts = _google(error.get("details"))
    code = facts.get("code") or ("paig" in error and error.get("code"))  # OpenAI's shape has its own code
    details = {name: value for name, value in facts.items() if name != "code"}
    return code if isinstance(code, str) else None, details, message if isinstance(message, str) else None


def _google(details: object) -> Mapping[str, object]:
    """The gateway's facts in Google's `error.details`: an ErrorInfo whose reason is one of the gateway's codes."""
    for info in details if isinstance(details, list) else []:
        reason = info.get("reason") if _is_object(info) else None
        if isinstance(reason, str) and (code := reason.lower().replace("_", "-")) in TYPES:
            metadata = info.get("metadata")
            return {**(metadata if _is_object(metadata) else {}), "code": code}
    return {}


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}


def _status(value: object) -> int:
    return value if isinstance(value, int) and 100 <= value <= 599 else 0


def _decoded(body: object) -> object:
    if not isinstance(body, (str, bytes)):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return None


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text else None
    except ValueError:  # a date: the gateway itself always sends seconds
        return None
    return seconds if seconds is None or seconds >= 0 else None
