"""Taking in a request: its key, its route and its content. Refusing it here costs nothing."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.domain.money import parse_usd
from paig_gateway.domain.route import ActiveProvider, ActiveRoute
from paig_gateway.formats import ambiguity, form, reading
from paig_gateway.formats.anthropic import LONG_WINDOW
from paig_gateway.formats.base import Call, Format, MalformedRequest
from paig_gateway.pricing.worst_case import DEAR
from paig_gateway.providers import endpoints
from paig_gateway.providers.kinds import KINDS
from paig_gateway.providers.paths import google_query
from paig_gateway.proxy import sessions
from paig_gateway.proxy.admission import BodyBytes
from paig_gateway.proxy.content_encoding import UnknownEncoding, decode
from paig_gateway.proxy.headers import client_key, tiers
from paig_gateway.proxy.sessions import AgentIds
from paig_gateway.secrets.attempts import Attempts
from paig_gateway.secrets.home import ENOUGH_BITS, bits

AsgiMessage = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class Target:
    """The parts of `/proxy/{route}{path}?{query}`, percent-encoded as received.

    For a path without a route (`{path}?{query}`), `route` is empty until the route is found.
    """

    route: str
    path: str
    query: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """The endpoint of a request at a route.

    Attributes:
        route: The route, with the members that have the endpoint.
        fmt: The format of the request and its answer.
        model: The model that the path names; None where it names none.
        endpoint: The row of the table of endpoints.
    """

    route: ActiveRoute
    fmt: Format
    model: str | None
    endpoint: endpoints.Endpoint


def find_place(
    directory: Directory, caller: Caller, method: str, target: Target, found: Sequence[endpoints.Match]
) -> Place:
    """The endpoint that a request means at its route.

    Args:
        target: The request's route, path and query.
        found: The rows of the table of endpoints that it may mean.

    Raises:
        GatewayError: There is no such route or endpoint, or the caller may not use it.
    """
    route = find_route(directory, target.route, caller)
    route, (fmt, model, endpoint) = find_endpoint(route, found, method, target)
    caller.check_format(fmt.name)
    return Place(known_members(route, fmt, target), fmt, model, endpoint)


_SLASHES = re.compile("/{2,}")


def target(scope: Scope) -> Target:
    """Split the raw path after `/proxy/`. Doubled slashes, a common mistake, count as one."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    text = _SLASHES.sub("/", raw.decode("latin-1"))
    if not text.startswith("/proxy/"):
        return Target("", text, scope["query_string"])
    route, _, path = text.removeprefix("/proxy/").partition("/")
    return Target(route, "/" + path, scope["query_string"])


_UPLOAD_ID = re.compile(rb"(?:^|&)upload_id=([^&]+)")


def upload_session(target: Target) -> str | None:
    """The session of a resumable upload at Google in a request's query, or None."""
    found = _UPLOAD_ID.search(target.query) if "/upload/" in target.path else None
    return unquote_plus(found[1].decode("latin-1")) if found is not None else None


def find_endpoint(
    route: ActiveRoute, found: Sequence[endpoints.Match], method: str, target: Target
) -> tuple[ActiveRoute, endpoints.Match]:
    """The endpoint of a request at a route, and the route with only the members that have it.

    Raises:
        GatewayError: `not-allowed` if it manages the account at the provider; `no-price` if it matches several
            endpoints.
    """
    kinds = [member.provider.kind for member in route.members]
    match = endpoints.choose(found, kinds) if kinds else (found[0] if found else None)
    if match is None and (match := endpoints.unknown(method, target.path)) is None:
        raise GatewayError(
            "no-price",
            f"The gateway does not pass {method} {target.path}: it is not an endpoint that the gateway knows, and its "
            "method or path is ambiguous or part of managing the provider's account.",
        )
    if match.endpoint.charging == "forbidden":
        raise GatewayError(
            "not-allowed",
            f"{method} {target.path} manages the account at the provider, its keys or its money: the gateway never "
            "passes that. Use the provider's own console.",
        )
    if len(set(kinds)) > 1:
        same = {kind for kind in kinds if _is_same(endpoints.choose(found, (kind,)), match)}
        if same and same < set(kinds):
            members = tuple(member for member in route.members if member.provider.kind in same)
            route = replace(route, members=members)
    return route, match


