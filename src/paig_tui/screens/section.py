"""The base of all sections: header, footer, filter, and drawing only after changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from paig_client.api.vocabulary import Permission
from paig_tui.screens.page import Framed
from paig_tui.text import ACCENT, safe
from paig_tui.widgets.chrome import Footer, hints

if TYPE_CHECKING:
    from paig_tui.screens.forms import Question


class Section(Framed):
    """A section. A subclass composes its `body` and fills it in `show`."""

    NAME: ClassVar[str]
    TITLE_SHOWN: ClassVar[str]
    CHANGING: ClassVar[Mapping[str, Permission]] = {}
    """The actions that change something, with their permissions; read-only mode refuses them."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter what is shown"),
        Binding("escape", "clear_filter", "Clear the filter"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.filter_text = ""
        self._drawn: object = None

    def show(self) -> None:
        """Fill the body."""

    def stamp(self) -> object:
        """A value whose change makes the body be drawn again, besides filter, size and connection."""
        return self.state.version

    def compose(self) -> ComposeResult:
        """As on every screen, and a filter above the last line."""
        for widget in super().compose():
            if isinstance(widget, Footer):
                yield Input(placeholder="filter, Enter keeps it, Esc clears it", id="filter", compact=True)
            yield widget

    def redraw(self, *, force: bool = False) -> None:
        if not self.is_mounted or (not self.is_current and not force):
            return
        super().redraw(force=force)
        stamp = (self.stamp(), self.filter_text, self.state.stale, self.size)
        if force or stamp != self._drawn:
            self._drawn = stamp
            self.show()

    def matches(self, *texts: object) -> bool:
        """Whether the texts match the filter: they contain each of its words."""
        if not self.filter_text:
            return True
        whole = " ".join(str(text) for text in texts if text is not None).casefold()
        return all(word in whole for word in self.filter_text.casefold().split())

    @property
    def filter_note(self) -> Content:
        """The filter as a part of a frame's title; empty without one."""
        if not self.filter_text:
            return Content("")
        return Content.assemble(" · ", ("filter: ", ACCENT), (safe(self.filter_text), f"bold {ACCENT}"))

    def nothing(self, part: str, empty: str) -> str:
        """The text of a table without rows: it is empty, not fetched yet, or not allowed."""
        if part in self.state.denied:
            return f"✕ not allowed: {safe(self.state.denied[part])}"
        if getattr(self.state, part, None) is None:
            return self.unreachable
        return "Nothing fits the filter." if self.filter_text else empty

    @property
    def unreachable(self) -> str:
        """The text of a table that was never fetched: the reason, if it is known."""
        link = self.state.link
        if link.state == "refused":
            login = f"paig login {self.paig.root} --admin"
            return f"✕ The gateway refuses the token: run `{login}`, or set PAIG_ADMIN_TOKEN."
        return f"✕ {safe(link.reason)}" if link.state == "lost" else "Loading …"

    def hints(self, *wanted: str) -> list[Content]:
        """The keys shown below a frame, without those that are not allowed."""
        mine = [b for b in (*self.BINDINGS, *Section.BINDINGS) if isinstance(b, Binding)]
        return hints([b for b in mine if self.refusal(b.action) is None], *wanted)

    def refusal(self, action: str) -> str | None:
        """Why an action is not allowed, or None."""
        needed = self.CHANGING.get(action.partition("(")[0])
        return None if needed is None else self.lacking(needed)

    async def edit(
        self,
        title: str,
        asked: Sequence[Question],
        before: Mapping[str, object],
        update: Callable[[Mapping[str, object], bool], Awaitable[object]],
        what: str,
        **options: Any,
    ) -> None:
        """Ask for changes of an object and make them; they can be undone.

        Args:
            title: The form's title.
            before: The object's present values.
            update: Sends changes; its second argument makes it fail if the object changed meanwhile.
            what: The object, for people.
            **options: Further arguments of the form.
        """
        from paig_tui.app import Undo
        from paig_tui.screens.forms import Form, merge_patch, undo_patch

        warnings: Sequence[str] = ()

        async def save(_: str, changes: dict[str, object]) -> dict[str, object]:
            nonlocal warnings
            if changes:
                warnings = getattr(await update(merge_patch(asked, before, changes), True), "warnings", ())
            return changes

        form: Form[dict[str, object]] = Form(title, asked, self.state, save, before=before, **options)
        changes = await self.app.push_screen_wait(form)
        if changes:
            back = undo_patch(asked, before, changes)
            self.paig.changed(f"{what} changed.", Undo(title, lambda: update(back, False)))
            self.warn(warnings)

    def warn(self, warnings: Iterable[str]) -> None:
        """Show the gateway's warnings about caps that are smaller than the hold of one usual request."""
        for warning in warnings:
            self.notify(safe(warning), title="A tight cap", severity="warning", timeout=20)

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    def action_clear_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = ""
        self._close_filter()

    def _close_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.remove_class("-open")
        if field.has_focus:
            self.focus_body()

    def focus_body(self) -> None:
        """Focus the first table, where the section's keys work."""
        from paig_tui.widgets.table import Table

        for table in self.query(Table).results():
            if table.display:
                table.focus()
                return

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.filter_text = event.value.strip()
        self.redraw()

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        self._close_filter()
