"""Bounds the rows that the refusals of a key write: a program that retries without end must not fill the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from paig_gateway.ledger.records import Reservation, Settlement

ROWS_A_MINUTE = 60
"""Refusals of a key beyond these share one row, which counts them."""


@dataclass(slots=True)
class _Key:
    """The refusals of a key in the present minute."""

    rows: int = 0
    more: int = 0
    last: tuple[Reservation, Settlement] | None = None


class RefusedRows:
    """Writes the rows of refused requests. It belongs to one event loop."""

    def __init__(self, note: Callable[[Reservation, Settlement], None], now: Callable[[], datetime]) -> None:
        self._note = note
        self._now = now
        self._minute = 0
        self._keys: dict[str, _Key] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reservation: Reservation, settlement: Settlement) -> None:
        """Write the row of a refused request, or count it among those that share one."""
        now = self._now()
        minute = int(now.timestamp()) // 60
        if minute != self._minute:
            self.flush()
            self._minute = minute
        key = self._keys.setdefault(reservation.caller.key_id, _Key())
        if key.rows < ROWS_A_MINUTE:
            key.rows += 1
            self._note(reservation, settlement)
            return
        key.more += 1
        key.last = (reservation, settlement)
        if self._timer is None:
            left = (minute + 1) * 60 - now.timestamp()
            self._timer = asyncio.get_running_loop().call_later(left, self.flush)

    def flush(self) -> None:
        """Write the rows that count further refusals: at the end of a minute, and of the process."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        keys, self._keys = self._keys, {}
        for key in keys.values():
            if key.last is None:
                continue
            reservation, last = key.last
            refusal = dict(last.refusal or {})
            message = f"{key.more} more requests were refused in this minute. The last one: {refusal.get('message')}"
            self._note(reservation, replace(last, refusal={**refusal, "message": message, "count": key.more}))
