"""One request in full: attempts, usage, how its cost is known, where its trace is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from paig_client.schema import Request
from paig_tui.text import CERTAINTY, MUTED, NOT_YET, WARN, lines, outcome, plain, took

LABEL = 14


def described(row: Request) -> Content:
    """The request, line by line."""
    return lines([*_head(row), Content(""), *_attempts(row), Content(""), *_usage(row), Content(""), *_where(row)])


def _line(label: str, value: Content | str | None) -> Content:
    shown = value if isinstance(value, Content) else plain(value if value not in (None, "") else NOT_YET)
    return Content.assemble((f"{label:<{LABEL}}", MUTED), shown)


def _head(row: Request) -> Iterable[Content]:
    yield _line("status", outcome(row))
    if row.error:
        yield _line("error", Content.styled(plain(row.error).plain, "$error"))
    yield _line("time", f"{row.time:%Y-%m-%d %H:%M:%S} UTC")
    yield _line("model", f"{row.model} · {row.format}{' · streamed' if row.stream else ''}")
    yield _line("took", f"{took(row.ms_total)} · first byte {took(row.ms_first_byte)} · gateway {took(row.ms_gateway)}")
    yield _line("cost", f"${row.cost} · reserved ${row.reserved}")
    known = CERTAINTY.get(row.certainty or "", "not settled yet" if row.state == "open" else "never sent to a provider")
    yield _line("known how", Content.styled(known, "" if row.certainty == "exact" else WARN))
    yield _line("price", row.price)


def _attempts(row: Request) -> Iterable[Content]:
    yield Content.styled(f"attempts ({len(row.attempts)})", "bold")
    for number, attempt in enumerate(row.attempts, 1):
        result = str(attempt.status or "✕") + (f" {attempt.error}" if attempt.error else "")
        yield _line(
            f"  {number}. {took(attempt.ms)}",
            " · ".join(filter(None, [attempt.provider, attempt.credential, attempt.model, result, f"${attempt.cost}"])),
        )
    if not row.attempts:
        yield _line("  none", "refused before anything was sent")


def _usage(row: Request) -> Iterable[Content]:
    yield Content.styled("usage", "bold")
    for name, value in (row.usage or {}).items():
        if value:
            yield _line(
                f"  {name.removesuffix('_tokens')[: LABEL - 3]}", f"{value:,} {'tokens' if 'tokens' in name else ''}"
            )
    if not row.usage:
        yield _line("  none", "the provider reported none")
    for name, found in (row.raw_usage or {}).items():
        yield _line("  raw", f"{name}: {found}")


def _where(row: Request) -> Iterable[Content]:
    yield Content.styled("where", "bold")
    yield _line("  key", row.key)
    yield _line("  project", row.project)
    yield _line("  user", row.user)
    yield _line("  route", f"{row.route} → {row.provider or NOT_YET}")
    yield _line("  run", row.run)
    for name, value in row.tags.items():
        yield _line("  tag", f"{name} = {value}")
    yield _line("  id", f"{row.id}  (y copies it; the trace's attribute paig.request.id has it)")


class RequestDetail(ModalScreen[None]):
    """The dialog."""

    CSS_PATH = "request.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close"),
        Binding("y", "copy", "Copy the request's id"),
    ]

    def __init__(self, row: Request) -> None:
        super().__init__()
        self.row = row

    def compose(self) -> ComposeResult:
        """A scrolling box."""
        with VerticalScroll(id="box") as box:
            box.border_title = Content(f"request {self.row.id}")
            box.border_subtitle = Content("y copy id · Esc close")
            yield Static(described(self.row), markup=False, id="text")

    def action_copy(self) -> None:
        """The id into the clipboard."""
        from paig_tui.clipboard import copy

        self.app.notify(copy(self.app, self.row.id), markup=False)
