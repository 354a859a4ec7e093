"""Admission: bounds on the requests served at once, the requests that wait, and the bytes of bodies in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from paig_gateway.domain.errors import GatewayError

RETRY_AFTER = 1
"""Seconds after which a refused client may try again."""

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AdmissionBounds:
    """The bounds of one process.

    Attributes:
        max_requests: Requests of the data plane that are served at once.
        max_queued: Requests that may wait to be served.
        queue_seconds: The longest wait.
        body_bytes: Bytes of request bodies in memory at once.
        key_body_bytes: The same, of the requests of one key.
    """

    max_requests: int = 10_000
    max_queued: int = 1_000
    queue_seconds: float = 5.0
    body_bytes: int = 512 * MEGABYTE
    key_body_bytes: int = 256 * MEGABYTE


class Admission:
    """Counts the requests and body bytes of one process; requests beyond its bounds wait in a queue.

    Attributes:
        running: Requests that are being served.
        body_bytes: Bytes of request bodies in memory.
        bytes_of: The same by key.
    """

    def __init__(self, bounds: AdmissionBounds | None = None) -> None:
        self.bounds = bounds or AdmissionBounds()
        self.running = 0
        self.body_bytes = 0
        self.bytes_of: dict[str, int] = {}
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def enter(self) -> None:
        """Begin a request, after a wait in the queue if too many are served; `leave` ends it.

        Raises:
            GatewayError: `overloaded`: the queue is full, or the wait was too long.
        """
        if self.running < self.bounds.max_requests:
            self.running += 1
            return
        if len(self._queue) >= self.bounds.max_queued:
            raise _overloaded("The gateway serves as many requests as it can.")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout(self.bounds.queue_seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.leave()  # the wait was over just before it failed
            elif place in self._queue:
                self._queue.remove(place)
            if isinstance(error, TimeoutError):
                raise _overloaded("The gateway serves as many requests as it can.") from None
            raise

    def leave(self) -> None:
        """End a request; the one that has waited longest begins."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1

    def body(self, key_id: str) -> BodyBytes:
        return BodyBytes(self, key_id)


@dataclass(slots=True)
class BodyBytes:
    """Counts the bytes of one request's body."""

    admission: Admission
    key_id: str
    count: int = 0

    def add(self, count: int) -> None:
        """Count further bytes.

        Raises:
            GatewayError: `overloaded`: too many bytes for the process or the key; these are not counted.
        """
        admission, bounds = self.admission, self.admission.bounds
        of_key = admission.bytes_of.get(self.key_id, 0) + count
        if of_key > bounds.key_body_bytes:
            raise _overloaded(f"This key's requests in flight have bodies of {_mb(bounds.key_body_bytes)} MB.")
        if admission.body_bytes + count > bounds.body_bytes:
            raise _overloaded(f"The requests in flight have bodies of {_mb(bounds.body_bytes)} MB.")
        admission.body_bytes += count
        admission.bytes_of[self.key_id] = of_key
        self.count += count

    def release(self) -> None:
        """Stop counting all of them."""
        if not self.count:
            return
        self.admission.body_bytes -= self.count
        left = self.admission.bytes_of.pop(self.key_id, 0) - self.count
        if left > 0:
            self.admission.bytes_of[self.key_id] = left
        self.count = 0


def _overloaded(why: str) -> GatewayError:
    return GatewayError("overloaded", f"{why} Try again shortly.", retry_after=RETRY_AFTER)


def _mb(count: int) -> int:
    return count // MEGABYTE
