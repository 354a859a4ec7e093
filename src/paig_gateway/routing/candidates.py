"""The candidates for a request: which members of its route could answer it, and at what worst-case cost."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.route import ActiveProvider, ActiveRoute, Chance, Credential, Member, by_luck, by_session, even
from paig_gateway.formats.base import Call, Format
from paig_gateway.pricing.model_limits import model_limits
from paig_gateway.pricing.modifiers import IN_BATCH, bound_factor
from paig_gateway.pricing.names import geography
from paig_gateway.pricing.overrides import PriceLookup, PriceSources
from paig_gateway.pricing.price import Price
from paig_gateway.pricing.provider_charge import CHARGES
from paig_gateway.pricing.worst_case import BoundFormula, CostBound, Unbounded, WorstCase
from paig_gateway.providers.kinds import KINDS, ProviderKind
from paig_gateway.routing.latency import Latencies

Session = tuple[str, str]
"""A group of requests: the id of their key, and the client's name of the group."""

_SUBPROVIDER = re.compile(r"/([a-z0-9-]+)/(?:(?:openai/|inference/|compatibility/|api/paas/)?v\d)")


@dataclass(slots=True)
class Candidate:
    """A member of the route that could answer, with one of its provider's credentials.

    Attributes:
        ceiling: The most that this could cost, in nanodollars.
        tokens: The most tokens that it could use, input and output together.
        bound: Computes both for another output maximum.
    """

    member: Member
    credential: Credential
    kind: ProviderKind
    model: str
    price_lookup: PriceLookup
    price: Price | None
    worst: WorstCase
    ceiling: int
    tokens: int
    bound: BoundFormula

    @property
    def provider(self) -> ActiveProvider:
        return self.member.provider


_POLICIES = frozenset({"", "auto", "fastest", "cheapest", "preferred"})
"""Suffixes of a model's name at Hugging Face with which its router chooses the provider, as it does without one."""


def price_provider(kind_provider: str | None, path: str, model: str) -> str:
    """The genai-prices provider whose prices apply; empty if there is none.

    Hugging Face routes to other providers, named in the path (`/nebius/v1/…`) or after the model (`…:nebius`).
    """
    if kind_provider is None or "{sub}" not in kind_provider:
        return kind_provider or ""
    match = _SUBPROVIDER.match(path)
    sub = match.group(1) if match else model.rpartition(":")[2] if ":" in model else ""
    return kind_provider.format(sub="" if sub in _POLICIES else sub)


def candidates(
    route: ActiveRoute,
    fmt: Format,
    call: Call,
    path: str,
    at: datetime,
    prices: PriceSources,
    choice: MemberOrder,
    session: Session | None,
    *,
    capped: bool,
) -> list[Candidate]:
    """The members that could answer, once with each of their credentials, in the order of the tries.

    Args:
        capped: Whether a hard limit on money binds the request, so that a request without a bound must not be sent.

    Raises:
        GatewayError: `no-price` if no member has the price or the bound that it needs.
    """
    found: list[Candidate] = []
    unpriced = unbounded = ""
    for member, credentials, kind in _fitting(choice.order(route, fmt, call, session), fmt):
        plan = choice.plans.of(member, kind, fmt, call, path, at, prices)
        if plan.is_refused:
            unpriced = member.provider.name
            continue
        if has_flat_price(fmt) and plan.price is not None:
            hold = CostBound(plan.bound.worst(call), plan.price.cost({}, at), 0)
        elif fmt.metered and not fmt.later_look and not fmt.batch:
            try:
                hold = plan.bound.hold(call)
            except Unbounded as error:
                if capped:
                    unbounded = error.unit
                    continue
                hold = CostBound(plan.bound.worst(call), 0, 0)
        else:
            hold = CostBound(plan.bound.worst(call), 0, 0)
        for credential in credentials:
            found.append(
                Candidate(
                    member, credential, kind, plan.model, plan.price_lookup, plan.price, hold.worst, hold.money,
                    hold.tokens, plan.bound,
                )
            )  # fmt: skip
    if not found:
        raise _none_left(route, fmt, call, unpriced, unbounded)
    return found


def _none_left(route: ActiveRoute, fmt: Format, call: Call, unpriced: str, unbounded: str) -> GatewayError:
    """The error if no member could answer: for want of a bound, of a member, or of a price."""
    if unbounded:
        return GatewayError(
            "no-price",
            f"Nothing bounds how many {unbounded.replace('_', ' ')} a request to '{call.model}' may be billed for, so "
            "it cannot be sent under a spending limit. Use a key without one, or ask an administrator for one.",
            details={"model": call.model, "unit": unbounded},
        )
    if not unpriced:
        return GatewayError(
            "upstream-unreachable",
            f"The route '{route.name}' has no active member. Ask an administrator to add or activate one.",
        )
    what = f"the model '{call.model}'" if call.model else f"'{fmt.name}'"
    return GatewayError(
        "no-price",
        f"No price is known for {what} at provider '{unpriced}', and it requires one. "
        f"{_lines_to_add(unpriced, call.model)}",
        details={"model": call.model, "provider": unpriced},
    )


