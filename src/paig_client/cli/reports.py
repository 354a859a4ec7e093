"""`paig usage` and `paig tail`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paig_client.api.refusals import failed, in_short
from paig_client.cli.completion import group_names
from paig_client.cli.limits import print_limits
from paig_client.cli.options import (
    JsonOption,
    Key,
    ListOptions,
    Model,
    Profile,
    Project,
    Provider,
    RequestFilters,
    Url,
    User,
    connected,
    has_key_alone,
    holding_key,
)
from paig_client.cli.output import (
    PrintedTable,
    console,
    cost_gauge,
    milliseconds,
    narrow,
    number,
    plain,
    print_csv,
    print_facts,
    print_json,
    say,
    show,
    sparkline,
    usd,
    width,
)
from paig_client.cli.values import utc_now

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.resources import Request, RequestPage, UsageReport, UsageTotal

PAUSE = 1.0
"""Seconds before a broken stream of events is opened again."""
TIMEOUT_SECONDS = 60.0
"""Seconds that a gateway may be away before `paig tail` gives up."""
LINE = 120
"""Columns from which the names in a line of `paig tail` get more room."""
SEARCHED, PAGE = 2000, 200
"""How many requests `paig tail` looks back through for those that are wanted, and how many it reads at once."""
COUNTS = ("requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def usage(
    context: typer.Context,
    filters: RequestFilters,
    listing: ListOptions,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="day, hour, key, project, user, model, provider, route, session, agent or tag:NAME; repeat.",
            autocompletion=group_names,
        ),
    ] = None,
) -> None:
    """Show what was spent, and on what."""
    if context.invoked_subcommand:
        return None
    csv, sort = listing.csv, listing.sort
    if has_key_alone(listing.url, listing.profile):
        given = {"by": by, **asdict(filters), "csv": csv, "sort": sort}
        return _own_usage(next((f"--{name}" for name, value in given.items() if value), None), listing)
    groups = by or ["model"]
    start, end = filters.period()
    only = filters.only()
    with listing.connected() as admin:
        report = admin.usage(by=groups, since=start, until=end, **only)
        if csv and not sort:
            return _print_csv(groups, report)
        trend = None
        if report.items and not {"day", "hour"} & set(groups):
            trend = Trend(start, end or utc_now())
            trend.fill(admin.usage(by=[*groups, trend.unit], since=trend.start, until=end, **only), groups)
    if listing.json:
        return print_json({**report.model_dump(mode="json"), "trend": trend.as_json(groups) if trend else None})
    if csv:
        return _print_csv(groups, report, sort)
    _print_report(groups, report, trend, sort)


def _own_usage(option: str | None, listing: ListOptions) -> None:
    """What the holder of a key has spent today, and its limits."""
    if option is not None:
        raise typer.BadParameter(
            "needs an admin token; with only a key, `paig usage` shows what that key spent.", param_hint=option
        )
    with holding_key(listing.url, listing.profile) as client:
        me = client.me()
    if listing.json:
        return print_json(me)
    print_facts({"key": me.key, "spent today": usd(me.spent_today), "requests today": f"{me.requests_today:,}"})
    print_limits(me.limits)


class Trend:
    """What each group cost over time: by the hour up to two days, else by the day.

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
        count = len(self._times)
        return f"{count} {self.unit}{'s' if count > 1 else ''}"

    def fill(self, report: UsageReport, groups: Sequence[str]) -> None:
        """Read the costs of a report that is also grouped by the unit."""
        for item in report.items:
            time = datetime.fromisoformat(item.group[self.unit] or "")
            time = time if time.tzinfo else time.replace(tzinfo=UTC)
            of = self._costs.setdefault(tuple(item.group.get(name) for name in groups), {})
            of[time] = of.get(time, Decimal(0)) + item.cost

    def as_json(self, groups: Sequence[str]) -> dict[str, object]:
        items = [
            {
                "group": dict(zip(groups, names, strict=True)),
                "costs": [f"{of.get(time, Decimal(0)):f}" for time in self._times],
            }
            for names, of in self._costs.items()
        ]
        return {"unit": self.unit, "times": [time.isoformat() for time in self._times], "items": items}

    def costs(self, names: Sequence[str | None] | None) -> list[Decimal]:
        """What one group cost at each step, the oldest first; all of them for None."""
        chosen = list(self._costs.values()) if names is None else [self._costs.get(tuple(names), {})]
        return [sum((of.get(time, Decimal(0)) for of in chosen), Decimal(0)) for time in self._times]

    def line(self, names: Sequence[str | None] | None) -> str:
        """The sparkline of one group, or of all for None."""
        return sparkline(self.costs(names))


