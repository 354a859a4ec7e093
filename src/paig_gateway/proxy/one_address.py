"""One address for every API: finds the route of a request whose path names none (`/v1/chat/completions`).

The table `[models]` decides first. Without an entry there, the route is the only one of the key's that has the
request's format and its model. If there are several or none, the request is refused; the message says how to name one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import ActiveRoute, Member
from paig_gateway.formats.base import Call, Format
from paig_gateway.formats.sockets import detect_socket
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.providers import endpoints
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.request import Target, has_path
from paig_gateway.routing.candidates import MemberPlans

ReadCall = Callable[[Format, str | None], Call]
"""Reads the request in a format; the second argument is the model in its path."""

Knows = Callable[[Member, Format, Call], bool]
"""Whether a member of a route has the model of a call: it has a price or a name for it."""

_NATIVE = re.compile(
    r"/+(?:(?:v1|v1alpha|v1beta|v1beta1|v2|openai|model|upload|download|guardrail|guardrail-checks|knowledgebases|flows)/|api/(?:chat|embed|embeddings|generate|ps|show|tags|version)/*$|ws/+google\.|(?:async-invoke|foundation-models|inference-profiles|model-invocation-jobs?|rerank|retrieveAndGenerate|retrieveAndGenerateStream|optimize-prompt)(?:/|$))"
)
_BELOW_A_NAME = re.compile(r"/+(?!admin/|me/|proxy/)[\w.-]+(/+.+)")


def is_native(path: str) -> bool:
    """Whether a path is a provider's own path, without a route before it."""
    return _NATIVE.match(path) is not None


def forgot_proxy(method: str, path: str) -> bool:
    """Whether an unknown path would be valid with `/proxy` before it, such as `/anthropic/v1/messages`."""
    found = _BELOW_A_NAME.fullmatch(path)
    if found is None:
        return False
    return endpoints.detect(method, found[1]) is not None or (method == "GET" and detect_socket(found[1]) is not None)


def knows_model(
    member: Member, fmt: Format, call: Call, path: str, now: datetime, plans: MemberPlans, prices: PriceSources
) -> bool:
    """Whether a member of a route has the model of a call: it has a name or a price for it."""
    provider = member.provider
    if (kind := KINDS.get(provider.kind)) is None:
        return False
    if call.model in member.models or call.model in provider.aliases:
        return True
    return plans.of(member, kind, fmt, call, path, now, prices).price_lookup.price() is not None


def model_route(models: Mapping[str, str], model: str) -> str | None:
    """The route of a model in `[models]`: by its exact name, else by the longest matching pattern; else None."""
    fitting = [pattern for pattern in models if fnmatchcase(model, pattern)]
    best = max(fitting, key=lambda pattern: (pattern == model, len(pattern), pattern), default=None)
    return None if best is None else models[best]


def find(
    directory: Directory,
    caller: Caller,
    method: str,
    target: Target,
    found: Sequence[endpoints.Match],
    headers: Collection[bytes],
    holders: Collection[str],
    read: ReadCall,
    knows: Knows,
) -> str:
    """Find the name of a request's route.

    Args:
        caller: The key, which may use some of them.
        target: The request's path, without a route.
        headers: The names of the headers, in lower case.
        holders: The providers that have the stored object in the path; empty if there is none.
        read: See `ReadCall`.
        knows: See `Knows`.

    Raises:
        GatewayError: `route-not-found` if no route of the key has the endpoint; `ambiguous-request` if several routes
            match, or none is known to serve the model.
    """
    likely = endpoints.choose(found, KINDS)
    model = _model(likely, read) if likely is not None else ""
    if model and (named := model_route(directory.snapshot.models, model)) is not None:
        return named
    speaking = {
        name: (route, match)
        for name in directory.routes_of(caller)
        if (match := _match(route := directory.snapshot.routes[name], found, target)) is not None
    }
    if not speaking:
        raise GatewayError(
            "route-not-found",
            f"No route of the key '{caller.key}' has {method} {target.path}. Check the path, or name the route before "
            f"it: /proxy/ROUTE{target.path}. Routes it may use: {', '.join(directory.routes_of(caller)) or 'none'}.",
        )
    calls = _read_by_each(speaking, read)
    model = model or next((call.model for call in calls.values() if call.model), "")
    if model:
        fitting = [
            name
            for name, call in calls.items()
            if any(knows(member, speaking[name][1].format, call) for member in speaking[name][0].members)
        ]
    else:
        fitting = _without_model(speaking, target, headers, holders)
    if len(fitting) == 1:
        return fitting[0]
    raise _ambiguous(target, model, fitting, list(speaking))


