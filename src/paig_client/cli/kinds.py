"""The table of all kinds of objects that `create`, `list`, `show`, `update` and `delete` are made from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paig_client.api.specs import (
    AdminSpec,
    KeySpec,
    MatchSpec,
    NamedLimitSpec,
    OwnerSpec,
    PriceSpec,
    ProjectSpec,
    ProviderSpec,
    RouteSpec,
)
from paig_client.cli.completion import agents
from paig_client.cli.limits import OWNERS, WINDOWS, cells, of_owner
from paig_client.cli.options import reference
from paig_client.cli.output import Cell, PrintedTable, plain, print_facts, print_json, print_table, say, usd, when
from paig_client.cli.resources import ObjectCommands
from paig_client.cli.spec_options import Special
from paig_client.cli.values import assignments, did_you_mean, word

if TYPE_CHECKING:
    from paig_client.admin import AdminClient
    from paig_client.api.resources import Admin, Key, LimitStatus, NamedLimit, NewKey, Owner, OwnPrice, Provider, Route
    from paig_client.api.specs import GrantSpec, MemberSpec

SETTINGS = Special(
    ("--set",), "Another setting, such as region=eu-west-1; repeat.", assignments, "FIELD=VALUE", list[str]
)


# Keys


def show_once(made: NewKey, as_json: bool) -> None:
    """Print a new key, the only time that it is shown."""
    if as_json:
        return print_json({"id": made.id, "name": made.name, "key": made.key})
    say(f"The key {made.name}, shown once: only its hash is stored.")
    print(plain(made.key))


def _keys_table(keys: Sequence[Key], limits: Sequence[LimitStatus]) -> PrintedTable:
    rows = [
        [
            f"{ {'active': '●', 'limit-exceeded': '■'}.get(key.status, '✕') } {key.status}",
            *(key.name, key.hint, key.project or "", key.user or ""),
            *cells(of_owner(limits, "key", key.name)),
            when(key.expires_at),
            when(key.last_used_at),
        ]
        for key in keys
    ]
    columns = ["status", "name", "key", "project", "user", *WINDOWS, "expires", "last used"]
    empty = "There are no keys yet: `paig keys create NAME` creates one."
    return PrintedTable(columns, rows, empty, spare=["expires", "last used", "key", "weekly", "user", "monthly"])


def _key_facts(key: Key) -> dict[str, str]:
    shown = {
        **{"name": key.name, "id": key.id, "key": key.hint, "status": key.status},
        **{"project": key.project or "", "user": key.user or "", "expires": when(key.expires_at)},
        **{"routes": _all_or(key.routes), "models": _all_or(key.models), "created": when(key.created_at)},
    }
    known = {*shown, "hint", "limits", "version", "created_at", "updated_at", "expires_at", "warnings"}
    # A new setting is shown without a row here.
    more = {name: value for name, value in key.model_dump(mode="json").items() if name not in known}
    return {**shown, **{name.replace("_", " "): _text(value) for name, value in more.items()}}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _all_or(names: Sequence[str] | None) -> str:
    return "all" if names is None else ", ".join(names) or "none"


def _binding(key: Key, limits: Sequence[LimitStatus]) -> list[LimitStatus]:
    """Every limit that binds a key: its own, its project's, its user's, the organisation's."""
    owners = {("key", key.name), ("project", key.project), ("user", key.user)}
    return [limit for limit in limits if limit.owner_kind == OWNERS[0] or (limit.owner_kind, limit.owner) in owners]


def _for_agent(name: str) -> Mapping[str, Any]:
    """The settings that suit a coding agent: it states a high output maximum and sends one request after another."""
    from paig_client.environment import CLIENTS

    known = [client for client, row in CLIENTS.items() if row.agent]
    if name not in known:
        raise typer.BadParameter(
            f"{name!r} is not a known agent.{did_you_mean(name, known)} Agents: {', '.join(known)}", param_hint="--for"
        )
    fields: dict[str, Any] = {"limits": {"daily": "20", "monthly": "200"}}
    return fields | ({"when_tight": "lower"} if "when_tight" in KeySpec.model_fields else {})


_FOR = inspect.Parameter(
    "preset",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="AGENT",
            help="Limits that suit a coding agent, such as claude-code: $20 a day, $200 a month.",
            show_default=False,
            autocompletion=agents,
        ),
    ],
)

