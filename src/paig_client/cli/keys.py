"""`paig keys`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.cli import caps
from paig_client.cli.caps import Daily, Monthly, RequestsPerMinute, Soft, TokensPerMinute, Total, Weekly
from paig_client.cli.commands import Commands
from paig_client.cli.completion import names
from paig_client.cli.options import (
    Json,
    Profile,
    Url,
    Yes,
    checked,
    confirm,
    connected,
    duration,
    some,
    utc_now,
)
from paig_client.cli.output import plain, print_facts, print_json, print_table, say, when

if TYPE_CHECKING:
    from paig_client.api.resources import Key, LimitStatus, NewKey

app = Commands(no_args_is_help=True, help="Keys: what clients hold, and their caps.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name or id.", autocompletion=names())]
Project = Annotated[
    str | None,
    typer.Option("--project", help="The project it belongs to.", show_default=False, autocompletion=names("projects")),
]
User = Annotated[
    str | None,
    typer.Option("--user", help="The user it belongs to.", show_default=False, autocompletion=names("users")),
]
Routes = Annotated[
    list[str] | None,
    typer.Option(
        "--route", metavar="ROUTE", help="A route it may use; repeat. Default: all.", autocompletion=names("routes")
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="A model it may use, * for any; repeat. Default: all."),
]
Expires = Annotated[str | None, typer.Option("--expires", metavar="TIME", help="How long it lasts, such as 30d.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    project: Project = None,
    user: User = None,
    daily: Daily = None,
    weekly: Weekly = None,
    monthly: Monthly = None,
    total: Total = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    soft: Soft = None,
    expires: Expires = None,
    route: Routes = None,
    model: Models = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Make a key and print it, once: only its hash is stored."""
    from paig_client.api.specs import KeySpec

    given = caps.limits(daily, weekly, monthly, total, requests_per_minute, tokens_per_minute, soft)
    fields: dict[str, object] = {"project": project, "user": user, "routes": route, "models": model}
    if expires is not None:
        fields["expires_at"] = utc_now() + duration(expires)
    if given:
        fields["limits"] = given
    spec = checked(KeySpec, {field: value for field, value in fields.items() if value is not None})
    with connected(url, profile) as admin:
        _show_once(admin.keys.create(name, spec), json)


@app.command("list")
def list_keys(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """List the keys, and how much of each cap is spent."""
    with connected(url, profile) as admin:
        keys = admin.keys.list()
        if json:
            return print_json(keys)
        found = admin.limits() if keys else []
    print_table(
        ["status", "name", "key", "project", "user", *caps.WINDOWS, "expires"],
        [_row(key, caps.of_owner(found, "key", key.name)) for key in keys],
        empty="There are no keys yet: `paig keys create NAME` makes one.",
        spare=["expires", "key", "weekly", "user", "monthly"],
    )


@app.command("show")
def show(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Show one key, and every limit that binds it."""
    with connected(url, profile) as admin:
        key = admin.keys.get(name)
        if json:
            return print_json(key)
        owners = {("key", key.name), ("project", key.project), ("user", key.user)}
        binding = [
            limit
            for limit in admin.limits()
            if limit.owner_kind == "organisation" or (limit.owner_kind, limit.owner) in owners
        ]
    print_facts(
        {
            **{"name": key.name, "id": key.id, "key": key.hint, "status": key.status},
            **{"project": key.project or "", "user": key.user or "", "expires": when(key.expires_at)},
            **{"routes": _either(key.routes), "models": _either(key.models), "created": when(key.created_at)},
        }
    )
    caps.print_limits(binding)


@app.command("update")
def update(
    name: Name,
    project: Project = None,
    user: User = None,
    daily: Daily = None,
    weekly: Weekly = None,
    monthly: Monthly = None,
    total: Total = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    soft: Soft = None,
    expires: Expires = None,
    route: Routes = None,
    model: Models = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Change what is given; 'none' takes a value away.

    What is spent stays.
    """
    changes: dict[str, object] = {
        label: None if value == "none" else value
        for label, value in (("project", project), ("user", user))
        if value is not None
    }
    changes |= {
        label: None if value == ["none"] else value for label, value in (("routes", route), ("models", model)) if value
    }
    if expires is not None:
        changes["expires_at"] = None if expires == "none" else (utc_now() + duration(expires)).isoformat()
    if given := caps.limits(daily, weekly, monthly, total, requests_per_minute, tokens_per_minute, soft):
        changes["limits"] = given
    some(changes)
    with connected(url, profile) as admin:
        key = admin.keys.update(name, changes)
    print_json(key) if json else say(f"Changed the key {key.name}.")


@app.command("rotate")
def rotate(name: Name, json: Json = False, yes: Yes = False, url: Url = None, profile: Profile = None) -> None:
    """Give a key a new secret and print it, once.

    The old one stops working at once.
    """
    confirm(f"The present secret of {name} stops working. Go on?", yes)
    with connected(url, profile) as admin:
        _show_once(admin.keys.rotate(name), json)


@app.command("disable")
def disable(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Refuse a key until it is enabled again."""
    with connected(url, profile) as admin:
        key = admin.keys.disable(name)
    print_json(key) if json else say(f"Disabled the key {key.name}.")


@app.command("enable")
def enable(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Take a disabled or blocked key again."""
    with connected(url, profile) as admin:
        key = admin.keys.enable(name)
    print_json(key) if json else say(f"Enabled the key {key.name}.")


@app.command("delete")
def delete(name: Name, yes: Yes = False, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Delete a key for good; its rows in the ledger stay."""
    confirm(f"Delete the key {name} for good?", yes)
    with connected(url, profile) as admin:
        admin.keys.delete(name)
    print_json({"deleted": name}) if json else say(f"Deleted the key {name}.")


def _show_once(made: NewKey, as_json: bool) -> None:
    if as_json:
        return print_json({"id": made.id, "name": made.name, "key": made.key})
    say(f"The key {made.name}, shown once: only its hash is stored.")
    print(plain(made.key))


def _row(key: Key, limits: Sequence[LimitStatus]) -> list[str]:
    glyph = {"active": "●", "limit-exceeded": "■"}.get(key.status, "✕")
    owners = [key.project or "", key.user or ""]
    return [f"{glyph} {key.status}", key.name, key.hint, *owners, *caps.cells(limits), when(key.expires_at)]


def _either(names: Sequence[str] | None) -> str:
    return "all" if names is None else ", ".join(names) or "none"
