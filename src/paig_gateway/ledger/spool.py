"""The journal: requests that were let pass while the database was down, in a file until the database has them.

So they survive the death of the process too: the next gateway of the same home folder charges what it finds. The file
is there only while something is unrecorded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from paig_gateway.ledger.records import Reservation, Settlement

log = logging.getLogger(__name__)

PREFIX, SUFFIX = "unrecorded-", ".jsonl"


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """One line of a journal."""

    reservation: Reservation
    settlement: Settlement


class Spool:
    """One node's journal; for use by one thread.

    Args:
        folder: The gateway's home.
        node_id: The node.
    """

    def __init__(self, folder: Path, node_id: str) -> None:
        self.path = folder / f"{PREFIX}{node_id}{SUFFIX}"
        self._folder = folder
        self._unrecorded: set[str] = set()

    def add(self, entry: Unrecorded) -> None:
        """Write a line; where the disk does not take it, the request is in memory alone, and the log says so."""
        self._unrecorded.add(entry.settlement.id)
        try:
            with open(self.path, "ab", opener=partial(os.open, mode=0o600)) as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            log.error("%s cannot be written, an unrecorded request is in memory alone: %s", self.path, error)

    def recorded(self, request_id: str) -> None:
        """The database has it; the last of them removes the file."""
        self._unrecorded.discard(request_id)
        if not self._unrecorded:
            self.path.unlink(missing_ok=True)

    def left_behind(self, alive: Container[str]) -> list[Path]:
        """The journals of dead nodes, to be recorded and then removed.

        Args:
            alive: Ids of the nodes that run, and so look after their own.
        """
        found = sorted(self._folder.glob(f"{PREFIX}*{SUFFIX}"))
        return [path for path in found if path.name.removeprefix(PREFIX).removesuffix(SUFFIX) not in alive]


def read(path: Path) -> Iterator[Unrecorded]:
    """The lines of a journal."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            yield msgspec.json.decode(line, type=Unrecorded)
        except msgspec.DecodeError as error:  # cut off by the death of its process
            log.error("line %d of %s cannot be read: %s", number, path, error)
