"""`paig routes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from paig_client.cli.commands import Commands
from paig_client.cli.objects import Name, NewName, deletes
from paig_client.cli.options import Json, Profile, Url, assignments, checked, connected, some
from paig_client.cli.output import print_facts, print_json, print_table, say, when

if TYPE_CHECKING:
    from paig_client.api.resources import Route
    from paig_client.api.specs import MemberSpec

MEMBER = ("provider", "priority", "weight", "share", "models")
_MEMBER = typer.Option(
    "--member", metavar="PROVIDER[:N[:N]]", help="A provider, its priority (the highest first), its weight; repeat."
)
Members = Annotated[list[str], _MEMBER]
OtherMembers = Annotated[list[str] | None, _MEMBER]
RouteSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="choice, affinity, or timeouts.deadline and the like; repeat."),
]

app = Commands(no_args_is_help=True, help="Routes: groups of providers, in order and by weight.")


@app.command("list")
def list_routes(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """List the routes; every provider is also a route of its own name."""
    with connected(url, profile) as admin:
        found = admin.routes.list()
    if json:
        return print_json(found)
    rows = [[item.name if number == 0 else "", *cells] for item in found for number, cells in enumerate(_members(item))]
    empty = "There are no routes but the providers' own: `paig routes create NAME --member PROVIDER …` makes one."
    print_table(["route", *MEMBER], rows, empty=empty, right=["priority", "weight", "share"], spare=["models"])


@app.command("show")
def show_route(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Show one route and its members."""
    with connected(url, profile) as admin:
        item = admin.routes.get(name)
    if json:
        return print_json(item)
    facts = {"name": item.name, "id": item.id, "settings": _route_options(item) or "the usual"}
    print_facts({**facts, "created": when(item.created_at), "changed": when(item.updated_at)})
    print()
    print_table(MEMBER, _members(item), empty="", right=["priority", "weight", "share"])


@app.command("create")
def create_route(
    name: NewName,
    member: Members,
    settings: RouteSettings = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Make a route."""
    from paig_client.api.specs import RouteSpec

    given = {field: value for field, value in assignments(settings).items() if value is not None}
    spec = checked(RouteSpec, {"members": [_member(text) for text in member], **given})
    with connected(url, profile) as admin:
        item = admin.routes.create(name, spec)
    print_json(item) if json else say(f"Made the route {item.name}: send requests to …/proxy/{item.name}.")


@app.command("update")
def update_route(
    name: Name,
    member: OtherMembers = None,
    settings: RouteSettings = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Change settings or members.

    'none' takes a setting back to its default; a member that stays keeps its model names.
    """
    changes = assignments(settings)
    given = [_member(text) for text in member or ()]
    some(changes | ({"members": given} if given else {}))
    with connected(url, profile) as admin:
        seen = None
        if given:
            seen = admin.routes.get(name)
            stays = {old.provider: old.model_dump(exclude={"priority", "weight"}) for old in seen.members}
            changes["members"] = [{**stays.get(one["provider"], {}), **one} for one in given]
        item = admin.routes.update(name, changes, seen=seen)
    print_json(item) if json else say(f"Changed the route {item.name}.")


def _member(text: str) -> dict[str, Any]:
    """A route's member from `PROVIDER[:PRIORITY[:WEIGHT]]`."""
    parts = text.split(":")
    if len(parts) > 3:
        raise typer.BadParameter(f"{text!r} is not written PROVIDER[:PRIORITY[:WEIGHT]]")
    return dict(zip(("provider", "priority", "weight"), parts, strict=False))


def _members(route: Route) -> list[list[str]]:
    """A row for each member: those of the highest priority share the requests by weight, the others stand by."""
    active = [member for member in route.members if member.active]
    top = max((member.priority for member in active), default=0)
    first = sum(member.weight for member in active if member.priority == top)

    def share(member: MemberSpec) -> str:
        if not member.active:
            return "out"
        if member.priority < top or (first and not member.weight):
            return "standby"
        return f"{member.weight * 100 // first}%" if first else "any"

    return [
        [
            *(member.provider, str(member.priority), str(member.weight), share(member)),
            ", ".join(f"{client} → {own}" for client, own in member.models.items()),
        ]
        for member in sorted(route.members, key=lambda member: -member.priority)
    ]


def _route_options(route: Route) -> str:
    """What is set otherwise than by default, as `--set` takes it."""
    found = [f"timeouts.{name}={value:g}" for name, value in route.timeouts if value is not None]
    found += [f"choice={route.choice}"] if route.choice != "weighted" else []
    return ", ".join([*found, *([] if route.affinity else ["affinity=false"])])


deletes(app, "route", lambda admin: admin.routes)