def _is_same(one: endpoints.Match | None, other: endpoints.Match) -> bool:
    """Whether two kinds of provider have the same endpoint."""
    if one is None:
        return other.endpoint is endpoints.UNKNOWN
    return (one.format.name, one.endpoint.charging) == (other.format.name, other.endpoint.charging)


def known_members(route: ActiveRoute, fmt: Format, target: Target) -> ActiveRoute:
    """The route without the members at which the path has another meaning than its ending suggests.

    Raises:
        GatewayError: `bad-request` if the query may hide what a request costs; `no-price` if no member is left.
    """
    claim = fmt.path.search(target.path)
    if claim is None or not route.members:
        return route
    at_google = fmt.metered and any(KINDS[member.provider.kind].google_query for member in route.members)
    hiding = google_query(target.query) if at_google and target.query else None
    if hiding is not None and (fmt.name, hiding) != ("anthropic", "beta"):  # Claude's clients always send it
        raise GatewayError(
            "bad-request",
            f"The query parameter '{hiding}' could hide what the request costs, so the gateway does not pass it.",
        )
    found = tuple(member for member in route.members if _knows(member.provider, fmt, target.path, claim.start()))
    if not found:
        raise GatewayError(
            "no-price",
            f"The gateway does not know what {target.path} means at the route '{route.name}': leave out what stands "
            f"before '{target.path[claim.start() :]}'.",
        )
    return route if len(found) == len(route.members) else replace(route, members=found)


def has_path(provider: ActiveProvider, fmt: Format, path: str) -> bool:
    """Whether a path has the meaning at a provider that its ending suggests."""
    claim = fmt.path.search(path)
    return claim is not None and _knows(provider, fmt, path, claim.start())


def _knows(provider: ActiveProvider, fmt: Format, path: str, claimed_at: int) -> bool:
    kind = KINDS[provider.kind]
    settings = {**(kind.defaults or {}), **provider.settings}
    return kind.path.knows(provider.base_url, path, claimed_at, settings, metered=fmt.metered)


def authenticate(
    directory: Directory,
    headers: Mapping[bytes, bytes],
    query: bytes,
    now: datetime,
    attempts: Attempts,
    address: str | None,
    *,
    from_page: bool = False,
) -> tuple[Caller, bytes]:
    """Find the key that sent a request.

    Args:
        headers: The request's, by lower-case name.
        attempts: Where wrong keys are counted.
        address: Where the request comes from.
        from_page: Whether a browser's page sent the request.

    Returns:
        The caller, and the query without its key.

    Raises:
        GatewayError: `missing-key`, `unknown-key`, `key-disabled`, `key-blocked`, `key-expired`; `not-allowed` for a
            page's key in the query; `rate-limited`, where too many wrong keys came from the address.
    """
    secret, query = client_key(headers, query, from_page=from_page)
    caller = _caller_of(directory, secret)
    wait = attempts.wait("key", address)
    if caller is None:
        attempts.refused("key", address)
    if wait and (caller is None or bits(secret) < ENOUGH_BITS):
        raise GatewayError(
            "rate-limited",
            f"Too many wrong keys came from this address: wait {math.ceil(wait)} s, and check which program "
            "sends them.",
            retry_after=math.ceil(wait),
            retryable=False,
        )
    if caller is None:
        raise GatewayError(
            "unknown-key",
            "The gateway does not know this key. Check that the whole key was copied ('paig keys list' shows how each "
            "begins), or make one with 'paig keys create'.",
        )
    check_state(caller, now)
    return caller, query


def key_facts(directory: Directory, headers: Mapping[bytes, bytes], query: bytes) -> tuple[bool, bool]:
    """Two facts about the key that came with a request.

    Returns:
        Whether it belongs to one caller as long as the directory does not change (the old secret of a rotated key
        expires by itself); and whether it could be guessed, so that it has to wait if its address tried wrong keys.
    """
    secret, _ = client_key(headers, query)
    return _digest(secret) not in directory.snapshot.old_until, bits(secret) < ENOUGH_BITS


