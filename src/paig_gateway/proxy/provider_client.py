"""What it takes to send requests to providers, and the gateway's own requests to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.providers.auth import Authenticator, AuthScheme
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.egress import own_egress
from paig_gateway.proxy.upstream import Upstream, UpstreamResponse
from paig_gateway.routing.deadlines import Deadlines
from paig_gateway.routing.health import HealthTracker


@dataclass(frozen=True, slots=True)
class ProviderClient:
    """Sends the gateway's own requests to providers.

    Attributes:
        upstream: The HTTP client of the data plane, with its trust and its proxies.
        auth: Signs requests.
    """

    upstream: Upstream
    auth: Authenticator

    @asynccontextmanager
    async def get(self, provider: ActiveProvider, credential: Credential, path: str) -> AsyncIterator[UpstreamResponse]:
        """Send a GET to a provider, and yield its response.

        Args:
            credential: One of its credentials.
            path: The path after the route, as a client would send it, with its query.

        Raises:
            UpstreamError: There was no response.
            SigningError: The credential cannot be used.
        """
        kind = KINDS[provider.kind]
        plain, mark, query = path.partition("?")
        url = f"{kind.path(provider.base_url, plain, provider.settings)}{mark}{query}"
        named: Headers = [(b"anthropic-version", b"2023-06-01")] if "anthropic" in kind.speaks else []
        async with self.get_at(url, kind.auth, provider, credential, named) as answer:
            yield answer

    @asynccontextmanager
    async def get_at(
        self, url: str, scheme: AuthScheme, provider: ActiveProvider, credential: Credential, more: Headers
    ) -> AsyncIterator[UpstreamResponse]:
        """Send a GET to an address that takes the provider's credential, and yield its response.

        Args:
            url: The address.
            scheme: How the credential is sent there.
            more: Further headers.

        Raises:
            UpstreamError: There was no response.
            SigningError: The credential cannot be used.
        """
        headers: Headers = [(b"accept", b"*/*"), (b"accept-encoding", b"identity"), *more]
        headers += await self.auth.headers(scheme, provider, credential, "GET", url, headers, b"")
        answer = await self.upstream.send("GET", url, headers, None, way=own_egress(provider))
        try:
            yield answer
        finally:
            await answer.aclose()


@dataclass(frozen=True, slots=True)
class ProviderAccess:
    """What it takes to send clients' requests to providers, over HTTP and over WebSockets.

    Attributes:
        directory: Knows which providers cannot be used, and reads refused credentials again.
        health: The circuit breakers.
        deadlines: How long requests may take.
        clock: Monotonic seconds.
    """

    client: ProviderClient
    directory: Directory
    health: HealthTracker
    deadlines: Deadlines
    clock: Callable[[], float]


def credential_of(provider: ActiveProvider, id: str) -> Credential:
    """The credential with an id, else the first one: a replaced credential usually has the same account."""
    return next((one for one in provider.credentials if one.id == id), provider.credentials[0])
