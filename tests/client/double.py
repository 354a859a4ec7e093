"""A double of the gateway: its admin API over dictionaries, and its proxy over the provider simulator.

The proxy maps paths by the gateway's own table of provider kinds, so that an address which only works here would not
go unnoticed; it refuses on demand, with the gateway's own error bodies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote

import uvicorn

from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats.errors import error_body, error_shape
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.headers import client_key, error_headers
from paig_gateway.simulator import Simulator
from paig_gateway.simulator.faults import Faults

KEY = "paig_0123456789abcdefghijklmnop"
TOKEN = "admin-token-of-the-double"
NOW = "2026-11-23T12:00:00Z"

# By route: the simulator's mount and what the provider's base path is there.
MOUNTS = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "google": "/google",
    "google-vertex": "/vertex",
    "groq": "/groq/openai/v1",
    "openrouter": "/openrouter/api/v1",
    "xai": "/xai/v1",
    "bedrock": "/bedrock",
    "mistral": "/mistral",
    "azure": "/azure",
}


@dataclass
class Seen:
    """One request as the proxy got it."""

    route: str
    path: str
    upstream: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Double:
    """What the double knows, and what it saw."""

    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    limits: list[dict[str, Any]] = field(default_factory=list)
    audit: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    streams: int | None = None
    event_requests: list[str | None] = field(default_factory=list)
    plan: list[dict[str, Any]] = field(default_factory=list)
    applied: list[dict[str, Any]] = field(default_factory=list)
    queries: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    canned: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusal: GatewayError | None = None
    upstream_status: int | None = None
    bare_body: bool = False
    bare_headers: bool = False
    key: str = KEY

    def __post_init__(self) -> None:
        self.simulator = Simulator(
            faults=lambda _: Faults(status=self.upstream_status) if self.upstream_status else None
        )
        for collection in ("providers", "routes", "projects", "users", "keys"):
            self.objects.setdefault(collection, {})

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        path: str = scope["path"]
        if path.startswith("/proxy/"):
            return await self._proxy(scope, receive, send)
        if path == "/healthz":
            return await _answer(send, 200, {"status": "ok"})
        if not path.startswith("/admin/v1/"):
            return await _answer(send, 404, {"detail": "Not Found"})
        headers = _headers(scope)
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return await _problem(send, 401, "unknown-token", "The admin token is not known.")
        body = json.loads(await _body(receive) or b"null")
        query = parse_qs(scope["query_string"].decode())
        raw: str = scope["raw_path"].decode("latin-1")
        parts = [unquote(part) for part in raw.removeprefix("/admin/v1/").split("/")]
        self.queries.append((path, query))
        if self.streams is not None and len(self.event_requests) >= self.streams:
            return await _problem(send, 503, "unavailable", "The double is shutting down.")
        if parts == ["events"]:
            return await self._events(headers, send)
        await self._admin(scope["method"], parts, query, body, send)

    async def _admin(self, method: str, parts: list[str], query: Mapping[str, list[str]], body: Any, send: Any) -> None:
        match method, parts:
            case "GET", ["health"]:
                about = {"status": "ok", "version": "0.1.0", "database": "sqlite", "node": "n1", "nodes": 1}
                await _answer(send, 200, {**about, "started_at": NOW})
            case "GET", ["whoami"]:
                me = {"name": "token:admin", "permissions": [], "projects": {}, "expires_at": None, "session": False}
                await _answer(send, 200, me)
            case "GET", ["limits"]:
                await _answer(send, 200, {"items": self.limits})
            case "GET", ["audit"]:
                await _answer(send, 200, {"items": self.audit})
            case "GET", ["usage"]:
                await _answer(send, 200, self.usage)
            case "GET", ["requests"]:
                size = int(query.get("limit", ["100"])[0])
                start = int(query.get("cursor", ["0"])[0])
                page = self.ledger[start : start + size]
                more = str(start + size) if start + size < len(self.ledger) else None
                await _answer(send, 200, {"items": page, "next_cursor": more})
            case "GET", ["requests", id]:
                found = next((row for row in self.ledger if row["id"] == id), None)
                await (_answer(send, 200, found) if found else _problem(send, 404, "not-found", f"No request {id}."))
            case "POST", ["apply"]:
                self.applied.append(body)
                await _answer(send, 200, {"items": self.plan, "keys": []})
            case "GET", ["export"]:
                await _answer(send, 200, b'[providers.openai]\nkind = "openai"\n', b"application/toml")
            case "GET", [collection] if collection in self.objects:
                await _answer(send, 200, {"items": [_shown(row) for row in self.objects[collection].values()]})
            case "POST", [collection] if collection in self.objects:
                await self._create(collection, body, send)
            case _, [collection, name, *rest] if collection in self.objects:
                await self._one(method, collection, name, rest, body, send)
            case _:
                await _answer(send, 404, b"<h1>not here</h1>", b"text/html")

    async def _create(self, collection: str, body: dict[str, Any], send: Any) -> None:
        name = body["name"]
        rows = self.objects[collection]
        if name in rows:
            return await _problem(send, 409, "conflict", f"There is a {collection[:-1]} '{name}' already.")
        if body.get("project") == "missing":
            return await _problem(send, 422, "invalid", "project: there is no project 'missing'")
        rows[name] = made = _object(collection, name, body)
        key = {"id": made["id"], "name": name, "key": f"paig_{name}_secret"}
        await _answer(send, 201, key if collection == "keys" else _shown(made))

    async def _one(self, method: str, collection: str, name: str, rest: list[str], body: Any, send: Any) -> None:
        rows = self.objects[collection]
        row = next((row for row in rows.values() if name in (row["name"], row["id"])), None)
        if row is None:
            return await _problem(send, 404, "not-found", f"There is no {collection[:-1]} '{name}'.")
        if method == "DELETE":
            del rows[row["name"]]
            return await _answer(send, 204, b"")
        if method == "PATCH":
            row["patched"] = body
            for field_name, value in body.items():
                row[field_name] = {**row[field_name], **value} if isinstance(value, dict) else value
        if rest == ["rotate"]:
            return await _answer(send, 200, {"id": row["id"], "name": row["name"], "key": "paig_rotated"})
        if rest:
            row["status"] = {"disable": "disabled", "block": "blocked"}.get(rest[0], "active")
        await _answer(send, 200, _shown(row))

    async def _events(self, headers: Mapping[str, str], send: Any) -> None:
        """One event for each time that it is asked; then the stream breaks off, or ends if there are no more."""
        self.event_requests.append(headers.get("last-event-id"))
        done = int(headers.get("last-event-id", "0"))
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        await send(start)
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        for index, data in list(enumerate(self.events, 1))[done : done + 1]:
            text = f"event: request\nid: {index}\ndata: {data}\n\n"
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        if done + 1 < len(self.events):
            raise ConnectionAbortedError("the double breaks the stream off")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _proxy(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        raw: str = scope["raw_path"].decode("latin-1")
        route, _, rest = raw.removeprefix("/proxy/").partition("/")
        headers = _headers(scope)
        body = await _body(receive)
        kind = KINDS.get(route, KINDS["openai-compatible"])
        base = MOUNTS.get(route, f"/{route}")
        upstream = kind.path(
            base, "/" + rest, {"project": "p", "location": "global"} if route == "google-vertex" else {}
        )
        self.seen.append(Seen(route, "/" + rest, upstream, headers, body))
        refusal = self.refusal
        by_name = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        try:
            key, query = client_key(by_name, scope["query_string"])
            if key != self.key:
                raise GatewayError("unknown-key", "The gateway does not know this key.")
            if route == "-":
                raise GatewayError("route-not-found", "There is no route '-'.", details={"routes": "openai"})
            if refusal is not None:
                raise refusal
        except GatewayError as error:
            return await self._refuse(error, route, "/" + rest, send)
        if route in self.canned:
            return await _answer(send, 200, self.canned[route])
        if b"x-goog-api-key" in by_name or kind.auth == "google":  # the provider's own credential takes the key's place
            by_name.pop(b"authorization", None)
            by_name[b"x-goog-api-key"] = b"provider"
        own = {b"x-api-key": b"provider", b"api-key": b"provider", b"authorization": b"Bearer provider"}
        onward = {**by_name, **own} if kind.auth != "google" and route != "google" else by_name
        sent = False

        async def again() -> dict[str, Any]:
            nonlocal sent
            if sent:
                return dict(await receive())
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        changed = {
            **scope,
            "path": unquote(upstream),
            "raw_path": upstream.encode("latin-1"),
            "headers": list(onward.items()),
            "query_string": query,
        }
        await self.simulator(changed, again, send)

    async def _refuse(self, error: GatewayError, route: str, path: str, send: Any) -> None:
        shape = error_shape(None, route, path)
        content, native = error_body(shape, error.status, error.code, error.message, error.details)
        ours = [] if self.bare_headers else error_headers(error, "req_1")
        if self.bare_body:
            content = b""
        headers = [(b"content-type", b"application/json"), *native, *ours]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@contextmanager
def serving(app: Any) -> Any:
    """Serve an ASGI application on a free port of this machine, in a thread; gives its root address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", access_log=False))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
        assert thread.is_alive(), "the double's server ended before it had started"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def request_row(id: str = "req_1", **changes: Any) -> dict[str, Any]:
    """A row of the ledger."""
    row: dict[str, Any] = {
        **{"id": id, "time": NOW, "state": "settled", "status": 200, "key": "ci", "project": "research", "user": None},
        **{"route": "openai", "provider": "openai", "model": "gpt-5", "format": "openai-chat", "stream": False},
        **{"usage": {"input_tokens": 8, "output_tokens": 2}, "raw_usage": None, "cost": "0.00003", "reserved": "0.01"},
        **{"certainty": "exact", "price": "openai:gpt-5", "attempts": [], "tags": {}, "run": None, "error": None},
        **{"ms_total": 120.5, "ms_first_byte": 80.0, "ms_gateway": 1.5},
    }
    return {**row, **changes}


