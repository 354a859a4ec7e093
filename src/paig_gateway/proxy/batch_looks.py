"""Polls a batch at its provider, and charges each line by its result.

A line's row has an id made of the batch's and the line's ids, so it is written once, however often results are fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from paig_gateway.domain.route import ActiveProvider, Member
from paig_gateway.formats.base import Call, Format, Json
from paig_gateway.formats.batches import (
    APIS,
    BatchApi,
    BatchState,
    LineResult,
    model_of_answer,
    path_of_answer,
    place_of,
    result_objects,
)
from paig_gateway.ledger.batches import OpenBatch
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import BatchLine, Settlement
from paig_gateway.pricing.answer import UsageReading, read_answer
from paig_gateway.pricing.modifiers import IN_BATCH
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.worst_case import CostBound, Unbounded
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.batch_lines import BatchLines, LineGroup, LinePlans, Numbered, by_id, id_of
from paig_gateway.proxy.buckets import BucketError, Buckets
from paig_gateway.proxy.exchange import Outcome, kept_usage
from paig_gateway.proxy.meter import MAX_HELD, NO_USAGE, charge_reading, decode_json
from paig_gateway.proxy.provider_client import ProviderClient, credential_of
from paig_gateway.routing.candidates import Candidate, MemberPlan

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Lines that are charged in one transaction."""
TURN = 20
"""Lines after which other tasks may run."""
LARGE = 64 * 1024
"""JSON of more bytes is decoded in a thread."""
NO_RESULT = "the provider gave no result in time"
LOST_RESULT = "the provider gave no result that the gateway could read"


class ChargedError(Exception):
    """Another node has charged the whole batch already."""


class NotYetError(Exception):
    """Not all results are available yet; the message says why."""


