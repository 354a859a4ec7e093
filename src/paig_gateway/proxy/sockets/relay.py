"""One session: messages between two peers, each turn held before it begins and settled when it ends.

Messages of the client are taken one after the other; where one needs a hold, those behind it wait, and nothing more is
read from the client. Messages of the provider go on at once. Whichever side is slow, the other one is not read from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from websockets.frames import Frame, Opcode

from paig_client.api.errors import ErrorCode
from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats import ambiguity, reading
from paig_gateway.formats.base import MalformedRequest
from paig_gateway.proxy.admission import BodyBytes
from paig_gateway.proxy.meter import takes_long
from paig_gateway.proxy.sockets.apis import Api
from paig_gateway.proxy.sockets.money import Turns, waits
from paig_gateway.proxy.sockets.peer import Message, Peer
from paig_gateway.proxy.sockets.turns import Made, Need, Saw, SocketSession, Turn

VIOLATION, GOING_AWAY, RESTARTS, TRY_LATER, FAILED = 1008, 1001, 1012, 1013, 1011
"""Close codes (RFC 6455 and its registry)."""

MOST_NEEDS = 100
"""Turns that wait to be held, from which on the provider is not read any further."""

_CLOSES: dict[ErrorCode, int] = {"overloaded": TRY_LATER}


@dataclass(frozen=True, slots=True)
class SessionTimeouts:
    """How long a session may take, in seconds.

    Attributes:
        idle: Without a message in either direction; pings do not count.
        total: From its beginning to its end.
        drain: How long the provider's answer is read on after the client has left.
    """

    idle: float = 900.0
    total: float = 7200.0
    drain: float = 300.0


@dataclass(frozen=True, slots=True)
class End:
    """How a session ends.

    Attributes:
        reason: The reason in the rows of turns that are broken off.
        client: The close code for the client.
        provider: The close code for the provider.
        said: The reason in the close frames.
    """

    reason: str
    client: int
    provider: int
    said: str = ""


class SocketRelay:
    """See the module; it is the `Link` of both peers."""

    def __init__(
        self,
        api: Api,
        session: SocketSession,
        turns: Turns,
        client: Peer,
        provider: Peer,
        timeouts: SessionTimeouts,
        bytes_held: BodyBytes,
    ) -> None:
        self._api = api
        self._session = session
        self._turns = turns
        self._client = client
        self._provider = provider
        self._timeouts = timeouts
        self._bytes = bytes_held
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Message] = deque()
        self._needs: deque[tuple[Turn, ...]] = deque()
        """Turns to be held; those of the first message of the inbox are the last."""
        self._head_waits = False
        """Whether the first message of the inbox waits for the last of the needs."""
        self._holding = False
        """Whether a hold is being asked for, or an owner, which the first message of the inbox may wait for."""
        self._named: list[str] = []
        """Stored objects that the first message of the inbox names, and whose owners are to be looked up."""
        self._checked = False
        """Whether that was done."""
        self._provider_waits = False
        self._changed = asyncio.Event()
        self._touched = self._loop.time()
        self._end: End | None = None
        self._ends_when_idle: End | None = None
        self._leaves_at: float | None = None
        self._gone: set[Peer] = set()

    async def run(self) -> End:
        """Relay until the session ends, then settle its open turns.

        Returns:
            How it ended.
        """
        began = self._loop.time()
        end = End("shutdown", RESTARTS, RESTARTS)
        try:
            self._provider.attach(self)
            self._client.attach(self)
            self._provider.resume("attach")
            self._client.resume("attach")
            end = await self._until_end(began)
        finally:
            self._turns.break_off(end.reason)
            self._turns.note_nothing()
            self._bytes.release()
            self._client.close(end.client, end.said)
            self._provider.close(end.provider, end.said)
        return end

    async def _until_end(self, began: float) -> End:
        while True:
            if self._end is not None:
                return self._end
            if self._ends_when_idle is not None and not self._turns.at_work():
                return self._ends_when_idle
            if self._needs and self._ends_when_idle is None:
                await self._hold_next()
                continue
            if self._named and self._ends_when_idle is None:
                await self._check_named()
                continue
            now = self._loop.time()
            idle, total = self._touched + self._timeouts.idle, began + self._timeouts.total
            until = min(idle, total, self._leaves_at or total)
            if now >= until:
                return self._ran_out(now, total)
            self._changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _ran_out(self, now: float, total: float) -> End:
        if self._leaves_at is not None and now >= self._leaves_at and self._ends_when_idle is not None:
            return self._ends_when_idle
        if now >= total:
            return End("session-too-long", GOING_AWAY, 1000, f"the session lasted {self._timeouts.total:g} s")
        return End("session-idle", GOING_AWAY, 1000, f"no message for {self._timeouts.idle:g} s")

    # Holding

    async def _hold_next(self) -> None:
        """Hold the next turns, and pass on the message that waits for them."""
        turns = self._needs.popleft()
        for_head = self._head_waits and not self._needs
        self._head_waits = self._head_waits and not for_head
        self._holding = True
        changed: bytes | None = None
        try:
            for turn in turns:
                if not turn.over or self._turns.owes(turn):
                    changed = await self._turns.hold(turn) or changed
        except GatewayError as error:
            # Another turn of this session may release what is missing; the session ends between turns, not within one.
            if self._turns.at_work() and waits(error) and await self._another_is_settled():
                if for_head:  # what the provider's messages brought meanwhile goes first
                    self._needs.append(turns)
                    self._head_waits = True
                else:
                    self._needs.appendleft(turns)
            else:
                self._refuse(error)
            return
        finally:
            self._holding = False
            self._let_provider_speak()
        if for_head and self._inbox:  # else the client has left meanwhile
            self._forward(changed)
        self._advance()

    async def _check_named(self) -> None:
        """Look up the owners of the stored objects in the first message of the inbox."""
        named, self._named = self._named, []
        self._holding = True
        try:
            await self._turns.check(named)
            self._checked = bool(self._inbox)  # the client may have left meanwhile
        except GatewayError as error:
            if self._inbox:
                self._reject(error)
        finally:
            self._holding = False
        self._advance()

    async def _another_is_settled(self) -> bool:
        """Wait until a turn is settled; false where the session ends first."""
        before = self._turns.settled
        while self._end is None and self._ends_when_idle is None:
            if self._turns.settled != before:
                return True
            self._changed.clear()
            try:
                async with asyncio.timeout(self._timeouts.idle):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return False

    def _refuse(self, error: GatewayError) -> None:
        """End the session with the provider's own kind of error, after the turns that are held have ended."""
        self._needs.clear()
        self._inbox.clear()
        self._named.clear()
        self._let_provider_speak()
        self._tell(error, None)
        code = _CLOSES.get(error.code, VIOLATION)
        self._finish_when_idle(End(error.code, code, 1000, error.message))

    def _tell(self, error: GatewayError, about: str | None) -> None:
        if (event := self._api.error(error, about)) is not None:
            self._client.send([Frame(Opcode.TEXT, event)])

    def _finish_when_idle(self, end: End) -> None:
        if self._ends_when_idle is None:
            self._ends_when_idle = end
            self._leaves_at = self._loop.time() + self._timeouts.drain
        self._changed.set()

    # What comes

    def message(self, peer: Peer, message: Message) -> None:
        self._touched = self._loop.time()
        if peer is self._provider:
            self._from_provider(message)
        elif self._ends_when_idle is None and self._end is None:
            size = sum(len(frame.data) for frame in message)
            try:
                self._bytes.add(size)
            except GatewayError as error:
                self._refuse(error)
                return
            self._inbox.append(message)
            self._advance()

    def control(self, peer: Peer, frame: Frame) -> None:
        """Pass a ping or a pong on at once."""
        (self._client if peer is self._provider else self._provider).control(frame)

    def pressure(self, peer: Peer, high: bool) -> None:
        """One side reads too slowly, or has caught up."""
        other = self._client if peer is self._provider else self._provider
        if high:
            other.pause("pressure")
        else:
            other.resume("pressure")

    def closed(self, peer: Peer, code: int, reason: str) -> None:
        """A side closed the session, or was lost."""
        self._gone.add(peer)
        if peer is self._provider:
            seen = FAILED if code == 1006 else code
            shown = reason or ("the provider's connection was lost" if code == 1006 else "")
            self._stop(End("upstream-closed" if code != 1006 else "upstream-lost", seen, code, shown))
            return
        end = End("client-gone", code, GOING_AWAY if code == 1006 else code, reason)
        self._needs.clear()
        self._inbox.clear()
        self._named.clear()
        self._let_provider_speak()
        if self._turns.at_work() and self._drains():
            self._finish_when_idle(end)
        else:
            self._stop(end)

    def shutdown(self) -> None:
        """The process is to end: end the session with its present turn."""
        self._finish_when_idle(End("shutdown", RESTARTS, 1000, "the gateway restarts: connect again"))

    def _drains(self) -> bool:
        return self._turns.upgraded.candidate.provider.on_disconnect == "drain"

    def _stop(self, end: End) -> None:
        if self._end is None:
            # An earlier refusal or disconnect is the reason, whichever side closes now.
            self._end = self._ends_when_idle or end
        self._changed.set()

    def _advance(self) -> None:
        """Pass the client's messages on, up to one that needs a hold."""
        while self._inbox and not self._needs and not self._holding and self._session.ready:
            payload = _payload(self._inbox[0])
            try:
                if not self._checked:
                    ambiguity.check_json(payload)
                    self._api.outgoing(self._turns.upgraded.candidate.member, payload)
                    if named := [id for id in self._api.stored(payload) if not self._session.has(id)]:
                        self._named = named
                        self._changed.set()
                        break
                turns = self._session.client(payload)
            except (MalformedRequest, GatewayError) as error:
                if not self._reject(error if isinstance(error, GatewayError) else bad_request(error)):
                    return
                continue
            if turns:
                self._needs.append(tuple(turns))
                self._head_waits = True
                self._changed.set()
            else:
                self._forward(None)
        if self._inbox:
            self._client.pause("hold")
        else:
            self._client.resume("hold")

    def _reject(self, error: GatewayError) -> bool:
        """Refuse the client's message; returns whether the session continues."""
        message = self._drop_first()
        self._turns.books.observer.refused(self._turns.upgraded.id, error)
        if self._api.error(error, None) is None:
            self._refuse(error)
            return False
        self._tell(error, _event_id(message))
        return True

    def _forward(self, changed: bytes | None) -> None:
        message = self._drop_first()
        payload = _payload(message) if changed is None else changed
        sent = self._api.outgoing(self._turns.upgraded.candidate.member, payload)
        if changed is not None or sent is not payload:
            message = [Frame(message[0].opcode, sent)]
        self._provider.send(message)

    def _drop_first(self) -> Message:
        self._checked = False
        message = self._inbox.popleft()
        if not self._inbox:
            self._bytes.release()
        return message

    def _from_provider(self, message: Message) -> None:
        data = _payload(message)
        if self._client not in self._gone:
            self._client.send(message)  # the client does not wait for what follows from it
        if takes_long(data):
            self._stop(End("upstream-broken", FAILED, VIOLATION, "the provider's message has too many values"))
            return
        for effect in self._session.provider(data):
            if isinstance(effect, Saw):
                self._turns.saw(effect.turn, data)
            elif isinstance(effect, Need):
                if self._ends_when_idle is None:
                    self._need(effect.turn)
            elif isinstance(effect, Made):
                self._turns.made(effect.kind, effect.id)
            else:
                self._turns.settle(effect.turn, effect.ending)
                self._changed.set()
        self._let_provider_speak()
        if self._inbox:
            self._advance()

    def _let_provider_speak(self) -> None:
        """Read nothing more of a provider that begins turns, or speaks of them, faster than they can be held."""
        if self._turns.behind() or len(self._needs) > MOST_NEEDS:
            if not self._provider_waits:
                self._provider_waits = True
                self._provider.pause("hold")
        elif self._provider_waits:
            self._provider_waits = False
            self._provider.resume("hold")

    def _need(self, turn: Turn) -> None:
        """Hold a turn before the client's next message is passed on."""
        if self._head_waits:
            self._needs.insert(len(self._needs) - 1, (turn,))
        else:
            self._needs.append((turn,))
        self._changed.set()


def bad_request(error: MalformedRequest) -> GatewayError:
    """The error for a message that cannot be read."""
    return GatewayError("bad-request", str(error))


def _payload(message: Message) -> bytes:
    if len(message) == 1:
        return bytes(message[0].data)
    return b"".join(bytes(frame.data) for frame in message)


def _event_id(message: Message) -> str | None:
    """What the client calls its message."""
    return reading.string(reading.members(_payload(message)).get("event_id"))