def _print_csv(groups: list[str], report: UsageReport, sort: str | None = None) -> None:
    columns = [*groups, *COUNTS, "cost", "list_cost", "difference"]
    rows: list[list[Any]] = [
        [
            *(item.group.get(name) or "" for name in groups),
            *(*_counts(item), item.cost, item.list_cost, item.difference),
        ]
        for item in report.items
    ]
    if sort:
        cells = [[value if isinstance(value, str) else number(value) for value in row[:-3]] for row in rows]
        money = [[usd(amount) for amount in row[-3:]] for row in rows]
        return show(
            PrintedTable(columns, [[*names, *amounts] for names, amounts in zip(cells, money, strict=True)]),
            csv=True,
            sort=sort,
        )
    print_csv(columns, rows)


def _print_report(groups: list[str], report: UsageReport, trend: Trend | None, sort: str | None) -> None:
    def row(item: UsageTotal, labels: list[str], names: list[str | None] | None) -> list[str]:
        line = [trend.line(names)] if trend else []
        beside = [usd(item.list_cost), usd(item.difference)] if charged else []
        return [*labels, *map(number, _counts(item)), usd(item.cost), *beside, *line]

    # If a provider states its own charges, show list prices beside them.
    charged = any(item.difference for item in report.items)
    amounts = ["cost", *(["list", "difference"] if charged else [])]

    labels = [name.replace("_tokens", "").replace("_", " ") for name in COUNTS]
    heading = [trend.heading] if trend else []
    rows = []
    for item in report.items:
        names = [item.group.get(name) for name in groups]
        rows.append(row(item, [name or "–" for name in names], names))
    table = PrintedTable(
        [*groups, *labels, *amounts, *heading],
        rows,
        "Nothing was spent.",
        right=[*labels, *amounts],
        spare=["cache write", "cache read", "errors", "output", "input", *heading, "list", "requests"],
    )
    table = table.sorted_by(sort) if sort else table
    if rows:
        total = row(report.total, ["total", *[""] * (len(groups) - 1)], None)
        table = replace(table, rows=[*table.rows, total])
    show(table)


def _counts(item: UsageTotal) -> list[int]:
    return [int(getattr(item, name)) for name in COUNTS]


def tail(
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, max=1000, help="Start with the last N requests.")
    ] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Keep showing requests as they finish.")] = True,
    errors: Annotated[bool, typer.Option("--errors", help="Only requests that failed.")] = False,
    key: Key = None,
    project: Project = None,
    user: User = None,
    model: Model = None,
    provider: Provider = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show requests as they finish; with --json a line of JSON each."""
    only = {"key": key, "project": project, "user": user, "model": model, "provider": provider}
    seen: set[str] = set()

    def wanted(row: Request) -> bool:
        return (failed(row) or row.status is None or not errors) and all(
            name is None or getattr(row, what) == name for what, name in only.items()
        )

    def show(row: Request) -> None:
        if wanted(row):
            print(row.model_dump_json() if json else _painted(_line(row), row), flush=True)

    def page_at(cursor: str | None) -> RequestPage:
        return admin.requests(
            limit=PAGE, cursor=cursor, key=key, project=project, user=user, model=model, provider=provider
        )

    def show_last() -> None:
        for row in reversed(_last(page_at, lines, wanted)):
            seen.add(row.id)
            show(row)

    def show_new(row: Request) -> None:
        if row.id in seen:
            seen.discard(row.id)  # a later event may correct it
        else:
            show(row)

    with connected(url, profile) as admin:
        if not json and console().is_terminal:
            say(_today(admin, only))
        if not follow:
            return show_last()
        try:
            _follow(admin, show_new, show_last)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def _today(admin: AdminClient, only: Mapping[str, Any]) -> str:
    """What was spent in the last 24 hours, hour by hour, of the requests that are looked at: one line."""
    trend = Trend(utc_now() - timedelta(hours=24), utc_now())
    report = admin.usage(by=[trend.unit], since=trend.start, **only)
    trend.fill(report, [])
    spent, count = usd(report.total.cost), report.total.requests
    return f"24 hours  {trend.line(None) or '–'}  {spent} in {count:,} request{'' if count == 1 else 's'}"


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
    """Show each finished request; if the stream breaks, continue there as soon as the gateway is back.

    `first` is called once the stream is open, so that no request is missed between what it shows and what follows.
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
            if on_open is not None:  # it was never reached
                raise
            say(f"{error}; trying again")
        _await(admin)


