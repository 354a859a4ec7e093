"""Limits as rows of tables: every limit's state, named limits, and raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from textual.content import Content

from paig_client.api.limits import WINDOWS
from paig_client.api.resources import AboutLimit, LimitRaise, LimitStatus, NamedLimit
from paig_client.api.windows import member_words
from paig_tui.data.state import AppState, used
from paig_tui.text import (
    MUTED,
    NOT_YET,
    WARN,
    amount,
    bar,
    level,
    lines,
    percent,
    plain,
    pointed,
    rounded,
    until,
)
from paig_tui.widgets.table import Column

LimitTab = Literal["limits", "named", "raises"]
ALIGNED = 116
"""The table's width from which amounts have room for every decimal place."""


@dataclass(frozen=True)
class LimitTableRow:
    """A limit, or one counter of a named one.

    Attributes:
        now: The time of that state.
    """

    limit: LimitStatus
    now: datetime

    @property
    def key(self) -> str:
        one = self.limit
        return f"{one.owner_kind} {one.owner} {one.window} {one.unit} {one.member}"


@dataclass(frozen=True)
class NamedLimitTableRow:
    """A named limit."""

    resource: NamedLimit
    counters: Sequence[LimitStatus]

    @property
    def key(self) -> str:
        return self.resource.name

    @property
    def fullest(self) -> float:
        return max((used(one) for one in self.counters), default=0.0)


@dataclass(frozen=True)
class RaiseTableRow:
    """A limit that is raised for a while."""

    one: LimitRaise
    now: datetime

    @property
    def key(self) -> str:
        return self.one.id


def limit_rows(state: AppState) -> list[LimitTableRow] | None:
    """Every limit, the fullest first; None while they are not known."""
    if state.limits is None:
        return None
    return [LimitTableRow(one, state.as_of) for one in sorted(state.limits, key=used, reverse=True)]


def named_rows(state: AppState) -> list[NamedLimitTableRow] | None:
    """Every named limit; None while they are not known."""
    if state.named is None:
        return None
    counters: dict[str, list[LimitStatus]] = {}
    for one in state.limits or ():
        if one.owner_kind == "limit":
            counters.setdefault(one.owner, []).append(one)
    return [NamedLimitTableRow(one, counters.get(one.name, ())) for one in state.named]


def raise_rows(state: AppState) -> list[RaiseTableRow] | None:
    """The raises, the first to end first; None while they are not known."""
    return None if state.raises is None else [RaiseTableRow(one, state.as_of) for one in state.raises]


def owner(one: LimitStatus | AboutLimit) -> str:
    """The owner of a limit, in words."""
    if one.owner_kind == "organisation":
        return "the whole gateway"
    member = "" if one.member is None else f" ({member_words(one.member)})"
    return f"{one.owner_kind} {one.owner}{member}"


def window(one: LimitStatus | AboutLimit) -> str:
    """The window of a limit: `daily`, `requests/min`."""
    return one.window if one.unit == "usd" else f"{one.unit}/min"


def matched(named: NamedLimit) -> str:
    """The requests that a named limit binds, in words."""
    given = named.match.model_dump(exclude_none=True)
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "every request"


def caps(named: NamedLimit) -> str:
    """The amounts of a named limit, in words."""
    given = [(row, getattr(named, row.field)) for row in WINDOWS]
    shown = [
        f"{rounded(value)} {'in total' if row.window == 'total' else f'a {row.label}'}"
        if row.unit == "usd"
        else f"{value:,} {row.label}"
        for row, value in given
        if value is not None
    ]
    return ", ".join(shown) + (" (soft)" if named.soft else "")


def _used(share: float, width: int) -> Content:
    return Content.assemble(bar(share, max(1, width - 6)), " ", (percent(share), level(share)))


def _amounts(part: str, least: int) -> tuple[Column[LimitTableRow], ...]:
    """A column of amounts whose decimal points align; in a wide terminal to more places."""
    style = "bold" if part == "left" else ""

    def shown(places: int) -> Callable[[LimitTableRow], Content]:
        def cell(row: LimitTableRow) -> Content:
            value, unit = getattr(row.limit, part), row.limit.unit
            text = pointed(value, places) if unit == "usd" else counted(value, places)
            return Content.styled(text, style)

        return cell

    wide: Column[LimitTableRow] = Column(part, 12, shown(6), right=True, least=max(least, ALIGNED), sort=_number(part))
    if least >= ALIGNED:
        return (wide,)
    return Column(part, 10, shown(4), right=True, below=ALIGNED, least=least, sort=_number(part)), wide


def counted(value: Decimal, places: int) -> str:
    """A count that ends where dollars have their decimal point; a longer one ends further to the right."""
    shown = f"{value:,.0f}"
    return shown + " " * max(0, min(places + 1, places + 6 - len(shown)))


def _number(part: str) -> Any:
    return lambda row: getattr(row.limit, part)


