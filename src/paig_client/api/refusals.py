"""Why a request was refused or failed, which members of a route were tried, and what to do next: in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paig_client.api.resources import Attempt, Request

NOT_TRIED = "not_tried"
"""The member of `refusal` with the reasons why members of the route were not tried, by provider."""


SWITCHED, UNUSED = 101, "not-dispatched"
"""The status of a WebSocket's turns, and the error of one that was held and never began."""

WAITS, ENDLESS = "Wait until the limit resets", "The limit does not reset"
"""The start of what to do about a limit with an end of its window, and about one without."""

EXPLAINED: Mapping[str, tuple[str, str]] = {
    "missing-key": (
        "No key came with the request.",
        "Send the gateway key, as a bearer token or in x-api-key.",
    ),
    "unknown-key": (
        "The gateway does not know this key.",
        "Check that the whole key was copied, or ask an administrator for a new one.",
    ),
    "key-disabled": ("The key is disabled.", "Ask an administrator to enable it: paig keys enable NAME."),
    "key-expired": ("The key has expired.", "Ask an administrator for a new key, or for a later end."),
    "key-blocked": ("An administrator blocked the key.", "Ask the administrator why; the audit log names who did it."),
    "not-allowed": (
        "The key may not be used for this format, method or network.",
        "Use what the message names, or ask an administrator for a key that may.",
    ),
    "route-not-found": (
        "There is no such route, or the key may not use it.",
        "Use one of the routes that the message names.",
    ),
    "not-found": (
        "The stored object does not exist, or belongs to another key or project.",
        "Check the id; an administrator can widen the key's setting `stored`.",
    ),
    "model-not-allowed": (
        "The key may not use this model.",
        "Use one of the models that the message names, or ask an administrator to add it.",
    ),
    "no-price": (
        "The gateway knows no price for it, so it does not pass it on.",
        "Check the model's name; an administrator can add a price: paig prices set.",
    ),
    "limit-exceeded": (
        "A spending limit had no room for it.",
        f"{WAITS}, send a smaller request, or ask for more: paig limits ask.",
    ),
    "limit-too-small": (
        "It can never fit a limit: its worst case is larger than the whole amount.",
        "Lower the output maximum, or ask for a larger limit: paig limits ask.",
    ),
    "rate-limited": (
        "There were too many requests or tokens within a minute.",
        "Wait for a minute, or send fewer at a time.",
    ),
    "loop-stopped": (
        "Its session was stopped, or went round in circles.",
        "Change the request or begin another session; an administrator can resume it: paig sessions resume.",
    ),
    "bad-request": ("The request cannot be read in one way only.", "Correct the request as the message says."),
    "ambiguous-request": (
        "Several routes fit the request.",
        "Name the route in the address, or have the model added under [models].",
    ),
    "headers-too-large": ("The request has more headers than the gateway takes.", "Send fewer or shorter headers."),
    "target-too-long": ("Path and query are longer than the gateway takes.", "Shorten the path or the query."),
    "too-slow": ("The headers or the body did not arrive in time.", "Check the network, and send it again."),
    "body-too-large": (
        "The body is larger than the gateway takes.",
        "Send less, or ask an administrator to raise max_body_mb.",
    ),
    "upstream-unreachable": (
        "The provider could not be reached.",
        "Send it again; if that fails too, the provider may be down: paig providers list.",
    ),
    "upstream-timeout": (
        "The provider took too long.",
        "Send it again, ask for a shorter answer, or have the route's deadline raised.",
    ),
    "overloaded": ("The gateway had too much to do, or could not record.", "Send it again in a few seconds."),
    "client-gone": (
        "The program that asked went away before the answer ended.",
        "Raise the program's own timeout if that was not wanted.",
    ),
    "no-result": (
        "The provider gave no result for it.",
        "Look at the batch at the provider; it is charged at its reservation.",
    ),
}
"""By an error's code: what happened, and what to do next. It has every code of `ErrorCode`."""


def is_unused(row: Request) -> bool:
    """Whether it is a turn that was held for a WebSocket and never began: it cost nothing, and nothing failed."""
    return (row.status, row.error) == (SWITCHED, UNUSED)


def failed(row: Request) -> bool:
    """Whether the client got an error."""
    return not is_unused(row) and (row.error is not None or (row.status or 0) >= 400)


def would_help(details: Mapping[str, Any]) -> str | None:
    """What would let the refused request pass, from the refusal's details, or None."""
    if (field := details.get("field")) and (value := details.get("lower_to")) is not None:
        return f"{field} at {value} or less"
    if _is_too_large(details):
        return "a larger limit"
    if details.get("owner") is not None and (resets := details.get("resets_at")):
        return f"a larger limit; or waiting until {resets}"
    return None