def _await(admin: AdminClient) -> None:
    """Return once the gateway answers.

    Raises:
        GatewayUnreachable: It did not answer for `TIMEOUT_SECONDS` seconds.
    """
    from paig_client.admin import GatewayUnreachable, Refused

    until = time.monotonic() + TIMEOUT_SECONDS
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
    """A request as one line, in columns; names that are too long for their column are cut, except in a pipe.

    A narrow terminal shows no provider, and an error in place of a cost of zero.
    """
    mark = {"exact": "", "estimated": "~", "ceiling": "≤", "unknown": "?"}.get(row.certainty or "", "")
    head = f"{row.time.astimezone():%H:%M:%S}  {row.status or '–':>4}"
    took, cost = f"{milliseconds(row.ms_total):>7}", f"{mark + aligned(row.cost):>15}"
    if narrow():
        error, room = row.error or "", width() - len(head) - len(took) - len(cost) - 12 - 8
        last = error if error and not row.cost else f"{cost}  {error}".rstrip()
        room -= len(last) - len(cost) if len(last) > len(cost) else 0
        return plain("  ".join((head, _cut(row.key, 12), _cut(row.model, max(8, room)), took, last)))
    more = max(0, width() - LINE)
    rooms = (16 + more * 2 // 5, 28 + more * 2 // 5, 12)
    fit = _cut if console().is_terminal else _padded
    names = tuple(fit(name, room) for name, room in zip((row.key, row.model, row.provider or "–"), rooms, strict=True))
    end = f"{took}  {cost} {cost_gauge(row.cost) or ' '}"
    end += f"  {row.error}" if row.error else ""
    if row.error and (why := in_short(row)):
        end += f" ({why})"
    return plain("  ".join((head, *names, end)))


def _painted(line: str, row: Request) -> str:
    """The line with the status in a colour: green, yellow where another member had to help, red where it failed."""
    from rich.text import Text

    wrong = failed(row)
    colour = "red" if wrong else "yellow" if len(row.attempts) > 1 else "green"
    text, start = Text(line), len("00:00:00  ")
    text.stylize("dim", 0, start)
    text.stylize(colour, start, start + 4)
    if row.error:
        at = line.rindex(plain(row.error))
        text.stylize("red" if wrong else "dim", at, at + len(plain(row.error)))
    terminal = console()
    with terminal.capture() as captured:
        terminal.print(text, end="", soft_wrap=True)
    return captured.get()


def aligned(amount: Decimal) -> str:
    """Dollars with room for six decimal places, so that the points of lines below one another line up."""
    text = str(usd(amount))
    return text + " " * max(0, 6 - len(text.partition(".")[2]))


def _padded(text: str, length: int) -> str:
    """The text in at least this many cells: some signs take two."""
    from rich.cells import cell_len

    return text + " " * max(0, length - cell_len(text))


def _cut(text: str, length: int) -> str:
    """The text in exactly this many cells."""
    from rich.cells import cell_len, set_cell_size

    return _padded(text, length) if cell_len(text) <= length else f"{set_cell_size(text, length - 1)}…"
