"""Backends of telemetry that are slow, full, picky or dead: no request waits for one, and what is lost is counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from email.utils import formatdate
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from paig_client.api.specs import ExportSpec
from paig_gateway import observability
from paig_gateway.simulator.app import Simulator
from paig_gateway.telemetry.metrics.registry import Numbers
from paig_gateway.telemetry.otlp import exporter, transport
from paig_gateway.telemetry.otlp.metrics_push import Push
from paig_gateway.telemetry.traces import recorder
from tests.gateway.end_to_end.conftest import World
from tests.gateway.telemetry.conftest import Scraped, scrape, value
from tests.gateway.telemetry.otlp import Answer, Receiver, no_backend, over_grpc, over_http, until
from tests.gateway.telemetry.test_projects import key_of
from tests.gateway.telemetry.test_traces import ask, traced

pytestmark = pytest.mark.anyio


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the log says of exports, as it grows."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Keep()
    logging.getLogger(exporter.__name__).addHandler(handler)
    yield lines
    logging.getLogger(exporter.__name__).removeHandler(handler)


def lost(scraped: Scraped, reason: str, destination: str = "all") -> float:
    """Records that no backend got."""
    return value(scraped, "paig_telemetry_dropped_total", destination=destination, reason=reason)


async def settled(world: World, destination: str = "all", **wanted: float) -> Scraped:
    """The metrics, once as many records were exported and lost as wanted."""
    async with asyncio.timeout(30):
        while True:
            scraped = await scrape(world)
            found = {reason: lost(scraped, reason, destination) for reason in ("queue", "export")}
            found["exported"] = value(scraped, "paig_telemetry_exported_total", destination=destination)
            if all(found[name] == count for name, count in wanted.items()):
                return scraped
            await asyncio.sleep(0.02)


async def test_a_backend_that_never_answers_delays_no_request(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered while their spans and the metrics wait; the gateway's end waits for neither."""
    monkeypatch.setattr(exporter, "CLOSE_SECONDS", 1.0)
    async with no_backend() as url:
        to = {"endpoint": url}
        async with traced(tmp_path, Simulator(), export=to, export_metrics=to) as world:
            keys = [await key_of(world, f"project {number}", {"export": to}) for number in range(4)]
            began = time.monotonic()
            answers = await asyncio.gather(*(ask(world, key=key) for key in (*keys, world.key) for _ in range(8)))
            took = time.monotonic() - began
            assert {answer.status_code for answer in answers} == {200}
            scraped = await scrape(world)
            assert value(scraped, "paig_telemetry_exported_total") == 0
            assert value(scraped, "paig_telemetry_dropped_total") == 0, "they still wait, or are on their way"
            ended = time.monotonic()
        # Six threads hang; their ends are waited for together, not one after another.
        assert time.monotonic() - ended < 5.5
    assert took < transport.SEND_SECONDS


