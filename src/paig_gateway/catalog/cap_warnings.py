"""Warns when a cap is set that is smaller than the hold of one usual request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache

from paig_client.api.limits import SPENDING, LimitsSpec
from paig_client.api.vocabulary import WhenTight
from paig_gateway.domain.money import format_usd
from paig_gateway.formats.base import Call
from paig_gateway.pricing.fit import SHARE, HoldSize, Room, largest, least_output
from paig_gateway.pricing.model_limits import known_models, model_limits
from paig_gateway.pricing.price import PriceBook
from paig_gateway.pricing.worst_case import BoundFormula, Unbounded

USUAL = ("gpt-5", "claude-sonnet-4-5", "gemini-2.5-pro")
"""The models to check if every model is allowed."""
VENDORS = ("openai", "anthropic", "google", "mistral", "x-ai", "deepseek", "groq", "cohere")
"""Where prices of models are looked for, by the names of the price book."""
INPUT_TOKENS = 1000
"""The bound of a usual request's input."""
MOST_MODELS = 500

_book = lru_cache(maxsize=1)(PriceBook)


def cap_warnings(
    limits: LimitsSpec, models: Sequence[str] | None, when_tight: WhenTight, at: datetime
) -> Iterator[str]:
    """Sentences about caps that one request without a maximum does not fit, for the model that holds most.

    Args:
        models: Patterns of the allowed models; None for all.
        when_tight: What happens to such a request.
        at: The present.
    """
    if limits.soft:
        return
    amounts = {row.field: getattr(limits, row.field) for row in SPENDING}
    money = {name: int(amount * 10**9) for name, amount in amounts.items() if amount is not None}
    holds = [(bound, name) for name in _named(models) if (bound := _bound(name, at)) is not None]
    if not holds or not (money or limits.tokens_per_minute is not None):
        return
    if money:
        window = min(money, key=lambda name: money[name])
        formula, model = max(holds, key=lambda one: _need(one[0], None).money)
        need = _need(formula, None)
        if need.money > money[window] > 0:  # a cap of 0 is meant to refuse everything
            what = f"A {model} call without a maximum holds ${format_usd(need.money)}, more than the {window} cap of"
            yield f"{what} ${format_usd(money[window])}; {_then(formula, model, Room(money[window], None), when_tight)}"
    if (cap := limits.tokens_per_minute) is not None:
        formula, model = max(holds, key=lambda one: _need(one[0], None).tokens)
        need = _need(formula, None)
        if need.tokens > cap:
            what = f"A {model} call without a maximum holds {need.tokens:,} tokens, more than {cap:,} tokens a minute"
            yield f"{what}; {_then(formula, model, Room(None, cap), when_tight)}"


def _then(formula: BoundFormula, model: str, room: Room, when_tight: WhenTight) -> str:
    known = model_limits(model)
    most, floor = known.output or known.most or 1, least_output(None, known.reasoning)
    if when_tight == "refuse":
        largest_now = largest(lambda maximum: _need(formula, maximum), room, 1, most)
        return (
            "with when_tight = refuse it is refused, unless it states a maximum of at most"
            f" {largest_now or 0:,} tokens."
        )
    fitted = largest(lambda maximum: _need(formula, maximum), room, floor, most, SHARE)
    if fitted is None:
        fitted = floor if room.holds(_need(formula, floor)) else None
    if fitted is None:
        return f"with when_tight = {when_tight} it is refused: not even {floor:,} tokens fit."
    return f"with when_tight = {when_tight} it gets at most {fitted:,} tokens."


def _need(formula: BoundFormula, maximum: int | None) -> HoldSize:
    found = formula.hold(replace(Call(formula.model), input_tokens=INPUT_TOKENS, output_tokens=maximum))
    return HoldSize(found.money, found.tokens)


def _named(models: Sequence[str] | None) -> list[str]:
    if models is None:
        return list(USUAL)
    found = [
        name
        for pattern in models
        for name in ([pattern] if not set(pattern) & set("*?[") else known_models())
        if fnmatchcase(name, pattern)
    ]
    return found[:MOST_MODELS]


def _bound(model: str, at: datetime) -> BoundFormula | None:
    """What bounds a request to a model at its vendor; None if that is not known."""
    prices = (_book().find(vendor, model) for vendor in VENDORS)
    price = next((price for price in prices if price is not None), None)
    if price is None:
        return None
    formula = BoundFormula(model, price, at)
    try:
        formula.hold(Call(model, input_tokens=INPUT_TOKENS))
    except Unbounded:
        return None
    return formula
