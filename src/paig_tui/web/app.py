"""The ASGI application: checks each request's host, origin and login, and serves it.

Every request must name this server's one address as its `Host`: otherwise a foreign page could point its own name at
this server (DNS rebinding). A POST and the WebSocket must come from a page of the same address (`Origin`).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit

from paig_tui.web import terminal
from paig_tui.web.child import ChildFailed, Opening
from paig_tui.web.login import BrowserLogin, BrowserLogins, LinkRefused
from paig_tui.web.terminal import Download, Receive, Send, TerminalEnded

MAX_TERMINALS = 8
"""Terminals at once; each is a process of some 60 MB."""
MAX_TOKEN = 256
"""Bytes of a login's body."""
TYPES = {
    **{"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "mjs": "text/javascript"},
    **{"css": "text/css; charset=utf-8", "svg": "image/svg+xml"},
}
PAGES = ("login.html", "terminal.html")
"""The files that cannot be requested by name."""
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "clipboard-read=(), clipboard-write=(self), camera=(), microphone=(), geolocation=()",
}


def policy(origin: str, nonce: str) -> str:
    """The Content-Security-Policy. xterm.js makes style elements, allowed by the nonce, and sets style attributes."""
    socket = origin.replace("http", "ws", 1)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self'; style-src 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; img-src 'self'",
            f"connect-src {origin} {socket}",
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "require-trusted-types-for 'script'; trusted-types 'none'",
        )
    )


class WebRefusal(Exception):
    """The request is refused, with a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete."""