def has_flat_price(fmt: Format) -> bool:
    """Whether the operator's flat price is all that a request of a format can be held at, until its lines are read."""
    return fmt.unmetered or (fmt.batch and fmt.title != "")


def _flat_price(prices: PriceSources, provider: ActiveProvider, fmt: Format, at: datetime) -> Price | None:
    """The operator's price of one request to an unmetered endpoint, or None."""
    price = prices.own_price(provider.name, fmt.title, at) if fmt.title else None
    return price if price is not None and price.model_prices(at).requests_kcount is not None else None


def _lines_to_add(provider: str, model: str) -> str:
    """What an operator can write in paig.toml so that the model has a price."""
    name = json.dumps(model or "the-model")
    return (
        "Check the model's name, or add one of these to paig.toml: under [providers." + provider + "] "
        f'aliases = {{ {name} = "the model that it is priced as" }}; '
        f'[prices.{name}] provider = "{provider}", input_mtok = …, output_mtok = …, context_window = …, '
        "max_output = …; "
        "[server] refresh_prices = true, where the model is newer than this gateway; "
        "or require_price = false under the provider, which lets unpriced models pass at no cost."
    )


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """The properties of a member for similar requests, computed once.

    Attributes:
        model: The model's name at the member.
        price_lookup: Prices an answer's usage.
        price: The model's price, or None.
        bound: Bounds the cost of a request.
        is_refused: Whether the provider requires a price, and there is none.
    """

    member: Member
    model: str
    price_lookup: PriceLookup
    price: Price | None
    bound: BoundFormula
    is_refused: bool


MOST_PLANS = 4096
"""The most plans that are kept: clients choose the names of models."""


@dataclass(slots=True)
class MemberPlans:
    """The plans of the present minute; prices change at whole minutes at most, and with the sources of prices."""

    _minute: int = -1
    _sources: tuple[object, ...] = ()
    _plans: dict[tuple[object, ...], MemberPlan] = field(default_factory=dict)

    def of(
        self, member: Member, kind: ProviderKind, fmt: Format, call: Call, path: str, at: datetime, prices: PriceSources
    ) -> MemberPlan:
        """The plan of a member for requests like this one."""
        minute, sources = int(at.timestamp()) // 60, prices.present()
        if minute != self._minute or sources is not self._sources:
            self._plans, self._minute, self._sources = {}, minute, sources
        provider = member.provider
        by_path = provider.kind == "google-vertex" or "{sub}" in (provider.price_provider or kind.price_provider or "")
        key = (
            id(member), id(fmt), call.model, call.stream, call.service_tier, path if by_path else "",
            tuple(sorted(call.modifiers.items())) if call.modifiers else (), call.fallbacks, call.also,
        )  # fmt: skip
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans = {}
            # The plan keeps the member alive, so that no other object gets its id.
            begun = datetime.fromtimestamp(minute * 60, UTC)
            plan = self._plans[key] = _plan(member, kind, fmt, call, path, begun, prices)
        return plan


def _plan(
    member: Member, kind: ProviderKind, fmt: Format, call: Call, path: str, at: datetime, prices: PriceSources
) -> MemberPlan:
    provider = member.provider
    model = member.model(call.model)
    source = price_provider(provider.price_provider or kind.price_provider, path, model)
    price_lookup = PriceLookup(
        prices,
        provider.name,
        source,
        model,
        at,
        provider.price_factor,
        asked_first=kind.path_decides,
        aliases=provider.aliases,
        modifiers=_modifiers(call, provider, source, model, path),
        charge_rule=CHARGES.get(kind.name) if provider.provider_cost else None,
        always_reports=kind.reports_usage and (provider.stream_usage is not False or not call.stream),
        free_unpriced=not kind.require_price,
    )
    price = price_lookup.price() or price_lookup.stand_in(fmt.name)
    if has_flat_price(fmt):
        price = _flat_price(prices, provider, fmt, at)
    others = [(name, replace(price_lookup, model=name).price()) for name in call.fallbacks]
    besides = [(extra, replace(price_lookup, model=extra.model).price()) for extra in call.also]
    unknown = any(known is None for known in (price, *(one[1] for one in (*others, *besides))))
    unknown = unknown and fmt.metered and not fmt.later_look and not fmt.batch
    refused = provider.require_price and unknown
    priced_as = provider.aliases.get(model, model)
    bound = BoundFormula(
        priced_as,
        price,
        at,
        call.service_tier or provider.service_tier,
        kind.hidden_tokens,
        bound_factor(source, priced_as, price_lookup.modifiers),
        price_lookup.rate_of,
        instead=tuple(others),
        besides=tuple(besides),
        batch=IN_BATCH.items() <= call.modifiers.items(),
        heeds=kind.heeds(fmt.name, reasoning=model_limits(model, price.provider_id if price else "").reasoning),
    )
    return MemberPlan(member, model, price_lookup, price, bound, refused)


