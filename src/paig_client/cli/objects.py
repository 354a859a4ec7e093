"""`paig providers`, `paig projects` and `paig users`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from paig_client.cli.output import ahead

if TYPE_CHECKING:
    from paig_client.api.resources import CredentialHealth, ProviderHealth, TryFigures
    from paig_client.api.vocabulary import BreakerState

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from paig_client.cli import caps
from paig_client.cli.caps import Daily, Monthly, RequestsPerMinute, Soft, TokensPerMinute, Total, Weekly
from paig_client.cli.commands import Commands
from paig_client.cli.completion import names
from paig_client.cli.options import (
    Json,
    Profile,
    Url,
    Yes,
    assignments,
    checked,
    confirm,
    connected,
    reference,
    some,
)
from paig_client.cli.output import print_facts, print_json, print_table, say, when

if TYPE_CHECKING:
    from paig_client.admin import AdminClient, Collection
    from paig_client.api.resources import Owner, Provider
    from paig_client.api.specs import OwnerSpec

W = TypeVar("W", bound="Owner")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=names())]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Where it answers; 'none' for the kind's own.")]
Credentials = Annotated[
    list[str] | None,
    typer.Option(
        "--credential",
        metavar="REF",
        help="env:NAME, keyring:SERVICE/USER, file:PATH; - asks for it. Repeat to spread requests over several.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Another setting, such as region=eu-west-1; repeat."),
]

providers = Commands(no_args_is_help=True, help="Providers: accounts upstream.")
projects = Commands(no_args_is_help=True, help="Projects that keys belong to, and their caps.")
users = Commands(no_args_is_help=True, help="Users that keys belong to, and their caps.")


@providers.command("list")
def list_providers(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """List the providers."""
    with connected(url, profile) as admin:
        found = admin.providers.list()
    if json:
        return print_json(found)
    rows = [[item.name, item.kind, item.base_url, item.references, _options(item.options)] for item in found]
    empty = "There are no providers yet: `paig providers create NAME --kind KIND --credential REF` makes one."
    print_table(["name", "kind", "base url", "credential", "settings"], rows, empty=empty, spare=["settings"])


@providers.command("show")
def show_provider(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Show one provider."""
    with connected(url, profile) as admin:
        item = admin.providers.get(name)
    if json:
        return print_json(item)
    facts = {"name": item.name, "id": item.id, "kind": item.kind, "base url": item.base_url}
    facts |= {"credential": _credentials(item), "settings": _options(item.options)}
    print_facts({**facts, "created": when(item.created_at), "changed": when(item.updated_at)})


