"""Who could answer a request, and at what worst case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.routing import Credential, Member, Route
from paig_gateway.domain.tariffs import Prices, Tariff
from paig_gateway.formats.base import Call, Format
from paig_gateway.plane.bounds import ceiling, worst_case
from paig_gateway.plane.choice import Choice
from paig_gateway.plane.exchange import Candidate, Session
from paig_gateway.plane.intake import Target
from paig_gateway.providers.kinds import KINDS, Kind

_SUBPROVIDER = re.compile(r"/([a-z0-9-]+)/v\d")


def price_provider(kind_provider: str | None, path: str, model: str) -> str:
    """The genai-prices provider whose prices count; empty where there is none.

    Hugging Face routes to other providers, named in the path (`/nebius/v1/…`) or after the model (`…:nebius`).
    """
    if kind_provider is None or "{sub}" not in kind_provider:
        return kind_provider or ""
    match = _SUBPROVIDER.match(path)
    sub = match.group(1) if match else model.rpartition(":")[2] if ":" in model else ""
    return kind_provider.format(sub=sub) if sub else ""


def candidates(
    route: Route,
    fmt: Format,
    call: Call,
    target: Target,
    at: datetime,
    prices: Prices,
    choice: Choice,
    session: Session | None,
) -> list[Candidate]:
    """The members that could answer, once with each of their credentials, in the order in which they are to be tried.

    Raises:
        GatewayError: `no-price`, where every member wants a price and none is known.
    """
    found: list[Candidate] = []
    unpriced = ""
    for member, credentials, kind in _fitting(choice.order(route, fmt, call, session), fmt):
        provider = member.provider
        model = member.model(call.model)
        source = price_provider(provider.price_provider or kind.price_provider, target.path, model)
        tariff = Tariff(prices, provider.name, source, model, at, provider.price_factor, kind.path_decides)
        price = tariff.price() if model else None
        others = [(name, replace(tariff, model=name).price()) for name in call.fallbacks]
        unknown = any(known is None for known in (price, *(known for _, known in others)))
        unknown = unknown and fmt.metered and not fmt.later_look
        if provider.require_price and (unknown or fmt.name in kind.bills):
            unpriced = provider.name
            continue
        worst = worst_case(call, model, price, kind.hidden_tokens)
        tier = call.service_tier or provider.service_tier
        most = ceiling(worst, price, at, tier) if fmt.metered and not fmt.later_look else 0
        for name, known in others:  # one of them may answer in its place
            most = max(most, ceiling(worst_case(call, name, known, kind.hidden_tokens), known, at, tier))
        found += [Candidate(member, credential, kind, model, tariff, price, worst, most) for credential in credentials]
    if not found and not unpriced:
        raise GatewayError(
            "upstream-unreachable",
            f"The route '{route.name}' has no member that can be asked: an administrator must add or activate one.",
        )
    if not found:
        what = f"the model '{call.model}'" if call.model else f"'{fmt.name}'"
        raise GatewayError(
            "no-price",
            f"No price is known for {what} at provider '{unpriced}', and it requires one. "
            'Check the model\'s name, set its price in paig.toml ([prices."…"]), or let the provider pass '
            "unpriced models with require_price = false.",
            details={"model": call.model, "provider": unpriced},
        )
    return found


_Asked = tuple[Member, Sequence[Credential]]


def _fitting(members: list[_Asked], fmt: Format) -> list[tuple[*_Asked, Kind]]:
    """The members whose kind speaks the format; all where none does, so that the provider itself says what is wrong."""
    known = [(*asked, kind) for asked in members if (kind := KINDS.get(asked[0].provider.kind)) is not None]
    return [one for one in known if fmt.errors in one[2].speaks or fmt.name in one[2].carriers] or known
