"""The APIs that are relayed over WebSockets: one row each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import Provider
from paig_gateway.formats.base import Format
from paig_gateway.formats.errors import error_kind
from paig_gateway.formats.gemini_live import LIVE
from paig_gateway.formats.openai_realtime import REALTIME
from paig_gateway.formats.sockets import RESPONSES_SOCKET
from paig_gateway.providers.kinds import ProviderKind
from paig_gateway.proxy.request import Target
from paig_gateway.proxy.sockets.live import LiveSession
from paig_gateway.proxy.sockets.realtime import RealtimeSession
from paig_gateway.proxy.sockets.responses import ResponsesSession
from paig_gateway.proxy.sockets.turns import Session


@dataclass(frozen=True, slots=True)
class Api:
    """An API over WebSockets.

    Attributes:
        fmt: Its format.
        kinds: The kinds of providers that speak it.
        session: Makes the machine of a session: from the provider's kind, the model of the upgrade, its headers.
        url: The provider's URL, with `http` or `https`: from the kind, the provider, the target and the model's name
            there.
        error: The message that tells a client of an error, from the error and the id of the message that it is about;
            None where the API has none but the reason in a close frame.
    """

    fmt: Format
    kinds: frozenset[str]
    session: Callable[[ProviderKind, str, Headers], Session]
    url: Callable[[ProviderKind, Provider, Target, str], str]
    error: Callable[[GatewayError, str | None], bytes | None]


def named_model(target: Target) -> str:
    """The model that the query of an upgrade names, as OpenAI and Azure have it; empty where it names none."""
    query = dict(parse_qsl(target.query.decode("latin-1")))
    return query.get("model") or query.get("deployment") or ""


def _event(error: GatewayError, about: str | None) -> bytes:
    kind = error_kind("openai", error.status)
    said = {"type": kind, "code": error.code, "message": error.message, "param": None, "event_id": about}
    if error.details:
        said["paig"] = dict(error.details)  # type: ignore[assignment]
    return json.dumps({"type": "error", "event_id": f"event_paig_{error.code}", "error": said}).encode()


def _response_event(error: GatewayError, about: str | None) -> bytes:
    kind = error_kind("openai", error.status)
    said: dict[str, object] = {"type": kind, "code": error.code, "message": error.message, "param": None}
    if error.details:
        said["paig"] = dict(error.details)
    return json.dumps({"type": "error", "status": error.status, "error": said}).encode()


def _no_event(error: GatewayError, about: str | None) -> bytes | None:
    return None


_MODEL = re.compile(rb"(^|&)(model|deployment)=[^&]*")


def _openai_url(kind: ProviderKind, provider: Provider, target: Target, model: str) -> str:
    url = kind.path(provider.base_url, target.path, provider.settings)
    query = target.query
    if model and model != named_model(target):
        query = _MODEL.sub(rb"\1\2=" + quote(model, safe="").encode(), query)
    if kind.name == "azure" and b"deployment=" in query:
        # The older form, whose version stands in the query.
        url = re.sub(r"/openai/v1/realtime$", "/openai/realtime", url)
        if b"api-version=" not in query:
            query += b"&api-version=" + provider.settings.get("api_version", "2025-04-01-preview").encode()
    return f"{url}?{query.decode('latin-1')}" if query else url


def _google_url(kind: ProviderKind, provider: Provider, target: Target, model: str) -> str:
    base = re.sub(r"/v1(?:beta|beta1|alpha)?$", "", provider.base_url)
    found = LIVE.path.search(target.path)
    assert found is not None  # the format was found by its path
    url = f"{base}/{target.path[found.start() :].lstrip('/')}"
    return f"{url}?{target.query.decode('latin-1')}" if target.query else url


def _responses(kind: ProviderKind, model: str, headers: Headers) -> Session:
    return ResponsesSession(headers)


def _live(kind: ProviderKind, model: str, headers: Headers) -> Session:
    return LiveSession()


def _realtime(kind: ProviderKind, model: str, headers: Headers) -> Session:
    return RealtimeSession(model, by_seconds=kind.name == "xai")


_OPENAI_LIKE = frozenset({"openai", "azure", "xai", "openai-compatible", "vllm"})

APIS: Mapping[str, Api] = {
    api.fmt.name: api
    for api in (
        Api(REALTIME, _OPENAI_LIKE, _realtime, _openai_url, _event),
        Api(RESPONSES_SOCKET, _OPENAI_LIKE, _responses, _openai_url, _response_event),
        Api(LIVE, frozenset({"google", "google-vertex"}), _live, _google_url, _no_event),
    )
}
"""By the format's name."""
