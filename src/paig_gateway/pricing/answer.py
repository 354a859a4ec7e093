"""The usage and cost of an answer: from its body, or estimated from its content if it states no usage.

The body is that of a call without streaming; `formats` folds the events of a stream into the same shape, so both are
read and priced alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from paig_gateway.formats.base import Call, Format, Generated, Json
from paig_gateway.formats.folding import dig, mapping, provisional, whole
from paig_gateway.pricing import units
from paig_gateway.pricing.known_shapes import Plan, outline, sums
from paig_gateway.pricing.modifiers import STANDARD, Modifiers
from paig_gateway.pricing.overrides import PriceLookup
from paig_gateway.pricing.parts import Part, parts
from paig_gateway.pricing.price import ROUTED, Price
from paig_gateway.pricing.provider_charge import stated
from paig_gateway.pricing.unexplained import DEFAULT_USAGE_OBJECTS, USAGE_OBJECTS, unexplained
from paig_gateway.pricing.usage import Extracted, Usage, extract

BYTES_PER_TOKEN = 4
"""The customary size of a token of text, for estimates only."""

IMAGE_TOKENS = 1_290
"""Output tokens of a generated image of unknown size: those of Gemini's 2.5 models; later ones take 1,120."""

AUDIO_BYTES_PER_TOKEN = 24_000 * 2 // 25
"""Bytes of generated audio (24 kHz, 16 bits) for a token: 25 tokens a second."""


@dataclass(slots=True)  # made for every request, and nothing changes it: freezing would double its cost
class UsageReading:
    """The usage and cost of an answer.

    Attributes:
        extracted: The usage, or None where the answer states none.
        price: The price that it was charged at, or None.
        cost: Nanodollars.
        modifiers: What besides usage decided the cost, such as the service tier.
        list_price: The cost by the price list, in nanodollars; None if there is no price.
        from_provider: Whether `cost` is the charge that the provider itself states.
        doubts: Why the cost is not exact; empty if it is.
        unknown: Whether the cost is unknown: the model has no price, and may pass without one.
        of_ceiling: The share of its worst case that is charged, if the answer states no usage.
    """

    extracted: Extracted | None
    price: Price | None
    cost: int
    modifiers: Modifiers | None = None
    list_price: int | None = None
    from_provider: bool = False
    doubts: tuple[str, ...] = ()
    unknown: bool = False
    of_ceiling: Decimal | None = None


def read_answer(fmt: Format, body: Json, headers: Mapping[str, str], prices: PriceLookup, call: Call) -> UsageReading:
    """Read usage and cost from an answer in the shape of a non-streaming body; see `read_in_full`.

    An answer with the shape of one that was read before is read by what was learned from that (`known_shapes`).
    """
    # The answer's shape says nothing about units that the request alone makes billable, or about the provider's tools.
    seen = None if call.units or call.server_tools else outline(fmt, body)
    if seen is None:
        return read_in_full(fmt, body, headers, prices, call)
    shape, counts = seen
    plan = prices.known.find(shape, prices.prices.present())
    if plan is not None and (known := _by_plan(plan, counts, body, headers, prices)) is not None:
        return known
    reading = read_in_full(fmt, body, headers, prices, call)
    if plan is None and not prices.known.is_known(shape):
        prices.known.keep(shape, _plan_of(fmt, body, counts, prices, reading))
    return reading


def _by_plan(
    plan: Plan, counts: list[int], body: Json, headers: Mapping[str, str], prices: PriceLookup
) -> UsageReading | None:
    own = stated(prices.charge_rule, body, headers) if prices.charge_rule is not None else None
    if (own is None and plan.doubts is None) or (found := plan.apply(counts)) is None:
        return None
    usage, cost = found
    extracted = Extracted(usage, mapping(body["usage"]), plan.model)
    if own is not None:
        return UsageReading(extracted, plan.price, own, plan.modifiers, cost, from_provider=True)
    return UsageReading(extracted, plan.price, cost, plan.modifiers, cost, doubts=plan.doubts or ())


def _plan_of(fmt: Format, body: Json, counts: list[int], prices: PriceLookup, reading: UsageReading) -> Plan | None:
    """The plan for answers of this shape, from one that was read in full; None if more than the shape matters."""
    extracted, price, modifiers = reading.extracted, reading.price, reading.modifiers or {}
    if extracted is None or price is None or fmt.normalise is not None or len(parts(fmt.name, body)) > 1:
        return None
    summed = sums(fmt, prices.source, body)
    formula = prices.formula(price, extracted.usage, modifiers, extracted.model)
    if summed is None or formula is None:
        return None
    doubts = None if reading.from_provider else reading.doubts
    plan = Plan(extracted.model, *summed, price, formula, modifiers, doubts)
    return plan if plan.apply(counts) == (extracted.usage, reading.list_price) else None


