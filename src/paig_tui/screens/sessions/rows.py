"""Sessions as rows of a table, and a description of the one under the cursor: its state, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from textual.content import Content

from paig_client.api.resources import LimitStatus, Session, SessionFigures
from paig_client.api.session_words import session_state, session_trouble
from paig_tui.data.state import AppState, used
from paig_tui.screens.usage.rows import count
from paig_tui.text import (
    BAD,
    GOOD,
    MUTED,
    NOT_YET,
    WARN,
    bar,
    dollars,
    hanging,
    level,
    lines,
    percent,
    plain,
    pointed,
    span,
)  # fmt: skip
from paig_tui.widgets.plot import spark
from paig_tui.widgets.table import Column

RUNNING = timedelta(minutes=5)
"""How long after its latest request a session counts as running."""


@dataclass(frozen=True)
class SessionTableRow:
    """One session.

    Attributes:
        trend: Its cost at each step of the time that is shown; None if that is not known.
        budgets: The state of the limits that have a counter for this session.
        now: The time of these values.
    """

    session: Session
    trend: tuple[float, ...] | None
    budgets: Sequence[LimitStatus]
    now: datetime

    @property
    def key(self) -> str:
        """The row's identity: two keys may have sessions of the same id."""
        return f"{self.session.key} {self.session.session}"

    @property
    def budget(self) -> LimitStatus | None:
        return max(self.budgets, key=used, default=None)

    @property
    def state(self) -> tuple[str, str]:
        """A glyph with a word, and their colour."""
        if wrong := session_state(self.session):
            return wrong, WARN if wrong.startswith("▲") else BAD
        if self.budget is not None and used(self.budget) >= 1:
            return "■ limit", BAD
        return ("● running", GOOD) if self.now - self.session.ended < RUNNING else ("◌ quiet", MUTED)


def cached(figures: SessionFigures) -> float:
    """The share of the input tokens that came from a provider's cache."""
    return figures.cache_read_tokens / figures.input_tokens if figures.input_tokens else 0.0


def budgets_of(state: AppState, session: str) -> list[LimitStatus]:
    """The counters that named limits have for a session."""
    return [one for one in state.limits or () if one.owner_kind == "limit" and one.member == session]


def session_rows(
    found: Sequence[Session], trends: Mapping[str | None, Mapping[datetime, Decimal]] | None,
    times: Sequence[datetime], state: AppState,
) -> list[SessionTableRow]:  # fmt: skip
    """Rows of sessions, in their order."""
    rows = []
    for one in found:
        known = None if trends is None else trends.get(one.session)
        trend = None if known is None else tuple(float(known.get(time, 0)) for time in times)
        rows.append(SessionTableRow(one, trend, budgets_of(state, one.session), state.as_of))
    return rows


def _used(row: SessionTableRow, width: int) -> Content:
    one = row.budget
    if one is None:
        return Content.styled("no budget", MUTED)
    share = used(one)
    return Content.assemble(bar(share, max(1, width - 6)), " ", (percent(share), level(share)))


def _trend(row: SessionTableRow, width: int) -> Content:
    return Content.styled(spark(row.trend, min(width, len(row.trend))) if row.trend else "", "$secondary")


def _ago(row: SessionTableRow) -> Content:
    return Content.styled(span((row.now - row.session.ended).total_seconds()), MUTED)


def _errors(row: SessionTableRow) -> Content:
    return Content.styled(count(row.session.errors), BAD if row.session.errors else MUTED)


def _lasted(row: SessionTableRow) -> float:
    return (row.session.ended - row.session.began).total_seconds()


def _owner(row: SessionTableRow) -> Content:
    found = " / ".join(name for name in (row.session.project, row.session.user) if name)
    return plain(found) if found else Content.styled(NOT_YET, MUTED)


def _right(
    title: str,
    width: int,
    shown: Callable[[SessionTableRow], str],
    sort: Callable[[SessionTableRow], Any],
    least: int = 0,
) -> Column[SessionTableRow]:
    return Column(title, width, lambda row: Content(shown(row)), right=True, least=least, sort=sort)


COLUMNS: tuple[Column[SessionTableRow], ...] = (
    Column("state", 9, lambda row: Content.styled(*row.state), sort=lambda row: row.state[0]),
    Column("session", 0, lambda row: plain(row.session.session), sort=lambda row: row.session.session),
    Column("key", 0, lambda row: plain(row.session.key), sort=lambda row: row.session.key.casefold()),
    Column("project / user", 0, _owner, least=150, most=40, sort=lambda row: _owner(row).plain),
    Column("last", 5, _ago, right=True, sort=lambda row: row.now - row.session.ended),
    _right("lasted", 6, lambda row: span(_lasted(row)), _lasted, 110),
    _right("agents", 6, lambda row: count(row.session.agents + 1), lambda row: row.session.agents, 96),
    _right("requests", 8, lambda row: count(row.session.requests), lambda row: row.session.requests, 96),
    Column("errors", 6, _errors, right=True, least=110, sort=lambda row: row.session.errors),
    _right("cached", 6, lambda row: f"{cached(row.session):.0%}", lambda row: cached(row.session)),
    Column("budget", 10, wide=_used, most=30, sort=lambda row: used(row.budget) if row.budget else -1.0),
    Column("trend", 12, wide=_trend, least=110, most=31),
    _right("cost", 9, lambda row: pointed(row.session.cost, 4), lambda row: Decimal(row.session.cost)),
)
"""A wider terminal shows more of them."""


def troubles(session: Session, budgets: Sequence[LimitStatus]) -> list[tuple[str, str]]:
    """What is wrong with a session and what to do, as pairs of a title and a sentence."""
    found = session_trouble(session)
    for one in budgets:
        if used(one) >= 1:
            said = f"Its budget '{one.owner}' of {dollars(one.amount)} is used up: its requests get limit-exceeded."
            found.append(("budget", f"{said} Press 7, then m, to raise it for a while, or begin another session."))
    return found


def about(one: Session, budgets: Sequence[LimitStatus], width: int) -> Content:
    """A session in words: what is wrong and what to do, what it spent, what it may spend."""
    room = 9
    shown = [hanging(name, plain(words, WARN), width, room) for name, words in troubles(one, budgets)]
    agents = f"{one.agents + 1} agents" if one.agents else "1 agent"
    share = f"{cached(one):.0%} from caches"
    spent = f"{dollars(one.cost)} by {agents} in {count(one.requests)} requests, {count(one.errors)} failed"
    left = ", ".join(f"{dollars(budget.left)} of {dollars(budget.amount)} in '{budget.owner}'" for budget in budgets)
    facts = {
        "spent": spent,
        "left": left or "no budget: a named limit per session sets one",
        "tokens": f"{count(one.input_tokens)} in, {share}, {count(one.output_tokens)} out",
        "time": f"{one.began:%Y-%m-%d %H:%M:%S} to {one.ended:%H:%M:%S} UTC",
        "whose": " · ".join(filter(None, (f"key {one.key}", one.project, one.user))),
    }
    return lines([*shown, *(hanging(name, plain(value), width, room) for name, value in facts.items())])
