"""Owners of stored objects: checks which ones a request may use, and stores or hides those in its answer.

A key sees the objects that it or its project made (`stored`). An object of another owner and one that does not exist
get the same answer, after the same time. Requests that name no object read nothing from the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats import reading
from paig_gateway.formats.base import ErrorShape, Json, MalformedRequest
from paig_gateway.formats.folding import dig, each, mapping
from paig_gateway.formats.listing import listing, without
from paig_gateway.formats.references import last_name, stored_ids
from paig_gateway.ledger.stored_objects import LONGEST, ProviderObject
from paig_gateway.providers.endpoints import UNKNOWN, stored_at_unknown
from paig_gateway.proxy.exchange import Exchange
from paig_gateway.proxy.request import upload_session
from paig_gateway.routing.candidates import Candidate

log = logging.getLogger(__name__)

MOST_KNOWN = 20_000
MOST_SESSIONS = 5_000
MOST_WAITING = 50_000
"""The most owners that wait to be stored; further ones are known only to this process."""
KEEP_SECONDS = 0.05
"""How long owners are collected before they are stored."""
LARGE = 256 * 1024
"""A body of more bytes is searched in a thread."""
WAITS = (0.05, 0.2, 0.5)
"""Seconds after which an unknown object is looked up again: the request that made it may not be recorded yet."""

_STATUS: dict[ErrorShape, tuple[int, int]] = {
    "openai": (404, 400),
    "anthropic": (404, 404),
    "google": (403, 403),
    "bedrock": (404, 400),
    "ollama": (404, 400),
}
"""The status of each API for an unknown id in the path, and in the body."""


class StoredObjectNotFound(GatewayError):
    """`not-found`, with the status of the provider's API for an unknown id."""

    def __init__(self, shape: ErrorShape, kind: str, id: str, *, in_path: bool) -> None:
        self._status = _STATUS[shape][0 if in_path else 1]
        super().__init__(
            "not-found",
            f"There is no {kind.replace('-', ' ')} '{id[:100]}' that this key may use.",
            details={"id": id[:100]},
            retryable=False,
        )

    @property
    def status(self) -> int:
        return self._status


_SESSION, _ITEM = "upload-session", "item"


