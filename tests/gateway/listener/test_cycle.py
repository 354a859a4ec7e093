"""One request and its answer, on the seam to uvicorn."""

from __future__ import annotations

import asyncio
import json
import pickle

import httpx2
import pytest
import uvicorn

from paig_gateway.listener.protocol import HttpProtocol
from tests.gateway.listener.serving import GET, code, serving

pytestmark = pytest.mark.anyio


def test_uvicorn_is_the_one_that_was_tested() -> None:
    """The classes that the listener derives from are internal to uvicorn: another minor version is another seam."""
    assert uvicorn.__version__.startswith("0.54.")
    assert pickle.loads(pickle.dumps(HttpProtocol)) is HttpProtocol  # workers are spawned with it


async def test_requests_on_one_connection() -> None:
    """Bodies with a length and in chunks, in any cut, and several requests after another."""
    async with serving() as served, await served.connect() as client:
        plain = b"POST /a?b=%20c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\ncontent-length: 5\r\n\r\nhello"
        chunked = b"POST /c%2fd HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        for data in (plain, chunked, GET):
            for cut in (0, 1, 30, len(data) - 1):
                await client.send(data[:cut])
                await asyncio.sleep(0.001)
                await client.send(data[cut:])
                answer = await client.answer()
                assert code(answer) == (200, "")
        seen = served.app.seen
        assert [entry["body"] for entry in seen] == [b"hello"] * 8 + [b""] * 4
        assert (seen[0]["path"], seen[0]["query_string"]) == ("/a", b"b=%20c")
        assert (seen[4]["path"], seen[4]["raw_path"]) == ("/c/d", b"/c%2fd")
        assert seen[0]["headers"][:2] == [(b"host", b"x"), (b"x-a", b"1")]
        assert served.open == 1


async def test_a_large_body() -> None:
    """A body much larger than any buffer arrives whole."""
    async with serving() as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        body = bytes(range(256)) * 40_000
        answer = await http.post(f"http://127.0.0.1:{served.port}/a", content=body)
        assert answer.json()["length"] == len(body)
        assert served.app.seen[0]["body"] == body


async def test_a_large_answer() -> None:
    """An answer to a slow reader arrives whole."""
    async with serving() as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        url = f"http://127.0.0.1:{served.port}/stream?count=3000"
        async with http.stream("GET", url) as answer:
            await asyncio.sleep(0.3)
            body = await answer.aread()
        assert body == b"".join(b"%06d" % number * 1000 for number in range(3000))


async def test_pushed_answers() -> None:
    """An app may write without ASGI messages."""
    async with serving() as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        for _ in range(2):
            answer = await http.get(f"http://127.0.0.1:{served.port}/push")
            assert (answer.text, answer.headers["content-type"]) == ("onetwo", "text/plain")
        assert served.open == 1


async def test_expect_continue() -> None:
    """`100 Continue` is sent when the body is wanted, and not where the request is refused before."""
    head = b"POST %b HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    async with serving() as served:
        async with await served.connect() as client:
            await client.send(head % b"/a")
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"hello")
            assert code(await client.answer()) == (200, "")
        answer = await served.ask(head % b"/unread")
        assert code(answer) == (401, "")
        assert b"100 Continue" not in answer


async def test_an_answer_before_the_body() -> None:
    """A client whose body is not read gets its answer; the connection ends, and the body is not taken for a request."""
    async with serving() as served, await served.connect() as client:
        await client.send(b"POST /unread HTTP/1.1\r\ncontent-length: 9000000\r\n\r\n")
        reading = asyncio.create_task(client.rest())
        for _ in range(90):
            await client.send(GET * 4000)
        answer = await reading
        assert answer.count(b"HTTP/1.1") == 1
        assert code(answer) == (401, "")
        assert b"connection: close" in answer


