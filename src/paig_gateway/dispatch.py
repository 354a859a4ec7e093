"""Which part of the gateway answers a connection: the data plane, the admin app or the metrics."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field

from paig_gateway.admin.addresses import is_at_both
from paig_gateway.admin.edge import seal
from paig_gateway.admin.on_demand import AdminOnDemand
from paig_gateway.admin.problem_codes import MEDIA_TYPE, PROBLEMS, problem
from paig_gateway.admin.readiness import Readiness
from paig_gateway.config import Config
from paig_gateway.listener.connections import PROBES
from paig_gateway.listener.upgrade import UPGRADE, Upgrade
from paig_gateway.proxy import one_address
from paig_gateway.proxy.forwarded import TrustedProxies, is_local
from paig_gateway.proxy.proxy import Proxy
from paig_gateway.proxy.request import Receive, Scope, Send
from paig_gateway.proxy.sockets.sockets import Sockets
from paig_gateway.telemetry.metrics.prometheus import Exposition


@dataclass(slots=True)
class Dispatch:
    """Hands each connection to the part that serves it.

    Attributes:
        metrics: The app behind `/metrics`; None if it is switched off.
        ready: Whether new requests are welcome; if not, `/readyz` answers 503.
    """

    config: Config
    proxy: Proxy
    sockets: Sockets
    admin: AdminOnDemand
    readiness: Readiness
    metrics: Exposition | None
    ready: bool = True
    _proxies: TrustedProxies = field(init=False)
    _apart: bool = field(init=False)

    def __post_init__(self) -> None:
        self._proxies = TrustedProxies(self.config.server.trusted_proxies)
        self._apart = self.config.server.apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: the data plane under `/proxy/` and at the APIs' own paths, the admin app elsewhere."""
        self._proxies.apply(scope)
        kind: str = scope["type"]
        path: str = scope["path"]
        if kind == "websocket":
            await self._websocket(path, scope)
        elif path in PROBES and scope["method"] == "GET":
            await self._probe(path, send)
        elif self._apart and not self._is_here(scope):
            await _problem(send, "not-found", "This is not served at this address: the gateway has two.")
        elif path == "/metrics" and kind == "http" and not self._shows_metrics(scope):
            message = "Metrics are open on this machine alone: set metrics_token or metrics_open."
            await _problem(send, "forbidden", message)
        elif path == "/metrics" and kind == "http" and self.metrics is not None:
            await self.metrics(scope, receive, send)
        elif _is_data_plane(path):
            await self.proxy(scope, receive, send)
        elif kind == "http" and one_address.forgot_proxy(scope["method"], path):
            await _problem(send, "not-found", f"There is nothing at {path}.{_forgot_proxy(path)}")
        else:
            await self.admin(scope, receive, send)

    async def _websocket(self, path: str, scope: Scope) -> None:
        """Serve a request to change to WebSocket, which only the data plane accepts."""
        upgrade: Upgrade = scope["extensions"][UPGRADE]
        if not _is_data_plane(path) or not self._is_here(scope):
            hint = _forgot_proxy(path) if one_address.forgot_proxy("GET", path) else ""
            code, detail = "not-found", f"There is no WebSocket at this address.{hint}"
        elif not self.ready:
            code, detail = "unavailable", "The gateway is shutting down."
        else:
            await self.sockets(scope, upgrade)
            return
        upgrade.refuse(PROBLEMS[code][0], [_PROBLEM], json.dumps(problem(code, detail)).encode())

    async def _probe(self, path: str, send: Send) -> None:
        """Answer whether the process lives, or whether it can serve and record."""
        found = None
        if path == "/readyz":
            found = await self.readiness.problem() if self.ready else "The gateway is shutting down."
        if found is not None:
            await _problem(send, "unavailable", found)
        else:
            await _answer(send, 200, b"application/json", b'{"status":"ok"}')

    def _shows_metrics(self, scope: Scope) -> bool:
        """Whether this client may reach the metrics at all; where a token is set, the token decides."""
        passed_on = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
        near = scope["client"] is not None and is_local(scope["client"][0]) and not passed_on
        near = near and all(_is_address(value) for name, value in scope["headers"] if name == b"host")
        return self.config.telemetry.metrics_token is not None or self.config.server.metrics_open or near

    def _is_here(self, scope: Scope) -> bool:
        """Whether a path is served at the address at which the request came."""
        server = self.config.server
        path: str = scope["path"]
        if not self._apart or is_at_both(path):
            return True
        host, port = scope["server"]
        at_admin = port == server.admin_port and (port != server.port or host == server.admin_host)
        return bool(at_admin) != _is_data_plane(path)


def _is_address(host: bytes) -> bool:
    """Whether a host header has an address or `localhost`: a web page can lead any other name to this machine."""
    name = host.decode("latin-1").rpartition(":")[0] if re.search(rb":\d*$", host) else host.decode("latin-1")
    try:
        ipaddress.ip_address(name.strip("[]") or "::1")
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
    return True


def _is_data_plane(path: str) -> bool:
    return path.startswith("/proxy/") or one_address.is_native(path)


def _forgot_proxy(path: str) -> str:
    return f" Was /proxy forgotten? Send it to /proxy{path}."


_PROBLEM = (b"content-type", MEDIA_TYPE.encode())


async def _problem(send: Send, code: str, detail: str) -> None:
    await _answer(send, PROBLEMS[code][0], MEDIA_TYPE.encode(), json.dumps(problem(code, detail)).encode())


async def _answer(send: Send, status: int, media_type: bytes, body: bytes) -> None:
    headers = seal([(b"content-length", str(len(body)).encode()), (b"content-type", media_type)])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