@providers.command("create")
def create_provider(
    name: NewName,
    kind: Annotated[str, typer.Option("--kind", help="openai, anthropic, google-vertex, bedrock, …")],
    credential: Credentials = None,
    base_url: BaseUrl = None,
    settings: Settings = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Add a provider.

    References are looked up where the gateway runs.
    """
    from paig_client.api.specs import ProviderSpec

    fields = _fields(base_url, credential, settings)
    given = {field: value for field, value in fields.items() if value is not None}
    spec = checked(ProviderSpec, {"kind": kind, **given})
    with connected(url, profile) as admin:
        item = admin.providers.create(name, spec)
    print_json(item) if json else say(f"Made the provider {item.name}: send requests to …/proxy/{item.name}.")


@providers.command("update")
def update_provider(
    name: Name,
    credential: Credentials = None,
    base_url: BaseUrl = None,
    settings: Settings = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Change what is given; 'none' takes a value back to its default."""
    changes = _fields(base_url, credential, settings)
    some(changes)
    with connected(url, profile) as admin:
        item = admin.providers.update(name, changes)
    print_json(item) if json else say(f"Changed the provider {item.name}.")


@providers.command("test")
def try_provider(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Try a provider out, and say what is wrong.

    The gateway sends it a small free request.
    """
    with connected(url, profile) as admin:
        found = admin.providers.test(name)
    if json:
        print_json(found)
    else:
        facts = {"provider": found.provider, "asked": found.request, "status": str(found.status or "")}
        facts |= {"models": str(found.models or ""), "took": f"{found.ms:.0f}ms"}
        print_facts({"result": f"{'●' if found.ok else '✕'} {found.outcome}", **facts})
        say(found.message)
    if not found.ok:
        raise typer.Exit(1)


@providers.command("health")
def show_health(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this provider.", autocompletion=names())
    ] = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Show how the providers fare.

    Their breakers on all nodes, and the tries of the last five minutes.
    """
    with connected(url, profile) as admin:
        only = admin.providers.get(name).name if name else None
        found = [one for one in admin.providers.health() if only in (None, one.provider)]
    if json:
        return print_json(found)
    empty = "There are no providers yet: `paig providers create NAME --kind KIND --credential REF` makes one."
    print_table(HEALTH_COLUMNS, health_rows(found), empty=empty, right=HEALTH_FIGURES, spare=["tries", "credential"])


def _owners(app: Commands, one: str, of: Callable[[AdminClient], Collection[OwnerSpec, W, W]]) -> None:
    """The commands that projects and users have alike."""

    def list_owners(json: Json = False, url: Url = None, profile: Profile = None) -> None:
        with connected(url, profile) as admin:
            found = of(admin).list()
            if json:
                return print_json(found)
            limits = admin.limits() if found else []
        rows = [[item.name, *caps.cells(caps.of_owner(limits, one, item.name))] for item in found]
        print_table([one, *caps.WINDOWS], rows, empty=f"There are no {one}s yet: `paig {one}s create NAME` makes one.")

    def show(name: Name, json: Json = False, url: Url = None, profile: Profile = None) -> None:
        with connected(url, profile) as admin:
            item = of(admin).get(name)
            if json:
                return print_json(item)
            own = caps.of_owner(admin.limits(), one, item.name)
        print_facts({"name": item.name, "id": item.id, "created": when(item.created_at)})
        caps.print_limits(own)

    def create(
        name: NewName,
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
        from paig_client.api.specs import OwnerSpec

        given = caps.limits(daily, weekly, monthly, total, requests_per_minute, tokens_per_minute, soft)
        with connected(url, profile) as admin:
            item = of(admin).create(name, checked(OwnerSpec, {"limits": given} if given else {}))
        print_json(item) if json else say(f"Made the {one} {item.name}.")

    def update(
        name: Name,
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
        given = caps.limits(daily, weekly, monthly, total, requests_per_minute, tokens_per_minute, soft)
        some(given)
        with connected(url, profile) as admin:
            item = of(admin).update(name, {"limits": given})
        print_json(item) if json else say(f"Changed the {one} {item.name}.")

    app.command("list", help=f"List the {one}s, and how much of each cap is spent.")(list_owners)
    app.command("show", help=f"Show one {one}, and where its limits stand.")(show)
    app.command("create", help=f"Make a {one}.")(create)
    app.command("update", help="Change limits; 'none' lifts one.\n\nWhat is spent stays.")(update)


def deletes(app: Commands, one: str, of: Callable[[AdminClient], Collection[Any, Any, Any]]) -> None:
    """The command that all kinds have alike."""

    def delete(name: Name, yes: Yes = False, json: Json = False, url: Url = None, profile: Profile = None) -> None:
        confirm(f"Delete the {one} {name} for good?", yes)
        with connected(url, profile) as admin:
            of(admin).delete(name)
        print_json({"deleted": name}) if json else say(f"Deleted the {one} {name}.")

    app.command("delete", help=f"Delete a {one} that nothing names any more.\n\nIts rows in the ledger stay.")(delete)


def _fields(base_url: str | None, credentials: list[str] | None, settings: list[str] | None) -> dict[str, Any]:
    """A provider's fields that were given; None takes one back to its default."""
    fields = assignments(settings)
    if base_url is not None:
        fields["base_url"] = None if base_url == "none" else base_url
    if credentials:
        found = [None] if credentials == ["none"] else [reference(text) for text in credentials]
        fields |= (
            {"credential": found[0], "credentials": None}
            if len(found) == 1
            else {
                "credential": None,
                "credentials": found,
            }
        )
    return fields


def _credentials(provider: Provider) -> str:
    """Their references, each with the id that the ledger has where there are several."""
    if len(provider.credentials) < 2:
        return provider.references
    return ", ".join(f"{one.reference} ({one.id})" for one in provider.credentials)


def _options(options: dict[str, Any]) -> str:
    """What is set otherwise than by default, as `--set` takes it."""
    from paig_client.api.specs import ProviderSpec

    usual = {name: field.default for name, field in ProviderSpec.model_fields.items()}
    found = {name: value for name, value in options.items() if value is not None and value != usual.get(name)}
    times = {f"timeouts.{name}": f"{value:g}" for name, value in found.pop("timeouts", {}).items()}
    return ", ".join(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in {**found, **times}.items()
    )


_owners(projects, "project", lambda admin: admin.projects)
_owners(users, "user", lambda admin: admin.users)
deletes(providers, "provider", lambda admin: admin.providers)
deletes(projects, "project", lambda admin: admin.projects)
deletes(users, "user", lambda admin: admin.users)


HEALTH_COLUMNS = ("provider", "credential", "state", "5m ok", "p95", "429s", "tries", "note")
HEALTH_FIGURES = ("5m ok", "p95", "429s", "tries")
_MARKS: dict[BreakerState, str] = {"closed": "●", "half-open": "◐", "cooling": "■", "open": "✕"}


def health_rows(found: Iterable[ProviderHealth]) -> Iterator[list[str]]:
    """A row for each provider, and below it, where it has several, one for each of its credentials."""
    for provider in found:
        name, state = provider.provider, provider.state
        if len(provider.credentials) == 1:
            [only] = provider.credentials
            yield [name, "", _state(state), *_figures(only), _note(only)]
            continue
        yield [name, "", _state(state), *_figures(provider), ""]
        for one in provider.credentials:
            yield ["", one.credential, _state(one.state), *_figures(one), _note(one)]


def _state(state: BreakerState) -> str:
    return f"{_MARKS[state]} {state}"


def _figures(figures: TryFigures) -> list[str]:
    if not figures.tries:
        return ["–", "–", "0", "0"]
    share = "–" if figures.ok_share is None else f"{figures.ok_share:.1%}"
    return [share, _time(figures.p95_ms), str(figures.throttled), str(figures.tries)]


def _time(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:.0f}ms" if ms < 1000 else f"{ms / 1000:.1f}s"


def _note(health: CredentialHealth) -> str:
    """Why it is so, until when, and on how many nodes where not on all."""
    if health.waits:
        return ", ".join(f"{wait.model}: {wait.reason}, {ahead(wait.until)}" for wait in health.waits)
    if health.state == "closed":
        return ""
    so = sum(node.state == health.state for node in health.nodes)
    where = f"{so} of {len(health.nodes)} nodes" if so < len(health.nodes) else ""
    return ", ".join(part for part in (health.reason, ahead(health.until), where) if part)
