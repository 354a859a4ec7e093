"""One child process that runs the terminal UI, and the packets of Textual's web driver.

A packet is a kind (`D`: terminal output or input, `M`: JSON, `P`: a chunk of a download), four bytes of length, and the
content. Writes wait while the pipe is full, so a slow browser delays only its own child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field

STARTED = b"__GANGLION__\n"
"""The driver's first output."""
START_SECONDS = 20.0
"""Seconds that a start may take."""
STALL_SECONDS = 30.0
"""Seconds without progress after which a child or a browser counts as failed."""
GRACE_SECONDS = 2.0
"""Seconds that a child has to end by itself."""
MAX_PACKET = 16 * 1024 * 1024
_TAIL = 4000

COMMAND = (sys.executable, "-P", "-m", "paig_tui.web.inside")
"""No shell, and no input of a browser. `-P` keeps modules of the current folder out."""
INHERITED = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "PYTHONHOME"),
    *("SYSTEMROOT", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "TEMP", "TMP", "XDG_DATA_HOME"),
    *("PAIG_HOME", "PAIG_THEME", "PAIG_TRACE_URL", "NO_COLOR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""All variables that a child inherits. None of them may hold a secret."""
SENT_BY_PIPE = tuple(
    name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())
)
"""Variables that may hold a password: sent through the pipe, as the token is."""


class ChildFailed(Exception):
    """The child did not start, or broke the protocol."""


@dataclass(frozen=True)
class Opening:
    """The gateway that the terminal UI connects to.

    Attributes:
        url: The gateway's root address.
        profile: The profile of the gateway; empty if its address did not come from a profile.
        read_only: Whether changes are refused.
    """

    url: str
    token: str = field(repr=False)
    profile: str = ""
    read_only: bool = False


def environment(ours: Mapping[str, str], size: tuple[int, int]) -> dict[str, str]:
    """The environment of a child; `size` is its terminal's."""
    return {
        **{name: ours[name] for name in INHERITED if name in ours},
        "TEXTUAL_DRIVER": "paig_tui.web.driver:Driver",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "COLUMNS": str(size[0]),
        "ROWS": str(size[1]),
    }


class Child:
    """A child process; made by `Child.start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._in, self._out, self._err = process.stdin, process.stdout, process.stderr
        self._tail = b""
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, opening: Opening, size: tuple[int, int]) -> Child:
        """Start a child.

        Raises:
            ChildFailed: It ended at once, or took too long.
        """
        pipe = asyncio.subprocess.PIPE
        # A session of its own, so that Ctrl+C in this terminal does not reach the child.
        child = cls(
            await asyncio.create_subprocess_exec(
                *COMMAND,
                env=environment(os.environ, size),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        )
        told = {name: os.environ[name] for name in SENT_BY_PIPE if name in os.environ}
        try:
            async with asyncio.timeout(START_SECONDS):
                await child._write(b"", json.dumps({**asdict(opening), "environment": told}).encode())
                await child._out.readuntil(STARTED)
        except BaseException as error:
            await child.close()
            if isinstance(error, (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError)):
                raise ChildFailed(f"it did not start. {child.last_words}") from error
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of its standard error."""
        return self._tail.decode("utf-8", "replace").strip()

    @property
    def returncode(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.returncode

    async def packets(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """The packets that it writes (kind and content), until it ends.

        Raises:
            ChildFailed: A packet is too long.
        """
        while True:
            try:
                head = await self._out.readexactly(5)
                size = int.from_bytes(head[1:], "big")
                if size > MAX_PACKET:
                    raise ChildFailed(f"it sent a packet of {size} bytes, which is too long")
                content = await self._out.readexactly(size)
            except asyncio.IncompleteReadError:
                return
            yield head[:1], content

    async def type(self, keys: bytes) -> None:
        """Send keys.

        Raises:
            ChildFailed: The child does not read.
        """
        await self._write(b"D", keys)

    async def tell(self, kind: str, **content: object) -> None:
        """Send a message to the driver.

        Raises:
            ChildFailed: The child does not read.
        """
        await self._write(b"M", json.dumps({"type": kind, **content}).encode())

    async def close(self) -> None:
        """End the child: close the pipe, and kill it if it does not end."""
        self._in.close()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while await self._out.read(65536):  # it may be waiting to be read
                    pass
                await self._process.wait()
        except TimeoutError:
            self.kill()
        await self._process.wait()
        await self._listening
        self._process._transport.close()  # type: ignore[attr-defined]  # the pipes, before the loop is

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    async def _write(self, kind: bytes, content: bytes) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                self._in.write(kind + len(content).to_bytes(4, "big") + content)
                await self._in.drain()
        except TimeoutError as error:
            raise ChildFailed("it no longer reads its input") from error
        except OSError as error:
            raise ChildFailed("it has ended") from error

    async def _listen(self) -> None:
        while part := await self._err.read(4096):
            self._tail = (self._tail + part)[-_TAIL:]
