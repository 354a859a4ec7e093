"""The audit log and the requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import AdminError
from paig_client.api.resources import AuditEntry, Request
from paig_tui.screens.requests.rows import REQUESTS
from paig_tui.screens.requests.text import described
from paig_tui.screens.section import Section
from paig_tui.text import BAD, GOOD, MUTED, NOT_YET, WARN, lines, plain, safe
from paig_tui.widgets.chrome import Frame, Panel, tabs
from paig_tui.widgets.table import Column, Table

LogKind = Literal["audit", "requests"]
PAGE = 200
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
SMALL = re.compile(r"-?\d(\.\d+)?E-?\d+")
"""An amount in scientific notation."""
AGAIN = timedelta(seconds=5)


def _action(entry: AuditEntry) -> Content:
    glyph, style = {"create": ("+", GOOD), "delete": ("✕", BAD)}.get(entry.action, ("~", WARN))
    return Content.styled(f"{glyph} {safe(entry.action)}", style)


def _fields(entry: AuditEntry) -> Content:
    """The changes of all fields, in one line."""
    return Content("  ").join(_changes(entry, 0))


AUDIT: tuple[Column[AuditEntry], ...] = (
    Column("time", 14, lambda entry: Content(f"{entry.time:%m-%d %H:%M:%S}"), sort=lambda entry: entry.time),
    Column("who", 0, lambda entry: plain(entry.actor), most=28, sort=lambda entry: entry.actor),
    Column("did", 0, _action, most=24, sort=lambda entry: entry.action),
    Column("what", 0, lambda entry: plain(entry.kind), most=24, sort=lambda entry: entry.kind),
    Column("name", 0, lambda entry: plain(entry.name), most=44, sort=lambda entry: entry.name.casefold()),
    Column("fields", 0, _fields, least=110),
)


def differences(entry: AuditEntry, width: int = 10_000) -> Content:
    """The changes of all fields, a line for each."""
    shown = list(_changes(entry, min(24, width // 3)))
    return (
        lines(shown)
        if shown
        else Content.styled("It has no fields." if not entry.before else "No field differs.", MUTED)
    )


def _changes(entry: AuditEntry, room: int) -> Iterator[Content]:
    """Each field that differs: its name in a column of that width, its old value, its new value."""
    before, after = dict(_flat(entry.before or {})), dict(_flat(entry.after or {}))
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new or name in ("version", "updated_at", "created_at", "id"):
            continue
        parts = [(f"{safe(name):<{room}} ", MUTED)]
        if old is not None:
            parts += [(f"- {_written(old)}", BAD), ("  ", "")]
        parts.append((f"+ {_written(new)}" if new is not None else "gone", GOOD if new is not None else BAD))
        yield Content.assemble(*parts)


def _flat(fields: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    """Flatten nested fields: `limits.daily`."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield path + name, value


def _written(value: object) -> str:
    """A value as people write it: a time in UTC without its fractions, an amount with its digits, a list of members."""
    if isinstance(value, str):
        if TIME.fullmatch(value):
            return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M UTC}"
        return f"{Decimal(value):f}" if SMALL.fullmatch(value) else safe(value)
    if isinstance(value, list) and all(isinstance(one, dict) and "provider" in one for one in value):
        return ", ".join(safe(one["provider"]) for one in value)
    return safe(json.dumps(value, ensure_ascii=False))


