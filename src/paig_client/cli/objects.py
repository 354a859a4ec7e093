"""The groups of commands for objects: what the table of kinds gives, and the verbs that one kind alone has."""

from __future__ import annotations

import json as jsons
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.api.specs import OrganisationSpec, TokenSpec
from paig_client.cli import kinds
from paig_client.cli.commands import PaigTyper
from paig_client.cli.completion import names
from paig_client.cli.limits import of_owner, print_limits
from paig_client.cli.options import (
    JsonOption,
    ListOptions,
    Profile,
    Url,
    Yes,
    checked,
    confirm,
    connected,
    some,
    suggesting,
    text_option,
)
from paig_client.cli.output import Cell, PrintedTable, ahead, milliseconds, plain, print_facts, print_json, say, when
from paig_client.cli.resources import Name, NewName, commands, warn, with_options
from paig_client.cli.spec_options import Special, options_of, read, without_nones
from paig_client.cli.values import duration, words

if TYPE_CHECKING:
    from paig_client.api.resources import CredentialHealth, ProviderHealth, TryFigures
    from paig_client.api.vocabulary import BreakerState

keys = commands(kinds.KEYS)
projects = commands(kinds.PROJECTS)
users = commands(kinds.USERS)
providers = commands(kinds.PROVIDERS)
routes = commands(kinds.ROUTES)
prices = commands(kinds.PRICES)
admins = commands(kinds.ADMINS)
tokens = PaigTyper(no_args_is_help=True, help="Tokens of admins and their programs.")
organisation = PaigTyper(no_args_is_help=True, help="The caps on the whole gateway.")


@keys.command("rotate", example="paig keys rotate ci --overlap 24h")
def rotate(
    name: Name,
    overlap: Annotated[
        str | None,
        text_option("--overlap", "How long the old secret still works: 24h, 7d.", "TIME"),
    ] = None,
    json: JsonOption = False,
    yes: Yes = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Give a key a new secret and print it, once.

    The old one stops working at once, or after the overlap.
    """
    span = duration(overlap) if overlap else None
    if span is None:
        confirm(f"The current secret of {name} stops working. Go on?", yes)
    with connected(url, profile) as admin, suggesting(name, kinds.KEYS.known(admin)):
        made = admin.keys.rotate(name, overlap=span)
    if overlap:
        say(f"The old key of {name} works for {overlap} more.")
    kinds.show_once(made, json)


def _switch(verb: str, done: str, help: str) -> None:
    """Make the command that switches a key."""

    def switch(name: Name, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
        with connected(url, profile) as admin, suggesting(name, kinds.KEYS.known(admin)):
            key = getattr(admin.keys, verb)(name)
        print_json(key) if json else say(f"{done} the key {key.name}.")

    keys.command(verb, example=f"paig keys {verb} ci", help=help)(switch)


_switch("disable", "Disabled", "Refuse a key until it is enabled again.")
_switch(
    "block",
    "Blocked",
    "Refuse a key until an administrator of all projects enables it.\n\n"
    "An administrator of the key's project alone cannot undo this, unlike `paig keys disable`.",
)
_switch("enable", "Enabled", "Accept a disabled or blocked key again.")


@providers.command("test", example="paig providers test openai")
def try_provider(name: Name, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Try a provider, and say what is wrong.

    The gateway sends it a small free request.
    """
    with connected(url, profile) as admin, suggesting(name, kinds.PROVIDERS.known(admin)):
        found = admin.providers.test(name)
    if json:
        print_json(found)
    else:
        facts = {"provider": found.provider, "asked": found.request, "status": str(found.status or "")}
        facts |= {"models": str(found.models or ""), "took": milliseconds(found.ms)}
        print_facts({"result": f"{'●' if found.ok else '✕'} {found.outcome}", **facts})
        say(found.message)
    if not found.ok:
        raise typer.Exit(1)


@providers.command("health", example="paig providers health")
def show_health(
    listing: ListOptions,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this provider.", autocompletion=names())
    ] = None,
) -> None:
    """Show which providers work.

    Their circuit breakers on all nodes, and the tries of the last five minutes.
    """
    with listing.connected() as admin, suggesting(name or "", kinds.PROVIDERS.known(admin)):
        only = admin.providers.get(name).name if name else None
        found = [one for one in admin.providers.health() if only in (None, one.provider)]
    spare = ("tries", "credential")
    listing.print(
        found, lambda: PrintedTable(HEALTH, list(rows(found)), kinds.NO_PROVIDERS, right=FIGURES, spare=spare)
    )


HEALTH = ("provider", "credential", "state", "5m ok", "p95", "429s", "tries", "note")
FIGURES = ("5m ok", "p95", "429s", "tries")
_MARKS: dict[BreakerState, str] = {"closed": "●", "half-open": "◐", "cooling": "■", "open": "✕"}


