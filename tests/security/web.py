"""Small web servers of the tests' own, for what an attacker serves, and an identity provider that agrees to all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt

from paig_gateway.database.engine import utc_now
from tests.gateway.sso.liar import KEY, public


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    body: bytes = b""
    kind: str = "text/html"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Server:
    """A running one."""

    port: int
    seen: list[Asked] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """By its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def other_site(self) -> str:
        """The same server by another name: to browsers another site."""
        return f"http://localhost:{self.port}"


@asynccontextmanager
async def serving(handle: Callable[[Asked], Answer]) -> AsyncIterator[Server]:
    """Serve on a free port; each connection takes one request."""
    running = Server(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            pairs = (line.partition(":") for line in lines[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            asked = Asked(method, target, headers, body)
            running.seen.append(asked)
            answer = handle(asked)
            told = [("content-type", answer.kind), ("content-length", str(len(answer.body))), ("connection", "close")]
            head = "".join(f"{name}: {value}\r\n" for name, value in (*answer.headers, *told))
            writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode() + answer.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # browsers open connections that they do not use
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    async with server:
        yield running


@asynccontextmanager
async def agreeing_provider(group: str) -> AsyncIterator[str]:
    """An identity provider that logs everyone in at once as a member of a group; yields its issuer."""
    nonces: list[str] = []

    def handle(asked: Asked) -> Answer:
        parts = urlsplit(asked.target)
        given = dict(parse_qsl(parts.query))
        found: dict[str, object]
        if parts.path == "/auth":
            nonces.append(given["nonce"])
            back = f"{given['redirect_uri']}?{urlencode({'code': 'c', 'state': given['state']})}"
            return Answer(status=303, headers=(("location", back),))
        if parts.path == "/token":
            at = int(utc_now().timestamp())
            claims = {
                "iss": running.origin, "aud": "paig", "sub": "ada", "exp": at + 300, "iat": at, "nonce": nonces[-1],
                "groups": [group], "email": "ada@example.com", "email_verified": True,
            }  # fmt: skip
            signed = jwt.encode(claims, jwt.PyJWK.from_dict(KEY, "RS256").key, "RS256", {"kid": KEY["kid"]})
            found = {"id_token": signed, "access_token": "x", "token_type": "Bearer"}
        elif parts.path == "/jwks":
            found = {"keys": [public(KEY)]}
        else:
            found = {
                "issuer": running.origin, "authorization_endpoint": f"{running.origin}/auth",
                "token_endpoint": f"{running.origin}/token", "jwks_uri": f"{running.origin}/jwks",
            }  # fmt: skip
        return Answer(json.dumps(found).encode(), "application/json")

    async with serving(handle) as running:
        yield running.origin
