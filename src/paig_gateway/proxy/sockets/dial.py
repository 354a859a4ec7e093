"""Connecting a session to a provider: one member of the route after the other, until one accepts the upgrade."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from paig_client.api.errors import ErrorCode
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.providers.auth import SigningError
from paig_gateway.proxy.egress import own_egress
from paig_gateway.proxy.exchange import Exchange, new_attempt
from paig_gateway.proxy.headers import to_upstream
from paig_gateway.proxy.provider_client import ProviderAccess
from paig_gateway.proxy.sockets.apis import Api
from paig_gateway.proxy.sockets.peer import ClientFrames, Peer
from paig_gateway.proxy.upstream_errors import failure
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.failures import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from paig_gateway.routing.verdicts import REACH, Reach, of_status

log = logging.getLogger(__name__)

Attempt = dict[str, object]


@dataclass(frozen=True, slots=True)
class RequestedUpgrade:
    """The upgrade that the client requested.

    Attributes:
        subprotocols: Those that it offers, without the one that carries its key.
        deflate: Whether it offers compression.
        max_size: Bytes of a message at most.
    """

    subprotocols: tuple[str, ...] = ()
    deflate: bool = False
    max_size: int = 16 * 1024 * 1024


@dataclass(slots=True)
class Connected:
    """A provider that accepted the upgrade, or the last one's refusal of it.

    Attributes:
        peer: The connection; None if the provider refused.
        status: The answer's status.
        headers: The answer's headers, names in lower case.
    """

    peer: Peer | None
    candidate: Candidate
    status: int
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Dialler:
    """Connects sessions."""

    access: ProviderAccess

    async def connect(
        self, api: Api, exchange: Exchange, order: deque[Candidate], wanted: RequestedUpgrade, attempts: list[Attempt]
    ) -> Connected:
        """Try candidates in turn until one accepts.

        Args:
            exchange: The upgrade.
            order: The candidates; each is removed when it is tried.
            wanted: The client's upgrade.
            attempts: Receives each try, in the shape of the wire model `Attempt`.

        Returns:
            The candidate that accepted; else the one whose refusal goes to the client: no other candidate could
            answer differently, or none is left.

        Raises:
            GatewayError: `upstream-unreachable` or `upstream-timeout`: the last try brought no answer.
        """
        health, clock = self.access.health, self.access.clock
        health.request(exchange.route.name)
        health.pick(order)
        while True:
            candidate = order.popleft()
            outcome, reach = await self._attempt(api, exchange, candidate, wanted, attempts)
            if reach == "member":
                left = [other for other in order if other.member is not candidate.member]
                order.clear()
                order.extend(left)
            goes_on = (
                reach is not None
                and not self.access.deadlines.is_over(exchange, clock())
                and health.pick(order, answered=isinstance(outcome, Connected))
                and health.retry(exchange.route.name)
            )
            if goes_on:
                continue
            if isinstance(outcome, GatewayError):
                raise outcome
            return outcome

    async def _attempt(
        self, api: Api, exchange: Exchange, candidate: Candidate, wanted: RequestedUpgrade, attempts: list[Attempt]
    ) -> tuple[Connected | GatewayError, Reach | None]:
        """Try a candidate; returns its answer, or the error if it brought none, and what else may be tried then."""
        began = self.access.clock()
        attempt = new_attempt(candidate, exchange, began)
        attempts.append(attempt)
        tried = self.access.health.begin(candidate)
        try:
            found = await self._try_renewed(api, exchange, candidate, wanted, len(attempts))
            attempt["status"] = found.status
            verdict = tried.answered(found.status, found.headers, found.body)
            if verdict == "credential_rejected":
                self.access.directory.doubt(candidate.credential.id)
            return found, REACH[verdict]
        except SigningError as error:
            tried.credential_rejected("credential")
            attempt["error"] = "credential"
            return GatewayError("upstream-unreachable", f"{error} Ask an administrator to fix it."), "credential"
        except UpstreamError as error:
            tried.failed(error)
            late = isinstance(error, UpstreamTimeout)
            code: ErrorCode = "upstream-timeout" if late else "upstream-unreachable"
            attempt["error"] = code
            what = "did not answer in time" if late else "could not be reached"
            return GatewayError(code, f"The provider '{candidate.provider.name}' {what} ({error.reason})."), "member"
        finally:
            tried.end()
            attempt["ms"] = round((self.access.clock() - began) * 1000, 3)

    async def _try_renewed(
        self, api: Api, exchange: Exchange, candidate: Candidate, wanted: RequestedUpgrade, number: int
    ) -> Connected:
        """Try a candidate; once more if its credential is refused, and its file or keyring has another one by now."""
        found = await self._try(api, exchange, candidate, wanted, number)
        if found.peer is not None or of_status(found.status, found.body) != "credential_rejected":
            return found
        renewed = await asyncio.to_thread(self.access.directory.renewed, candidate.credential)
        if renewed is None:
            return found
        log.info("%s refused a credential that has changed: sending the new one", candidate.provider.name)
        return await self._try(api, exchange, replace(candidate, credential=renewed), wanted, number)

    async def _try(
        self, api: Api, exchange: Exchange, candidate: Candidate, wanted: RequestedUpgrade, number: int
    ) -> Connected:
        kind, provider = candidate.kind, candidate.provider
        if problem := self.access.directory.problem(provider.name):
            raise SigningError(problem)
        url = api.url(kind, provider, exchange.target, candidate.model)
        headers = to_upstream(exchange.headers)
        if exchange.trace is not None:
            headers += exchange.trace.headers(number)
        client = self.access.client
        headers += await client.auth.headers(kind.auth, provider, candidate.credential, "GET", url, headers, b"")
        frames = ClientFrames(
            _uri(url),
            extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)] if wanted.deflate else None,
            subprotocols=[Subprotocol(name) for name in wanted.subprotocols] or None,
            max_size=wanted.max_size,
        )
        request = frames.connect()
        for name, value in headers:
            text = name.decode("latin-1")
            if text not in request.headers:
                request.headers[text] = value.decode("latin-1")
        peer = Peer(frames)
        limits = self.access.deadlines.of_try(exchange, provider, self.access.clock())
        await client.upstream.dial(url, peer, limits.connect, way=own_egress(provider))
        try:
            frames.send_request(request)
            peer.flush()
            async with asyncio.timeout(limits.first_byte):
                response = await asyncio.shield(peer.answered)
        except BaseException as error:
            peer.abort()
            if isinstance(error, InvalidHandshake):
                raise UpstreamUnreachable("the answer to the upgrade is not WebSocket", sent=True) from None
            if isinstance(error, OSError):
                raise failure(error, "answer") from None
            raise
        found = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in _items(response)]
        if frames.handshake_exc is None:
            return Connected(peer, candidate, response.status_code, found)
        peer.abort()
        if response.status_code == 101:
            raise UpstreamUnreachable("the answer to the upgrade is not WebSocket", sent=True)
        return Connected(None, candidate, response.status_code, found, bytes(response.body or b""))


def _items(response: Response) -> list[tuple[str, str]]:
    return list(response.headers.raw_items())


def _uri(url: str) -> WebSocketURI:
    """A provider's URL as `websockets` takes it; the path and the query go out as they are written."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    return WebSocketURI(
        secure, parts.hostname or "", parts.port or (443 if secure else 80), parts.path or "/", parts.query, None, None
    )
