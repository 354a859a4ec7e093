"""What all kinds of objects have in common: creating, reading, changing, deleting, versions, audit, locking."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlmodel import col, select

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, OrganisationSpec, OwnerSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.catalog import Catalog, CatalogError, LimitHooks, objects, owners
from paig_gateway.database.tables import LimitRow
from tests.gateway.catalogs import ME, open_catalog, sqlite_url

OPENAI = ProviderSpec(kind="openai", credential="env:OPENAI_API_KEY")


def test_object_is_made_read_changed_and_deleted(catalog: Catalog) -> None:
    """The whole life of an object, addressed by its name and by its id."""
    made = catalog.projects.create("research", ProjectSpec(limits=LimitsSpec(daily=Decimal(5))), actor=ME)
    assert made.version == 1
    assert made.limits == LimitsSpec(daily=Decimal(5))
    assert catalog.projects.get("research") == catalog.projects.get(made.id) == made
    changed = catalog.projects.update(made.id, {"limits": {"weekly": "9.5"}}, actor=ME)
    assert (changed.version, changed.limits) == (2, LimitsSpec(daily=Decimal(5), weekly=Decimal("9.5")))
    assert changed.updated_at >= changed.created_at == made.created_at
    catalog.projects.delete("research", actor=ME)
    assert catalog.projects.list() == []
    with pytest.raises(CatalogError, match="no project 'research'") as caught:
        catalog.projects.get("research")
    assert caught.value.code == "not-found"


def test_null_takes_a_field_back_to_its_default(catalog: Catalog) -> None:
    """Changes merge as RFC 7396 has it: nested ones field by field, null removes."""
    catalog.projects.create("p", ProjectSpec(limits=LimitsSpec(daily=Decimal(1), total=Decimal(9))), actor=ME)
    assert catalog.projects.update("p", {"limits": {"daily": None}}, actor=ME).limits == LimitsSpec(total=Decimal(9))
    assert catalog.projects.update("p", {"limits": None}, actor=ME).limits == LimitsSpec()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"limits": {"daily": -1}}, "limits.daily"),
        ({"limits": {"dayly": 1}}, "limits.dayly"),
        ({"limits": 3}, "limits"),
        ({"limits": {"requests_per_minute": 2**63}}, "limits.requests_per_minute"),
    ],
)
def test_bad_change_names_its_field_and_changes_nothing(
    plain_catalog: Catalog, changes: dict[str, object], field: str
) -> None:
    """An invalid change is refused with the field at fault."""
    before = plain_catalog.projects.create("p", ProjectSpec(), actor=ME)
    with pytest.raises(CatalogError) as caught:
        plain_catalog.projects.update("p", changes, actor=ME)
    assert (caught.value.code, caught.value.field) == ("invalid", field)
    assert plain_catalog.projects.get("p") == before


def test_name_is_taken_once(catalog: Catalog) -> None:
    """A second object of the same name is a conflict; of another kind it is not, and case counts."""
    catalog.projects.create("ada", ProjectSpec(), actor=ME)
    with pytest.raises(CatalogError, match="There is a project 'ada' already") as caught:
        catalog.projects.create("ada", ProjectSpec(), actor=ME)
    assert caught.value.code == "conflict"
    catalog.users.create("ada", OwnerSpec(), actor=ME)
    catalog.projects.create("Ada", ProjectSpec(), actor=ME)


@pytest.mark.parametrize(
    "name", ["a", "x" * 100, "Ada's laptop", "研究", "a/b?c=d#e%20", "[@click=app.bell]x[/]", "👩🏽‍🚀", "-", ".."]
)
def test_names_of_owners_and_keys_are_free_text(catalog: Catalog, name: str) -> None:
    """Whatever a person calls a project, a user or a key is kept as it is."""
    catalog.projects.create(name, ProjectSpec(), actor=ME)
    catalog.users.create(name, OwnerSpec(), actor=ME)
    catalog.keys.create(name, KeySpec(project=name, user=name), actor=ME)
    assert catalog.projects.get(name).name == catalog.users.get(name).name == catalog.keys.get(name).project == name


@pytest.mark.parametrize(
    "name", ["", "x" * 101, " a", "a\n", "a\x00b", "a\x1b[31m", "a\u2028b", "\ud800", "key_0123456789abcdef"]
)
def test_names_that_would_break_something_are_refused(plain_catalog: Catalog, name: str) -> None:
    """Nothing empty, long, padded, with control characters, not encodable, or mistakable for an id."""
    for make in (
        lambda: plain_catalog.projects.create(name, ProjectSpec(), actor=ME),
        lambda: plain_catalog.keys.create(name, KeySpec(), actor=ME),
        lambda: plain_catalog.users.create(name, OwnerSpec(), actor=ME),
        lambda: plain_catalog.providers.create(name, OPENAI, actor=ME),
    ):
        with pytest.raises(CatalogError) as caught:
            make()
        assert (caught.value.code, caught.value.field) == ("invalid", "name")


@pytest.mark.parametrize("name", ["Ada's", "a/b", "a b", "ü", "-a", ".a", "x" * 65, "a\n"])
def test_names_of_providers_and_routes_stand_in_urls(plain_catalog: Catalog, name: str) -> None:
    """Providers and routes take only what needs no escaping in a path."""
    with pytest.raises(CatalogError, match="must start with a letter or digit"):
        plain_catalog.providers.create(name, OPENAI, actor=ME)
    with pytest.raises(CatalogError, match="must start with a letter or digit"):
        plain_catalog.routes.create(name, RouteSpec(members=[MemberSpec(provider="x")]), actor=ME)


def test_stale_version_is_refused(catalog: Catalog) -> None:
    """A change or deletion made on an old version is refused; on the present one it is done."""
    catalog.projects.create("p", ProjectSpec(), actor=ME)
    catalog.projects.update("p", {"limits": {"daily": 1}}, actor=ME, version=1)
    for attempt in (
        lambda: catalog.projects.update("p", {"limits": {"daily": 2}}, actor=ME, version=1),
        lambda: catalog.projects.delete("p", actor=ME, version=1),
    ):
        with pytest.raises(CatalogError, match="at version 2, not 1") as caught:
            attempt()
        assert caught.value.code == "changed"
    catalog.projects.delete("p", actor=ME, version=2)


def test_change_that_changes_nothing_leaves_no_trace(catalog: Catalog) -> None:
    """No new version of the object or the directory, and no audit entry."""
    catalog.projects.create("p", ProjectSpec(), actor=ME)
    before, directory = catalog.projects.get("p"), catalog.version()
    catalog.projects.update("p", {"limits": {"soft": True, "daily": None}}, actor=ME)
    assert (catalog.projects.get("p"), catalog.version()) == (before, directory)
    assert len(catalog.audit()) == 1


def test_every_change_raises_the_directory_version_once(catalog: Catalog) -> None:
    """One transaction, one step; a refused change takes none."""
    assert catalog.version() == 0
    catalog.providers.create("openai", OPENAI, actor=ME)
    catalog.keys.create("k", KeySpec(), actor=ME)
    assert catalog.version() == 2
    with pytest.raises(CatalogError):
        catalog.keys.create("k", KeySpec(), actor=ME)
    catalog.keys.set_state("k", "disabled", actor=ME)
    catalog.keys.rotate("k", actor=ME)
    catalog.keys.delete("k", actor=ME)
    assert catalog.version() == 5


def test_audit_tells_who_did_what(catalog: Catalog) -> None:
    """Newest first, with before and after, page by page."""
    catalog.projects.create("p", ProjectSpec(limits=LimitsSpec(daily=Decimal(1))), actor="ada")
    catalog.projects.update("p", {"limits": {"daily": "2.50"}}, actor="bob")
    catalog.projects.delete("p", actor="eve")
    entries = catalog.audit()
    assert [(entry.actor, entry.action, entry.kind, entry.name, entry.before, entry.after) for entry in entries] == [
        ("eve", "delete", "project", "p", {"limits": {"daily": "2.5"}}, None),
        ("bob", "update", "project", "p", {"limits": {"daily": "1"}}, {"limits": {"daily": "2.5"}}),
        ("ada", "create", "project", "p", None, {"limits": {"daily": "1"}}),
    ]
    assert catalog.audit(limit=1) == entries[:1]
    assert catalog.audit(before=entries[0].id) == entries[1:]


def test_many_changes_are_one_transaction(catalog: Catalog) -> None:
    """A failure in the middle of an edit undoes what came before it, audit and version included."""

    def fail_halfway() -> None:
        with catalog.edit(ME) as edit:
            objects.create(edit, owners.PROJECTS, "p", OwnerSpec())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert (catalog.projects.list(), catalog.audit(), catalog.version()) == ([], [], 0)


def test_concurrent_changes_come_one_after_the_other(catalog: Catalog) -> None:
    """Changes of several nodes at once neither fail nor get lost, and of equal names exactly one is made."""
    catalog.projects.create("p", ProjectSpec(), actor=ME)
    together = threading.Barrier(8)
    fields = ["daily", "weekly", "monthly", "total", "requests_per_minute", "tokens_per_minute"]

    def work(number: int) -> str:
        together.wait()
        if number < len(fields):
            catalog.projects.update("p", {"limits": {fields[number]: number + 1}}, actor=ME)
            return "changed"
        try:
            catalog.users.create("same", OwnerSpec(), actor=ME)
        except CatalogError as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    assert sorted(answers[6:]) == ["conflict", "made"]
    assert catalog.projects.get("p").limits == LimitsSpec(
        daily=Decimal(1), weekly=Decimal(2), monthly=Decimal(3), total=Decimal(4), requests_per_minute=5,
        tokens_per_minute=6,
    )  # fmt: skip
    assert catalog.projects.get("p").version == 7
    assert catalog.version() == 8


def test_edits_of_a_process_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many edits at once wait for each other, even if SQLite itself hardly waits for a lock."""
    monkeypatch.setattr("paig_gateway.database.engine.BUSY_SECONDS", 0.01)
    with open_catalog(sqlite_url(tmp_path)) as catalog, ThreadPoolExecutor(32) as pool:
        made = list(pool.map(lambda number: catalog.keys.create(f"k{number}", KeySpec(), actor=ME).name, range(32)))
        assert sorted(key.name for key in catalog.keys.list()) == sorted(made)
        assert catalog.version() == 32