async def test_failures_of_the_app(caplog: pytest.LogCaptureFixture) -> None:
    """An exception is a 500 and is logged; half an answer ends in a broken connection and is not."""
    async with serving() as served:
        assert code(await served.ask(b"GET /fail HTTP/1.1\r\n\r\n"))[0] == 500
        assert [record.message for record in caplog.records] == ["A request failed unexpectedly"]
        caplog.clear()
        answer = await served.ask(b"GET /half HTTP/1.1\r\n\r\n")
        assert answer.endswith(b"4\r\nhalf\r\n")
        assert caplog.records == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET * HTTP/1.1\r\n\r\n", (400, "bad-request")),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", (400, "bad-request")),
        (b"GET /\xe2\x80\xa5 HTTP/1.1\r\n\r\n", (400, "bad-request")),
        (b"GET /healthz\r\n\r\n", (400, "bad-request")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "bad-request")),
        (b"GET http://x/a?b HTTP/1.1\r\nconnection: close\r\n\r\n", (200, "")),
        (b"GET /a HTTP/1.0\r\n\r\n", (200, "")),
        (b"POST /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", (400, "bad-request")),
        (b"POST /a HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400, "bad-request")),
        (b"POST /a HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", (400, "bad-request")),
        (
            b"POST /a HTTP/1.1\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            (400, "bad-request"),
        ),
        (b"POST /a HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, "bad-request")),
        (b"POST /a HTTP/1.1\r\ntransfer-encoding: Chunked\r\nconnection: close\r\n\r\n0\r\n\r\n", (200, "")),
        (b"POST /a HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400, "bad-request")),
        (b"GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", (400, "bad-request")),
        (b"GET /a HTTP/1.1\r\nhost: a/b@c\r\n\r\n", (400, "bad-request")),
        (b"GET /a HTTP/1.1\r\nhost: my_service.local:80\r\nconnection: close\r\n\r\n", (200, "")),
        (b"GET /a HTTP/1.1\r\nhost: [::1]:8787\r\nconnection: close\r\n\r\n", (200, "")),
        (b"GET /a HTTP/1.1\r\nhost: [fe80::1%25eth0]:8787\r\nconnection: close\r\n\r\n", (200, "")),
        (b"GET /a HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", (200, "")),
    ],
)
async def test_odd_requests(data: bytes, expected: tuple[int, str], caplog: pytest.LogCaptureFixture) -> None:
    """What is not HTTP, or not a request for a path, is refused without a line in the log."""
    async with serving() as served:
        answer = await served.ask(data)
        assert code(answer) == expected
        assert answer.count(b"HTTP/1.1") == 1
        if expected[0] == 400:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad-request"
    assert caplog.records == []


async def test_http_1_0_streams_end_with_the_connection() -> None:
    """A client of HTTP/1.0 does not know chunks."""
    async with serving() as served:
        answer = await served.ask(b"GET /stream?count=2 HTTP/1.0\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert body == b"000000" * 1000 + b"000001" * 1000


async def test_head_and_no_content() -> None:
    """HEAD has the headers of GET and no body."""
    async with serving() as served, await served.connect() as client:
        await client.send(b"HEAD /a HTTP/1.1\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: " in head
        await client.send(GET)
        assert code(await client.answer()) == (200, "")


UPGRADE = b"GET %b HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"


async def test_upgrades_are_handed_over() -> None:
    """The app gets the connection of a request to go over to WebSocket, answers itself, and is told of the end."""
    async with serving() as served, await served.connect() as client:
        await client.send(UPGRADE % b"/ws")
        assert await client.reader.readexactly(5) == b"hello"
        await client.send(b"what the app alone reads")
        assert await client.reader.readexactly(24) == b"what the app alone reads"
        served.server.should_exit = True
        assert await client.reader.read() == b"bye"


async def test_upgrades_are_refused_in_http() -> None:
    """The app may answer with any HTTP response, after which the connection is closed."""
    async with serving() as served, await served.connect() as client:
        await client.send(UPGRADE % b"/refused")
        answer = await client.reader.read()
        assert answer.startswith(b"HTTP/1.1 402 Payment Required\r\n")
        assert b"x-why: as asked\r\n" in answer
        assert answer.endswith(b"\r\n\r\nno")
