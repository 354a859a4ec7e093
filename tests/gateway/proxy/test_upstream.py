"""The conformance test of the seam to the upstream HTTP client: what any client behind it must do."""

from __future__ import annotations

import asyncio
import builtins
import gc
import gzip
import hashlib
import importlib.util
import os
import resource
import socket
import ssl
import sys
import time
import traceback
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httptools
import pytest
import trustme

from paig_gateway.proxy.upstream import Egress, Headers, Timeouts, Upstream, UpstreamResponse
from paig_gateway.proxy.upstream_errors import FAILURES, failure
from paig_gateway.routing.failures import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from tests.gateway.end_to_end.waiting import until
from tests.gateway.proxy.wire import END, OK, STREAM, Connection, Script, always, chunk, once, provider

pytestmark = pytest.mark.anyio

needs_uvloop = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="no uvloop on this platform")
needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

SOON = 5.0  # Seconds; what is prompt takes milliseconds.


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=needs_uvloop),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops that the gateway runs on: their transports differ."""
    backend: tuple[str, dict[str, bool]] = request.param
    return backend


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    """A seam with its default settings; its pool is shared, but every provider is a host of its own."""
    async with Upstream() as seam:
        yield seam


class Authority:
    """A certificate authority of our own, and a server certificate from it."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        ca.cert_pem.write_to_path(self.ca_file)
        self.server = self.context(ca, "127.0.0.1", "localhost")
        self.misnamed = self.context(ca, "elsewhere.example")

    @staticmethod
    def context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
        """A server's TLS settings with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for the module."""
    return Authority(tmp_path_factory.mktemp("ca"))


async def read(response: UpstreamResponse) -> bytes:
    """The whole body, then the connection given back."""
    try:
        return b"".join([piece async for piece in response.chunks()])
    finally:
        await response.aclose()


async def post(seam: Upstream, url: str, body: bytes | AsyncIterator[bytes] | None = b"{}") -> bytes:
    """One POST, read to its end."""
    return await read(await seam.send("POST", url, [], body))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A request body as a stream."""
    for part in parts:
        yield part


def memory() -> int:
    """This process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def sockets_to(port: int) -> int:
    """How many sockets to a local port some process still holds; 0 where the system does not say."""
    table = Path("/proc/self/net/tcp")
    rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return sum(row[2].endswith(f":{port:04X}") and row[9] != "0" for row in rows)


# What is sent


async def test_no_header_is_added(upstream: Upstream) -> None:
    """A request carries what the caller passed, the host and its body's length: no user agent, no accept, no type."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("GET", served.url, [], None))
        await post(upstream, served.url, b"{}")
        await post(upstream, served.url, pieces(b"{", b"}"))
    host = (b"host", f"127.0.0.1:{served.port}".encode())
    got = [sorted((name.lower(), value) for name, value in request.headers) for request in served.requests]
    assert got == [[host], [(b"content-length", b"2"), host], [host, (b"transfer-encoding", b"chunked")]]


async def test_given_headers_arrive_as_given(upstream: Upstream) -> None:
    """Values, duplicates and order survive, and nothing replaces the headers that clients like to set themselves."""
    given: Headers = [
        (b"user-agent", b"OpenAI/Python 3.54.0"),
        (b"accept", b"text/event-stream"),
        (b"x-many", b"1"),
        (b"accept-encoding", b"br, zstd"),
        (b"x-many", b"2"),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"authorization", b"Bearer sk-1"),
        (b"cookie", b"a=1; b=2"),
        (b"x-empty", b""),
        (b"x-accent", "café".encode()),
    ]
    async with provider(always(OK)) as served:
        await read(await upstream.send("POST", served.url, given, b"{}"))
    (request,) = served.requests
    assert [pair for pair in request.headers if pair[0].lower() not in {b"host", b"content-length"}] == given


async def test_a_header_outside_utf8_is_sent_as_utf8(upstream: Upstream) -> None:
    """The one rewriting: a value that is not UTF-8 is taken for Latin-1 and goes out in UTF-8."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("GET", served.url, [(b"x-latin", b"caf\xe9")], None))
    assert served.requests[0].all(b"x-latin") == ["café".encode()]


