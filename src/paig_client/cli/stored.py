"""`paig objects`: what providers store for the keys of the gateway, and whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.api.specs import AdoptSpec
from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import (
    JsonOption,
    Key,
    Lines,
    ListOptions,
    Profile,
    Project,
    Provider,
    Url,
    checked,
    connected,
    text_option,
)
from paig_client.cli.output import Cell, PrintedTable, print_json, say, when

if TYPE_CHECKING:
    from paig_client.api.resources import StoredObject

PAGE = 200

app = PaigTyper(no_args_is_help=True, help="Objects stored at providers: files, batches, vector stores.")


@app.command("list", example="paig objects list --provider openai --kind file")
def list_objects(
    listing: ListOptions,
    lines: Lines = 100,
    provider: Provider = None,
    kind: Annotated[str | None, text_option("--kind", "Only this kind, such as file.", "KIND")] = None,
    key: Key = None,
    project: Project = None,
) -> None:
    """List objects that providers store, with their owners."""
    found: list[StoredObject] = []
    with listing.connected() as admin:
        cursor: str | None = None
        while len(found) < lines:
            page = admin.stored_objects(
                provider=provider,
                kind=kind,
                key=key,
                project=project,
                limit=min(PAGE, lines - len(found)),
                cursor=cursor,
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    columns = ["provider", "kind", "id", "key", "project", "known since"]
    empty = "The gateway knows of no such objects."
    listing.print(found, lambda: PrintedTable(columns, list(map(_row, found)), empty, spare=["known since"]))


def _row(one: StoredObject) -> list[str]:
    since = Cell(when(one.created_at), one.created_at)
    return [one.provider, one.kind, one.id, one.key or "", one.project or "", since]


@app.command("adopt", example="paig objects adopt openai --project research")
def adopt(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The route whose providers have the objects.")],
    project: Annotated[str, typer.Option("--project", metavar="NAME", help="The project that will own them.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Ids of objects. Default: all that the providers list."),
    ] = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Give a project the objects in a provider's account that nothing owns.

    They were made before the gateway kept owners, or beside it. What has an owner keeps it.
    """
    fields = {"route": route, "project": project, **({"ids": ids} if ids else {})}
    spec = checked(AdoptSpec, fields)
    with connected(url, profile) as admin:
        done = admin.adopt_objects(spec)
    if json:
        return print_json(done)
    for problem in done.problems:
        say(f"Not read: {problem}.")
    given = ", ".join(f"{count} {kind}" for kind, count in done.adopted.items()) or "nothing"
    say(f"Gave the project {done.project}: {given}. {done.owned} more have an owner already.")
