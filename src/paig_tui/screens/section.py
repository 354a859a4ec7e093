"""What the sections share: the lines at top and bottom, the filter, drawing only what changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from paig_client.api.vocabulary import Permission
from paig_tui.data.state import AppState
from paig_tui.text import ACCENT, safe
from paig_tui.widgets.chrome import Footer, Header, hints

if TYPE_CHECKING:
    from paig_tui.app import PaigApp
    from paig_tui.screens.forms import Question

SMALLEST = (80, 24)


class Section(Screen[None]):
    """One of them. A subclass composes its `body` and fills it in `show`."""

    NAME: ClassVar[str]
    TITLE_SHOWN: ClassVar[str]
    CHANGING: ClassVar[Mapping[str, Permission]] = {}
    """Its actions that change something, and what they need: there are none of them in read-only mode."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter what is shown"),
        Binding("escape", "clear_filter", "Clear the filter"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.filter_text = ""
        self._drawn: object = None

    @property
    def paig(self) -> PaigApp:
        """The app."""
        return cast("PaigApp", self.app)

    @property
    def state(self) -> AppState:
        """What was fetched."""
        return self.paig.state

    def body(self) -> Iterable[Widget]:
        """What stands between the lines at top and bottom."""
        return ()

    def show(self) -> None:
        """Fill the body."""

    def stamp(self) -> object:
        """What the body depends on, beside filter, size and connection: it is drawn again when this changes."""
        return self.state.version

    def compose(self) -> ComposeResult:
        """Header, body, filter, footer."""
        yield Header(markup=False, id="header")
        yield from self.body()
        yield Input(placeholder="filter, Enter keeps it, Esc clears it", id="filter", compact=True)
        yield Footer(id="footer")
        yield Static("", id="small", markup=False)

    def on_mount(self) -> None:
        """Begin."""
        self.call_after_refresh(self.redraw, force=True)

    def on_screen_resume(self) -> None:
        """Shown again."""
        self.call_after_refresh(self.redraw, force=True)

    def on_resize(self) -> None:
        """Below the smallest size say so, instead of showing half of it."""
        width, height = self.size
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-small")
        self.query_one("#small", Static).update(
            Content(
                f"This terminal is {width}×{height}.\npaig needs {SMALLEST[0]}×{SMALLEST[1]}: make it larger, or the"
                " font smaller.\n\nq quits."
            )
        )
        self.call_after_refresh(self.redraw, force=True)

    def redraw(self, *, force: bool = False) -> None:
        """Draw what changed."""
        if not self.is_mounted or (not self.is_current and not force):
            return
        self.query_one(Header).show(self.state, profile=self.paig.profile, host=self.paig.host, role=self.paig.role)
        self.query_one(Footer).show(self.NAME, self.paig.undo_label)
        self.set_class(self.state.stale, "-stale")
        stamp = (self.stamp(), self.filter_text, self.state.stale, self.size)
        if force or stamp != self._drawn:
            self._drawn = stamp
            self.show()

    def matches(self, *texts: object) -> bool:
        """Whether the filter lets this through: every word of it is somewhere in the texts."""
        if not self.filter_text:
            return True
        whole = " ".join(str(text) for text in texts if text is not None).casefold()
        return all(word in whole for word in self.filter_text.casefold().split())

    @property
    def filter_note(self) -> Content:
        """The filter, for a panel's title: always shown while it is on."""
        if not self.filter_text:
            return Content("")
        return Content.assemble(" · ", ("filter: ", ACCENT), (safe(self.filter_text), f"bold {ACCENT}"))

    def nothing(self, part: str, empty: str) -> str:
        """What a table without rows says: whether it is empty, not fetched yet, or not to be seen."""
        if part in self.state.denied:
            return f"✕ not allowed: {safe(self.state.denied[part])}"
        if getattr(self.state, part, None) is None:
            return self.unreachable
        return "Nothing fits the filter." if self.filter_text else empty

    @property
    def unreachable(self) -> str:
        """What stands in place of what was never fetched: why, as far as that is known."""
        link = self.state.link
        if link.state == "refused":
            return "✕ The gateway refuses the token: run `paig login` or set PAIG_ADMIN_TOKEN."
        return f"✕ {safe(link.reason)}" if link.state == "lost" else "Loading …"

    def hints(self, *wanted: str) -> Content:
        """The keys that a frame names below; those that change something only where that is allowed."""
        mine = [b for b in (*self.BINDINGS, *Section.BINDINGS) if isinstance(b, Binding)]
        return hints([b for b in mine if self.refusal(b.action) is None], *wanted)

    def refusal(self, action: str) -> str | None:
        """Why an action is not to be done here, or None."""
        needed = self.CHANGING.get(action.partition("(")[0])
        if needed is None:
            return None
        if self.paig.read_only:
            return "This is read-only: paig was started with --read-only."
        return None if self.state.may(needed) else f"Your token may not do that: it lacks {needed}."

    async def edit(
        self,
        title: str,
        asked: Sequence[Question],
        before: Mapping[str, object],
        update: Callable[[Mapping[str, object], bool], Awaitable[object]],
        what: str,
        **options: Any,
    ) -> None:
        """Ask for changes of something and make them; they can be undone.

        Args:
            title: The form's.
            asked: What may be changed.
            before: Its values as they are.
            update: Makes changes; with True only if it was not changed meanwhile.
            what: What is changed, for people.
            **options: For the form.
        """
        from paig_tui.app import Undo
        from paig_tui.screens.forms import Form, merge_patch, taken_back

        warnings: Sequence[str] = ()

        async def save(_: str, changes: dict[str, object]) -> dict[str, object]:
            nonlocal warnings
            if changes:
                warnings = getattr(await update(merge_patch(asked, before, changes), True), "warnings", ())
            return changes

        form: Form[dict[str, object]] = Form(title, asked, self.state, save, before=before, **options)
        changes = await self.app.push_screen_wait(form)
        if changes:
            back = taken_back(asked, before, changes)
            self.paig.changed(f"{what} changed.", Undo(title, lambda: update(back, False)))
            self.warn(warnings)

    def warn(self, warnings: Iterable[str]) -> None:
        """Show where a cap is smaller than what one usual request holds, in the gateway's words."""
        for warning in warnings:
            self.notify(safe(warning), title="A tight cap", severity="warning", timeout=20)

    def action_filter(self) -> None:
        """Write a filter."""
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    def action_clear_filter(self) -> None:
        """No filter."""
        field = self.query_one("#filter", Input)
        field.value = ""
        self._close_filter()

    def _close_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.remove_class("-open")
        if field.has_focus:
            self.focus_body()

    def focus_body(self) -> None:
        """Put the focus where the keys work."""
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
