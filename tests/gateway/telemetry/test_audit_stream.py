"""The audit log, streamed: in order, each entry once, on two nodes, and later where a destination was away."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from paig_client.api.specs import ExportSpec, KeySpec, OwnerSpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config
from paig_gateway.database.engine import utc_now
from paig_gateway.server import running_gateway
from paig_gateway.telemetry import audit_stream as module
from paig_gateway.telemetry.audit_stream import AuditStream, Entry, StreamError, ToOtlp, ToSyslog
from paig_gateway.telemetry.settings import TelemetrySpec
from tests.gateway.catalogs import ME, open_catalog
from tests.gateway.conftest import url
from tests.gateway.end_to_end.waiting import until
from tests.security.web import Answer, Asked, serving

__all__ = ["url"]
pytestmark = pytest.mark.anyio


class Kept:
    """A destination that keeps entries, and may be away."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.away = False

    def send(self, entries: Sequence[Entry]) -> None:
        if self.away:
            raise StreamError("it is away")
        self.entries += entries


def lines(path: Path) -> list[Entry]:
    """What a file has."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_each_entry_once_whatever_happens(url: str) -> None:
    """On both databases, from two nodes at once, and after a time when nothing was taken."""
    kept = Kept()
    with open_catalog(url) as catalog:
        nodes = [AuditStream("test", kept, catalog.engine, utc_now) for _ in range(2)]
        for number in range(250):
            catalog.users.create(f"u{number}", OwnerSpec(), actor=ME)
        with ThreadPoolExecutor(2) as threads:
            for _ in range(5):
                list(threads.map(AuditStream.look, nodes))
        kept.away = True
        catalog.keys.create("later", KeySpec(), actor=ME)
        for node in nodes:
            with pytest.raises(StreamError):
                node.look()
        kept.away = False
        nodes[1].look()
        names = [entry["name"] for entry in kept.entries]
        assert names == [*(f"u{number}" for number in range(250)), "later"]
        assert kept.entries[-1]["code"] == catalog.verify_audit().head
        assert sum(value for node in nodes for _, _, value in node.samples()) == 251


async def test_a_gateway_streams_to_a_file(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Private to its owner; a file that cannot be written is said once, and made up for."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    store = OpenDatabase.open(tmp_path)
    folder = tmp_path / "logs"
    path = folder / "audit.jsonl"
    with caplog.at_level(logging.WARNING):
        async with running_gateway(Gateway(store, Config(telemetry=TelemetrySpec(audit_file=str(path))))):
            store.catalog.keys.create("first", KeySpec(), actor="me")
            await until(lambda: "cannot be streamed" in caplog.text)
            folder.mkdir()
            await until(lambda: [entry["name"] for entry in lines(path)] == ["first"])
            store.catalog.keys.create("second", KeySpec(), actor="me")
            await until(lambda: len(lines(path)) == 2)
    assert path.stat().st_mode & 0o777 == 0o600
    entry = lines(path)[1]
    assert (entry["actor"], entry["action"], entry["kind"], entry["name"]) == ("me", "create", "key", "second")
    assert entry["code"] == store.catalog.verify_audit().head
    assert caplog.text.count("cannot be streamed") == 1
    store.engine.dispose()


ENTRIES: list[Entry] = [
    {
        "id": f"aud_{number}", "time": "2026-11-30T12:00:00+00:00", "actor": "me", "action": action, "kind": "key",
        "name": "é\nx", "before": None, "after": {"a": 1}, "code": "c",
    }
    for number, action in enumerate(("create", "refuse"))
]  # fmt: skip


def test_syslog_over_a_unix_socket_and_udp(tmp_path: Path) -> None:
    """One message for each entry, on one line, with the severity of a warning for what was refused."""
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    remote = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with local, remote:
        local.bind(str(tmp_path / "log"))
        remote.bind(("127.0.0.1", 0))
        for receiver, address in (
            (local, f"unix:{tmp_path}/log"),
            (remote, f"udp://127.0.0.1:{remote.getsockname()[1]}"),
        ):
            receiver.settimeout(20)
            ToSyslog(address).send(ENTRIES)
            for entry, priority in zip(ENTRIES, (109, 108), strict=True):
                message = receiver.recv(65536).decode("ascii")
                head, _, body = message.partition(" audit - ")
                assert head.startswith(f"<{priority}>1 2026-11-30T12:00:00+00:00 ")
                assert "\n" not in message
                assert json.loads(body) == entry
    with pytest.raises(StreamError, match="does not answer"):
        ToSyslog(f"unix:{tmp_path}/none").send(ENTRIES)


def test_syslog_over_tcp() -> None:
    """Messages are counted, so that none runs into the next."""
    found: list[bytes] = []
    over = threading.Event()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            found.append(self.rfile.read())
            over.set()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        ToSyslog(f"tcp://127.0.0.1:{server.server_address[1]}").send(ENTRIES)
        assert over.wait(20)
        server.shutdown()
    rest, messages = found[0], []
    while rest:
        size, _, rest = rest.partition(b" ")
        messages.append(rest[: int(size)])
        rest = rest[int(size) :]
    assert [json.loads(message.partition(b" audit - ")[2]) for message in messages] == ENTRIES


async def test_otlp() -> None:
    """A log record for each entry; a refusal of the backend is told, and nothing is taken for sent."""
    statuses = [503, 200]
    async with serving(lambda asked: Answer(b"", "application/x-protobuf", statuses.pop(0))) as backend:
        destination = ToOtlp(ExportSpec(endpoint=backend.origin), "1", "node")
        with pytest.raises(StreamError, match="503"):
            await asyncio.to_thread(destination.send, ENTRIES)
        await asyncio.to_thread(destination.send, ENTRIES)
        asked: Asked = backend.seen[1]
    assert asked.target == "/v1/logs"
    export = ExportLogsServiceRequest.FromString(gzip.decompress(asked.body))
    records = export.resource_logs[0].scope_logs[0].log_records
    assert [json.loads(record.body.string_value) for record in records] == ENTRIES
    assert [record.severity_text for record in records] == ["INFO", "WARN"]
    assert {pair.key: pair.value.string_value for pair in records[0].attributes}["paig.audit.actor"] == "me"
