"""Why a request was refused, or no other member was tried, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paig_client.api.resources import Request

NOT_TRIED = "not_tried"
"""The member of `refusal` with the reasons why members of the route were not tried, by provider."""


SWITCHED, UNUSED = 101, "not-dispatched"
"""The status of a WebSocket's turns, and the error of one that was held and never began."""


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
    if details.get("owner") is not None and (resets := details.get("resets_at")):
        return f"a larger limit; or waiting until {resets}"
    return None


def reasons(row: Request) -> Iterator[tuple[str, str]]:
    """The facts of a refusal for people: (label, text)."""
    found: Mapping[str, Any] = row.refusal or {}
    if message := found.get("message"):
        yield "refused because", str(message)
    if helps := would_help(found):
        yield "would have helped", helps
    for provider, why in (found.get(NOT_TRIED) or {}).items():
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