@pytest.mark.parametrize(
    "given",
    [
        [(b"content-length", b"2")],
        [(b"content-length", b"99")],
        [(b"transfer-encoding", b"chunked")],
        [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")],
    ],
)
async def test_a_known_body_is_framed_once(upstream: Upstream, given: Headers) -> None:
    """Whatever length or transfer coding the caller's headers claim, exactly one true length goes out."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("POST", served.url, given, b"{}"))
    (request,) = served.requests
    assert (request.all(b"content-length"), request.all(b"transfer-encoding")) == ([b"2"], [])
    assert request.body == b"{}"


async def test_a_stream_of_known_length_is_not_chunked(upstream: Upstream) -> None:
    """A streamed body whose length the caller states goes out under that length."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("POST", served.url, [(b"content-length", b"6")], pieces(b"abc", b"def")))
    (request,) = served.requests
    assert (request.all(b"content-length"), request.all(b"transfer-encoding")) == ([b"6"], [])
    assert request.body == b"abcdef"


async def test_a_host_can_be_given(upstream: Upstream) -> None:
    """A host header from the caller (as request signing makes one) is the only one sent."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("GET", served.url, [(b"host", b"bedrock.example")], None))
    assert served.requests[0].all(b"host") == [b"bedrock.example"]


@pytest.mark.parametrize(
    "target",
    [
        "/model/amazon.nova-micro-v1%3A0/converse",
        "/model/amazon.nova-micro-v1%3a0/converse",
        "/v1/projects/p/models/publishers%2Fgoogle%2fgemini:generateContent",
        "/a%2E%2E/b%2e",
        "/a/..%2f/%2E%2E/%2e/b",
        "/a/../b/./c",
        "//a//b/",
        "/it's/a|b/[c]/{d}/~e/f;g=h/i+j/k@l/!$&()*,=:",
        '/a^b`c"d<e>f\\g',
        "/%",
        "/%zz/%00",
        "/caf%C3%A9",
        "/?",
        "/a?",
        "/a?b=&c&&d=e=f&b=",
        "/a?alt=sse&key=a+b%20c%2Bd",
        "/a?it's=[1]|{2}^`\"<>\\",
        "/a?b=%3a%3A%zz&c=/?d",
    ],
)
async def test_paths_and_queries_go_verbatim(upstream: Upstream, target: str) -> None:
    """No path or query is decoded, re-encoded or normalised on its way out."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("GET", served.url + target, [], None))
    assert [request.target for request in served.requests] == [target]


@pytest.mark.parametrize(("tail", "target"), [("", "/"), ("?a=1", "/?a=1")])
async def test_an_absent_path_is_the_root(upstream: Upstream, tail: str, target: str) -> None:
    """A URL without a path asks for `/`, as HTTP demands."""
    async with provider(always(OK)) as served:
        await read(await upstream.send("GET", served.url + tail, [], None))
    assert [request.target for request in served.requests] == [target]


@pytest.mark.parametrize(
    "url",
    [
        "http://{at}/a b",
        "http://{at}/a\tb",
        "http://{at}/a\r\nx-evil: 1",
        "http://{at}/café",
        "http://{at}/a#b",
        "http://user:SECRET@{at}/",
        "http://{at}:x/",
        "ftp://{at}/",
        "{at}/",
        "/a",
        "",
    ],
)
async def test_a_url_that_cannot_go_verbatim_is_refused(upstream: Upstream, url: str) -> None:
    """A URL that would be rewritten, or means no HTTP server, is refused before any connection."""
    async with provider(always(OK)) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send("GET", url.format(at=f"127.0.0.1:{served.port}"), [], None)
    assert (caught.value.sent, served.connections) == (False, [])
    assert "SECRET" not in caught.value.reason


@pytest.mark.parametrize("header", [(b"x-a", b"1\r\nx-evil: 1"), (b"x-a: 1\r\nx-evil", b"1"), (b"x-a", b"\x00")])
async def test_a_header_that_breaks_the_framing_is_refused(upstream: Upstream, header: tuple[bytes, bytes]) -> None:
    """A header that would end its line early never reaches the wire."""
    async with provider(always(OK)) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send("GET", served.url, [header], None)
        assert caught.value.sent is False
    assert served.requests == []


async def test_a_streamed_body_goes_out_as_it_comes(upstream: Upstream) -> None:
    """Each piece of a streamed body is on the wire before the next is asked for; an empty piece does not end it."""
    arrived = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        assert await connection.chunk() == b"first"
        arrived.set()
        assert [await connection.chunk(), await connection.chunk()] == [b"last", b""]
        await connection.send(OK)

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(arrived.wait(), SOON)
        yield b""
        yield b"last"

    async with provider(script) as served:
        assert await post(upstream, served.url, body()) == b"ok"


async def test_a_body_that_fails_raises_its_own_error(upstream: Upstream) -> None:
    """When the caller's stream breaks, the caller sees its own exception and the provider a broken request."""
    ended = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.gone()
        ended.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise LookupError("the client left")

    async with provider(script) as served:
        with pytest.raises(LookupError, match="the client left"):
            await upstream.send("POST", served.url, [], body())
        await asyncio.wait_for(ended.wait(), SOON)


@needs_proc
async def test_a_big_body_is_not_copied(upstream: Upstream) -> None:
    """60 MB go out whole while memory grows by a fraction of that."""
    body = os.urandom(1 << 20) * 60
    digest = hashlib.sha256()
    peak = 0

    async def script(connection: Connection) -> None:
        nonlocal peak
        head = await connection.head()
        left = int(head.all(b"content-length")[0])
        while left:
            data = await connection.reader.read(1 << 16)
            assert data
            left -= len(data)
            digest.update(data)
            peak = max(peak, memory())
        await connection.send(OK)

    async with provider(script) as served:
        gc.collect()
        before = memory()
        assert await post(upstream, served.url, body) == b"ok"
    assert digest.digest() == hashlib.sha256(body).digest()
    assert peak - before < 8 << 20


async def test_an_answer_may_come_before_the_body_is_sent(upstream: Upstream) -> None:
    """A provider that refuses from the headers alone is heard, and its half-used connection is not used again."""
    dropped = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await connection.gone()
        dropped.set()

    async with provider(script) as served:
        response = await asyncio.wait_for(upstream.send("POST", served.url, [], bytes(30 << 20)), SOON)
        assert (response.status, await read(response)) == (413, b"big")
        await asyncio.wait_for(dropped.wait(), SOON)


# What comes back


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(b"hello" * 100, mtime=0)),
        (b"deflate", zlib.compress(b"hello" * 100)),
        (b"br", b"\x0b\x02\x80hello\x03"),
        (b"zstd", b"\x28\xb5\x2f\xfd\x04\x00\x29\x00\x00hello"),
        (b"gzip, br", b"not even compressed"),
        (b"GZIP", b"\x1f\x8btruncated"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_stay_encoded(upstream: Upstream, coding: bytes, body: bytes, chunked: bool) -> None:
    """A compressed body comes through byte for byte, with the header that says so."""
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\n%s\r\n\r\n" % (coding, framing)
    async with provider(always(head + (chunk(body) + END if chunked else body))) as served:
        response = await upstream.send("GET", served.url, [], None)
        assert (b"content-encoding", coding) in response.headers
        assert await read(response) == body


async def test_response_headers_keep_order_and_duplicates(upstream: Upstream) -> None:
    """Headers come as they were on the wire, names in lower case; cookies and raw bytes included."""
    head = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX-One: 1\r\nset-cookie: b=2\r\nX-Empty:\r\n"
        b"x-latin: caf\xe9\r\nx-utf8: caf\xc3\xa9\r\nX-One: 2\r\nContent-Length: 0\r\n\r\n"
    )
    async with provider(always(head)) as served:
        response = await upstream.send("GET", served.url, [], None)
        await read(response)
    assert response.headers == [
        (b"set-cookie", b"a=1; Path=/"),
        (b"x-one", b"1"),
        (b"set-cookie", b"b=2"),
        (b"x-empty", b""),
        (b"x-latin", b"caf\xe9"),
        (b"x-utf8", b"caf\xc3\xa9"),
        (b"x-one", b"2"),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize(("count", "size"), [(64, 1000), (1, 64000), (250, 200)])
async def test_big_header_blocks_pass(upstream: Upstream, count: int, size: int) -> None:
    """64 kB of headers come through: many, or one."""
    fields = [(b"x-%d" % number, b"v" * size) for number in range(count)]
    block = b"".join(b"%s: %s\r\n" % pair for pair in fields)
    async with provider(always(b"HTTP/1.1 200 OK\r\n%scontent-length: 0\r\n\r\n" % block)) as served:
        response = await upstream.send("GET", served.url, [], None)
        await read(response)
    assert response.headers[:-1] == fields


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_answers(upstream: Upstream, status: int) -> None:
    """A redirect is handed on, never followed."""
    answer = b"HTTP/1.1 %d Moved\r\nlocation: /elsewhere\r\ncontent-length: 4\r\n\r\ngone" % status
    async with provider(always(answer)) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        assert (response.status, await read(response)) == (status, b"gone")
    assert len(served.requests) == 1


async def test_cookies_are_not_kept(upstream: Upstream) -> None:
    """A cookie that one answer sets does not reach the provider with the next request."""
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: session=1\r\ncontent-length: 0\r\n\r\n"
    async with provider(always(answer)) as served:
        await post(upstream, served.url)
        await post(upstream, served.url)
    assert [request.all(b"cookie") for request in served.requests] == [[], []]


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5000\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("GET", STREAM + END),
    ],
)
async def test_answers_without_a_body_end_at_once(upstream: Upstream, method: str, head: bytes) -> None:
    """HEAD, 204, 304 and empty bodies yield nothing, and their connection serves the next request."""
    async with provider(always(head)) as served:
        for _ in range(2):
            response = await upstream.send(method, served.url, [], None)
            assert await asyncio.wait_for(read(response), SOON) == b""
    assert (len(served.requests), len(served.connections)) == (2, 1)