def read_in_full(fmt: Format, body: Json, headers: Mapping[str, str], prices: PriceLookup, call: Call) -> UsageReading:
    """Read usage and cost from an answer in the shape of a non-streaming body, by all the tables.

    Args:
        body: The body, or the folded events of a stream.
        headers: The response's headers, by lower-case name.
        prices: What turns usage into money.
    """
    if fmt.normalise is not None:
        body = fmt.normalise(body, prices.model, headers)
    billed = parts(fmt.name, body)
    found = [(part, one) for part in billed if (one := _extract(fmt, part, prices)) is not None]
    model = _model_of(body) or (found[0][1].model if found else None)
    counted = units.count(
        fmt.name, prices.source, prices.aliases.get(prices.model) or model or prices.model, body, call
    )
    if not found and not any((fmt.name, name) in units.SUFFICIENT for name in counted.found):
        return _result(fmt, body, headers, prices)
    modifiers, assumed = _modifiers(fmt, body, headers, prices)
    doubts = [f"assumed: {name}" for name in assumed]
    if prices.source == ROUTED:
        doubts.append("assumed: the dearest provider that may have answered")
    doubts += [part.doubt for part, _ in found if part.doubt]
    if len(billed) > max(1, len(found)):
        doubts.append("unknown: the usage of another model")
    doubts += [f"estimated: {name}" for name in counted.incomplete]
    doubts += [f"unknown: {name}" for name in unexplained(fmt.name, body)]
    total: Usage = {}
    cost, unpriced = 0, False
    main: Price | None = None
    for number, (part, one) in enumerate(found or [(Part(body), Extracted(dict(NOTHING), {}, model))]):
        usage: Usage = {**one.usage, **counted.found} if number == 0 else one.usage
        price = prices.price(one.model or model) if number == 0 else prices.price_of(one.model or prices.model)
        main = price if number == 0 else main
        if price is not None and price.draws(prices.at) and not usage.get("output_image_tokens"):
            usage |= _drawn(part.flavor or fmt.flavor, usage, one.raw)
            if fmt.name == "gemini" and usage.get("output_image_tokens"):
                doubts.append("assumed: all output is images")
        for key, amount in (usage if part.own else _of_other_model(usage)).items():
            total[key] = total.get(key, 0) + amount
        if price is None:
            unpriced = True
            doubts.append(f"unpriced: model {one.model or prices.model}")
            continue
        charge = prices.charge(price, usage, modifiers, one.model or model)
        cost += charge.cost
        doubts += charge.doubts
    raw = _raw(fmt, body, found[0][1].raw if found else {})
    extracted = Extracted(total, raw, model)
    listed = None if unpriced else cost
    own = stated(prices.charge_rule, body, headers) if prices.charge_rule is not None else None
    if own is not None:
        return UsageReading(extracted, main, own, modifiers, listed, from_provider=True)
    if not found and main is not None and not cost and any(doubt.startswith("unpriced: ") for doubt in doubts):
        return _result(fmt, body, headers, prices)  # billed by tokens, which it does not state
    reasons = tuple(dict.fromkeys(doubts))
    if main is None and unpriced and not cost:
        return UsageReading(extracted, None, 0, modifiers, doubts=reasons, unknown=not prices.free_unpriced)
    return UsageReading(extracted, main, cost, modifiers, listed, doubts=reasons)


def _drawn(flavor: str, usage: Usage, raw: Json) -> Usage:
    """The output of a model whose images cost more than its text, where the extractor found no images in it."""
    if flavor == "images":
        stated = whole(dig(raw, "output_tokens_details", "image_tokens"))
        return {"output_image_tokens": usage["output_tokens"] if stated is None else stated}
    if "promptTokenCount" in raw and "candidatesTokensDetails" not in raw:
        return {"output_image_tokens": usage["output_tokens"] - usage.get("output_reasoning_tokens", 0)}
    return {}


def _extract(fmt: Format, part: Part, prices: PriceLookup) -> Extracted | None:
    home = "openai" if part.flavor else fmt.home
    return extract(part.body, provider=prices.source, flavor=part.flavor or fmt.flavor, home=home)


