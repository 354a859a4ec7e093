"""How requests to providers are authenticated: one function a scheme."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Credential

if TYPE_CHECKING:
    from google.auth.transport import Request as GoogleRequest

AuthScheme = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "google", "aws", "aws-s3", "aws-anthropic"]

_GOOGLE_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_AWS = frozenset({"aws", "aws-s3", "aws-anthropic"})
"""Schemes that sign with the machine's own AWS credentials where a provider has none."""
_SERVICES = {"bedrock-mantle": "bedrock-mantle", "anthropic-aws": "aws-external-anthropic"}
"""The service that a signature is for, by the provider's kind, where it is not `bedrock` (anthropic 2.14)."""
_EARLY = 300.0
"""Seconds before its end at which a token is renewed."""
_MOST_TOKEN_BYTES = 1_000_000
_TOKEN_SECONDS = 30.0
"""How large the answer of a token server may be, and how long it may take."""


class SigningError(Exception):
    """A provider's credential cannot be used; the message says why, without the credential."""


@dataclass(slots=True)
class Authenticator:
    """Signs requests to providers, and keeps OAuth tokens until shortly before they expire.

    Token servers are reached as the provider is: through its proxy, with its authorities, else with these.

    Attributes:
        clock: Seconds since the epoch.
        proxy: URL of an HTTP proxy, `direct` for none; None if it is not set.
        ca_file: A PEM file of authorities to trust besides the system's, or None.
        trust_env: Whether the environment names the proxy, if none is set.
        forbids: Whether the gateway must not connect to a host with these addresses.
    """

    clock: Callable[[], float] = time.time
    proxy: str | None = None
    ca_file: str | None = None
    trust_env: bool = False
    forbids: Callable[[str, Iterable[str]], bool] = lambda host, addresses: False
    _tokens: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    _locks: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)

    async def headers(
        self,
        scheme: AuthScheme,
        provider: ActiveProvider,
        credential: Credential,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
    ) -> Headers:
        """The headers that authenticate a request with one of the provider's credentials, to be added to `headers`.

        Raises:
            SigningError: The credential is malformed, or no token could be fetched with it.
        """
        if credential.secret is None and scheme not in _AWS:
            return []
        return await _SCHEMES[scheme](self, provider, credential.secret or "", method, url, headers, body)

    @staticmethod
    def is_steady(scheme: AuthScheme) -> bool:
        """Whether a scheme's headers follow from the credential alone: no signature of the request, no token."""
        return scheme not in (*_AWS, "google")

    async def google_token(self, provider: ActiveProvider, secret: str) -> str:
        """An OAuth token for a Google credential, renewed in a thread before it ends."""
        key = (provider.name, secret)
        token = self._tokens.get(key)
        if token and self.clock() < token[1] - _EARLY:
            return token[0]
        async with self._locks.setdefault(key, asyncio.Lock()):
            token = self._tokens.get(key)
            if token and self.clock() < token[1] - _EARLY:
                return token[0]
            self._tokens[key] = token = await asyncio.to_thread(_fetch_google_token, self, provider, secret)
            return token[0]


async def _bearer(auth: Authenticator, provider: ActiveProvider, secret: str, *_: object) -> Headers:
    return [(b"authorization", b"Bearer " + _ascii(provider, secret))]


async def _x_api_key(auth: Authenticator, provider: ActiveProvider, secret: str, *_: object) -> Headers:
    return [(b"x-api-key", _ascii(provider, secret))]


async def _api_key(auth: Authenticator, provider: ActiveProvider, secret: str, *_: object) -> Headers:
    return [(b"api-key", _ascii(provider, secret))]


async def _x_goog_api_key(auth: Authenticator, provider: ActiveProvider, secret: str, *_: object) -> Headers:
    return [(b"x-goog-api-key", _ascii(provider, secret))]


async def _google(auth: Authenticator, provider: ActiveProvider, secret: str, *_: object) -> Headers:
    """A JSON credential is exchanged for OAuth tokens; any other is an API key (Vertex express mode)."""
    if not secret.lstrip().startswith("{"):
        return await _x_goog_api_key(auth, provider, secret)
    return [(b"authorization", b"Bearer " + (await auth.google_token(provider, secret)).encode("ascii"))]


async def _aws(
    auth: Authenticator, provider: ActiveProvider, secret: str, method: str, url: str, headers: Headers, body: bytes
) -> Headers:
    """AWS credentials sign (SigV4); any other credential is a Bedrock API key."""
    keys = _aws_keys(secret)
    if keys is None and secret:
        return await _bearer(auth, provider, secret)
    return await asyncio.to_thread(_sign, provider, keys, method, url, headers, body)


