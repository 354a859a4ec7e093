"""Whether the gateway can serve and record."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.database.engine import quick, writing
from paig_gateway.ledger.ledger import Ledger

log = logging.getLogger(__name__)

PROBE_SECONDS = 3.0
"""How long the database may take to write and read one row."""

_WRITE = text(
    "INSERT INTO meta (name, value) VALUES ('readiness', 1) ON CONFLICT (name) DO UPDATE SET value = meta.value + 1"
)
_READ = text("SELECT value FROM meta WHERE name = 'readiness'")


class Readiness:
    """Whether the ledger works and the database accepts a write."""

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = DatabaseProbe(engine)

    async def problem(self) -> str | None:
        """Why the gateway is not ready, in a sentence; None if it is ready."""
        if not self._ledger.healthy:
            return "The ledger cannot record at present."
        if not await self._database.works():
            return "The database does not take a write at present."
        return None


class DatabaseProbe:
    """Writes a row and reads it back, in a thread of its own, so that a database that hangs takes no other with it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = quick(engine)
        self._thread = ThreadPoolExecutor(1, "paig-readiness")
        self._running: asyncio.Future[str | None] | None = None

    async def works(self) -> bool:
        """Whether the database accepts a write now; concurrent calls share one check."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().run_in_executor(self._thread, self._write_and_read)
        try:
            failure = await asyncio.wait_for(asyncio.shield(self._running), PROBE_SECONDS)
        except TimeoutError:
            failure = f"no answer within {PROBE_SECONDS:g} s"
        if failure is not None:
            log.warning("The database failed the readiness probe: %s", failure)
        return failure is None

    def _write_and_read(self) -> str | None:
        try:
            with writing(self._engine) as connection:
                connection.execute(_WRITE)
            with self._engine.connect() as connection:
                connection.execute(_READ).scalar_one()
        except SQLAlchemyError as error:
            return str(error)
        return None
