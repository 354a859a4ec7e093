"""Money: whole nanodollars inside, decimal strings outside.

One nanodollar is 1e-9 US dollars; a token of the cheapest priced model costs at least one.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, InvalidOperation

NANO = 1_000_000_000
_ONE = Decimal(1)
MAX_NANODOLLARS = 2**62
"""No amount may exceed this, so that sums of two still fit a signed 64-bit column."""


def nanodollars(usd: Decimal) -> int:
    """Dollars to whole nanodollars, halves up: how a finished request is charged."""
    return int((usd * NANO).quantize(_ONE, rounding=ROUND_HALF_UP))


def nanodollars_ceiling(usd: Decimal) -> int:
    """Dollars to whole nanodollars, always up: how a worst case is reserved."""
    return int((usd * NANO).quantize(_ONE, rounding=ROUND_CEILING))


def parse_usd(value: str | int | float | Decimal) -> int:
    """Read an amount that a person wrote.

    Args:
        value: US dollars; a float means the decimal that it prints as.

    Returns:
        Nanodollars.

    Raises:
        ValueError: Not a finite number, negative, too large, or finer than a nanodollar.
    """
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not an amount of US dollars") from None
    if not usd.is_finite() or usd < 0:
        raise ValueError(f"{value!r} is not an amount of US dollars: it must be zero or more")
    if usd > MAX_NANODOLLARS // NANO:
        raise ValueError(f"{value!r} is too large an amount")
    nano = usd * NANO
    if nano != nano.to_integral_value():
        raise ValueError(f"{value!r} is finer than a nanodollar (nine decimal places)")
    return int(nano)


def dollars(nano: int) -> Decimal:
    """Nanodollars as dollars, with the digits of `format_usd`."""
    return Decimal(format_usd(nano))


def format_usd(nano: int) -> str:
    """Nanodollars as a plain decimal string of dollars: `"0.0038"`, `"12"`, never an exponent."""
    sign = "-" if nano < 0 else ""
    whole, part = divmod(abs(nano), NANO)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"
