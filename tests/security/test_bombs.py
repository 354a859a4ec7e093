"""Messages and bodies that are small on the wire, and take much memory or time to read."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from paig_gateway.config import ServerSpec
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.formats import reading
from paig_gateway.formats.registry import FORMATS
from paig_gateway.proxy.request import read_call, stated
from paig_gateway.proxy.sockets.peer import MOST_FRAGMENTS
from tests.gateway.end_to_end.test_frames import Provider, client, recorded

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024


def frame(first: int, payload: bytes) -> bytes:
    """A masked frame of a client: its first byte and its payload, which the mask does not change."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b""
    if not length:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + length + b"\0\0\0\0" + payload


@pytest.mark.parametrize(("name", "code"), [("one frame", 1009), ("many frames", 1009), ("empty fragments", 1002)])
async def test_a_bomb_closes_the_session(environment: None, tmp_path: Path, name: str, code: int) -> None:
    """Before it takes memory, and before the provider sees any of it."""
    packer = zlib.compressobj(wbits=-15)
    packed = b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(200)) + packer.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(b"\x00\x00\xff\xff")
    third = len(packed) // 3
    wire = {
        "one frame": frame(0xC1, packed),
        "many frames": frame(0x41, packed[:third]) + frame(0x00, packed[third:-third]) + frame(0x80, packed[-third:]),
        "empty fragments": frame(0x01, b"") + frame(0x00, b"") * (MOST_FRAGMENTS + 10),
    }[name]
    provider = Provider()
    server = ServerSpec.model_validate({"websockets": {"message_mb": 1}})
    async with recorded(tmp_path, provider, server) as world, client(world) as session:
        await session.recv()
        tracemalloc.start()
        try:
            session.transport.write(wire)
            with pytest.raises(ConnectionClosed) as closed:
                await session.recv()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
    assert peak < 60 * MEGABYTE
    assert provider.got == []


FORM = [(b"content-type", b"multipart/form-data; boundary=x")]
JSON = [(b"content-type", b"application/json")]
FIELD = b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n1\r\n'
TOO_MUCH: dict[str, tuple[Headers, Callable[[], bytes]]] = {
    "members": (JSON, lambda: b'{"model":"gpt-5",' + b",".join(b'"k%d":0' % one for one in range(500_000)) + b"}"),
    "objects": (JSON, lambda: b'{"model":"gpt-5","messages":[' + b"{}," * 5_000_000 + b"{}]}"),
    "strings": (JSON, lambda: b'{"model":"gpt-5","messages":[' + b'"",' * 2_600_000 + b'""]}'),
    "lists": (JSON, lambda: b"[" * 6_000_000),
    "parts": (FORM, lambda: b"".join(FIELD % one for one in range(100_000)) + b"--x--\r\n"),
}
"""Bodies are made when they are needed: they take memory that other tests measure."""


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_body_that_takes_long_to_read_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is read: nothing else would be served meanwhile."""
    headers, make = TOO_MUCH[name]
    body = make()
    chat = next(fmt for fmt in FORMATS if fmt.name == "openai-chat")
    monkeypatch.setattr(reading, "request", lambda body: pytest.fail("it was read"))
    with pytest.raises(GatewayError, match="more than") as refused:
        read_call(chat, None, body, stated(headers))
    assert refused.value.code == "bad-request"
