"""Batches: the whole batch is held when it is created, and each line is charged when its result arrives.

A batch's lines are read from the request or from the file that it names, and held at batch rates. The hold belongs to
no node and stays until the results are there, for days if necessary. The gateway polls the provider when a client's
answer shows that a batch has ended, and from time to time by itself; each line is charged once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import unquote
from weakref import WeakSet, WeakValueDictionary

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats import form
from paig_gateway.formats.base import Json, MalformedRequest
from paig_gateway.formats.batches import (
    APIS,
    GEMINI,
    BatchApi,
    BatchContent,
    own_results_url,
    place_of,
    segment,
)
from paig_gateway.formats.references import last_name
from paig_gateway.ledger import batches as rows
from paig_gateway.ledger.batches import OpenBatch
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.ledger.records import Settlement
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.pricing.worst_case import Unbounded
from paig_gateway.providers.auth import SigningError
from paig_gateway.proxy.batch_lines import BatchLines, LinePlans, LineReader, UnseenError
from paig_gateway.proxy.batch_looks import NO_RESULT, ChargedError, Look, NotYetError
from paig_gateway.proxy.batch_uploads import AT_ONCE, UPLOAD_OFFSET, BatchUpload
from paig_gateway.proxy.buckets import BucketError, Buckets
from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.meter import decode_json
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.request import ClientGone
from paig_gateway.routing.candidates import Candidate, has_flat_price
from paig_gateway.routing.failures import UpstreamError

log = logging.getLogger(__name__)

TICK_SECONDS = 2.0
"""Seconds between two checks for batches that are due."""
LOOKS = tuple(timedelta(minutes=minutes) for minutes in (5, 10, 20, 40, 60))
"""The times between polls of a batch that no client asks for; the last one repeats."""
DEFER_SECONDS = 5.0
"""How long the client's answer waits for the database to store the batch."""
DELETE_SECONDS = 20.0
"""How long a request that deletes results waits for them to be charged."""
GEMINI_FILES_KEPT = timedelta(hours=48)
"""How long Google keeps a file; afterwards its name may be used again."""
HURRY_PAUSE = timedelta(seconds=2)
"""The least time between two polls caused by one key reading files."""
MOST_HURRIED = 10_000
"""The most keys that are remembered for `HURRY_PAUSE`."""
BUCKET_READS = 4
"""The most batches whose objects are read at the same time."""
KEY_READS = 2
"""The most of them for one key, so that others can read at the same time."""
READ_SECONDS = 1200.0
"""How long reading the objects of one batch may take."""
MOST_READ = 8 * 1024**3
"""The most bytes that are read of a batch's objects: Bedrock takes 5 GB, Vertex AI 2 GB."""
RENEW_SECONDS = 30.0
"""How often a node renews its claim on a batch that it polls."""


