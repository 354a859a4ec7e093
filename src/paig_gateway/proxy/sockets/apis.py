"""The APIs that are relayed over WebSockets: one row each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Member
from paig_gateway.formats import reading
from paig_gateway.formats.base import Format
from paig_gateway.formats.errors import error_kind
from paig_gateway.formats.folding import dig, mapping
from paig_gateway.formats.gemini_live import LIVE, in_camel_case
from paig_gateway.formats.openai_realtime import REALTIME
from paig_gateway.formats.references import stored_ids
from paig_gateway.formats.sockets import RESPONSES_SOCKET
from paig_gateway.formats.splice import splice_member
from paig_gateway.providers.kinds import ProviderKind
from paig_gateway.proxy.request import Target
from paig_gateway.proxy.sockets.live import LiveSession, resumed
from paig_gateway.proxy.sockets.realtime import RealtimeSession
from paig_gateway.proxy.sockets.responses import ResponsesSession
from paig_gateway.proxy.sockets.turns import SocketSession


@dataclass(frozen=True, slots=True)
class Api:
    """An API over WebSockets.

    Attributes:
        kinds: The kinds of providers that have it.
        session: Makes the machine of a session: from the provider's kind, the upgrade's target, model and headers.
        url: The provider's URL, with `http` or `https`: from the kind, the provider, the target and the model's name
            there.
        outgoing: A client's message as the member of the route gets it: with the model's name there.
        stored: The ids of stored objects that a client's message names.
        error: The message that tells a client of an error, from the error and the id of the message that it is about;
            None where the API has none but the reason in a close frame.
    """

    fmt: Format
    kinds: frozenset[str]
    session: Callable[[ProviderKind, Target, str, Headers], SocketSession]
    url: Callable[[ProviderKind, ActiveProvider, Target, str], str]
    outgoing: Callable[[Member, bytes], bytes]
    stored: Callable[[bytes], list[str]]
    error: Callable[[GatewayError, str | None], bytes | None]


def named_model(target: Target) -> str:
    """The model in the query of an upgrade, as OpenAI and Azure write it; empty if there is none."""
    query = dict(parse_qsl(target.query.decode("latin-1")))
    return query.get("model") or query.get("deployment") or ""


def call_id(target: Target) -> str | None:
    """The WebRTC or SIP call that an upgrade joins; None if it begins a new session."""
    return dict(parse_qsl(target.query.decode("latin-1"))).get("call_id")


def _event(error: GatewayError, about: str | None) -> bytes:
    kind = error_kind("openai", error.status)
    error_object = {"type": kind, "code": error.code, "message": error.message, "param": None, "event_id": about}
    if error.details:
        error_object["paig"] = dict(error.details)  # type: ignore[assignment]
    return json.dumps({"type": "error", "event_id": f"event_paig_{error.code}", "error": error_object}).encode()


def _response_event(error: GatewayError, about: str | None) -> bytes:
    kind = error_kind("openai", error.status)
    error_object: dict[str, object] = {"type": kind, "code": error.code, "message": error.message, "param": None}
    if error.details:
        error_object["paig"] = dict(error.details)
    return json.dumps({"type": "error", "status": error.status, "error": error_object}).encode()


_MODEL = re.compile(rb"(^|&)(model|deployment)=[^&]*")


def _openai_url(kind: ProviderKind, provider: ActiveProvider, target: Target, model: str) -> str:
    url = kind.path(provider.base_url, target.path, provider.settings)
    query = target.query
    if model and model != named_model(target):
        query = _MODEL.sub(rb"\1\2=" + quote(model, safe="").encode(), query)
    if kind.name == "azure" and b"deployment=" in query:
        # The older form, with the version in the query.
        url = re.sub(r"/openai/v1/realtime$", "/openai/realtime", url)
        if b"api-version=" not in query:
            query += b"&api-version=" + provider.settings.get("api_version", "2025-04-01-preview").encode()
    return f"{url}?{query.decode('latin-1')}" if query else url


_SERVICES = {
    "google": ("google.ai.generativelanguage.", ".GenerativeService.BidiGenerateContent", "v1beta"),
    "google-vertex": ("google.cloud.aiplatform.", ".LlmBidiService/BidiGenerateContent", "v1beta1"),
}
"""What the Live API is called at each kind: what stands before the version and behind it, and the usual version."""


def _google_url(kind: ProviderKind, provider: ActiveProvider, target: Target, model: str) -> str:
    """The Live API's address at a kind of provider, in the client's version where it is spelt alike."""
    base = re.sub(r"/v1(?:beta|beta1|alpha)?$", "", provider.base_url)
    before, behind, usual = _SERVICES[kind.name]
    named = re.search(re.escape(before) + r"(v\d\w*)", target.path)
    url = f"{base}/ws/{before}{named[1] if named else usual}{behind}"
    return f"{url}?{target.query.decode('latin-1')}" if target.query else url


def _renamed(member: Member, message: bytes, *path: str) -> bytes:
    """The message with the member's name of the model at a path; no other byte changes."""
    found = reading.members(message)
    for name in path[:-1]:
        found = reading.members(found.get(name))
    asked = reading.string(found.get(path[-1]))
    named = member.model(asked) if asked else asked
    return message if named == asked else splice_member(message, path, json.dumps(named).encode())


