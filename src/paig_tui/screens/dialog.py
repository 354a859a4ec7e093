"""Dialogs: a frame with fields and two buttons; without fields, Cancel is the default.

A dialog stays open until its work succeeds: errors are shown at their fields, and the input is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from paig_client.admin import AdminError, Refused
from paig_tui.screens.drawing import draw_later
from paig_tui.text import MUTED, plain, safe

T = TypeVar("T")


class FieldError(ValueError):
    """A field has an invalid value."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Field:
    """One input line.

    Attributes:
        name: Its name for `Dialog.value`.
        label: The text before it.
        value: Its first value.
        hint: The text shown while it is empty.
        note: The text behind it.
        choices: The values to pick from in a list below it.
        many: Whether it takes several of them, separated by commas.
        short: Whether it needs only a few cells.
    """

    name: str
    label: str
    value: str = ""
    hint: str = ""
    note: str = ""
    secret: bool = False
    choices: Sequence[str] = ()
    many: bool = False
    short: bool = False

    @property
    def id(self) -> str:
        """Its name as the id of a widget: a dot is not allowed there."""
        return self.name.replace(".", "-")


class FieldRow(Vertical):
    """A field: label, input and note; below them the choices and the error."""

    # Bound here, not in the dialog: the scrolling container between them would take these keys.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "choose(1)", "Highlight the next choice, or go to the next field"),
        Binding("up", "choose(-1)", "Highlight the choice before, or go to the field before"),
    ]

    def __init__(self, field: Field) -> None:
        super().__init__(classes="field")
        self.field = field
        self._picked_value: str | None = None  # the list stays hidden while the input is what was picked

    def compose(self) -> ComposeResult:
        """The line, the list of choices and the line for an error; the last two are hidden at first."""
        field = self.field
        with Horizontal(classes="row short" if field.short else "row"):
            yield Label(Content(field.label), markup=False)
            yield Input(
                field.value, placeholder=field.hint, password=field.secret, id=f"field-{field.id}", compact=True
            )
            if field.note:
                yield Label(Content(safe(field.note)), markup=False, classes="note")
        if field.choices:
            choices = OptionList(classes="choices", compact=True, markup=False)
            choices.can_focus = False
            choices.display = False
            yield choices
        wrong = Static("", classes="wrong", markup=False)
        wrong.display = False
        yield wrong

    @property
    def input(self) -> Input:
        return self.query_one(Input)

    @property
    def choices(self) -> OptionList | None:
        found = self.query(OptionList)
        return found.first() if found else None

    @property
    def _typed(self) -> str:
        """The text that the choices are compared with: the last name, if there are several."""
        text = self.input.value
        return (text.rpartition(",")[2] if self.field.many else text).strip()

    def offer(self) -> None:
        """Show the choices that match the input: all of them if it is empty or one of them."""
        choices = self.choices
        if choices is None or self.input.value == self._picked_value:
            return
        self._picked_value = None
        typed = self._typed.casefold()
        names = self.field.choices
        fits = (
            names
            if typed in ("", *(name.casefold() for name in names))
            else [n for n in names if typed in n.casefold()]
        )
        choices.set_options([Option(plain(name), id=str(place)) for place, name in enumerate(names) if name in fits])
        choices.highlighted = None
        choices.display = bool(fits)
        if fits:
            self.call_after_refresh(self.scroll_visible, animate=False)

    def close(self) -> None:
        if (choices := self.choices) is not None:
            choices.highlighted = None
            choices.display = False

    def action_choose(self, step: int) -> None:
        """Highlight another choice; if there is none, go to another field."""
        if not self.move(step):
            (self.screen.focus_next if step > 0 else self.screen.focus_previous)()

    def move(self, step: int) -> bool:
        """Highlight the next choice, or the one before; False if none is shown."""
        choices = self.choices
        if choices is None or not choices.display:
            return False
        if choices.highlighted is None:
            choices.highlighted = 0 if step > 0 else choices.option_count - 1
        elif choices.highlighted + step < 0:
            choices.highlighted = None
        else:
            choices.highlighted = min(choices.highlighted + step, choices.option_count - 1)
        return True

    def pick(self, option: Option | None = None) -> bool:
        """Take a choice, the highlighted one if none is given; False if there is none."""
        choices = self.choices
        if option is None and choices is not None and choices.display and choices.highlighted is not None:
            option = choices.get_option_at_index(choices.highlighted)
        if option is None or option.id is None:
            return False
        before = self.input.value.rpartition(",")[0] if self.field.many else ""
        name = self.field.choices[int(option.id)]
        self._picked_value = f"{before}, {name}" if before else name
        self.input.value = self._picked_value
        self.input.cursor_position = len(self.input.value)
        self.close()
        return True

    def wrong(self, message: str) -> None:
        """Show an error; an empty message hides it."""
        shown = self.query_one(".wrong", Static)
        shown.update(Content(safe(f"✕ {message}")) if message else "")
        shown.display = bool(message)
        self.input.set_class(bool(message), "-invalid")

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.pick(event.option)
        self.input.focus()