async def test_interim_answers_are_passed_over(upstream: Upstream) -> None:
    """100 and 103 before the answer are not the answer."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with provider(always(interim + OK)) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        assert (response.status, response.headers) == (200, [(b"content-length", b"2")])
        assert await read(response) == b"ok"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_ended_by_close_is_complete(upstream: Upstream, version: bytes) -> None:
    """Without a length, the end of the connection is the end of the body."""
    async with provider(once(b"HTTP/%s 200 OK\r\n\r\nall of it" % version)) as served:
        assert await post(upstream, served.url) == b"all of it"


async def test_headers_and_first_chunk_come_at_once(upstream: Upstream) -> None:
    """Headers arrive before there is a body, and each chunk before the next is sent."""
    go = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM)
        for data in (b"a", b"b"):
            await go.wait()
            go.clear()
            await connection.send(chunk(data))
        await connection.send(END)

    async with provider(script) as served:
        response = await asyncio.wait_for(upstream.send("POST", served.url, [], b"{}"), SOON)
        stream = response.chunks()
        for expected in (b"a", b"b"):
            go.set()
            assert await asyncio.wait_for(anext(stream), SOON) == expected
        assert [rest async for rest in stream] == []
        await response.aclose()


async def test_no_chunk_is_empty(upstream: Upstream) -> None:
    """However the wire splits a body, every chunk has bytes in it."""

    async def script(connection: Connection) -> None:
        await connection.request()
        for byte in STREAM + chunk(b"ab") + chunk(b"c") + END:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.001)

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        got = [piece async for piece in response.chunks()]
    assert b"".join(got) == b"abc"
    assert all(got)


@needs_proc
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_slow_reader_holds_the_provider_back(upstream: Upstream, chunked: bool) -> None:
    """100 MB to a reader that dawdles: the provider waits, this process's memory stays flat, every byte arrives."""
    piece, count = os.urandom(1 << 16), 1600
    written = 0

    async def script(connection: Connection) -> None:
        nonlocal written
        await connection.request()
        head = STREAM if chunked else b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count)
        await connection.send(head)
        for _ in range(count):
            await connection.send(chunk(piece) if chunked else piece)
            written += len(piece)
        if chunked:
            await connection.send(END)

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        stream = response.chunks()
        digest = hashlib.sha256(await anext(stream))
        gc.collect()
        before = peak = memory()
        await asyncio.sleep(0.3)
        assert written < 20 << 20  # What the kernel's socket buffers swallow.
        async for data in stream:
            digest.update(data)
            peak = max(peak, memory())
        await response.aclose()
    assert digest.digest() == hashlib.sha256(piece * count).digest()
    assert peak - before < 8 << 20


