"""`paig usage reprice` and `paig usage prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.cli import reports
from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import JsonOption, Model, Profile, Since, Until, Url, Yes, confirm, connected
from paig_client.cli.output import print_json, print_table, say, usd
from paig_client.cli.values import duration, period, utc_now

if TYPE_CHECKING:
    from decimal import Decimal

    from paig_client.api.resources import RepricedTotal

app = PaigTyper(invoke_without_command=True)
app.callback(epilog="Example: paig usage --by key --since 7d --sort -cost")(reports.usage)


@app.command(example="paig usage reprice --since 30d")
def reprice(
    since: Since = None,
    until: Until = None,
    model: Model = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show what requests would cost at today's prices.

    Changes nothing.
    """
    begin, end = period(since, until)
    with connected(url, profile) as admin:
        report = admin.reprice(model=model, since=begin, until=end)
    if json:
        return print_json(report)
    rows = [
        [item.provider, item.model, item.price, item.new_price, f"{item.requests:,}", *map(usd, _costs(item))]
        for item in report.items
    ]
    labels = ["cost", "now", "difference"]
    columns = ["provider", "model", "charged at", "priced at", "requests", *labels]
    print_table(columns, rows, empty="Every request would cost what it was charged.", right=["requests", *labels])
    compared = f"{report.requests:,} request{'' if report.requests == 1 else 's'}"
    say(
        f"Compared {compared}: charged {usd(report.cost)}, at the prices known now {usd(report.repriced)} "
        f"({usd(report.difference)}). Left out, without usage or price: {report.left:,}."
    )


def _costs(item: RepricedTotal) -> tuple[Decimal, Decimal, Decimal]:
    return item.cost, item.repriced, item.difference


@app.command(example="paig usage prune --older-than 90d")
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Remove requests that are older than this: 90d, 12w, …")
    ],
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Only requests of this key, even if it is deleted.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="USER", help="Only requests of this user, even if deleted.")
    ] = None,
    yes: Yes = False,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Remove old requests from the ledger for good.

    Totals, limits and what is spent of them stay. So do, for 31 days, requests that name work at a provider, and
    requests since the oldest batch that is not charged yet.
    """
    before = utc_now() - duration(older_than)
    whose = "".join(f" of the {kind} {name}" for kind, name in (("key", key), ("user", user)) if name)
    confirm(f"Remove every request{whose} from before {before:%Y-%m-%d %H:%M} UTC for good?", yes)
    with connected(url, profile) as admin:
        pruned = admin.prune(before, key=key, user=user)
    print_json(pruned) if json else say(f"Removed {pruned.requests:,} requests; totals stay.")
