"""Parsers of option values: durations, times, money, counts, references.

Every parser raises `typer.BadParameter` with an example of what is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
NONE = "none"
"""Takes a value away."""


def utc_now() -> datetime:
    """The current time."""
    return datetime.now(UTC)


def duration(text: str) -> timedelta:
    """`30d`, `12h`, `90m`, `2w`."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write it like 30d, 12h or 90m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def moment(text: str, now: datetime, *, ahead: bool = False) -> datetime:
    """A time: an ISO date or time (UTC unless it has a zone), or a duration before `now`; after it with `ahead`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        try:
            span = duration(text)
        except typer.BadParameter:
            example = "30d (from now)" if ahead else "7d (ago)"
            raise typer.BadParameter(f"{text!r} is not a time; write it like {example} or 2026-11-23") from None
        return now + span if ahead else now - span
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def expiry(text: str) -> str | None:
    """When something ends, as the API takes it: a duration from now or a date; None for `none`."""
    return None if text.lower() == NONE else moment(text, utc_now(), ahead=True).isoformat()


def period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The times that `--since` and `--until` mean."""
    now = utc_now()
    return (moment(since, now) if since else None, moment(until, now) if until else None)


def dollars(text: str) -> str | None:
    """US dollars as a decimal string; None for `none`."""
    from pydantic import TypeAdapter, ValidationError

    from paig_client.api.fields import Usd

    if text.lower() == NONE:
        return None
    try:
        return str(TypeAdapter(Usd).validate_python(Decimal(text.strip().removeprefix("$"))))
    except (InvalidOperation, ValidationError):
        raise typer.BadParameter(f"{text!r} is not an amount of US dollars; write it like 5 or 0.05") from None


def count(text: str) -> int | None:
    """A whole number; None for `none`."""
    if text.lower() == NONE:
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a whole number")
    return int(text)


def word(text: str) -> str | None:
    """Any text; None for `none`."""
    return None if text == NONE else text


def words(texts: list[str]) -> list[str] | None:
    """A repeated option; None for a single `none`."""
    return None if texts == [NONE] else texts


def is_reference(text: str) -> bool:
    """Whether this says where a secret is, or names one that is stored already as the gateway shows it."""
    return re.match(r"(env|keyring|file):|value:<stored(:[0-9a-f]{8})?>$", text) is not None


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """What `FIELD=VALUE` options say; `none` is None, a dot in a field's name leads into a table."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not written FIELD=VALUE")
        table, (*outer, field) = found, name.strip().split(".")
        for part in outer:
            table = table.setdefault(part, {})
        table[field] = None if value == NONE else value
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the known name nearest to this one, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
