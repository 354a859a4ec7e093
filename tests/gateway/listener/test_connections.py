"""What a stranger may send before anything is allocated for it, and for how long."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from contextlib import AsyncExitStack

import pytest

from paig_gateway.listener.connections import MAX_PIPELINED, RESERVE, ListenerBounds
from tests.gateway.end_to_end.waiting import until
from tests.gateway.listener.serving import GET, Served, code, serving

pytestmark = pytest.mark.anyio

POST = b"POST /a HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    ("first", "unit", "expected"),
    [
        (GET[:-2], b"x-a: " + b"b" * 1000 + b"\r\n", (431, "headers-too-large")),
        (GET[:-2] + b"x-a: ", b"b" * 1000, (431, "headers-too-large")),
        (GET[:-2], b"b" * 1000, (431, "headers-too-large")),
        (GET[:-2], b"a:\r\n" * 50, (431, "headers-too-large")),
        (b"GET /", b"b" * 1000, (414, "target-too-long")),
        (b"", b"\r\n" * 500, (431, "headers-too-large")),
        (b"", b"B" * 1000, (400, "bad-request")),
    ],
    ids=["many fields", "one value", "one name", "small fields", "target", "blank lines", "method"],
)
async def test_endless_head(first: bytes, unit: bytes, expected: tuple[int, str]) -> None:
    """An endless head is refused near its bound, and the client can read why."""
    async with serving() as served, await served.connect() as client:
        await client.send(first)
        reading = asyncio.create_task(client.rest())
        sent = 0
        while not reading.done() and sent < 4_000_000:
            await client.send(unit * 64)
            sent += len(unit) * 64
            await asyncio.sleep(0)
        assert code(await reading) == expected
        assert served.app.seen == []


async def test_headers_cost_no_memory() -> None:
    """60 MB of one header's value from a stranger cost less than 1 MB."""

    def stranger(port: int) -> int:
        sent = 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            try:
                client.sendall(GET[:-2] + b"x-a: ")
                while sent < 60_000_000:
                    client.sendall(b"b" * 100_000)
                    sent += 100_000
            except OSError:
                pass
        return sent

    async with serving() as served:
        await asyncio.to_thread(stranger, served.port)  # what is allocated once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            await asyncio.to_thread(stranger, served.port)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024
        assert code(await served.ask(b"GET /a HTTP/1.1\r\nconnection: close\r\n\r\n"))[0] == 200


async def test_the_bounds_are_exact() -> None:
    """A head that just fits passes; one byte or field more does not."""
    bounds = ListenerBounds(header_bytes=1000, header_fields=10, target_bytes=100)

    def head(value: int = 0, fields: int = 2, target: int = 10) -> bytes:
        lines = [b"GET /" + b"t" * (target - 1) + b" HTTP/1.1", b"connection: close"]
        return b"\r\n".join([*lines, b"v: " + b"v" * value, *[b"f: f"] * (fields - 2), b"", b""])

    async with serving(bounds) as served:
        fits = 1000 - len(b"connectionclosev")
        for data, expected in (
            (head(value=fits), (200, "")),
            (head(value=fits + 1), (431, "headers-too-large")),
            (head(fields=10), (200, "")),
            (head(fields=11), (431, "headers-too-large")),
            (head(target=100), (200, "")),
            (head(target=101), (414, "target-too-long")),
        ):
            assert code(await served.ask(data)) == expected, data
            for byte in range(0, len(data), 97):  # however it is cut
                async with await served.connect() as client:
                    await client.send(data[:byte])
                    await asyncio.sleep(0.001)
                    await client.send(data[byte:])
                    assert code(await client.rest()) == expected, (data, byte)


async def test_trailers_are_not_headers() -> None:
    """Fields after a chunked body are dropped; too many bytes of them are refused."""
    chunked = POST + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    async with serving() as served, await served.connect() as client:
        await client.send(chunked + b"authorization: Bearer z\r\nx-paig-run: r\r\n\r\n")
        assert code(await client.answer()) == (200, "")
        await client.send(GET)
        assert code(await client.answer()) == (200, "")
        assert [name for name, _ in served.app.seen[0]["headers"]] == [b"host", b"transfer-encoding"]
        assert served.app.seen[0]["body"] == b"abc"
        extension = chunked.removesuffix(b"\r\n0\r\n") + b"\r\n3;"
        cases = ((chunked, b"x: " + b"y" * 1000), (chunked, b"x: y\r\n" * 200), (extension, b"e" * 1000))
        for begin, endless in cases:
            async with await served.connect() as other:
                await other.send(begin)
                reading = asyncio.create_task(other.rest())
                for _ in range(200):
                    await other.send(endless)
                    await asyncio.sleep(0)
                assert code(await reading) == (431, "headers-too-large")


async def test_too_slow_a_head() -> None:
    """A head that does not end in time is refused, however busily it trickles; a whole one is not."""
    async with serving(ListenerBounds(header_seconds=1.0)) as served, AsyncExitStack() as stack:
        idle, slow, silent = [await stack.enter_async_context(await served.connect()) for _ in range(3)]
        await slow.send(GET[:-2])
        await silent.send(b"G")
        await idle.send(GET)
        await idle.answer()
        started = time.monotonic()
        reading = asyncio.create_task(slow.rest())
        while not reading.done():
            await slow.send(b"a: b\r\n")
            await asyncio.sleep(0.1)
        assert code(await reading) == (408, "too-slow")
        assert 0.9 < time.monotonic() - started < 10
        assert code(await silent.rest()) == (408, "too-slow")
        assert await idle.is_open()