@dataclass(slots=True)
class Batches:
    """The batches of one node; for one event loop. See the module.

    Attributes:
        engine: The database, for everything but money.
        ledger: Charges the lines.
    """

    engine: Engine
    ledger: Ledger
    directory: Directory
    prices: PriceSources
    client: ProviderClient
    now: Callable[[], datetime]
    node_id: str
    _polls: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _poll_again: set[str] = field(default_factory=set)
    _hurried: dict[str, datetime] = field(default_factory=dict)
    _readers: WeakSet[BatchUpload] = field(default_factory=WeakSet)
    _bucket_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BUCKET_READS))
    _key_reads: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    # Creating a batch

    async def prepare(
        self, exchange: Exchange, order: list[Candidate], is_gone: Callable[[], bool], *, capped: bool
    ) -> tuple[Exchange, list[Candidate]]:
        """Read the lines of the batch that a request creates, and compute their ceiling.

        Args:
            is_gone: Whether the client has disconnected.
            capped: Whether a spending limit or a run's budget binds the request.

        Returns:
            The request with its lines, and the candidates that can do all lines, each with its ceiling.

        Raises:
            GatewayError: `bad-request` if a line cannot be read; `no-price` if a line has no price, or if the lines
                cannot be read but must be; `model-not-allowed` and `not-allowed` if the key may not use a line's model
                or format.
            ClientGone: The client disconnected while objects in a bucket were read.
        """
        api = APIS[exchange.fmt.name]
        try:
            found, order = await self._read(api, exchange, order, is_gone)
        except UnseenError:
            if priced := [one for one in order if has_flat_price(exchange.fmt) and one.price is not None]:
                return replace(exchange, lines=BatchLines()), priced
            if not _passes_unseen(exchange, order, capped=capped):
                raise
            return exchange, order
        exchange = replace(exchange, lines=found)
        caller = exchange.caller
        caller.check_models(found.models, ", which the batch asks for")
        held = await asyncio.to_thread(self._hold, exchange, found, order, capped)
        for fmt in held[1]:
            caller.check_format(fmt)
        return exchange, held[0]

    async def _read(
        self, api: BatchApi, exchange: Exchange, order: list[Candidate], is_gone: Callable[[], bool]
    ) -> tuple[BatchLines, list[Candidate]]:
        try:
            content = await asyncio.to_thread(api.read_content, exchange.plain, exchange.call.model or None)
        except MalformedRequest as error:
            raise GatewayError("bad-request", str(error)) from None
        if api.in_bucket:
            async with self._key_reads.setdefault(exchange.caller.key_id, asyncio.Semaphore(KEY_READS)):
                return await self._from_bucket(exchange, api, content, order, is_gone)
        reader = LineReader(api, content, order[0].provider.kind)
        if content.lines is not None:
            lines = content.lines
            await asyncio.to_thread(reader.add, lines)
            return _filled(reader.end().of_batch(content.model)), order
        if not content.files:
            raise _unseen("it names neither requests nor a file of them")
        groups = BatchLines()
        for file in content.files:
            found, order = await self._file(exchange, api, content, file, order)
            groups.groups += found.of_batch(content.model).groups
        return _filled(groups), order

    async def _file(
        self, exchange: Exchange, api: BatchApi, content: BatchContent, file: str, order: list[Candidate]
    ) -> tuple[BatchLines, list[Candidate]]:
        """The lines of a file: those read at its upload, else those of the provider's copy."""
        providers = list({one.provider.name for one in order})
        try:
            since = exchange.time - (GEMINI_FILES_KEPT if api is GEMINI else rows.INPUTS_KEPT)
            known = await asyncio.to_thread(rows.find_input, self.engine, providers, file, since)
        except SQLAlchemyError as error:
            log.warning("cannot look up the lines of a batch's file: %s", type(error).__name__)
            raise GatewayError(
                "overloaded", "The gateway cannot look up the lines of the batch's file: try again.", retry_after=1
            ) from None
        if known is not None:
            name, packed = known
            kept = await asyncio.to_thread(BatchLines.unpacked, packed)
            if kept.named is not None:
                return kept, [one for one in order if one.provider.name == name]
        why = "the provider does not show it"
        for candidate in order:
            reader = LineReader(api, content, candidate.provider.kind)
            place = f"files/{segment(file)}:download?alt=media" if api is GEMINI else f"files/{segment(file)}/content"
            path = place_of(_with_version(exchange), place)
            if api is GEMINI:
                path = f"/download{path}"
            try:
                async with self.client.get(candidate.provider, candidate.credential, path) as answer:
                    if answer.status >= 400:
                        continue
                    async for chunk in answer.chunks():
                        await asyncio.to_thread(reader.feed, chunk)
                lines = reader.end()
            except (UpstreamError, SigningError) as error:
                why = str(error)
                continue
            except GatewayError as error:  # a bad file at the provider is for the provider to refuse
                raise UnseenError(error.code, error.message, details=error.details) from None
            provider = candidate.provider.name
            return lines, [one for one in order if one.provider.name == provider]
        raise _unseen(f"its file '{file}' was not uploaded through it, and {why}")

    async def _from_bucket(
        self,
        exchange: Exchange,
        api: BatchApi,
        content: BatchContent,
        order: list[Candidate],
        is_gone: Callable[[], bool],
    ) -> tuple[BatchLines, list[Candidate]]:
        """The lines of objects in a bucket, read with the credential of the first candidate that can read them."""
        if not content.sources or not content.destination:
            raise _unseen_bucket(exchange, order[0], "it names no JSONL in a bucket for its requests and its results")
        destination, why = f"{content.destination.rstrip('/')}/", ""
        content = replace(content, path=place_of(exchange.target.path, content.path or ""))
        for candidate in order:
            reader = LineReader(api, content, candidate.provider.kind)
            bucket = Buckets(self.client, candidate.provider, candidate.credential)
            try:
                async with self._bucket_reads, asyncio.timeout(READ_SECONDS):
                    if is_gone():
                        raise ClientGone
                    await bucket.objects(destination)  # where its results are read later
                    await _read_objects(bucket, content.sources, reader, is_gone)
                lines = reader.end()
            except TimeoutError:
                why = why or f"its objects could not be read within {READ_SECONDS / 60:.0f} minutes"
                continue
            except (BucketError, UpstreamError, SigningError) as error:
                why = why or str(error)
                continue
            except UnseenError:
                why = why or f"the gateway cannot see what {exchange.fmt.title} costs with the model '{content.model}'"
                continue
            except GatewayError as error:
                # The object may be another owner's: nothing of it is told.
                log.info("the requests of a batch cannot be read: %s", error.code)
                why = why or f"what is after request {reader.count} in {', '.join(content.sources)} is not a request"
                continue
            provider = candidate.provider.name
            return _filled(lines), [one for one in order if one.provider.name == provider]
        raise _unseen_bucket(exchange, order[0], why)

    def _hold(
        self, exchange: Exchange, lines: BatchLines, order: list[Candidate], capped: bool
    ) -> tuple[list[Candidate], list[str]]:
        """The candidates that have a price for each line, with their ceilings; and the formats of the lines."""
        found: list[Candidate] = []
        formats: list[str] = []
        totals: dict[int, int | GatewayError] = {}
        for candidate in order:
            place = id(candidate.member)
            if place not in totals:
                plans = LinePlans(candidate.member, exchange.time, self.prices)
                totals[place] = _total(plans, lines, candidate, capped=capped)
                formats = formats or list(dict.fromkeys(plans.of(group)[0].name for group in lines.groups))
            total = totals[place]
            if not isinstance(total, GatewayError):
                found.append(replace(candidate, ceiling=total, tokens=0))
        if not found:
            raise next(error for error in totals.values() if isinstance(error, GatewayError))
        return found, formats

    async def accepted(self, exchange: Exchange, candidate: Candidate, outcome: Outcome, body: Json | None) -> None:
        """Store a batch that a provider has accepted, before the client gets the answer."""
        api = APIS[exchange.fmt.name]
        work_id = api.id(body) if body is not None else None
        if work_id is None:
            outcome.charge(candidate.ceiling, "ceiling", "the answer names no batch")
            return
        outcome.work_id, now = work_id, self.now()
        path = _with_version(exchange)
        batch = OpenBatch(
            exchange.id, candidate.provider.name, work_id, exchange.fmt.name, path, candidate.credential.id,
            exchange.caller.key_id, exchange.caller.project_id, exchange.time, exchange.time + api.lifetime,
        )  # fmt: skip
        # Nothing is awaited before this, so the batch is charged even if the client disconnects now.
        outcome.deferred = True
        deferring = self._start(self._defer(batch, now + LOOKS[0], exchange.lines, candidate.ceiling))
        await asyncio.wait({deferring}, timeout=DEFER_SECONDS)

    async def _defer(self, batch: OpenBatch, look_at: datetime, lines: BatchLines | None, ceiling: int) -> None:
        try:
            packed = await asyncio.to_thread(lines.packed) if lines is not None else None
            try:
                await self.ledger.defer(batch.id, partial(rows.begin, batch=batch, look_at=look_at, lines=packed))
            except rows.KnownJobError:
                await self.ledger.settle(Settlement(batch.id, self.now(), 0, "exact", status=200))
                return
            if lines is not None and lines.at_flat_price:
                end = Settlement(
                    batch.id, self.now(), ceiling, "exact", provider=batch.provider, status=200, work_id=batch.work_id
                )
                await self.ledger.settle(end)
                await asyncio.to_thread(rows.end, self.engine, batch.id)
        except LookupError:
            log.error("batch %s is charged at its ceiling: this node was taken for dead meanwhile", batch.work_id)
        except (SQLAlchemyError, GatewayError) as error:
            log.error("batch %s is charged at its ceiling when this node ends: %s", batch.work_id, error)

    # Answers that pass

    async def answered(
        self, exchange: Exchange, candidate: Candidate, outcome: Outcome, body: bytes, status: int
    ) -> bytes:
        """Process an answer about batches or files that was read whole.

        Returns:
            The body for the client.
        """
        if status >= 400:
            return body
        kind, operation = exchange.endpoint.object, exchange.operation
        if kind == "file" and operation == "create":
            await self._uploaded(exchange, candidate, body)
        if kind != "batch":
            return body
        if exchange.fmt.batch:
            await self.accepted(exchange, candidate, outcome, decode_json(body))
        elif operation == "read":
            self._seen(exchange, candidate, body)
        return own_results_url(body)

    def _seen(self, exchange: Exchange, candidate: Candidate, body: bytes) -> None:
        """Poll a batch that has ended according to an answer."""
        answer, named = decode_json(body), exchange.fmt.stored(exchange.target.path)
        if answer is None or named is None:
            return
        work_id, engine, provider = unquote(named), self.engine, candidate.provider.name
        if any(api.state(answer).ended for api in APIS.values()):
            self._start(self._hurry(partial(rows.of_work, engine, [provider], work_id)))

    def fetched(self, exchange: Exchange, candidate: Candidate) -> None:
        """Poll the batches whose results an unread answer may contain."""
        kind, operation = exchange.endpoint.object, exchange.operation
        if kind not in ("batch", "file") or operation not in ("read", "list"):
            return
        caller, engine, provider = exchange.caller, self.engine, candidate.provider.name
        named = exchange.fmt.stored(exchange.target.path)
        if kind == "batch" and named:
            self._start(self._hurry(partial(rows.of_work, engine, [provider], unquote(named))))
        elif self._may_hurry(caller.key_id):
            find = partial(rows.of_caller, engine, [provider], caller.key_id, caller.project_id)
            self._start(self._hurry(find))

    def _may_hurry(self, key_id: str) -> bool:
        """Whether a key that reads a file causes a poll of its batches now; see `HURRY_PAUSE`."""
        now = self.now()
        if now - self._hurried.get(key_id, now - HURRY_PAUSE) < HURRY_PAUSE:
            return False
        if len(self._hurried) >= MOST_HURRIED:
            self._hurried.clear()
        self._hurried[key_id] = now
        return True

    async def before_delete(self, exchange: Exchange) -> None:
        """Charge a batch whose results are about to be deleted."""
        kind = exchange.endpoint.object
        if kind not in ("batch", "file"):
            return
        caller, named = exchange.caller, exchange.fmt.stored(exchange.target.path)
        providers = [member.provider.name for member in exchange.route.members]
        find = partial(rows.of_caller, self.engine, providers, caller.key_id, caller.project_id)
        if kind == "batch":
            find = partial(rows.of_work, self.engine, providers, unquote(named or ""))
        try:
            found = await asyncio.to_thread(find)
        except SQLAlchemyError as error:
            log.warning("cannot look up the batch of deleted results: %s", type(error).__name__)
            return
        if found:
            polls = {self._poll(batch) for batch in found}
            await asyncio.wait(polls, timeout=DELETE_SECONDS)
        if kind == "file" and named:
            await asyncio.to_thread(rows.forget_input, self.engine, providers, last_name(unquote(named)))

    def watch(self, exchange: Exchange) -> BatchUpload | None:
        """A reader for a file that is uploaded, if a batch can be created from it."""
        members = exchange.route.members
        if exchange.endpoint.object != "file" or not members:
            return None
        upload = BatchUpload(members[0].provider.kind, self._keep_input, self._readers)
        if (offset := dict(exchange.headers).get(UPLOAD_OFFSET, b"0").strip()) != b"0":
            log.debug("a file that continues at byte %s is not read at its upload", offset)
            upload.drop()  # its first part passed in another request
        return upload

    def _keep_input(self, provider: str, id: str, lines: bytes | None) -> None:
        if lines is None:
            rows.forget_input(self.engine, [provider], id)
        else:
            rows.keep_input(self.engine, provider, id, self.now(), lines)

    async def _uploaded(self, exchange: Exchange, candidate: Candidate, body: bytes) -> None:
        """Read a file whose request was held whole: one in a content encoding."""
        if (upload := self.watch(exchange)) is None or not form.is_form(exchange.plain):
            return
        for name, start, end in form.fields(exchange.plain):
            if name != "file":
                upload.field(name, exchange.plain[start:end])
                continue
            for place in range(start, end, AT_ONCE):
                upload.piece(name, exchange.plain[place : min(place + AT_ONCE, end)])
                await upload.complete()
        await upload.answered(candidate, body)

    # Polling

    async def run(self) -> None:
        """Poll due batches until cancelled."""
        while True:
            try:
                for batch in await asyncio.to_thread(rows.due, self.engine, self.now()):
                    self._poll(batch)
            except SQLAlchemyError as error:
                log.warning("cannot poll batches, trying again: %s", type(error).__name__)
            await asyncio.sleep(TICK_SECONDS)

    async def close(self) -> None:
        """Cancel running polls; another node, or this one after a restart, polls again."""
        tasks = {*self._tasks, *self._polls.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hurry(self, find: Callable[[], list[OpenBatch]]) -> None:
        try:
            for batch in await asyncio.to_thread(find):
                await asyncio.to_thread(rows.hurry, self.engine, batch.id, self.now())
                if batch.id in self._polls:
                    self._poll_again.add(batch.id)
                self._poll(batch)
        except SQLAlchemyError as error:
            log.warning("a batch that has ended is polled later: %s", type(error).__name__)

    def _poll(self, batch: OpenBatch) -> asyncio.Task[None]:
        """Poll a batch, unless this process does so already."""
        if (task := self._polls.get(batch.id)) is None:
            task = asyncio.create_task(self._poll_until_done(batch), name=f"batch {batch.work_id}")
            self._polls[batch.id] = task
            task.add_done_callback(lambda _: self._poll_ended(batch))
        return task

    def _poll_ended(self, batch: OpenBatch) -> None:
        self._polls.pop(batch.id, None)
        if batch.id in self._poll_again:
            self._poll_again.discard(batch.id)
            self._poll(batch)

    async def _poll_until_done(self, batch: OpenBatch) -> None:
        renewing: asyncio.Task[None] | None = None
        try:
            if not await asyncio.to_thread(rows.take, self.engine, batch.id, self.node_id, self.now()):
                return
            renewing = asyncio.create_task(self._renew(batch))
            if await self._charge(batch):
                await asyncio.to_thread(rows.end, self.engine, batch.id)
                return
            pause = LOOKS[min(batch.looks, len(LOOKS) - 1)]
            await asyncio.to_thread(rows.give_back, self.engine, batch.id, self.node_id, self.now() + pause)
        except (SQLAlchemyError, GatewayError) as error:
            log.warning("batch %s is polled later: %s", batch.work_id, error)
        except Exception:
            log.exception("batch %s could not be charged, trying again later", batch.work_id)
            if self.now() >= batch.deadline and await self._write_off(batch):
                await asyncio.to_thread(rows.end, self.engine, batch.id)
                return
            pause = LOOKS[-1]
            await asyncio.to_thread(rows.give_back, self.engine, batch.id, self.node_id, self.now() + pause)
        finally:
            if renewing is not None:
                renewing.cancel()

    async def _renew(self, batch: OpenBatch) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await asyncio.to_thread(rows.take, self.engine, batch.id, self.node_id, self.now())

    async def _charge(self, batch: OpenBatch) -> bool:
        """Charge a batch's lines by their results; returns whether the whole batch is charged."""
        provider = self.directory.providers().get(batch.provider)
        if provider is None:
            log.warning("batch %s cannot be polled: there is no provider '%s'", batch.work_id, batch.provider)
            return self.now() >= batch.deadline and await self._write_off(batch)
        packed = await asyncio.to_thread(rows.lines_of, self.engine, batch.id)
        lines = await asyncio.to_thread(BatchLines.unpacked, packed) if packed is not None else None
        if lines is not None and lines.at_flat_price:
            return await self._write_off(batch, "the gateway ended before it had charged the flat price")
        look = Look(batch, provider, self.client, self.ledger, self.prices, lines, self.now)
        try:
            return await look.run()
        except ChargedError:
            return True
        except (UpstreamError, SigningError) as error:
            if self.now() < batch.deadline:
                log.info("batch %s is polled later: %s", batch.work_id, error)
                return False
            await look.give_up()
            return True
        except NotYetError as error:
            log.debug("batch %s is polled later: %s", batch.work_id, error)
            return False

    async def _write_off(self, batch: OpenBatch, why: str = NO_RESULT) -> bool:
        """Charge the whole hold of a batch that cannot be polled."""
        held = await asyncio.to_thread(rows.held_for, self.engine, batch.id)
        if held is not None:
            end = Settlement(batch.id, self.now(), held, "ceiling", status=200, error="no-result", certainty_reason=why)
            await self.ledger.settle(end)
        return True

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _with_version(exchange: Exchange) -> str:
    """A request's path, with Azure's `api-version` from its query."""
    version = [part for part in exchange.target.query.split(b"&") if part.startswith(b"api-version=")]
    return exchange.target.path + (f"?{version[0].decode('latin-1')}" if version else "")


def _filled(lines: BatchLines) -> BatchLines:
    if not lines.count:
        raise GatewayError("bad-request", "The batch has no requests.")
    return lines


def _unseen(why: str) -> UnseenError:
    return UnseenError(
        "no-price",
        f"The gateway cannot read the batch's requests: {why}. Upload its file through the gateway, or put the "
        "requests into the body if the API allows it; an administrator can set allow_unmetered = true for the key.",
    )


def _unseen_bucket(exchange: Exchange, candidate: Candidate, why: str) -> UnseenError:
    title, provider = exchange.fmt.title, candidate.provider.name
    return UnseenError(
        "no-price",
        f"The gateway cannot read the batch's requests: {why}. An administrator can set allow_unmetered = true for the "
        f'key or under [providers.{provider}], or a flat price in [prices."{provider} {title}"]: model = "{title}", '
        f'provider = "{provider}", requests_kcount = the US dollars for 1,000 requests.',
        details={"provider": provider, "endpoint": title},
    )


async def _read_objects(
    bucket: Buckets, sources: Iterable[str], reader: LineReader, is_gone: Callable[[], bool]
) -> None:
    """Read the lines of all objects that some URIs name, as long as the client waits."""
    size = 0
    for source in sources:
        for uri in await bucket.objects(source):
            async with bucket.open(uri) as chunks:
                async for chunk in chunks:
                    if is_gone():
                        raise ClientGone
                    size += len(chunk)
                    if size > MOST_READ:
                        raise BucketError(f"its objects have more than {MOST_READ // 1024**3} GB")
                    await asyncio.to_thread(reader.feed, chunk)
            await asyncio.to_thread(reader.feed, b"\n")


def _passes_unseen(exchange: Exchange, order: list[Candidate], *, capped: bool) -> bool:
    """Whether a batch may be created whose lines were not read; see `unmetered.admitted`."""
    allowed = exchange.caller.allow_unmetered
    if exchange.caller.models is not None:
        return False  # it could ask for any model
    return allowed or (not capped and any(one.provider.allow_unmetered for one in order))


def _total(plans: LinePlans, lines: BatchLines, candidate: Candidate, *, capped: bool) -> int | GatewayError:
    """The most that all lines can cost at a provider, or why they cannot be sent there."""
    try:
        unpriced = plans.unpriced(lines)
        if unpriced is None:
            return plans.total(lines)
    except Unbounded as error:
        if not capped:
            return 0
        return GatewayError(
            "no-price",
            f"Nothing bounds how many {error.unit.replace('_', ' ')} a line of the batch may be billed for, so it "
            "cannot be sent under a spending limit.",
            details={"unit": error.unit},
        )
    except LookupError as error:
        return GatewayError("no-price", f"The batch cannot be sent there: {error}.")
    provider = candidate.provider.name
    return GatewayError(
        "no-price",
        f"No price is known for the model '{unpriced}', which the batch asks for, at provider '{provider}', and it "
        f"requires one. Check the model's name, or have an administrator add a price or an alias to paig.toml.",
        details={"model": unpriced, "provider": provider},
    )
