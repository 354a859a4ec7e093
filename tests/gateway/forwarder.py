"""A forwarder of TCP connections that can fall silent: it acknowledges, and passes nothing on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit


class Forwarder:
    """Passes connections on to PostgreSQL's socket in the file system.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    port = 0

    def __init__(self, url: str) -> None:
        """Pass on to the server of a URL with a socket folder."""
        parts = urlsplit(url)
        self._path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._name = parts.path.strip("/")
        self._open: dict[asyncio.Task[None], asyncio.Event] = {}

    def url(self, host: str = "127.0.0.1") -> str:
        """The URL of the same database through this forwarder."""
        return f"postgresql+psycopg://postgres@{host}:{self.port}/{self._name}"

    def silence(self) -> None:
        """Pass nothing more on in the present connections, and keep them open; new ones work."""
        for silent in self._open.values():
            silent.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Forwarder]:
        """Listen for as long as the context lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            tasks = list(self._open)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._path)
        silent = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = silent

        async def pass_on(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if not silent.is_set():
                        into.write(data)
                        await into.drain()
            into.close()

        try:
            with suppress(asyncio.CancelledError):
                await asyncio.gather(pass_on(client, to_server), pass_on(server, to_client))
        finally:
            del self._open[task]
            for writer in (to_client, to_server):
                writer.transport.abort()