def find_socket(
    directory: Directory,
    caller: Caller,
    target: Target,
    fmt: Format,
    kinds: Collection[str],
    model: str,
    knows: Callable[[Member], bool],
) -> str:
    """Find the name of a WebSocket's route; its arguments are those of `find`, and:

    Args:
        kinds: The kinds of provider that have the format over WebSockets.
        model: The model in the query; empty if messages name it.

    Raises:
        GatewayError: As `find`.
    """
    if model and (named := model_route(directory.snapshot.models, model)) is not None:
        return named
    speaking = [
        (name, members)
        for name in directory.routes_of(caller)
        if (
            members := [
                member
                for member in directory.snapshot.routes[name].members
                if member.provider.kind in kinds and has_path(member.provider, fmt, target.path)
            ]
        )
    ]
    if not speaking:
        raise GatewayError(
            "route-not-found",
            f"No route of the key '{caller.key}' has a WebSocket at {target.path}: it needs a provider of the kind "
            f"{', '.join(sorted(kinds))}.",
        )
    fitting = [name for name, members in speaking if not model or any(map(knows, members))]
    if len(fitting) == 1:
        return fitting[0]
    raise _ambiguous(target, model, fitting, [name for name, _ in speaking])


def _match(route: ActiveRoute, found: Sequence[endpoints.Match], target: Target) -> endpoints.Match | None:
    """The request's endpoint at a route; None if no member has one."""
    match = endpoints.choose(found, [member.provider.kind for member in route.members])
    if match is None or match.endpoint.charging == "forbidden":
        return None
    fmt = match.format
    return match if any(_speaks(member, fmt, target.path) for member in route.members) else None


def _speaks(member: Member, fmt: Format, path: str) -> bool:
    kind = KINDS.get(member.provider.kind)
    if kind is None or not (fmt.errors in kind.speaks or fmt.name in kind.adapters):
        return False
    return has_path(member.provider, fmt, path)


def _model(match: endpoints.Match, read: ReadCall) -> str:
    """The model of a request; empty where this format cannot read it, as another of the same path may."""
    try:
        return read(match.format, match.model).model
    except GatewayError:
        return ""


def _read_by_each(speaking: Mapping[str, tuple[ActiveRoute, endpoints.Match]], read: ReadCall) -> dict[str, Call]:
    """The request as the format of each route reads it, without the routes whose format cannot.

    Raises:
        GatewayError: None of them can read it; this is the first one's error.
    """
    calls: dict[str, Call] = {}
    wrong: GatewayError | None = None
    for name, (_, match) in speaking.items():
        try:
            calls[name] = read(match.format, match.model)
        except GatewayError as error:
            wrong = wrong or error
    if not calls and wrong is not None:
        raise wrong
    return calls


_GOOGLES = re.compile(r"/+(?:v1alpha|v1beta1?|upload|download)/")


def _without_model(
    speaking: Mapping[str, tuple[ActiveRoute, endpoints.Match]],
    target: Target,
    headers: Collection[bytes],
    holders: Collection[str],
) -> list[str]:
    """The routes that match a request without a model.

    With a stored object: the route named after its provider, else the routes with that provider as a member. Otherwise
    those of the API that the request speaks: Anthropic's by its header, Google's by its header or path, else the
    others. If no route speaks that API, all of them.
    """
    if holders:
        own = [name for name in speaking if name in holders]
        return own or [
            name
            for name, (route, _) in speaking.items()
            if any(member.provider.name in holders for member in route.members)
        ]
    if b"anthropic-version" in headers:
        spoken = "anthropic"
    elif b"x-goog-api-key" in headers or _GOOGLES.match(target.path):
        spoken = "google"
    else:
        spoken = ""
    shapes = {name: match.format.errors for name, (_, match) in speaking.items()}
    of_shape = [
        name for name, errors in shapes.items() if (errors if errors in ("anthropic", "google") else "") == spoken
    ]
    return of_shape or list(speaking)


def _ambiguous(target: Target, model: str, fitting: list[str], speaking: list[str]) -> GatewayError:
    candidates = fitting or speaking
    listed, first = ", ".join(candidates), candidates[0]
    if not model:
        why = f"The request names no model by which its route could be found. It may be: {listed}. "
        todo = f"Name one in the path, such as /proxy/{first}{target.path}."
    else:
        why = (
            f"Several routes serve the model '{model}': {listed}. "
            if fitting
            else f"No route is known to serve the model '{model}'. Check its name; routes with this API: {listed}. "
        )
        todo = (
            f"Name one in the path, such as /proxy/{first}{target.path}, or have an administrator add to paig.toml, "
            f'under [models]: {json.dumps(model)} = "{first}".'
        )
    return GatewayError("ambiguous-request", why + todo, details={"routes": listed, "model": model or None})
