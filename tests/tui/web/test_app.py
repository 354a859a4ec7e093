"""Access to the server: logins, hosts and origins, and the headers of every answer."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from tests.tui.web.conftest import Site, Terminal

pytestmark = pytest.mark.anyio

ELSEWHERE = (
    *(None, "null", "http://evil.example", "http://127.0.0.1:1", "http://localhost:PORT", "https://127.0.0.1:PORT"),
)
ALIASES = ("localhost:PORT", "evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1")
SIZES = ("80", "[80]", "[0, 24]", "[80, 1e9]", "[80, 100000]", "null")
HELLOS = (
    *("", "[]", "{}", "no json", '{"proof": 5, "size": [80, 24]}', '{"proof": "P"}', b"bytes", b""),
    *(f'{{"proof": "P", "size": {size}}}' for size in SIZES),
)
UNLISTED = (
    *("terminal.html", "../app.py", "%2e%2e/app.py", "xterm/../../app.py", "xterm/LICENSE", "xterm", "", "/etc/passwd"),
)


def port_of(site: Site) -> str:
    """The server's port."""
    return str(httpx2.URL(site.origin).port)


async def test_a_link_gives_cookie_and_proof_once(entrance: Site) -> None:
    """The cookie is for this server's page alone; the second use of a link is refused and told of."""
    token = entrance.logins.link()
    answer = await entrance.log_in(token)
    assert answer.status_code == 200
    name, _, rest = answer.headers["set-cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert name == f"paig-tui-{httpx2.URL(entrance.origin).port}"
    assert len(value) > 40
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict"]
    assert value not in answer.text
    assert (await entrance.http.get("/")).status_code == 200

    entrance.http.cookies.clear()
    again = await entrance.post("/login", content=token)
    assert again.status_code == 403
    assert "used already" in again.text
    assert "set-cookie" not in again.headers
    assert "IF THAT WAS NOT YOU" in entrance.told[-1]
    assert (await entrance.http.get("/")).status_code == 401
    assert not any(token in line or value in line for line in entrance.told)


async def test_an_old_link_says_what_to_do(entrance: Site) -> None:
    """A link that is too old is refused with the way to a new one."""
    token = entrance.logins.link()
    entrance.clock.wait(minutes=5)
    answer = await entrance.post("/login", content=token)
    assert answer.status_code == 403
    assert answer.text == "This link is too old. Ask for a new one: press Enter where `paig tui --web` runs.\n"


async def test_no_other_page_logs_in(entrance: Site) -> None:
    """A post from another page, another port, another scheme or no page is refused, and the link still works."""
    token = entrance.logins.link()
    for origin in ELSEWHERE:
        named = {} if origin is None else {"origin": origin.replace("PORT", port_of(entrance))}
        for path in ("/login", "/logout"):
            answer = await entrance.http.post(path, headers=named, content=token)
            assert (answer.status_code, answer.text) == (403, "The request did not come from a page of this server.\n")
    assert (await entrance.post("/login", content=token)).status_code == 200


async def test_no_other_page_opens_a_terminal(entrance: Site) -> None:
    """The WebSocket of another page is refused although the browser sends the cookie along."""
    await entrance.enter()
    for origin in ELSEWHERE:
        with pytest.raises(InvalidStatus) as refused:
            async with entrance.socket(origin=origin and origin.replace("PORT", port_of(entrance))):
                pass
        assert refused.value.response.status_code == 403
    assert "a terminal was refused" in entrance.told[-1]


async def test_no_other_name_is_answered(entrance: Site) -> None:
    """A foreign name that points at this machine gets nothing, logged in or not, not even a page."""
    await entrance.enter()
    for alias in ALIASES:
        host = alias.replace("PORT", port_of(entrance))
        for path in ("/", "/login", "/static/login.js", "/download/x", "/nothing"):
            answer = await entrance.http.get(path, headers={"host": host, "cookie": entrance.cookie})
            assert answer.status_code == 421
            assert answer.text == f"This server answers only at {entrance.origin}.\n"
        headers = {"host": host, "origin": f"http://{host}"}
        answer = await entrance.http.post("/login", headers=headers, content=entrance.logins.link())
        assert answer.status_code == 421

        reader, writer = await asyncio.open_connection("127.0.0.1", int(port_of(entrance)))
        writer.write(
            f"GET /terminal HTTP/1.1\r\nHost: {host}\r\nOrigin: {entrance.origin}\r\nCookie: {entrance.cookie}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()


async def test_no_terminal_without_a_login(entrance: Site) -> None:
    """Without a cookie, with a wrong one, or with one that is over, the WebSocket is refused."""
    for cookie in (None, "", "paig-tui=x", f"{entrance.app.cookie}=x", f"{entrance.app.cookie}="):
        with pytest.raises(InvalidStatus) as refused:
            async with entrance.socket(cookie=cookie):
                pass
        assert refused.value.response.status_code == 403
    await entrance.enter()
    entrance.clock.wait(hours=13)
    with pytest.raises(InvalidStatus):
        async with entrance.socket():
            pass


async def test_a_stolen_cookie_opens_nothing(entrance: Site) -> None:
    """Whoever collected the cookie on another port lacks the proof: no process is started for them."""
    await entrance.enter()
    for proof in ("", "x", entrance.proof[:-1]):
        async with entrance.socket() as socket:
            await socket.send(json.dumps({"proof": proof, "size": [80, 24]}))
            assert await Terminal(socket).closed() == 4001
        assert "was the cookie stolen?" in entrance.told.pop()


async def test_a_log_out_counts_at_once(entrance: Site) -> None:
    """A WebSocket that was open before the log-out, and has the right proof, starts nothing after it."""
    await entrance.enter()
    async with entrance.socket() as socket:
        entrance.logins.leave()
        await socket.send(json.dumps({"proof": entrance.proof, "size": [80, 24]}))
        assert await Terminal(socket).closed() == 4001
    assert len(entrance.told) == 1


async def test_a_wrong_first_message_ends_it(entrance: Site) -> None:
    """A first message that is wrong in any way closes the WebSocket before there is a process."""
    await entrance.enter()
    for said in HELLOS:
        async with entrance.socket() as socket:
            await socket.send(said.replace("P", entrance.proof) if isinstance(said, str) else said)
            assert await Terminal(socket).closed() == 4000, said


async def test_every_answer_is_guarded(entrance: Site) -> None:
    """Pages, files, refusals: nothing is cached, framed, sniffed, or lets a script or style of another's run."""
    await entrance.enter()
    answers = [
        *[await entrance.http.get(path) for path in ("/", "/login", "/static/terminal.js", "/nothing", "/download/x")],
        await entrance.http.get("/", headers={"host": "evil.example"}),
        await entrance.http.post("/login"),
        await entrance.http.put("/login"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404, 421, 403, 405]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert part in policy
        assert "'unsafe-inline'" not in policy.replace("style-src-attr 'unsafe-inline'", "")
        assert "unsafe-eval" not in policy
        assert f"connect-src {entrance.origin} ws://" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    first, second = (answer.headers["content-security-policy"] for answer in answers[:2])
    assert first != second  # a nonce is used once


async def test_files_are_those_that_there_are(entrance: Site) -> None:
    """What the pages need can be had without a login; no path leads out of the folder, or to a page."""
    for name in ("login.js", "terminal.js", "page.css", "icon.svg", "xterm/xterm.mjs", "xterm/xterm.css"):
        answer = await entrance.http.get(f"/static/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith(("text/", "image/svg"))
    for name in UNLISTED:
        assert (await entrance.http.get(f"/static/{name}")).status_code == 404, name


async def test_a_body_that_is_not_a_token_is_refused(entrance: Site) -> None:
    """Only so much of a login's body is read."""
    answer = await entrance.post("/login", content=b"x" * 10_000)
    assert (answer.status_code, answer.text) == (413, "The body is too long for a token.\n")


async def test_nonsense_is_refused_quietly(entrance: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What is no HTTP, or breaks off, gets no further and writes nothing where the server runs; it goes on serving."""
    head = f"Host: {entrance.app.host}\r\nOrigin: {entrance.origin}\r\n"
    for nonsense in (
        *("\x16\x03\x01", f"GET /\x00 HTTP/1.1\r\n{head}\r\n", f"GET / HTTP/1.1\r\n{head}Host: evil.example\r\n\r\n"),
        *(f"{verb} /login HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n" for verb in ("PUT", "POST")),
        f"POST /login HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\nshort",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port_of(entrance)))
        writer.write(nonsense.encode())
        writer.write_eof()
        assert (await reader.readline())[:10] in (b"HTTP/1.1 4", b"")
        writer.close()
    assert (await entrance.http.get("/login")).status_code == 200
    assert (caplog.records, entrance.told) == ([], [])


async def test_logging_out_ends_cookie(entrance: Site) -> None:
    """The page's button takes the cookie back, here and in the browser."""
    await entrance.enter()
    cookie = entrance.cookie
    answer = await entrance.post("/logout")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await entrance.http.get("/", headers={"cookie": cookie})).status_code == 401


async def test_strangers_do_not_fill_the_screen(entrance: Site) -> None:
    """What anybody can bring about is told of once a second at most."""
    for _ in range(20):
        await entrance.post("/login", content="guess")
    assert len(entrance.told) <= 3
