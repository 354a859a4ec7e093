"""`paig limits`: what is left of each, named limits, raises for a while, and requests for more."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paig_client.api.limits import Unit, Window
from paig_client.api.specs import AnswerSpec, AskSpec, RaiseSpec
from paig_client.api.windows import member_words
from paig_client.cli import kinds
from paig_client.cli.limits import OWNERS, table
from paig_client.cli.options import JsonOption, ListOptions, Profile, Url, checked, connected, holding_key, text_option
from paig_client.cli.output import Cell, PrintedTable, ahead, print_json, say, sparkline, usd, when, with_more
from paig_client.cli.reports import Trend
from paig_client.cli.resources import commands
from paig_client.cli.values import count, did_you_mean, dollars, moment, utc_now

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.resources import AboutLimit, LimitRaise, LimitRequest, LimitStatus

app = commands(kinds.NAMED_LIMITS)

OwnerArgument = Annotated[
    str, typer.Argument(metavar="OWNER", help="organisation, key:NAME, project:NAME, user:NAME or limit:NAME.")
]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="The amount until the raise ends, in its unit.")]
In = Annotated[Unit, typer.Option("--unit", help="What the limit counts; requests and tokens are per minute.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
InWindow = Annotated[Window, typer.Option("--window", help="Which limit.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="When it ends, such as 2h or 2027-01-31.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")]
Answer = Annotated[str | None, typer.Option("--answer", metavar="TEXT", help="The answer to the person who asked.")]


@app.command("list", example="paig limits list --sort -used")
def list_limits(
    listing: ListOptions,
    owner: Annotated[
        str | None,
        text_option(
            "--of",
            "Only limits of this owner: organisation, or project, user, key or limit with a name.",
            "KIND[:NAME]",
        ),
    ] = None,
) -> None:
    """List every limit: what is spent, held and left.

    Also when it will be reached at today's pace, and what its owner spent on each of the last seven days.
    """
    kind, name = _parsed(owner, "--of") if owner else ("", "")
    with listing.connected() as admin:
        found = [limit for limit in admin.limits() if kind in ("", limit.owner_kind) and name in ("", limit.owner)]
        found.sort(key=lambda limit: (OWNERS.index(limit.owner_kind), limit.owner, limit.member or "", limit.unit))
        trends = {} if listing.csv else _trends(admin, {limit.owner_kind for limit in found if limit.unit == "usd"})

    def days(limit: LimitStatus) -> list[Decimal]:
        trend = trends.get(limit.owner_kind) if limit.unit == "usd" else None
        if trend is None:
            return []
        return trend.costs(None if limit.owner_kind == "organisation" else [limit.owner])

    empty = "There are no limits yet. Set one with `paig keys update NAME --daily USD`."
    if listing.json:
        return print_json(with_more(found, [{"spent_by_day": [*map(str, days(limit))]} for limit in found]))
    listing.print(found, lambda: table(found, empty, [sparkline(days(limit)) for limit in found] if trends else ()))


def _trends(admin: AdminClient, kinds: Collection[str]) -> dict[str, Trend]:
    """By kind of owner, what each spent on each of the last seven days; named limits have no such totals."""
    found = {}
    for kind in kinds:
        if kind != "limit":
            groups = [] if kind == "organisation" else [kind]
            trend = found[kind] = Trend(utc_now() - timedelta(days=6), utc_now())
            trend.fill(admin.usage(by=[*groups, trend.unit], since=trend.start), groups)
    return found


@app.command("raise", example='paig limits raise key:ci 20 --until 2h --why "release day"')
def raise_limit(
    owner: OwnerArgument,
    amount: Amount,
    why: Why,
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="When it ends, such as 2h or 2027-01-31.")],
    window: InWindow = "daily",
    unit: In = "usd",
    member: Annotated[
        str | None, typer.Option("--member", metavar="NAME", help="Only this member of a named limit.")
    ] = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Raise a limit for a while; it ends by itself."""
    kind, name = _parsed(owner, "OWNER")
    fields: dict[str, Any] = {"owner_kind": kind, "owner": name or kind, "member": member, "unit": unit}
    fields["window"] = "minute" if unit != "usd" else window
    spec = checked(RaiseSpec, {**fields, "to": _to(amount, unit), "until": _end(until), "why": why})
    with connected(url, profile) as admin:
        made = admin.raise_limit(spec)
    print_json(made) if json else say(f"Raised the {_limit(made)} to {_amount(made)} until {when(made.until)}.")


