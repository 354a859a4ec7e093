"""`paig requests`: rows of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.api.refusals import reasons
from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import JsonOption, Lines, ListOptions, Profile, RequestFilters, Url, connected, text_option
from paig_client.cli.output import (
    Cell,
    PrintedTable,
    cost_gauge,
    milliseconds,
    narrow,
    number,
    print_facts,
    print_json,
    print_table,
    show,
    sort_field,
    usd,
    when,
)

if TYPE_CHECKING:
    from paig_client.api.resources import Request

PAGE = 200
COLUMNS = ("time", "status", "key", "project", "user", "route", "provider", "model", "input", "output", "took", "cost")
RIGHT = ("status", "input", "output", "took", "cost")
SPARE = ("user", "route", "project", "provider", "input", "output", "took", "id", "$")
GLANCE = ("$",)
"""How much a request cost, to be looked at."""
FIELDS = {"input": "input_tokens", "output": "output_tokens", "took": "ms_total", "id": "time"}
"""Columns that are called otherwise in the API."""
MARKS = {"estimated": "estimated", "ceiling": "charged at its reservation", "unknown": "unknown"}

app = PaigTyper(no_args_is_help=True, help="Requests: rows of the ledger.")


@app.command("list", example="paig requests list --status 402 --since 1h")
def list_requests(
    filters: RequestFilters,
    listing: ListOptions,
    lines: Lines = 50,
    status: Annotated[
        int | None, typer.Option("--status", metavar="N", help="Only this HTTP status.", show_default=False)
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only requests that failed.")] = False,
    error: Annotated[str | None, text_option("--error", "Only this error, such as limit-exceeded.", "CODE")] = None,
    certainty: Annotated[
        str | None, text_option("--certainty", "exact, estimated, ceiling or unknown.", "WORD")
    ] = None,
    format: Annotated[str | None, text_option("--format", "Only this API format.", "FORMAT")] = None,
    run: Annotated[str | None, text_option("--run", "Only this run.", "ID")] = None,
    session: Annotated[str | None, text_option("--session", "Only this session.", "ID")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME[=VALUE]", help="Only with this tag; repeat.")
    ] = None,
) -> None:
    """List requests, newest first."""
    columns = (*COLUMNS, *GLANCE, "error", "id")
    since, until = filters.period()
    order = sort_field(listing.sort, columns, FIELDS) if listing.sort else None
    equal = {"error": error, "certainty": certainty, "format": format, "run": run, "session": session}
    found: list[Request] = []
    with listing.connected() as admin:
        cursor: str | None = None
        while len(found) < lines:
            page = admin.requests(
                limit=PAGE if errors else min(PAGE, lines - len(found)),
                cursor=cursor,
                status=status,
                sort=order,
                tag=tag or (),
                where=equal,
                since=since,
                until=until,
                **filters.only(),
            )
            found += [row for row in page.items if not errors or _failed(row)]
            cursor = page.next_cursor
            if cursor is None:
                break
    found = found[:lines]
    if listing.json:
        return print_json(found)
    rows = [_row(row) for row in found]
    show(PrintedTable(columns, rows, "There are no such requests.", RIGHT, SPARE, gauges=GLANCE), csv=listing.csv)


@app.command("show", example="paig requests show req_01J…")
def show_request(
    id: Annotated[str, typer.Argument(metavar="ID", help="The x-paig-request-id of the answer.")],
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show one request, and each try at a provider.

    Who sent it, what it cost, why it was refused.
    """
    with connected(url, profile) as admin:
        row = admin.request(id)
    if json:
        return print_json(row)
    print_facts(_facts(row))
    if row.attempts:
        print()
        columns = ["provider", "model", "credential", "status", "error", "after", "took", "cost"]
        tries = [
            [
                *(one.provider, one.model, one.credential or "", str(one.status or ""), one.error or ""),
                *(milliseconds(one.began_ms), milliseconds(one.ms), usd(one.cost)),
            ]
            for one in row.attempts
        ]
        print_table(columns, tries, right=["status", "after", "took", "cost"], spare=["credential", "after"])


def _failed(row: Request) -> bool:
    return row.error is not None or row.status is None or row.status >= 400


def _row(row: Request) -> list[str]:
    usage = row.usage or {}
    tokens = [number(int(usage[name])) if name in usage else "" for name in ("input_tokens", "output_tokens")]
    status = Cell(str(row.status or "–"), row.status)
    names = [row.key, row.project or "", row.user or "", row.route, row.provider or "–", row.model]
    cost = [milliseconds(row.ms_total), usd(row.cost), cost_gauge(row.cost)]
    return [when(row.time, short=narrow()), status, *names, *tokens, *cost, row.error or "", row.id]


def _facts(row: Request) -> dict[str, str]:
    """What is known of a request; settings of newer gateways included."""
    certainty = MARKS.get(row.certainty or "", "")
    known = {
        **{"id": row.id, "time": when(row.time), "status": f"{row.status or 'open'}", "error": row.error or ""},
        **{"key": row.key, "project": row.project or "", "user": row.user or "", "route": row.route},
        **{"provider": row.provider or "", "model": row.model, "format": row.format},
        **{"stream": "yes" if row.stream else "", "cost": usd(row.cost) + (f" ({certainty})" if certainty else "")},
        **{"reserved": usd(row.reserved), "price": row.price or "", "run": row.run or "", "trace": row.trace_id or ""},
        **{"tags": ", ".join(f"{name}={value}" for name, value in row.tags.items())},
        **{"took": milliseconds(row.ms_total), "first byte": milliseconds(row.ms_first_byte)},
        **{"in the gateway": milliseconds(row.ms_gateway)},
    }
    usage = {name.replace("_", " "): f"{value:,}" for name, value in (row.usage or {}).items() if value}
    data = row.model_dump(mode="json")
    later = {
        "why not exact": data.get("certainty_reason"),
        "cost from": data.get("cost_source"),
        "list price": data.get("list_price"),
        "session": data.get("session"),
        "agent": data.get("agent_name") or data.get("agent"),
    }
    return {**known, **{name: str(value) for name, value in later.items() if value}, **dict(reasons(row)), **usage}