@dataclass(slots=True)
class StoredObjects:
    """The owners of stored objects.

    Attributes:
        find: Looks owners up in the database, by ids; blocks.
        save: Stores owners in the database, those of items for a limited time; blocks.
        forget: Removes the owner of a deleted object, by provider and id; blocks.
    """

    find: Callable[[Sequence[str]], list[ProviderObject]] = lambda ids: []
    save: Callable[[Sequence[ProviderObject]], object] = lambda objects: None
    forget: Callable[[str, str], None] = lambda provider, id: None
    _known: OrderedDict[tuple[str, str], ProviderObject] = field(default_factory=OrderedDict)
    _sessions: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _waiting: list[ProviderObject] = field(default_factory=list)
    _keeping: asyncio.Task[None] | None = None
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def check(self, exchange: Exchange) -> None:
        """Refuse a request that names an object that its key may not use.

        Raises:
            GatewayError: `not-found`; `bad-request` if too many are named; `overloaded` if the database is unavailable.
        """
        caller = exchange.caller
        if caller.stored == "shared":
            return
        wanted: dict[str, bool] = {}
        if exchange.endpoint.object is not None and (named := exchange.fmt.stored(exchange.target.path)):
            wanted[unquote(named)] = True
        elif exchange.endpoint.path in _JOBS:
            wanted.update(dict.fromkeys(_jobs(exchange), True))
        elif exchange.endpoint is UNKNOWN:
            kinds = {member.provider.kind for member in exchange.route.members}
            if (named := stored_at_unknown(exchange.target.path, kinds)) is not None:
                wanted[named] = True
        if exchange.plain:
            try:
                found = await _stored_ids(exchange.plain)
            except MalformedRequest as error:
                raise GatewayError("bad-request", str(error)) from None
            for id in found:
                wanted.setdefault(id, False)
        session = upload_session(exchange.target)
        if session is not None and await self.maker_of_session(session) != caller.key_id:
            wanted[session] = True  # a key without access to objects may still continue its own uploads
        if wanted:
            kind = exchange.endpoint.object or "object"
            await self.check_ids(caller, _providers(exchange), wanted, exchange.fmt.errors, kind)

    async def check_named(self, exchange: Exchange, ids: Sequence[str]) -> None:
        """Refuse an upload if its fields name objects that its key may not use.

        Raises:
            GatewayError: As `check`.
        """
        if exchange.caller.stored != "shared":
            wanted = dict.fromkeys(ids, False)
            await self.check_ids(exchange.caller, _providers(exchange), wanted, exchange.fmt.errors)

    async def check_ids(
        self, caller: Caller, providers: set[str], wanted: Mapping[str, bool], shape: ErrorShape, kind: str = "object"
    ) -> None:
        """Refuse ids of objects that a key may not use.

        Args:
            providers: The names of the providers that may have the objects.
            wanted: The ids, and whether each stands in the path or query (otherwise in a body).
            shape: The API's shape of the error.
            kind: The kind of the path's object.

        Raises:
            GatewayError: `not-found`; `overloaded` if the database is unavailable.
        """
        allowed = await self._allowed(caller, providers, list(wanted), wait=True)
        for id, in_path in wanted.items():
            if id not in allowed:
                raise StoredObjectNotFound(shape, kind if in_path else "object", id, in_path=in_path)

    async def maker_of_session(self, id: str) -> str | None:
        """The id of the key that began a resumable upload, or None. Ids of other objects count for nothing.

        They are not secret, so they prove no key.

        Raises:
            GatewayError: `overloaded` where the database is away.
        """
        if id not in self._sessions:
            found = [one for one in await self._look_up([id]) if one.kind == _SESSION]
            if not found:
                return None
            self._remember_session(id, found[-1].key_id)
        self._sessions.move_to_end(id)
        return self._sessions[id]

    def _remember_session(self, id: str, key_id: str) -> None:
        self._sessions[id] = key_id
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)

    async def keep_session(self, exchange: Exchange, candidate: Candidate, id: str) -> None:
        """Store the owner of a resumable upload, before its client gets the address to continue at."""
        await self._save([replace(self._object(exchange, candidate, id), kind=_SESSION)])
        self._remember_session(id, exchange.caller.key_id)

    async def drop(self, candidate: Candidate, id: str) -> None:
        provider = candidate.provider.name
        self._known.pop((provider, id), None)
        self._sessions.pop(id, None)
        try:
            await asyncio.to_thread(self.forget, provider, id)
        except SQLAlchemyError as error:
            log.warning("cannot forget a deleted object: %s", type(error).__name__)

    async def holders(self, caller: Caller, ids: Iterable[str]) -> frozenset[str]:
        """The providers that have one of these objects, as far as the caller may use it.

        Raises:
            GatewayError: `overloaded` where the database is away.
        """
        if caller.stored == "off":
            return frozenset()
        found = await self._look_up(list(ids))
        return frozenset(one.provider for one in found if caller.stored == "shared" or self._is_of(caller, one))

    async def _allowed(self, caller: Caller, providers: set[str], ids: list[str], *, wait: bool = False) -> set[str]:
        """Those of the ids that the caller may use at one of the providers."""
        if caller.stored == "shared":
            return set(ids)
        if caller.stored == "off":
            return set()
        allowed = {id for id in ids for provider in providers if self._is_of(caller, self._known.get((provider, id)))}
        for pause in (0.0, *(WAITS if wait else ())):
            missing = [id for id in ids if id not in allowed]
            if not missing:
                break
            await asyncio.sleep(pause)
            for found in await self._look_up(missing):
                if found.provider in providers and self._is_of(caller, found):
                    self._remember(found)
                    allowed.add(found.id)
        return allowed

    async def _look_up(self, ids: list[str]) -> list[ProviderObject]:
        try:
            return await asyncio.to_thread(self.find, ids)
        except SQLAlchemyError as error:
            log.warning("cannot look up the owner of a stored object: %s", type(error).__name__)
            raise GatewayError(
                "overloaded", "The gateway cannot look up the owner of this stored object: try again.", retry_after=1
            ) from None

    def _is_of(self, caller: Caller, found: ProviderObject | None) -> bool:
        if found is None:
            return False
        same_project = found.project_id is not None and found.project_id == caller.project_id
        return found.key_id == caller.key_id or (caller.stored == "project" and same_project)

    def _remember(self, found: ProviderObject) -> None:
        place = (found.provider, found.id)
        self._known[place] = found
        self._known.move_to_end(place)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _claim(self, made: ProviderObject) -> None:
        """Remember this key as the owner of an object in an answer, unless the object has another owner."""
        known = self._known.get((made.provider, made.id))
        if known is None or known.key_id == made.key_id:
            self._remember(made)

    def holds(self, exchange: Exchange, status: int, content_type: str) -> bool:
        """Whether an answer must be complete before the client gets its end, because it creates or lists objects."""
        if (exchange.fmt.metered and not exchange.fmt.batch) or status >= 400 or exchange.method == "HEAD":
            return False
        operation = exchange.operation
        if operation is None:
            return False
        if operation == "list":
            return exchange.caller.stored != "shared"
        if "json" not in content_type or "jsonl" in content_type or "ndjson" in content_type:
            return False
        makes = exchange.endpoint.object in _MAKERS or exchange.endpoint.path in _ITEMS
        return operation == "create" or (operation in ("read", "change") and makes)

    async def answered(self, exchange: Exchange, candidate: Candidate, body: bytes) -> bytes:
        """Process a complete answer.

        Args:
            body: The answer, without a content encoding.

        Returns:
            The body for the client; a list has only the objects that it may see.

        Raises:
            GatewayError: `not-allowed` if a list cannot be shown without other owners' objects.
        """
        if exchange.operation == "list":
            return await self._visible(exchange, candidate, body)
        top = mapping(reading.value(body))
        made = list(_made(top)) if exchange.operation == "create" else []
        objects = [self._object(exchange, candidate, id) for id in dict.fromkeys([*made, *_derived(top)])]
        if exchange.endpoint.path in _ITEMS:
            objects += self._items(exchange, candidate, top.get("data"))
        await self._save(objects)
        return body

    def _items(self, exchange: Exchange, candidate: Candidate, items: object) -> list[ProviderObject]:
        ids = [id for item in each(items)[:MOST_ITEMS] if isinstance(id := dig(item, "id"), str) and id]
        return [replace(self._object(exchange, candidate, id), kind=_ITEM) for id in ids]

    async def _visible(self, exchange: Exchange, candidate: Candidate, body: bytes) -> bytes:
        try:
            found = listing(body)
        except ValueError as error:
            raise GatewayError(
                "not-allowed",
                f"The gateway cannot tell who owns the objects in this list, so it does not pass the list on: {error}.",
            ) from None
        if found is None:
            return body
        ids = [id for id in found.ids if id is not None]
        allowed = await self._allowed(exchange.caller, {candidate.provider.name}, ids)
        cut = without(body, found, [id in allowed for id in found.ids])
        if cut is None:
            raise GatewayError(
                "not-allowed",
                "This list shows how many objects the provider has, other owners' included, so the gateway does "
                "not pass it. Ask an administrator for stored = 'shared', or for an account of your own.",
            )
        return cut

    def learn(self, exchange: Exchange, candidate: Candidate, body: Json, work_id: str | None) -> None:
        """Store the objects that a metered answer created, before the client can name them.

        The ledger's row keeps the work itself; other objects are kept in the background.
        """
        objects = self._items(exchange, candidate, body.get("output")) if _keeps_items(exchange) else []
        if exchange.fmt.later_look:  # it created nothing, but a background response has its items only now
            if objects:
                self.keep(objects)
            return
        if work_id:
            self._remember(self._object(exchange, candidate, work_id))
        ids = {*_containers(body), *_files(body)} if _MAY_NAME & body.keys() else set[str]()
        if exchange.fmt.name == "openai-chat" and exchange.call.media_out:
            ids.update(_spoken(body))
        if not work_id and (id := _chat_id(exchange, body)) and exchange.operation == "create":
            ids.add(id)
        objects += [self._object(exchange, candidate, id) for id in ids]
        if objects:
            self.keep(objects)

    def keep(self, objects: Sequence[ProviderObject]) -> None:
        """Store owners in the background; this process knows them at once."""
        for one in objects:
            self._claim(one)
        self._waiting += objects[: MOST_WAITING - len(self._waiting)]
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_waiting())

    async def _keep_waiting(self) -> None:
        while self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._closing.wait()
            some, self._waiting = self._waiting, []
            await self._save(some)

    def located(self, exchange: Exchange, candidate: Candidate, location: str) -> None:
        """Store the owner of the object that an answer's `location` names: the answer to a new call has one."""
        if id := last_name(location.partition("?")[0]):
            self.keep([self._object(exchange, candidate, id)])

    async def deleted(self, exchange: Exchange, candidate: Candidate) -> None:
        named = exchange.fmt.stored(exchange.target.path)
        if named is None or not exchange.endpoint.path.rstrip("/*").endswith("{id}"):
            return
        id = unquote(named)
        if exchange.target.path.rstrip("/").endswith(named):
            await self.drop(candidate, id)

    async def close(self) -> None:
        self._closing.set()
        if self._keeping is not None:
            await self._keeping

    def _object(self, exchange: Exchange, candidate: Candidate, id: str) -> ProviderObject:
        caller = exchange.caller
        kind = exchange.endpoint.object or "object"
        return ProviderObject(candidate.provider.name, id, kind, caller.key_id, caller.project_id)

    async def _save(self, objects: list[ProviderObject]) -> None:
        objects = [one for one in objects if len(one.id) <= LONGEST]
        if not objects:
            return
        for one in objects:
            self._claim(one)
        try:
            await asyncio.to_thread(self.save, objects)
        except SQLAlchemyError as error:
            ids = ", ".join(one.id for one in objects[:_SHOWN])
            more = f" and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else ""
            log.error("cannot store the owners of objects; only this process knows them: %s%s (%s)", ids, more, error)


