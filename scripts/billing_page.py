"""Write the tables of docs/billing.md from the tables that the code bills by.

Run as `python scripts/billing_page.py` to rewrite the page, or with `--check` to exit with 1 where it is out of step.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from genai_prices.data_snapshot import get_snapshot

from paig_gateway.formats.base import Format
from paig_gateway.formats.registry import FORMATS
from paig_gateway.pricing.derived_rates import CACHED_SHARES, LONG_CONTEXTS, VARIANTS
from paig_gateway.pricing.extra_models import EXTRA_MODELS, EXTRA_RATES, REPLACED_RATES, listed_prices
from paig_gateway.pricing.formula import UNITS as BOOK_UNITS
from paig_gateway.pricing.modifiers import FACTORS
from paig_gateway.pricing.provider_charge import CHARGES
from paig_gateway.pricing.rates import RATES
from paig_gateway.pricing.units import UNITS
from paig_gateway.providers.kinds import KINDS, ProviderKind

PAGE = Path(__file__).parent.parent / "docs" / "billing.md"
START, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    names = [name.strip() for name in head.split("|")]
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def pattern(found: re.Pattern[str]) -> str:
    """A pattern as code; every model where it matches all."""
    return f"`{found.pattern}`" if found.pattern else "all"


def metered() -> dict[str, list[Format]]:
    """The metered formats by the shape of their errors, which tells who speaks them."""
    found: dict[str, list[Format]] = {}
    for fmt in FORMATS:
        if fmt.metered and fmt.name not in [one.name for one in found.get(fmt.errors, [])]:
            found.setdefault(fmt.errors, []).append(fmt)
    return found


def formats_of(kind: ProviderKind) -> list[str]:
    """The metered formats that a kind of provider is asked in."""
    names = [fmt.name for shape in sorted(kind.speaks) for fmt in metered().get(shape, [])]
    return [*names, *(name for name in kind.adapters if name not in names)]


def in_book(source: str) -> set[str]:
    """The units that the price book prices for some model of a source."""
    models = [model for one in get_snapshot().providers if one.id == source for model in one.models]
    at = datetime(2026, 11, 30, tzinfo=UTC)
    return {BOOK_UNITS[name].usage_key for model in models for name in vars(model.get_prices(at)) if name in BOOK_UNITS}


def audit() -> Iterator[list[str]]:
    """One row for each kind of provider and the formats that are billed alike there."""
    for kind in KINDS.values():
        source = kind.price_provider or ""
        known = in_book(source) | {rate.unit for rate in RATES if rate.sources.fullmatch(source)}
        alike: dict[tuple[str, str], list[str]] = {}
        for name in formats_of(kind):
            units = [unit for unit in UNITS if name in unit.formats and (not unit.sources or source in unit.sources)]
            priced = ", ".join(f"`{unit}`" for unit in sorted({unit.name for unit in units} & known))
            unsure = ", ".join(f"`{unit}`" for unit in sorted({unit.name for unit in units if not unit.complete}))
            alike.setdefault((priced or "–", unsure or "–"), []).append(name)
        charge = "its own charge" if kind.name in CHARGES else f"`{source}`" if source else "`[prices]` alone"
        for (priced, unsure), names in alike.items():
            formats = ", ".join(f"`{name}`" for name in names)
            yield [f"`{kind.name}`", formats, charge, priced, unsure, "ceiling" if kind.reports_usage else "estimate"]


def rules() -> Iterator[list[str]]:
    """One row for each rule by which a rate follows from others, or from what the answer says."""
    for tier in LONG_CONTEXTS:
        factors = f"input times {tier.input_factor}, output times {tier.output_factor}"
        said = f"above {tier.above:,} input tokens: {factors}"
        yield [f"`{tier.source}`", pattern(tier.models), said, tier.origin]
    for share in CACHED_SHARES:
        yield [f"`{share.source}`", pattern(share.models), f"cached tokens cost {share.share} of input", share.origin]
    for row in VARIANTS:
        rates = ", ".join(f"`{name}` {usd}" for name, usd in row.rates.items())
        yield [f"`{row.source}`", pattern(row.models), f"`{row.name}` {row.value}: {rates}", row.origin]


def tables() -> str:
    """All tables of the page."""
    parts = [
        "## Each provider and format\n",
        "Tokens are always counted, and so is every unit of the next table. `Units with a price` are those that the "
        "price book or our own table prices for the provider. Any other unit makes the row `estimated`, unless "
        "`[prices]` has a rate for it. So does every unit under `not all stated`, because answers do not state all of "
        "it. `Without usage` says how a complete answer without usage is charged.\n",
        table("provider | formats | tokens priced by | units with a price | not all stated | without usage", audit()),
        "## Where units are stated\n",
        table(
            "unit | formats | where it is in the answer | models | providers",
            (
                [
                    f"`{unit.name}`",
                    ", ".join(f"`{name}`" for name in sorted(unit.formats)),
                    unit.where,
                    pattern(unit.models) if unit.models else "all",
                    ", ".join(f"`{name}`" for name in sorted(unit.sources)) or "all",
                ]
                for unit in UNITS
            ),
        ),
        "## Prices of units\n",
        "Used if neither `[prices]` nor the price book has a rate for the model.\n",
        table(
            "unit | price source | models | US dollars for one | origin",
            (
                [f"`{rate.unit}`", f"`{rate.sources.pattern}`", pattern(rate.models), str(rate.usd), rate.origin]
                for rate in RATES
            ),
        ),
        "## Modifiers\n",
        "For modifiers that the price book has no variant for. Tokens cost `factor` times as much; a factor that "
        "differs between models makes the row `estimated`.\n",
        table(
            "modifier | value | price source | models | factor | cached tokens | exact | origin",
            (
                [
                    f"`{row.name}`",
                    f"`{row.values.pattern}`",
                    f"`{row.sources.pattern}`",
                    pattern(row.models),
                    str(row.factor),
                    "not" if row.uncached else "too",
                    "yes" if row.precise else "no",
                    row.origin,
                ]
                for row in FACTORS
            ),
        ),
        "## Rates by rule\n",
        "Rates that the price book leaves out for models that it has.\n",
        table("price source | models | rule | origin", rules()),
        "## Charges that providers state\n",
        table("provider | where", ([f"`{name}`", rule.where] for name, rule in CHARGES.items())),
        "## Models and rates that the price book lacks\n",
        table(
            "price source | models | rates in US dollars | origin",
            (
                [
                    f"`{row.source}`",
                    pattern(row.models),
                    ", ".join(f"`{name}` {usd}" for name, usd in row.rates.items()),
                    row.origin,
                ]
                for row in (*EXTRA_MODELS, *EXTRA_RATES, *REPLACED_RATES)
            ),
        ),
        "## Listed prices\n",
        "Models that neither the price book nor the table above has are priced from the price list of LiteLLM 1.110.2 "
        "(2026-11), which others maintain. A model is taken only if that list names the provider's own page for it "
        "(of Novita and Bedrock it names none) and one price for all tokens of a kind; rows that contradict the "
        "price book are left out. "
        "`listed_prices.json` (in `src/paig_gateway/pricing`) has the prices, per million tokens, and the pages. "
        "A cost at such a price is `exact` if the usage is: the certainty says how the usage is known, not how old a "
        "price is. "
        "A price in `[prices]` takes its place.\n",
        table(
            "price source | models",
            ([f"`{source}`", str(len(models))] for source, models in listed_prices().items()),
        ),
    ]
    return "\n".join(parts)


def main(argv: list[str]) -> int:
    """Rewrite or check the page."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    new = f"{before}{START}\n\n{tables()}\n{END}{after}"
    if "--check" in argv:
        return int(new != text)
    PAGE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