async def test_idle_connections_are_closed() -> None:
    """Before a first byte, and after an answer, a connection is closed in time; one that waits for an answer is not."""
    async with serving(ListenerBounds(idle_seconds=0.5, keep_alive_seconds=1.0)) as served, AsyncExitStack() as stack:
        silent, served_once, waiting = [await stack.enter_async_context(await served.connect()) for _ in range(3)]
        await served_once.send(GET)
        await served_once.answer()
        await waiting.send(b"GET /wait HTTP/1.1\r\n\r\n")
        started = time.monotonic()
        assert await silent.rest() == b""
        assert await served_once.rest() == b""
        assert time.monotonic() - started < 5
        assert await waiting.is_open()
        served.app.go.set()
        assert code(await waiting.answer()) == (200, "")


async def test_too_slow_a_body() -> None:
    """A body is refused once it arrives below the rate; a slow one that keeps it passes."""
    bounds = ListenerBounds(body_seconds=1.0, body_rate=1000)
    async with serving(bounds) as served, await served.connect() as slow, await served.connect() as steady:
        for client in (slow, steady):
            await client.send(POST + b"content-length: 40000\r\n\r\n")
        reading = asyncio.create_task(slow.rest())
        sent = 0
        while sent < 40_000:
            if not reading.done():
                await slow.send(b"a" * 10)
            await steady.send(b"a" * 4000)  # far above the rate, however late the next
            sent += 4000
            await asyncio.sleep(0.12)
        assert code(await steady.answer()) == (200, "")
        assert code(await reading) == (408, "too-slow")
        assert served.app.ends == ["disconnect"]


async def test_a_full_listener_drops_the_oldest_without_a_head() -> None:
    """Idle strangers keep no client out, and do not cut off one that is served."""
    async with serving(ListenerBounds(max_connections=20)) as served, AsyncExitStack() as stack:
        busy = await stack.enter_async_context(await served.connect())
        await busy.send(b"GET /wait HTTP/1.1\r\n\r\n")
        strangers = [await stack.enter_async_context(await served.connect()) for _ in range(60)]
        for stranger in strangers[::2]:
            await stranger.send(b"GET /healthz HTTP/1.1\r\nx-slow: ")
        assert code(await served.ask(b"GET /a HTTP/1.1\r\nconnection: close\r\n\r\n")) == (200, "")
        assert served.open <= 21
        assert not await strangers[0].is_open()
        assert await strangers[-1].is_open()
        served.app.go.set()
        assert code(await busy.answer()) == (200, "")


async def test_the_reserve_is_for_probes() -> None:
    """Where all connections are being served, the probes still answer, and all else is told to come back."""
    async with serving(ListenerBounds(max_connections=5)) as served, AsyncExitStack() as stack:
        for _ in range(5):
            client = await stack.enter_async_context(await served.connect())
            await client.send(b"GET /wait HTTP/1.1\r\n\r\n")
        await until(lambda: len(served.app.seen) == 5)
        for path, expected in ((b"/healthz", (200, "")), (b"/readyz", (200, "")), (b"/a", (503, "overloaded"))):
            answer = await served.ask(b"GET %b HTTP/1.1\r\nconnection: close\r\n\r\n" % path)
            assert code(answer) == expected
            assert (b"retry-after: 1" in answer) == (path == b"/a")
        # The reserve itself cannot be filled for good.
        for _ in range(2 * RESERVE):
            await stack.enter_async_context(await served.connect())
        assert code(await served.ask(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")) == (200, "")
        assert served.open <= 5 + RESERVE


async def test_pipelining_is_bounded() -> None:
    """Requests sent ahead are answered in order, up to a number; a flood of them ends the connection."""
    async with serving() as served, await served.connect() as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(MAX_PIPELINED)))
        for number in range(MAX_PIPELINED):
            assert b'"path": "/%d"' % number in await client.answer()
        await client.send(b"GET /wait HTTP/1.1\r\n\r\n" + b"GET /b HTTP/1.1\r\n\r\n" * 5000)
        assert await client.rest() == b""


async def test_a_client_that_does_not_read_is_dropped() -> None:
    """A client that does not read its answer is closed after a while."""
    async with serving(ListenerBounds(write_seconds=1.0)) as served, await served.connect() as client:
        await client.send(b"GET /stream?count=10000 HTTP/1.1\r\n\r\n")
        await until(lambda: served.open == 1)
        await until(lambda: served.open == 0)


async def test_clients_that_leave_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Half a head, half a body, half an answer: nothing stays, nothing is logged."""
    async with serving() as served:
        for data in (b"GET", POST + b"content-length: 5\r\n\r\nab", b"GET /wait HTTP/1.1\r\n\r\n", b"\0\1"):
            async with await served.connect() as client:
                await client.send(data)
                await asyncio.sleep(0.05)
        served.app.go.set()
        await until(lambda: served.open == 0 and not served.server.server_state.tasks)
    assert caplog.records == []


async def test_tables_are_empty_at_the_end() -> None:
    """No table keeps a connection that is closed."""
    async with serving(ListenerBounds(max_connections=10)) as served:
        await churn(served)
        await until(lambda: served.open == 0)
        table = served.app.connections
        kept = [name for name, value in vars(table).items() if isinstance(value, dict | set) and value]
        assert kept in ([], ["refused"])


async def churn(served: Served) -> None:
    """Many connections of all kinds."""
    for number in range(60):
        async with await served.connect() as client:
            await client.send((GET, GET[:-2], b"", POST + b"content-length: 9\r\n\r\n", b"!")[number % 5])
            await asyncio.sleep(0.005)
