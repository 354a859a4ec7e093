"""`paig usage` and `paig tail`."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from paig_client.cli.options import Json, Profile, Url, connected, moment, utc_now
from paig_client.cli.output import plain, print_json, print_table, say, usd

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.schema import Request, UsageReport, UsageTotal

Group = Literal["day", "hour", "key", "project", "user", "model", "provider", "route"]
PAUSE = 1.0
"""Seconds before a broken stream of events is taken up again."""
PATIENCE = 60.0
"""Seconds that a gateway may be away before `paig tail` gives up."""
COUNTS = ("requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def usage(
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", metavar="WHAT", help="day, hour, key, project, user, model, provider, route or tag:NAME; repeat."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="7d (ago), 2026-11-23, …", show_default=False)
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", show_default=False)] = None,
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show what was spent."""
    groups = by or ["model"]
    now = utc_now()
    with connected(url, profile) as admin:
        report = admin.usage(
            by=groups, since=moment(since, now) if since else None, until=moment(until, now) if until else None
        )
    if json:
        print_json(report)
    elif as_csv:
        _print_csv(groups, report)
    else:
        _print_report(groups, report)


def _print_csv(groups: list[str], report: UsageReport) -> None:
    out = csv.writer(sys.stdout)
    out.writerow([*groups, *COUNTS, "cost"])
    for item in report.items:
        out.writerow([*(_safe(item.group.get(name) or "") for name in groups), *_counts(item), item.cost])


def _safe(text: str) -> str:
    """A name as a spreadsheet takes it for text, never for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _print_report(groups: list[str], report: UsageReport) -> None:
    def row(item: UsageTotal, names: list[str]) -> list[str]:
        return [*names, *(f"{count:,}" for count in _counts(item)), usd(item.cost)]

    labels = [name.replace("_tokens", "").replace("_", " ") for name in COUNTS]
    rows = [row(item, [item.group.get(name) or "–" for name in groups]) for item in report.items]
    if rows:
        rows.append(row(report.total, ["total", *[""] * (len(groups) - 1)]))
    print_table([*groups, *labels, "cost"], rows, empty="Nothing was spent.", right=[*labels, "cost"])


def _counts(item: UsageTotal) -> list[int]:
    return [int(getattr(item, name)) for name in COUNTS]


def tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=1000, help="Begin with the last N requests.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on as requests come in.")] = True,
    errors: Annotated[bool, typer.Option("--errors", help="Only requests that failed.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="Only this key's.", show_default=False)] = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show requests as they finish; with --json a line of JSON each."""

    def show(row: Request) -> None:
        failed = row.error is not None or row.status is None or row.status >= 400
        if (failed or not errors) and (key is None or key == row.key):
            print(row.model_dump_json() if json else _line(row), flush=True)

    with connected(url, profile) as admin:
        if lines:
            for row in reversed(admin.requests(limit=lines, key=key).items):
                show(row)
        if follow:
            try:
                _follow(admin, show)
            except KeyboardInterrupt:
                raise typer.Exit(0) from None


def _follow(admin: AdminClient, show: Callable[[Request], None]) -> None:
    """Show each finished request; where the stream breaks, go on there as soon as the gateway is back."""
    from paig_client.admin import GatewayUnreachable

    last: str | None = None
    while True:
        try:
            with closing(admin.events(last_event_id=last)) as events:
                for event in events:
                    last = event.id or last
                    if event.request is not None:
                        show(event.request)
        except GatewayUnreachable as error:
            say(f"{error}; trying again")
        _await(admin)


def _await(admin: AdminClient) -> None:
    """Return once the gateway answers.

    Raises:
        GatewayUnreachable: It does not for `PATIENCE` seconds.
    """
    from paig_client.admin import GatewayUnreachable, Refused

    until = time.monotonic() + PATIENCE
    while True:
        time.sleep(PAUSE)
        try:
            admin.health()
            return
        except GatewayUnreachable:
            if time.monotonic() > until:
                raise
        except Refused as error:
            if error.problem.status < 500:
                raise
            if time.monotonic() > until:
                raise GatewayUnreachable(admin.url, str(error)) from error


def _line(row: Request) -> str:
    status = str(row.status or "–")
    took = f"{row.ms_total / 1000:.2f}s" if row.ms_total is not None else "–"
    mark = {"exact": "", "estimated": "~", "ceiling": "≤"}.get(row.certainty or "", "")
    cells = [
        row.time.astimezone().strftime("%H:%M:%S"),
        f"{status:>4}",
        f"{row.key:<16}",
        f"{row.model:<28}",
        f"{row.provider or '–':<12}",
        f"{took:>8}",
        f"{mark + usd(row.cost):>12}",
        row.error or "",
    ]
    return plain("  ".join(cells)).rstrip()