def limit_row(owner: str = "ci", **changes: Any) -> dict[str, Any]:
    """Where a limit stands."""
    row = {"owner_kind": "key", "owner": owner, "unit": "usd", "window": "daily", "amount": "0.05", "spent": "0.0465"}
    return {**row, "held": "0", "left": "0.0035", "resets_at": "2026-11-24T00:00:00Z", "soft": False, **changes}


def limit_refusal() -> GatewayError:
    """A spending cap's refusal, with all its facts."""
    return GatewayError(
        "limit-exceeded",
        "The daily limit of $0.05 on key 'ci' has no room for this request.",
        details={
            **{"owner_kind": "key", "owner": "ci", "unit": "usd", "window": "daily", "amount": "0.05"},
            **{"spent": "0.0465", "held": "0.001", "needed": "0.004", "resets_at": "2026-11-24T00:00:00Z"},
        },
    )


def now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def _object(collection: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    stamp = {"id": f"{collection[:-1]}_{name}", "version": 1, "created_at": NOW, "updated_at": NOW}
    defaults: dict[str, dict[str, Any]] = {
        "providers": {"base_url": "https://provider.example", "credential": None, "options": {}},
        "keys": {
            **{"hint": f"paig_{name[:4]}…", "status": "active", "project": None, "user": None, "routes": None},
            **{"models": None, "limits": {}, "expires_at": None},
        },
    }
    return {**stamp, "limits": {}, "members": [], **defaults.get(collection, {}), **body}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "patched"}


def _headers(scope: Mapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Any, status: int, value: Any, kind: bytes = b"application/json") -> None:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": content})


async def _problem(send: Any, status: int, code: str, detail: str) -> None:
    problem = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    await _answer(send, status, problem, b"application/problem+json")
