"""Connecting a session to a provider: one member of the route after the other, until one accepts the upgrade."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import Credential
from paig_gateway.providers.auth import Authenticator, SigningError
from paig_gateway.proxy.exchange import Exchange
from paig_gateway.proxy.failover import way_to
from paig_gateway.proxy.headers import to_upstream
from paig_gateway.proxy.sockets.apis import Api
from paig_gateway.proxy.sockets.peer import ClientFrames, Peer
from paig_gateway.proxy.upstream import Upstream
from paig_gateway.proxy.upstream_errors import failure
from paig_gateway.routing.candidates import Candidate
from paig_gateway.routing.deadlines import Deadlines
from paig_gateway.routing.failures import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from paig_gateway.routing.health import HealthTracker
from paig_gateway.routing.verdicts import REACH, of_status

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
        candidate: The provider that it is connected to.
        status: The answer's status.
        headers: The answer's headers, names in lower case.
        body: The body of a refusal.
    """

    peer: Peer | None
    candidate: Candidate
    status: int
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Dialler:
    """Connects sessions.

    Attributes:
        problem: Why nothing can be sent to the provider of a name, or None.
        clock: Monotonic seconds.
        doubt: Has the credential of an id read again, as a provider refused it.
        renewed: A refused credential as its file or keyring has it by now, if that is another one; blocks.
    """

    upstream: Upstream
    auth: Authenticator
    problem: Callable[[str], str | None]
    health: HealthTracker
    clock: Callable[[], float]
    deadlines: Deadlines
    doubt: Callable[[str], None]
    renewed: Callable[[Credential], Credential | None]

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
        self.health.request(exchange.route.name)
        self.health.pick(order)
        while True:
            candidate = order.popleft()
            began = self.clock()
            attempt: Attempt = {
                "provider": candidate.provider.name,
                "model": candidate.model,
                "credential": candidate.credential.id if candidate.credential.secret is not None else None,
                "cost": "0",
                "began_ms": round((began - exchange.started) * 1000, 3),
            }
            attempts.append(attempt)
            tried = self.health.begin(candidate)
            try:
                found = await self._try_renewed(api, exchange, candidate, wanted, len(attempts))
                attempt["status"] = found.status
                verdict = tried.answered(found.status, found.headers, found.body)
                if verdict == "credential_rejected":
                    self.doubt(candidate.credential.id)
                reach = REACH[verdict]
            except SigningError as error:
                tried.credential_rejected("credential")
                attempt["error"], reach = "credential", "credential"
                outcome: Connected | GatewayError = GatewayError(
                    "upstream-unreachable", f"{error} Ask an administrator to fix it."
                )
            except UpstreamError as error:
                tried.failed(error)
                late = isinstance(error, UpstreamTimeout)
                attempt["error"], reach = "upstream-timeout" if late else "upstream-unreachable", "member"
                what = "did not answer in time" if late else "could not be reached"
                outcome = GatewayError(
                    "upstream-timeout" if late else "upstream-unreachable",
                    f"The provider '{candidate.provider.name}' {what} ({error.reason}).",
                )
            else:
                outcome = found
            finally:
                tried.end()
                attempt["ms"] = round((self.clock() - began) * 1000, 3)
            if reach == "member":
                left = [other for other in order if other.member is not candidate.member]
                order.clear()
                order.extend(left)
            goes_on = (
                reach is not None
                and not self.deadlines.is_over(exchange, self.clock())
                and self.health.pick(order, answered=isinstance(outcome, Connected))
                and self.health.retry(exchange.route.name)
            )
            if goes_on:
                continue
            if isinstance(outcome, GatewayError):
                raise outcome
            return outcome

    async def _try_renewed(
        self, api: Api, exchange: Exchange, candidate: Candidate, wanted: RequestedUpgrade, number: int
    ) -> Connected:
        """Try a candidate; once more if its credential is refused, and its file or keyring has another one by now."""
        found = await self._try(api, exchange, candidate, wanted, number)
        if found.peer is not None or of_status(found.status, found.body) != "credential_rejected":
            return found
        renewed = await asyncio.to_thread(self.renewed, candidate.credential)
        if renewed is None:
            return found
        log.info("%s refused a credential that has changed: sending the new one", candidate.provider.name)
        return await self._try(api, exchange, replace(candidate, credential=renewed), wanted, number)

    async def _try(
        self, api: Api, exchange: Exchange, candidate: Candidate, wanted: RequestedUpgrade, number: int
    ) -> Connected:
        kind, provider = candidate.kind, candidate.provider
        if problem := self.problem(provider.name):
            raise SigningError(problem)
        url = api.url(kind, provider, exchange.target, candidate.model)
        headers = to_upstream(exchange.headers)
        if exchange.trace is not None:
            headers += exchange.trace.headers(number)
        headers += await self.auth.headers(kind.auth, provider, candidate.credential, "GET", url, headers, b"")
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
        limits = self.deadlines.of_try(exchange, provider, self.clock())
        await self.upstream.dial(url, peer, limits.connect, way=way_to(provider))
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
