"""Reads files for batches while they are uploaded, so that their lines are known before a batch is created.

Lines are read in a thread. A file that arrives faster than its lines can be read, or whose lines cannot be read, is
downloaded from the provider when a batch is created from it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakSet

from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats.batches import GEMINI, OPENAI, BatchContent
from paig_gateway.formats.folding import dig
from paig_gateway.formats.references import last_name
from paig_gateway.proxy.batch_lines import LineReader
from paig_gateway.proxy.meter import decode_json
from paig_gateway.routing.candidates import Candidate

log = logging.getLogger(__name__)

AT_ONCE = 256 * 1024
"""Bytes that are read at once."""
MOST_WAITING = 8 * 1024 * 1024
"""The most bytes that wait to be read."""
MOST_READERS = 4
"""The most files that one process reads at once: the lines of one may take hundreds of megabytes."""
UPLOAD_OFFSET = b"x-goog-upload-offset"
"""The header with the position in the file at which a request continues it."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class BatchUpload:
    """Reads one file while it passes; see `uploads.UploadWatcher`.

    Attributes:
        kind: The kind of provider that receives it.
        keep: Stores the lines by the provider's name and the file's id, or removes them (None); blocks.
        readers: The files that are being read in this process; a file whose request ended is removed by itself.
    """

    kind: str
    keep: Callable[[str, str, bytes | None], None]
    readers: WeakSet[BatchUpload]
    _reader: LineReader | None = None
    _purpose: bytes | None = None
    _dropped: bool = False
    _waiting: list[bytes] = field(default_factory=list)
    _size: int = 0
    _reading: asyncio.Task[None] | None = None

    def field(self, name: str, content: bytes) -> None:
        """Take a form field that is not a file. With two purposes the file is not read: the provider may use either."""
        if name == "purpose":
            if self._purpose is not None or content != b"batch":
                self.drop()
            self._purpose = content

    def piece(self, name: str, data: bytes) -> None:
        """Take the next piece of the file; `name` is empty if there is no form."""
        if self._dropped or name not in ("", "file") or not data:
            return
        if self._reader is None:
            if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
                self.drop()
                return
            if len(self.readers) >= MOST_READERS:
                log.info("a file for a batch is not read at its upload: %s others are being read", MOST_READERS)
                self.drop()
                return
            self.readers.add(self)
            self._reader = LineReader(OPENAI if name else GEMINI, BatchContent(), self.kind)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > MOST_WAITING:
            self.drop()
        elif self._reading is None and self._size >= AT_ONCE:
            self._reading = asyncio.create_task(self._read(self._reader))

    async def complete(self) -> None:
        """Read the rest: the whole file has passed."""
        if self._reading is not None:
            await self._reading
        if self._reader is not None and not self._dropped:
            await self._read(self._reader)

    async def answered(self, candidate: Candidate, body: bytes) -> None:
        """Store the file's lines: the provider has accepted it."""
        answer, reader = decode_json(body), self._reader
        id = dig(answer, "id") or dig(answer, "file", "name")
        if not isinstance(id, str):
            self.drop()
            return
        packed: bytes | None = None
        try:
            of_batch = reader is not None and (reader.api is GEMINI or self._purpose == b"batch")
            if reader is not None and of_batch and not self._dropped and candidate.provider.kind == self.kind:
                lines = await asyncio.to_thread(reader.end)
                packed = await asyncio.to_thread(lines.packed) if lines.count else None
        except GatewayError as error:  # the request that creates a batch reads the file again, and reports it
            log.info("a file for a batch is not read at its upload: %s", error.message)
        try:
            await asyncio.to_thread(self.keep, candidate.provider.name, last_name(id), packed)
        except SQLAlchemyError as error:
            log.warning("the lines of a file for a batch could not be stored: %s", type(error).__name__)
        finally:
            self.readers.discard(self)

    async def _read(self, reader: LineReader) -> None:
        while self._waiting and not self._dropped:
            data, self._waiting, self._size = b"".join(self._waiting), [], 0
            try:
                await asyncio.to_thread(reader.feed, data)
            except GatewayError as error:
                log.info("a file for a batch is not read at its upload: %s", error.message)
                self.drop()
        self._reading = None

    def drop(self) -> None:
        self._dropped, self._waiting, self._size, self._reader = True, [], 0, None
        self.readers.discard(self)