KEYS = ObjectCommands(
    one="key",
    many="keys",
    help="Gateway keys of clients, and their caps.",
    spec=KeySpec,
    table=_keys_table,
    facts=_key_facts,
    balances=_binding,
    special={
        "secret": Special(("--secret",), "Your own value for the key, as a reference; - asks for it.", reference, "REF")
    },
    presets={"preset": (_FOR, _for_agent)},
    created=show_once,
    about={
        "create": "Create a key and print it, once: only its hash is stored.",
        "list": "List the keys, and how much of each cap is spent.",
        "show": "Show one key, and every limit that applies to it.",
        "update": "Change a key; 'none' removes a value.\n\nWhat was spent still counts.",
        "delete": "Delete a key for good.\n\nIts rows in the ledger stay.",
    },
    examples={
        "create": "paig keys create ci --project research --daily 1 --expires 30d",
        "list": "paig keys list --sort -daily",
        "show": "paig keys show ci",
        "update": "paig keys update ci --daily 2 --weekly none",
        "delete": "paig keys delete ci",
    },
)


# Projects and users


def _owner(one: str, example: str, help: str) -> ObjectCommands:
    def table(owners: Sequence[Owner], limits: Sequence[LimitStatus]) -> PrintedTable:
        rows = [[item.name, *cells(of_owner(limits, one, item.name))] for item in owners]
        return PrintedTable([one, *WINDOWS], rows, f"There are no {one}s yet: `paig {one}s create NAME` creates one.")

    def facts(owner: Owner) -> dict[str, str]:
        return {"name": owner.name, "id": owner.id, "created": when(owner.created_at)}

    return ObjectCommands(
        one=one,
        many=f"{one}s",
        help=help,
        spec=ProjectSpec if one == "project" else OwnerSpec,
        table=table,
        facts=facts,
        balances=lambda owner, limits: of_owner(limits, one, owner.name),
        about={
            "create": f"Create a {one}.",
            "list": f"List the {one}s, and how much of each cap is spent.",
            "show": f"Show one {one}, and how much of its limits is used.",
            "update": "Change settings; 'none' removes a value.\n\nWhat was spent still counts.",
            "delete": f"Delete a {one} that nothing refers to.\n\nIts rows in the ledger stay.",
        },
        examples={
            "create": f"paig {one}s create {example} --daily 10 --monthly 100",
            "list": f"paig {one}s list --sort -monthly",
            "show": f"paig {one}s show {example}",
            "update": f"paig {one}s update {example} --daily 20",
            "delete": f"paig {one}s delete {example}",
        },
    )


PROJECTS = _owner("project", "research", "Projects that keys belong to, and their caps.")
USERS = _owner("user", "ada", "Users that keys belong to, and their caps.")


# Providers


def _credentials(texts: list[str]) -> dict[str, Any]:
    if texts == ["none"]:
        return {"credential": None, "credentials": None}
    found = [reference(text) for text in texts]
    several = len(found) > 1
    return {"credential": None if several else found[0], "credentials": found if several else None}


def _shown_credentials(provider: Provider) -> str:
    """Their references; where there are several, each with the id that the ledger has."""
    if len(provider.credentials) < 2:
        return provider.references
    return ", ".join(f"{one.reference} ({one.id})" for one in provider.credentials)


def _provider_settings(options: Mapping[str, Any]) -> str:
    """The settings that are not the default, as `--set` takes them."""
    usual = {name: setting.default for name, setting in ProviderSpec.model_fields.items()}
    found = {name: value for name, value in options.items() if value is not None and value != usual.get(name)}
    times = {f"timeouts.{name}": f"{value:g}" for name, value in (found.pop("timeouts", None) or {}).items()}
    return ", ".join(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in {**found, **times}.items()
    )


def _provider_facts(item: Provider) -> dict[str, str]:
    return {
        **{"name": item.name, "id": item.id, "kind": item.kind, "base url": item.base_url},
        **{"credential": _shown_credentials(item), "settings": _provider_settings(item.options)},
        **{"created": when(item.created_at), "changed": when(item.updated_at)},
    }