def check_state(caller: Caller, now: datetime) -> None:
    """Refuse a key that is disabled, blocked or expired.

    Raises:
        GatewayError: `key-disabled`, `key-blocked`, `key-expired`.
    """
    if caller.state == "disabled":
        raise GatewayError("key-disabled", f"The key '{caller.key}' is disabled; an administrator can enable it again.")
    if caller.state == "blocked":
        raise GatewayError("key-blocked", f"The key '{caller.key}' is blocked; ask an administrator why.")
    if caller.expires_at is not None and caller.expires_at <= now:
        raise GatewayError(
            "key-expired",
            f"The key '{caller.key}' expired at {caller.expires_at:%Y-%m-%dT%H:%M:%SZ}; ask for a new one.",
        )


def find_caller(
    directory: Directory, headers: Mapping[bytes, bytes], query: bytes, *, from_page: bool = False
) -> tuple[Caller | None, bytes]:
    """The caller of a request's key in any state, and the query without its key.

    Raises:
        GatewayError: `missing-key`; `not-allowed` for a page's key in the query.
    """
    secret, query = client_key(headers, query, from_page=from_page)
    return _caller_of(directory, secret), query


def _caller_of(directory: Directory, secret: str) -> Caller | None:
    return directory.caller_by_hash(_digest(secret))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def find_route(directory: Directory, name: str, caller: Caller) -> ActiveRoute:
    """The route of that name, if the caller may use it.

    Raises:
        GatewayError: `route-not-found`, naming those that the caller may use.
    """
    route = directory.route(name)
    if route is None or not (caller.may_use_route(route.name) or caller.may_use_route(name)):
        usable = directory.routes_of(caller)
        listed = ", ".join(usable) if usable else "none yet: add a provider first"
        raise GatewayError(
            "route-not-found",
            f"There is no route '{name}' for the key '{caller.key}'. Routes it may use: {listed}.",
            details={"routes": ", ".join(usable)},
        )
    return route


