"""When each key was last used, and from where.

A request notes it in memory; new uses are written every few seconds. A killed process loses those of the last seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.engine import in_thread, writing

WRITE_SECONDS = 5.0

_PUT = text(
    "INSERT INTO key_uses (key_id, time, address) SELECT keys.id, :time, :address FROM keys WHERE keys.id = :key_id "
    "ON CONFLICT (key_id) DO UPDATE SET time = excluded.time, address = excluded.address "
    "WHERE key_uses.time < excluded.time"
)
_READ = text("SELECT key_id, time, address FROM key_uses")

log = logging.getLogger(__name__)


class KeyUse(NamedTuple):  # made for every request: a frozen dataclass costs three times as much
    """The last use of a key."""

    at: datetime
    address: str | None


class KeyUses:
    """The last uses, those of this process first in memory."""

    def __init__(self) -> None:
        self._fresh: dict[str, KeyUse] = {}

    def note(self, key_id: str, at: datetime, address: str | None) -> None:
        self._fresh[key_id] = KeyUse(at, address)

    def latest(self, engine: Engine) -> Mapping[str, KeyUse]:
        """The last use of each key by id: this process's, and those that other nodes have written."""
        with engine.connect() as connection:
            found = {row.key_id: KeyUse(moment(row.time), row.address) for row in connection.execute(_READ)}
        for key_id, use in list(self._fresh.items()):
            if key_id not in found or found[key_id].at < use.at:
                found[key_id] = use
        return found

    def write(self, engine: Engine) -> None:
        """Write the new uses.

        Raises:
            SQLAlchemyError: The database is unavailable; the new uses are kept.
        """
        fresh, self._fresh = self._fresh, {}
        if not fresh:
            return
        rows = [
            {"key_id": key_id, "time": milliseconds(use.at), "address": use.address}
            for key_id, use in sorted(fresh.items())  # in one order, so that nodes never wait for each other
        ]
        try:
            with writing(engine) as connection:
                connection.execute(_PUT, rows)
        except SQLAlchemyError:
            self._fresh = {**fresh, **self._fresh}
            raise

    async def run(self, engine: Engine) -> None:
        """Write every few seconds, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                await in_thread(self._try, engine)
        finally:
            self._try(engine)

    def _try(self, engine: Engine) -> None:
        try:
            self.write(engine)
        except SQLAlchemyError as error:
            log.warning("the last uses of keys could not be written, trying again: %s", type(error).__name__)