@app.command("raises", example="paig limits raises")
def list_raises(listing: ListOptions) -> None:
    """List the limits that are raised at present."""
    with listing.connected() as admin:
        found = admin.raises()
    rows = [[one.id, _limit(one), _amount(one), Cell(ahead(one.until), one.until), one.actor, one.why] for one in found]
    columns = ["id", "limit", "to", "ends", "by", "why"]
    listing.print(found, lambda: PrintedTable(columns, rows, "No limit is raised.", right=["to"], spare=["by", "id"]))


@app.command("end-raise", example="paig limits end-raise raise_9f86d081884c7d65")
def end_raise(id: Id, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """End a raise before its time."""
    with connected(url, profile) as admin:
        admin.end_raise(id)
    print_json({"ended": id}) if json else say(f"Ended the raise {id}.")


@app.command("ask", example='paig limits ask 10 --why "a long refactoring"')
def ask(
    amount: Amount,
    why: Annotated[str, typer.Option("--why", help="The reason, for the admin who decides.")],
    window: Annotated[Window | None, typer.Option("--window", help="Which limit. Default: the tightest one.")] = None,
    unit: In = "usd",
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Ask for more of a limit, with a gateway key."""
    fields = {"to": _to(amount, unit), "why": why, "unit": unit, **({} if window is None else {"window": window})}
    spec = checked(AskSpec, fields)
    with holding_key(url, profile) as client:
        asked = client.ask_for_more(spec)
    if json:
        return print_json(asked)
    say(f"Asked that the {_limit(asked)} be {_amount(asked)} ({asked.id}). An admin approves or declines it.")


@app.command("requests", example="paig limits requests")
def list_requests(
    listing: ListOptions, every: Annotated[bool, typer.Option("--all", help="Include answered requests.")] = False
) -> None:
    """List requests for more of a limit."""
    with listing.connected() as admin:
        found = admin.limit_requests(state=None if every else "open")
    rows = [
        [one.id, one.key, _limit(one), _amount(one), when(one.time, short=True), one.state, one.why] for one in found
    ]
    columns = ["id", "key", "limit", "to", "asked", "state", "why"]
    listing.print(
        found, lambda: PrintedTable(columns, rows, "Nothing is asked for.", right=["to"], spare=["state", "asked"])
    )


@app.command("approve", example="paig limits approve ask_9f86d081884c7d65 --until 8h")
def approve(
    id: Id,
    until: Until = None,
    answer: Answer = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Raise a limit as asked for.

    Until the end of its window, unless --until says otherwise.
    """
    given = {"until": _end(until) if until else None, "answer": answer}
    spec = AnswerSpec.model_validate({name: value for name, value in given.items() if value is not None})
    with connected(url, profile) as admin:
        found = admin.approve_limit_request(id, spec)
    print_json(found) if json else say(f"Approved: the {_limit(found)} is {_amount(found)} for a while.")


@app.command("decline", example='paig limits decline ask_9f86d081884c7d65 --answer "not this month"')
def decline(id: Id, answer: Answer = None, json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Decline a request for more."""
    spec = AnswerSpec() if answer is None else AnswerSpec(answer=answer)
    with connected(url, profile) as admin:
        found = admin.decline_limit_request(id, spec)
    print_json(found) if json else say(f"Declined the request of {found.key}.")


def _parsed(owner: str, hint: str) -> tuple[str, str]:
    kind, _, name = owner.partition(":")
    if kind not in OWNERS:
        raise typer.BadParameter(f"{kind!r} has no limits.{did_you_mean(kind, OWNERS)}", param_hint=hint)
    return kind, name


def _to(text: str, unit: Unit) -> str | int | None:
    """An amount in a limit's unit."""
    return dollars(text) if unit == "usd" else count(text)


def _end(text: str) -> datetime:
    """When a raise ends: so long from now, or at a time."""
    return moment(text, utc_now(), ahead=True)


def _limit(about: AboutLimit) -> str:
    owner = about.owner_kind if about.owner_kind == "organisation" else f"{about.owner_kind} {about.owner}"
    which = about.window if about.unit == "usd" else f"{about.unit} per {about.window}"
    return f"{which} limit of {owner}" + ("" if about.member is None else f", {member_words(about.member)}")


def _amount(about: LimitRaise | LimitRequest) -> Cell:
    return usd(about.amount) if about.unit == "usd" else Cell(f"{about.amount:f}", about.amount)