def _provider_created(item: Provider, as_json: bool) -> None:
    if as_json:
        return print_json(item)
    say(f"Created the provider {item.name}: send requests to …/proxy/{item.name}.")


NO_PROVIDERS = "There are no providers yet: `paig providers create NAME --kind KIND --credential REF` creates one."
_CREDENTIAL = "env:NAME, keyring:SERVICE/USER, file:PATH; - asks for it. Repeat to spread requests over several."

PROVIDERS = ObjectCommands(
    one="provider",
    many="providers",
    help="Providers: your accounts at AI providers.",
    spec=ProviderSpec,
    table=lambda found, limits: PrintedTable(
        ["name", "kind", "base url", "credential", "settings"],
        [[one.name, one.kind, one.base_url, one.references, _provider_settings(one.options)] for one in found],
        NO_PROVIDERS,
        spare=["settings"],
    ),
    facts=_provider_facts,
    only=("base_url",),
    special={
        "kind": Special(("--kind",), "openai, anthropic, google-vertex, bedrock, …", word, "KIND", str, True),
        "*credentials": Special(("--credential",), _CREDENTIAL, _credentials, "REF", list[str]),
        "base_url": Special(("--base-url",), "Its address; 'none' for the kind's own.", word, "URL"),
        "*settings": SETTINGS,
    },
    created=_provider_created,
    about={
        "create": "Add a provider.\n\nReferences to credentials are read on the gateway's machine.",
        "list": "List the providers.",
        "show": "Show one provider.",
        "update": "Change a provider; 'none' resets a value to its default.",
        "delete": "Delete a provider that nothing refers to.\n\nIts rows in the ledger stay.",
    },
    examples={
        "create": "paig providers create openai --kind openai --credential env:OPENAI_API_KEY",
        "list": "paig providers list",
        "show": "paig providers show openai",
        "update": "paig providers update openai --set require_price=false",
        "delete": "paig providers delete openai",
    },
)


# Routes


def _member(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) > 3:
        raise typer.BadParameter(f"{text!r} is not written PROVIDER[:PRIORITY[:WEIGHT]]")
    return dict(zip(("provider", "priority", "weight"), parts, strict=False))


def _members_of(texts: list[str]) -> list[dict[str, Any]]:
    return [_member(text) for text in texts]


def _keep_models(admin: AdminClient, name: str, changes: dict[str, Any]) -> Route | None:
    """Have members that stay keep what `--member` does not say of them."""
    if "members" not in changes:
        return None
    seen = admin.routes.get(name)
    stays = {old.provider: old.model_dump(exclude={"priority", "weight"}) for old in seen.members}
    changes["members"] = [{**stays.get(one["provider"], {}), **one} for one in changes["members"]]
    return seen


def _share(route: Route, member: MemberSpec) -> str:
    """A member's share of the requests: those of the highest priority share them by weight, the others stand by."""
    active = [one for one in route.members if one.active]
    top = max((one.priority for one in active), default=0)
    first = sum(one.weight for one in active if one.priority == top)
    if not member.active:
        return "out"
    if member.priority < top or (first and not member.weight):
        return "standby"
    return f"{member.weight * 100 // first}%" if first else "any"


def _member_rows(route: Route) -> list[list[str]]:
    return [
        [
            *(member.provider, Cell(str(member.priority), member.priority), Cell(str(member.weight), member.weight)),
            _share(route, member),
            ", ".join(f"{client} → {own}" for client, own in member.models.items()),
        ]
        for member in sorted(route.members, key=lambda member: -member.priority)
    ]


def _routes_table(routes: Sequence[Route], limits: Sequence[LimitStatus]) -> PrintedTable:
    rows = [[route.name if at == 0 else "", *row] for route in routes for at, row in enumerate(_member_rows(route))]
    empty = "There are no routes but the providers' own: `paig routes create NAME --member PROVIDER …` creates one."
    return PrintedTable(["route", *MEMBER], rows, empty, right=["priority", "weight", "share"], spare=["models"])


def _route_settings(route: Route) -> str:
    """The settings that are not the default, as `--set` takes them."""
    found = [f"timeouts.{name}={value:g}" for name, value in route.timeouts if value is not None]
    found += [f"choice={route.choice}"] if route.choice != "weighted" else []
    return ", ".join([*found, *([] if route.affinity else ["affinity=false"])])


