"""The types of the fields that specs are made of, and the base of all specs."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of providers and routes: they stand in URLs."""


class Spec(BaseModel):
    """Something that a person writes: every field is checked, an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def amount(value: object) -> Decimal:
    """A number as a person writes it, without the errors of binary fractions.

    Raises:
        ValueError: It is not a number.
    """
    if not isinstance(value, bool) and isinstance(value, (str, int, float, Decimal)):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            pass
    raise ValueError("must be an amount of US dollars, such as 5 or '0.05'")


def _in_range(value: Decimal) -> Decimal:
    if not value.is_finite() or value < 0 or value > 1_000_000_000:
        raise ValueError("must be zero or more, and at most a billion dollars")
    if value != round(value, 9):
        raise ValueError("is finer than a nanodollar (nine decimal places)")
    return value


Usd = Annotated[Decimal, BeforeValidator(amount), AfterValidator(_in_range)]
"""US dollars: a decimal string on the wire, a number in a configuration file."""


def _digits(value: Decimal) -> str:
    return f"{value:f}"


Money = Annotated[
    Decimal,
    PlainSerializer(_digits, when_used="json"),
    WithJsonSchema({"type": "string"}),
]
"""An amount that the gateway answers, in US dollars (or a count, where a limit counts): a plain decimal string on the
wire, every digit kept, never with an exponent."""


def _plain(value: object) -> object:
    """A number of a configuration file, which is read as a decimal, as a float."""
    return float(value) if isinstance(value, (Decimal, int)) and not isinstance(value, bool) else value


Number = Annotated[float, BeforeValidator(_plain), Field(allow_inf_nan=False)]
"""A number with or without a fraction."""
Share = Annotated[Number, Field(gt=0, le=1)]
"""A part of a whole."""
Seconds = Annotated[Number, Field(gt=0, le=86_400)]
"""A span of time: more than none, a day at most."""


def _reference(value: str) -> str:
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|keyring:.+/.+|file:.+", value):
        raise ValueError("must say where the secret is: write env:NAME, keyring:SERVICE/USER or file:PATH")
    return value


SecretReference = Annotated[str, AfterValidator(_reference)]
"""Where a secret is kept; never the secret itself."""


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a valid regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression."""


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None


Network = Annotated[str, AfterValidator(_network)]
"""An IP address or a network, in one spelling."""


def _is_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone, such as Europe/Berlin or UTC") from None
    return value


TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_is_zone)]
"""The IANA name of a time zone."""