class Dialog(ModalScreen[T | None], Generic[T]):
    """A frame, a title, fields, buttons. Returns None if it is cancelled."""

    CSS_PATH = Path(__file__).with_name("dialog.tcss")  # forms in other folders inherit it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
    ]
    DO: ClassVar[str] = "Save"
    ASKS: ClassVar[bool] = True
    """Whether what was typed is worth a question before it is thrown away."""
    VARIANT: ClassVar[Literal["primary", "error"]] = "primary"

    def __init__(self, title: str, fields: Sequence[Field] = (), *, intro: Content | str = "", do: str = "") -> None:
        super().__init__()
        self.title_shown = title
        self.fields = fields
        self.intro = intro if isinstance(intro, Content) else Content(intro)
        self.do = do or self.DO
        self._warned: list[str] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as box:
            box.border_title = Content(self.title_shown)
            box.border_subtitle = Content.styled("  ".join(self._keys()), MUTED)
            if self.intro:
                yield Static(self.intro, markup=False, id="intro")
            with VerticalScroll(id="fields", can_focus=False):
                for field in self.fields:
                    yield FieldRow(field)
            yield from self.more()
            yield Static("", id="problem", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(self.do, id="do", variant=self.VARIANT, compact=True)

    def _keys(self) -> Iterable[str]:
        yield "Tab next"
        if any(field.choices for field in self.fields):
            yield "↓ choose"
        if self.fields:
            yield f"Enter {self.do.lower()}"
        yield "Esc cancel"

    def more(self) -> Iterable[Widget]:
        return ()

    def on_mount(self) -> None:
        """Focus the first field, or Cancel if there is none."""
        self.query_one("#problem").display = False
        first = self.query(Input)
        (first.first() if first else self.query_one("#cancel")).focus()

    def on_resize(self) -> None:
        draw_later(self, self._fit)

    def _fit(self) -> None:
        """Give the fields the height that the rest of the dialog leaves; if they need more, they scroll."""
        box, fields = self.query_one("#box"), self.query_one("#fields")
        rest = [child for child in box.children if child is not fields and child.display]
        taken = sum(child.outer_size.height + child.styles.margin.height for child in rest)
        fields.styles.max_height = max(3, self.size.height - box.gutter.height - taken)

    def row(self, name: str) -> FieldRow | None:
        """The row of a field, or of the field that it is a part of: `members` for `members.0.provider`."""
        rows = {row.field.name: row for row in self.query(FieldRow)}
        while name and name not in rows:
            name = name.rpartition(".")[0]
        return rows.get(name)

    def value(self, name: str) -> str:
        row = self.row(name)
        assert row is not None, name
        return row.input.value.strip()

    async def answer(self) -> T:
        """Do the dialog's work and return its result. An error is shown, and the dialog stays open.

        Raises:
            FieldError: A field has an invalid value; the error is shown at the field.
            ValueError: The input is invalid.
            AdminError: The gateway refused.
        """
        raise NotImplementedError

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        """Close the list of choices; else close the dialog, after a warning if something was typed."""
        row = self._focused
        if row is not None and row.choices is not None and row.choices.highlighted is not None:
            row.close()
            return
        typed = [row.input.value for row in self.query(FieldRow)]
        changed = typed != [row.field.value for row in self.query(FieldRow)]
        if self.ASKS and changed and typed != self._warned:
            self._warned = typed
            self._problem(f"Not saved yet: Esc again throws away what you typed, Enter is {self.do.lower()}.")
            return
        self.dismiss(None)

    @property
    def _focused(self) -> FieldRow | None:
        return next((row for row in self.query(FieldRow) if row.input.has_focus), None)

    @on(events.DescendantFocus)
    def _offer(self) -> None:
        for row in self.query(FieldRow):
            if row.input.has_focus:
                row.offer()
            else:
                row.close()

    @on(Input.Changed)
    def _typed(self) -> None:
        if (row := self._focused) is not None:
            row.wrong("")
            row.offer()

    @on(Input.Submitted)
    def _entered(self) -> None:
        row = self._focused
        if row is None or not row.pick():
            self._do()

    @on(Button.Pressed, "#do")
    def _pressed(self) -> None:
        self._do()

    @work(group="dialog-answer", exit_on_error=False)
    async def _do(self) -> None:
        button = self.query_one("#do", Button)
        if button.disabled:
            return  # the work is running
        for row in self.query(FieldRow):
            row.wrong("")
            row.close()
        self._problem("")
        button.disabled = True
        button.label = f"{self.do} …"
        try:
            answer = await self.answer()
        except FieldError as error:
            self._refused([(error.name, str(error))], "")
        except Refused as error:
            self._refused(error.fields, str(error))
        except (ValueError, AdminError) as error:
            self._problem(str(error))
        else:
            self.dismiss(answer)
        finally:
            button.disabled = False
            button.label = self.do

    def _refused(self, fields: Iterable[tuple[str, str]], whole: str) -> None:
        """Show each error at its field; errors without a field here are shown below all fields."""
        elsewhere = []
        first: FieldRow | None = None
        for name, message in fields:
            row = self.row(name)
            if row is None:
                elsewhere.append(f"{name}: {message}")
            else:
                row.wrong(message)
                first = first or row
        if first is not None:
            first.input.focus()
            first.scroll_visible(animate=False)
        self._problem("; ".join(elsewhere) or ("" if first is not None else whole))

    def _problem(self, message: str) -> None:
        problem = self.query_one("#problem", Static)
        problem.update(Content(safe(f"✕ {message}")) if message else "")
        problem.display = bool(message)
        draw_later(self, self._fit)


class Confirm(Dialog[bool]):
    """Asks for confirmation of a dangerous action; Cancel is the default.

    Args:
        title: The action.
        says: Its consequence.
        do: The label of the button that does it.
        type_name: A name that has to be typed, or None.
    """

    VARIANT = "error"
    ASKS = False

    def __init__(self, title: str, says: str, *, do: str, type_name: str | None = None) -> None:
        fields = [Field("name", "Type its name", hint=type_name)] if type_name else []
        super().__init__(title, fields, intro=says, do=do)
        self.type_name = type_name
        self.add_class("-danger")

    async def answer(self) -> bool:
        if self.type_name is not None and self.value("name") != self.type_name.strip():
            raise FieldError("name", f"type {self.type_name!r} to confirm, or press Esc")
        return True
