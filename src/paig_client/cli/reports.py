"""`paig usage` and `paig tail`."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from paig_client.cli.completion import group_names, names
from paig_client.cli.options import Json, Profile, Url, connected, moment, utc_now
from paig_client.cli.output import narrow, plain, print_json, print_table, say, sparkline, usd, width

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.resources import Request, RequestPage, UsageReport, UsageTotal

Group = Literal["day", "hour", "key", "project", "user", "model", "provider", "route"]
PAUSE = 1.0
"""Seconds before a broken stream of events is taken up again."""
PATIENCE = 60.0
"""Seconds that a gateway may be away before `paig tail` gives up."""
SEARCHED, PAGE = 2000, 200
"""How many requests `paig tail` looks back through for those that are wanted, and how many it reads at once."""
Key = Annotated[
    str | None, typer.Option("--key", help="Only this key's.", show_default=False, autocompletion=names("keys"))
]
Project = Annotated[
    str | None,
    typer.Option("--project", help="Only this project's.", show_default=False, autocompletion=names("projects")),
]
User = Annotated[
    str | None, typer.Option("--user", help="Only this user's.", show_default=False, autocompletion=names("users"))
]
Model = Annotated[str | None, typer.Option("--model", help="Only this model's.", show_default=False)]
Provider = Annotated[
    str | None,
    typer.Option("--provider", help="Only this provider's.", show_default=False, autocompletion=names("providers")),
]
Route = Annotated[
    str | None, typer.Option("--route", help="Only this route's.", show_default=False, autocompletion=names("routes"))
]
COUNTS = ("requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def usage(
    context: typer.Context,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="day, hour, key, project, user, model, provider, route or tag:NAME; repeat.",
            autocompletion=group_names,
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="7d (ago), 2026-11-23, …", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Not from then on.", show_default=False)
    ] = None,
    key: Key = None,
    project: Project = None,
    user: User = None,
    model: Model = None,
    provider: Provider = None,
    route: Route = None,
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show what was spent, and on what."""
    if context.invoked_subcommand:
        return None
    groups = by or ["model"]
    now = utc_now()
    start, end = moment(since, now) if since else None, moment(until, now) if until else None
    only = {"key": key, "project": project, "user": user, "model": model, "provider": provider, "route": route}
    with connected(url, profile) as admin:
        report = admin.usage(by=groups, since=start, until=end, **only)
        if json:
            return print_json(report)
        if as_csv:
            return _print_csv(groups, report)
        trend = None
        if report.items and not {"day", "hour"} & set(groups):
            trend = Trend(start, end or now)
            trend.fill(admin.usage(by=[*groups, trend.unit], since=trend.start, until=end, **only), groups)
    _print_report(groups, report, trend)