def rows(found: Iterable[ProviderHealth]) -> Iterator[list[str]]:
    """A row for each provider, and below it, where it has several credentials, one for each of them."""
    for provider in found:
        name, state = provider.provider, provider.state
        if provider.problem is not None and not provider.credentials:
            yield [name, "", "✕ unusable", *_figures(provider), provider.problem]
            continue
        if len(provider.credentials) == 1:
            [only] = provider.credentials
            note = " ".join(part for part in (_note(only), provider.problem) if part)
            yield [name, "", _state(state), *_figures(only), note]
            continue
        yield [name, "", _state(state), *_figures(provider), provider.problem or ""]
        for one in provider.credentials:
            yield ["", one.credential, _state(one.state), *_figures(one), _note(one)]


def _state(state: BreakerState) -> str:
    return f"{_MARKS[state]} {state}"


def _figures(figures: TryFigures) -> list[str]:
    if not figures.tries:
        return ["–", "–", "0", "0"]
    share = Cell("–" if figures.ok_share is None else f"{figures.ok_share:.1%}", figures.ok_share)
    p95 = figures.p95_ms
    short = Cell(f"{p95 / 1000:.1f}s", p95) if p95 is not None and p95 >= 1000 else milliseconds(p95)
    return [share, short, str(figures.throttled), str(figures.tries)]


def _note(health: CredentialHealth) -> str:
    """Why it is in its state, until when, and on how many nodes where not on all."""
    if health.waits:
        return ", ".join(f"{wait.model}: {wait.reason}, {ahead(wait.until)}" for wait in health.waits)
    if health.state == "closed":
        return ""
    alike = sum(node.state == health.state for node in health.nodes)
    where = f"{alike} of {len(health.nodes)} nodes" if alike < len(health.nodes) else ""
    return ", ".join(part for part in (health.reason, ahead(health.until), where) if part)


_TOKEN = {
    "admin": Special(("--admin",), "Whose it is. Default: yours.", metavar="NAME", complete="admins"),
    "scopes": Special(
        ("--scope",), "Such as keys:write; repeat. Default: all of the admin's.", words, "PERMISSION", list[str]
    ),
}
_TOKEN_OPTIONS = options_of(TokenSpec, _TOKEN, None, making=True)


def create_token(
    name: NewName, json: JsonOption = False, url: Url = None, profile: Profile = None, **given: object
) -> None:
    """Create an admin token; it is printed once."""
    spec = checked(TokenSpec, without_nones(read(_TOKEN_OPTIONS, given)))
    with connected(url, profile) as admin:
        made = admin.tokens.create(name, spec)
    if json:
        return print_json(made)
    say(f"The token {made.name} ({made.id}), shown only now:")
    print(plain(made.token))


tokens.command("create", example="paig tokens create laptop --expires 30d")(with_options(create_token, _TOKEN_OPTIONS))


@tokens.command("list", example="paig tokens list")
def list_tokens(listing: ListOptions) -> None:
    """List your tokens, or all tokens if your role allows it."""
    with listing.connected() as admin:
        found = admin.tokens.list()
    listed = [
        [
            *(item.id, item.admin, item.name, f"{item.hint}…", ", ".join(item.scopes or ["all"])),
            Cell(when(item.expires_at) or "never", item.expires_at),
        ]
        for item in found
    ]
    columns = ["id", "admin", "name", "token", "scopes", "ends"]
    listing.print(found, lambda: PrintedTable(columns, listed, "There are no tokens."))


@tokens.command("revoke", example="paig tokens revoke 01J…")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.", autocompletion=names())],
    yes: Yes = False,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Revoke a token: every node refuses it within a second."""
    confirm(f"Revoke {token}?", yes)
    with connected(url, profile) as admin, suggesting(token, lambda: [one.id for one in admin.tokens.list()]):
        admin.tokens.revoke(token)
    print_json({"revoked": token}) if json else say(f"Revoked the token {token}.")


@organisation.command("show", example="paig organisation show")
def show_organisation(json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Show the limits on everything, and how much of each is used."""
    with connected(url, profile) as admin:
        found = of_owner(admin.limits(), "organisation", "organisation")
        if json:
            return print_json({**jsons.loads(admin.organisation().model_dump_json()), "balances": found})
    if not found:
        return say("The gateway as a whole has no limit: `paig organisation update --daily USD` sets one.")
    print_limits(found)


# A table of routes by model is written in paig.toml.
_ORGANISATION = tuple(name for name in OrganisationSpec.model_fields if name != "models")
_ORGANISATION_OPTIONS = options_of(OrganisationSpec, {}, _ORGANISATION, making=False)


def update_organisation(json: JsonOption = False, url: Url = None, profile: Profile = None, **given: object) -> None:
    """Change limits; 'none' lifts one.

    What is spent stays.
    """
    changes = read(_ORGANISATION_OPTIONS, given)
    some(changes)
    with connected(url, profile) as admin:
        item = admin.update_organisation(changes)
    warn(item)
    print_json(item) if json else say("Changed the organisation's limits.")


organisation.command("update", example="paig organisation update --daily 100")(
    with_options(update_organisation, _ORGANISATION_OPTIONS)
)
