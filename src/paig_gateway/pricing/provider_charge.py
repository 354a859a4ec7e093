"""The charge that some providers state in their answers. It is the cost; the row also has the list price.

Sources: OpenRouter's usage accounting, xAI's and Perplexity's API references, LiteLLM's proxy headers, Vercel's and
DeepInfra's chat completions (2026-11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from paig_gateway.domain.money import nanodollars
from paig_gateway.formats.base import Json
from paig_gateway.formats.folding import dig

MOST = Decimal(100_000)
"""US dollars: a larger charge for one request must be a misreading."""

TICKS_PER_DOLLAR = Decimal(10**10)
"""xAI's unit."""

ReadCharge = Callable[[Json, Mapping[str, str]], "Decimal | None"]
"""Reads US dollars from an answer's body and headers (lower-case names); None if it states no charge."""


@dataclass(frozen=True, slots=True)
class ChargeRule:
    """Where one kind of provider states its charge.

    Attributes:
        where: In words, for the page on billing.
    """

    where: str
    read: ReadCharge


def stated(rule: ChargeRule, body: Json, headers: Mapping[str, str]) -> int | None:
    """The provider's own charge in nanodollars, or None if the answer states none that can be read."""
    dollars = rule.read(body, headers)
    return nanodollars(dollars) if dollars is not None and 0 <= dollars <= MOST else None


def _decimal(found: object) -> Decimal | None:
    if isinstance(found, bool) or not isinstance(found, (int, float, str)):
        return None
    try:
        number = Decimal(str(found))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _openrouter(body: Json, headers: Mapping[str, str]) -> Decimal | None:
    cost = _decimal(dig(body, "usage", "cost"))
    if cost is None or dig(body, "usage", "is_byok") is not True:
        return cost
    # With the customer's own key, `cost` is OpenRouter's fee alone.
    upstream = _decimal(dig(body, "usage", "cost_details", "upstream_inference_cost"))
    return None if upstream is None else cost + upstream


def _perplexity(body: Json, headers: Mapping[str, str]) -> Decimal | None:
    return _decimal(dig(body, "usage", "cost", "total_cost"))


def _xai(body: Json, headers: Mapping[str, str]) -> Decimal | None:
    ticks = _decimal(dig(body, "usage", "cost_in_usd_ticks"))
    # Nothing that it serves is free: a zero says that the charge was not computed.
    return ticks / TICKS_PER_DOLLAR if ticks else None


_PLACES = (("usage", "cost"), ("usage", "estimated_cost"), ("usage", "logfire_ai_gateway", "cost"), ("cost",))
_LITELLM = "x-litellm-response-cost"


def _compatible(body: Json, headers: Mapping[str, str]) -> Decimal | None:
    said = (_decimal(found) for found in (*(dig(body, *place) for place in _PLACES), headers.get(_LITELLM)))
    return next((cost for cost in said if cost), None)  # servers that did not compute it say zero


CHARGES: Mapping[str, ChargeRule] = {
    "openrouter": ChargeRule(
        "`usage.cost`; with `usage.is_byok` also `usage.cost_details.upstream_inference_cost`", _openrouter
    ),
    "perplexity": ChargeRule("`usage.cost.total_cost`", _perplexity),
    "xai": ChargeRule("`usage.cost_in_usd_ticks`, 10¹⁰ a dollar", _xai),
    "openai-compatible": ChargeRule(
        "`usage.cost` (Vercel's gateway), `usage.estimated_cost` (DeepInfra), `usage.logfire_ai_gateway.cost` "
        "(Pydantic's gateway), `cost` (Eden AI), else the header `x-litellm-response-cost` (LiteLLM's proxy)",
        _compatible,
    ),
}
"""By provider kind."""
