"""Decodes content encodings for the meter; the client gets the encoded bytes unchanged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

_STEP = 16 * 1024
"""Bytes that are decoded at once, so that a decompression bomb is noticed early."""


_MOST_AT_ONCE = 32 * 1024 * 1024
"""The most bytes that one step may decode to: 455 bytes of Brotli can become 300 MB."""
_ZSTD_STEP = 512
"""Bytes of Zstandard that are decoded at once: four bytes can become 128 KB, and its decoder has no limit."""


class Decoder(Protocol):
    """Decodes a content encoding, chunk by chunk."""

    def __call__(self, chunk: bytes) -> bytes: ...

    def ended(self) -> bool:
        """Whether the input was exactly one complete member or frame."""


class UnknownEncoding(ValueError):
    """A content encoding that the gateway does not support."""


def decoder(encoding: str) -> Decoder | None:
    """A decoder for `encoding`; None for identity.

    Raises:
        UnknownEncoding: The encoding is not supported.
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
    """Decode a whole body.

    Args:
        limit: The most bytes that it may decode to.
        strict: Refuse a body that is cut short or has bytes after its end: readers treat it differently.

    Raises:
        UnknownEncoding: The encoding is not supported.
        ValueError: The body is not valid in the encoding, or decodes to more than `limit` bytes.
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