@dataclass(slots=True)
class Look:
    """One poll of one batch.

    Attributes:
        ledger: Charges the lines.
        lines: Its lines, or None if they are not known.
    """

    batch: OpenBatch
    provider: ActiveProvider
    client: ProviderClient
    ledger: Ledger
    prices: PriceSources
    lines: BatchLines | None
    now: Callable[[], datetime]
    api: BatchApi = field(init=False)
    plans: LinePlans = field(init=False)
    _answers: int = 0
    _unread: bool = False
    _guesses: list[LineGroup] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = APIS[self.batch.format]
        self.plans = LinePlans(Member(self.provider), self.batch.created_at, self.prices)

    async def run(self) -> bool:
        """Charge what can be charged; returns whether the whole batch is charged.

        Raises:
            UpstreamError: The provider cannot be reached.
            SigningError: Its credential cannot be used.
            NotYetError: Its results are not available yet.
            ChargedError: The batch is charged already.
        """
        late = self.now() >= self.batch.deadline
        try:
            state = self.api.state(await self._json(self.api.at(self.batch.path, self.batch.work_id)))
            if not state.ended:
                raise NotYetError(f"it is {state.name or 'at work'}")
            await self._charge(state, late=late)
        except NotYetError:
            if not late:
                raise
            await self.give_up()
        return True

    async def give_up(self) -> None:
        """Charge lines without a result at their ceiling: they may have cost as much."""
        known = await self._known()
        await self._end(self._missing(known, set(), None), self._own(None))

    async def _known(self) -> dict[str, tuple[LineGroup, int]]:
        """The batch's lines by their names; none where they are not known."""
        return await asyncio.to_thread(by_id, self.lines) if self.lines is not None else {}

    async def _charge(self, state: BatchState, *, late: bool) -> None:
        known = await self._known()
        names, seen, gone = Numbered(), set[str](), False
        some: list[BatchLine] = []
        async for result in self._results(state):
            if result is None:
                gone = True
                continue
            name = names.name(result.id)
            seen.add(name)
            some.append(self._line(name, known.get(name), result))
            if len(some) % TURN == 0:
                await asyncio.sleep(0)
            if len(some) == AT_ONCE:
                await self._write(some)
                some = []
        if some:
            await self._write(some)
        complete = state.answered is not None and self._answers >= state.answered
        if gone and not complete:
            if self._answers == 0 and state.usage is not None:
                await self._end((), self._by_usage(state))
                return
            if not late:
                raise NotYetError("its results are not there")
        if gone and not state.is_complete and not self._unread and state.answered is not None:
            lost = state.answered - self._answers
            await self._end(self._lost(known, seen, lost, f"batch-{state.name}"), self._own(state))
            return
        undone = None
        if complete or (not state.is_complete and not self._unread and not gone):
            undone = "failed" if state.is_complete else f"batch-{state.name}"
        await self._end(self._missing(known, seen, undone), self._own(state))

    async def _end(self, lines: Iterable[BatchLine], end: Settlement) -> None:
        some: list[BatchLine] = []
        for line in lines:
            some.append(line)
            if len(some) == AT_ONCE:
                await self._write(some)
                some = []
        await self._write(some, end)

    async def _write(self, lines: Sequence[BatchLine], end: Settlement | None = None) -> None:
        try:
            await self.ledger.settle_lines(self.batch.id, lines, end)
        except LookupError:
            raise ChargedError from None

    def _missing(
        self, known: Mapping[str, tuple[LineGroup, int]], seen: set[str], undone: str | None
    ) -> Iterable[BatchLine]:
        """The lines without a result: free if they were not done, else charged at their ceiling."""
        for name, line in known.items():
            if name in seen:
                continue
            if undone is not None:
                yield self._line(name, line, LineResult(name, None, None, undone))
            else:
                yield self._at_ceiling(name, line[0], self._bound(*line), NO_RESULT if not seen else LOST_RESULT)

    def _lost(
        self, known: Mapping[str, tuple[LineGroup, int]], seen: set[str], lost: int, undone: str
    ) -> Iterable[BatchLine]:
        """The lines without a result, of a batch that was cancelled and has lost some results.

        Which lines were done is not known, so the most expensive ones are charged.
        """
        bounds = sorted(((self._bound(*line), name) for name, line in known.items() if name not in seen), reverse=True)
        for place, (bound, name) in enumerate(bounds):
            if place < lost:
                yield self._at_ceiling(name, known[name][0], bound, LOST_RESULT)
            else:
                yield self._line(name, known[name], LineResult(name, None, None, undone))

    def _at_ceiling(self, name: str, group: LineGroup, bound: int, reason: str) -> BatchLine:
        end = Settlement(
            self._id(name), self.now(), bound, "ceiling", provider=self.provider.name, error="no-result",
            certainty_reason=reason,
        )  # fmt: skip
        return self._row(name, group, end, bound)

    async def _json(self, path: str) -> Json:
        async with self.client.get(self.provider, credential_of(self.provider, self.batch.credential), path) as answer:
            parts: list[bytes] = []
            async for chunk in answer.chunks():
                parts.append(chunk)
                if sum(map(len, parts)) > 8 * MAX_HELD:
                    raise NotYetError("the provider's answer is too long")
            body = await _decoded(b"".join(parts))
            if answer.status >= 400 or body is None:
                raise NotYetError(f"the provider answered {answer.status} for {path}")
            return body

    async def _results(self, state: BatchState) -> AsyncIterator[LineResult | None]:
        """The results; None stands for a result file that no longer exists."""
        if state.inline is not None:
            for result in state.inline:
                yield result
            return
        if self.api.in_bucket:
            async for found in self._in_bucket(state):
                yield found
            return
        for path in state.results:
            place = place_of(self.batch.path, path)
            if ":download" in path:
                place = f"/download{place}"
            credential = credential_of(self.provider, self.batch.credential)
            async with self.client.get(self.provider, credential, place) as answer:
                if answer.status in (404, 410):
                    yield None
                    continue
                if answer.status >= 400:
                    raise NotYetError(f"the provider answered {answer.status} for {path}")
                async for one in self._in_lines(answer.chunks()):
                    yield one

    async def _in_bucket(self, state: BatchState) -> AsyncIterator[LineResult | None]:
        """The results in a bucket; None stands for results that are not there."""
        bucket = Buckets(self.client, self.provider, credential_of(self.provider, self.batch.credential))
        try:
            uris = [uri for folder in state.results for uri in await bucket.objects(f"{folder.rstrip('/')}/")]
            objects = result_objects(uris)
            for uri in objects:
                async with bucket.open(uri) as chunks:
                    async for found in self._in_lines(chunks):
                        yield found
            # What has no result of a job that was broken off costs nothing, so none of its results may be lost.
            uncounted = not objects and state.name != "failed"
            lost = uncounted if state.answered is None else self._answers < state.answered
            if lost and not (objects and state.is_complete):
                yield None
        except BucketError as error:
            if error.gone:
                yield None
                return
            raise NotYetError(str(error)) from None

    async def _in_lines(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[LineResult]:
        rest = bytearray()
        async for chunk in chunks:
            first, *others = chunk.split(b"\n")
            rest += first
            if len(rest) > MAX_HELD:
                raise NotYetError("a line of its results is too long")
            for begun in others:
                if (found := await self._read(bytes(rest))) is not None:
                    yield found
                rest = bytearray(begun)
        if (found := await self._read(bytes(rest))) is not None:
            yield found

    async def _read(self, line: bytes) -> LineResult | None:
        if not line.strip():
            return None
        body = await _decoded(line)
        result = self.api.result(body) if body is not None else None
        if result is None:
            self._unread = True
        return result

    def _line(self, name: str, known: tuple[LineGroup, int] | None, result: LineResult) -> BatchLine:
        if result.body is not None:
            self._answers += 1
        group, tokens = known or self._guessed(result)
        if group is None:
            end = Settlement(
                self._id(name), self.now(), 0, "unknown" if result.body is not None else "exact", status=result.status,
                error=result.error, provider=self.provider.name,
            )  # fmt: skip
            return BatchLine(end, "", self.batch.format, 0, self._tags(name))
        fmt, call, plan = self.plans.of(group)
        call = replace(call, input_tokens=tokens)
        outcome = Outcome(status=result.status, error=result.error)
        bound = _bound(plan, call, fmt)
        if result.body is not None:
            reading = read_answer(_batched(fmt), result.body, {}, plan.price_lookup, call)
            if reading.extracted is not None:
                charge_reading(outcome, reading, self._candidate(plan, bound), call)
            elif fmt.metered:
                outcome.charge(bound.money, "ceiling", NO_USAGE)
        end = self._settlement(self._id(name), outcome)
        return self._row(name, group, end, bound.money)

    def _guessed(self, result: LineResult) -> tuple[LineGroup | None, int]:
        """Guess the request of an unknown line: from its answer, or from the batch's lines if all of them are alike."""
        if result.body is None:
            return None, 0
        alike = self.lines.groups[0] if self.api.in_bucket and self.lines is not None and self.lines.groups else None
        path, model = path_of_answer(result.body), model_of_answer(result.body)
        if alike is not None:
            path, model = alike.path, alike.call.model
        if path is None:
            return None, 0
        group = LineGroup(path, Call(model=model), [], [])
        try:
            self.plans.of(group)
        except LookupError:
            return None, 0
        self._guesses.append(group)  # plans are kept by the group's identity
        return group, 0

    def _bound(self, group: LineGroup, tokens: int) -> int:
        fmt, call, plan = self.plans.of(group)
        return _bound(plan, replace(call, input_tokens=tokens), fmt).money

    def _candidate(self, plan: MemberPlan, bound: CostBound) -> Candidate:
        credential = credential_of(self.provider, self.batch.credential)
        return Candidate(
            plan.member, credential, KINDS[self.provider.kind], plan.model, plan.price_lookup, plan.price, bound.worst,
            bound.money, bound.tokens, plan.bound,
        )  # fmt: skip

    def _settlement(self, id: str, outcome: Outcome) -> Settlement:
        reading: UsageReading | None = outcome.reading
        extracted = reading.extracted if reading else None
        price = reading.price if reading else None
        return Settlement(
            id=id,
            finished=self.now(),
            cost=outcome.cost,
            certainty=outcome.certainty,
            usage=extracted.usage if extracted else None,
            raw_usage=kept_usage(extracted.raw) if extracted else None,
            price=price.identity(reading.modifiers) if reading and price else None,
            certainty_reason="; ".join(outcome.reasons)[:500] or None,
            cost_source=("provider" if reading.from_provider else "list") if reading and extracted else None,
            list_price=reading.list_price if reading and reading.from_provider else None,
            provider=self.provider.name,
            status=outcome.status,
            error=outcome.error,
        )

    def _own(self, state: BatchState | None) -> Settlement:
        """The settlement of the batch itself: it costs nothing, as its lines are charged."""
        blind = self.lines is None and (state is None or self._answers == 0)
        return Settlement(
            id=self.batch.id,
            finished=self.now(),
            cost=0,
            certainty="unknown" if blind else "exact",
            certainty_reason=NO_RESULT if blind else None,
            provider=self.provider.name,
            status=200,
            error=None if state is None or state.is_complete else f"batch-{state.name}",
            work_id=None if blind else self.batch.work_id,
        )

    def _by_usage(self, state: BatchState) -> Settlement:
        """The settlement of a batch whose results are gone, by the usage that the provider states for all of it."""
        model = state.model or next(iter(self.lines.models if self.lines is not None else ()), "")
        group = LineGroup("/v1/responses", Call(model=model), [], [])
        fmt, call, plan = self.plans.of(group)
        outcome = Outcome(status=200)
        body = {"object": "response", "model": model, "usage": state.usage}
        reading = read_answer(_batched(fmt), body, {}, plan.price_lookup, call)
        most = self.plans.total(self.lines) if self.lines is not None else 0
        if reading.extracted is not None:
            bound = CostBound(plan.bound.worst(call), most, 0)
            charge_reading(outcome, reading, self._candidate(plan, bound), call)
        else:
            outcome.charge(most, "ceiling", LOST_RESULT)
        end = self._settlement(self.batch.id, outcome)
        return replace(end, work_id=self.batch.work_id if end.certainty == "exact" else None)

    def _row(self, name: str, group: LineGroup, end: Settlement, bound: int) -> BatchLine:
        fmt, _, _ = self.plans.of(group)
        return BatchLine(end, group.call.model, fmt.name, bound, self._tags(name))

    def _tags(self, name: str) -> dict[str, str]:
        return {"batch": self.batch.work_id, "custom_id": id_of(name)}

    def _id(self, name: str) -> str:
        return f"{self.batch.id}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"


async def _decoded(text: bytes) -> Json | None:
    """A JSON object, or None; a large one is decoded in a thread, so that other work goes on."""
    return decode_json(text) if len(text) < LARGE else await asyncio.to_thread(decode_json, text)


def _bound(plan: MemberPlan, call: Call, fmt: Format) -> CostBound:
    """The most that a line can cost; zero if nothing bounds it."""
    if fmt.metered:
        try:
            return plan.bound.hold(call)
        except Unbounded:
            pass
    return CostBound(plan.bound.worst(call), 0, 0)


_formats: dict[str, Format] = {}


def _batched(fmt: Format) -> Format:
    """A format whose answers are priced at batch rates, whether or not they say so."""
    if (found := _formats.get(fmt.name)) is None:
        inner = fmt.context

        def context(body: Json, headers: object) -> dict[str, str]:
            return {**(inner(body, {}) if inner is not None else {}), **IN_BATCH}

        found = _formats[fmt.name] = replace(fmt, context=context)
    return found
