"""The one table of what can be capped. It loads nothing but the standard library, so that `paig --help` may read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["usd", "requests", "tokens"]
Window = Literal["minute", "daily", "weekly", "monthly", "total"]


@dataclass(frozen=True, slots=True)
class LimitWindow:
    """One cap that an owner can have.

    Attributes:
        field: Its field of `LimitsSpec`, and its command-line option with `-` for `_`.
        unit: Its unit.
        window: Its time; `paig_gateway.domain.limits` computes when each window begins and ends.
        label: A column's heading.
        title: A form's or a help text's words.
    """

    field: str
    unit: Unit
    window: Window
    label: str
    title: str


WINDOWS = (
    LimitWindow("daily", "usd", "daily", "day", "Cap per day"),
    LimitWindow("weekly", "usd", "weekly", "week", "Cap per week, Monday to Sunday"),
    LimitWindow("monthly", "usd", "monthly", "month", "Cap per calendar month"),
    LimitWindow("total", "usd", "total", "total", "Cap on all spending, never reset"),
    LimitWindow("requests_per_minute", "requests", "minute", "req/min", "Requests per minute"),
    LimitWindow("tokens_per_minute", "tokens", "minute", "tok/min", "Tokens per minute"),
)
"""Every cap, in the order in which people read them."""

SPENDING = tuple(row for row in WINDOWS if row.unit == "usd")
"""The caps on money."""

LABELS = {(row.unit, row.window): row.label for row in WINDOWS}
"""The heading of each."""


def member_words(member: str) -> str:
    """A member of a named limit in words; the empty one counts the requests that name no member."""
    return member or "all other requests"
