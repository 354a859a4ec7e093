"""An identity provider of the tests' own, which says whatever it is told, however wrong."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt

from tests.gateway.sso.conftest import new_key

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = new_key("first")


def public(key: dict[str, Any]) -> dict[str, Any]:
    """The public part of a key."""
    told = ("kty", "n", "e", "kid", "use", "alg", "crv", "x", "y")
    return {name: value for name, value in key.items() if name in told}


@dataclass
class Liar:
    """An identity provider that says what a test tells it to."""

    issuer: str = ""
    now: datetime = NOW
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public(KEY)])
    answer: dict[str, Any] = field(default_factory=dict)
    """To every POST, unless `first` has something."""
    first: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """To the next POSTs, each with its status."""
    userinfo: dict[str, Any] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    """Of a device login, beside or in place of what is good."""
    raw: bytes | None = None
    """To every POST, as it stands."""
    encoding: str | None = None
    """How it says that its answers are compressed."""
    seen: list[dict[str, str]] = field(default_factory=list)
    """The headers of each POST."""
    looks: int = 0
    """How often its keys were read."""
    drips: bool = False
    """Whether an answer comes a space at a time, without an end."""
    done: threading.Event = field(default_factory=threading.Event)

    def say(
        self, key: dict[str, Any] = KEY, *, alg: str = "RS256", headers: dict[str, Any] | None = None, **more: Any
    ) -> None:
        """Answer the next login with a token of these claims beside those of a good one; None leaves one out."""
        at = int(self.now.timestamp())
        good = {
            "iss": self.issuer,
            "aud": "paig",
            "sub": "ada",
            "exp": at + 300,
            "iat": at,
            "nonce": "n",
            "groups": ["g"],
        }
        claims = {name: value for name, value in {**good, **more}.items() if value is not None}
        signer = jwt.PyJWK.from_dict(key, alg).key
        named = {} if headers == {} else {"kid": key["kid"], **(headers or {})}
        self.answer = {"id_token": jwt.encode(claims, signer, alg, named)}


@contextmanager
def running_liar(tls: ssl.SSLContext | None = None) -> Iterator[Liar]:
    """The identity provider, served; with `tls` also as a proxy to one by https."""
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = liar.issuer
            if self.path == "/.well-known/openid-configuration":
                found: dict[str, Any] = {
                    "issuer": issuer, "authorization_endpoint": f"{issuer}/auth", "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/jwks", "userinfo_endpoint": f"{issuer}/me",
                    "device_authorization_endpoint": f"{issuer}/device", **liar.discovery,
                }  # fmt: skip
            elif self.path == "/jwks":
                liar.looks += 1
                found = {"keys": liar.keys}
            else:
                found = liar.userinfo
            self.reply(200, found)

        def do_CONNECT(self) -> None:
            """Be a proxy for whatever host, and that host."""
            assert tls is not None
            self.send_response(200)
            self.end_headers()
            self.connection = tls.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            liar.seen.append({name.lower(): value for name, value in self.headers.items()})
            if self.path == "/device":
                about = {"device_code": "d", "user_code": "u", "verification_uri": f"{liar.issuer}/go"}
                self.reply(200, {**about, "expires_in": 600, "interval": 5, **liar.device})
                return
            self.reply(*liar.first.pop(0) if liar.first else (200, liar.answer))

        def reply(self, status: int, found: dict[str, Any]) -> None:
            body = json.dumps(found).encode() if liar.raw is None or self.command != "POST" else liar.raw
            self.send_response(status)
            if liar.encoding:
                self.send_header("content-encoding", liar.encoding)
            self.send_header("content-type", "application/json")
            if liar.drips:
                self.end_headers()
                while not liar.done.wait(0.02):
                    self.wfile.write(b" ")
                return
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients may go."""

    with Server(("127.0.0.1", 0), Handler) as server:
        liar.issuer = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield liar
        finally:
            liar.done.set()
            server.shutdown()
            thread.join()
