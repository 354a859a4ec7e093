"""The directory: what the data plane sees of the catalogue, and how soon."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, OrganisationSpec, OwnerSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.catalog import Catalog, References, keys, resolver
from paig_gateway.catalog import snapshot as module
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.limits import Limit
from paig_gateway.domain.route import NO_CREDENTIAL, ActiveProvider, Credential
from paig_gateway.secrets.vault import Vault
from tests.gateway.catalogs import ME, VAULT, open_catalog, sqlite_url
from tests.gateway.databases import Postgres

ENVIRON = {"OPENAI_API_KEY": "sk-openai"}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalogue on SQLite."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        yield catalog


def load(catalog: Catalog, *, vault: Vault = VAULT) -> Directory:
    """A directory that has been loaded once."""
    directory = Directory(catalog.engine, vault, References(environ=ENVIRON))
    directory.refresh()
    return directory


def add_providers(catalog: Catalog, *names: str) -> None:
    """Providers called as their kinds are."""
    for name in names:
        catalog.providers.create(name, ProviderSpec(kind=name, credential="env:OPENAI_API_KEY"), actor=ME)


def secrets(directory: Directory, provider: str) -> list[str | None]:
    """What a provider is asked with."""
    return [credential.secret for credential in directory.providers()[provider].credentials]


def caller(directory: Directory, key: str) -> Caller | None:
    """Who holds that key."""
    return directory.caller_by_hash(sha256(key.encode()).hexdigest())


def test_caller_has_everything_that_binds_it(catalog: Catalog) -> None:
    """A key's own limits, its user's, its project's and the organisation's are all there, each with its owner."""
    add_providers(catalog, "openai")
    catalog.projects.create("research", ProjectSpec(limits=LimitsSpec(daily=Decimal(10), soft=True)), actor=ME)
    catalog.projects.create("other", ProjectSpec(limits=LimitsSpec(daily=Decimal(1))), actor=ME)
    catalog.users.create("ada", OwnerSpec(limits=LimitsSpec(tokens_per_minute=500)), actor=ME)
    catalog.organisation.put(OrganisationSpec(limits=LimitsSpec(monthly=Decimal("0.000000001"))), actor=ME)
    expiry = datetime(2030, 1, 1, tzinfo=UTC)
    made = catalog.keys.create(
        "ci",
        KeySpec(
            project="research", user="ada", routes=["openai"], models=["gpt-5*"], expires_at=expiry,
            limits=LimitsSpec(total=Decimal("0.05"), requests_per_minute=60),
        ),
        actor=ME,
    )  # fmt: skip
    found = caller(load(catalog), made.key)
    assert found is not None
    assert (found.key_id, found.key, found.project, found.user) == (made.id, "ci", "research", "ada")
    assert found.project_id == catalog.projects.get("research").id
    assert found.user_id == catalog.users.get("ada").id
    assert (found.state, found.expires_at) == ("active", expiry)
    assert (found.routes, found.models) == (("openai",), ("gpt-5*",))

    def told(limit: Limit) -> tuple[str, str, str, str, int, bool]:
        return limit.owner_kind, limit.owner, limit.unit, limit.window, limit.amount, limit.soft

    assert {told(limit) for limit in found.limits} == {
        ("key", "ci", "usd", "total", 50_000_000, False),
        ("key", "ci", "requests", "minute", 60, False),
        ("user", "ada", "tokens", "minute", 500, False),
        ("project", "research", "usd", "daily", 10_000_000_000, True),
        ("organisation", "organisation", "usd", "monthly", 1, False),
    }


def test_key_without_anything(catalog: Catalog) -> None:
    """A plain key has no owner, may use everything, and only the organisation's limits bind it."""
    catalog.projects.create("other", ProjectSpec(limits=LimitsSpec(daily=Decimal(1))), actor=ME)
    made = catalog.keys.create("plain", KeySpec(), actor=ME)
    assert caller(load(catalog), made.key) == Caller(key_id=made.id, key="plain")
    assert caller(load(catalog), "paig_unknown") is None


