"""The types that all parts of the simulator share: a request, its operation and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .faults import NONE, Faults
from .reply import Prompt, Reply, SimulatedModel, TokenCounts
from .wire import Document, HeaderFields


class SimulatedRefusal(Exception):
    """The request is answered with the provider's error of this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class SimulatedAnswer:
    """An answer: a whole body, or the events of a stream.

    Attributes:
        tokens: What the provider bills; None if it is free.
    """

    content_type: bytes
    body: bytes = b""
    events: list[bytes] | None = None
    status: int = 200
    headers: HeaderFields = ()
    tokens: TokenCounts | None = None


@dataclass(slots=True)
class SimulatedRequest:
    """One request to the simulator.

    Attributes:
        mount: The first segment of the path: an account of a provider.
        family: The provider that the mount's name stands for.
        path: The rest of the raw path, still percent-encoded.
        params: The parameters in the path, decoded.
        raw: The body's bytes, if the operation does not take JSON.
        now: Seconds since the epoch.
    """

    mount: str
    family: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    now: float
    llm: SimulatedModel
    body: Document = field(default_factory=dict[str, Any])
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: Faults = NONE
    raw: bytes = b""

    def json(self) -> Document:
        """The raw body as a JSON object.

        Raises:
            SimulatedRefusal: It is not a JSON object: 400.
        """
        try:
            return msgspec.json.decode(self.raw or b"{}", type=dict[str, Any])
        except msgspec.DecodeError as problem:
            raise SimulatedRefusal(400, f"We could not parse the JSON body of your request: {problem}") from None

    def reply(self, prompt: Prompt) -> Reply:
        return self.llm.reply(prompt, self.faults, self.mount)


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a provider's errors.

    Attributes:
        error: Makes the error response from the family, a status and a message.
        error_event: Makes the event that ends a stream with an error, from the number of events before it.
    """

    error: Callable[[str, int, str | None], SimulatedAnswer]
    error_event: Callable[[SimulatedRequest, int], bytes]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a provider's API.

    Attributes:
        read: Reads the request's body; a `KeyError`, `TypeError`, `ValueError` or `AttributeError` means that the body
            is invalid.
        free: Nothing is generated, so nothing is billed or counted.
        raw: Its body is not JSON.
    """

    read: Callable[[SimulatedRequest], Prompt]
    write: Callable[[SimulatedRequest, Prompt], SimulatedAnswer]
    shape: Shape
    free: bool = False
    raw: bool = False


def free(
    shape: Shape,
    answer: Callable[[SimulatedRequest], SimulatedAnswer],
    *needed: str,
    raw: bool = False,
) -> Operation:
    """An operation that generates nothing, and so costs nothing; `needed` are the fields that its body must have."""

    def read(request: SimulatedRequest) -> Prompt:
        for name in needed:
            if name not in request.body:
                raise KeyError(name)
        return Prompt()

    return Operation(read, lambda request, _: answer(request), shape, free=True, raw=raw)
