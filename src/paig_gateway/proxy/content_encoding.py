"""Content encodings, undone on the side for the meter; what the client gets stays encoded as it came."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

_STEP = 16 * 1024
"""Bytes undone at a time, so that a bomb is noticed before it has grown by more than a few thousandfold of this."""


_MOST_AT_ONCE = 32 * 1024 * 1024
"""Bytes that one step may grow to: 455 bytes of Brotli can be 300 MB."""
_ZSTD_STEP = 512
"""Zstandard turns four bytes into 128 KB at most, and cannot be told to stop before."""


class Decoder(Protocol):
    """Undoes a content encoding, chunk by chunk."""

    def __call__(self, chunk: bytes) -> bytes: ...

    def ended(self) -> bool:
        """Whether what it was given is one member or frame, complete, and nothing after it."""


class UnknownEncoding(ValueError):
    """A content encoding that the gateway cannot read."""


def decoder(encoding: str) -> Decoder | None:
    """What undoes `encoding`; None for identity.

    Raises:
        UnknownEncoding: There is nothing that reads it.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    make = _DECODERS.get(name)
    if make is None:
        raise UnknownEncoding(name)
    return make()


def steps(undo: Decoder, chunk: bytes) -> Iterator[bytes]:
    """Decode a chunk in steps, so that only one step is in memory at a time.

    Raises:
        ValueError: As the decoder does.
    """
    for start in range(0, len(chunk), _STEP):
        yield undo(chunk[start : start + _STEP])


def decode(encoding: str, data: bytes, limit: int, *, strict: bool = False) -> bytes:
    """Undo `encoding` of a whole body.

    Args:
        encoding: The content encoding.
        data: The body.
        limit: Bytes that it may grow to.
        strict: Refuse a body that is cut short, or has something after its end: readers differ in what they make of it.

    Raises:
        UnknownEncoding: There is nothing that reads it.
        ValueError: The body is not what the encoding says, or grows beyond `limit` bytes.
    """
    undo = decoder(encoding)
    if undo is None:
        return data
    decoded, size = [], 0
    for piece in steps(undo, data):
        decoded.append(piece)
        size += len(piece)
        if size > limit:
            raise ValueError("the decoded body is too large")
    if strict and not undo.ended():
        raise ValueError("it is cut short, or has extra bytes after its end")
    return b"".join(decoded)


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits=wbits)

    def __call__(self, chunk: bytes) -> bytes:
        try:
            return self._stream.decompress(chunk)
        except zlib.error as error:
            raise ValueError(str(error)) from None

    def ended(self) -> bool:
        return self._stream.eof and not self._stream.unused_data


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._error: type[Exception] = brotli.error
        self._stream = brotli.Decompressor()

    def __call__(self, chunk: bytes) -> bytes:
        try:
            out = bytes(self._stream.process(chunk, output_buffer_limit=_MOST_AT_ONCE))
            if not self._stream.can_accept_more_data():
                raise ValueError("the decoded body is too large")
            return out
        except self._error as error:
            raise ValueError(str(error)) from None

    def ended(self) -> bool:
        return bool(self._stream.is_finished())  # it takes nothing after the end


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._error: type[Exception] = zstandard.ZstdError
        self._stream = zstandard.ZstdDecompressor().decompressobj()

    def __call__(self, chunk: bytes) -> bytes:
        try:
            out = bytearray()
            for start in range(0, len(chunk), _ZSTD_STEP):
                out += self._stream.decompress(chunk[start : start + _ZSTD_STEP])
                if len(out) > _MOST_AT_ONCE:
                    raise ValueError("the decoded body is too large")
            return bytes(out)
        except self._error as error:
            raise ValueError(str(error)) from None

    def ended(self) -> bool:
        return bool(self._stream.eof and not self._stream.unused_data)


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Zlib(47),
    "x-gzip": lambda: _Zlib(47),
    "deflate": lambda: _Zlib(15),
    "br": _Brotli,
    "zstd": _Zstd,
}