def test_key_confined_to_nothing_may_use_nothing(catalog: Catalog) -> None:
    """An empty list of routes or models is not the same as none at all."""
    add_providers(catalog, "openai")
    made = catalog.keys.create("k", KeySpec(routes=[], models=[]), actor=ME)
    directory = load(catalog)
    found = caller(directory, made.key)
    assert found is not None
    assert (directory.routes_of(found), found.may_use_model("gpt-5")) == ([], False)


def test_provider_is_resolved(catalog: Catalog) -> None:
    """URL, credential, defaults of the kind and own settings are all in place; the secret is not in the repr."""
    spec = ProviderSpec(
        kind="google-vertex", credential="value:vertex-secret", project="p-1", inject_cost=False,
        price_provider="google", service_tier="flex", on_disconnect="cancel",
    )  # fmt: skip
    [shown] = catalog.providers.create("v", spec, actor=ME).credentials
    catalog.providers.create("local", ProviderSpec(kind="ollama"), actor=ME)
    directory = load(catalog)
    route = directory.route("v")
    assert route is not None
    [member] = route.members
    assert member.provider == ActiveProvider(
        name="v", kind="google-vertex", base_url="https://aiplatform.googleapis.com",
        credentials=(Credential(shown.id, "vertex-secret"),), inject_cost=False, require_price=True,
        price_provider="google", service_tier="flex", on_disconnect="cancel",
        settings={"project": "p-1", "location": "global"},
    )  # fmt: skip
    assert "vertex-secret" not in repr(directory.snapshot)
    local = directory.route("local")
    assert local is not None
    assert (local.members[0].provider.credentials, local.members[0].provider.require_price) == ((NO_CREDENTIAL,), False)
    assert (directory.problem("v"), directory.problem("local")) == (None, None)


def test_route_has_its_active_members(catalog: Catalog) -> None:
    """Priority, weight and model map come along; a member that is not active is left out."""
    add_providers(catalog, "openai", "groq", "mistral")
    members = [
        MemberSpec(provider="groq", priority=10, weight=3, models={"fast": "llama"}),
        MemberSpec(provider="mistral", active=False),
        MemberSpec(provider="openai", priority=5),
    ]
    catalog.routes.create("fast", RouteSpec(members=members), actor=ME)
    route = load(catalog).route("fast")
    assert route is not None
    assert [(member.provider.name, member.priority, member.weight) for member in route.members] == [
        ("groq", 10, 3),
        ("openai", 5, 1),
    ]
    assert route.members[0].model("fast") == "llama"


def test_names_of_routes(catalog: Catalog) -> None:
    """A provider is a route; a route wins over a provider; older spellings mean another unless a route has the name."""
    add_providers(catalog, "openai", "groq", "bedrock", "google-vertex")
    catalog.routes.create("openai", RouteSpec(members=[MemberSpec(provider="groq")]), actor=ME)
    catalog.routes.create("chat", RouteSpec(members=[MemberSpec(provider="openai")]), actor=ME)
    directory = load(catalog)

    def leads_to(name: str) -> tuple[str, str] | None:
        route = directory.route(name)
        return (route.name, route.members[0].provider.name) if route else None

    assert {name: leads_to(name) for name in ("openai", "openai-chat", "openai-responses", "responses", "chat")} == {
        "openai": ("openai", "groq"),
        "openai-chat": ("openai", "groq"),
        "openai-responses": ("openai", "groq"),
        "responses": ("openai", "groq"),
        "chat": ("chat", "openai"),
    }
    assert leads_to("gemini") == leads_to("google-cloud") == ("google-vertex", "google-vertex")
    assert leads_to("converse") == ("bedrock", "bedrock")
    assert leads_to("nothing") is None
    assert directory.routes_of(Caller("k", "k")) == ["bedrock", "chat", "google-vertex", "groq", "openai"]
    assert directory.routes_of(Caller("k", "k", routes=frozenset({"chat", "gone"}))) == ["chat"]