_REGION_HOST = re.compile(r"https://(eu|us)\.api\.openai\.com")
_VERTEX_LOCATION = re.compile(r"/locations/([^/]+)/")


def _modifiers(call: Call, provider: ActiveProvider, source: str, model: str, path: str) -> dict[str, str]:
    """The modifiers of a price in the request and the provider's address."""
    found = {name: value.lower() for name, value in call.modifiers.items()}
    tier = call.service_tier or provider.service_tier
    if tier and "service_tier" not in found and "speed" not in found and "processing" not in found:
        found["service_tier"] = tier.lower()
    if (host := _REGION_HOST.match(provider.base_url)) is not None:
        found["region"] = host.group(1)
    if provider.kind == "google-vertex":
        named = _VERTEX_LOCATION.search(path)
        found["region"] = named.group(1) if named else provider.settings.get("location", "global")
    if source == "aws":
        found["region"] = geography(model, provider.settings.get("region", ""))
    return found


_Asked = tuple[Member, Sequence[Credential]]


def _fitting(members: list[_Asked], fmt: Format) -> list[tuple[*_Asked, ProviderKind]]:
    """The members whose kind has the format; all if none has, so that the provider itself answers with an error."""
    known = [(*asked, kind) for asked in members if (kind := KINDS.get(asked[0].provider.kind)) is not None]
    return [one for one in known if fmt.errors in one[2].speaks or fmt.name in one[2].adapters] or known


@dataclass(slots=True)
class MemberOrder:
    """Orders candidates. It belongs to one event loop, so nothing in it is locked.

    Attributes:
        random: The source of random numbers.
    """

    latencies: Latencies
    random: random.Random = field(default_factory=random.Random)
    plans: MemberPlans = field(default_factory=MemberPlans)
    _turns: dict[str, int] = field(default_factory=dict)

    def order(
        self, route: ActiveRoute, fmt: Format, call: Call, session: Session | None
    ) -> list[tuple[Member, Sequence[Credential]]]:
        """The members in the order of the tries, each with its credentials in order.

        Args:
            route: Whose members.
            fmt: The request's format.
            session: The group of requests that stays with one member and one credential; None if there is none.
        """
        if len(route.members) == 1 and len(route.members[0].provider.credentials) == 1:
            return [(route.members[0], route.members[0].provider.credentials)]
        chance = by_session(*session) if session is not None and route.affinity else None
        if chance is not None or route.choice == "weighted":
            members = route.order(chance or by_luck(self.random))
        else:
            members = route.order(by_luck(self.random), self._pace(route, fmt, call))
        return [(member, self._credentials(member.provider, chance)) for member in members]

    def learn(
        self, route: ActiveRoute, fmt: Format, call: Call, attempts: Sequence[Mapping[str, object]], last: float | None
    ) -> None:
        """Record how long each tried member took to the first byte of its answer, or until it was given up.

        Args:
            route: Whose members were tried.
            fmt: The request's format.
            last: Seconds from the request's arrival to the first byte of the last try's answer; None without a success.
        """
        if route.choice != "latency":
            return
        for attempt in attempts:
            place = (str(attempt["provider"]), fmt.name, str(attempt["model"]), call.stream)
            if attempt.get("status") is None and attempt.get("error") == "upstream-timeout":
                self.latencies.measured(place, float(str(attempt["ms"])) / 1000)
            elif attempt is attempts[-1] and last is not None:
                self.latencies.measured(place, last - float(str(attempt["began_ms"])) / 1000)

    def _pace(self, route: ActiveRoute, fmt: Format, call: Call) -> Callable[[Member], float]:
        """Ranks by latency among members of one priority; standby members are not tried out."""
        if len(route.members) == 1:
            return even
        ranks: dict[int, float] = {}
        weighty = sorted((member for member in route.members if member.weight), key=lambda member: -member.priority)
        for number, (_, found) in enumerate(groupby(weighty, key=lambda member: member.priority)):
            equals = list(found)
            places = [(one.provider.name, fmt.name, one.model(call.model), call.stream) for one in equals]
            if len(equals) > 1:
                found_ranks = self.latencies.ranks(places, explore=number == 0)
                ranks.update(zip(map(id, equals), found_ranks, strict=True))
        return lambda member: ranks.get(id(member), 0.0)

    def _credentials(self, provider: ActiveProvider, chance: Chance | None) -> Sequence[Credential]:
        """The items in rotation, so that each is first equally often; for a session, always in the same order."""
        credentials = provider.credentials
        if len(credentials) == 1:
            return credentials
        if chance is not None:
            return sorted(credentials, key=lambda credential: chance(f"{provider.name}\0{credential.id}"))
        turn = self._turns[provider.name] = (self._turns.get(provider.name, -1) + 1) % len(credentials)
        return credentials[turn:] + credentials[:turn]
