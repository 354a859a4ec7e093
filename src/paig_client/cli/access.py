"""`paig admins`, `paig tokens` and `paig audit`: who may administer the gateway, and who did what."""

from __future__ import annotations

import json as jsons
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    moment,
    some,
    utc_now,
)
from paig_client.cli.output import narrow, print_facts, print_json, print_table, say, when

if TYPE_CHECKING:
    from paig_client.api.resources import Admin, AuditEntry, Token
    from paig_client.api.specs import GrantSpec

admins = Commands(no_args_is_help=True, help="Admins: who may administer the gateway, or projects of it.")
tokens = Commands(no_args_is_help=True, help="Admin tokens: what admins and their programs hold.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The admin's name or id.", autocompletion=names())]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE[@PROJECT]", help="owner, admin, editor or viewer; repeat."),
]
PAGE = 1000


def grants(texts: list[str] | None) -> list[dict[str, Any]]:
    """What `--role` options say: `viewer`, or `editor@research`."""
    return [
        {"role": role, "project": project or None} for role, _, project in (text.partition("@") for text in texts or ())
    ]


def shown(found: Sequence[GrantSpec]) -> str:
    """Grants as `--role` takes them."""
    return ", ".join(f"{grant.role}@{grant.project}" if grant.project else grant.role for grant in found)


@admins.command("create")
def create_admin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call them.")],
    role: Roles = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Make an admin; `paig tokens create` gives them a token."""
    from paig_client.api.specs import AdminSpec

    spec = checked(AdminSpec, {"grants": grants(role)})
    with connected(url, profile) as admin:
        made = admin.admins.create(name, spec)
    _show(made, json)


@admins.command("list")
def list_admins(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """List admins and their roles."""
    with connected(url, profile) as admin:
        found = admin.admins.list()
    if json:
        return print_json(found)
    rows = [(item.name, shown(item.grants), "sso" if item.sso else "", _state(item)) for item in found]
    print_table(["name", "roles", "", "state"], rows, empty="There are no admins but the gateway's own token.")


@admins.command("show")
def show_admin(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Show an admin."""
    with connected(url, profile) as admin:
        found = admin.admins.get(name)
    _show(found, json)


@admins.command("update")
def update_admin(
    name: Name,
    role: Roles = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether their tokens are taken.", show_default=False)
    ] = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Change an admin.

    The roles given take the place of all that they had.
    """
    changes: dict[str, Any] = {}
    if role is not None:
        changes["grants"] = grants(role)
    if active is not None:
        changes["active"] = active
    some(changes)
    with connected(url, profile) as admin:
        changed = admin.admins.update(name, changes)
    _show(changed, json)


@admins.command("delete")
def delete_admin(name: Name, yes: Yes = False, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Delete an admin and all their tokens."""
    confirm(f"Delete the admin {name} and all their tokens?", yes)
    with connected(url, profile) as admin:
        admin.admins.delete(name)
    print_json({"deleted": name}) if json else say(f"Deleted the admin {name}.")


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as laptop.")],
    admin: Annotated[
        str | None, typer.Option("--admin", metavar="NAME", help="Whose it is. Default: yours.", show_default=False)
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="PERMISSION", help="Such as keys:write; repeat. Default: all of the admin's."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="How long it lasts, such as 30d.")
    ] = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Make an admin token; it is printed once."""
    from paig_client.api.specs import TokenSpec

    fields: dict[str, Any] = {"admin": admin, "scopes": scope or None}
    if expires is not None:
        fields["expires_at"] = utc_now() + duration(expires)
    spec = checked(TokenSpec, {field: value for field, value in fields.items() if value is not None})
    with connected(url, profile) as client:
        made = client.tokens.create(name, spec)
    if json:
        return print_json(made)
    say(f"The token {made.name} ({made.id}), shown only now:")
    print(made.token)


@tokens.command("list")
def list_tokens(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """List your tokens; everybody's, if you may."""
    with connected(url, profile) as admin:
        found = admin.tokens.list()
    if json:
        return print_json(found)
    rows = [
        (item.id, item.admin, item.name, item.hint + "…", ", ".join(item.scopes or ["all"]), _end(item))
        for item in found
    ]
    print_table(["id", "admin", "name", "token", "scopes", "ends"], rows, empty="There are no tokens.")


@tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.", autocompletion=names())],
    yes: Yes = False,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Revoke a token: every node refuses it within a second."""
    confirm(f"Revoke {token}?", yes)
    with connected(url, profile) as admin:
        admin.tokens.revoke(token)
    print_json({"revoked": token}) if json else say(f"Revoked the token {token}.")


def audit(
    actor: Annotated[
        str | None, typer.Option("--actor", help="Who: admin:NAME, admin:NAME/TOKEN, token:admin.", show_default=False)
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="create, update, delete, rotate, …", show_default=False)
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="key, project, provider, …", show_default=False)] = None,
    name: Annotated[str | None, typer.Option("--name", help="The object's name.", show_default=False)] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="The project and what belongs to it.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="7d (ago), 2026-11-23, …", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Not from then on.", show_default=False)
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, max=PAGE, help="How many at most.")] = 50,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show who changed what, newest first."""
    now = utc_now()
    begin, end = (moment(text, now) if text else None for text in (since, until))
    with connected(url, profile) as admin:
        found = admin.audit(
            actor=actor, action=action, kind=kind, name=name, project=project, since=begin, until=end, limit=lines
        )
    if json:
        return print_json(found)
    short = narrow()
    rows = [
        [*(when(item.time, short=short), item.actor, item.action, item.kind, item.name), _changes(item)]
        for item in found
    ]
    print_table(["time", "who", "did", "to", "name", "what"], rows, empty="Nothing was changed.", cut="what")


def _changes(entry: AuditEntry) -> str:
    """The fields that differ: `limits: {"daily": "1"} → {"daily": "2"}`."""
    before, after = entry.before, entry.after
    old, new = before or {}, after or {}
    parts = []
    for field in {**old, **new}:
        was, is_now = old.get(field), new.get(field)
        if before is not None and after is not None and was != is_now:
            parts.append(f"{field}: {_value(was)} → {_value(is_now)}")
        elif before is None or after is None:
            parts.append(f"{field}: {_value(new.get(field, was))}")
    return "; ".join(parts)


def _value(value: object) -> str:
    return "–" if value is None else value if isinstance(value, str) else jsons.dumps(value)


def _state(admin: Admin) -> str:
    return "active" if admin.active else "inactive"


def _end(token: Token) -> str:
    return when(token.expires_at) or "never"


def _show(admin: Admin, json: bool) -> None:
    if json:
        print_json(admin)
    else:
        origin = "single sign-on" if admin.sso else ""
        print_facts({"name": admin.name, "roles": shown(admin.grants), "state": _state(admin), "from": origin})
