"""Which limits bind a request at a member of its route.

Limits of owners and the run's budget bind it at every member. A named limit may depend on the provider or the model, so
different members may be bound by different limits.
"""

from __future__ import annotations

from paig_gateway.domain.limits import Limit, in_force
from paig_gateway.domain.named_limits import LimitRule, Subject, bound
from paig_gateway.proxy.exchange import Exchange
from paig_gateway.proxy.request import Attribution
from paig_gateway.routing.candidates import Candidate


def binding_limits(exchange: Exchange, candidate: Candidate | None) -> tuple[Limit, ...]:
    """The limits that bind a request, with the amounts at its time.

    Args:
        candidate: The member that it is sent to, or None.
    """
    caller, attribution = exchange.caller, exchange.attribution
    limits = caller.limits
    if attribution.run is not None:
        limits += run_limit(caller.key_id, attribution)
    if caller.named:
        limits += bound(caller.named, subject(exchange, candidate))
    if limits is caller.limits and not caller.has_raises:
        return limits
    return in_force(limits, exchange.time) if any(limit.raises for limit in limits) else limits


def alike(exchange: Exchange, order: list[Candidate]) -> list[Candidate]:
    """The candidates that are bound by the same limits as the first one."""
    named = exchange.caller.named
    if not named or not any(one.looks_at_member for one in named):
        return order
    limits = binding_limits(exchange, order[0])
    return [candidate for candidate in order if binding_limits(exchange, candidate) == limits]


def is_capped(exchange: Exchange, *, soft: bool = False) -> bool:
    """Whether a limit on money may bind the request: a hard one, or with `soft` any."""
    if exchange.attribution.run_budget is not None or exchange.caller.is_capped:
        return True
    return any(limit.unit == "usd" and (soft or not limit.soft) for limit in _possible(exchange))


def counts_requests(exchange: Exchange) -> bool:
    """Whether a limit on requests may bind the request."""
    return any(limit.unit == "requests" for limit in _possible(exchange))


def run_limit(key_id: str, attribution: Attribution) -> tuple[Limit, ...]:
    """The budget of the run that a request belongs to; the ledger holds the first request's amount."""
    if attribution.run_budget is None or attribution.run is None:
        return ()
    return (Limit(f"run:{key_id}:{attribution.run}", "run", attribution.run, "usd", "total", attribution.run_budget),)


def subject(exchange: Exchange, candidate: Candidate | None) -> Subject:
    """The properties of a request that named limits match."""
    model = exchange.call.model
    if candidate is None:
        return _subject(exchange, None, [model])
    alias = candidate.provider.aliases.get(candidate.model, "")
    return _subject(exchange, candidate.provider.name, [model, candidate.model, alias])


def _possible(exchange: Exchange) -> list[Limit]:
    """The limits that bind the request at any member of its route."""
    caller = exchange.caller
    if not caller.named:
        return list(caller.limits)
    model = exchange.call.model
    members = [member.model(model) for member in exchange.route.members]
    aliases = [member.provider.aliases.get(member.model(model), "") for member in exchange.route.members]
    found = _subject(exchange, None, [model, *members, *aliases])
    return [*caller.limits, *(limit for named in _matching(caller.named, found) for limit in named.limits)]


def _matching(named: tuple[LimitRule, ...], found: Subject) -> list[LimitRule]:
    return [one for one in named if one.matches(found, any_member=True)]


def _subject(exchange: Exchange, provider: str | None, names: list[str]) -> Subject:
    caller, call = exchange.caller, exchange.call
    more = [name for name in (*names[1:], *call.fallbacks, *(extra.model for extra in call.also)) if name]
    return Subject(
        key=(caller.key_id, caller.key),
        user=(caller.user_id, caller.user or "") if caller.user_id is not None else None,
        project=(caller.project_id, caller.project or "") if caller.project_id is not None else None,
        route=exchange.route.name,
        provider=provider,
        models=tuple(dict.fromkeys((names[0], *more))),
        tags=exchange.attribution.tags,
        session=exchange.attribution.session,
    )