async def read_body(length: bytes, receive: Receive, limit: int, counted: BodyBytes) -> bytes:
    """The whole request body.

    Args:
        length: The request's `content-length`, if any.
        receive: The ASGI callable that yields the body.
        limit: How large it may be.
        counted: Counts its bytes while they are in memory.

    Raises:
        GatewayError: `body-too-large`; `overloaded`, where too many bodies are in memory.
        ClientGone: The client disconnected before it had sent the whole body.
    """
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        if chunk:
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            counted.add(len(chunk))
            chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def readable(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its content encoding.

    Raises:
        GatewayError: `bad-request` if the encoding is unknown, or does not fit the body.
    """
    if not encoding or not body:
        return body
    try:
        return decode(encoding.decode("latin-1"), body, limit, strict=True)
    except UnknownEncoding as error:
        raise GatewayError(
            "bad-request", f"The gateway cannot read content-encoding '{error}': send the body without it."
        ) from None
    except ValueError as error:
        raise GatewayError("bad-request", f"The body does not match its content-encoding: {error}.") from None


def check_once(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a request with two content types: the provider could read it by the other one.

    Raises:
        GatewayError: `bad-request`.
    """
    names = [name for name, _ in headers if name in (b"content-type", b"content-encoding")]
    if len(names) > 1 and len(set(names)) < len(names):
        repeated = next(name.decode() for name in names if names.count(name) > 1)
        raise GatewayError("bad-request", f"The header {repeated} was sent more than once; send it once.")


_LONG_WINDOW = LONG_WINDOW.encode()


@dataclass(frozen=True, slots=True)
class Stated:
    """What the headers of a request say about its body.

    Attributes:
        misfit: Why the gateway does not accept that content type, or None.
        tier: The service tier that they ask for if it is more expensive than the standard one, or None.
        long_window: Whether they ask for a longer context window.
    """

    content_type: bytes = b""
    encoding: bytes = b""
    misfit: str = ""
    tier: str | None = None
    long_window: bool = False


def stated(headers: Headers) -> Stated:
    """Read what a request's headers (lower-case names) say about its body."""
    by_name = dict(headers)
    content_type = by_name.get(b"content-type", b"")
    return Stated(
        content_type,
        by_name.get(b"content-encoding", b""),
        _misfit(content_type),
        next((tier for tier in tiers(headers) if tier in DEAR), None),
        any(name == b"anthropic-beta" and _LONG_WINDOW in value for name, value in headers),
    )


def read_call(
    fmt: Format, model: str | None, plain: bytes, stated: Stated, most_values: int = ambiguity.MOST_VALUES
) -> Call:
    """Read a request, including a more expensive service tier or a longer window that only its headers ask for.

    Args:
        most_values: The values that its body may have; for a batch `ambiguity.BATCH_FACTOR` times as many.

    Raises:
        GatewayError: `bad-request`, also if the request can be read in two ways.
    """
    try:
        if plain:
            if stated.misfit:
                raise MalformedRequest(stated.misfit)
            form.check(plain, stated.content_type)
            ambiguity.check_json(plain, most_values * ambiguity.BATCH_FACTOR if fmt.batch else most_values)
            may_be_json = not stated.content_type or b"json" in stated.content_type.lower()
            if not fmt.metered and may_be_json and plain.lstrip()[:1] in _BEGIN_JSON:
                reading.check(plain)
        call = fmt.read(model, plain)
    except MalformedRequest as error:
        raise GatewayError("bad-request", str(error)) from None
    if stated.long_window and call.standard_window:
        call = replace(call, standard_window=False)
    if stated.tier is not None and call.service_tier not in DEAR:
        call = replace(call, service_tier=stated.tier)
    return call


_BEGIN_JSON = frozenset({b"{", b"[", b"\0", b"\xef", b"\xfe", b"\xff"})
"""The first bytes of JSON that may name stored objects, in any encoding."""

_CHARSET = re.compile(rb"charset\s*=\s*[\"']?([^\s;\"',]+)", re.IGNORECASE)


def _misfit(content_type: bytes) -> str:
    """Why the gateway does not accept a content type: it reads JSON in UTF-8, and forms."""
    for charset in _CHARSET.findall(content_type):
        if charset.lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
            return "Send the body as UTF-8: the content type names another charset."
    if b"x-www-form-urlencoded" in content_type.lower():
        return "Send the body as JSON, with the content-type application/json."
    return ""


class ClientGone(Exception):
    """The client disconnected before it got an answer."""


def _too_large(limit: int) -> GatewayError:
    return GatewayError(
        "body-too-large",
        f"The request body is larger than the gateway takes ({limit // (1024 * 1024)} MB); "
        "send less, or have max_body_mb raised in paig.toml.",
    )


MAX_TAGS = 20
_TAG = re.compile(r"[\w.:/@ -]{1,128}")


@dataclass(frozen=True, slots=True)
class Attribution:
    """Read from `x-paig-tags`, `x-paig-run`, `x-paig-run-budget`, and the headers that name a session.

    Attributes:
        tags: By name, as `run=nightly,customer=acme` has them.
        run: The run's name, or None.
        run_budget: The run's budget in nanodollars, or None; only the first request of a run fixes it.
        ids: The session that the request belongs to, and the agent in it, or None.
    """

    tags: Mapping[str, str]
    run: str | None
    run_budget: int | None
    ids: AgentIds | None = None

    @property
    def session(self) -> str | None:
        return self.ids.session if self.ids is not None else None


NONE = Attribution({}, None, None)


def read(headers: Mapping[bytes, bytes]) -> Attribution:
    """Read the attribution headers.

    Raises:
        GatewayError: `bad-request`, naming the header and what it should look like.
    """
    raw_tags, raw_run = headers.get(b"x-paig-tags"), headers.get(b"x-paig-run")
    raw_budget, ids = headers.get(b"x-paig-run-budget"), sessions.read(headers)
    if raw_tags is None and raw_run is None and raw_budget is None and ids is None:
        return NONE
    tags: dict[str, str] = {}
    for part in _text(raw_tags).split(",") if raw_tags else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _TAG.fullmatch(name) or not _TAG.fullmatch(value):
            raise GatewayError("bad-request", "The header x-paig-tags must look like 'run=nightly,customer=acme'.")
        tags[name] = value
    if len(tags) > MAX_TAGS:
        raise GatewayError("bad-request", f"The header x-paig-tags has more than {MAX_TAGS} tags.")
    run = _text(raw_run).strip() if raw_run else None
    if run is not None and not _TAG.fullmatch(run):
        raise GatewayError("bad-request", "The header x-paig-run must be a name of at most 128 plain characters.")
    budget: int | None = None
    if raw_budget is not None:
        if run is None:
            raise GatewayError("bad-request", "The header x-paig-run-budget needs x-paig-run beside it.")
        try:
            budget = parse_usd(_text(raw_budget).strip())
        except ValueError as error:
            raise GatewayError("bad-request", f"The header x-paig-run-budget is wrong: {error}.") from None
    return Attribution(tags, run, budget, ids)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
