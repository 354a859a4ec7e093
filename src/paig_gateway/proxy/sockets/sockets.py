"""Taking WebSockets in: the key, the route and the provider first, and only then the upgrade."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from websockets.exceptions import (
    DuplicateParameter,
    InvalidHeader,
    InvalidParameterName,
    InvalidParameterValue,
    NegotiationError,
)
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.utils import accept_key

from paig_gateway.catalog.key_uses import KeyUses
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError, UpgradeRefused
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import Credential, Member
from paig_gateway.formats.base import Call, ErrorShape, Format
from paig_gateway.formats.errors import error_body, error_shape
from paig_gateway.formats.media import MediaItem
from paig_gateway.formats.sockets import RESPONSES_SOCKET, detect_socket
from paig_gateway.ledger.refusals import RefusedRequest
from paig_gateway.listener.upgrade import Upgrade
from paig_gateway.pricing.overrides import PriceLookup
from paig_gateway.pricing.worst_case import BoundFormula, WorstCase
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy import browsers, one_address, request
from paig_gateway.proxy.admission import Admission
from paig_gateway.proxy.binding import is_capped
from paig_gateway.proxy.exchange import Exchange, Outcome, new_request_id
from paig_gateway.proxy.headers import error_headers, to_client
from paig_gateway.proxy.observer import present_request
from paig_gateway.proxy.request import Scope, Target
from paig_gateway.proxy.sessions import AgentIds, FirstSessions
from paig_gateway.proxy.sockets.apis import APIS, Api, call_id, named_model
from paig_gateway.proxy.sockets.dial import Attempt, Connected, Dialler, RequestedUpgrade
from paig_gateway.proxy.sockets.money import Books, Turns, Upgraded
from paig_gateway.proxy.sockets.peer import Peer, server_frames
from paig_gateway.proxy.sockets.relay import SessionTimeouts, SocketRelay
from paig_gateway.routing.candidates import Candidate, candidates
from paig_gateway.secrets.attempts import Attempts

KEY_PROTOCOLS = ("openai-insecure-api-key.", "xai-client-secret.")
"""Begin the subprotocols in which browsers carry a key."""

_ACCOUNTS = ("openai-organization.", "openai-project.")
"""Prefixes of subprotocols that choose the account that pays; the gateway removes them."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HANDSHAKE = frozenset({b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions"})

DEFLATE = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)
"""Small windows, since each session has two of them."""


