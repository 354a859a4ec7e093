"""Content encodings, undone on the side for the meter; what the client gets stays encoded as it came."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

_STEP = 16 * 1024
"""Bytes undone at a time, so that a bomb is noticed before it has grown by more than a few thousandfold of this."""


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
    for start in range(0, len(data), _STEP):
        decoded.append(undo(data[start : start + _STEP]))
        size += len(decoded[-1])
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
            return bytes(stream.process(chunk))
        except brotli.error as error:
            raise ValueError(str(error)) from None

    return undo


def _zstd() -> Decoder:
    import zstandard

    stream = zstandard.ZstdDecompressor().decompressobj()

    def undo(chunk: bytes) -> bytes:
        try:
            return stream.decompress(chunk)
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
