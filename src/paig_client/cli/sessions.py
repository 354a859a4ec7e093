"""`paig sessions`: what the sessions of coding agents cost, and which of their agents spent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.api.session_words import session_state, session_trouble
from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import Filters, JsonOption, Lines, ListOptions, Profile, Url, connected, text_option
from paig_client.cli.output import (
    Cell,
    PrintedTable,
    bar,
    narrow,
    number,
    print_facts,
    print_json,
    say,
    show,
    usd,
    when,
)
from paig_client.cli.reports import Trend
from paig_client.cli.values import utc_now
from paig_client.trees import branches

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.resources import Session, SessionFigures, SessionTree

COLUMNS = ("session", "key", "project", "user", "began", "lasted", "agents", "requests", "input", "cached", "output")
FIGURES = ("lasted", "agents", "requests", "errors", "input", "cached", "output", "cost", "total")
SPARE = ("user", "project", "output", "cached", "input", "began", "errors", "model")

app = PaigTyper(no_args_is_help=True, help="Sessions of coding agents.")

Id = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id, as the client sent it.")]
OfKey = Annotated[str | None, text_option("--key", "The key, if several keys have a session with this id.", "NAME")]


@app.command("list", example="paig sessions list --since 1d --sort -cost")
def list_sessions(filters: Filters, listing: ListOptions, lines: Lines = 30) -> None:
    """List sessions, the one with the latest request first."""
    since, until = filters.period()
    lines_of: dict[str, str] = {}
    heading = ""
    with listing.connected() as admin:
        found = admin.sessions(since=since, until=until, **filters.only(), limit=lines)
        if found and not (listing.json or listing.csv):
            heading = _trend_lines(admin, filters, lines_of)
    empty = "There are no sessions: a client names one by its own headers, or with paig_client.session()."
    columns, rows = [*COLUMNS, "cost", "state"], list(map(_row, found))
    spare = [*SPARE]
    if lines_of:
        columns.insert(-2, heading)
        rows = [[*row[:-2], lines_of.get(one.session, ""), *row[-2:]] for one, row in zip(found, rows, strict=True)]
        spare.append(heading)
    listing.print(found, lambda: PrintedTable(columns, rows, empty, FIGURES, spare, "session"))


def _trend_lines(admin: AdminClient, filters: Filters, found: dict[str, str]) -> str:
    """Fill in the sparkline of each session's cost over time; returns the heading of their column."""
    start, until = filters.period()
    trend = Trend(start, until or utc_now())
    report = admin.usage(by=["session", trend.unit], since=trend.start, until=until, **filters.only())
    trend.fill(report, ["session"])
    found |= {one: trend.line([one]) for item in report.items if (one := item.group["session"]) is not None}
    return trend.heading


@app.command("show", example="paig sessions show 0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
def show_session(id: Id, key: OfKey = None, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Show a session as the tree of its agents: which of them spent what."""
    with connected(url, profile) as admin:
        found = admin.session(id, key=key)
        if json:
            return print_json(found)
        budgets = _budgets(admin, id)
    print_facts(_facts(found) | budgets)
    for name, words in session_trouble(found):
        say(f"{name}: {words}")
    print()
    stems = branches([agent.depth for agent in found.tree])
    rows = [
        [
            stem + (agent.name or ("main" if agent.id is None else agent.id)),
            *_figures(agent),
            usd(agent.cost),
            usd(agent.total_cost),
            bar(agent.total_cost, found.cost) if float(found.cost) else "",
            ", ".join(agent.models),
        ]
        for stem, agent in zip(stems, found.tree, strict=True)
    ]
    columns = ["agent", "lasted", "requests", "input", "cached", "output", "cost", "total", "share", "model"]
    show(PrintedTable(columns, rows, right=FIGURES, spare=("model", "output", "cached", "lasted", "input")))


@app.command("stop", example="paig sessions stop 0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
def stop(id: Id, key: OfKey = None, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Refuse a session's requests from now on (`loop-stopped`)."""
    with connected(url, profile) as admin:
        found = admin.stop_session(id, key=key)
    if json:
        return print_json(found)
    say(f"Session {id} of key {found.key} is stopped; it cost {usd(found.cost)}. `paig sessions resume` resumes it.")


@app.command("resume", example="paig sessions resume 0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
def resume(id: Id, key: OfKey = None, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Let a session that was stopped go on."""
    with connected(url, profile) as admin:
        found = admin.resume_session(id, key=key)
    if json:
        return print_json(found)
    say(f"Session {id} may go on.")


def _budgets(admin: AdminClient, session: str) -> dict[str, str]:
    """What is left of the limits that count the session apart; nothing where the token may not see limits."""
    from paig_client.admin import NotAuthorised

    try:
        limits = [one for one in admin.limits() if one.owner_kind == "limit" and one.member == session]
    except NotAuthorised:
        return {}
    left = ", ".join(f"{usd(one.left)} of {usd(one.amount)} left in '{one.owner}'" for one in limits)
    return {"budget": left}


def _row(one: Session) -> list[str]:
    names = [one.session, one.key, one.project or "", one.user or ""]
    lasted, *figures = _figures(one)
    stopped = f"■ stopped by {one.stopped_by}" if one.stopped_by else ""
    state = Cell(session_state(one) if narrow() or not stopped else stopped, stopped)
    return [*names, when(one.began, short=narrow()), lasted, number(one.agents + 1), *figures, usd(one.cost), state]


def _figures(of: SessionFigures) -> list[str]:
    """How long it lasted, requests, tokens in, share of them from a cache, tokens out."""
    seconds = (of.ended - of.began).total_seconds()
    share = of.cache_read_tokens / of.input_tokens if of.input_tokens else 0.0
    return [
        Cell(_lasted(seconds), seconds),
        number(of.requests),
        number(of.input_tokens),
        Cell(f"{share:.0%}", share),
        number(of.output_tokens),
    ]


def _lasted(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02}m"


def _facts(found: SessionTree) -> dict[str, str]:
    lasted, requests, input_tokens, cached, output_tokens = _figures(found)
    return {
        "session": found.session,
        "key": found.key,
        "project": found.project or "",
        "user": found.user or "",
        "began": when(found.began),
        "lasted": lasted,
        "requests": f"{requests}, {number(found.errors)} of them failed" if found.errors else requests,
        "tokens": f"{input_tokens} in ({cached} from caches), {output_tokens} out",
        "cost": usd(found.cost),
        "stopped": f"by {found.stopped_by}" if found.stopped_by else "",
    }
