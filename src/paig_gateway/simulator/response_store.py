"""The responses that OpenAI stores for later look-ups and continued conversations."""

from __future__ import annotations

from .operation import SimulatedRefusal
from .reply import TokenCounts
from .wire import Document

_KEPT = 1000


class ResponseStore:
    """Stored responses by id: each finished response and how often it was looked up."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Document, int]] = {}
        self._looks: dict[str, int] = {}

    def clear(self) -> None:
        self._kept.clear()
        self._looks.clear()

    def keep(self, response: Document, tokens: TokenCounts) -> None:
        """Store a finished response; the oldest one makes room."""
        self._kept[response["id"]] = (response, tokens.total)
        if len(self._kept) > _KEPT:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._looks.pop(oldest, None)

    def context(self, name: str) -> int:
        """The input tokens of continuing a response."""
        if name not in self._kept:
            raise SimulatedRefusal(400, f"Previous response with id '{name}' not found.")
        return self._kept[name][1]

    def look(self, name: str) -> Document:
        """Look a response up; background work is in progress at the first look-up and done at the second."""
        response = self.find(name)
        self._looks[name] = self._looks.get(name, 0) + 1
        if response["background"] and self._looks[name] == 1 and response["status"] != "cancelled":
            return pending(response, "in_progress")
        return response

    def find(self, name: str) -> Document:
        if name not in self._kept:
            raise SimulatedRefusal(404, f"Response with id '{name}' not found.")
        return self._kept[name][0]

    def cancel(self, name: str) -> Document:
        """Cancel background work, unless a client has seen it done."""
        response = self.find(name)
        if not response["background"]:
            raise SimulatedRefusal(400, "Cannot cancel a synchronous response.")
        if self._looks.get(name, 0) < 2:
            response |= {"status": "cancelled", "output": [], "usage": None}
        return response

    def delete(self, name: str) -> Document:
        self.find(name)
        del self._kept[name]
        self._looks.pop(name, None)
        return {"id": name, "object": "response", "deleted": True}


def pending(response: Document, status: str) -> Document:
    """A response as it was before it was finished."""
    begun = {key: value for key, value in response.items() if key != "billing"}
    return {**begun, "status": status, "output": [], "usage": None, "completed_at": None, "incomplete_details": None}