def test_hooks_run_inside_the_transaction(url: str) -> None:
    """The ledger hears of each limit made or removed, sees its row, and what it does is undone with the rest."""
    heard: list[tuple[str, str, int]] = []

    def created(connection: Connection, row: LimitRow) -> None:
        stored = connection.execute(select(LimitRow).where(col(LimitRow.id) == row.id)).one()
        heard.append(("created", f"{stored.unit} {stored.window}", stored.amount))
        if row.amount == 13:
            raise ZeroDivisionError

    def removed(connection: Connection, row: LimitRow) -> None:
        heard.append(("removed", f"{row.unit} {row.window}", row.amount))

    with open_catalog(url, hooks=LimitHooks(created, removed)) as catalog:
        catalog.projects.create("p", ProjectSpec(limits=LimitsSpec(daily=Decimal("0.5"))), actor=ME)
        catalog.projects.update("p", {"limits": {"daily": 2, "requests_per_minute": 60}}, actor=ME)
        assert heard == [("created", "usd daily", 500_000_000), ("created", "requests minute", 60)]
        heard.clear()
        with pytest.raises(ZeroDivisionError):
            catalog.projects.update("p", {"limits": {"daily": None, "tokens_per_minute": 13}}, actor=ME)
        assert catalog.projects.get("p").limits == LimitsSpec(daily=Decimal(2), requests_per_minute=60)
        heard.clear()
        catalog.projects.delete("p", actor=ME)
        assert sorted(heard) == [("removed", "requests minute", 60), ("removed", "usd daily", 2_000_000_000)]


