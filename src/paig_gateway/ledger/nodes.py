"""Nodes: the gateway processes that share a database, and how they detect that one has died.

A node writes its beat every two seconds. It is dead when its beat is fifteen seconds old, or at once when it ran where
this one runs and its process is gone. A dead node's open requests are charged at their ceiling before its row is
removed. Each reservation checks that its node's row exists, so every open request has a node.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, exists, insert, select, text, update

from paig_gateway.database.columns import milliseconds
from paig_gateway.ledger.statements import TABLES

NODES, HOLDS = TABLES["nodes"], TABLES["holds"]
BEAT_SECONDS = 2.0
DEAD_SECONDS = 15.0


class NodeInUseError(Exception):
    """Another live process uses this node's id."""


@dataclass(frozen=True)
class Process:
    """A process, with a unique id.

    Attributes:
        host: `name place start`: the host's name, where its process ids are valid, and when the process began. The last
            two are `-` where the system does not say; then only beats count.
        pid: Its process id.
    """

    host: str
    pid: int

    @classmethod
    def present(cls) -> Process:
        name = socket.gethostname().replace(" ", "-") or "-"
        return cls(f"{name} {_place()} {_start(os.getpid())}", os.getpid())

    def is_gone(self) -> bool:
        """Whether its process has surely ended: it ran here, and its process id is free or another process's."""
        _, place, start = self.host.split(" ")
        return "-" not in (place, start) and place == _place() and _start(self.pid) != start


def _place() -> str:
    """Where a process id means the same process: this boot of this machine, this process namespace."""
    if not sys.platform.startswith("linux"):
        return "-"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "-"


def _start(pid: int) -> str:
    """When a process began, in clock ticks since boot; `-` if there is none such, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "-"
    return "-" if fields[0] in "ZX" else fields[19]


@dataclass(frozen=True)
class Beat:
    """Another node's last sign of life.

    Attributes:
        at: Milliseconds since the epoch.
        is_gone: Whether its process has surely ended.
    """

    node_id: str
    at: int
    is_gone: bool


def now_ms(connection: Connection, clock: Callable[[], datetime]) -> int:
    """The present by a clock that all nodes share: the database's, if it runs on another machine."""
    ours = milliseconds(clock())
    if connection.dialect.name == "sqlite":
        return ours
    theirs: float = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
    return ours + round((theirs - time.time()) * 1000)


def beat(connection: Connection, node_id: str, process: Process, now: int) -> None:
    """Write this node's heartbeat; if other nodes took it for dead and removed its row, the row is inserted again."""
    if connection.execute(update(NODES).where(NODES.c.id == node_id).values(beat_at=now)).rowcount == 0:
        row = {"id": node_id, "host": process.host, "pid": process.pid, "started_at": now, "beat_at": now}
        connection.execute(insert(NODES).values(row))


def check_unused(connection: Connection, node_id: str, process: Process, now: int) -> None:
    """Make sure that no other live process uses this node's id.

    Raises:
        NodeInUseError: There is one, or there was one seconds ago.
    """
    row = connection.execute(select(NODES).where(NODES.c.id == node_id)).first()
    if row is None:
        return
    other = Process(row.host, row.pid)
    if other != process and not other.is_gone() and now - row.beat_at <= DEAD_SECONDS * 1000:
        raise NodeInUseError(f"Another gateway runs as node '{node_id}' (process {row.pid}): give each its own id.")


def silent(connection: Connection, node_id: str, now: int) -> list[Beat]:
    """The other nodes that are dead, or whose heartbeat is too old."""
    rows = connection.execute(select(NODES).where(NODES.c.id != node_id))
    beats = [Beat(row.id, row.beat_at, Process(row.host, row.pid).is_gone()) for row in rows]
    return [other for other in beats if other.is_gone or now - other.at > DEAD_SECONDS * 1000]


def alive(connection: Connection, clock: Callable[[], datetime]) -> str | None:
    """A description of a node that is surely running; None if there is none."""
    now = now_ms(connection, clock)
    for row in connection.execute(select(NODES)):
        if now - row.beat_at <= DEAD_SECONDS * 1000 and not Process(row.host, row.pid).is_gone():
            return f"process {row.pid} on {row.host.split(' ')[0]}"
    return None


def known(connection: Connection) -> set[str]:
    """Ids of all nodes that have not signed off."""
    return set(connection.execute(select(NODES.c.id)).scalars())


def open_ids(connection: Connection, node_id: str, limit: int | None = None) -> list[str]:
    """Ids of a node's open requests, at most `limit` of them."""
    return list(connection.execute(select(HOLDS.c.id).where(HOLDS.c.node_id == node_id).limit(limit)).scalars())


def forget(connection: Connection, node_id: str) -> bool:
    """Remove a node unless it has open requests. Returns whether it was removed here.

    Two statements, because only the second sees the changes of a transaction that the first had to wait for.
    """
    row = NODES.c.id == node_id
    connection.execute(select(NODES.c.id).where(row).with_for_update())
    gone = connection.execute(delete(NODES).where(row, ~exists().where(HOLDS.c.node_id == node_id)))
    return gone.rowcount == 1
