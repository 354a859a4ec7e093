"""`paig organisation`: the caps that bind whatever goes through the gateway."""

from __future__ import annotations

from paig_client.cli import caps
from paig_client.cli.caps import Daily, Monthly, RequestsPerMinute, Soft, TokensPerMinute, Total, Weekly
from paig_client.cli.commands import Commands
from paig_client.cli.options import Json, Profile, Url, connected, some
from paig_client.cli.output import print_json, say

app = Commands(no_args_is_help=True, help="The caps on everything together.")


@app.command("show")
def show(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Show the limits on everything, and where they stand."""
    with connected(url, profile) as admin:
        if json:
            return print_json(admin.organisation())
        found = caps.of_owner(admin.limits(), "organisation", "organisation")
    if not found:
        return say("Nothing limits everything together: `paig organisation update --daily USD` does.")
    caps.print_limits(found)


@app.command("update")
def update(
    daily: Daily = None,
    weekly: Weekly = None,
    monthly: Monthly = None,
    total: Total = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    soft: Soft = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Change limits; 'none' lifts one.

    What is spent stays.
    """
    given = caps.limits(daily, weekly, monthly, total, requests_per_minute, tokens_per_minute, soft)
    some(given)
    with connected(url, profile) as admin:
        item = admin.update_organisation({"limits": given})
    print_json(item) if json else say("Changed the organisation's limits.")