async def _aws_s3(
    auth: Authenticator, provider: ActiveProvider, secret: str, method: str, url: str, headers: Headers, body: bytes
) -> Headers:
    """Amazon S3 takes signatures alone."""
    keys = _aws_keys(secret)
    if keys is None and secret:
        raise SigningError(f"the credential of provider '{provider.name}' is an API key of Bedrock, which S3 refuses")
    return await asyncio.to_thread(_sign, provider, keys, method, url, headers, body, "s3")


async def _aws_anthropic(
    auth: Authenticator, provider: ActiveProvider, secret: str, method: str, url: str, headers: Headers, body: bytes
) -> Headers:
    """The Claude Platform on AWS: a signature or an API key, and the workspace that pays."""
    keys = _aws_keys(secret)
    if keys is None and secret:
        signed = await _x_api_key(auth, provider, secret)
    else:
        signed = await asyncio.to_thread(_sign, provider, keys, method, url, headers, body)
    workspace = provider.settings.get("workspace")
    return [*signed, (b"anthropic-workspace-id", _ascii(provider, workspace))] if workspace else signed


_Apply = Callable[..., Awaitable[Headers]]

_SCHEMES: Mapping[AuthScheme, _Apply] = {
    "bearer": _bearer,
    "x-api-key": _x_api_key,
    "api-key": _api_key,
    "x-goog-api-key": _x_goog_api_key,
    "google": _google,
    "aws": _aws,
    "aws-s3": _aws_s3,
    "aws-anthropic": _aws_anthropic,
}


def _ascii(provider: ActiveProvider, secret: str) -> bytes:
    credential = secret.strip()
    if not credential.isascii() or not credential.isprintable():
        raise SigningError(
            f"the credential of provider '{provider.name}' has characters that are not allowed in a header"
        )
    return credential.encode("ascii")


def _google_transport(auth: Authenticator, provider: ActiveProvider) -> GoogleRequest:
    """The HTTP client of google-auth: with the provider's proxy and trust, and bounded answers."""
    import google.auth.exceptions
    import httpx2
    from google.auth.transport import Request, Response

    proxy = provider.upstream_proxy if provider.upstream_proxy is not None else auth.proxy

    class HttpxResponse(Response):
        def __init__(self, response: httpx2.Response, body: bytes) -> None:
            self._response = response
            self._body = body

        @property
        def status(self) -> int:
            return self._response.status_code

        @property
        def headers(self) -> Mapping[str, str]:
            return self._response.headers

        @property
        def data(self) -> bytes:
            return self._body

    class HttpxRequest(Request):
        def __call__(
            self,
            url: str,
            method: str = "GET",
            body: bytes | None = None,
            headers: Mapping[str, str] | None = None,
            timeout: float | None = 30,
            **_: object,
        ) -> HttpxResponse:
            from_environment = auth.trust_env and proxy is None
            direct = _proxy_url(proxy) is None and not (from_environment and _environment_proxy(url))
            try:
                if direct:
                    _check_addresses(auth, url)
                with (
                    httpx2.Client(
                        proxy=_proxy_url(proxy),
                        verify=_trust(provider.upstream_ca or auth.ca_file),
                        trust_env=from_environment,
                        timeout=timeout or _TOKEN_SECONDS,
                    ) as client,
                    client.stream(
                        method, url, content=body, headers={"accept-encoding": "identity", **(headers or {})}
                    ) as response,
                ):
                    if direct:  # the name may resolve to another address by now
                        peer = response.extensions["network_stream"].get_extra_info("server_addr")
                        _check_peer(auth, url, [str(peer[0])] if peer else [])
                    encoding = response.headers.get("content-encoding", "identity")
                    return HttpxResponse(response, _decoded(encoding, _bounded(response.iter_raw())))
            except (httpx2.HTTPError, OSError, ValueError) as error:
                raise google.auth.exceptions.TransportError(str(error)) from error

    return HttpxRequest()