async def _stored_ids(body: bytes) -> list[str]:
    """The stored objects that a body names; a large one is searched in a thread, so that other work goes on."""
    return stored_ids(body) if len(body) < LARGE else await asyncio.to_thread(stored_ids, body)


def _providers(exchange: Exchange) -> set[str]:
    return {member.provider.name for member in exchange.route.members}


_JOBS = frozenset({"queue/status", "queue/cancel"})
"""Endpoints that name a job as `request_id`, in the query or in the body."""


def _jobs(exchange: Exchange) -> list[str]:
    """The jobs that a request names; an empty id, which no key owns, if it names none or cannot be read."""
    pairs: list[tuple[str, object]] = [*parse_qsl(exchange.target.query.decode("latin-1"), keep_blank_values=True)]
    if exchange.plain:
        try:
            body = json.loads(exchange.plain, object_pairs_hook=tuple, parse_int=str)
        except (ValueError, RecursionError):
            return [""]
        if not isinstance(body, tuple):
            return [""]
        pairs += body
    return [str(value) for name, value in pairs if name.replace("_", "").lower() == "requestid"] or [""]


_MAKERS = frozenset({"batch", "upload", "fine-tuning-job", "thread", "operation"})
"""Kinds of objects whose answers name other objects that they created."""


_ITEMS = frozenset({"responses/{id}/input_items", "conversations/{id}/items"})
"""Endpoints whose answers list items of a conversation."""