async def test_a_thousand_slow_streams(upstream: Upstream) -> None:
    """1,000 streams stand open at once, each delivering as it goes, over as many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("too few file descriptors allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    everyone, streaming = asyncio.Event(), 0

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"first"))
        await everyone.wait()
        await connection.send(chunk(b"last") + END)

    async def one(url: str) -> list[bytes]:
        nonlocal streaming
        response = await upstream.send("POST", url, [], b"{}")
        got = []
        async for piece in response.chunks():
            got.append(piece)
            if piece == b"first":
                streaming += 1
                if streaming == 1000:
                    everyone.set()
        await response.aclose()
        return got

    try:
        async with provider(script) as served:
            got = await asyncio.wait_for(asyncio.gather(*[one(served.url) for _ in range(1000)]), 30)
        assert got == [[b"first", b"last"]] * 1000
        assert len(served.connections) == 1000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Connections


async def test_a_connection_is_reused_after_a_full_read(upstream: Upstream) -> None:
    """A body read to its end gives the connection back; closing twice, before or after, does no harm."""
    async with provider(always(OK)) as served:
        for _ in range(3):
            response = await upstream.send("POST", served.url, [], b"{}")
            assert await read(response) == b"ok"
            await response.aclose()
    assert (len(served.requests), len(served.connections)) == (3, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_closing_early_drops_the_connection(authority: Authority, scheme: str) -> None:
    """A response closed before its end is not drained: the provider sees the client leave at once."""
    ended = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM)
        try:
            while True:
                await connection.send(chunk(bytes(1000)))
                await asyncio.sleep(0)
        finally:
            ended.set()

    tls = authority.server if scheme == "https" else None
    async with Upstream(ca_file=authority.ca_file) as upstream, provider(script, tls) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        stream = response.chunks()
        await anext(stream)
        await response.aclose()
        await response.aclose()
        await asyncio.wait_for(ended.wait(), SOON)
        assert len(served.connections) == 1


async def test_closing_while_still_sending_drops_the_connection(upstream: Upstream) -> None:
    """A response that came early and is closed early takes the rest of its request with it."""
    ended = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        await connection.send(STREAM)
        try:
            while True:
                await connection.send(chunk(bytes(1000)))
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], bytes(30 << 20))
        stream = response.chunks()
        await anext(stream)
        await asyncio.sleep(0.2)  # Until the request is stuck in full buffers.
        await response.aclose()
        await asyncio.wait_for(ended.wait(), SOON)


async def test_cancelling_a_send_drops_the_connection(upstream: Upstream) -> None:
    """A task cancelled while it waits for the answer leaves no connection behind."""
    ended, asked = asyncio.Event(), asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        asked.set()
        await connection.gone()
        ended.set()

    async with provider(script) as served:
        task = asyncio.create_task(upstream.send("POST", served.url, [], b"{}"))
        await asyncio.wait_for(asked.wait(), SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), SOON)


async def test_cancelling_an_upload_drops_the_connection(upstream: Upstream) -> None:
    """A task cancelled while the provider does not take its request leaves no connection behind either."""
    asked = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.head()
        asked.set()
        await asyncio.sleep(SOON)

    async with provider(script) as served:
        task = asyncio.create_task(upstream.send("POST", served.url, [], bytes(30 << 20)))
        await asyncio.wait_for(asked.wait(), SOON)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: sockets_to(served.port) == 0)


async def test_cancelling_a_read_drops_the_connection(upstream: Upstream) -> None:
    """A task cancelled between two chunks closes its response in `finally`, and the provider sees it."""
    ended, reading = asyncio.Event(), asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"first"))
        await connection.gone()
        ended.set()

    async def consume(url: str) -> None:
        response = await upstream.send("POST", url, [], b"{}")
        try:
            async for _ in response.chunks():
                reading.set()
        finally:
            await response.aclose()

    async with provider(script) as served:
        task = asyncio.create_task(consume(served.url))
        await asyncio.wait_for(reading.wait(), SOON)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), SOON)


async def test_cancelling_a_read_without_closing_drops_the_connection_too(upstream: Upstream) -> None:
    """The seam itself lets go when a read is cancelled, even if its caller forgets to close."""
    ended = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"first"))
        await connection.gone()
        ended.set()

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        stream = response.chunks()
        await anext(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.01)
        await asyncio.wait_for(ended.wait(), SOON)


async def test_a_limit_makes_the_next_request_wait() -> None:
    """At the limit of connections to a host, a request waits for one, and gives up at the connect timeout."""
    limited = Upstream(max_connections_per_host=1, timeouts=Timeouts(connect=0.3))
    async with limited as seam, provider(always(STREAM + chunk(b"first"))) as served:
        first = await seam.send("POST", served.url, [], b"{}")
        with pytest.raises(UpstreamTimeout) as caught:
            await seam.send("POST", served.url, [], b"{}")
        assert caught.value.sent is False
        waiting = asyncio.create_task(seam.send("POST", served.url, [], b"{}"))
        await asyncio.sleep(0.01)
        await first.aclose()
        await (await asyncio.wait_for(waiting, SOON)).aclose()
    assert len(served.requests) == 2


async def test_leaving_the_seam_ends_open_streams() -> None:
    """A stream still open when the seam closes breaks; it neither hangs nor looks complete."""
    async with provider(always(STREAM + chunk(b"first"))) as served:
        async with Upstream() as seam:
            response = await seam.send("POST", served.url, [], b"{}")
            stream = response.chunks()
            assert await anext(stream) == b"first"
            rest = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.01)
        with pytest.raises(UpstreamBroken):
            await asyncio.wait_for(rest, SOON)


@needs_proc
async def test_an_idle_connection_that_breaks_makes_no_noise(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    """A pooled connection that the provider resets is not a failure: nothing is logged."""

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(STREAM)
            await asyncio.sleep(0.01)
            await connection.send(chunk(b"a") + END)

    async with provider(script) as served:
        for _ in range(3):
            await post(upstream, served.url)
        served.connections[0].reset()
        await until(lambda: sockets_to(served.port) == 0)
        assert await post(upstream, served.url) == b"a"
        gc.collect()
    assert len(served.connections) == 2
    assert caplog.records == []


async def test_a_seam_that_is_not_open_refuses() -> None:
    """Sending before or after `async with` is the caller's mistake, not the provider's failure."""
    seam = Upstream()
    with pytest.raises(RuntimeError, match="not open"):
        await seam.send("GET", "http://127.0.0.1/", [], None)
    async with seam:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        await seam.send("GET", "http://127.0.0.1/", [], None)


# Stale connections: at most one delivery


@needs_proc
async def test_an_idle_connection_that_closed_is_replaced(upstream: Upstream) -> None:
    """A pooled connection known to be closed is not used: the request goes out once, on a new one."""
    async with provider(once(OK)) as served:
        await post(upstream, served.url)
        await until(lambda: sockets_to(served.port) == 0)
        assert await post(upstream, served.url) == b"ok"
    assert (len(served.requests), len(served.connections)) == (2, 2)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
async def test_a_request_that_may_have_been_processed_is_not_repeated(upstream: Upstream, method: str) -> None:
    """A provider that takes a request on a kept connection and hangs up gets it once, whatever the method."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()

    async with provider(script) as served:
        await read(await upstream.send(method, served.url, [], None))
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send(method, served.url, [], None)
        await asyncio.sleep(0.05)
    assert caught.value.sent is True
    assert (len(served.requests), len(served.connections)) == (2, 1)