def test_limit_keeps_its_id_while_its_amount_changes(catalog: Catalog) -> None:
    """A raised cap is the same limit, so what is spent of it stays spent."""
    catalog.projects.create("p", ProjectSpec(limits=LimitsSpec(daily=Decimal(1))), actor=ME)

    def limits() -> list[tuple[str, int, bool]]:
        with catalog.view() as session:
            return [(row.id, row.amount, row.soft) for row in session.exec(select(LimitRow))]

    [(before, _, _)] = limits()
    catalog.projects.update("p", {"limits": {"daily": 3, "soft": True}}, actor=ME)
    assert limits() == [(before, 3_000_000_000, True)]


def test_organisation_has_limits(catalog: Catalog) -> None:
    """The whole gateway's limits are put, read, audited, and taken away."""
    caps = OrganisationSpec(limits=LimitsSpec(monthly=Decimal(100), soft=True), when_tight="lower")
    assert catalog.organisation.get() == OrganisationSpec()

    def put(spec: OrganisationSpec) -> OrganisationSpec:
        done = catalog.organisation.put(spec, actor=ME)
        return OrganisationSpec.model_validate(done.model_dump(exclude={"warnings"}))

    assert put(caps) == caps
    assert put(caps) == catalog.organisation.get()
    assert [(entry.kind, entry.after) for entry in catalog.audit()] == [
        ("organisation", {"limits": {"monthly": "100", "soft": True}, "when_tight": "lower"})
    ]
    assert put(OrganisationSpec()) == OrganisationSpec()


@pytest.mark.parametrize("reference", ["none", "proj_0123456789abcdef", "a\x00b", "\ud800", "", "x" * 1000])
def test_what_is_not_there_is_not_found(catalog: Catalog, reference: str) -> None:
    """Whatever is asked for in vain is an orderly answer, also where a database would stumble over it."""
    with pytest.raises(CatalogError) as caught:
        catalog.projects.get(reference)
    assert caught.value.code == "not-found"