class Trend:
    """What each group cost over the time that is asked for: by the hour up to two days, else by the day.

    Attributes:
        unit: `hour` or `day`.
        start: When the first column begins. Two weeks, if the report is of all time; never more than the last month.
    """

    USUAL, MOST = 14, 31

    def __init__(self, start: datetime | None, end: datetime) -> None:
        short = start is not None and end - start <= timedelta(days=2)
        self.unit = "hour" if short else "day"
        step = timedelta(hours=1) if short else timedelta(days=1)
        last = (end.astimezone(UTC) - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
        last = last if short else last.replace(hour=0)
        count = self.USUAL if start is None else min(48 if short else self.MOST, -((start - last) // step) + 1)
        self._times = [last - step * back for back in reversed(range(max(count, 1)))]
        self.start = max(self._times[0], start) if start else self._times[0]
        self._costs: dict[tuple[str | None, ...], dict[datetime, Decimal]] = {}

    @property
    def heading(self) -> str:
        """What the column is called."""
        count = len(self._times)
        return f"{count} {self.unit}{'s' if count > 1 else ''}"

    def fill(self, report: UsageReport, groups: Sequence[str]) -> None:
        """Take the costs from a report that is also grouped by the unit."""
        for item in report.items:
            time = datetime.fromisoformat(item.group[self.unit] or "")
            time = time if time.tzinfo else time.replace(tzinfo=UTC)
            of = self._costs.setdefault(tuple(item.group.get(name) for name in groups), {})
            of[time] = of.get(time, Decimal(0)) + Decimal(item.cost)

    def line(self, names: Sequence[str | None] | None) -> str:
        """The sparkline of one group, or of all for None."""
        chosen = list(self._costs.values()) if names is None else [self._costs.get(tuple(names), {})]
        return sparkline([sum((of.get(time, Decimal(0)) for of in chosen), Decimal(0)) for time in self._times])


def _print_csv(groups: list[str], report: UsageReport) -> None:
    out = csv.writer(sys.stdout)
    out.writerow([*groups, *COUNTS, "cost"])
    for item in report.items:
        out.writerow([*(_safe(item.group.get(name) or "") for name in groups), *_counts(item), item.cost])


def _safe(text: str) -> str:
    """A name as a spreadsheet takes it for text, never for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _print_report(groups: list[str], report: UsageReport, trend: Trend | None) -> None:
    def row(item: UsageTotal, labels: list[str], names: list[str | None] | None) -> list[str]:
        line = [trend.line(names)] if trend else []
        return [*labels, *(f"{count:,}" for count in _counts(item)), usd(item.cost), *line]

    rows = []
    for item in report.items:
        names = [item.group.get(name) for name in groups]
        rows.append(row(item, [name or "–" for name in names], names))
    if rows:
        rows.append(row(report.total, ["total", *[""] * (len(groups) - 1)], None))
    labels = [name.replace("_tokens", "").replace("_", " ") for name in COUNTS]
    heading = [trend.heading] if trend else []
    spare = ["cache write", "cache read", "errors", "output", "input", *heading, "requests"]
    columns = [*groups, *labels, "cost", *heading]
    print_table(columns, rows, empty="Nothing was spent.", right=[*labels, "cost"], spare=spare)


def _counts(item: UsageTotal) -> list[int]:
    return [int(getattr(item, name)) for name in COUNTS]


def tail(
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, max=1000, help="Begin with the last N requests.")
    ] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on as requests come in.")] = True,
    errors: Annotated[bool, typer.Option("--errors", help="Only requests that failed.")] = False,
    key: Key = None,
    project: Project = None,
    user: User = None,
    model: Model = None,
    provider: Provider = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show requests as they finish; with --json a line of JSON each."""
    only = {"key": key, "project": project, "user": user, "model": model, "provider": provider}
    seen: set[str] = set()

    def wanted(row: Request) -> bool:
        failed = row.error is not None or row.status is None or row.status >= 400
        return (failed or not errors) and all(name is None or getattr(row, what) == name for what, name in only.items())

    def show(row: Request) -> None:
        if wanted(row):
            print(row.model_dump_json() if json else _line(row), flush=True)

    def page_at(cursor: str | None) -> RequestPage:
        return admin.requests(
            limit=PAGE, cursor=cursor, key=key, project=project, user=user, model=model, provider=provider
        )

    def before() -> None:
        for row in reversed(_last(page_at, lines, wanted)):
            seen.add(row.id)
            show(row)

    def news(row: Request) -> None:
        if row.id in seen:
            seen.discard(row.id)  # a later look at its work may correct it
        else:
            show(row)

    with connected(url, profile) as admin:
        if not follow:
            return before()
        try:
            _follow(admin, news, before)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def _last(page_at: Callable[[str | None], RequestPage], count: int, wanted: Callable[[Request], bool]) -> list[Request]:
    """The newest requests that are wanted, the newest first, out of the last `SEARCHED`."""
    found: list[Request] = []
    cursor: str | None = None
    for _ in range(SEARCHED // PAGE if count else 0):
        page = page_at(cursor)
        found += filter(wanted, page.items)
        cursor = page.next_cursor
        if len(found) >= count or cursor is None:
            break
    return found[:count]


def _follow(admin: AdminClient, show: Callable[[Request], None], first: Callable[[], None]) -> None:
    """Show each finished request; where the stream breaks, go on there as soon as the gateway is back.

    `first` is called once the gateway listens, so that nothing falls between what it shows and what follows.
    """
    from paig_client.admin import GatewayUnreachable

    last: str | None = None
    on_open: Callable[[], None] | None = first

    def opened() -> None:
        nonlocal on_open
        begin, on_open = on_open, None
        if begin is not None:
            begin()

    while True:
        try:
            with closing(admin.events(last_event_id=last, on_open=opened)) as events:
                for event in events:
                    last = event.id or last
                    if event.request is not None:
                        show(event.request)
        except GatewayUnreachable as error:
            if on_open is not None:  # it was never there
                raise
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
    """A request as one line; on a narrow terminal without the provider, and the model's name cut to what is left."""
    took = (
        "–"
        if row.ms_total is None
        else f"{row.ms_total:.0f}ms"
        if row.ms_total < 1000
        else f"{row.ms_total / 1000:.2f}s"
    )
    mark = {"exact": "", "estimated": "~", "ceiling": "≤"}.get(row.certainty or "", "")
    head = f"{row.time.astimezone():%H:%M:%S}  {row.status or '–':>4}"
    end = f"{took:>7}  {mark + usd(row.cost):>12}" + (f"  {row.error}" if row.error else "")
    if narrow():
        key, room = _cut(row.key, 12), width() - len(head) - len(end) - 12 - 6
        return plain(f"{head}  {key}  {_cut(row.model, max(room, 8))}  {end}")
    return plain(f"{head}  {row.key:<16}  {row.model:<28}  {row.provider or '–':<12}  {end}")


def _cut(text: str, length: int) -> str:
    """The text in just this length."""
    return text.ljust(length) if len(text) <= length else f"{text[: length - 1]}…"
