"""One terminal in one browser: relays between its WebSocket and a child process.

From the browser: bytes are keys; text is JSON, first `{"proof", "size"}`, then `{"size"}` or `{"focus"}`. To the
browser: bytes are for the screen; text is JSON, `{"open": url}` or `{"download": key}`. The close code of the WebSocket
tells how the terminal ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NoReturn
from urllib.parse import urlsplit

from textual._binary_encode import load

from paig_tui.web.child import STALL_SECONDS, Child, ChildFailed, Opening

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

EXITED, FAILED, PROTOCOL_ERROR, LOGGED_OUT, FULL = 1000, 1011, 4000, 4001, 4002
"""Close codes: quit; internal failure; protocol error; not logged in; too many terminals."""
HELLO_SECONDS = 10.0
"""Seconds until the browser's first message must arrive."""
CHUNK = 64 * 1024
MAX_DOWNLOADS = 4
MAX_COLUMNS, MAX_ROWS = 1000, 500


class TerminalEnded(Exception):
    """The terminal ended.

    Attributes:
        code: The close code of the WebSocket; None if the browser is gone.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__()
        self.code = code


@dataclass
class Download:
    """A file that the browser downloads from the terminal UI, chunk by chunk.

    Attributes:
        name: The file's name.
        key: The terminal UI's key of it.
        arrived: The requested chunk; an empty one ends the file, None means that the terminal ended.
    """

    name: str
    key: str
    encoding: str
    child: Child
    arrived: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def next(self) -> bytes:
        """The next chunk; an empty one at the end.

        Raises:
            ChildFailed: The terminal UI is gone or does not answer.
        """
        await self.child.tell("deliver_chunk_request", key=self.key, size=CHUNK)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                chunk = await self.arrived.get()
        except TimeoutError as error:
            raise ChildFailed("the download stalled") from error
        if chunk is None:
            raise ChildFailed("the terminal was closed")
        return chunk


@dataclass(frozen=True)
class Hello:
    """The browser's first message."""

    proof: str
    size: tuple[int, int]


async def hello(receive: Receive) -> Hello:
    """Wait for the first message.

    Raises:
        TerminalEnded: It is not valid, or does not come.
    """
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            message = _payload(await receive())
    except TimeoutError:
        raise TerminalEnded(PROTOCOL_ERROR) from None
    content = _json(message) if isinstance(message, str) else None
    if content is None or not isinstance(proof := content.get("proof"), str):
        raise TerminalEnded(PROTOCOL_ERROR)
    return Hello(proof, _size(content.get("size")))


async def run(
    opening: Opening,
    size: tuple[int, int],
    logged_out: asyncio.Event,
    downloads: dict[str, Download],
    receive: Receive,
    send: Send,
) -> str:
    """Run a terminal until either side ends it.

    Args:
        opening: The gateway and token of the child.
        size: Columns and rows.
        logged_out: Set when the browser is logged out.
        downloads: The downloads that can be fetched, by key; filled here.
        receive: Receives from the browser, after `hello`.
        send: Sends to the browser.

    Returns:
        A message for the person who started the server; empty if all went well.
    """
    try:
        child = await Child.start(opening, size)
    except ChildFailed as error:
        await close(send, FAILED)
        return str(error)
    mine: dict[str, Download] = {}
    code: int | None = FAILED
    trouble = ""
    try:
        await _until_one_ends(
            _from_browser(child, receive), _to_browser(child, send, mine, downloads), _until(logged_out)
        )
    except TerminalEnded as end:
        code = end.code
    except ChildFailed as error:
        trouble = str(error)
    finally:
        for key, download in mine.items():
            downloads.pop(key, None)
            download.arrived.put_nowait(None)
        await asyncio.shield(child.close())
    if code is not None:
        await close(send, code)
        if child.returncode and not trouble and code != LOGGED_OUT:
            trouble = f"it ended with {child.returncode}."
    return f"{trouble} {child.last_words}".strip() if trouble else ""


async def _until_one_ends(*parts: Coroutine[Any, Any, NoReturn]) -> None:
    """Run the parts at once until one raises; raise its error here and cancel the others.

    This is not a task group: before Python 3.13, a task group that ends with an error leaves its task's cancellation
    count at one, and Python before 3.11.4 then reports a timeout in that task as a cancellation.
    """
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for task, end in zip(tasks, ends, strict=True):
        if task in done and isinstance(end, BaseException):
            raise end


async def close(send: Send, code: int) -> None:
    """Close the WebSocket, if it is not closed."""
    with contextlib.suppress(OSError):
        await send({"type": "websocket.close", "code": code})


async def _from_browser(child: Child, receive: Receive) -> NoReturn:
    while True:
        message = _payload(await receive())
        if isinstance(message, bytes):
            try:
                message.decode()
            except UnicodeDecodeError:
                raise TerminalEnded(PROTOCOL_ERROR) from None
            await child.type(message)
            continue
        content = _json(message)
        if content is None:
            raise TerminalEnded(PROTOCOL_ERROR)
        if "size" in content:
            width, height = _size(content["size"])
            await child.tell("resize", width=width, height=height)
        if (focus := content.get("focus")) is not None:
            await child.tell("focus" if focus else "blur")


async def _to_browser(child: Child, send: Send, mine: dict[str, Download], downloads: dict[str, Download]) -> NoReturn:
    async for kind, content in child.packets():
        if kind == b"D":
            await _send(send, {"bytes": content})
        elif kind == b"P":
            match load(content):
                case ("deliver_chunk", str(key), str() | bytes() as chunk) if key in mine:
                    arrived = chunk.encode(mine[key].encoding) if isinstance(chunk, str) else chunk
                    mine[key].arrived.put_nowait(arrived)
        else:
            message = json.loads(content)
            if message["type"] == "exit":
                break
            if message["type"] == "open_url" and urlsplit(message["url"]).scheme in ("http", "https"):
                await _send(send, {"text": json.dumps({"open": message["url"]})})
            elif message["type"] == "deliver_file_start" and len(downloads) < MAX_DOWNLOADS:
                key = message["key"]
                name = PurePath(message["path"]).name
                mine[key] = downloads[key] = Download(name, key, message["encoding"] or "utf-8", child)
                await _send(send, {"text": json.dumps({"download": key})})
    raise TerminalEnded(EXITED)


async def _until(logged_out: asyncio.Event) -> NoReturn:
    await logged_out.wait()
    raise TerminalEnded(LOGGED_OUT)


async def _send(send: Send, content: dict[str, object]) -> None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await send({"type": "websocket.send", **content})
    except OSError:  # a browser that reads nothing counts as disconnected
        raise TerminalEnded(None) from None


def _payload(event: dict[str, Any]) -> str | bytes:
    if event["type"] != "websocket.receive":
        raise TerminalEnded(None)
    text: str | None = event.get("text")
    data: bytes | None = event.get("bytes")
    return text if text is not None else data or b""


def _json(text: str) -> dict[str, object] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _size(value: object) -> tuple[int, int]:
    match value:
        case [int(columns), int(rows)] if 0 < columns <= MAX_COLUMNS and 0 < rows <= MAX_ROWS:
            return columns, rows
    raise TerminalEnded(PROTOCOL_ERROR)