async def test_a_connection_closing_as_the_request_goes_out(upstream: Upstream) -> None:
    """An idle connection that closes in the very moment of sending: the request arrives once, or may have been sent."""
    async with provider(always(OK)) as served:
        await post(upstream, served.url)
        served.connections[0].shut()
        outcome = (await asyncio.gather(post(upstream, served.url), return_exceptions=True))[0]
    if isinstance(outcome, UpstreamUnreachable):
        assert (outcome.sent, len(served.requests)) == (True, 1)
    else:
        assert (outcome, len(served.requests)) == (b"ok", 2)


# What goes wrong


def refused_port() -> int:
    """A loopback port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "http://127.0.0.1:99999/",
        "http://nowhere.invalid/",
        f"http://{'a' * 70}.invalid/",
    ],
)
async def test_nothing_listens_there(upstream: Upstream, url: str) -> None:
    """A refused connection or an unknown name is unreachable, and certainly unsent."""
    with pytest.raises(UpstreamUnreachable) as caught:
        await upstream.send("POST", url.format(port=refused_port()), [], b"{}")
    assert caught.value.sent is False
    assert caught.value.reason


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nx-half: ", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", b"\x00\x01\x02\r\n\r\n"]
)
async def test_no_http_answer(upstream: Upstream, answer: bytes) -> None:
    """A connection that ends or talks nonsense before the headers are complete is unreachable, and maybe sent."""
    async with provider(once(answer)) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send("POST", served.url, [], b"{}")
    assert caught.value.sent is True
    assert len(served.requests) == 1


async def test_a_reset_before_the_answer(upstream: Upstream) -> None:
    """A reset in place of an answer is unreachable, and maybe sent."""

    async def script(connection: Connection) -> None:
        await connection.request()
        connection.reset()

    async with provider(script) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send("POST", served.url, [], b"{}")
    assert caught.value.sent is True


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        (STREAM + chunk(b"partial"), b""),
        (STREAM + chunk(b"partial") + b"5\r\nab", b""),
        (STREAM + chunk(b"partial") + b"0\r\n", b""),
        (STREAM + chunk(b"partial"), b"nonsense\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npartial", b""),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
async def test_a_truncated_body_is_broken(upstream: Upstream, answer: bytes, last: bytes, slow: bool) -> None:
    """A body cut short never looks complete; what did arrive is delivered first, to a slow reader too."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)
        if last:
            await asyncio.sleep(0.02)
            await connection.send(last)
            await connection.gone()

    got = []

    async def collect(response: UpstreamResponse) -> None:
        async for piece in response.chunks():
            got.append(piece)

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        if slow:
            await asyncio.sleep(0.05)
        with pytest.raises(UpstreamBroken) as caught:
            await asyncio.wait_for(collect(response), SOON)
    assert b"".join(got).startswith(b"partial")
    assert caught.value.sent is True