class LogSection(Section):
    """The section Log."""

    NAME = "log"
    TITLE_SHOWN = "Log"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "kind", "Audit log, or requests"),
        Binding("left", "kind", "Requests, or audit log"),
        Binding("m", "more", "Earlier ones"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.kind: LogKind = "audit"
        self.audit: list[AuditEntry] | None = None
        self.requests: list[Request] | None = None
        self.cursor: str | None = None
        self.fetched: datetime | None = None
        self.problem = ""

    def body(self) -> Iterable[Widget]:
        with Frame(id="frame"):
            yield Table(AUDIT, lambda row: row.id, id="rows")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[Any]:
        return self.query_one("#rows", Table)

    def stamp(self) -> object:
        """Draw again when rows were fetched; fetch them if they are old."""
        old = self.fetched is None or self.state.clock() - self.fetched > AGAIN
        if old and self.is_current and self.state.link.state == "live" and self.paig.admin_client is not None:
            self.fetched = self.state.clock()
            self.load()
        return self.kind, id(self.audit), id(self.requests), self.problem

    @work(exclusive=True, group="log", exit_on_error=False)
    async def load(self, more: bool = False) -> None:
        """Fetch the newest rows, or the page after the last one."""
        admin = self.paig.admin
        try:
            if self.kind == "audit":
                last = self.audit[-1].id if more and self.audit else None
                page = await admin.audit(limit=PAGE, cursor=last)
                self.audit = _joined(page, self.audit or [], more)
            else:
                sort = self.table.sort_field
                found = await admin.requests(limit=PAGE, cursor=self.cursor if more else None, sort=sort)
                if more or self.cursor is None or sort is not None:
                    self.cursor = found.next_cursor
                known = self.requests if more or sort is None else None
                self.requests = _joined(found.items, known or [], more)
            self.problem = ""
        except AdminError as error:
            self.problem = str(error)
        self.fetched = self.state.clock()
        self.redraw(force=True)

    def show(self) -> None:
        table = self.table
        found: Sequence[AuditEntry] | Sequence[Request] | None
        if self.kind == "audit":
            table.columns = AUDIT
            found = self.audit
        else:
            table.columns = REQUESTS
            found = self.requests
        names = {f"key:{key.id}": f"key:{key.name}" for key in self.state.keys or ()}
        rows = [_named(row, names) for row in found or () if self._wanted(row)]
        table.empty = safe(self.problem) if self.problem else self.unreachable if found is None else "Nothing here."
        table.show(rows)
        frame = self.query_one("#frame", Frame)
        count = NOT_YET if found is None else f"{len(found)}"
        words = [
            (f"{kind} {count}" if kind == self.kind else kind, kind == self.kind, "screen.kind")
            for kind in ("audit", "requests")
        ]
        frame.border_title = Content.assemble(tabs(words), self.filter_note)
        frame.show_keys(self.hints("→ audit, requests", "m earlier ones", "/ filter"))
        self._about()

    def _wanted(self, row: AuditEntry | Request) -> bool:
        if isinstance(row, AuditEntry):
            return self.matches(row.actor, row.action, row.kind, row.name)
        return self.matches(row.key, row.model, row.status, row.provider, row.id)

    @on(Table.Moved, "#rows")
    def _about(self) -> None:
        panel = self.query_one("#about", Panel)
        row = self.table.current
        panel.title("about")
        if isinstance(row, AuditEntry):
            panel.title(f"{safe(row.action)} {safe(row.kind)} {safe(row.name)}")
            panel.paint(lambda width, _: differences(row, width))
        elif isinstance(row, Request):
            panel.title(f"request {safe(row.id)}")
            panel.paint(lambda width, _: described(row, width))
        else:
            panel.paint(lambda *_: Content(""))

    @on(Table.Chosen, "#rows")
    def _open(self) -> None:
        from paig_tui.screens.requests.detail import RequestDetail

        if isinstance(row := self.table.current, Request):
            self.app.push_screen(RequestDetail(row))

    @on(Table.Sorted, "#rows")
    def _sorted(self) -> None:
        """Fetch the requests that come first in the new order: they need not be the latest."""
        if self.kind == "requests":
            self.requests, self.cursor = None, None
            self.load()

    def action_kind(self) -> None:
        self.kind = "requests" if self.kind == "audit" else "audit"
        self.table.rows = ()
        self.fetched = None
        self.redraw(force=True)

    def action_more(self) -> None:
        self.load(more=True)


def _named(row: Any, names: Mapping[str, str]) -> Any:
    """A row whose actor, if it is a key, has the key's name in place of its id."""
    actor = getattr(row, "actor", "")
    return row.model_copy(update={"actor": names[actor]}) if actor in names else row


def _joined(page: list[Any], known: list[Any], more: bool) -> list[Any]:
    """The known rows with new ones before them, or earlier ones after them, without duplicates."""
    first = known if more else page
    second = page if more else known
    ids = {row.id for row in first}
    return [*first, *(row for row in second if row.id not in ids)]


SCREEN = LogSection
