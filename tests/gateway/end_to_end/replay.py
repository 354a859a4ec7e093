"""A provider that answers with what it is told, byte for byte, over real sockets; and notes what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw: bytes


@dataclass
class Replay:
    """What the next requests are answered with.

    Attributes:
        pieces: The body, cut as it is to be sent.
        cut: Break the connection off after the pieces, in mid-answer.
        gate: Wait for this before the answer's last piece.
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    pieces: Sequence[bytes] = ()
    cut: bool = False
    silent: bool = False
    gate: asyncio.Event | None = None
    asked: list[Asked] = field(default_factory=list)
    base: str = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append(Asked(method, target, headers, body, head + body))
                if self.silent:
                    break
                await self._answer(writer)
                if self.cut:
                    break
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {self.status} Recorded", *(f"{name}: {value}" for name, value in self.headers)]
        writer.write("\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode())
        for number, piece in enumerate(self.pieces):
            if self.gate is not None and number == len(self.pieces) - 1:
                await self.gate.wait()
            if piece:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
                # A pause lets the piece travel by itself.
                await asyncio.sleep(0)
        if not self.cut:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


@contextlib.asynccontextmanager
async def running_replay() -> AsyncIterator[Replay]:
    """A replaying provider on a free port for as long as the context lasts."""
    replay = Replay()
    server = await asyncio.start_server(replay._serve, "127.0.0.1", 0, limit=2**24)
    replay.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield replay
