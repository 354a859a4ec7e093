"""The decisions of session machines: which turn must be held before a message passes, and which turn is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from paig_gateway.formats import ambiguity, reading
from paig_gateway.formats.base import Call, Format

Ending = Literal["ended", "refused", "released"]
"""How a turn ends: the provider ended it; the provider refused it, so it costs nothing; it never began."""


@dataclass(eq=False, slots=True)
class Turn:
    """A turn of a session: what is held, settled and shown as one row.

    Attributes:
        call: Its worst case. It may grow while the turn is open; the hold follows before anything else is relayed.
        frame: The client's message that requested it; empty if the provider began the turn by itself.
        begun: Whether the provider may be at work on it, and bill for it.
        facts: Values for its folded body that its events do not have.
        over: Whether it was reported as over.
    """

    call: Call
    frame: bytes = b""
    begun: bool = False
    facts: dict[str, object] = field(default_factory=dict)
    over: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """The turn must be held, or its hold extended, before any further message of the client passes."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Saw:
    """The message belongs to the turn, and may have its usage."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The turn is over and is to be settled."""

    turn: Turn
    ending: Ending


@dataclass(frozen=True, slots=True)
class Made:
    """The provider keeps an object, which a later session may name."""

    kind: str
    id: str


Effect = Need | Saw | TurnOver | Made


class SocketSession(Protocol):
    """The machine of one session: messages in, decisions out; no I/O."""

    @property
    def fmt(self) -> Format: ...

    @property
    def model(self) -> str:
        """The model of the session; empty until a message names it."""

    @property
    def ready(self) -> bool:
        """Whether the client's messages may be read: false until the provider has said what must be known first."""

    def client(self, message: bytes) -> list[Turn]:
        """Take a message of the client in.

        Returns:
            The turns that must be held before the message goes on.

        Raises:
            MalformedRequest: The message's worst case is not known, so it must not pass.
        """

    def provider(self, message: bytes) -> list[Effect]:
        """Take a message of the provider in; what follows is done in that order."""

    def open(self) -> Iterable[Turn]:
        """The turns that are not over."""

    def has(self, id: str) -> bool:
        """Whether an item of that id was made in this session, so that a message may name it."""


def check_inside(*objects: reading.Raw | None) -> None:
    """Check that settings inside a message state each member that decides money once; top levels are checked before.

    Raises:
        MalformedRequest: A member is there twice, or in two spellings.
    """
    for raw in objects:
        if raw is not None:
            ambiguity.check_json(bytes(raw))


OVERHEAD = 64
"""Tokens that a template may put around a message, beyond the bytes of the event that brings it."""


@dataclass(slots=True)
class Size:
    """How much of a conversation there is, as bounds.

    Attributes:
        text: Tokens of text.
        audio: Tokens of audio, and of what else costs as much.
    """

    text: int = 0
    audio: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.text + other.text, self.audio + other.audio)

    def __sub__(self, other: Size) -> Size:
        return Size(max(0, self.text - other.text), max(0, self.audio - other.audio))
