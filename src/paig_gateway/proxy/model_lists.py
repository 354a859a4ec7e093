"""Lists of models: the gateway's own list, and providers' lists without models that the key may not use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from urllib.parse import unquote

import msgspec

from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import Member
from paig_gateway.formats.listing import listing, without
from paig_gateway.pricing.price import PriceBook
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.exchange import Exchange
from paig_gateway.proxy.one_address import model_route

ListShape = Literal["openai", "anthropic", "google"]

_PATH = re.compile(r"/(?:(?P<google>v1beta1?)|(?:openai/)?v1|openai|v2)/models(?:/(?P<model>.+))?/?")
_PATTERN = re.compile(r"[*?\[]")
_UNKNOWN_DATE = "1970-01-01T00:00:00Z"


class ModelNotFound(GatewayError):
    """`not-found`: the key may use no such model."""

    def __init__(self, model: str) -> None:
        super().__init__(
            "not-found", f"There is no model '{model[:100]}' that this key may use. GET /v1/models lists those it may."
        )

    @property
    def status(self) -> int:
        return 404


def requested_list(method: str, path: str, headers: Mapping[bytes, bytes]) -> tuple[ListShape, str | None] | None:
    """Recognise a request for the gateway's own list of models.

    Returns:
        The API's shape, and the model that is asked for (None for all); None for any other request.
    """
    found = _PATH.fullmatch(path) if method == "GET" else None
    if found is None:
        return None
    shape: ListShape = "google" if found["google"] else "anthropic" if b"anthropic-version" in headers else "openai"
    return shape, named(path)


def named(path: str) -> str | None:
    """The model in a path of the gateway's own list."""
    found = _PATH.fullmatch(path)
    return unquote(found["model"]) if found is not None and found["model"] else None


_ONE = re.compile(r"(?:^|/)(?:[\w-]*models|inference-profiles|endpoints)/(.+?)(?:/endpoints)?/?$")


def shown(exchange: Exchange) -> str | None:
    """The model that a request asks a provider to describe; None if it does not ask for a single model."""
    row = exchange.endpoint.path
    if exchange.fmt.name != "models" or not row.endswith(("/**", "/{sub}")):
        return None
    found = _ONE.search(exchange.target.path)
    return unquote(found[1]) if found is not None else None


def usable(directory: Directory, caller: Caller, book: PriceBook) -> dict[str, str]:
    """The models that a key may use, by name, each with a route that serves it.

    They come from `[models]`, the routes' own model names, aliases, the operator's prices, and the price book for the
    routes' providers.
    """
    routes, snapshot = directory.routes_of(caller), directory.snapshot
    found: dict[str, str] = {}
    of_source: dict[str, Sequence[str]] = {}
    for route in routes:
        for member in snapshot.routes[route].members:
            source = _source(member)
            if source not in of_source:
                of_source[source] = book.models(source)
            for model in (*_named(directory, member), *of_source[source]):
                found.setdefault(model, route)
    found |= {model: route for model, route in snapshot.models.items() if not _PATTERN.search(model)}
    decided = {model: model_route(snapshot.models, model) or route for model, route in found.items()}
    return {
        model: route
        for model, route in sorted(decided.items())
        if caller.may_use_route(route) and caller.may_use_model(model)
    }


def _source(member: Member) -> str:
    kind = KINDS.get(member.provider.kind)
    return member.provider.price_provider or (kind.price_provider if kind is not None else None) or ""


def _named(directory: Directory, member: Member) -> Iterable[str]:
    provider = member.provider
    yield from member.models
    yield from provider.aliases
    for price in directory.own_prices():
        if price.provider in (None, provider.name) and price.price is not None and not _PATTERN.search(price.model):
            yield price.model


def answer(shape: ListShape, models: Mapping[str, str], model: str | None) -> bytes:
    """The list of models in an API's shape, or one of them.

    Raises:
        GatewayError: `not-found` if there is no such model.
    """
    if model is not None:
        if model not in models:
            raise ModelNotFound(model)
        return msgspec.json.encode(_one(shape, model, models[model]))
    shown = [_one(shape, name, route) for name, route in models.items()]
    if shape == "google":
        return msgspec.json.encode({"models": shown})
    if shape == "openai":
        return msgspec.json.encode({"object": "list", "data": shown})
    names = list(models)
    first, last = (names[0], names[-1]) if names else (None, None)
    return msgspec.json.encode({"data": shown, "has_more": False, "first_id": first, "last_id": last})


_MISTRALS: Mapping[str, object] = {"type": "base", "capabilities": {}}
"""What Mistral's SDK needs in a list that is otherwise OpenAI's (mistralai 3.7); other clients ignore it."""


def _one(shape: ListShape, model: str, route: str) -> dict[str, object]:
    if shape == "google":
        return {"name": f"models/{model}", "displayName": model, "description": f"served by the route {route}"}
    if shape == "anthropic":
        return {"type": "model", "id": model, "display_name": model, "created_at": _UNKNOWN_DATE}
    return {"id": model, "object": "model", "created": 0, "owned_by": route, **_MISTRALS}


def narrows(exchange: Exchange, status: int) -> bool:
    """Whether an answer may list models that the key is not allowed to use."""
    lists = exchange.fmt.name == "models" and exchange.method == "GET" and status < 400
    return lists and exchange.caller.models is not None


def narrowed(caller: Caller, body: bytes) -> bytes:
    """A provider's list of models without those that the key may not use; anything else is returned unchanged.

    Raises:
        GatewayError: `not-allowed` if the list cannot be read, or states the number of its models.
    """
    try:
        found = listing(body)
    except ValueError as error:
        raise _untold(f"it cannot be read: {error}") from None
    if found is None:
        return body
    cut = without(body, found, [id is not None and caller.may_use_model(id) for id in found.ids])
    if cut is None:
        raise _untold("it states how many there are")
    return cut


def _untold(why: str) -> GatewayError:
    return GatewayError(
        "not-allowed",
        f"The key may use only some models, and the gateway cannot remove the others from this list: {why}. "
        "GET /v1/models, without a route, lists what the key may use.",
    )
