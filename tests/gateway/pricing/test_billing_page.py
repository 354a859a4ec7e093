"""The page on billing is in step with the tables that the code bills by."""

from __future__ import annotations

import runpy
from pathlib import Path

from paig_gateway.pricing.overrides import rate_problems
from paig_gateway.pricing.rates import RATES
from paig_gateway.pricing.units import UNITS

SCRIPT = Path(__file__).parents[3] / "scripts" / "billing_page.py"


def test_the_page_is_in_step() -> None:
    assert runpy.run_path(str(SCRIPT))["main"](["--check"]) == 0, "run python scripts/billing_page.py"


def test_every_price_is_of_a_unit() -> None:
    """No price is of a unit that nothing counts, and each unit can be priced by the operator."""
    names = {unit.name for unit in UNITS}
    assert {rate.unit for rate in RATES} <= names
    for name in names:
        assert list(rate_problems({f"{name}_each": RATES[0].usd})) == []