async def test_a_reset_in_mid_body_is_broken(upstream: Upstream) -> None:
    """A reset between two chunks breaks the stream."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"partial"))
        await asyncio.sleep(0.05)
        connection.reset()

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        with pytest.raises(UpstreamBroken):
            await read(response)


async def stall(connection: Connection) -> None:
    """Take the request and say nothing."""
    await connection.request()
    await connection.gone()


async def stall_after_headers(connection: Connection) -> None:
    """Answer, then fall silent."""
    await connection.request()
    await connection.send(STREAM)
    await connection.gone()


async def stall_after_chunk(connection: Connection) -> None:
    """Answer, send one chunk, then fall silent."""
    await connection.request()
    await connection.send(STREAM + chunk(b"first"))
    await connection.gone()


async def dribble(connection: Connection) -> None:
    """Answer with a chunk every few milliseconds, for ever."""
    await connection.request()
    await connection.send(STREAM)
    while True:
        await connection.send(chunk(b"drop"))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "timeouts"),
    [
        (stall, Timeouts(first_byte=0.2)),
        (stall, Timeouts(total=0.2)),
        (stall_after_headers, Timeouts(idle=0.2)),
        (stall_after_headers, Timeouts(first_byte=0.2)),
        (stall_after_headers, Timeouts(total=0.2)),
        (stall_after_chunk, Timeouts(idle=0.2)),
        (dribble, Timeouts(idle=0.4, first_byte=0.4, total=0.6)),
    ],
)
async def test_timeouts(upstream: Upstream, script: Script, timeouts: Timeouts) -> None:
    """Each of the waits for a provider ends at its own timeout, set for the seam or for one request."""

    async def attempt(seam: Upstream, url: str, own: Timeouts | None) -> UpstreamTimeout:
        started = time.monotonic()
        with pytest.raises(UpstreamTimeout) as caught:
            await read(await seam.send("POST", url, [], b"{}", timeouts=own))
        assert 0.15 < time.monotonic() - started < SOON
        return caught.value

    async with provider(script) as served, Upstream(timeouts=timeouts) as seam:
        errors = await asyncio.gather(attempt(seam, served.url, None), attempt(upstream, served.url, timeouts))
    assert [error.sent for error in errors] == [True, True]


async def test_a_handshake_that_stalls_is_a_connect_timeout(upstream: Upstream) -> None:
    """A server that accepts and never shakes hands costs the connect timeout, and nothing was sent."""

    async def script(connection: Connection) -> None:
        await connection.gone()

    async with provider(script) as served:
        started = time.monotonic()
        with pytest.raises(UpstreamTimeout) as caught:
            await upstream.send("POST", f"https://127.0.0.1:{served.port}/", [], b"{}", timeouts=Timeouts(connect=0.2))
        assert time.monotonic() - started < SOON
    assert caught.value.sent is False


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_upload_that_stalls_times_out(upstream: Upstream, streamed: bool) -> None:
    """A provider that stops reading a big body does not hold the request for ever, nor the connection after it."""
    block = bytes(1 << 20)
    timeouts = Timeouts(connect=0.5, first_byte=0.2)

    async def script(connection: Connection) -> None:
        await connection.head()
        await asyncio.sleep(SOON)

    async with provider(script) as served:
        body = pieces(*[block] * 30) if streamed else block * 30
        with pytest.raises(UpstreamTimeout) as caught:
            await asyncio.wait_for(upstream.send("POST", served.url, [], body, timeouts=timeouts), SOON)
        await until(lambda: sockets_to(served.port) == 0)
    assert caught.value.sent is True


async def test_each_wait_has_its_own_timeout(upstream: Upstream) -> None:
    """Time until the body begins counts against the first byte alone, time between chunks against idleness alone."""

    async def pause_before(connection: Connection) -> None:
        await connection.request()
        await asyncio.sleep(0.9)
        await connection.send(STREAM + chunk(b"a") + END)

    async def pause_after(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"a"))
        await asyncio.sleep(0.9)
        await connection.send(chunk(b"b") + END)

    async def fetch(script: Script, timeouts: Timeouts) -> bytes:
        async with provider(script) as served:
            return await read(await upstream.send("GET", served.url, [], None, timeouts=timeouts))

    waits = fetch(pause_before, Timeouts(idle=0.6)), fetch(pause_after, Timeouts(first_byte=0.6))
    assert list(await asyncio.gather(*waits)) == [b"a", b"ab"]


async def test_a_slow_reader_is_not_an_idle_provider(upstream: Upstream) -> None:
    """A consumer that takes longer than the idle timeout over a chunk still gets the rest."""
    body = os.urandom(1 << 20) * 8
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with provider(always(answer)) as served:
        response = await upstream.send("GET", served.url, [], None, timeouts=Timeouts(idle=0.6, first_byte=0.6))
        stream = response.chunks()
        got = [await anext(stream)]
        await asyncio.sleep(0.9)
        got += [piece async for piece in stream]
        await response.aclose()
    assert b"".join(got) == body


async def test_silence_while_the_client_does_not_read_is_not_idleness(upstream: Upstream) -> None:
    """A provider that pauses for longer than the idle timeout while the consumer is busy has not made it wait."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"first"))
        await asyncio.sleep(0.4)
        await connection.send(chunk(b"last") + END)

    async with provider(script) as served:
        response = await upstream.send("GET", served.url, [], None, timeouts=Timeouts(idle=0.2))
        stream = response.chunks()
        assert await anext(stream) == b"first"
        await asyncio.sleep(0.6)
        assert [piece async for piece in stream] == [b"last"]


async def test_nothing_secret_is_in_an_error(upstream: Upstream) -> None:
    """Neither the reason nor the traceback of a failure shows a secret from the query, the headers or the body."""
    secret = "hunter" + str(2)
    quick = Timeouts(connect=0.1, first_byte=0.1, idle=0.1)

    async def attempt(url: str) -> None:
        headers, body = [(b"authorization", secret.encode())], secret.encode() * (1 << 20)
        await read(await upstream.send("POST", f"{url}/?key={secret}", headers, body, timeouts=quick))

    async def fail(url: str) -> str:
        with pytest.raises(UpstreamError) as caught:
            await attempt(url)
        assert caught.value.reason == str(caught.value)
        assert caught.value.reason.isprintable()
        assert 0 < len(caught.value.reason) < 100
        return "".join(traceback.format_exception(caught.value))

    told = [await fail(url) for url in (f"http://127.0.0.1:{refused_port()}", "http://nowhere.invalid", "http://[::")]

    async def hang_up(connection: Connection) -> None:
        await connection.head()
        connection.reset()

    scripts = [stall, stall_after_chunk, hang_up, once(b""), once(b"nonsense\r\n\r\n"), once(STREAM + b"nonsense\r\n")]
    for script in scripts:
        async with provider(script) as served:
            told += [await fail(served.url), await fail(f"https://127.0.0.1:{served.port}")]
    assert [text for text in told if secret in text] == []


# TLS and proxies


async def test_a_custom_authority_is_trusted(authority: Authority) -> None:
    """With its authority's file, a private server is reached over TLS."""
    async with Upstream(ca_file=authority.ca_file) as seam, provider(always(OK), authority.server) as served:
        assert await post(seam, served.url) == b"ok"
        assert await post(seam, served.url.replace("127.0.0.1", "localhost")) == b"ok"


