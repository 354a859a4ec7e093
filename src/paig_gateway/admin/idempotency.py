"""`Idempotency-Key`: a create that is sent twice is done once, and answered the same.

Answers are kept in the memory of the process, for a day: that of a new key holds its secret, which must not lie in the
database. On another node, or after a restart, a repeated create meets the name it took the first time and is refused
as a conflict, so that in no case anything is made twice.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Generic, TypeVar

from paig_gateway.admin.problems import ProblemError

T = TypeVar("T")

KEEP_SECONDS = 24 * 3600.0
KEEP_ANSWERS = 10_000


@dataclass
class _Entry(Generic[T]):
    since: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: list[tuple[bytes, T]] = field(default_factory=list)
    """What was asked, as a digest, and the answer; empty until it is made."""


class Answers(Generic[T]):
    """The answers of creates, by who asked and the key they sent."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet; `clock` gives seconds that only rise."""
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], _Entry[T]] = OrderedDict()

    def once(self, asker: str, key: str | None, request: str, make: Callable[[], T]) -> T:
        """What `make` answers, or answered when the same request came first. A failure is not remembered.

        Args:
            asker: Who asks.
            key: The `Idempotency-Key`; without one, `make` is simply called.
            request: What is asked, in one spelling.
            make: Does it.

        Raises:
            ProblemError: `idempotency-mismatch` where the key has made something else before.
        """
        if key is None:
            return make()
        fingerprint = sha256(request.encode()).digest()
        entry = self._entry((asker, key))
        with entry.lock:  # a second one that comes while the first is at work waits for its answer
            if not entry.made:
                entry.made.append((fingerprint, make()))
            before, answer = entry.made[0]
        if before != fingerprint:
            raise ProblemError(
                "idempotency-mismatch", "This Idempotency-Key has made something else before: choose a new one."
            )
        return answer

    def _entry(self, name: tuple[str, str]) -> _Entry[T]:
        now = self._clock()
        with self._lock:
            while self._entries:
                oldest = next(iter(self._entries.values()))
                if now - oldest.since < KEEP_SECONDS and len(self._entries) < KEEP_ANSWERS:
                    break
                self._entries.popitem(last=False)
            return self._entries.setdefault(name, _Entry(now))
