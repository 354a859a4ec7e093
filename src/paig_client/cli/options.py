"""Options that many commands share, and what people write in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from paig_client.cli.completion import profile_names
from paig_client.cli.output import say

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.fields import Spec

SpecT = TypeVar("SpecT", bound="Spec")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The gateway's address.", show_default=False)]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="A profile of `paig login`.", autocompletion=profile_names),
]
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
    from paig_client.tls import verification

    access = resolve_admin(url=url, profile=profile)
    root = access.root.value
    with AdminClient(root, token=access.secret.value, verify=verification(root)) as admin:
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


def checked(spec: type[SpecT], fields: dict[str, Any]) -> SpecT:
    """A Spec of these fields.

    Raises:
        typer.BadParameter: They make none; names the first that is wrong.
    """
    from pydantic import ValidationError

    try:
        return spec.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"there is no such setting; those there are: {', '.join(sorted(spec.model_fields))}"
        raise typer.BadParameter(f"{where}: {message}") from None


def reference(text: str) -> str:
    """A credential as the gateway takes it: a reference, or `-` for a secret that is asked for or read from stdin.

    One that is stored already may be named as it is shown.

    Raises:
        typer.BadParameter: It is neither; a secret on the command line is in the shell's history by now.
    """
    if text == "-":
        return f"value:{secret_input('Credential')}"
    if not re.match(r"(env|keyring|file):|value:<stored(:[0-9a-f]{8})?>$", text):
        raise typer.BadParameter("write env:NAME, keyring:SERVICE/USER or file:PATH; or - to be asked for the secret")
    return text


def assignments(texts: list[str] | None) -> dict[str, Any]:
    """What `FIELD=VALUE` options say; `none` for a value is None, a dot in a field's name goes into a table.

    Raises:
        typer.BadParameter: One has no `=`.
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not written FIELD=VALUE")
        table, (*outer, field) = found, name.strip().split(".")
        for part in outer:
            table = table.setdefault(part, {})
        table[field] = None if value == "none" else value
    return found


def some(changes: dict[str, Any]) -> None:
    """Refuse a change of nothing.

    Raises:
        typer.BadParameter: There are no changes.
    """
    if not changes:
        raise typer.BadParameter("nothing to change was given")


def text_of(file: Path) -> str:
    """What stands in a file, or in standard input for `-`.

    Raises:
        typer.BadParameter: It cannot be read.
    """
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise typer.BadParameter(f"{file} cannot be read: {why}") from None


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


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where a library is missing.

    Raises:
        typer.Exit: One is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "paig").startswith("paig"):
            raise
        say(f'paig: this needs {error.name}, which is not installed: pip install "paig[{name}]"')
        raise typer.Exit(1) from None
