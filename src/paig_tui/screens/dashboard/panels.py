"""The dashboard's panels: the state as text of a given width and height. No widget, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from paig_client.api.limits import LABELS
from paig_client.api.resources import LimitStatus
from paig_client.api.windows import member_words
from paig_tui.data.state import AppState, used
from paig_tui.screens.providers.health import provider_statuses
from paig_tui.text import (
    ACCENT,
    BAD,
    GOOD,
    MUTED,
    NOT_YET,
    WARN,
    bar,
    dollars,
    fitted,
    level,
    lines,
    percent,
    plain,
    safe,
    took,
)  # fmt: skip
from paig_tui.widgets.plot import AXIS, chart, spark

TICKS = ("-60m", "-45m", "-30m", "-15m", "now")


def unknown() -> Content:
    """Shown for a value that has not been fetched."""
    return Content.styled(NOT_YET, MUTED)


def today(state: AppState, width: int) -> Content:
    """Today's spend, compared with yesterday's at this time."""
    now, before = state.today, state.yesterday
    if now is None:
        return unknown()
    shown = Content.styled(dollars(now.total.cost), "bold")
    if before is None or before.total.cost == 0:
        return shown
    change = float(now.total.cost / before.total.cost) - 1
    words = " on yesterday" if width > 26 else ""
    return Content.assemble(shown, (f"  {'▲' if change >= 0 else '▼'} {min(abs(change), 9.99):.0%}{words}", MUTED))


def with_spark(shown: Content, values: Sequence[float], width: int, style: str) -> Content:
    """A figure, with a sparkline of the last minutes at its right."""
    room = min(20, width - shown.cell_length - 2)
    if room < 6 or len(values) < 2 or not any(values):
        return shown
    drawn = spark(values[-room:], min(room, len(values)))
    return Content.assemble(shown, " " * (width - shown.cell_length - len(drawn)), (drawn, style))


def rate(state: AppState, width: int) -> Content:
    """Requests in the last minute."""
    if state.recent.since is None:
        return unknown()
    shown = Content.styled(f"{state.figures().per_minute:,}", "bold")
    return with_spark(shown, [minute.requests for minute in state.recent.per_minute(state.as_of)], width, "$secondary")


def latency(state: AppState) -> Content:
    """The median and the 95th percentile of successful requests' times."""
    figures = state.figures()
    if figures.p50 is None:
        return unknown()
    return Content.assemble((took(figures.p50), "bold"), (" / ", MUTED), (took(figures.p95), "bold"))


def errors(state: AppState, width: int) -> Content:
    """The share of requests that failed."""
    share = state.figures().errors
    if share is None:
        return unknown()
    style, word = (BAD, "✕ high") if share > 0.05 else (WARN, "▲ some") if share else (GOOD, "● none")
    shown = Content.assemble((f"{share:.1%}", "bold"), " ", (word, style))
    return with_spark(shown, [minute.errors for minute in state.recent.per_minute(state.as_of)], width, BAD)


def spend(state: AppState, width: int, height: int) -> tuple[str, Content]:
    """The spend in each minute of the last hour: the panel's title and its chart."""
    minutes = state.recent.per_minute(state.as_of) if state.recent.since else []
    if not minutes:
        return "spend $/min · 60m", unknown()
    values = [minute.cost / 1e9 for minute in minutes]
    peak = f" · peak {dollars(max(values))}" if any(values) and height < AXIS and width > 34 else ""
    ticks = TICKS if len(values) >= 60 else (f"-{len(values) - 1}m", "now")
    return f"spend $/min · {len(values)}m{peak}", chart(values, width, height, ticks=ticks, unit=dollars)


def caps(state: AppState, width: int, height: int) -> Content:
    """The fullest caps."""
    if state.limits is None:
        return unknown()
    closest = state.closest(height)
    labels = [_whose(limit) for limit in closest]
    longest = max((label.cell_length for label in labels), default=0)
    size = max(5, min(10 if width > 40 else 8, width - 14 - longest))
    room = max(6, width - 14 - size)
    shown = []
    for limit, whole in zip(closest, labels, strict=True):
        share, label = used(limit), fitted(whole, room)
        window = LABELS[limit.unit, limit.window]
        shown.append(
            Content.assemble(label, " ", bar(share, size), " ", (percent(share), level(share)), " ", (window, MUTED))
        )
    return lines(shown) if shown else Content.styled("No cap has been used yet.", MUTED)


def _whose(limit: LimitStatus) -> Content:
    """The owner of a cap; of a named limit also what the counter is for, which tells the counters apart."""
    if limit.owner_kind == "key":
        return plain(limit.owner)
    if limit.owner_kind == "organisation":
        return Content("the whole gateway")
    if limit.member is not None:
        return Content.assemble((f"{safe(limit.owner)} ", MUTED), plain(member_words(limit.member)))
    return Content.assemble((f"{limit.owner_kind} ", MUTED), plain(limit.owner))


def spending(state: AppState, width: int, height: int) -> Content:
    """The keys that spent most in the last five minutes."""
    found = state.figures().spending[:height]
    if not found:
        return unknown() if state.recent.since is None else Content.styled("Nothing spent.", MUTED)
    most = found[0][1] or 1.0
    size = 6 if width > 26 else 3
    room = max(6, width - size - 11)
    return lines(
        Content.assemble(fitted(plain(key), room), " ", bar(cost / most, size, ACCENT), f" {dollars(cost):>9}")
        for key, cost in found
    )


def providers(state: AppState, width: int, height: int) -> Content:
    """The health of the providers: failing ones first, then those with traffic."""
    if state.providers is None:
        return unknown()
    found = provider_statuses(state)
    room = max(6, width - 24)

    def order(name: str) -> tuple[bool, bool, str]:
        one = found.get(name)
        return one is None or one.style == GOOD or not one.tries, one is None or not one.tries, name

    shown = []
    for name in sorted((provider.name for provider in state.providers), key=order)[:height]:
        one = found.get(name)
        label = fitted(plain(name), room)
        if one is None or not one.tries:
            shown.append(Content.assemble(("◌ idle    ", MUTED), label))
            continue
        numbers = f" {one.good or 0:>4.0%} {took(one.p95):>7}"
        if one.style == BAD and one.note:  # a provider that gets no requests has no useful figures
            until = one.note.partition(" · ")[0].replace(" in ", " ")
            label, numbers = fitted(Content.assemble(plain(name), "  ", (until, one.style)), width - 10), ""
        shown.append(Content.assemble((f"{one.word:<9} ", one.style), label, numbers))
    return lines(shown)
