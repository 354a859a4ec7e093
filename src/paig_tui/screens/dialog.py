"""Dialogs: a frame with fields and two buttons; where there is nothing to fill in, Cancel is the default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Static

from paig_tui.text import MUTED, safe

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One line to fill in.

    Attributes:
        name: What `values` calls it.
        label: Before it.
        value: What stands there at first.
        hint: What stands there while it is empty.
        note: Behind it.
        secret: Whether it is masked.
    """

    name: str
    label: str
    value: str = ""
    hint: str = ""
    note: str = ""
    secret: bool = False


class Dialog(ModalScreen[T | None]):
    """A frame, a title, fields, buttons. Answers None when it is cancelled."""

    CSS_PATH = Path(__file__).with_name("dialog.tcss")  # forms in other folders inherit it
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]
    TITLE_SHOWN: ClassVar[str] = ""
    DO: ClassVar[str] = "Save"
    VARIANT: ClassVar[Literal["primary", "error"]] = "primary"

    def __init__(self, title: str, fields: Sequence[Field] = (), *, intro: Content | str = "", do: str = "") -> None:
        super().__init__()
        self.title_shown = title
        self.fields = fields
        self.intro = intro if isinstance(intro, Content) else Content(intro)
        self.do = do or self.DO

    def compose(self) -> ComposeResult:
        """The frame."""
        with Vertical(id="box") as box:
            box.border_title = Content(self.title_shown)
            enter = f"Enter {self.do.lower()}  " if self.fields else ""
            box.border_subtitle = Content.styled(f"Tab next  {enter}Esc cancel", MUTED)
            if self.intro:
                yield Static(self.intro, markup=False, id="intro")
            with VerticalScroll(id="fields", can_focus=False):
                for field in self.fields:
                    with Horizontal(classes="row short" if field.note else "row"):
                        yield Label(Content(field.label), markup=False)
                        yield Input(
                            field.value,
                            placeholder=field.hint,
                            password=field.secret,
                            id=f"field-{field.name}",
                            compact=True,
                        )
                        if field.note:
                            yield Label(Content(field.note), markup=False, classes="note")
            yield from self.more()
            yield Static("", id="problem", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(self.do, id="do", variant=self.VARIANT, compact=True)

    def more(self) -> Iterable[Widget]:
        """What stands below the fields."""
        return ()

    def on_mount(self) -> None:
        """The first field has the focus, or else Cancel."""
        self.query_one("#problem").display = False
        first = self.query(Input)
        (first.first() if first else self.query_one("#cancel")).focus()

    def value(self, name: str) -> str:
        """What a field says."""
        return self.query_one(f"#field-{name}", Input).value.strip()

    def answer(self) -> T:
        """What the dialog answers.

        Raises:
            ValueError: A field is wrong; the message is shown, and the dialog stays.
        """
        raise NotImplementedError

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        """Nothing was wanted."""
        self.dismiss(None)

    @on(Button.Pressed, "#do")
    @on(Input.Submitted)
    def _done(self) -> None:
        try:
            answer = self.answer()
        except ValueError as error:
            problem = self.query_one("#problem", Static)
            problem.update(Content(safe(f"✕ {error}")))
            problem.display = True
            return
        self.dismiss(answer)


class Confirm(Dialog[bool]):
    """Asks before something dangerous; with `type_name`, that name has to be typed. Cancel is the default.

    Args:
        title: What would be done.
        says: What that means.
        do: The button that does it.
        type_name: What has to be typed.
    """

    VARIANT = "error"

    def __init__(self, title: str, says: str, *, do: str, type_name: str | None = None) -> None:
        fields = [Field("name", "Type its name", hint=type_name)] if type_name else []
        super().__init__(title, fields, intro=says, do=do)
        self.type_name = type_name
        self.add_class("-danger")

    def answer(self) -> bool:
        """Yes, if the name was typed."""
        if self.type_name is not None and self.value("name") != self.type_name.strip():
            raise ValueError(f"Type {self.type_name!r} to go on, or press Esc.")
        return True
