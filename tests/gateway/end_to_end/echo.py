"""A provider that gives every request the same answer, or that of a function, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    body: bytes = b'{"ok":true}'
    status: int = 200
    content_type: str = "application/json"


@dataclass
class Echo:
    """What it answers, and what it has seen."""

    base: str = ""
    answer: Answer = field(default_factory=Answer)
    by: Callable[[Asked], Answer | None] = lambda asked: None
    seen: list[Asked] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, path, _ = first.split(" ")
                asked = Asked(method, path, headers, body)
                self.seen.append(asked)
                answer = self.by(asked) or self.answer
                said = f"HTTP/1.1 {answer.status} Echo\r\ncontent-type: {answer.content_type}\r\n"
                writer.write(f"{said}content-length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def running_echo() -> AsyncIterator[Echo]:
    """Run one on a free port."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0, limit=2**26)
    echo.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield echo


def as_json(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(value).encode(), status)