def _print_members(route: Route) -> None:
    print()
    print_table(MEMBER, _member_rows(route), right=["priority", "weight", "share"])


def _route_created(item: Route, as_json: bool) -> None:
    print_json(item) if as_json else say(f"Created the route {item.name}: send requests to …/proxy/{item.name}.")


MEMBER = ("provider", "priority", "weight", "share", "models")
_MEMBER_HELP = "A provider, its priority (the highest first), its weight; repeat."

ROUTES = ObjectCommands(
    one="route",
    many="routes",
    help="Routes: groups of providers, in order and by weight.",
    spec=RouteSpec,
    table=_routes_table,
    facts=lambda route: {
        **{"name": route.name, "id": route.id, "settings": _route_settings(route) or "the usual"},
        **{"created": when(route.created_at), "changed": when(route.updated_at)},
    },
    details=_print_members,
    members=lambda route: {"shares": {member.provider: _share(route, member) for member in route.members}},
    only=(),
    special={
        "members": Special(("--member",), _MEMBER_HELP, _members_of, "PROVIDER[:N[:N]]", list[str], True),
        "*settings": Special(
            ("--set",),
            "choice, affinity, or timeouts.deadline and the like; repeat.",
            assignments,
            "FIELD=VALUE",
            list[str],
        ),
    },
    created=_route_created,
    before_update=_keep_models,
    about={
        "create": "Create a route.",
        "list": "List the routes.\n\nEvery provider is also a route with the provider's name.",
        "show": "Show one route and its members.",
        "update": "Change settings or members.\n\n"
        "'none' takes a setting back to its default; a member that stays keeps its model names.",
        "delete": "Delete a route that nothing refers to.\n\nIts rows in the ledger stay.",
    },
    examples={
        "create": "paig routes create fast --member groq:10:3 --member openai:5",
        "list": "paig routes list",
        "show": "paig routes show fast",
        "update": "paig routes update fast --set timeouts.deadline=30",
        "delete": "paig routes delete fast",
    },
)


# Prices


def _price_facts(item: OwnPrice) -> dict[str, str]:
    spec, name = item.spec, item.name
    return {
        **{"name": name, "id": item.id, "model": spec.model or name, "provider": spec.provider or "any"},
        **{"since": spec.since.isoformat() if spec.since else "ever"},
        **{"reads": f"{spec.context_window or ''}", "writes": f"{spec.max_output or ''}"},
        **{unit: usd(rate) for unit, rate in spec.rates.items()},
    }


def _prices_table(prices: Sequence[OwnPrice], limits: Sequence[LimitStatus]) -> PrintedTable:
    rows = [
        [
            *(item.name, item.spec.model or item.name, item.spec.provider or "any"),
            item.spec.since.isoformat() if item.spec.since else "ever",
            ", ".join(f"{unit}={rate:f}" for unit, rate in item.spec.rates.items()),
        ]
        for item in prices
    ]
    empty = "All prices are the price book's: `paig prices create MODEL --rate input_mtok=USD …` sets one."
    return PrintedTable(["name", "model", "provider", "since", "US dollars"], rows, empty)


PRICES = ObjectCommands(
    one="price",
    many="prices",
    help="Your own prices, which replace the price book's.",
    spec=PriceSpec,
    table=_prices_table,
    facts=_price_facts,
    special={
        "model": Special(("--model",), "The model's name or a pattern; NAME unless given."),
        "provider": Special(("--provider",), "Only at this provider.", complete="providers"),
        "since": Special(("--since",), "The first day (UTC) that it applies.", word, "DATE"),
        "*rates": Special(
            ("--rate",),
            "input_mtok=0.5 is 50 cents for a million input tokens; repeat.",
            assignments,
            "UNIT=USD",
            list[str],
        ),
    },
    about={
        "create": "Set a model's price.",
        "list": "List the prices that were set here.",
        "show": "Show one price.",
        "update": "Change a price; 'none' removes a value.\n\nEarlier charges do not change.",
        "delete": "Delete a price: the price book's applies again.\n\nEarlier charges do not change.",
    },
    examples={
        "create": "paig prices create my-model --rate input_mtok=0.5 --rate output_mtok=1.5",
        "list": "paig prices list",
        "show": "paig prices show my-model",
        "update": "paig prices update my-model --rate output_mtok=2",
        "delete": "paig prices delete my-model",
    },
)


