"""`paig`, but it kills itself (`kill -9`) at a named step of a request: `python -m tests…mortal STEP serve …`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from paig_gateway.ledger.executor import BatchExecutor, BatchResult, LedgerCommand, Settle, SettleLines
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.postgres import PostgresConnection
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.ledger.sqlite import SqliteConnection


def die() -> None:
    """End as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def after_reserve() -> None:
    """Reserved durably, nothing sent."""
    reserve = Ledger.reserve

    async def mortal(self: Ledger, reservation: Reservation, *, wait: float = 0.0) -> None:
        await reserve(self, reservation, wait=wait)
        die()

    Ledger.reserve = mortal  # type: ignore[method-assign]


def before_settle() -> None:
    """The last byte has come from upstream, and is still to be settled."""

    def mortal(self: Ledger, settlement: Settlement) -> None:
        die()

    Ledger.settle_soon = mortal  # type: ignore[method-assign]


def in_settle() -> None:
    """The settlement is written, except for the commit."""
    sqlite, say = SqliteConnection.write, PostgresConnection._say
    settling = False

    def write(self: SqliteConnection, batch: Any) -> None:
        if batch.closed:
            self._raw.set_trace_callback(lambda statement: die() if statement == "COMMIT" else None)
        sqlite(self, batch)

    def mortal(self: PostgresConnection, sql: str, *values: object) -> Any:
        nonlocal settling
        settling = settling or sql.startswith("DELETE FROM holds")
        if sql == "COMMIT" and settling:
            die()
        return say(self, sql, *values)

    SqliteConnection.write = write  # type: ignore[method-assign]
    PostgresConnection._say = mortal  # type: ignore[method-assign]


def after_settle() -> None:
    """The settlement is committed, and its caller has not heard of it."""
    execute = BatchExecutor.execute

    def mortal(self: BatchExecutor, commands: Sequence[LedgerCommand], blocked: Any = ()) -> BatchResult:
        result = execute(self, commands, blocked)
        if any(isinstance(command, Settle) for command in commands):
            die()
        return result

    BatchExecutor.execute = mortal  # type: ignore[method-assign]


def after_lines() -> None:
    """Some lines of a batch are charged, and others are not yet."""
    execute = BatchExecutor.execute

    def mortal(self: BatchExecutor, commands: Sequence[LedgerCommand], blocked: Any = ()) -> BatchResult:
        result = execute(self, commands, blocked)
        if any(isinstance(command, SettleLines) for command in commands):
            die()
        return result

    BatchExecutor.execute = mortal  # type: ignore[method-assign]


STEPS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "after-reserve": after_reserve,
    "before-settle": before_settle,
    "in-settle": in_settle,
    "after-settle": after_settle,
    "after-lines": after_lines,
}

if __name__ == "__main__":
    from paig_client.cli import main

    STEPS[sys.argv.pop(1)]()
    sys.argv[0] = "paig"
    main()
