"""What every part of the simulator passes around: a request, the operation it asks for, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .faults import NONE, Faults
from .reply import Mind, Prompt, Reply, TokenCounts
from .wire import Document, HeaderFields


class SimulatedRefusal(Exception):
    """The request gets the provider's error with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class SimulatedAnswer:
    """A response: either a whole body or the events of a stream.

    Attributes:
        tokens: What the provider bills for it; None for what is free.
    """

    content_type: bytes
    body: bytes = b""
    events: list[bytes] | None = None
    status: int = 200
    headers: HeaderFields = ()
    tokens: TokenCounts | None = None


@dataclass(slots=True)
class SimulatedRequest:
    """One request on its way through the simulator.

    Attributes:
        mount: The first segment of the path: which account of which provider plays.
        family: The provider that the mount's name stands for.
        path: The rest of the raw path, percent-encoding kept.
        params: What the route read out of the path, decoded.
        raw: The body as it came, where the operation takes something else than JSON.
        now: Seconds since the epoch.
    """

    mount: str
    family: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    now: float
    mind: Mind
    body: Document = field(default_factory=dict[str, Any])
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: Faults = NONE
    raw: bytes = b""

    def reply(self, prompt: Prompt) -> Reply:
        """What the model says to the prompt."""
        return self.mind.think(prompt, self.faults, self.mount)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a provider says no.

    Attributes:
        error: The error response for a status and a message, given the family.
        error_event: The event that breaks a stream off, given how many events went before.
    """

    error: Callable[[str, int, str | None], SimulatedAnswer]
    error_event: Callable[[SimulatedRequest, int], bytes]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a provider's API does.

    Attributes:
        read: Understands the request's body; its `KeyError`, `TypeError`, `ValueError` and `AttributeError` mean that
            the body is not what the API takes.
        write: Answers.
        free: Nothing is generated, so nothing is billed or counted.
        raw: Its body is not JSON.
    """

    read: Callable[[SimulatedRequest], Prompt]
    write: Callable[[SimulatedRequest, Prompt], SimulatedAnswer]
    shape: Shape
    free: bool = False
    raw: bool = False


def nothing(request: SimulatedRequest) -> Prompt:
    """Reads a request that has no body to understand."""
    return Prompt()