class WebTerminal:
    """The ASGI application.

    Args:
        origin: The one address that browsers use, such as `http://127.0.0.1:8788`.
        opening: The gateway and token of the terminals.
        logins: The links and the logged-in browsers.
        tell: Shows a line to the person who started the server.
    """

    def __init__(self, origin: str, opening: Opening, logins: BrowserLogins, tell: Callable[[str], None]) -> None:
        self.origin, self.opening, self.logins, self.tell = origin, opening, logins, tell
        self.host = urlsplit(origin).netloc
        secure = origin.startswith("https:")
        # Cookies are shared by all ports of a host: the port in the name tells two servers apart.
        self.cookie = f"{'__Host-' if secure else ''}paig-tui-{urlsplit(origin).port or 443}"
        self.attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
        self.terminals = 0
        self._mentioned = 0.0
        self.downloads: dict[str, Download] = {}
        self.files = dict(_static())

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._http(scope, receive, send)
            except WebRefusal as refused:
                await self._answer(send, refused.status, f"{refused}\n".encode())
            except ClientDisconnected:
                pass

    async def _http(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        self._check_host(headers)
        method, path = scope["method"], scope["path"]
        if method == "POST":
            self._check_origin(headers)
            if path == "/login":
                await self._enter(headers, _address(scope), receive, send)
                return
            if path == "/logout":
                await self._leave(headers, send)
                return
        if method not in ("GET", "POST"):
            raise WebRefusal(405, "Only GET and POST.")
        if method == "POST":
            raise WebRefusal(404, "There is nothing here.")
        name = path.removeprefix("/static/")
        if path == "/login":
            await self._page(send, 200, "login.html")
        elif path == "/":
            known = self._own_visit(headers) and self._login(headers) is not None
            await self._page(send, 200 if known else 401, "terminal.html" if known else "login.html")
        elif path.startswith("/download/"):
            await self._download(headers, path.removeprefix("/download/"), send)
        elif name != path and name in self.files and name not in PAGES:
            await self._answer(send, 200, self.files[name], TYPES[name.rpartition(".")[2]])
        else:
            raise WebRefusal(404, "There is nothing here.")

    async def _page(self, send: Send, status: int, name: str) -> None:
        nonce = secrets.token_urlsafe(16)
        body = self.files[name].replace(b"NONCE", nonce.encode())
        await self._answer(send, status, body, TYPES["html"], nonce=nonce)

    async def _enter(self, headers: dict[str, str], address: str, receive: Receive, send: Send) -> None:
        token = await _body(receive)
        agent = headers.get("user-agent", "an unknown browser")[:120]
        try:
            given = self.logins.enter(token)
        except LinkRefused as error:
            line = f"✕ a link was refused to {address}, {agent}: {error}"
            if error.suspicious:
                self.tell(f"{line} IF THAT WAS NOT YOU, log every browser out.")
            else:
                self._mention(line)
            raise WebRefusal(403, str(error)) from None
        self.tell(f"✓ logged in: {address}, {agent}")
        cookie = (f"{self.cookie}={given.cookie}{self.attributes}",)
        await self._answer(send, 200, json.dumps({"proof": given.proof}).encode(), "application/json", cookies=cookie)

    async def _leave(self, headers: dict[str, str], send: Send) -> None:
        login = self._login(headers)
        if login is not None:
            self.logins.leave(login)
            self.tell("· a browser logged out")
        await self._answer(send, 200, b"", cookies=(f"{self.cookie}={self.attributes}; Max-Age=0",))

    async def _download(self, headers: dict[str, str], key: str, send: Send) -> None:
        if not self._own_visit(headers) or self._login(headers) is None:
            raise WebRefusal(401, "Log in first.")
        download = self.downloads.pop(key, None)
        if download is None:
            raise WebRefusal(404, "There is no such download, or it was fetched already.")
        try:
            chunk = await download.next()
            disposition = f"attachment; filename*=UTF-8''{quote(download.name, safe='')}"
            start = {"type": "http.response.start", "status": 200}
            about = {"content-type": "application/octet-stream", "content-disposition": disposition}
            await send({**start, "headers": self._headers({**HEADERS, **about})})
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await download.next()
            await send({"type": "http.response.body", "body": b""})
        except ChildFailed as error:  # the body's end is not sent, so the browser reports an incomplete file
            self.tell(f"✕ a download failed: {error}")

    async def _websocket(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        headers = _headers(scope)
        try:
            self._check_host(headers)
            self._check_origin(headers)
            login = self._login(headers)
            if login is None or scope["path"] != "/terminal":
                raise WebRefusal(403, "Log in first.")
        except WebRefusal as refused:
            page = headers.get("origin", "no page")[:120]
            self._mention(f"✕ a terminal was refused to {page} at {_address(scope)}: {refused}")
            await terminal.close(send, terminal.LOGGED_OUT)  # before it is accepted: status 403
            return
        await send({"type": "websocket.accept"})
        try:
            await self._terminal(login, headers, receive, send)
        except TerminalEnded as over:
            if over.code is not None:
                await terminal.close(send, over.code)

    async def _terminal(self, login: BrowserLogin, headers: dict[str, str], receive: Receive, send: Send) -> None:
        hello = await terminal.hello(receive)
        if self._login(headers) is not login:  # it was logged out while we waited
            raise TerminalEnded(terminal.LOGGED_OUT)
        if not login.proven(hello.proof):
            self.tell("✕ a browser had the cookie, but not the proof that goes with it: was the cookie stolen?")
            raise TerminalEnded(terminal.LOGGED_OUT)
        if self.terminals >= MAX_TERMINALS:
            raise TerminalEnded(terminal.FULL)
        logged_out = asyncio.Event()
        self.terminals += 1
        try:
            with self.logins.holding(login, logged_out.set):
                problem = await terminal.run(self.opening, hello.size, logged_out, self.downloads, receive, send)
        finally:
            self.terminals -= 1
        if problem:
            self.tell(f"✕ a terminal failed: {problem}")

    def _mention(self, line: str) -> None:
        """Show a line that any client can cause, at most once a second."""
        now = time.monotonic()
        if now >= self._mentioned + 1:
            self._mentioned = now
            self.tell(line)

    def _check_host(self, headers: dict[str, str]) -> None:
        if headers.get("host") != self.host:
            raise WebRefusal(421, f"This server answers only at {self.origin}.")

    def _check_origin(self, headers: dict[str, str]) -> None:
        if headers.get("origin") != self.origin:
            raise WebRefusal(403, "The request did not come from a page of this server.")

    def _own_visit(self, headers: dict[str, str]) -> bool:
        """False if a page of another port led here, which `SameSite` allows; not every browser says so."""
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")

    def _login(self, headers: dict[str, str]) -> BrowserLogin | None:
        pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        return next(
            (login for name, _, value in pairs if name == self.cookie and (login := self.logins.login(value))), None
        )

    def _headers(self, headers: dict[str, str], cookies: Iterable[str] = ()) -> list[tuple[bytes, bytes]]:
        pairs = [*headers.items(), *(("set-cookie", cookie) for cookie in cookies)]
        return [(name.encode(), value.encode("latin-1")) for name, value in pairs]

    async def _answer(
        self,
        send: Send,
        status: int,
        body: bytes,
        kind: str = "text/plain; charset=utf-8",
        *,
        cookies: Iterable[str] = (),
        nonce: str = "",
    ) -> None:
        about = {"content-type": kind, "content-length": str(len(body))}
        about["content-security-policy"] = policy(self.origin, nonce or secrets.token_urlsafe(16))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": self._headers({**HEADERS, **about}, cookies),
            }
        )
        await send({"type": "http.response.body", "body": body})


def _static() -> Iterable[tuple[str, bytes]]:
    """Every file that can be served; nothing else can."""
    folder = files("paig_tui.web") / "static"
    for place, prefix in ((folder, ""), (folder / "xterm", "xterm/")):
        for file in place.iterdir():
            if file.name.rpartition(".")[2] in TYPES:
                yield prefix + file.name, file.read_bytes()


async def _body(receive: Receive) -> str:
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_TOKEN:
            raise WebRefusal(413, "The body is too long for a token.")
    return body.decode("utf-8", "replace")


def _headers(scope: dict[str, Any]) -> dict[str, str]:
    """The headers by name; the values of a repeated header are joined, so that no check accepts them."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joint = "; " if key == "cookie" else ", "
        found[key] = f"{found[key]}{joint}{text}" if key in found else text
    return found


def _address(scope: dict[str, Any]) -> str:
    client = scope.get("client")
    return client[0] if client else "an unknown address"