def _is_too_large(details: Mapping[str, Any]) -> bool:
    """Whether a request needs more than its limit's whole amount, so that waiting is no use."""
    try:
        return Decimal(str(details["needed"])) > Decimal(str(details["amount"]))
    except (KeyError, InvalidOperation):
        return False


def next_step(error: str | None, status: int | None, details: Mapping[str, Any] | None) -> str:
    """What to do about a request that failed; empty where it did not.

    Args:
        error: The gateway's code; None for a provider's own error.
        status: What the client got.
        details: The refusal's.
    """
    if error is not None:
        _, step = EXPLAINED.get(error, ("", "Look at the log of the gateway."))
        known = details or {}
        if known.get("owner_kind") == "run":
            return "Send a smaller request, or begin another run with a larger budget."
        if known.get("owner") is not None and known.get("resets_at", "") is None:
            step = step.replace(f"{WAITS}, send", f"{ENDLESS}: send")
        field, lower_to = known.get("field"), known.get("lower_to")
        says = (f"{field} {word} {lower_to} or less" in str(known.get("message", "")) for word in ("at", "to"))
        fits = would_help(known) if lower_to is not None and not any(says) else None
        return f"It would pass with {fits}. {step}" if fits else step
    if (status or 0) < 400:
        return ""
    if status in (401, 403):
        return "An administrator has to replace the provider's credential: paig providers test NAME."
    if status == 429:
        return "Wait and send it again, or have a second member added to the route."
    if (status or 0) >= 500:
        return "Send it again; a second member of the route would have been tried."
    return "Correct the request: the provider's own answer says what is wrong."


def what_happened(error: str | None, status: int | None, details: Mapping[str, Any] | None) -> str:
    """Why a request failed, in a sentence: the gateway's own message if it has one; empty where it did not fail."""
    if message := (details or {}).get("message"):
        return str(message)
    if error is not None:
        return EXPLAINED.get(error, (f"The gateway says {error}.", ""))[0]
    return f"The provider answered {status}." if (status or 0) >= 400 else ""


def _result(one: Attempt) -> str:
    """What became of a try that did not answer, as the end of a sentence about its provider."""
    seconds = f"{one.ms / 1000:.1f} s" if one.ms >= 1000 else f"{one.ms:.0f} ms"
    if one.status is None:
        known = {"upstream-unreachable": "could not be reached", "upstream-timeout": "did not answer in time"}
        return f"{known.get(one.error or '', f'failed ({one.error})')} (after {seconds})"
    words = {429: "had too much to do", 401: "refused the credential", 403: "refused the credential"}
    word = words.get(one.status, "failed" if one.status >= 500 else "refused the request")
    return f"{word} ({one.status} after {seconds})"


def failover(row: Request) -> str:
    """Which members of the route were tried before another answered, or before none was left; empty where one was."""
    if len(row.attempts) < 2:
        return ""
    *before, last = row.attempts
    told = [f"{one.provider} {_result(one)}" for one in before]
    lost = last.status is None or last.status >= 400
    told.append(f"{last.provider} {_result(last)}, and no other was left" if lost else f"{last.provider} answered")
    return "; then ".join(told) + "."


def reasons(row: Request) -> Iterator[tuple[str, str]]:
    """What a person wants to know of a request that failed, or that not the first member answered: (what, in words)."""
    if failed(row):
        because = "refused because" if row.refusal else "failed because"
        yield because, what_happened(row.error, row.status, row.refusal)
        yield "next step", next_step(row.error, row.status, row.refusal)
    if tried := failover(row):
        yield "failover", tried
    for provider, why in ((row.refusal or {}).get(NOT_TRIED) or {}).items():
        yield f"not tried: {provider}", str(why)


def in_short(row: Request) -> str:
    """The same in a few words, for the end of a line; empty without facts."""
    found: Mapping[str, Any] = row.refusal or {}
    if found.get("owner") is None or found.get("window") is None:
        return ""
    owner = found["owner_kind"] if found["owner_kind"] == "organisation" else f"{found['owner_kind']} {found['owner']}"
    dollars = "$" if found.get("unit") == "usd" else ""
    needed, spent, amount = (f"{dollars}{found.get(name, '?')}" for name in ("needed", "spent", "amount"))
    return f"{owner} {found['window']}: needed {needed}, spent {spent} of {amount}"
