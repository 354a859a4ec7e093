"""The Responses API over a WebSocket: each `response.create` is a request, each event of the answer a message.

A connection may carry several answers side by side, told apart by `stream_id`. An answer that goes on from an earlier
one of the same connection is bounded by what that one read and wrote; any other, by the model's context window.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec

from paig_gateway.domain.http import Headers
from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format, MalformedRequest
from paig_gateway.formats.folding import dig, whole
from paig_gateway.formats.sockets import RESPONSES_SOCKET
from paig_gateway.proxy.request import read_call, stated
from paig_gateway.proxy.sockets.turns import OVERHEAD, Effect, Ending, Need, Saw, Turn, TurnOver

MOST_KNOWN = 256
"""The most answers of a session whose size is remembered."""

_ENDS = frozenset({"response.completed", "response.failed", "response.incomplete", "response.cancelled"})
_FREE = frozenset({"response.cancel"})


@dataclass(slots=True)
class _Lane:
    queued: deque[Turn] = field(default_factory=deque)
    active: Turn | None = None


@dataclass(slots=True)
class ResponsesSession:
    """The machine of a session; see `turns.SocketSession`.

    Attributes:
        headers: The upgrade's headers, which may name a service tier.
        model: The latest requested model.
    """

    headers: Headers
    model: str = ""
    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _sizes: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _calls: OrderedDict[str, Call] = field(default_factory=OrderedDict)
    _last: Call | None = None

    @property
    def fmt(self) -> Format:
        return RESPONSES_SOCKET

    @property
    def ready(self) -> bool:
        """Always: each message of the client is complete in itself."""
        return True

    def client(self, message: bytes) -> list[Turn]:
        top = reading.request(message)
        kind = reading.string(top.get("type"))
        if kind == "response.create":
            turn = Turn(self._read(message, top), message)
        elif kind == "response.steer":
            turn = Turn(self._steered(message, top), message)
        elif kind in _FREE:
            return []
        else:
            raise MalformedRequest(
                f"The gateway does not know what a message of type {kind!r} costs, so it refuses it."
            )
        turn.begun = True
        self._last, self.model = turn.call, turn.call.model
        self._lane(reading.string(top.get("stream_id"))).queued.append(turn)
        return [turn]

    def provider(self, message: bytes) -> list[Effect]:
        top = reading.members(message)
        kind = reading.string(top.get("type")) or ""
        lane = self._lane(reading.string(top.get("stream_id")))
        if kind == "response.created" and lane.active is None:
            return self._created(lane)
        if kind in ("response.steer.failed", "response.steer.pending"):
            # What was to be put in is not, or goes along with the next request, which is held by itself.
            steered = next((turn for turn in lane.queued if b'"response.steer"' in turn.frame), None)
            return [] if steered is None else self._end(lane, steered, "released")
        turn = lane.active
        if kind == "error":
            if turn is None:
                first = lane.queued[0] if lane.queued else None
                return [] if first is None else [Saw(first), *self._end(lane, first, "refused")]
            return [Saw(turn), *self._end(lane, turn, "ended")]
        if turn is None:
            return []
        if kind not in _ENDS:
            return [Saw(turn)]
        self._remember(top, turn.call)
        return [Saw(turn), *self._end(lane, turn, "ended")]

    def has(self, id: str) -> bool:
        """Nothing: what a message names is looked up."""
        return False

    def open(self) -> Iterable[Turn]:
        for lane in self._lanes.values():
            yield from lane.queued
            if lane.active is not None:
                yield lane.active

    def _lane(self, name: str | None) -> _Lane:
        key = name or ""
        if key not in self._lanes:
            idle = [other for other, lane in self._lanes.items() if lane.active is None and not lane.queued]
            for other in idle:
                del self._lanes[other]
            self._lanes[key] = _Lane()
        return self._lanes[key]

    def _created(self, lane: _Lane) -> list[Effect]:
        if lane.queued:
            turn = lane.queued.popleft()
            lane.active = turn
            return [Saw(turn)]
        if self._last is None:
            return []
        # An answer without a request: it continues the conversation, so only the context window bounds it.
        turn = lane.active = Turn(replace(self._last, unbounded_input=True), begun=True)
        return [Need(turn), Saw(turn)]

    def _end(self, lane: _Lane, turn: Turn, ending: Ending) -> list[Effect]:
        if lane.active is turn:
            lane.active = None
        else:
            lane.queued.remove(turn)
        turn.over = True
        return [TurnOver(turn, ending)]

    def _read(self, message: bytes, top: reading.Members) -> Call:
        call = read_call(self.fmt, None, message, stated(self.headers))
        before = reading.string(top.get("previous_response_id"))
        if before is None or before not in self._sizes:
            return call
        alone = msgspec.json.encode({name: raw for name, raw in top.items() if name != "previous_response_id"})
        by_itself = self.fmt.read(None, alone)
        if by_itself.unbounded_input:
            return call
        return replace(call, unbounded_input=False, input_tokens=by_itself.input_tokens + self._sizes[before])

    def _steered(self, message: bytes, top: reading.Members) -> Call:
        """The answer that follows a steered one: it has the same settings, and continues it."""
        before = reading.string(top.get("previous_response_id")) or ""
        call = self._calls.get(before) or self._last
        if call is None:
            raise MalformedRequest("The message steers an answer that this connection has not seen.")
        return replace(call, unbounded_input=True, input_tokens=call.input_tokens + len(message) + OVERHEAD)

    def _remember(self, top: reading.Members, call: Call) -> None:
        response = reading.members(top.get("response"))
        named, usage = reading.string(response.get("id")), reading.value(response.get("usage"))
        total = whole(dig(usage, "total_tokens"))
        if named is None or total is None or len(named) > 256:
            return
        self._sizes[named], self._calls[named] = total, call
        while len(self._sizes) > MOST_KNOWN:
            self._sizes.popitem(last=False)
            self._calls.popitem(last=False)
