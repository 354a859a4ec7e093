"""Objects that clients store at the simulated providers: files, batches, videos."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .operation import SimulatedRefusal, SimulatedRequest

T = TypeVar("T")
MOST = 500


@dataclass
class ObjectStore(Generic[T]):
    """Objects of one kind, by mount and id; beyond `MOST`, the oldest one makes room.

    Attributes:
        missing: The error for an unknown id; `{id}` stands for it.
        status: The error's status.
    """

    missing: str
    status: int = 404
    _items: dict[tuple[str, str], T] = field(default_factory=dict)

    def clear(self) -> None:
        self._items.clear()

    def add(self, request: SimulatedRequest, id: str, item: T) -> T:
        self._items[request.mount, id] = item
        if len(self._items) > MOST:
            del self._items[next(iter(self._items))]
        return item

    def find(self, request: SimulatedRequest, id: str | None = None) -> T:
        """An object of the request's mount, by default the one that the path names.

        Raises:
            SimulatedRefusal: There is no such object.
        """
        named = request.params["id"] if id is None else id
        if (item := self._items.get((request.mount, named))) is None:
            raise SimulatedRefusal(self.status, self.missing.format(id=named))
        return item

    def all(self, request: SimulatedRequest) -> list[T]:
        """The objects of the request's mount, the newest first."""
        return [item for (mount, _), item in self._items.items() if mount == request.mount][::-1]

    def remove(self, request: SimulatedRequest) -> T:
        """Remove the object that the path names. Raises as `find` does."""
        item = self.find(request)
        del self._items[request.mount, request.params["id"]]
        return item
