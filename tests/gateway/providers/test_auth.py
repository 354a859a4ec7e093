"""Access tokens of Google are fetched as the provider itself is reached: by its proxy, with its authorities."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.providers.auth import Authenticator, SigningError
from paig_gateway.providers.kinds import KINDS

pytestmark = pytest.mark.anyio
ANSWER = json.dumps({"access_token": "a-token", "expires_in": 3600})


@cache
def account() -> str:
    """A service account's JSON."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({
        "type": "service_account", "client_email": "paig@example.com", "private_key": pem,
        "token_uri": "http://127.0.0.1:1/token",
    })  # fmt: skip


@asynccontextmanager
async def token_server(
    tls: ssl.SSLContext | None = None, answer: bytes = ANSWER.encode(), encoding: str | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that gives a token to every request; its port, and the targets that it was asked for.

    Without `encoding` it answers as Google does: in gzip, if the client takes that.
    """
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        [length] = [int(line[16:]) for line in head.splitlines() if line.lower().startswith("content-length: ")]
        await reader.readexactly(length)
        asked.append(head.split()[1])
        accepts = [line for line in head.lower().splitlines() if line.startswith("accept-encoding:") and "gzip" in line]
        used = encoding or ("gzip" if accepts else "identity")
        body = gzip.compress(answer) if used == "gzip" else answer
        said = f"content-length: {len(body)}\r\ncontent-encoding: {used}\r\nconnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\n{said}".encode() + body)
        await writer.drain()
        writer.close()
        with suppress(ConnectionError):  # the client may close first
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def vertex(token_url: str, *, proxy: str | None = None, ca: str | None = None) -> ActiveProvider:
    settings = {"token_url": token_url}
    return ActiveProvider(
        "vertex", "google-vertex", "https://vertex", settings=settings, upstream_proxy=proxy, upstream_ca=ca
    )


@pytest.mark.parametrize("whose", ["server", "provider", "without a scheme"])
async def test_tokens_come_through_the_proxy(whose: str) -> None:
    """The server's proxy, or the provider's own, gets the request for the token server."""
    async with token_server() as (port, asked):
        there = f"127.0.0.1:{port}" if whose == "without a scheme" else f"http://127.0.0.1:{port}"
        nowhere = "http://127.0.0.1:1"
        auth = Authenticator(proxy=nowhere if whose == "provider" else there)
        provider = vertex("http://token.example/token", proxy=there if whose == "provider" else None)
        assert await auth.google_token(provider, account()) == "a-token"
    assert asked == ["http://token.example/token"]


async def test_a_token_may_come_encoded() -> None:
    """Whether or not the server heeds what the gateway accepts; what it inflates to is bounded."""
    for encoding in (None, "gzip"):
        async with token_server(encoding=encoding) as (port, _):
            provider = vertex(f"http://127.0.0.1:{port}/token")
            assert await Authenticator().google_token(provider, account()) == "a-token"
    for answer, encoding in ((ANSWER.encode() + b" " * 2_000_000, "gzip"), (ANSWER.encode(), "br")):
        async with token_server(answer=answer, encoding=encoding) as (port, _):
            with pytest.raises(SigningError, match="cannot get a Google token"):
                await Authenticator().google_token(vertex(f"http://127.0.0.1:{port}/token"), account())


async def test_direct_uses_no_proxy() -> None:
    """A provider that is reached without the server's proxy gets its tokens so, too."""
    async with token_server() as (port, asked):
        auth = Authenticator(proxy="http://127.0.0.1:1")
        provider = vertex(f"http://127.0.0.1:{port}/token", proxy="direct")
        assert await auth.google_token(provider, account()) == "a-token"
    assert asked == ["/token"]


async def test_tokens_come_from_a_server_with_a_private_certificate(tmp_path: Path) -> None:
    """The authorities of `upstream_ca` are trusted; without them, or without the file, there is no token."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    async with token_server(tls) as (port, _):
        url = f"https://127.0.0.1:{port}/token"
        assert await Authenticator(ca_file=str(file)).google_token(vertex(url), account()) == "a-token"
        assert await Authenticator().google_token(vertex(url, ca=str(file)), account()) == "a-token"
        for ca in (None, str(tmp_path / "missing.pem")):
            with pytest.raises(SigningError, match="cannot get a Google token"):
                await Authenticator().google_token(vertex(url, ca=ca), account())


@pytest.mark.parametrize(
    ("kind", "secret", "said"),
    [
        ("bedrock", "AKIAX:secret", "/us-east-1/bedrock/aws4_request"),
        ("bedrock-mantle", "AKIAX:secret", "/us-east-1/bedrock-mantle/aws4_request"),
        ("anthropic-aws", "AKIAX:secret", "/us-east-1/aws-external-anthropic/aws4_request"),
        ("bedrock-mantle", "an-api-key", "Bearer an-api-key"),
        ("anthropic-aws", "an-api-key", "an-api-key"),
    ],
)
async def test_each_of_amazons_services_gets_its_own_signature(kind: str, secret: str, said: str) -> None:
    """A signature names its service; the Claude Platform takes a key in Anthropic's header, and a workspace."""
    settings = {"region": "us-east-1", "workspace": "wrkspc_1"}
    provider = ActiveProvider("aws", kind, "https://h", settings=settings)
    made = await Authenticator().headers(
        KINDS[kind].auth, provider, Credential("c", secret), "POST", "https://h/v1/messages", [], b"{}"
    )
    headers = {name: value.decode() for name, value in made}
    assert said in headers.get(b"authorization", headers.get(b"x-api-key", ""))
    assert headers.get(b"anthropic-workspace-id") == ("wrkspc_1" if kind == "anthropic-aws" else None)
