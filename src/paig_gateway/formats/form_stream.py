"""Forms that are read as they pass: the fields of a `multipart/form-data` body of any size, with bounded memory.

The rule is that of `form.check`: a form that two parsers could read differently is refused. Its end comes last, so what
is refused here must not have reached the provider whole.
"""

from __future__ import annotations

from typing import Protocol

from paig_gateway.formats.ambiguity import check_names
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.form import boundary_of, check_number, check_repeated, part_name

LARGEST_HEAD = 16 * 1024
"""Bytes of the headers of one part."""

LARGEST_FIELD = 1024 * 1024
"""The most bytes of a field that is not a file."""


class FormReader(Protocol):
    """Gets the parts of a form, in their order."""

    def field(self, name: str, content: bytes) -> None:
        """A whole field that is not a file."""

    def piece(self, name: str, data: bytes) -> None:
        """The next piece of a file's content."""


class FormScanner:
    """Reads one form; `feed` its bytes, then `end`."""

    def __init__(self, content_type: bytes, reader: FormReader) -> None:
        """Take the request's content type.

        Raises:
            MalformedRequest: It does not name a boundary, or in a way that parsers read differently.
        """
        self._boundary = b"--" + boundary_of(content_type)
        self._reader = reader
        self._buffer = bytearray()
        self._step = self._first
        self._names: list[str] = []
        self._name = ""
        self._field: bytearray | None = None
        self._closed = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            MalformedRequest: They do not continue a form that every parser reads alike.
        """
        self._buffer += data
        while self._step():
            pass

    def end(self) -> None:
        """The body has ended.

        Raises:
            MalformedRequest: The form has not, or its fields are ambiguous.
        """
        if not self._closed or bytes(self._buffer) not in (b"", b"\r\n"):
            raise MalformedRequest("The form must end with its closing boundary, and nothing may come after it.")
        check_repeated(self._names)
        check_names(dict.fromkeys(self._names))

    # Each step looks at the buffer, and answers whether there is another step to take now.

    def _first(self) -> bool:
        if len(self._buffer) < len(self._boundary) + 2:
            return False
        if self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
            return True
        if not self._buffer.startswith(self._boundary):
            raise MalformedRequest("The form must begin with the boundary that its content-type names.")
        del self._buffer[: len(self._boundary)]
        self._step = self._after_boundary
        return True

    def _after_boundary(self) -> bool:
        if len(self._buffer) < 2:
            return False
        following = bytes(self._buffer[:2])
        del self._buffer[:2]
        if following == b"--":
            self._closed, self._step = True, self._after_end
        elif following == b"\r\n":
            self._step = self._head
        else:
            raise MalformedRequest("The form's boundary is inside one of its parts: choose another one.")
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > LARGEST_HEAD:
            if len(self._buffer) > LARGEST_HEAD:
                raise MalformedRequest(f"The headers of a part of the form are longer than {LARGEST_HEAD} bytes.")
            return False
        head = bytes(self._buffer[:end])
        if self._boundary in head:
            raise MalformedRequest("The form's boundary is inside one of its parts: choose another one.")
        del self._buffer[: end + 4]
        self._name, is_file = part_name(head)
        self._names.append(self._name)
        check_number(self._names)
        self._field = None if is_file else bytearray()
        self._step = self._content
        return True

    def _content(self) -> bool:
        found = self._buffer.find(self._boundary)
        if found >= 0 and (found < 2 or self._buffer[found - 2 : found] != b"\r\n"):
            raise MalformedRequest("The form's boundary is inside one of its parts: choose another one.")
        # What may be the beginning of the boundary waits for what follows it.
        until = found - 2 if found >= 0 else len(self._buffer) - len(self._boundary) - 1
        if until > 0:
            self._take(bytes(self._buffer[:until]))
            del self._buffer[:until]
        if found < 0:
            return False
        del self._buffer[: 2 + len(self._boundary)]
        if self._field is not None:
            self._reader.field(self._name, bytes(self._field))
        self._step = self._after_boundary
        return True

    def _take(self, data: bytes) -> None:
        if self._field is None:
            self._reader.piece(self._name, data)
            return
        self._field += data
        if len(self._field) > LARGEST_FIELD:
            raise MalformedRequest(f'The field "{self._name}" is longer than {LARGEST_FIELD} bytes: send it as a file.')

    def _after_end(self) -> bool:
        if len(self._buffer) > 2:
            raise MalformedRequest("The form must end with its closing boundary, and nothing may come after it.")
        return False