# Named limits


def _matches(texts: list[str]) -> dict[str, Any]:
    """`model=gpt-*`, `tag=customer` or `tag=customer=acme`; `none` asks for nothing."""
    return {"match": dict.fromkeys(MatchSpec.model_fields) if texts == ["none"] else assignments(texts)}


def shown_match(limit: NamedLimit) -> str:
    """What a limit matches, as `--match` takes it."""
    found = limit.match.model_dump(exclude_none=True)
    return ", ".join(f"{name}={value}" for name, value in found.items()) or "every request"


NAMED_LIMITS = ObjectCommands(
    one="limit",
    many="named_limits",
    help="Limits: balances, named limits, raises, requests for more.",
    spec=NamedLimitSpec,
    table=lambda found, limits: PrintedTable(
        ["name", "matches", "per"], [[one.name, shown_match(one), one.per or "a single counter"] for one in found]
    ),
    facts=lambda limit: {
        **{"name": limit.name, "id": limit.id, "matches": shown_match(limit), "per": limit.per or "a single counter"},
        **{"created": when(limit.created_at)},
    },
    balances=lambda limit, limits: of_owner(limits, "limit", limit.name),
    special={
        "*match": Special(
            ("--match",), "model=gpt-*, provider, project, key, user, route or tag=customer; repeat.", _matches,
            "FIELD=VALUE", list[str],
        ),
        "per": Special(
            ("--per",), "What gets its own counter: key, user, project, model, provider, session or tag:NAME."
        ),
    },
    about={
        "create": "Limit requests by model, provider, tag, project or user.",
        "show": "Show a named limit, and how much of it is used.",
        "update": "Change a named limit; 'none' removes a value.",
        "delete": "Delete a named limit.",
    },
    examples={
        "create": "paig limits create gpt-per-customer --match model=gpt-* --per tag:customer --daily 5",
        "show": "paig limits show gpt-per-customer",
        "update": "paig limits update gpt-per-customer --daily 10",
        "delete": "paig limits delete gpt-per-customer",
    },
)  # fmt: skip


# Admins


def _grants(texts: list[str]) -> list[dict[str, Any]]:
    """`viewer`, or `editor@research`."""
    return [{"role": role, "project": project or None} for role, _, project in (text.partition("@") for text in texts)]


def shown_grants(found: Sequence[GrantSpec]) -> str:
    """Grants as `--role` takes them."""
    return ", ".join(f"{grant.role}@{grant.project}" if grant.project else grant.role for grant in found)


def _admin_facts(admin: Admin) -> dict[str, str]:
    return {
        **{"name": admin.name, "roles": shown_grants(admin.grants), "state": "active" if admin.active else "inactive"},
        **{"from": "single sign-on" if admin.sso else ""},
    }


def _print_admin(admin: Admin, as_json: bool = False) -> None:
    print_json(admin) if as_json else print_facts(_admin_facts(admin))


ADMINS = ObjectCommands(
    one="admin",
    many="admins",
    help="Administrators of the gateway or of single projects.",
    spec=AdminSpec,
    table=lambda found, limits: PrintedTable(
        ["name", "roles", "from", "state"],
        [
            [one.name, shown_grants(one.grants), "sso" if one.sso else "", "active" if one.active else "inactive"]
            for one in found
        ],
        "There are no admins but the gateway's own token.",
    ),
    facts=_admin_facts,
    special={
        "grants": Special(("--role",), "owner, admin, editor or viewer; repeat.", _grants, "ROLE[@PROJECT]", list[str]),
    },
    created=_print_admin,
    changed=_print_admin,
    about={
        "create": "Create an admin; `paig tokens create` gives them a token.",
        "list": "List admins and their roles.",
        "show": "Show an admin.",
        "update": "Change an admin.\n\nThe given roles replace all earlier ones.",
        "delete": "Delete an admin and all their tokens.",
    },
    examples={
        "create": "paig admins create ada --role editor@research",
        "list": "paig admins list",
        "show": "paig admins show ada",
        "update": "paig admins update ada --role viewer",
        "delete": "paig admins delete ada",
    },
)