async def test_a_full_queue_drops_what_is_new(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """More requests than may wait for a backend that hangs are answered all the same, and counted; told of once."""
    monkeypatch.setattr(exporter, "CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(observability, "MOST_QUEUED", 3)
    monkeypatch.setattr(observability, "BATCH", 1)
    async with no_backend() as url, traced(tmp_path, Simulator(), export={"endpoint": url}) as world:
        assert (await ask(world)).status_code == 200
        await until_on_the_way(world)
        for _ in range(8):
            assert (await ask(world)).status_code == 200
        scraped = await settled(world, queue=5)
        assert value(scraped, "paig_telemetry_queue_depth", destination="all") == 3
    assert told == ["traces for 'all' are dropped, 1 so far: it takes them too slowly"]


async def test_many_that_wait_go_without_their_content(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents need memory, so only some waiting records keep theirs; the others are counted."""
    monkeypatch.setattr(exporter, "CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(recorder, "MOST_CONTENTS", 2)
    monkeypatch.setattr(observability, "BATCH", 1)
    async with no_backend() as url, traced(tmp_path, Simulator(), export={"endpoint": url}, content=True) as world:
        assert (await ask(world)).status_code == 200
        await until_on_the_way(world)
        for _ in range(5):
            assert (await ask(world)).status_code == 200
        async with asyncio.timeout(30):
            scraped = await scrape(world)
            while value(scraped, "paig_telemetry_queue_depth", destination="all") < 5:
                scraped = await scrape(world)
        assert lost(scraped, "content") == 3
        assert lost(scraped, "queue") == 0


async def until_on_the_way(world: World) -> None:
    """Wait until nothing is queued: the first batch has been taken by the thread."""
    async with asyncio.timeout(30):
        waiting = 1.0
        while waiting:
            waiting = value(await scrape(world), "paig_telemetry_queue_depth", destination="all")


UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


DUE = 2
PUT_OFF = {
    "503": (Answer(503), 0.0, "503"),
    "503 with seconds": (Answer(503, {"retry-after": "1"}), 1.0, "503"),
    "429 with a date": (Answer(429, {"retry-after": "DATE"}), 0.0, "429"),
    "429 with nonsense": (Answer(429, {"retry-after": "soon"}), 0.0, "429"),
    "gRPC unavailable": (Answer(code=UNAVAILABLE), 0.0, "UNAVAILABLE"),
    "gRPC exhausted, with a pause": (Answer(code=EXHAUSTED, pause=0.6), 0.6, "RESOURCE_EXHAUSTED"),
}


async def test_what_is_put_off_is_sent_again(environment: None, tmp_path: Path, told: list[str]) -> None:
    """A backend that cannot take it now is asked again, not sooner than it says; nothing is lost, nothing doubled."""
    due = int(time.time()) + DUE

    async def deliver(world: World, name: str) -> None:
        answer, pause, why = PUT_OFF[name]
        dated = answer.headers.get("retry-after") == "DATE"
        if dated:
            answer = Answer(429, {"retry-after": formatdate(due, usegmt=True)})
        with receiving(answer) as receiver:
            key = await key_of(world, name, {"export": {"endpoint": receiver.url, "to": spoken(answer)}})
            assert (await ask(world, key=key)).status_code == 200
            await receiver.wait(2)
            refused, taken = receiver.times
            assert taken - refused >= pause
            assert receiver.refused == 1
            assert time.time() >= (due - 0.1 if dated else 0)
            await settled(world, f"project {name}", exported=1, export=0, queue=0)
            assert len(receiver.spans) == 2
            lines = [line for line in told if f"'project {name}'" in line]
            assert lines == [
                f"traces cannot be delivered to 'project {name}': it answered {why}",
                f"traces are delivered again to 'project {name}'",
            ]

    async with traced(tmp_path, Simulator()) as world, asyncio.TaskGroup() as group:
        for name in PUT_OFF:
            group.create_task(deliver(world, name))


REFUSED = {
    "400": Answer(400),
    "401": Answer(401),
    "a redirect, which is not followed": Answer(308, {"location": "http://127.0.0.1:9/"}),
    "gRPC invalid": Answer(code=grpc.StatusCode.INVALID_ARGUMENT),
    "gRPC exhausted, and no word of a pause": Answer(code=EXHAUSTED),
}


async def test_what_is_refused_is_lost_counted_and_told_once(
    environment: None, tmp_path: Path, told: list[str]
) -> None:
    """A backend that will not have it is not asked again; the log has one line of it, and one when it works again."""

    async def deliver(world: World, name: str, answer: Answer) -> None:
        with receiving(answer, answer) as receiver:
            key = await key_of(world, name, {"export": {"endpoint": receiver.url, "to": spoken(answer)}})
            for number in range(2):
                assert (await ask(world, key=key)).status_code == 200
                await settled(world, f"project {name}", export=number + 1)
            assert (await ask(world, key=key)).status_code == 200
            await settled(world, f"project {name}", export=2, exported=1)
        said = answer.status if spoken(answer) == "otlp-http" else answer.code.name
        assert [line for line in told if f"'project {name}'" in line] == [
            f"traces cannot be delivered to 'project {name}': it answered {said}",
            f"traces are delivered again to 'project {name}'",
        ]

    async with traced(tmp_path, Simulator()) as world, asyncio.TaskGroup() as group:
        for name, answer in REFUSED.items():
            group.create_task(deliver(world, name, answer))


def spoken(answer: Answer) -> str:
    """What a backend speaks that answers so."""
    return "otlp-http" if answer.code is grpc.StatusCode.OK else "otlp-grpc"


def receiving(*answers: Answer) -> AbstractContextManager[Receiver]:
    """A backend that answers the first exports so."""
    return over_http(*answers) if spoken(answers[0]) == "otlp-http" else over_grpc(*answers)


async def test_nothing_listens_there(environment: None, tmp_path: Path, told: list[str]) -> None:
    """Where no connection can be made, it is tried some times, then given up and counted; the address is not told."""
    async with traced(tmp_path, Simulator(), export={"endpoint": "http://127.0.0.1:9"}) as world:
        assert (await ask(world)).status_code == 200
        await settled(world, export=1)
    assert told == ["traces cannot be delivered to 'all': ConnectError"]


async def test_what_a_backend_rejects_of_an_export_is_told(environment: None, tmp_path: Path, told: list[str]) -> None:
    """A backend that keeps some spans and not others says so, and is heard."""
    partly = ExportTraceServiceResponse()
    partly.partial_success.rejected_spans, partly.partial_success.error_message = 1, "too old"
    with over_http(Answer(body=partly.SerializeToString()), Answer(body=b"OK, thank you")) as receiver:
        async with traced(tmp_path, Simulator(), export={"endpoint": receiver.url}) as world:
            assert (await ask(world)).status_code == 200
            await settled(world, export=1)
            assert (await ask(world)).status_code == 200
            await settled(world, export=1, exported=1)
    assert told == ["'all' rejects 1 parts of the traces: too old"]


async def test_metrics_that_a_backend_does_not_take_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one reading is on its way and one waits, further ones are dropped: the next that arrives has it all."""
    monkeypatch.setattr(exporter, "CLOSE_SECONDS", 0.3)
    async with no_backend() as url:
        push = Push(ExportSpec(endpoint=url), 0.02, Numbers, version="1", instance="node")
        pushing = asyncio.create_task(push.run())
        await until(lambda: push.destination.dropped >= 3 and push.destination.waiting == 1)
        pushing.cancel()
        began = time.monotonic()
        await push.stop()
        assert time.monotonic() - began < 5.0
    assert push.destination.exported == 0


async def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that never stops answering does not keep the thread."""
    monkeypatch.setattr(transport, "SEND_SECONDS", 0.3)
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        gone.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        sender = transport.OverHttp(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/traces", {})
        began = time.monotonic()
        verdict = await asyncio.to_thread(sender.send, b"")
        assert time.monotonic() - began < 5.0
        sender.close()
        await gone.wait()
    assert verdict.taken
