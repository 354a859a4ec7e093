"""One address for every API: the route of a request whose path names none (`/v1/chat/completions`).

The table `[models]` decides first. Without an entry there, it is the only route of the key that speaks the request's
format and knows its model; where there are several, or none, the request is refused and told how to name one.
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
"""Reads the request in a format, with the model that its path names."""

Knows = Callable[[Member, Format, Call], bool]
"""Whether a member of a route knows the model of a call: it has a price, or a name for it."""

_NATIVE = re.compile(
    r"/+(?:(?:v1|v1beta|v1beta1|v2|openai|model|upload|download|guardrail)/|ws/+google\.|async-invoke(?:/|$))"
)
_BELOW_A_NAME = re.compile(r"/+(?!admin/|me/|proxy/)[\w.-]+(/+.+)")


def is_native(path: str) -> bool:
    """Whether a path is one of the providers' own, without a route before it."""
    return _NATIVE.match(path) is not None


def forgot_proxy(method: str, path: str) -> bool:
    """Whether a path that is not served would be an API's with `/proxy` before it, as in `/anthropic/v1/messages`."""
    found = _BELOW_A_NAME.fullmatch(path)
    if found is None:
        return False
    return endpoints.detect(method, found[1]) is not None or (method == "GET" and detect_socket(found[1]) is not None)


def knows_model(
    member: Member, fmt: Format, call: Call, path: str, now: datetime, plans: MemberPlans, prices: PriceSources
) -> bool:
    """Whether a member of a route knows the model of a call: it has a name or a price for it."""
    provider = member.provider
    if (kind := KINDS.get(provider.kind)) is None:
        return False
    if call.model in member.models or call.model in provider.aliases:
        return True
    return plans.of(member, kind, fmt, call, path, now, prices).price_lookup.price() is not None


def model_route(models: Mapping[str, str], model: str) -> str | None:
    """The route that `[models]` names for a model: the exact name's, else the longest pattern's; None without one."""
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
    """The name of the route that a request means.

    Args:
        directory: Which routes there are.
        caller: The key, and so which of them count.
        method: The HTTP method.
        target: The request's path, with no route in it.
        found: The endpoints that it may mean.
        headers: The names of its headers, in lower case.
        holders: The providers that have the stored object that the path names; empty where it names none.
        read: See `ReadCall`.
        knows: See `Knows`.

    Raises:
        GatewayError: `route-not-found`, where no route of the key has the endpoint; `ambiguous-request`, where several
            routes may be meant, or none is known to serve the model.
    """
    likely = endpoints.choose(found, KINDS)
    model = read(likely.format, likely.model).model if likely is not None else ""
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
    if model:
        fitting = [
            name
            for name, (route, match) in speaking.items()
            if any(knows(member, match.format, read(match.format, match.model)) for member in route.members)
        ]
    else:
        fitting = _without_model(speaking, headers, holders)
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
    """The name of the route that a WebSocket means; its arguments are those of `find`, and:

    Args:
        kinds: The kinds of provider that speak the format over WebSockets.
        model: The model that the query names; empty where messages name it.

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
    """The endpoint that a request means at a route; None where no member of it has one."""
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


def _without_model(
    speaking: Mapping[str, tuple[ActiveRoute, endpoints.Match]], headers: Collection[bytes], holders: Collection[str]
) -> list[str]:
    """The routes that a request without a model may mean.

    Those of the stored object's provider, its own route before others that have it as a member; else those of Anthropic
    where its header came, and the others where it did not.
    """
    if holders:
        own = [name for name in speaking if name in holders]
        return own or [
            name
            for name, (route, _) in speaking.items()
            if any(member.provider.name in holders for member in route.members)
        ]
    anthropic = b"anthropic-version" in headers
    return [name for name, (_, match) in speaking.items() if (match.format.errors == "anthropic") is anthropic]


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
