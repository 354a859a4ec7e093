"""An answer that arrives without a break lets the event loop do other work."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import threading

import pytest

from paig_gateway.proxy.upstream import Upstream

FEW_READS = 1 << 20
"""Bytes of some bursts of 64 KB and a read each: without a pause, the loop takes eight times as many at once."""
SIZE = 32 * 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE


def serve(listener: socket.socket) -> None:
    """Answer one request as fast as the client takes it, from a thread of its own."""
    connection, _ = listener.accept()
    with connection:
        while not connection.recv(65536).endswith(b"\r\n\r\n"):
            pass
        connection.sendall(HEAD)
        piece = bytes(1 << 20)
        for _ in range(SIZE >> 20):
            connection.sendall(piece)


async def most_between_turns(listener: socket.socket) -> tuple[int, int]:
    """Bytes of the answer in all, and the most of them that came between two turns of another task."""
    loop = asyncio.get_running_loop()
    taken = before = most = 0

    def take(data: bytes) -> None:
        nonlocal taken
        taken += len(data)

    def turn() -> None:
        nonlocal before, most, handle
        most, before = max(most, taken - before), taken
        handle = loop.call_soon(turn)

    handle = loop.call_soon(turn)
    async with Upstream() as upstream:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        response = await upstream.send("GET", url, [], None)
        await response.pump(take)
    handle.cancel()
    return taken, most


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="no uvloop on this platform")
def test_other_work_has_its_turn_after_64_kb() -> None:
    """Uvloop goes on reading for as long as the socket has data; the gateway does not."""
    import uvloop

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        taken, most = uvloop.run(most_between_turns(listener))
        server.join()
    assert taken == SIZE
    assert most <= FEW_READS