async def test_an_unknown_authority_is_refused(upstream: Upstream, authority: Authority) -> None:
    """Without it, the handshake fails, and nothing was sent."""
    async with provider(always(OK), authority.server) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await post(upstream, served.url)
    assert (caught.value.sent, served.requests) == (False, [])


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    """A certificate from the right authority for the wrong name is no use."""
    async with Upstream(ca_file=authority.ca_file) as seam, provider(always(OK), authority.misnamed) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await post(seam, served.url)
    assert (caught.value.sent, served.requests) == (False, [])


async def test_tls_to_a_plain_server_fails(upstream: Upstream) -> None:
    """A handshake with something that talks no TLS is unreachable and unsent."""

    async def script(connection: Connection) -> None:
        await connection.reader.read(100)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with provider(script) as served:
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send("POST", f"https://127.0.0.1:{served.port}/", [], b"{}")
    assert caught.value.sent is False


async def test_the_environments_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables do not reroute provider traffic."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refused_port()}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{refused_port()}")
    async with Upstream() as seam, provider(always(OK)) as served:
        assert await post(seam, served.url) == b"ok"


async def test_a_configured_proxy_takes_plain_requests() -> None:
    """An http URL goes to the proxy in absolute form, verbatim, with the proxy's own credentials."""
    async with provider(always(OK)) as proxy, Upstream(proxy=f"http://user:pw@127.0.0.1:{proxy.port}") as seam:
        assert await post(seam, "http://provider.example/v1/a%3ab?c=") == b"ok"
    (request,) = proxy.requests
    assert request.target == "http://provider.example/v1/a%3ab?c="
    assert request.all(b"host") == [b"provider.example"]
    assert request.all(b"proxy-authorization") == [b"Basic dXNlcjpwdw=="]


async def test_a_configured_proxy_tunnels_tls(authority: Authority) -> None:
    """An https URL goes through a tunnel, and the proxy sees neither path nor headers."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def script(connection: Connection) -> None:
        request = await connection.request()
        host, port = request.target.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await connection.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pipe(connection.reader, writer), pipe(reader, connection.writer))

    async with (
        provider(always(OK), authority.server) as served,
        provider(script) as proxy,
        Upstream(proxy=proxy.url, ca_file=authority.ca_file) as seam,
    ):
        response = await seam.send("POST", f"{served.url}/path", [(b"authorization", b"Bearer SECRET")], b"{}")
        assert await read(response) == b"ok"
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", f"127.0.0.1:{served.port}")]
    assert proxy.requests[0].all(b"authorization") == []
    assert [request.target for request in served.requests] == ["/path"]


@pytest.mark.parametrize("url", ["http://provider.example/", "https://provider.example/"])
async def test_a_proxy_that_is_away(url: str) -> None:
    """A dead proxy is unreachable and unsent."""
    async with Upstream(proxy=f"http://127.0.0.1:{refused_port()}") as seam:
        with pytest.raises(UpstreamUnreachable) as caught:
            await post(seam, url)
    assert caught.value.sent is False


async def test_a_provider_may_have_its_own_way(authority: Authority) -> None:
    """One provider goes through a proxy and trusts its own authority, another goes directly, over the same seam."""
    async with provider(always(OK)) as proxy, provider(always(OK)) as served, Upstream() as seam:
        way = Egress(proxy=f"127.0.0.1:{proxy.port}")
        assert await read(await seam.send("GET", "http://provider.example/a", [], None, way=way)) == b"ok"
        assert await read(await seam.send("GET", served.url, [], None)) == b"ok"
        with pytest.raises(UpstreamUnreachable, match="socks5") as caught:
            await seam.send("GET", served.url, [], None, way=Egress(proxy="socks5://user:SECRET@127.0.0.1:1"))
        assert "SECRET" not in caught.value.reason
    assert [request.target for request in proxy.requests] == ["http://provider.example/a"]
    async with Upstream() as seam, provider(always(OK), authority.server) as served:
        own = Egress(ca_file=authority.ca_file)
        assert await read(await seam.send("GET", served.url, [], None, way=own)) == b"ok"
    async with Upstream(proxy=f"http://127.0.0.1:{refused_port()}") as seam, provider(always(OK)) as served:
        assert await read(await seam.send("GET", served.url, [], None, way=Egress(proxy="direct"))) == b"ok"


@pytest.mark.parametrize(
    ("environment", "url", "proxied"),
    [
        ({"HTTP_PROXY": "{proxy}"}, "http://provider.example/", True),
        ({"http_proxy": "{proxy}"}, "http://provider.example/", True),
        ({"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "{proxy}"}, "http://provider.example/", True),
        ({"ALL_PROXY": "{proxy}"}, "http://provider.example/", True),
        ({"HTTPS_PROXY": "{proxy}"}, "http://127.0.0.1:{port}/", False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "127.0.0.0/8"}, "http://127.0.0.1:{port}/", False),
        ({"HTTP_PROXY": "{proxy}", "no_proxy": "x.example,.localhost,localhost"}, "http://localhost:{port}/", False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "provider.example:81"}, "http://provider.example/", True),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "*"}, "http://127.0.0.1:{port}/", False),
    ],
)
async def test_the_environments_proxy_where_it_is_wanted(environment: dict[str, str], url: str, proxied: bool) -> None:
    """With an environment given, its proxies and its exceptions count, in both spellings."""
    async with provider(always(OK)) as proxy, provider(always(OK)) as served:
        environ = {name: value.format(proxy=proxy.url) for name, value in environment.items()}
        async with Upstream(environment=environ) as seam:
            assert await read(await seam.send("GET", url.format(port=served.port), [], None)) == b"ok"
    assert (len(proxy.requests), len(served.requests)) == ((1, 0) if proxied else (0, 1))


def test_an_environment_with_a_proxy_that_cannot_be_used() -> None:
    """A SOCKS proxy is refused when the seam is made, by the variable's name and without its password."""
    with pytest.raises(ValueError, match=r"ALL_PROXY: .*socks5") as caught:
        Upstream(environment={"ALL_PROXY": "socks5://user:SECRET@127.0.0.1:1"})
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("status", [b"000", b"099", b"101", b"600", b"999"])
async def test_a_status_outside_the_range_is_not_an_answer(upstream: Upstream, status: bytes) -> None:
    """A status outside 200 to 599 is unreachable, and its connection is not used again."""
    async with provider(always(b"HTTP/1.1 %s Odd\r\ncontent-length: 2\r\n\r\nok" % status)) as served:
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable) as caught:
                await asyncio.wait_for(upstream.send("POST", served.url, [], b"{}", timeouts=Timeouts(first_byte=1)), 5)
            assert caught.value.sent is True
    assert len(served.connections) == 2 or status == b"099"


