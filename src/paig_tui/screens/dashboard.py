"""Who is burning money right now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget

from paig_client.schema import Request
from paig_tui.screens.guide import guide
from paig_tui.screens.section import Section
from paig_tui.state import ProviderFigures, used
from paig_tui.text import (
    BAD,
    GOOD,
    MUTED,
    NOT_YET,
    WARN,
    bar,
    columns,
    dollars,
    level,
    lines,
    outcome,
    percent,
    plain,
    took,
)  # fmt: skip
from paig_tui.widgets.chrome import Panel
from paig_tui.widgets.table import Column, Table

TAIL: Sequence[Column[Request]] = (
    Column("time", 8, lambda row: Content(f"{row.time:%H:%M:%S}")),
    Column("status", 9, outcome),
    Column("key", 0, lambda row: plain(row.key)),
    Column("model", 0, lambda row: plain(row.model)),
    Column("provider", 14, lambda row: plain(row.provider or NOT_YET), least=108),
    Column("tokens", 13, lambda row: tokens(row), right=True, least=108),
    Column("took", 7, lambda row: Content(took(row.ms_total)), right=True),
    Column("cost", 10, lambda row: cost(row), right=True),
)


def cost(row: Request) -> Content:
    """What a request cost; one that cost nothing shows nothing."""
    if Decimal(row.cost) == 0:
        return Content.styled("—", MUTED)
    mark = {"estimated": "~", "ceiling": "≤"}.get(row.certainty or "", "")
    return Content(mark + dollars(row.cost))


def tokens(row: Request) -> Content:
    """Tokens in and out."""
    if not row.usage:
        return Content.styled(NOT_YET, MUTED)
    return Content(f"{row.usage.get('input_tokens', 0):,.0f}→{row.usage.get('output_tokens', 0):,.0f}")


class Dashboard(Section):
    """Spend, rate, latency, errors; the fullest caps; providers; requests as they finish."""

    NAME = "dashboard"
    TITLE_SHOWN = "Dashboard"
    CSS_PATH = "dashboard.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause the live requests, or follow again"),
        Binding("x", "errors", "Show errors only, or all"),
        Binding("n", "guide_next", "First run: do the next step"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.errors_only = False
        self._kept: tuple[Request, ...] = ()

    def body(self) -> Iterable[Widget]:
        """Tiles, plots, tail."""
        with Horizontal(id="tiles", classes="data"):
            yield Panel("spend today", id="today")
            yield Panel("requests/min", id="rate")
            yield Panel("p50 / p95 · 5m", id="latency")
            yield Panel("errors · 5m", id="errors")
        yield Panel("first run", id="guide")
        with Horizontal(id="middle", classes="data"):
            yield Panel("spend $/min · 60m", id="spend")
            yield Panel("closest to cap", id="caps")
            yield Panel("providers · 5m", id="providers")
        with Vertical(classes="frame", id="live"):
            yield Table(TAIL, lambda row: row.id, empty="No request yet. They appear here as they finish.", id="tail")

    def stamp(self) -> object:
        """Ages change with the seconds."""
        return self.state.version, self.paused, self.errors_only, int(self.state.clock().timestamp()) // 5

    def show(self) -> None:
        """Fill everything."""
        self._tiles()
        self.set_class(bool(steps := guide(self.state)), "-first")
        if steps:
            self.query_one("#guide", Panel).update(steps)
        else:
            self._spend()
            self._fullest()
            self._providers()
        self._tail()

    def _tiles(self) -> None:
        figures, today = self.state.figures(), self.state.today
        known = self.state.recent.since is not None
        self.query_one("#today", Panel).update(
            Content.assemble((dollars(today.total.cost), "bold"), "  ", self._trend()) if today else NOT_YET
        )
        self.query_one("#rate", Panel).update(Content.styled(str(figures.per_minute) if known else NOT_YET, "bold"))
        self.query_one("#latency", Panel).update(
            Content.styled(f"{took(figures.p50)} / {took(figures.p95)}", "bold") if figures.p50 is not None else NOT_YET
        )
        share = figures.errors
        if share is None:
            shown = Content(NOT_YET)
        else:
            style, word = (BAD, "✕ high") if share > 0.05 else (WARN, "▲ some") if share else (GOOD, "● none")
            shown = Content.assemble((f"{share:.1%}", "bold"), " ", (word, style))
        self.query_one("#errors", Panel).update(shown)

    def _trend(self) -> Content:
        """Today against yesterday at this time."""
        today, before = self.state.today, self.state.yesterday
        if today is None or before is None or Decimal(before.total.cost) == 0:
            return Content("")
        change = float(Decimal(today.total.cost) / Decimal(before.total.cost)) - 1
        return Content.styled(f"{'▲' if change >= 0 else '▼'} {min(abs(change), 9.99):.0%}", MUTED)

    def _spend(self) -> None:
        panel = self.query_one("#spend", Panel)
        values: list[float] = self.state.recent.per_minute(self.state.clock()) if self.state.recent.since else []
        width, height = panel.content_size
        peak = max(values, default=0.0)
        top = f" · peak {dollars(peak)}" if peak else ""
        panel.title(f"spend $/min · {len(values) or 60}m{top}")
        panel.update(lines(columns(values, width, height)) if values else NOT_YET)

    def _fullest(self) -> None:
        panel = self.query_one("#caps", Panel)
        width, height = panel.content_size
        size = 8 if width > 32 else 4
        if self.state.limits is None:
            panel.update(NOT_YET)
            return
        shown = []
        for limit in self.state.closest(height):
            share = used(limit)
            name = safe_name(limit.owner_kind, limit.owner)
            room = max(6, width - 14 - size)
            label = plain(name).truncate(room, ellipsis=True)
            label = label.pad_right(room - label.cell_length)
            word = {"daily": "day", "weekly": "week", "monthly": "mon", "total": "all"}.get(limit.window, limit.window)
            shown.append(
                Content.assemble(
                    label, " ", bar(share, size), " ", (percent(share), level(share)), " ", (word[:5], MUTED)
                )
            )
        panel.update(lines(shown) if shown else Content.styled("No cap has been used yet.", MUTED))

    def _providers(self) -> None:
        panel = self.query_one("#providers", Panel)
        if not panel.display:
            return
        if self.state.providers is None:
            panel.update(NOT_YET)
            return
        width, height = panel.content_size
        figures = self.state.provider_figures()
        shown = []
        busy = sorted(self.state.providers, key=lambda provider: (provider.name not in figures, provider.name))
        for provider in busy[:height]:
            found = figures.get(provider.name)
            room = max(6, width - 22)
            label = plain(provider.name).truncate(room, ellipsis=True)
            label = label.pad_right(room - label.cell_length)
            if found is None or found.good is None:
                shown.append(Content.assemble(("◌ idle  ", MUTED), label))
                continue
            style, word = doing(found)
            shown.append(
                Content.assemble((f"{word:<7}", style), " ", label, f" {found.good:>4.0%}", f" {took(found.p95):>7}")
            )
        panel.update(lines(shown))

    def _tail(self) -> None:
        if not self.paused:
            self._kept = tuple(self.state.recent.tail)
        rows = [
            row
            for row in self._kept
            if (not self.errors_only or row.error is not None or (row.status or 0) >= 400)
            and self.matches(row.key, row.model, row.status, row.provider, row.route, row.project, row.user, row.id)
        ]
        table = self.query_one("#tail", Table)
        table.show(rows, follow=not self.paused and table.cursor == 0)
        frame = self.query_one("#live", Vertical)
        missed = sum(1 for row in self.state.recent.tail if not self._kept or row.time > self._kept[0].time)
        following = f"■ paused, {missed} new" if self.paused else "● following"
        only = " · errors only" if self.errors_only else ""
        frame.border_title = Content(f"live requests · {following}{only}{self.filter_note}")
        frame.border_subtitle = Content("Enter details · p pause · x errors · / filter")

    def action_pause(self) -> None:
        """Stop or go on."""
        self.paused = not self.paused
        self.draw(force=True)

    def action_errors(self) -> None:
        """Errors or all."""
        self.errors_only = not self.errors_only
        self.draw(force=True)

    def action_guide_next(self) -> None:
        """Go where the first run's next step is done."""
        from paig_tui.screens.guide import next_section

        if (section := next_section(self.state)) is not None:
            self.paig.action_section(section)

    @on(Table.Chosen, "#tail")
    def _open(self, event: Table.Chosen) -> None:
        from paig_tui.screens.request import RequestDetail

        self.app.push_screen(RequestDetail(event.row))


def doing(figures: ProviderFigures) -> tuple[str, str]:
    """How a provider does, as colour and words."""
    good = figures.good or 0.0
    return (GOOD, "● up") if good >= 0.95 else (WARN, "▲ some") if good > 0 else (BAD, "✕ fails")


def safe_name(kind: str, name: str) -> str:
    """A limit's owner; a key by its name alone."""
    return name if kind == "key" else f"{kind} {name}".strip()


SCREEN = Dashboard
