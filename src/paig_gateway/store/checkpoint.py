"""SQLite's checkpoints, on a thread and a connection of their own, so that no request ever waits for one."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading

from sqlalchemy import Engine

EVERY_SECONDS = 1.0
MIN_BYTES = 4 * 2**20
"""A shorter log is not worth a checkpoint."""
MAX_BYTES = 128 * 2**20
"""A longer log is cut: while writers never pause, a passive checkpoint copies all of it and still cannot begin anew."""

log = logging.getLogger(__name__)


class Checkpointer(threading.Thread):
    """Copies the write-ahead log into the database file, while it is long enough, until stopped."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="paig-checkpoint", daemon=True)
        self._file = str(engine.url.database)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Check the log's length every second."""
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=0.5)
        try:
            while not self._stopping.wait(EVERY_SECONDS):
                self._checkpoint(connection)
        finally:
            connection.close()

    def stop(self) -> None:
        """End the thread; a checkpoint that has begun is finished."""
        self._stopping.set()
        self.join()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        try:
            length = os.stat(f"{self._file}-wal").st_size
            if length < MIN_BYTES:
                return
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if length > MAX_BYTES:  # little is left to copy, so writers wait for moments only
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except FileNotFoundError:
            return
        except sqlite3.Error as error:  # a full disk, for one; the ledger itself will report what matters
            log.warning("checkpoint of %s failed: %s", self._file, error)