def _model_of(body: Json) -> str | None:
    named = body.get("model") or body.get("modelVersion")
    return named if isinstance(named, str) and named else None


NOTHING: Usage = {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0}
"""The usage of an answer without tokens."""


def _result(fmt: Format, body: Json, headers: Mapping[str, str], prices: PriceLookup) -> UsageReading:
    """The charge of work whose answer states no usage: the provider's own charge, or a part of its worst case."""
    part = fmt.result(body) if fmt.result is not None else None
    if part is None:
        return UsageReading(None, None, 0)
    own = stated(prices.charge_rule, body, headers) if prices.charge_rule is not None else None
    extracted = Extracted(dict(NOTHING), _raw(fmt, body, {}), _model_of(body))
    if own is not None:
        return UsageReading(extracted, None, own, from_provider=True)
    doubts = tuple(f"unknown: {name}" for name in unexplained(fmt.name, body))
    return UsageReading(extracted, None, 0, of_ceiling=part, doubts=doubts)


def _of_other_model(usage: Usage) -> Usage:
    """The tokens of a model that helped the one that answered."""
    return {f"other_model_{name}": usage.get(name, 0) for name in ("input_tokens", "output_tokens")}


def _raw(fmt: Format, body: Json, read: Json) -> Json:
    """The provider's own usage object, unchanged, if `parts` split it."""
    whole = body.get("usage")
    if isinstance(whole, Mapping) and whole.keys() > {"iterations"} and "iterations" in whole:
        return whole
    if isinstance(whole, Mapping) and whole and "usageMetadata" in body:
        return whole  # an interaction's, in its own words
    if read:
        return read
    for place in USAGE_OBJECTS.get(fmt.name, DEFAULT_USAGE_OBJECTS):
        found: object = body
        for step in place:
            found = found.get(step) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and found:
            return found
    return {}


def _modifiers(fmt: Format, body: Json, headers: Mapping[str, str], prices: PriceLookup) -> tuple[Modifiers, list[str]]:
    """The modifiers that the answer names, else those that the request and the provider's address name.

    A standard value in the request counts as none, and so does `auto`. Those that only the request names are also
    returned separately, because the provider may have ignored them.
    """
    stated = fmt.context(body, headers) if fmt.context is not None else {}
    asked = {
        name: value
        for name, value in prices.modifiers.items()
        if value not in STANDARD.get(name, ()) and not (name == "service_tier" and "processing" in stated)
    }
    assumed = [f"{name}={value}" for name, value in asked.items() if name not in stated and name != "region"]
    return {**asked, **stated}, assumed


def estimate(
    fmt: Format, call: Call, body: Json, text_bytes: int, generated: Generated, prices: PriceLookup
) -> UsageReading:
    """The estimated usage and cost of an answer that states none, from the request and the content that arrived.

    Args:
        body: The folded events of a stream; its provisional usage counts.
        text_bytes: UTF-8 bytes of the text that was seen, reasoning and arguments of calls included.
        generated: Other generated content that was seen.
        prices: What turns usage into money.
    """
    known = provisional(body)
    if fmt.normalise is not None:
        known = fmt.normalise(known, prices.model, {})
    counted = extract(known, provider=prices.source, flavor=fmt.flavor, home=fmt.home)
    asked = -(-call.input_tokens // BYTES_PER_TOKEN)
    usage: Usage = dict(counted.usage) if counted else {"output_tokens": 0}
    usage["input_tokens"] = usage.get("input_tokens") or asked
    images = generated.images * IMAGE_TOKENS
    audio = -(-generated.audio_bytes // AUDIO_BYTES_PER_TOKEN)
    seen = -(-(text_bytes + generated.hidden_bytes) // BYTES_PER_TOKEN) + images + audio
    usage["output_tokens"] = max(usage["output_tokens"], seen)
    if images:
        usage["output_image_tokens"] = images
    if audio:
        usage["output_audio_tokens"] = audio
    model = _model_of(known)
    price = prices.price(model)
    found = units.count(fmt.name, prices.source, model or prices.model, known, call)
    usage = {**usage, **found.found}
    modifiers, _ = _modifiers(fmt, known, {}, prices)
    extracted = Extracted(usage, counted.raw if counted else {}, model)
    if price is None:
        return UsageReading(extracted, None, 0, modifiers, doubts=(f"unpriced: model {model or prices.model}",))
    charge = prices.charge(price, usage, modifiers)
    return UsageReading(
        extracted, price, charge.cost, modifiers, doubts=("estimated: the answer states no usage", *charge.doubts)
    )
