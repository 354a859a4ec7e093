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
    """Undo a chunk bit by bit, so that no more than one step of it is there at once.

    Raises:
        ValueError: As the decoder does.
    """
    for start in range(0, len(chunk), _STEP):
        yield undo(chunk[start : start + _STEP])


def decode(encoding: str, data: bytes, limit: int) -> bytes:
    """Undo `encoding` of a whole body.

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
    return b"".join(decoded)


def _gzip() -> Decoder:
    return _zlib(zlib.decompressobj(wbits=47))


def _deflate() -> Decoder:
    return _zlib(zlib.decompressobj(wbits=15))


def _zlib(stream: zlib._Decompress) -> Decoder:
    def undo(chunk: bytes) -> bytes:
        try:
            return stream.decompress(chunk)
        except zlib.error as error:
            raise ValueError(str(error)) from None

    return undo


def _brotli() -> Decoder:
    import brotli

    stream = brotli.Decompressor()

    def undo(chunk: bytes) -> bytes:
        try:
            out = bytes(stream.process(chunk, output_buffer_limit=_MOST_AT_ONCE))
            if not stream.can_accept_more_data():
                raise ValueError("the decoded body is too large")
            return out
        except brotli.error as error:
            raise ValueError(str(error)) from None

    return undo


def _zstd() -> Decoder:
    import zstandard

    stream = zstandard.ZstdDecompressor().decompressobj()

    def undo(chunk: bytes) -> bytes:
        try:
            out = bytearray()
            for start in range(0, len(chunk), _ZSTD_STEP):
                out += stream.decompress(chunk[start : start + _ZSTD_STEP])
                if len(out) > _MOST_AT_ONCE:
                    raise ValueError("the decoded body is too large")
            return bytes(out)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None

    return undo


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