@dataclass(slots=True)
class Sockets:
    """The data plane's WebSockets.

    Attributes:
        max_message: Bytes of a message at most.
        open: How many sessions there are, by the format's name.
        ended: How many there were, by the format's name and how they ended.
    """

    directory: Directory
    dialler: Dialler
    books: Books
    admission: Admission
    attempts: Attempts
    key_uses: KeyUses
    first_sessions: FirstSessions
    timeouts: SessionTimeouts = field(default_factory=SessionTimeouts)
    max_message: int = 16 * 1024 * 1024
    open: Counter[str] = field(default_factory=Counter)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, upgrade: Upgrade) -> None:
        """Serve one request to go over to WebSocket, to the end of its session."""
        now, started = self.books.now(), self.books.clock()
        request_id = new_request_id(now)
        present_request.set(request_id)
        target = request.target(scope)
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        fmt = detect_socket(target.path)
        shape = fmt.errors if fmt is not None else error_shape(None, target.route, target.path)
        caller: Caller | None = None
        exchange: Exchange | None = None
        try:
            from_page = browsers.check(headers)
            key, wanted = _key_of(headers), _wanted(headers, self.max_message)
            by_name, asked = dict(headers), target.query
            address = scope["client"][0] if scope.get("client") else None
            caller, query = request.authenticate(
                self.directory, by_name, asked, now, self.attempts, address, from_page=from_page
            )
            target = replace(target, query=query)
            caller.check_use("GET", address)
            self.key_uses.note(caller.key_id, now, address)
            await self.admission.enter()
            try:
                exchange = self._exchange(request_id, now, started, caller, target, headers)
                await self._serve(exchange, upgrade, wanted, key, lambda: self._caller(by_name, asked, address))
            finally:
                self.admission.leave()
        except GatewayError as error:
            self.books.observer.refused(request_id, error)
            if exchange is None:  # else the ledger has a row of it
                if caller is None and error.code in ("key-disabled", "key-blocked", "key-expired"):
                    caller, _ = request.find_caller(self.directory, dict(headers), target.query)
                name = fmt.name if fmt is not None else ""
                self.books.ledger.note_refused(
                    RefusedRequest(request_id, now, caller, "GET", target.path, target.route, name, error)
                )
            _refuse(upgrade, shape, error, request_id)

    def _exchange(
        self, request_id: str, now: datetime, started: float, caller: Caller, target: Target, headers: Headers
    ) -> Exchange:
        fmt = detect_socket(target.path)
        if fmt is None:
            raise GatewayError(
                "no-price",
                f"The gateway does not know what a WebSocket at {target.path} costs, so it does not open one. "
                "See the list of API formats in the documentation.",
            )
        caller.check_format(fmt.name)
        model = named_model(target) if fmt.errors == "openai" else ""
        call = Call(
            model=model,
            stream=True,
            output_tokens=1,
            media_in=True,
            media=(MediaItem("audio", seconds=1.0),),
            units={"input_text_messages": 1},
        )
        if not target.route:
            target = replace(target, route=self._find_route(caller, target, fmt, call, now))
        route = request.known_members(request.find_route(self.directory, target.route, caller), fmt, target)
        attribution = request.read(dict(headers))
        if attribution.ids is not None:
            attribution = replace(attribution, ids=self.first_sessions.resolve(caller.key_id, attribution.ids))
        return Exchange(
            request_id, now, started, caller, route, target, fmt, call, "GET", headers, b"", b"", attribution,
            self.books.observer.trace(caller, headers),
        )  # fmt: skip

    def _find_route(self, caller: Caller, target: Target, fmt: Format, call: Call, now: datetime) -> str:
        """The name of the route that an upgrade at the one address means."""
        plans, prices = self.books.choice.plans, self.books.prices

        def knows(member: Member) -> bool:
            return one_address.knows_model(member, fmt, call, target.path, now, plans, prices)

        kinds = APIS[fmt.name].kinds
        return one_address.find_socket(self.directory, caller, target, fmt, kinds, call.model, knows)

    async def _serve(
        self,
        exchange: Exchange,
        upgrade: Upgrade,
        wanted: RequestedUpgrade,
        key: str,
        caller_now: Callable[[], Caller],
    ) -> None:
        api = APIS[exchange.fmt.name]
        attempts: list[Attempt] = []
        try:
            order = self._order(api, await self._with_call(exchange))
            connected = await self.dialler.connect(api, exchange, deque(order), wanted, attempts)
        except GatewayError as error:
            self._note(exchange, error.status, error.code, attempts, error)
            raise
        if connected.peer is None:
            self._note(exchange, connected.status, f"upstream-{connected.status}", attempts, None)
            kept = [header for header in to_client(connected.headers) if header[0] not in _HANDSHAKE]
            upgrade.refuse(connected.status, [*kept, (b"x-paig-request-id", exchange.id.encode())], connected.body)
            return
        client = self._accept(exchange, connected, connected.peer, upgrade, wanted, key)
        await self._relay(api, exchange, connected, connected.peer, client, attempts, caller_now)

    async def _relay(
        self,
        api: Api,
        exchange: Exchange,
        connected: Connected,
        provider: Peer,
        client: Peer,
        attempts: list[Attempt],
        caller_now: Callable[[], Caller],
    ) -> None:
        candidate, name = connected.candidate, exchange.fmt.name
        ids = exchange.attribution.ids or AgentIds(f"ws_{exchange.id.removeprefix('req_')}")
        upgraded = Upgraded(
            id=exchange.id,
            caller=caller_now,
            route=replace(exchange.route, members=(candidate.member,)),
            target=exchange.target,
            headers=exchange.headers,
            attribution=replace(exchange.attribution, ids=ids),
            candidate=candidate,
            attempts=attempts,
            trace=exchange.trace,
        )
        session = api.session(candidate.kind, exchange.target, exchange.call.model, exchange.headers)
        turns = Turns(self.books, upgraded, session)
        held = self.admission.body(exchange.caller.key_id)
        self.open[name] += 1
        reason = "failed"
        try:
            relay = SocketRelay(api, session, turns, client, provider, self.timeouts, held)
            reason = (await relay.run()).reason
        finally:
            self.open[name] -= 1
            self.ended[name, reason] += 1

    def _caller(self, headers: Mapping[bytes, bytes], query: bytes, address: str | None) -> Caller:
        """The present state of the key: it may have been disabled, or its limits changed, since the session began."""
        now = self.books.now()
        caller, _ = request.authenticate(self.directory, headers, query, now, self.attempts, address)
        self.key_uses.note(caller.key_id, now, address)
        return caller

    def _order(self, api: Api, exchange: Exchange) -> list[Candidate]:
        fmt, call, route = exchange.fmt, exchange.call, exchange.route
        members = tuple(member for member in route.members if member.provider.kind in api.kinds)
        if route.members and not members:
            why = (
                f"No provider of the route '{route.name}' speaks {fmt.name} over WebSockets: this needs one of the "
                f"kind {', '.join(sorted(api.kinds))}."
            )
            if fmt.name == RESPONSES_SOCKET.name:
                raise UpgradeRefused("no-price", f"{why} Ask over HTTP.")
            raise GatewayError("no-price", why)
        route = replace(route, members=members)
        if call.model:
            exchange.caller.check_models([call.model])
            return candidates(
                route, fmt, call, exchange.target.path, exchange.time, self.books.prices, self.books.choice,
                exchange.session, capped=is_capped(exchange),
            )  # fmt: skip
        found = [
            self._unpriced(exchange, member, credential)
            for member, credentials in self.books.choice.order(route, fmt, call, exchange.session)
            for credential in credentials
        ]
        if not found:
            raise GatewayError(
                "upstream-unreachable",
                f"The route '{route.name}' has no active member. Ask an administrator to add or activate one.",
            )
        return found

    async def _with_call(self, exchange: Exchange) -> Exchange:
        """The upgrade; where it joins a call that goes on elsewhere, with the members that have the call.

        Raises:
            GatewayError: `not-found`, where the call is another owner's.
        """
        if (call := call_id(exchange.target)) is None:
            return exchange
        stored, caller, route = self.books.stored, exchange.caller, exchange.route
        names = {member.provider.name for member in route.members}
        await stored.check_ids(caller, names, {call: True}, exchange.fmt.errors, "call")
        if holders := await stored.holders(caller, [call]):
            members = tuple(member for member in route.members if member.provider.name in holders)
            exchange = replace(exchange, route=replace(route, members=members or route.members))
        return exchange

    def _unpriced(self, exchange: Exchange, member: Member, credential: Credential) -> Candidate:
        """A candidate for a session whose model is not known yet: only its turns are priced."""
        price_lookup = PriceLookup(self.books.prices, member.provider.name, "", "", exchange.time)
        kind = KINDS[member.provider.kind]
        bound = BoundFormula("", None, exchange.time)
        return Candidate(member, credential, kind, "", price_lookup, None, WorstCase(0, 0), 0, 0, bound)

    def _accept(
        self,
        exchange: Exchange,
        connected: Connected,
        provider: Peer,
        upgrade: Upgrade,
        wanted: RequestedUpgrade,
        key: str,
    ) -> Peer:
        """Accept the client's upgrade as the provider accepted the gateway's."""
        frames = server_frames(wanted.max_size)
        lines = [b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade"]
        lines.append(b"sec-websocket-accept: " + accept_key(key).encode())
        if (chosen := provider.frames.subprotocol) is not None:
            lines.append(b"sec-websocket-protocol: " + chosen.encode())
        if provider.frames.extensions and (agreed := _deflate(exchange.headers)) is not None:
            line, extension = agreed
            lines.append(b"sec-websocket-extensions: " + line.encode())
            frames.extensions = [extension]
        headers = [header for header in to_client(connected.headers) if header[0] not in _HANDSHAKE]
        headers.append((b"x-paig-request-id", exchange.id.encode()))
        lines += [b"%b: %b" % header for header in headers]
        client = Peer(frames, dropped=upgrade.drop)
        upgrade.take(client)
        client.pause("attach")
        client.write(b"\r\n".join((*lines, b"", b"")))
        return client

    def _note(
        self, exchange: Exchange, status: int, code: str, attempts: list[Attempt], error: GatewayError | None
    ) -> None:
        """Leave a row of an upgrade that was refused."""
        outcome = Outcome(status=status, error=code)
        outcome.attempts += attempts
        settlement = outcome.settlement(exchange, self.books.now(), self.books.clock())
        if error is not None:
            settlement = replace(settlement, refusal={"code": error.code, "message": error.message, **error.details})
        self.books.observer.finished(exchange, outcome, settlement)
        self.books.ledger.note(exchange.reservation(exchange.caller.limits), settlement)


def _key_of(headers: Headers) -> str:
    """The key of the handshake; the client's own one, which has nothing to do with the gateway's.

    Raises:
        GatewayError: `bad-request`: the request is not a valid handshake.
    """
    found = dict(headers)
    version, key = found.get(b"sec-websocket-version", b""), found.get(b"sec-websocket-key", b"")
    if version.strip() != b"13" or len(key.strip()) != 24:
        raise GatewayError("bad-request", "The WebSocket request must have version 13 (RFC 6455).")
    return key.strip().decode("latin-1")


def _wanted(headers: Headers, max_size: int) -> RequestedUpgrade:
    """What the client offers. A key among its subprotocols is put where other clients have it."""
    offered: list[str] = []
    for name, value in headers:
        if name == b"sec-websocket-protocol":
            offered += [part.strip() for part in value.decode("latin-1").split(",")]
    if any(_TOKEN.fullmatch(offer) is None for offer in offered):
        raise GatewayError("bad-request", "The header sec-websocket-protocol must be a list of names.")
    key = next((offer.partition(".")[2] for offer in offered if offer.startswith(KEY_PROTOCOLS)), None)
    if key is not None and not any(name == b"authorization" for name, _ in headers):
        headers.append((b"authorization", b"Bearer " + key.encode()))
    kept = tuple(offer for offer in offered if not offer.startswith((*KEY_PROTOCOLS, *_ACCOUNTS)))
    return RequestedUpgrade(kept, _deflate(headers) is not None, max_size)


def _deflate(headers: Headers) -> tuple[str, Extension] | None:
    """The compression that client and gateway can agree on: the header that says so, and the extension."""
    offers = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-extensions"]
    try:
        for name, parameters in (offer for value in offers for offer in parse_extension(value)):
            if name == DEFLATE.name:
                answer, extension = DEFLATE.process_request_params(parameters, [])
                return build_extension([(name, answer)]), extension
    except (InvalidHeader, NegotiationError, InvalidParameterName, InvalidParameterValue, DuplicateParameter):
        return None  # an offer that cannot be read is not accepted: the session has no compression
    return None


def _refuse(upgrade: Upgrade, shape: ErrorShape, error: GatewayError, request_id: str) -> None:
    """Answer with the gateway's own error, in the shape that the provider's SDK expects."""
    body, native = error_body(shape, error.status, error.code, error.message, error.details)
    headers = [(b"content-type", b"application/json"), *native, *error_headers(error, request_id)]
    upgrade.refuse(error.status, headers, body)
