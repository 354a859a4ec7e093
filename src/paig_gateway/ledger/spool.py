"""The spool: a file with the requests that the database has not recorded yet.

They survive the death of the process this way: the next gateway that starts with the same home folder records what it
finds. The file exists only while something is unrecorded.

A request that the database refuses whatever is tried, because of its own values, is kept in a second file for good:
`set-aside-NODE.jsonl`, with the reason, for an administrator to look at.
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
SET_ASIDE = "set-aside-"


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """One line of a spool.

    Attributes:
        reason: Why the database refused it, if it is set aside.
    """

    reservation: Reservation | None
    settlement: Settlement
    reason: str | None = None


class Spool:
    """One node's spool; for use by one thread.

    Args:
        folder: The gateway's home.
    """

    def __init__(self, folder: Path, node_id: str) -> None:
        self.path = folder / f"{PREFIX}{node_id}{SUFFIX}"
        self.set_aside_path = folder / f"{SET_ASIDE}{node_id}{SUFFIX}"
        self._folder = folder
        self._unrecorded: set[str] = set()

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._unrecorded

    def add(self, entry: Unrecorded) -> None:
        """Write a line; if the disk refuses it, the request is in memory only, and the log says so."""
        self._unrecorded.add(entry.settlement.id)
        self._append(self.path, entry)

    def recorded(self, request_id: str) -> None:
        """Remove a request that the database has recorded; with the last one the file is removed."""
        if request_id in self._unrecorded:
            self._unrecorded.discard(request_id)
            if not self._unrecorded:
                self.path.unlink(missing_ok=True)

    def set_aside(self, entry: Unrecorded) -> None:
        """Keep a request that the database will never accept as it is."""
        self._append(self.set_aside_path, entry)

    def left_behind(self, alive: Container[str]) -> list[Path]:
        """The spools of dead nodes, to be recorded and then removed.

        Args:
            alive: Ids of the nodes that run, and so record their own.
        """
        found = sorted(self._folder.glob(f"{PREFIX}*{SUFFIX}"))
        return [path for path in found if path.name.removeprefix(PREFIX).removesuffix(SUFFIX) not in alive]

    def _append(self, path: Path, entry: Unrecorded) -> None:
        try:
            with open(path, "ab", opener=partial(os.open, mode=0o600)) as file:
                file.write(msgspec.json.encode(entry, enc_hook=_plain) + b"\n")
        except OSError as error:
            log.error("cannot write %s; an unrecorded request is in memory only: %s", path, error)


def _plain(value: object) -> object:
    return dict(value) if hasattr(value, "keys") else str(value)  # type: ignore[call-overload]


def read_spool(path: Path) -> Iterator[Unrecorded]:
    """The lines of a spool."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            yield msgspec.json.decode(line, type=Unrecorded)
        except msgspec.DecodeError as error:  # cut off when its process died
            log.error("cannot read line %d of %s: %s", number, path, error)
