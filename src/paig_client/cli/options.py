"""Shared options of commands, the connection that they select, and questions to the user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from paig_client.cli.completion import names, profiles
from paig_client.cli.output import PrintedTable, print_json, say, show
from paig_client.cli.values import did_you_mean, is_reference, period

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.fields import Spec
    from paig_client.credentials import Access

SpecT = TypeVar("SpecT", bound="Spec")


def text_option(name: str, what: str, metavar: str = "", **more: Any) -> Any:
    """An option that takes a text and shows no default."""
    return typer.Option(name, help=what, show_default=False, metavar=metavar or None, **more)


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Url = Annotated[str | None, text_option("--url", "The gateway's address.", "URL")]
Profile = Annotated[str | None, text_option("--profile", "A profile of `paig login`.", "NAME", autocompletion=profiles)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Sort = Annotated[str | None, text_option("--sort", "Sort by this column; -COLUMN for the largest first.", "COLUMN")]
Since = Annotated[str | None, text_option("--since", "From this time: 7d (ago), 2026-11-23, …", "TIME")]
Until = Annotated[str | None, text_option("--until", "Before this time.", "TIME")]
Lines = Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, max=1000, help="The most lines to show.")]
Key = Annotated[str | None, text_option("--key", "Only this key.", autocompletion=names("keys"))]
Project = Annotated[str | None, text_option("--project", "Only this project.", autocompletion=names("projects"))]
User = Annotated[str | None, text_option("--user", "Only this user.", autocompletion=names("users"))]
Model = Annotated[str | None, text_option("--model", "Only this model.")]
Provider = Annotated[str | None, text_option("--provider", "Only this provider.", autocompletion=names("providers"))]
Route = Annotated[str | None, text_option("--route", "Only this route.", autocompletion=names("routes"))]


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The options of every command that lists."""

    json: JsonOption = False
    csv: Csv = False
    sort: Sort = None
    url: Url = None
    profile: Profile = None

    def connected(self) -> AbstractContextManager[AdminClient]:
        """The admin API of the gateway that the options name; see `connected`."""
        return connected(self.url, self.profile)

    def print(self, found: object, table: Callable[[], PrintedTable]) -> None:
        """Print what was found as JSON, or else the table of it."""
        print_json(found) if self.json else show(table(), csv=self.csv, sort=self.sort)


@dataclass(frozen=True, slots=True)
class Filters:
    """The options of every command that reads requests."""

    since: Since = None
    until: Until = None
    key: Key = None
    project: Project = None
    user: User = None
    model: Model = None

    def period(self) -> tuple[datetime | None, datetime | None]:
        """The times of --since and --until."""
        return period(self.since, self.until)

    def only(self) -> dict[str, Any]:
        """The value that each field must have; None for any."""
        return {"key": self.key, "project": self.project, "user": self.user, "model": self.model}


@dataclass(frozen=True, slots=True)
class RequestFilters(Filters):
    """The same, and where requests went."""

    provider: Provider = None
    route: Route = None

    def only(self) -> dict[str, Any]:
        """The value that each field must have; None for any."""
        return {**Filters.only(self), "provider": self.provider, "route": self.route}


@contextmanager
def connected(url: str | None = None, profile: str | None = None) -> Iterator[AdminClient]:
    """The admin API of the gateway that the options name.

    Raises:
        CredentialError: There is no admin token for it, or the token must not be sent there.
        AdminError: What the API raises.
    """
    from paig_client.admin import AdminClient
    from paig_client.tls import verification

    access = admin_access(url, profile)
    root = access.root.value
    with AdminClient(root, token=access.secret.value, verify=verification(root)) as admin:
        yield admin