def _fetch_google_token(auth: Authenticator, provider: ActiveProvider, secret: str) -> tuple[str, float]:
    import google.auth.exceptions
    from google.auth import identity_pool
    from google.oauth2 import credentials as user_credentials
    from google.oauth2 import service_account

    try:
        info = json.loads(secret)
        if token_url := provider.settings.get("token_url"):
            info = {**info, "token_uri": token_url}
        match info.get("type"):
            case "service_account":
                credentials = service_account.Credentials.from_service_account_info(info, scopes=_GOOGLE_SCOPES)
            case "authorized_user":
                credentials = user_credentials.Credentials.from_authorized_user_info(info, scopes=_GOOGLE_SCOPES)
            case "external_account":
                credentials = identity_pool.Credentials.from_info(info, scopes=_GOOGLE_SCOPES)
            case other:
                raise ValueError(f"unknown type {other!r}")
        credentials.refresh(_google_transport(auth, provider))
    except (ValueError, google.auth.exceptions.GoogleAuthError) as error:
        reason = type(error).__name__
        raise SigningError(f"cannot get a Google token for provider '{provider.name}' ({reason})") from error
    # google-auth's expiry is naive, in UTC.
    ends = credentials.expiry.replace(tzinfo=UTC).timestamp() if credentials.expiry else time.time() + 3600
    return credentials.token, ends


def _check_addresses(auth: Authenticator, url: str) -> None:
    """Check that the name in a URL does not resolve to an address that the gateway must not connect to.

    Raises:
        OSError: It does, or it cannot be resolved.
        ValueError: It is not a URL.
    """
    parts = urlsplit(url)
    found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    _check_peer(auth, url, (str(address[0]) for *_, address in found))


def _check_peer(auth: Authenticator, url: str, addresses: Iterable[str]) -> None:
    host = urlsplit(url).hostname or ""
    if auth.forbids(host, addresses):
        raise OSError(f"{host} leads to a metadata service")


def _environment_proxy(url: str) -> bool:
    """Whether the environment names a proxy for a URL."""
    parts = urlsplit(url)
    proxies = getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.hostname or "")


def _bounded(chunks: Iterable[bytes]) -> bytes:
    """The body of a token server's answer.

    Raises:
        OSError: It is too large, or takes too long.
    """
    found = bytearray()
    until = time.monotonic() + _TOKEN_SECONDS
    for chunk in chunks:
        found += chunk
        if len(found) > _MOST_TOKEN_BYTES or time.monotonic() > until:
            raise OSError("the token server's answer is too large or takes too long")
    return bytes(found)


def _decoded(encoding: str, body: bytes) -> bytes:
    """The body of an answer, whose server may encode it although it was asked not to.

    Raises:
        OSError: It is too large, or in another encoding than gzip.
    """
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise OSError(f"the token server's answer has the content encoding {encoding!r}")
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = decoder.decompress(body, _MOST_TOKEN_BYTES)
    except zlib.error as error:
        raise OSError("the token server's answer is not gzip") from error
    if decoder.unconsumed_tail:
        raise OSError("the token server's answer is too large")
    return found


def _proxy_url(given: str | None) -> str | None:
    if given is None or given in ("", "direct"):
        return None
    return given if "://" in given else f"http://{given}"


def _trust(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _aws_keys(secret: str) -> tuple[str, str, str | None] | None:
    """`{"access_key_id": …, "secret_access_key": …, "session_token": …}` or `ID:SECRET[:TOKEN]`."""
    text = secret.strip()
    if text.startswith("{"):
        try:
            found = {str(key).lower().removeprefix("aws_"): value for key, value in json.loads(text).items()}
            return found["access_key_id"], found["secret_access_key"], found.get("session_token")
        except (ValueError, KeyError, AttributeError):
            raise SigningError(
                "AWS credentials in JSON need access_key_id and secret_access_key, and may have session_token"
            ) from None
    parts = text.split(":", 2)
    if len(parts) >= 2 and parts[0][:4] in ("AKIA", "ASIA"):
        return parts[0], parts[1], parts[2] if len(parts) == 3 else None
    return None


def _sign(
    provider: ActiveProvider,
    keys: tuple[str, str, str | None] | None,
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
    service: str | None = None,
) -> Headers:
    import botocore.session
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    credentials = Credentials(*keys) if keys else botocore.session.get_session().get_credentials()
    if credentials is None:
        raise SigningError(f"provider '{provider.name}' has no credential, and this machine has no AWS credentials")
    content_type = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), None)
    request = AWSRequest(
        method=method, url=url, data=body, headers={"content-type": content_type} if content_type else {}
    )
    service = service or _SERVICES.get(provider.kind, "bedrock")
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(credentials, service, provider.settings.get("region", "us-east-1")).add_auth(request)
    signed = {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
    return [
        (name.lower().encode("ascii"), str(value).encode("latin-1"))
        for name, value in request.headers.items()
        if name.lower() in signed
    ]
