"""Providers: their health and settings, and a test of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on, work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from paig_client.admin import NotFound
from paig_client.api.resources import Provider
from paig_client.api.specs import ProviderSpec
from paig_client.api.vocabulary import Permission
from paig_tui.screens.dialog import FieldError
from paig_tui.screens.forms import Question, Words
from paig_tui.screens.providers.health import ProviderStatus, credentials, has_countdown, provider_statuses
from paig_tui.screens.section import Section
from paig_tui.text import BAD, GOOD, MUTED, NOT_YET, WARN, hanging, lines, plain, safe, took
from paig_tui.widgets.chrome import Frame, Panel
from paig_tui.widgets.table import Column, Table


@dataclass(frozen=True)
class ProviderTableRow:
    """A provider and its health."""

    provider: Provider
    status: ProviderStatus


IDLE = ProviderStatus("◌ idle", MUTED, None, None, 0, 0)


def _figure(text: str | None) -> Content:
    return Content.styled("—", MUTED) if text is None else Content(text)


def _good(row: ProviderTableRow) -> Content:
    return _figure(None if row.status.good is None else f"{row.status.good:.1%}")


def _p95(row: ProviderTableRow) -> Content:
    return _figure(None if row.status.p95 is None else took(row.status.p95))


def _throttled(row: ProviderTableRow) -> Content:
    return Content.styled(f"{row.status.throttled:,}", WARN if row.status.throttled else MUTED)


def _keys(row: ProviderTableRow) -> Content:
    """The number of credentials, and how many are in use."""
    count, ready = len(row.provider.credentials), row.status.ready
    if ready is None or ready >= count:
        return Content(str(count))
    return Content.styled(f"{ready}/{count}", BAD if not ready else WARN)


COLUMNS: tuple[Column[ProviderTableRow], ...] = (
    Column("state", 9, lambda row: Content.styled(row.status.word, row.status.style), sort=lambda row: row.status.word),
    Column("provider", 0, lambda row: plain(row.provider.name), most=50, sort=lambda row: row.provider.name.casefold()),
    Column("5m ok", 6, _good, right=True, sort=lambda row: row.status.good),
    Column("p95", 6, _p95, right=True, sort=lambda row: row.status.p95),
    Column("429s", 5, _throttled, right=True, sort=lambda row: row.status.throttled),
    Column(
        "tries",
        6,
        lambda row: Content(f"{row.status.tries:,}"),
        right=True,
        least=100,
        sort=lambda row: row.status.tries,
    ),
    Column("keys", 4, _keys, right=True, sort=lambda row: len(row.provider.credentials)),
    Column("note", 0, lambda row: plain(row.status.note, MUTED if row.status.style == GOOD else row.status.style)),
    Column(
        "kind", 0, lambda row: plain(row.provider.kind, MUTED), least=116, most=24, sort=lambda row: row.provider.kind
    ),
    Column("address", 0, lambda row: plain(row.provider.base_url or NOT_YET, MUTED), least=150),
)


FIRST = ("kind", "base_url", "credential")
"""The first questions of the form for a new provider."""
KEY = Question("key", "secret", (), Words("… or its key", "paste it; kept encrypted"))


def _with_key(values: Mapping[str, object]) -> dict[str, object]:
    """The values with a pasted key as the credential."""
    given = dict(values)
    if (key := given.pop("key", None)) is not None:
        if given.get("credential") is not None:
            raise FieldError("key", "give a reference or the key itself, not both")
        given["credential"] = f"value:{key}"
    return given


class ProvidersSection(Section):
    """The section Providers."""

    NAME = "providers"
    TITLE_SHOWN = "Providers"
    CSS_PATH = "screen.tcss"
    CHANGING: ClassVar[Mapping[str, Permission]] = dict.fromkeys(
        ("new", "edit", "credential", "delete", "test"), "routing:write"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New provider"),
        Binding("e", "edit", "Edit it: address, prices, timeouts, …"),
        Binding("c", "credential", "Replace its credentials"),
        Binding("t", "test", "Test whether it answers"),
        Binding("D,delete", "delete", "Delete it"),
        Binding("l", "requests", "Its requests"),
    ]

    def body(self) -> Iterable[Widget]:
        with Frame(id="frame"):
            yield Table(COLUMNS, lambda row: row.provider.name, id="rows")
        yield Panel("about", id="about", classes="data")

    @property
    def table(self) -> Table[ProviderTableRow]:
        return self.query_one("#rows", Table)

    def stamp(self) -> object:
        """Draw again after a poll, and each second while a countdown is shown."""
        return self.state.fetches, int(self.state.as_of.timestamp()) if has_countdown(self.state) else 0

    def _wanted(self, provider: Provider, found: Mapping[str, ProviderStatus]) -> bool:
        one = found.get(provider.name, IDLE)
        return self.matches(provider.name, provider.kind, one.word, one.note)

    def show(self) -> None:
        providers = self.state.providers
        found = provider_statuses(self.state)
        table = self.table
        table.empty = self.nothing("providers", "No provider here. n adds one.")
        table.show(
            [ProviderTableRow(one, found.get(one.name, IDLE)) for one in providers or () if self._wanted(one, found)]
        )
        frame = self.query_one("#frame", Frame)
        count = len(providers) if providers is not None else NOT_YET
        frame.border_title = Content.assemble(f"providers {count}", self.filter_note)
        frame.show_keys(self.hints(
            "n new", "e edit", "c credential", "t test", "D delete", "l requests", "/ filter"
        ))  # fmt: skip
        self._about()

    @on(Table.Moved, "#rows")
    def _about(self) -> None:
        panel = self.query_one("#about", Panel)
        row = self.table.current
        if row is None:
            panel.title("about")
            panel.paint(lambda *_: Content(""))
            return
        provider = row.provider
        panel.title(f"about {safe(provider.name)}")
        options = ", ".join(
            f"{name.replace('_', ' ')} {'yes' if value is True else 'no' if value is False else value}"
            for name, value in provider.options.items()
            if value is not None
        )
        routes = [
            route.name
            for route in self.state.routes or ()
            if any(member.provider == provider.name for member in route.members)
        ]
        facts = {
            "address": provider.base_url,
            "kind": provider.kind,
            "options": options or "the kind's own",
            "in routes": ", ".join(routes) or "its own only",
            "changed": f"{provider.updated_at:%Y-%m-%d %H:%M} UTC",
        }
        health = next((one for one in self.state.health_of or () if one.provider == provider.name), None)

        def drawn(width: int, _: int) -> Content:
            shown = [hanging(name, plain(value or NOT_YET), width, 11) for name, value in facts.items()]
            return lines([*credentials(provider, health, self.state.as_of, width), Content(""), *shown])

        panel.paint(drawn)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_new(self) -> None:
        from paig_tui.screens.forms import Form, checked, questions

        admin = self.paig.admin

        async def create(name: str, values: dict[str, object]) -> Provider:
            return await admin.providers.create(name, checked(ProviderSpec, _with_key(values)))

        asked = [*questions(ProviderSpec, only=FIRST, of="provider"), KEY]
        asked += questions(ProviderSpec, without=FIRST, of="provider")
        form = Form("new provider", asked, self.state, create, name="the kind", name_from="kind", do="Add")
        made = await self.app.push_screen_wait(form)
        if made is not None:
            self.paig.changed(f"Added {safe(made.name)}.")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_edit(self) -> None:
        """Edit everything but the credentials; can be undone."""
        from paig_tui.screens.forms import questions

        if (row := self.table.current) is not None:
            provider, name = row.provider, safe(row.provider.name)
            asked = questions(ProviderSpec, without=("kind", "credential", "credentials"), of="provider")
            before = {"base_url": provider.base_url, **provider.options}

            async def update(changes: Mapping[str, object], first: bool) -> object:
                seen = provider if first else None
                return await self.paig.admin.providers.update(provider.id, changes, seen=seen)

            await self.edit(f"edit {name}", asked, before, update, name)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_credential(self) -> None:
        from paig_tui.screens.forms import Form, questions

        row = self.table.current
        if row is None:
            return
        provider = row.provider

        async def replace(_: str, values: dict[str, object]) -> Provider:
            given = _with_key(values)
            if not given:
                raise FieldError("credential", "give a reference, or the key itself")
            change = {"credential": None, "credentials": None, **given}
            return await self.paig.admin.providers.update(provider.id, change, seen=provider)

        asked = [*questions(ProviderSpec, only=("credential",), of="provider"), KEY]
        asked += questions(ProviderSpec, only=("credentials",), of="provider")
        instead = " They are all replaced by what is given here." if len(provider.credentials) > 1 else ""
        intro = f"Now: {safe(provider.references)}.{instead}"
        title = f"credential of {safe(provider.name)}"
        if await self.app.push_screen_wait(Form(title, asked, self.state, replace, intro=intro, do="Save")) is not None:
            self.paig.changed(f"{safe(provider.name)} has another credential.")

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_test(self) -> None:
        row = self.table.current
        if row is None:
            return
        name = row.provider.name
        self.notify(f"Testing {safe(name)} …")
        try:
            check = await self.paig.admin.providers.test(name)
        except NotFound:
            self.notify("This gateway has no test of providers.", severity="warning")
            return
        title = f"{'● answers' if check.ok else '✕ fails'}: {safe(name)}"
        severity: Literal["information", "error"] = "information" if check.ok else "error"
        self.notify(safe(check.message), title=title, severity=severity, timeout=12)

    @work(exclusive=True, group="dialog", exit_on_error=False)
    async def action_delete(self) -> None:
        from paig_tui.screens.dialog import Confirm

        row = self.table.current
        if row is None:
            return
        name = row.provider.name
        ask = Confirm(
            f"delete provider {safe(name)}?", "Its credential is forgotten.", do="Delete", type_name=safe(name)
        )
        if await self.app.push_screen_wait(ask):
            await self.paig.changing(self.paig.admin.providers.delete(row.provider.id), f"{safe(name)} is deleted.")

    @on(Table.Chosen, "#rows")
    def action_requests(self) -> None:
        from paig_tui.screens.requests.list import Requests

        if (row := self.table.current) is not None:
            self.app.push_screen(Requests(f"provider {row.provider.name}", {"provider": row.provider.name}))


SCREEN = ProvidersSection
