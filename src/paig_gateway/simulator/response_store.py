"""The responses that OpenAI keeps, for who looks them up or goes on from them."""

from __future__ import annotations

from .operation import SimulatedRefusal
from .reply import TokenCounts
from .wire import Document

_KEPT = 1000


class ResponseStore:
    """The responses that a provider keeps: by id, the finished response and how often it was looked at."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Document, int]] = {}
        self._looks: dict[str, int] = {}

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()
        self._looks.clear()

    def keep(self, response: Document, tokens: TokenCounts) -> None:
        """Store a finished response; the oldest makes room."""
        self._kept[response["id"]] = (response, tokens.total)
        if len(self._kept) > _KEPT:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._looks.pop(oldest, None)

    def context(self, name: str) -> int:
        """The tokens that continuing a response carries along."""
        if name not in self._kept:
            raise SimulatedRefusal(400, f"Previous response with id '{name}' not found.")
        return self._kept[name][1]

    def look(self, name: str) -> Document:
        """The response as it is now: background work is in progress at the first look and done at the second."""
        response = self.find(name)
        self._looks[name] = self._looks.get(name, 0) + 1
        if response["background"] and self._looks[name] == 1 and response["status"] != "cancelled":
            return pending(response, "in_progress")
        return response

    def find(self, name: str) -> Document:
        """The finished response."""
        if name not in self._kept:
            raise SimulatedRefusal(404, f"Response with id '{name}' not found.")
        return self._kept[name][0]

    def cancel(self, name: str) -> Document:
        """Cancel background work that nobody has seen the end of."""
        response = self.find(name)
        if not response["background"]:
            raise SimulatedRefusal(400, "Cannot cancel a synchronous response.")
        if self._looks.get(name, 0) < 2:
            response |= {"status": "cancelled", "output": [], "usage": None}
        return response

    def delete(self, name: str) -> Document:
        """Forget one."""
        self.find(name)
        del self._kept[name]
        self._looks.pop(name, None)
        return {"id": name, "object": "response", "deleted": True}


def pending(response: Document, status: str) -> Document:
    """A response as it was before it was finished."""
    begun = {key: value for key, value in response.items() if key != "billing"}
    return {**begun, "status": status, "output": [], "usage": None, "completed_at": None, "incomplete_details": None}