def _ahead(moment: datetime | None, now: datetime) -> Content:
    return Content("" if moment is None else until(moment, now))


def _limit_used(row: LimitTableRow, width: int) -> Content:
    return _used(used(row.limit), width)


def _resets(row: LimitTableRow) -> Content:
    return _ahead(row.limit.resets_at, row.now)


LIMITS: tuple[Column[LimitTableRow], ...] = (
    Column("limit of", 0, lambda row: plain(owner(row.limit)), sort=lambda row: owner(row.limit)),
    Column("per", 12, lambda row: plain(window(row.limit)), sort=lambda row: window(row.limit)),
    Column("used", 11, wide=_limit_used, most=70, sort=lambda row: used(row.limit)),
    *_amounts("spent", 96),
    *_amounts("held", 140),
    *_amounts("amount", 0),
    *_amounts("left", 0),
    Column("resets", 7, _resets, right=True, sort=lambda row: row.limit.resets_at),
    Column(
        "used up", 8, lambda row: _ahead(row.limit.reached_at, row.now).stylize(WARN), right=True, least=110,
        sort=lambda row: row.limit.reached_at,
    ),
    Column(
        "raised", 8, lambda row: _ahead(row.limit.raised_until, row.now), right=True, least=120,
        sort=lambda row: row.limit.raised_until,
    ),
)  # fmt: skip
NAMED: tuple[Column[NamedLimitTableRow], ...] = (
    Column("name", 0, lambda row: plain(row.resource.name), sort=lambda row: row.resource.name.casefold(), most=40),
    Column("binds", 0, lambda row: plain(matched(row.resource)), sort=lambda row: matched(row.resource)),
    Column("each", 0, lambda row: plain(row.resource.per or "one in all"), most=30, sort=lambda row: row.resource.per),
    Column("caps", 0, lambda row: plain(caps(row.resource)), sort=lambda row: caps(row.resource)),
    Column(
        "counters", 8, lambda row: Content(f"{len(row.counters):,}"), right=True, least=96,
        sort=lambda row: len(row.counters),
    ),
    Column("fullest", 11, wide=lambda row, width: _used(row.fullest, width), most=50, sort=lambda row: row.fullest),
)  # fmt: skip
RAISES: tuple[Column[RaiseTableRow], ...] = (
    Column("limit of", 0, lambda row: plain(owner(row.one)), sort=lambda row: owner(row.one).casefold()),
    Column("per", 12, lambda row: plain(window(row.one)), sort=lambda row: window(row.one)),
    Column(
        "is", 10, lambda row: Content.styled(amount(row.one.amount, row.one.unit), "bold"), right=True,
        sort=lambda row: row.one.amount,
    ),
    Column("ends in", 7, lambda row: _ahead(row.one.until, row.now), right=True, sort=lambda row: row.one.until),
    Column("by", 0, lambda row: plain(row.one.actor, MUTED), least=96, most=30, sort=lambda row: row.one.actor),
    Column("why", 0, lambda row: plain(row.one.why), sort=lambda row: row.one.why.casefold()),
)  # fmt: skip
COLUMNS: Mapping[LimitTab, Sequence[Column[Any]]] = {"limits": LIMITS, "named": NAMED, "raises": RAISES}


def about(row: object) -> Content:
    """The details of a row."""
    if isinstance(row, NamedLimitTableRow):
        named = row.resource
        facts = {
            "binds": matched(named),
            "counts": f"each {named.per} apart, at most {named.max_members:,}"
            if named.per
            else "all requests together",
            "caps": caps(named) or "none: it refuses nothing",
            "counters": f"{len(row.counters):,}, the fullest at {percent(row.fullest).strip()}",
            "changed": f"{named.updated_at:%Y-%m-%d %H:%M} UTC",
        }
    elif isinstance(row, LimitTableRow):
        one = row.limit
        facts = {name: amount(getattr(one, name), one.unit) for name in ("amount", "spent", "held", "left")}
        facts["resets"] = "never" if one.resets_at is None else f"{one.resets_at:%Y-%m-%d %H:%M} UTC"
        facts["used up"] = f"{one.reached_at:%Y-%m-%d %H:%M} UTC, at today's pace" if one.reached_at else NOT_YET
        if one.raised_until is not None:
            facts["raised"] = f"until {one.raised_until:%Y-%m-%d %H:%M} UTC; m raises it again"
        if one.soft:
            facts["soft"] = "nothing is held: it refuses once it is spent"
    elif isinstance(row, RaiseTableRow):
        raised = row.one
        facts = {
            "since": f"{raised.since:%Y-%m-%d %H:%M} UTC, by {raised.actor}",
            "until": f"{raised.until:%Y-%m-%d %H:%M} UTC",
            "is": amount(raised.amount, raised.unit),
            "why": raised.why,
        }
    else:
        return Content("")
    return lines(Content.assemble((f"{name:<10}", MUTED), plain(value)) for name, value in facts.items())