@contextmanager
def holding_key(url: str | None = None, profile: str | None = None) -> Iterator[AdminClient]:
    """The gateway that the options name, with a gateway key in place of an admin token.

    Raises:
        CredentialError: There is no key for it.
        AdminError: What the API raises.
    """
    from paig_client.admin import AdminClient
    from paig_client.credentials import CredentialError, find_key, find_root
    from paig_client.tls import verification

    root = find_root(url, profile).value
    key = find_key(root, None, profile)
    if key is None:
        raise CredentialError(f"There is no key for the gateway at {root}: run `paig login {root}`.")
    with AdminClient(root, token=key.value, verify=verification(root)) as client:
        yield client


def has_key_alone(url: str | None = None, profile: str | None = None) -> bool:
    """Whether there is a key for the gateway that the options name, and no admin token."""
    from paig_client.credentials import find_admin_token, find_key, find_root

    root = find_root(url, profile).value
    return find_admin_token(root) is None and find_key(root, None, profile) is not None


def admin_access(url: str | None = None, profile: str | None = None) -> Access:
    """The gateway that the options name, and the admin token for it, once it is known that the token may go there.

    Raises:
        CredentialError: There is no admin token for it, or the token must not be sent there.
    """
    from paig_client.credentials import resolve_admin
    from paig_client.own_gateway import UnencryptedError, check

    access = resolve_admin(url=url, profile=profile)
    try:
        check(access)
    except UnencryptedError as error:
        if not sys.stdin.isatty():
            raise
        say(str(error))
        if not typer.confirm("Send the token all the same?", default=False):
            raise typer.Exit(1) from None
    return access


@contextmanager
def suggesting(name: str, known: Callable[[], list[str]]) -> Iterator[None]:
    """If nothing has that name, suggest a similar one.

    Raises:
        NotFound: Nothing has that name.
    """
    from paig_client.admin_errors import AdminError, NotFound

    try:
        yield
    except NotFound as error:
        try:
            hint = did_you_mean(name, known())
        except AdminError:  # a list that may not be read has no suggestions
            hint = ""
        if not hint:
            raise
        problem = error.problem.model_copy(update={"detail": (error.problem.detail or error.problem.title) + hint})
        raise NotFound(problem, error.fields) from None


def checked(spec: type[SpecT], fields: Mapping[str, Any]) -> SpecT:
    """A Spec of these fields.

    Raises:
        typer.BadParameter: A field is not valid; names the first that is not.
    """
    from pydantic import ValidationError

    try:
        return spec.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = sorted(spec.model_fields)
            message = f"there is no such setting.{did_you_mean(where, known)} Settings: {', '.join(known)}"
        raise typer.BadParameter(f"{where}: {message}") from None


def reference(text: str) -> str:
    """A credential as the gateway takes it: a reference, or `-` for a secret that is asked for or read from stdin.

    Raises:
        typer.BadParameter: It is neither. A secret on the command line would be in the shell's history.
    """
    if text == "-":
        return f"value:{secret_input('Credential')}"
    if not is_reference(text):
        raise typer.BadParameter("write env:NAME, keyring:SERVICE/USER or file:PATH; or - to be asked for the secret")
    return text


def some(changes: Mapping[str, Any]) -> None:
    """Refuse an update that changes nothing.

    Raises:
        typer.BadParameter: There are no changes.
    """
    if not changes:
        raise typer.BadParameter("name at least one thing to change")


def text_of(file: Path) -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        typer.BadParameter: It cannot be read.
    """
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise typer.BadParameter(f"cannot read {file}: {why}") from None


def secret_input(prompt: str) -> str:
    """A secret, asked for without echo, or read from standard input where that is not a terminal.

    Raises:
        typer.BadParameter: Nothing was given.
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
        typer.BadParameter: There is no terminal to ask at.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask at; add --yes")
    if not typer.confirm(question, default=False):
        raise typer.Exit(1)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Name the extra to install if a library is missing.

    Raises:
        typer.Exit: A library is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "paig").startswith("paig"):
            raise
        say(f'paig: this needs {error.name}, which is not installed: pip install "paig[{name}]"')
        raise typer.Exit(1) from None
