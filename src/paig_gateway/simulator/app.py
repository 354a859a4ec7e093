"""The simulator: one ASGI application that plays every provider, each under its own mount."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from . import faults as fault_directives
from .auth import Guard
from .batches import SimulatedBatches
from .buckets import Buckets
from .delivery import ClientChannel, Receive, Scope, Send, compress
from .faults import Faults
from .files import Files
from .gemini_files import GeminiFiles
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest
from .reply import Prompt, SimulatedModel, TokenCounts
from .response_store import ResponseStore
from .routes import RoutingTable, family_of, shape_of
from .sockets import SimulatedSockets
from .traffic import Received, ReceivedLog, Served
from .videos import Videos
from .wire import encode
from .xai import DeferredCompletions


class Simulator:
    """Simulated providers; docs/simulator.md says what they answer and how to make them fail.

    Attributes:
        served: What was billed, by mount.
        buckets: The objects in Google Cloud Storage and Amazon S3.

    Args:
        credentials: The provider keys that are accepted; None accepts any key in the header that the provider reads.
        aws_secrets: Secret access keys by access key id, for checking AWS signatures.
        faults: Called with each request; the faults it returns replace those of the prompt, None keeps them.
        keep: How many requests `requests` keeps (and at most 64 MiB of bodies).
        chunks: The number of text deltas in a stream, unless the prompt sets it.
        clock: Seconds since the epoch, for timestamps in answers and for the age of Google's token requests.
    """

    def __init__(
        self,
        *,
        credentials: Collection[str] | None = None,
        aws_secrets: Mapping[str, str] | None = None,
        faults: Callable[[Received], Faults | None] | None = None,
        keep: int = 500,
        chunks: int = 8,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.served: dict[str, Served] = {}
        self.buckets = Buckets()
        self._guard = Guard(credentials, aws_secrets or {})
        self._hook = faults
        self._log = ReceivedLog(keep)
        self._llm = SimulatedModel(chunks)
        self._store = ResponseStore()
        self._files = Files()
        self._batches = SimulatedBatches(
            self._files,
            lambda request: self._routes.find(request),
            lambda mount: self.served.setdefault(mount, Served()),
        )
        self._videos, self._gemini_files, self._deferred = Videos(), GeminiFiles(), DeferredCompletions()
        self._routes = RoutingTable(
            self._store,
            self._files,
            self._batches,
            self._videos,
            self._gemini_files,
            self._deferred,
            self.buckets,
        )
        self._clock = clock
        self._sockets = SimulatedSockets(
            self._guard,
            self._log,
            self._llm,
            lambda mount: self.served.setdefault(mount, Served()),
            self._routes.find_socket,
            family_of,
            shape_of,
            clock,
        )
        self._times: Counter[int] = Counter()

    @property
    def requests(self) -> list[Received]:
        """The last requests, oldest first."""
        return self._log.all()

    def reset(self) -> None:
        """Clear everything: requests, counts, stored responses, prompt caches and counted faults."""
        self.served.clear()
        self._log.clear()
        self._llm.forget()
        self._store.clear()
        self._files.clear()
        self._batches.clear()
        self._videos.clear()
        self._gemini_files.clear()
        self._deferred.clear()
        self.buckets.clear()
        self._times.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
            return
        client = ClientChannel(receive, send)
        body = await client.body()
        if body is None:
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        query: bytes = scope["query_string"]
        received = Received(
            scope["method"], raw_path.decode("latin-1"), query.decode("latin-1"), list(scope["headers"]), body
        )
        mount, _, rest = received.path[1:].partition("/")
        if mount == "sim":
            await client.answer(self._inspect(received.method, rest))
            return
        self._log.add(received)
        request = SimulatedRequest(
            mount=mount,
            family=family_of(mount),
            method=received.method,
            path="/" + rest,
            query=dict(parse_qsl(received.query, keep_blank_values=True)),
            headers=dict(received.headers),
            now=self._clock(),
            llm=self._llm,
        )
        await self._serve(received, request, client)

    def _inspect(self, method: str, path: str) -> SimulatedAnswer:
        """Answer `/sim/...`: what happened so far, for tests that run the simulator in another process."""
        value: object
        status = 200
        if (method, path) == ("GET", "requests"):
            value = [received.shown() for received in self._log.all()]
        elif (method, path) == ("GET", "served"):
            value = {mount: asdict(served) for mount, served in self.served.items()}
        elif (method, path) == ("POST", "reset"):
            self.reset()
            value = {}
        else:
            status, value = 404, {"error": f"nothing at {method} /sim/{path}"}
        return SimulatedAnswer(b"application/json", encode(value), status=status)

    async def _serve(self, received: Received, request: SimulatedRequest, client: ClientChannel) -> None:
        if (request.family, request.method, request.path) == ("google", "POST", "/token"):
            await client.answer(self._guard.token(received.body, request.now))
            return
        shape = shape_of(request.family)
        try:
            operation = self._routes.find(request)
            shape = operation.shape
            if not self._guard.admits(request, received):
                raise SimulatedRefusal(401, "")
            if operation.raw:
                request.raw = received.body
            else:
                request.body = _decode(received.body)
            prompt = _understand(operation, request)
            faults = request.faults = self._faults(received, request, prompt)
        except SimulatedRefusal as refusal:
            await client.answer(shape.error(request.family, refusal.status, refusal.message or None))
            return
        served = Served() if operation.free else self.served.setdefault(request.mount, Served())
        served.started += 1
        if faults.reset:
            served.failed += 1
            await client.drop(reset=True)
            return
        if faults.delay and await client.leaves_within(faults.delay):
            served.cut += 1
            return
        answer = _generate(operation, request, prompt)
        if answer.tokens is None and not operation.free:
            served.failed += 1
            await client.answer(answer)
        elif answer.events is None:
            await _deliver_whole(answer, request, served, client)
        else:
            await _deliver_stream(answer, answer.events, request, operation, served, client)

    def _faults(self, received: Received, request: SimulatedRequest, prompt: Prompt) -> Faults:
        chosen = self._hook(received) if self._hook is not None else None
        if chosen is not None:
            return chosen
        try:
            chosen = fault_directives.parse(f"{prompt.model}\n{prompt.ask}", request.mount)
        except ValueError as problem:
            raise SimulatedRefusal(400, str(problem)) from None
        if chosen.times is not None:
            key = hash((request.mount, prompt.model, prompt.ask))
            self._times[key] += 1
            if self._times[key] > chosen.times:
                return fault_directives.spent(chosen)
        return chosen


def _decode(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise SimulatedRefusal(400, f"We could not parse the JSON body of your request: {problem}") from None


def _understand(operation: Operation, request: SimulatedRequest) -> Prompt:
    try:
        return operation.read(request)
    except KeyError as problem:
        raise SimulatedRefusal(400, f"Missing required parameter: {problem.args[0]!r}.") from problem
    except (TypeError, ValueError, AttributeError, IndexError) as problem:
        raise SimulatedRefusal(400, f"Invalid request body: {problem}.") from problem


def _generate(operation: Operation, request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    """Write the answer, or the error that the faults name; an answer without tokens is a refusal."""
    faults = request.faults
    status = faults.status
    if status is None and not prompt.stream and (faults.error_event or faults.error_first):
        status = 500
    if status is None:
        try:
            answer = operation.write(request, prompt)
        except SimulatedRefusal as refusal:
            answer = operation.shape.error(request.family, refusal.status, refusal.message)
    else:
        answer = operation.shape.error(request.family, status, None)
        if faults.retry_after is not None:
            answer.headers = (*answer.headers, (b"retry-after", f"{faults.retry_after:g}".encode()))
    return answer


async def _deliver_whole(
    answer: SimulatedAnswer, request: SimulatedRequest, served: Served, client: ClientChannel
) -> None:
    tokens = answer.tokens or TokenCounts()
    if request.faults.gzip:
        compress(answer, request.headers)
    if request.faults.disconnect is None:
        served.complete(tokens)
        await client.answer(answer)
        return
    served.cut_off(tokens, 1, 2)
    await client.start(answer, len(answer.body))
    await client.write(answer.body[: len(answer.body) // 2], more=True)
    await client.drop()


async def _deliver_stream(
    answer: SimulatedAnswer,
    events: list[bytes],
    request: SimulatedRequest,
    operation: Operation,
    served: Served,
    client: ClientChannel,
) -> None:
    faults, tokens, total = request.faults, answer.tokens or TokenCounts(), len(events)
    kept = 0 if faults.error_first else total // 2 if faults.error_event else total
    if kept < total:
        events = answer.events = [*events[:kept], operation.shape.error_event(request, kept)]
    if faults.gzip:
        compress(answer, request.headers)
        events = answer.events or events
    await client.start(answer)
    last = len(events) - 1
    for index, event in enumerate(events):
        if index == faults.disconnect:
            served.cut_off(tokens, index, total)
            await client.drop()
            return
        if index and faults.chunk_delay and await client.leaves_within(faults.chunk_delay):
            served.cut_off(tokens, index, total)
            return
        if index == last:
            # Count before the last byte is sent: a client that has read it must find it counted.
            if kept == total:
                served.complete(tokens)
            elif kept:
                served.cut_off(tokens, kept, total)
            else:
                served.failed += 1
        await client.write(event, more=index < last)
