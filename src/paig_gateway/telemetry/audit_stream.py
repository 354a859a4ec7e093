"""The audit log, streamed: each entry to a file, to syslog and to an OTLP backend, in order.

Each destination has a row in the database with the last entry sent. The process that holds the row's lease sends the
next ones, so each entry is sent once; it is sent again only if a process ended between sending and recording it.
Entries that a destination does not accept wait in the database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from paig_client.api.specs import ExportSpec
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.engine import in_thread, writing
from paig_gateway.database.tables import AuditRow, MetaRow
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.telemetry.metrics.registry import Sample
from paig_gateway.telemetry.otlp.exporter import backend
from paig_gateway.telemetry.otlp.transport import LOGS, Sender

LOOK_SECONDS = 1.0
AT_ONCE = 100
"""Entries sent together."""
LEASE = timedelta(seconds=30)
"""How long a process may take to send before another one takes over."""
SYSLOG_SECONDS = 5.0
_FACILITY_AUDIT, _NOTICE, _WARNING = 13, 5, 4
_ROWS = ("id", "actor", "action", "kind", "name", "before", "after")

log = logging.getLogger(__name__)


class StreamError(Exception):
    """A destination does not accept entries; the message says why, without a secret."""


Entry = dict[str, object]
"""An entry as JSON has it; `code` is what `paig audit verify --expect` takes."""


class AuditDestination(Protocol):
    """A destination of the audit log."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Send entries; blocks.

        Raises:
            StreamError: They were not accepted.
        """


class ToFile:
    """Appends a line of JSON for each entry; the file may be moved away at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, entries: Sequence[Entry]) -> None:
        """Append entries, and wait until the disk has them."""
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        try:
            with open(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StreamError(f"cannot write {self._path}: {error.strerror}") from None


class ToSyslog:
    """Sends a message (RFC 5424) for each entry, to a Unix socket, over UDP or over TCP."""

    def __init__(self, address: str) -> None:
        """Send there: `unix:/dev/log`, `udp://HOST:PORT`, `tcp://HOST:PORT`."""
        self._address = address
        self._host = socket.gethostname() or "-"

    def send(self, entries: Sequence[Entry]) -> None:
        try:
            with self._connected() as connection:
                for entry in entries:
                    message = self._message(entry)
                    if connection.type == socket.SOCK_STREAM:
                        connection.sendall(b"%d %b" % (len(message), message))  # counted, as RFC 6587 has it
                    else:
                        connection.send(message)
        except OSError as error:
            raise StreamError(f"syslog at {self._address} does not answer: {error.strerror or error}") from None

    def _connected(self) -> socket.socket:
        if self._address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                connection.connect(self._address.removeprefix("unix:"))
            except OSError:
                connection.close()
                raise
            return connection
        parts = urlsplit(self._address)
        place = parts.hostname or "", parts.port or 514
        if parts.scheme == "tcp":
            return socket.create_connection(place, timeout=SYSLOG_SECONDS)
        family, kind, protocol, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        connection = socket.socket(family, kind, protocol)
        connection.connect(address)
        return connection

    def _message(self, entry: Entry) -> bytes:
        severity = _WARNING if entry["action"] == "refuse" else _NOTICE
        head = f"<{_FACILITY_AUDIT * 8 + severity}>1 {entry['time']} {self._host} paig {os.getpid()} audit - "
        return (head + json.dumps(entry)).encode("ascii")


class ToOtlp:
    """Exports a log record for each entry."""

    def __init__(self, spec: ExportSpec, version: str, instance: str) -> None:
        self._spec, self._version, self._instance = spec, version, instance
        self._sender: Sender | None = None

    def send(self, entries: Sequence[Entry]) -> None:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_INFO, SEVERITY_NUMBER_WARN

        from paig_gateway.telemetry.otlp.common import put, resource, scope

        if self._sender is None:
            try:
                self._sender = backend(self._spec).sender(LOGS)
            except SecretReferenceError as error:
                raise StreamError(str(error)) from None
        export = ExportLogsServiceRequest()
        group = export.resource_logs.add(resource=resource(self._version, self._instance))
        records = group.scope_logs.add(scope=scope(self._version)).log_records
        for entry in entries:
            at = datetime.fromisoformat(str(entry["time"]))
            refused = entry["action"] == "refuse"
            record = records.add(
                time_unix_nano=milliseconds(at) * 1_000_000,
                severity_number=SEVERITY_NUMBER_WARN if refused else SEVERITY_NUMBER_INFO,
                severity_text="WARN" if refused else "INFO",
                event_name="paig.audit",
            )
            record.body.string_value = json.dumps(entry)
            named = {f"paig.audit.{name}": str(entry[name]) for name in ("id", "actor", "action", "kind", "name")}
            put(record.attributes, named)
        result = self._sender.send(export.SerializeToString())
        if not result.taken:
            raise StreamError(f"the OTLP backend does not take the audit log: {result.why}")


class AuditStream:
    """Streams the log to one destination."""

    def __init__(self, name: str, destination: AuditDestination, engine: Engine, now: Callable[[], datetime]) -> None:
        """Stream it there.

        Args:
            name: Of the row in the database, and in metrics.
            destination: Takes the entries.
        """
        self.name = name
        self._row = f"audit_stream:{name}"
        self._destination = destination
        self._engine = engine
        self._now = now
        self._sent = 0
        self._failing = False

    def samples(self) -> list[Sample]:
        """How many entries this process sent."""
        return [("paig_telemetry_exported_total", (f"audit {self.name}",), self._sent)]

    async def run(self) -> None:
        """Look for new entries until cancelled."""
        while True:
            try:
                await in_thread(self.look)
            except (StreamError, SQLAlchemyError) as error:
                if not self._failing:
                    log.warning("The audit log cannot be streamed; retrying: %s", error)
                self._failing = True
            else:
                if self._failing:
                    log.warning("The audit log is streamed again.")
                self._failing = False
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Send new entries, unless another process does so.

        Raises:
            StreamError: The destination does not take it; it is tried again.
            SQLAlchemyError: The database is unavailable.
        """
        last = self._claim()
        if last is None:
            return
        try:
            while entries := self._entries(last):
                self._destination.send(entries)
                self._sent += len(entries)
                last = str(entries[-1]["id"])
                self._note(last, self._now() + LEASE)
        finally:
            self._note(None, self._now())

    def _claim(self) -> str | None:
        """Take the lease: the id of the last entry that was sent, or None while another process has it."""
        now = milliseconds(self._now())
        until = milliseconds(self._now() + LEASE)
        with writing(self._engine) as connection:
            connection.execute(
                text("INSERT INTO meta (name, value, text) VALUES (:name, 0, '') ON CONFLICT (name) DO NOTHING"),
                {"name": self._row},
            )
            mine = update(MetaRow).where(col(MetaRow.name) == self._row, col(MetaRow.value) <= now)
            if connection.execute(mine.values(value=until)).rowcount != 1:
                return None
            return (
                connection.execute(select(col(MetaRow.text)).where(col(MetaRow.name) == self._row)).scalar_one() or ""
            )

    def _note(self, last: str | None, until: datetime) -> None:
        values: dict[str, object] = {"value": milliseconds(until)}
        if last is not None:
            values["text"] = last
        with writing(self._engine) as connection:
            connection.execute(update(MetaRow).where(col(MetaRow.name) == self._row).values(**values))

    def _entries(self, after: str) -> list[Entry]:
        query = select(AuditRow.__table__).where(col(AuditRow.id) > after).order_by(col(AuditRow.id)).limit(AT_ONCE)  # type: ignore[attr-defined]
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            {**{name: row[name] for name in _ROWS}, "time": moment(row["time"]).isoformat(), "code": row["mac"]}
            for row in rows
        ]
