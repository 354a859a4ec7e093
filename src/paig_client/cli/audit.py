"""`paig audit`."""

from __future__ import annotations

import json as jsons
from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import (
    JsonOption,
    Lines,
    ListOptions,
    Profile,
    Project,
    Since,
    Until,
    Url,
    connected,
    text_option,
)
from paig_client.cli.output import PrintedTable, narrow, print_json, say, show, sort_field, when
from paig_client.cli.values import period

if TYPE_CHECKING:
    from paig_client.api.resources import AuditEntry


FIELDS = {"who": "actor", "did": "action", "to": "kind"}
"""Columns that are called otherwise in the API."""

app = PaigTyper(invoke_without_command=True)


@app.callback(epilog="Example: paig audit --kind key --since 7d")
def audit(
    ctx: typer.Context,
    listing: ListOptions,
    actor: Annotated[
        str | None, text_option("--actor", "By this actor: admin:NAME, admin:NAME/TOKEN, token:admin.")
    ] = None,
    action: Annotated[str | None, text_option("--action", "create, update, delete, rotate, …")] = None,
    kind: Annotated[str | None, text_option("--kind", "key, project, provider, …")] = None,
    name: Annotated[str | None, text_option("--name", "The object's name.")] = None,
    project: Project = None,
    since: Since = None,
    until: Until = None,
    lines: Lines = 50,
) -> None:
    """Show who changed what, newest first."""
    if ctx.invoked_subcommand is not None:
        return None
    begin, end = period(since, until)
    columns = ["time", "who", "did", "to", "name", "what"]
    order = sort_field(listing.sort, columns[:-1], FIELDS) if listing.sort else None
    with listing.connected() as admin:
        found = admin.audit(
            actor=actor, action=action, kind=kind, name=name, project=project, since=begin, until=end, limit=lines,
            sort=order,
        )  # fmt: skip
    if listing.json:
        return print_json(found)
    short = narrow()
    rows = [
        [when(item.time, short=short), item.actor, item.action, item.kind, item.name, _changes(item)] for item in found
    ]
    return show(PrintedTable(columns, rows, "Nothing was changed.", cut="what"), csv=listing.csv)


@app.command(example="paig audit verify --expect HEAD")
def verify(
    expect: Annotated[
        str | None, text_option("--expect", "The head that an earlier verification printed.", "HEAD")
    ] = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Look for altered, missing and reordered entries.

    Ends with 1 if there are any. Keep the printed head elsewhere: only with --expect is a log found whose newest
    entries were cut off.
    """
    with connected(url, profile) as admin:
        found = admin.verify_audit(expect=expect)
    if json:
        print_json(found)
    else:
        say(found.problem or f"{found.rows:,} entries, none altered. Head: {found.head or 'none'}")
    if found.problem is not None:
        raise typer.Exit(1)


def _changes(entry: AuditEntry) -> str:
    """The fields that differ: `limits: {"daily": "1"} → {"daily": "2"}`."""
    before, after = entry.before, entry.after
    old, new = before or {}, after or {}
    parts = []
    for field in {**old, **new}:
        was, now = old.get(field), new.get(field)
        if before is not None and after is not None and was != now:
            parts.append(f"{field}: {_value(was)} → {_value(now)}")
        elif before is None or after is None:
            parts.append(f"{field}: {_value(new.get(field, was))}")
    return "; ".join(parts)


def _value(value: object) -> str:
    return "–" if value is None else value if isinstance(value, str) else jsons.dumps(value)
