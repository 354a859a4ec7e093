"""Limits: the one table of what can be capped, and what a person writes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from paig_client.api.fields import Spec, Usd

Unit = Literal["usd", "requests", "tokens"]
Window = Literal["minute", "daily", "weekly", "monthly", "total"]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class LimitWindow:
    """One cap that an owner can have.

    Attributes:
        field: Its field of `LimitsSpec`, and its command-line option with `-` for `_`.
        unit: What is counted.
        window: Over which time; `paig_gateway.domain.limits` knows when each begins and ends.
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
    LimitWindow("total", "usd", "total", "total", "Cap for ever"),
    LimitWindow("requests_per_minute", "requests", "minute", "req/min", "Requests per minute"),
    LimitWindow("tokens_per_minute", "tokens", "minute", "tok/min", "Tokens per minute"),
)
"""Every cap, in the order in which people read them."""

SPENDING = tuple(row for row in WINDOWS if row.unit == "usd")
"""The caps on money."""

LABELS = {(row.unit, row.window): row.label for row in WINDOWS}
"""The heading of each."""


class Amounts(BaseModel):
    """Caps. A field left out is no cap."""

    daily: Usd | None = None
    weekly: Usd | None = None
    monthly: Usd | None = None
    total: Usd | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    soft: bool = False
    """Refuse once what is spent reaches the cap, and reserve nothing: availability over exactness."""


class LimitsSpec(Amounts, Spec):
    """Caps of one owner. A field left out is no cap."""