async def test_headers_beyond_the_limit_are_no_answer(upstream: Upstream) -> None:
    """More than 64 kB of headers in all, many or one without an end, is unreachable."""
    for block in (b"x-a: %s\r\n" % (b"v" * 1000) * 70, b"x-a: " + b"v" * 300_000):
        async with provider(always(b"HTTP/1.1 200 OK\r\n%scontent-length: 0\r\n\r\n" % block)) as served:
            with pytest.raises(UpstreamUnreachable, match="too large"):
                await upstream.send("GET", served.url, [], None)


async def test_trailers_are_dropped_and_bounded(upstream: Upstream) -> None:
    """Trailers become no headers; without an end they break the body."""
    async with provider(always(STREAM + chunk(b"a") + b"0\r\nx-trailer: 1\r\n\r\n")) as served:
        response = await upstream.send("GET", served.url, [], None)
        assert await read(response) == b"a"
        assert [name for name, _ in response.headers] == [b"transfer-encoding"]
    async with provider(always(STREAM + chunk(b"a") + b"0\r\nx-trailer: " + b"v" * 400_000)) as served:
        with pytest.raises(UpstreamBroken, match="too large"):
            await post(upstream, served.url)


async def test_an_unexpected_body_closes_the_connection(upstream: Upstream) -> None:
    """Bytes after the end of an answer are never taken for the next request's answer."""
    async with provider(always(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nspoof")) as served:
        for _ in range(2):
            assert await post(upstream, served.url) == b"ok"
    assert len(served.connections) == 2


async def test_a_body_is_pushed_to_a_sink(upstream: Upstream) -> None:
    """`pump` passes on each read as it comes, makes the provider wait while paused, and returns at the end."""
    got: list[bytes] = []
    second = asyncio.Event()
    written = 0

    async def script(connection: Connection) -> None:
        nonlocal written
        await connection.request()
        await connection.send(STREAM + chunk(b"first"))
        await second.wait()
        for _ in range(300):
            await connection.send(chunk(bytes(1 << 16)))
            written += 1 << 16
        await connection.send(END)

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}", timeouts=Timeouts(idle=0.3))
        begun = asyncio.Event()

        def sink(data: bytes) -> None:
            got.append(data)
            begun.set()

        pumping = asyncio.ensure_future(response.pump(sink))
        await asyncio.wait_for(begun.wait(), SOON)
        response.pause()
        second.set()
        await asyncio.sleep(0.5)  # Longer than the idle timeout: a provider that must wait is not silent.
        assert written < 20 << 20
        response.resume()
        await asyncio.wait_for(pumping, SOON)
    assert len(b"".join(got)) == 5 + (300 << 16)


async def test_what_a_sink_raises_ends_the_body(upstream: Upstream) -> None:
    """An error of the sink is raised by `pump`, and the provider sees the client leave."""
    ended = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(STREAM + chunk(b"first"))
        await connection.gone()
        ended.set()

    def refuse(data: bytes) -> None:
        raise LookupError(data)

    async with provider(script) as served:
        response = await upstream.send("POST", served.url, [], b"{}")
        with pytest.raises(LookupError):
            await response.pump(refuse)
        await asyncio.wait_for(ended.wait(), SOON)


async def test_a_proxy_that_refuses_the_tunnel() -> None:
    """A proxy that turns the tunnel down is unreachable, and the provider got nothing."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with provider(once(refusal)) as proxy, Upstream(proxy=proxy.url) as seam:
        with pytest.raises(UpstreamUnreachable) as caught:
            await post(seam, "https://provider.example/")
    assert caught.value.sent is False


# The client behind the seam


def test_every_exception_of_the_layers_below_is_one_of_ours() -> None:
    """Each exception of sockets, TLS, the resolver and the parser means exactly one failure at each stage."""
    kinds = {kind for kind in vars(httptools.parser.errors).values() if isinstance(kind, type)}
    kinds |= {kind for kind in vars(ssl).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    kinds |= {kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, OSError)}
    kinds |= {socket.gaierror, socket.herror, asyncio.TimeoutError, ValueError, UnicodeError}
    kinds -= {httptools.HttpParserUpgrade} - set(httptools.HttpParserError.__subclasses__())
    assert len(kinds) > 30
    for kind in kinds:
        assert issubclass(kind, FAILURES), kind
        exc = kind.__new__(kind)
        late = issubclass(kind, TimeoutError)
        for stage, expected in (
            ("connect", UpstreamUnreachable),
            ("answer", UpstreamUnreachable),
            ("body", UpstreamBroken),
        ):
            told = failure(exc, stage)
            assert type(told) is (UpstreamTimeout if late else expected), kind
            assert told.sent is (stage != "connect"), kind
            assert told.reason, kind
