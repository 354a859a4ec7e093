"""One terminal in one browser: what comes through its WebSocket goes to a child, and what that shows goes back.

From the browser: bytes are keys; text is JSON, first `{"proof", "size"}`, then `{"size"}` or `{"focus"}`. To the
browser: bytes are for the screen; text is JSON, `{"open": url}` or `{"download": key}`. How it ended is told by the
WebSocket's code.
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

from paig_tui.web.child import STUCK, Child, ChildFailed, Opening

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

EXITED, FAILED, MISSPOKEN, LOGGED_OUT, FULL = 1000, 1011, 4000, 4001, 4002
"""The WebSocket's codes: quit; a failure of ours; not this protocol; no login (any more); too many terminals."""
HELLO_BOUND = 10.0
"""Seconds until the browser must have said what it is."""
CHUNK = 64 * 1024
MAX_DOWNLOADS = 4
MAX_COLUMNS, MAX_ROWS = 1000, 500


class TerminalEnded(Exception):
    """The terminal is at its end.

    Attributes:
        code: What to close the WebSocket with; None if the browser has gone.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__()
        self.code = code


@dataclass
class Download:
    """A file that the terminal UI gives to the browser, chunk by chunk as it is asked for.

    Attributes:
        name: The file's.
        key: What the terminal UI calls it.
        encoding: Of text.
        arrived: The chunk that was asked for; an empty one is the end, None is the end of the terminal.
    """

    name: str
    key: str
    encoding: str
    child: Child
    arrived: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def next(self) -> bytes:
        """The next chunk; an empty one at the end.

        Raises:
            ChildFailed: The terminal UI is gone, or gives nothing.
        """
        await self.child.tell("deliver_chunk_request", key=self.key, size=CHUNK)
        try:
            async with asyncio.timeout(STUCK):
                chunk = await self.arrived.get()
        except TimeoutError as error:
            raise ChildFailed("the download came to a halt") from error
        if chunk is None:
            raise ChildFailed("the terminal was closed")
        return chunk


@dataclass(frozen=True)
class Hello:
    """What a browser says first."""

    proof: str
    size: tuple[int, int]


async def hello(receive: Receive) -> Hello:
    """Wait for the first message.

    Raises:
        TerminalEnded: It is not valid, or does not come.
    """
    try:
        async with asyncio.timeout(HELLO_BOUND):
            message = _said(await receive())
    except TimeoutError:
        raise TerminalEnded(MISSPOKEN) from None
    content = _json(message) if isinstance(message, str) else None
    if content is None or not isinstance(proof := content.get("proof"), str):
        raise TerminalEnded(MISSPOKEN)
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
        opening: For the child.
        size: Columns and rows.
        logged_out: Set when its browser is logged out.
        downloads: Where to put downloads, by key, while they can be had.
        receive: From the browser, after `hello`.
        send: To the browser.

    Returns:
        What to tell the person who started the server; empty if all went well.
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
    """Run the parts side by side until one raises, which is raised here; the others are cancelled.

    Not a task group: one that ends by an error leaves its task's count of cancellations at one (until Python 3.13), and
    Python before 3.11.4 then takes a timeout in that task for a cancellation.
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
        message = _said(await receive())
        if isinstance(message, bytes):
            try:
                message.decode()
            except UnicodeDecodeError:
                raise TerminalEnded(MISSPOKEN) from None
            await child.type(message)
            continue
        content = _json(message)
        if content is None:
            raise TerminalEnded(MISSPOKEN)
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
            said = json.loads(content)
            if said["type"] == "exit":
                break
            if said["type"] == "open_url" and urlsplit(said["url"]).scheme in ("http", "https"):
                await _send(send, {"text": json.dumps({"open": said["url"]})})
            elif said["type"] == "deliver_file_start" and len(downloads) < MAX_DOWNLOADS:
                key = said["key"]
                name = PurePath(said["path"]).name
                mine[key] = downloads[key] = Download(name, key, said["encoding"] or "utf-8", child)
                await _send(send, {"text": json.dumps({"download": key})})
    raise TerminalEnded(EXITED)


async def _until(logged_out: asyncio.Event) -> NoReturn:
    await logged_out.wait()
    raise TerminalEnded(LOGGED_OUT)


async def _send(send: Send, content: dict[str, object]) -> None:
    try:
        async with asyncio.timeout(STUCK):
            await send({"type": "websocket.send", **content})
    except OSError:  # a browser that takes nothing counts as gone
        raise TerminalEnded(None) from None


def _said(event: dict[str, Any]) -> str | bytes:
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
    raise TerminalEnded(MISSPOKEN)