def _realtime_outgoing(member: Member, message: bytes) -> bytes:
    return _renamed(member, message, "session", "model") if b'"model"' in message else message


def _responses_outgoing(member: Member, message: bytes) -> bytes:
    return _renamed(member, message, "model")


_RESOURCE = re.compile(
    r"(?:projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/)?(?:publishers/(?P<publisher>[^/]+)/)?"
    r"(?:models/)?(?P<model>[^/]+)"
)


def _live_outgoing(member: Member, message: bytes) -> bytes:
    """The setup with the model's resource name at the member's kind; Vertex's name has the project and the location."""
    setup = reading.members(message).get("setup")
    named = reading.string(reading.members(setup).get("model")) if setup is not None else None
    if named is None:
        return message
    wanted = live_model(member, named)
    return message if wanted == named else splice_member(message, ("setup", "model"), json.dumps(wanted).encode())


def live_model(member: Member, named: str) -> str:
    """The resource name of a model for the Live API of a member of a route.

    Raises:
        GatewayError: `no-price`: it names another project than the provider's, or what no price is known for.
    """
    provider = member.provider
    found = _RESOURCE.fullmatch(named)
    if found is None:
        raise GatewayError(
            "no-price",
            f"The gateway does not know what the model '{named[:200]}' costs: name it as 'models/NAME', or at Vertex "
            "as 'publishers/google/models/NAME'.",
        )
    model, publisher = member.model(found["model"]), found["publisher"] or "google"
    if provider.kind == "google":
        if found["project"] or publisher != "google":
            raise GatewayError(
                "no-price",
                f"The provider '{provider.name}' has no Vertex projects: name the model as 'models/{found['model']}'.",
            )
        return f"models/{model}"
    project, location = provider.settings.get("project"), provider.settings.get("location", "global")
    if found["project"] and (project or found["project"]) != found["project"]:
        raise GatewayError(
            "no-price",
            f"The provider '{provider.name}' belongs to another Vertex project than the message names: leave "
            f"'projects/…/' out of the model's name.",
        )
    if found["location"] and found["location"] != location and provider.base_url.endswith("aiplatform.googleapis.com"):
        raise GatewayError(
            "no-price",
            f"The session is connected to the location '{location}', and the message names another one: leave "
            f"'locations/…/' out of the model's name.",
        )
    resource = f"publishers/{publisher}/models/{model}"
    if found["project"]:
        return f"projects/{found['project']}/locations/{found['location']}/{resource}"
    return f"projects/{project}/locations/{location}/{resource}" if project else resource


def _realtime_stored(message: bytes) -> list[str]:
    """What `stored_ids` finds, and the items that the message is about or follows."""
    found = stored_ids(message)
    if b"item_id" in message or b"\\u00" in message:
        top = reading.members(message)
        named = [reading.string(top.get(name)) for name in ("item_id", "previous_item_id")]
        found += [id for id in named if id and id != "root"]
    return found


def _live_stored(message: bytes) -> list[str]:
    """What `stored_ids` finds, and the session that is to be resumed."""
    found = stored_ids(message)
    if b"esumption" in message:
        top = mapping(reading.value(message))
        if isinstance(handle := dig(in_camel_case(top), "setup", "sessionResumption", "handle"), str) and handle:
            found.append(resumed(handle))
    return found


def _responses(kind: ProviderKind, target: Target, model: str, headers: Headers) -> SocketSession:
    return ResponsesSession(headers)


def _live(kind: ProviderKind, target: Target, model: str, headers: Headers) -> SocketSession:
    return LiveSession()


def _realtime(kind: ProviderKind, target: Target, model: str, headers: Headers) -> SocketSession:
    return RealtimeSession(model, by_seconds=kind.name == "xai", joins=call_id(target) is not None)


_OPENAI_LIKE = frozenset({"openai", "azure", "xai", "openai-compatible", "vllm"})

APIS: Mapping[str, Api] = {
    api.fmt.name: api
    for api in (
        Api(REALTIME, _OPENAI_LIKE, _realtime, _openai_url, _realtime_outgoing, _realtime_stored, _event),
        Api(RESPONSES_SOCKET, _OPENAI_LIKE, _responses, _openai_url, _responses_outgoing, stored_ids, _response_event),
        Api(LIVE, frozenset(_SERVICES), _live, _google_url, _live_outgoing, _live_stored, lambda error, about: None),
    )
}
"""By the format's name."""