MOST_ITEMS = 1_000
"""Items of one answer that are kept."""

_SHOWN = 20
"""Ids that one line of the log names."""


_DERIVED = (
    ("file", "id"),
    ("response", "responsesFile"),
    ("dest", "fileName"),
    ("metadata", "output", "responsesFile"),
)


_IDS = (
    *("id", "request_id", "requestId", "task_id", "workflow_id", "invocationArn", "jobArn", "batch_id"),
    *("collection_id", "thread_id"),
)
"""What providers call the id of an object in the answer to the request that made it."""


def _made(body: Json) -> Iterable[str]:
    """The ids in the answer to a request that made an object."""
    raw = {name: value for name, value in body.items() if isinstance(value, str)}
    for name in _IDS:
        if raw.get(name):
            yield raw[name]
    if raw.get("jobArn"):
        yield raw["jobArn"].rpartition("/")[2]  # Bedrock takes either for a job
    if "id" not in raw and raw.get("name"):
        yield last_name(raw["name"])
    for place in ("file", "batch", "dataset", "model"):
        for name in ("name", "id"):
            if isinstance(id := dig(body, place, name), str) and id:
                yield last_name(id)


def _derived(body: Json) -> Iterable[str]:
    """The ids of objects that came out of another object: results of batches, completed uploads."""
    for name in ("output_file_id", "error_file_id", "output_file", "error_file"):
        if isinstance(id := body.get(name), str) and id:
            yield id
    for name in ("result_files", "output_file_ids"):
        yield from (id for id in each(body.get(name)) if isinstance(id, str))
    for path in _DERIVED:
        if isinstance(id := dig(body, *path), str) and id:
            yield last_name(id)


_MAY_NAME = frozenset({"container", "output", "content"})
"""Members of an answer in which objects are named that the model's code made."""


def _containers(body: Json) -> Iterable[str]:
    """The containers in which a model's code ran."""
    if isinstance(id := dig(body, "container", "id"), str):
        yield id
    for item in each(body.get("output")):
        for id in (dig(item, "container_id"), dig(item, "environment", "container_id")):
            if isinstance(id, str) and id:
                yield id


def _files(body: Json) -> Iterable[str]:
    """The files that a model's code made, which an answer of the Messages API names."""
    for block in each(body.get("content")):
        for output in each(dig(block, "content", "content")):
            if isinstance(id := dig(output, "file_id"), str) and id:
                yield id


def _spoken(body: Json) -> Iterable[str]:
    """The ids of spoken answers, which a later request may name instead of sending them."""
    for choice in each(body.get("choices")):
        if isinstance(id := dig(choice, "message", "audio", "id"), str) and id:
            yield id


def _keeps_items(exchange: Exchange) -> bool:
    """Whether a later request may name the items of the answer by their ids."""
    if not exchange.fmt.name.startswith("openai-responses") or exchange.fmt.name.endswith("compact"):
        return False
    top = reading.members(exchange.plain) if reading.mentions(exchange.plain, "store") else {}
    return reading.value(top.get("store")) is not False


def _chat_id(exchange: Exchange, body: Json) -> str | None:
    """The id of a chat completion that the request asked the provider to store, or to fetch later."""
    if not (exchange.call.stores or exchange.call.background):
        return None
    found = body.get("request_id") or body.get("id")
    return found if isinstance(found, str) and found else None
