"""Options that many commands share, and what people write in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from paig_client.admin import AdminClient

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The gateway's address.", show_default=False)]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="A profile of `paig login`.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@contextmanager
def connected(url: str | None = None, profile: str | None = None) -> Iterator[AdminClient]:
    """The admin API of the gateway that the options mean.

    Raises:
        CredentialError: There is no admin token for it.
        AdminError: What the API raises.
    """
    from paig_client.admin import AdminClient
    from paig_client.credentials import resolve_admin

    access = resolve_admin(url=url, profile=profile)
    with AdminClient(access.root.value, token=access.secret.value) as admin:
        yield admin


def duration(text: str) -> timedelta:
    """What `30d`, `12h`, `90m`, `2w` mean.

    Raises:
        typer.BadParameter: It is not written so.
    """
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no length of time; write it like 30d, 12h or 90m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def moment(text: str, now: datetime) -> datetime:
    """A time: `7d` ago, or an ISO date or time; without a zone it is UTC.

    Raises:
        typer.BadParameter: It is neither.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - duration(text)
        except typer.BadParameter:
            raise typer.BadParameter(f"{text!r} is no time; write it like 7d (ago), or 2026-11-23") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def dollars(text: str) -> str:
    """An amount of US dollars as an option has it, or `none`.

    Raises:
        typer.BadParameter: It is not one that a cap can have.
    """
    from pydantic import TypeAdapter, ValidationError

    from paig_client.schema import Usd

    if text.lower() == "none":
        return "none"
    try:
        return str(TypeAdapter(Usd).validate_python(Decimal(text.strip().removeprefix("$"))))
    except (InvalidOperation, ValidationError):
        raise typer.BadParameter(
            f"{text!r} is no amount of US dollars that a cap can have; write it like 5 or 0.05"
        ) from None


def count(text: str) -> str:
    """A whole number as an option has it, or `none`.

    Raises:
        typer.BadParameter: It is neither.
    """
    if text.lower() != "none" and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is no whole number")
    return text.lower()


def _cap(name: str, what: str, kind: str = "USD") -> typer.models.OptionInfo:
    parser = dollars if kind == "USD" else count
    option: typer.models.OptionInfo = typer.Option(
        name, metavar=kind, help=what, parser=parser, show_default=False, rich_help_panel="Limits"
    )
    return option


Daily = Annotated[str | None, _cap("--daily", "Cap on a UTC day; 'none' lifts it.")]
Weekly = Annotated[str | None, _cap("--weekly", "Cap on a week, Monday to Sunday.")]
Monthly = Annotated[str | None, _cap("--monthly", "Cap on a calendar month.")]
Total = Annotated[str | None, _cap("--total", "Cap for good.")]
RequestsPerMinute = Annotated[str | None, _cap("--requests-per-minute", "Rate of requests.", "N")]
TokensPerMinute = Annotated[str | None, _cap("--tokens-per-minute", "Rate of tokens.", "N")]


def limits(
    daily: str | None,
    weekly: str | None,
    monthly: str | None,
    total: str | None,
    requests_per_minute: str | None,
    tokens_per_minute: str | None,
) -> dict[str, str | int | None]:
    """The limits that were given, as the admin API takes them: None lifts a limit."""
    caps = {"daily": daily, "weekly": weekly, "monthly": monthly, "total": total}
    rates = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
    given: dict[str, str | int | None] = {name: value for name, value in caps.items() if value}
    given |= {name: value if value == "none" else int(value) for name, value in rates.items() if value}
    return {name: None if value == "none" else value for name, value in given.items()}


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def secret_input(prompt: str) -> str:
    """A secret, asked for without echo, or read from standard input where that is no terminal.

    Raises:
        typer.BadParameter: Nothing came.
    """
    if sys.stdin.isatty():
        import getpass

        text = getpass.getpass(f"{prompt}: ")
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise typer.BadParameter(f"{prompt}: nothing was given")
    return text.strip()


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone; without a terminal, only `--yes` goes on.

    Raises:
        typer.Exit: The answer was no.
        typer.BadParameter: There is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask at; add --yes")
    if not typer.confirm(question, default=False):
        raise typer.Exit(1)
