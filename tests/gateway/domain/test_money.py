from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paig_gateway.domain.money import MAX_NANODOLLARS, format_usd, nanodollars, nanodollars_ceiling, parse_usd


@given(st.integers(min_value=0, max_value=MAX_NANODOLLARS // 2))
def test_format_and_parse_are_inverse(nano: int) -> None:
    """Every amount survives its own decimal string, which never has an exponent or a trailing zero."""
    text = format_usd(nano)
    assert parse_usd(text) == nano
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith(("0", ".")))


@given(st.decimals(min_value=0, max_value=1000, places=12))
def test_ceiling_is_never_below_the_charge(usd: Decimal) -> None:
    """What is reserved covers what is charged, within the nanodollar that rounding may take."""
    assert nanodollars(usd) <= nanodollars_ceiling(usd) <= nanodollars(usd) + 1


@pytest.mark.parametrize("bad", ["", "abc", "-1", "nan", "inf", "1e30", "0.0000000001", None, True])
def test_bad_amounts_are_refused(bad: object) -> None:
    """What is no amount of dollars is a ValueError that repeats what was written."""
    with pytest.raises(ValueError, match="is"):
        parse_usd(bad)  # type: ignore[arg-type]


def test_floats_mean_the_decimal_they_print_as() -> None:
    """A TOML number such as 0.1 is ten cents, not the nearest binary fraction."""
    assert parse_usd(0.1) == 100_000_000
    assert format_usd(3_800_000) == "0.0038"
    assert format_usd(-1) == "-0.000000001"
    assert format_usd(12_000_000_000) == "12"