def test_older_spelling_means_nothing_where_there_is_no_such_provider(catalog: Catalog) -> None:
    """An alias of a provider that is not set up is no route."""
    add_providers(catalog, "groq")
    assert load(catalog).route("chat") is None


def test_credential_that_cannot_be_had_stops_nothing_else(catalog: Catalog) -> None:
    """The provider says what is wrong with it, without a secret; the others work."""
    add_providers(catalog, "openai")
    catalog.providers.create("gone", ProviderSpec(kind="openai", credential="env:NOT_SET"), actor=ME)
    catalog.providers.create("sealed", ProviderSpec(kind="openai", credential="value:sk-sealed"), actor=ME)
    directory = load(catalog, vault=Vault("another key"))
    assert directory.problem("openai") is None
    assert "environment variable NOT_SET is not set" in (directory.problem("gone") or "")
    assert "secret key does not fit" in (directory.problem("sealed") or "")
    gone = directory.route("gone")
    assert gone is not None
    assert gone.members[0].provider.credentials == (NO_CREDENTIAL,)


def test_each_of_several_credentials_is_had_by_itself(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that can be had are used, in their order; of the others it is told once which and why."""
    file = tmp_path / "credential"
    listed = ["env:NOT_SET", "value:sk-two", f"file:{file}", "env:OPENAI_API_KEY"]
    shown = catalog.providers.create("p", ProviderSpec(kind="openai", credentials=listed), actor=ME).credentials
    directory = load(catalog)
    provider = directory.providers()["p"]
    assert [(one.id, one.secret) for one in provider.credentials] == [
        (shown[1].id, "sk-two"),
        (shown[3].id, "sk-openai"),
    ]
    assert "sk-" not in repr(provider)
    assert directory.problem("p") is None
    unset, absent = directory.lacking("p")
    assert unset.startswith(f"Cannot read the credential {shown[0].id} of the provider 'p': the environment variable")
    assert absent.startswith(f"Cannot read the credential {shown[2].id} of the provider 'p': there is no file")
    assert [record.message for record in caplog.records] == [unset, absent]
    assert sorted(directory.credentials()) == ["sk-openai", "sk-two"]
    file.write_text("sk-three", "utf-8")
    monkeypatch.setattr(resolver, "RETRY_SECONDS", 0)
    assert directory.refresh() is True
    assert secrets(directory, "p") == ["sk-two", "sk-three", "sk-openai"]
    assert directory.lacking("p") == (unset,)
    assert len(caplog.records) == 2


def test_where_no_credential_can_be_had_all_reasons_are_told(catalog: Catalog) -> None:
    """A provider none of whose credentials can be had is not sent anything, and says why of each."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credentials=["env:NOT_A", "env:NOT_B"]), actor=ME)
    directory = load(catalog)
    assert "NOT_A" in (directory.problem("p") or "")
    assert "NOT_B" in (directory.problem("p") or "")
    assert (directory.lacking("p"), directory.providers()["p"].credentials) == ((), (NO_CREDENTIAL,))


def test_a_credential_is_called_the_same_on_every_node(catalog: Catalog) -> None:
    """Ids are the same in every process and after changes of anything else; another secret is called otherwise."""
    listed = ["value:sk-one", "env:OPENAI_API_KEY"]
    catalog.providers.create("p", ProviderSpec(kind="openai", credentials=listed), actor=ME)

    def ids(directory: Directory) -> list[str]:
        return [one.id for one in directory.providers()["p"].credentials]

    before = ids(load(catalog))
    catalog.providers.update("p", {"inject_cost": False}, actor=ME)
    assert ids(load(catalog)) == before
    catalog.providers.update("p", {"credentials": ["env:OPENAI_API_KEY", "value:sk-one"]}, actor=ME)
    assert ids(load(catalog)) == before[::-1]
    catalog.providers.update("p", {"credentials": ["env:OPENAI_API_KEY", "value:sk-two"]}, actor=ME)
    reference, literal = ids(load(catalog))
    assert reference == before[1]
    assert literal not in before


NEWER = '{"kind": "openai", "unheard_of": true, "timeouts": {"new": 1}}'


def test_kind_of_a_newer_gateway_stops_nothing_else(catalog: Catalog) -> None:
    """A node that does not know a provider's kind or option yet serves all the others."""
    add_providers(catalog, "openai", "groq")
    with catalog.engine.begin() as connection:
        for name, spec in (("openai", NEWER), ("groq", '{"kind": "future"}')):
            connection.execute(
                text("UPDATE providers SET spec = :spec WHERE name = :name"), {"spec": spec, "name": name}
            )
    directory = load(catalog)
    assert "does not know the kind 'future'" in (directory.problem("groq") or "")
    assert directory.problem("openai") is None


def test_refresh_loads_only_after_a_change(catalog: Catalog) -> None:
    """An unchanged catalogue keeps its snapshot; a changed one gives a new snapshot, the old one untouched."""
    made = catalog.keys.create("k", KeySpec(), actor=ME)
    directory = load(catalog)
    before = directory.snapshot
    assert directory.refresh() is False
    assert directory.snapshot is before
    catalog.keys.set_state("k", "disabled", actor=ME)
    assert directory.refresh() is True
    after = caller(directory, made.key)
    assert after is not None
    assert after.state == "disabled"
    assert next(iter(before.callers.values())).state == "active"


def test_empty_catalogue_is_loaded_once(catalog: Catalog) -> None:
    """The first refresh counts even where there is nothing; the second has nothing to do."""
    directory = Directory(catalog.engine, VAULT)
    assert (directory.refresh(), directory.refresh()) == (True, False)


def test_credential_that_turns_up_is_found(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret file that is mounted late makes its provider work without any change to the catalogue."""
    file = tmp_path / "credential"
    catalog.providers.create("late", ProviderSpec(kind="openai", credential=f"file:{file}"), actor=ME)
    directory = load(catalog)
    assert "there is no file" in (directory.problem("late") or "")
    file.write_text("sk-late\n", "utf-8")
    assert directory.refresh() is False  # not looked for again at every poll
    monkeypatch.setattr(resolver, "RETRY_SECONDS", 0)
    assert directory.refresh() is True
    assert directory.problem("late") is None
    assert secrets(directory, "late") == ["sk-late"]
    assert directory.refresh() is False


def test_new_credential_is_taken(catalog: Catalog) -> None:
    """Changing a provider's credential shows in the next snapshot, though credentials are kept between snapshots."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credential="value:first"), actor=ME)
    directory = load(catalog)
    catalog.providers.update("p", {"credential": "value:second"}, actor=ME)
    directory.refresh()
    assert secrets(directory, "p") == ["second"]


def test_ten_thousand_keys_load_quickly(catalog: Catalog) -> None:
    """A big directory is loaded in half a second, and a lookup takes microseconds."""
    catalog.projects.create("p", ProjectSpec(limits=LimitsSpec(daily=Decimal(5))), actor=ME)
    with catalog.edit(ME) as edit:
        keys.create(
            edit, "k", KeySpec(project="p", limits=LimitsSpec(daily=Decimal(1))), "the-last-one-of-ten-thousand"
        )
        columns = "hint, spec, project_id, user_id, state, version, created_at, updated_at"
        edit.session.connection().exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
            f" INSERT INTO keys (id, name, hash, {columns})"
            f" SELECT 'key' || i, 'k' || i, 'h' || i, {columns} FROM keys, n"
        )
        edit.session.connection().exec_driver_sql(
            "INSERT INTO limits (id, owner_kind, owner_id, unit, window, amount, soft)"
            " SELECT 'lim' || id, 'key', id, 'usd', 'total', 1, 0 FROM keys"
        )
    directories = [Directory(catalog.engine, VAULT) for _ in range(3)]
    assert min(timed(directory.refresh) for directory in directories) < 0.5
    directory = directories[0]
    assert len(directory.snapshot.callers) == 10_000
    found = caller(directory, "the-last-one-of-ten-thousand")
    assert found is not None
    assert len(found.limits) == 3


async def until(holds: Callable[[], bool]) -> None:
    """Wait until this holds."""
    while not holds():  # noqa: ASYNC110 - the directory has no event to wait for; what is measured is its poll
        await asyncio.sleep(0.01)


def timed(work: Callable[[], object]) -> float:
    """Seconds of this thread's work that it took, however busy the machine is with other things."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


@pytest.mark.anyio
async def test_change_is_seen_within_a_second(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that another node disables is disabled here within a second, with nothing but the poll."""
    made = await asyncio.to_thread(lambda: catalog.keys.create("k", KeySpec(), actor=ME))
    directory = Directory(catalog.engine, VAULT)
    polls, refresh = itertools.count(), directory.refresh

    def counted() -> bool:
        next(polls)
        return refresh()

    monkeypatch.setattr(directory, "refresh", counted)
    running = asyncio.create_task(directory.run())

    def is_in(state: str) -> Callable[[], bool]:
        return lambda: (found := caller(directory, made.key)) is not None and found.state == state

    try:
        async with asyncio.timeout(60):
            await until(is_in("active"))
            await asyncio.to_thread(lambda: catalog.keys.set_state("k", "disabled", actor=ME))
            before = next(polls)
            await until(is_in("disabled"))
            # Counted, not timed: a busy machine may delay a poll.
            assert (next(polls) - before) * module.POLL_SECONDS < 1
    finally:
        running.cancel()


@pytest.mark.anyio
async def test_database_that_is_away_leaves_the_last_snapshot(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database fails the keys keep working and it is said once; when it is back, changes are seen again."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    made = catalog.keys.create("k", KeySpec(), actor=ME)
    directory = load(catalog)
    real, away, failures = directory.refresh, True, 0

    def refresh() -> bool:
        nonlocal failures
        if away:
            failures += 1
            raise OperationalError("SELECT", {}, Exception("gone"))
        return real()

    monkeypatch.setattr(directory, "refresh", refresh)
    running = asyncio.create_task(directory.run())
    try:
        async with asyncio.timeout(60):
            await until(lambda: failures >= 3)
            assert caller(directory, made.key) is not None
            catalog.keys.delete("k", actor=ME)
            away = False
            await until(lambda: caller(directory, made.key) is None)
    finally:
        running.cancel()
    assert [record.levelname for record in caplog.records if record.name == module.__name__] == ["WARNING"]


def test_directory_on_postgresql(postgres: Postgres) -> None:
    """The same on PostgreSQL, whose snapshot of all tables needs an isolation level of its own."""
    with open_catalog(postgres.fresh_database()) as catalog:
        add_providers(catalog, "openai")
        catalog.projects.create("p", ProjectSpec(), actor=ME)
        made = catalog.keys.create(
            "k", KeySpec(project="p", routes=["openai"], limits=LimitsSpec(daily=Decimal(1))), actor=ME
        )
        directory = load(catalog)
        found = caller(directory, made.key)
        assert found is not None
        assert (found.project, found.routes, len(found.limits)) == ("p", ("openai",), 1)
        assert directory.refresh() is False
        catalog.keys.delete("k", actor=ME)
        assert directory.refresh() is True
        assert caller(directory, made.key) is None


def test_a_refused_literal_credential_waits_for_no_refresh(catalog: Catalog) -> None:
    """It is in no file that may have changed, so its refusal is passed on while the database is read, or hangs."""
    directory = Directory(catalog.engine, VAULT)
    with ThreadPoolExecutor(1) as pool, directory._lock:
        assert pool.submit(directory.renewed, Credential("c1", "sk-literal")).result(10) is None
