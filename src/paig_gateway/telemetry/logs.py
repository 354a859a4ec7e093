"""The log on standard error: lines of text or JSON, with secrets redacted, written by a thread."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import logging.handlers
import os
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.money import format_usd
from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.observer import present_request
from paig_gateway.telemetry.metrics.registry import Sample
from paig_gateway.telemetry.redaction import Redactor
from paig_gateway.telemetry.settings import TelemetrySpec

MOST_QUEUED = 10_000
"""The most lines that wait to be written; if standard error is stuck, more are dropped and counted."""

CLOSE_SECONDS = 2.0
"""How long the end of the process waits for lines to be written."""
STANDARD_ERROR = 2

requests = logging.getLogger("paig_gateway.requests")


class Lines(logging.Formatter):
    """One line for each record, of text or of JSON."""

    def __init__(self, redact: Callable[[str], str], *, as_json: bool) -> None:
        super().__init__()
        self._redact = redact
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if request_id := getattr(record, "request_id", None):
            fields["request_id"] = request_id
        fields |= {name: self._clean(value) for name, value in getattr(record, "fields", {}).items()}
        if record.exc_info:
            fields["exception"] = self._redact(self.formatException(record.exc_info))
        if self._as_json:
            return json.dumps(fields, ensure_ascii=False)
        time, level, logger, message = (str(fields.pop(name)) for name in ("time", "level", "logger", "message"))
        # Control characters sent by a client must not forge log lines.
        shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in message)
        exception = fields.pop("exception", None)
        rest = "".join(f" {name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
        return f"{time} {level.upper()} {logger}: {shown}{rest}" + (f"\n{exception}" if exception else "")

    def _clean(self, value: object) -> object:
        return self._redact(value) if isinstance(value, str) else value


class Aside(logging.handlers.QueueHandler):
    """Hands records to a thread, and drops them rather than wait."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None]) -> None:
        """Hand them over there."""
        super().__init__(lines)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Add the request's id; nothing else needs preparing, since the thread belongs to this process."""
        if (request_id := present_request.get()) and not hasattr(record, "request_id"):
            record.request_id = request_id
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue the record if there is room."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class LogWriter(threading.Thread):
    """Writes records to a file, without a lock: a stuck output does not keep the process from ending."""

    def __init__(self, lines: queue.Queue[logging.LogRecord | None], form: logging.Formatter, file: int) -> None:
        """Write them.

        Args:
            lines: The queue of lines; None ends it.
            form: Makes lines of them.
            file: The file's descriptor.
        """
        super().__init__(name="paig-log", daemon=True)
        self._lines = lines
        self._form = form
        self._file = file

    def run(self) -> None:
        while (record := self._lines.get()) is not None:
            try:
                text = self._form.format(record)
            except Exception as error:
                text = f"a line of {record.name} cannot be written: {type(error).__name__}"
            line = f"{text}\n".encode(errors="backslashreplace")
            with contextlib.suppress(OSError):  # standard error is closed; there is no other place to report it
                while line:
                    line = line[os.write(self._file, line) :]

    def close(self) -> None:
        """Write the queued lines, for `CLOSE_SECONDS` at most."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=CLOSE_SECONDS)
            self.join(CLOSE_SECONDS)


class ProcessLog:
    """The log of a process that runs only a gateway."""

    def __init__(self, spec: TelemetrySpec, redact: Redactor) -> None:
        """Send everything that this process logs to standard error, as the settings have it."""
        lines: queue.Queue[logging.LogRecord | None] = queue.Queue(MOST_QUEUED)
        self._lines = lines
        self._aside = Aside(lines)
        writer = LogWriter(lines, Lines(redact, as_json=spec.log == "json"), STANDARD_ERROR)
        root = logging.getLogger()
        root.handlers[:] = [self._aside]
        root.setLevel(logging.WARNING)
        logging.getLogger("paig_gateway").setLevel(spec.log_level.upper())
        requests.setLevel(logging.INFO if spec.log_requests else logging.WARNING)
        logging.captureWarnings(True)
        writer.start()
        atexit.register(writer.close)

    def samples(self) -> list[Sample]:
        """The numbers of waiting and of dropped lines."""
        return [
            ("paig_telemetry_queue_depth", ("log",), self._lines.qsize()),
            ("paig_telemetry_dropped_total", ("log", "queue"), self._aside.dropped),
        ]


class RequestLog:
    """An observer that logs a line for each request."""

    def refused(self, request_id: str, error: GatewayError) -> None:
        fields = {"code": error.code, "status": error.status}
        requests.info("refused: %s", error.message, extra={"fields": fields, "request_id": request_id})

    def started(self, exchange: Exchange, reservation: Reservation) -> None: ...

    def finished(self, exchange: Exchange, outcome: Outcome, settlement: Settlement) -> None:
        caller, usage = exchange.caller, settlement.usage or {}
        fields = {
            "status": settlement.status,
            "key": caller.key,
            "project": caller.project,
            "user": caller.user,
            "route": exchange.route.name,
            "provider": settlement.provider,
            "model": exchange.call.model,
            "format": exchange.fmt.name,
            "stream": exchange.call.stream,
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            "cost": format_usd(settlement.cost),
            "certainty": settlement.certainty,
            "attempts": len(settlement.attempts),
            "error": settlement.error,
            "ms_total": settlement.ms_total,
            "ms_first_byte": settlement.ms_first_byte,
            "ms_gateway": settlement.ms_gateway,
        }
        present = {name: value for name, value in fields.items() if value is not None}
        requests.info("request", extra={"fields": present, "request_id": exchange.id})
