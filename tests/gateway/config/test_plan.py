"""Plans: what applying a file would do, and doing it in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from sqlmodel import select

from paig_client.api.specs import KeySpec, OwnerSpec, ProviderSpec
from paig_gateway.catalog import Catalog, CatalogError
from paig_gateway.config import ConfigError, apply, parse, plan
from paig_gateway.database.tables import KeyRow, LimitRow
from tests.gateway.catalogs import ME, open_catalog, sqlite_url
from tests.gateway.config.test_parse import EXAMPLE


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """An empty catalogue; the example's key has a value."""
    monkeypatch.setenv("CI_GATEWAY_KEY", "chosen-for-ci-and-long-enough")
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        yield catalog


def applied(text: str, catalog: Catalog, *, prune: bool = False) -> list[tuple[str, str, str]]:
    """Apply a file; answers what the plan said."""
    made = plan(parse(text), catalog, prune=prune)
    apply(made, catalog, actor=ME)
    return [(change.action, change.kind, change.name) for change in made.changes]


def stored(catalog: Catalog, key: str) -> KeyRow:
    """What is stored of a key."""
    with catalog.view() as session:
        return session.exec(select(KeyRow).where(KeyRow.name == key)).one()


def test_example_is_applied_once(catalog: Catalog) -> None:
    """The first time makes everything in one step of the directory, the second time nothing."""
    assert applied(EXAMPLE, catalog) == [
        ("change", "organisation", "organisation"),
        ("create", "project", "research"),
        ("create", "user", "ada"),
        ("create", "provider", "openai"),
        ("create", "provider", "groq"),
        ("create", "route", "fast"),
        ("create", "key", "ci"),
    ]
    assert catalog.version() == 1
    assert [member.provider for member in catalog.routes.get("fast").members] == ["groq", "openai"]
    assert stored(catalog, "ci").hash == sha256(b"chosen-for-ci-and-long-enough").hexdigest()
    assert {entry.actor for entry in catalog.audit()} == {ME}
    assert applied(EXAMPLE, catalog) == []
    assert catalog.version() == 1


def test_plan_changes_nothing(catalog: Catalog) -> None:
    """Making a plan is a dry run."""
    assert len(plan(parse(EXAMPLE), catalog).changes) == 7
    assert (catalog.version(), catalog.keys.list()) == (0, [])


def test_change_is_shown_from_before_to_after(catalog: Catalog) -> None:
    """Only the fields that change are in the plan, in a form that JSON can take."""
    applied(EXAMPLE, catalog)
    changed = EXAMPLE.replace("inject_cost = true", "inject_cost = false").replace('price_provider = "openai"\n', "")
    assert plan(parse(changed.replace("daily = 0.05", "daily = 2")), catalog).items() == [
        {
            "action": "change", "kind": "user", "name": "ada",
            "changes": {"limits": ({"daily": "0.05"}, {"daily": "2"})},
        },
        {
            "action": "change", "kind": "provider", "name": "openai",
            "changes": {"price_provider": ("openai", None), "inject_cost": (None, False)},
        },
    ]  # fmt: skip
    assert applied(changed, catalog) == [("change", "provider", "openai")]
    assert catalog.providers.get("openai").options["inject_cost"] is False


def test_limit_that_stays_keeps_its_counter(catalog: Catalog) -> None:
    """Raising a cap by file does not make a new limit."""
    applied(EXAMPLE, catalog)

    def ids() -> set[str]:
        with catalog.view() as session:
            return set(session.exec(select(LimitRow.id)))

    before = ids()
    applied(EXAMPLE.replace("daily = 10", "daily = 20"), catalog)
    assert ids() == before


def test_key_made_here_is_answered_once(catalog: Catalog) -> None:
    """A key without a `secret` is made and its value answered; one chosen elsewhere is not repeated."""
    text = EXAMPLE + "[keys.new]\n"
    [made] = apply(plan(parse(text), catalog), catalog, actor=ME)
    assert made.name == "new"
    assert stored(catalog, "new").hash == sha256(made.key.encode()).hexdigest()
    assert apply(plan(parse(text), catalog), catalog, actor=ME) == []


def test_value_that_changed_elsewhere_rotates_the_key(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file with another value in the environment gives the same key that value."""
    applied(EXAMPLE, catalog)
    before = stored(catalog, "ci")
    monkeypatch.setenv("CI_GATEWAY_KEY", "chosen-again-and-long-enough")
    made = plan(parse(EXAMPLE), catalog)
    assert made.items() == [
        {
            "action": "change", "kind": "key", "name": "ci",
            "changes": {"secret": ("env:CI_GATEWAY_KEY", "env:CI_GATEWAY_KEY (a new value)")},
        }
    ]  # fmt: skip
    apply(made, catalog, actor=ME)
    after = stored(catalog, "ci")
    assert (after.id, after.hash) == (before.id, sha256(b"chosen-again-and-long-enough").hexdigest())
    assert applied(EXAMPLE, catalog) == []


def test_value_that_cannot_be_had_is_told_with_its_line(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key whose value is missing stops the plan, at the line that refers to it."""
    monkeypatch.delenv("CI_GATEWAY_KEY")
    with pytest.raises(ConfigError, match=r"^paig\.toml:27: keys\.ci\.secret: the environment variable CI_GATEWAY_KEY"):
        plan(parse(EXAMPLE), catalog)


def test_literal_secrets_are_never_in_a_plan(catalog: Catalog) -> None:
    """Literals of providers and keys are compared with what is stored, and shown as new or not at all."""
    text = '[providers.p]\nkind = "openai"\ncredential = "value:sk-{}"\n'
    text += '[keys.k]\nsecret = "value:chosen-and-long-enough-{}"\n'
    first, second = text.format(1, 1), text.format(2, 2)
    shown = str(plan(parse(first), catalog).items())
    applied(first, catalog)
    assert applied(first, catalog) == []
    shown += str(plan(parse(second), catalog).items())
    assert applied(second, catalog) == [("change", "provider", "p"), ("change", "key", "k")]
    assert "sk-" not in shown
    assert "-long" not in shown
    assert stored(catalog, "k").hash == sha256(b"chosen-and-long-enough-2").hexdigest()
    assert applied(second, catalog) == []


def test_stored_secret_is_kept_but_not_invented(catalog: Catalog) -> None:
    """`value:<stored>` keeps what is stored; where nothing is, it is an error with its line."""
    text = '[providers.p]\nkind = "openai"\ncredential = "{}"\n'
    kept = text.format("value:<stored>")
    with pytest.raises(ConfigError, match=r"^paig\.toml:3: providers\.p\.credential: there is no stored credential"):
        plan(parse(kept), catalog)
    applied(text.format("value:sk-1"), catalog)
    assert applied(kept, catalog) == []


def test_what_the_file_does_not_name_is_left_alone(catalog: Catalog) -> None:
    """Without `prune` nothing is ever deleted, the organisation's limits included."""
    applied(EXAMPLE, catalog)
    assert applied("[users.bob]\n", catalog) == [("create", "user", "bob")]
    assert catalog.keys.get("ci").project == "research"
    assert catalog.organisation.get().limits.monthly == 1000


def test_prune_makes_the_catalogue_what_the_file_says(catalog: Catalog) -> None:
    """With `prune` what the file does not name is deleted, in an order in which nothing is in use."""
    applied(EXAMPLE, catalog)
    assert applied('[providers.groq]\nkind = "groq"\n[users.bob]\n', catalog, prune=True) == [
        ("delete", "key", "ci"),
        ("change", "organisation", "organisation"),
        ("create", "user", "bob"),
        ("delete", "route", "fast"),
        ("delete", "provider", "openai"),
        ("delete", "project", "research"),
        ("delete", "user", "ada"),
    ]
    assert [provider.name for provider in catalog.providers.list()] == ["groq"]


def test_key_that_is_renamed_keeps_its_value(catalog: Catalog) -> None:
    """With `prune`, the value of a deleted key is free for the key that takes its place."""
    applied(EXAMPLE, catalog)
    applied(EXAMPLE.replace("[keys.ci]", "[keys.build]"), catalog, prune=True)
    assert [key.name for key in catalog.keys.list()] == ["build"]
    assert stored(catalog, "build").hash == sha256(b"chosen-for-ci-and-long-enough").hexdigest()


def test_all_or_nothing(catalog: Catalog) -> None:
    """A change that cannot be made undoes those before it: here, a value that another key has."""
    catalog.keys.create("other", KeySpec(secret="value:chosen-for-ci-and-long-enough"), actor=ME)
    made = plan(parse(EXAMPLE), catalog)
    with pytest.raises(CatalogError, match="another key has the same value"):
        apply(made, catalog, actor=ME)
    assert (catalog.projects.list(), catalog.providers.list()) == ([], [])


def test_plan_that_no_longer_holds_is_refused(catalog: Catalog) -> None:
    """What was shown is what is done, or nothing."""
    made = plan(parse(EXAMPLE), catalog)
    catalog.projects.create("research", OwnerSpec(), actor=ME)
    with pytest.raises(CatalogError, match="plan again") as caught:
        apply(made, catalog, actor=ME)
    assert caught.value.code == "changed"
    assert catalog.providers.list() == []


def test_two_processes_may_apply_the_same_file(catalog: Catalog) -> None:
    """The second of two that planned at the same time finds it done, and prints no keys."""
    text = EXAMPLE + "[keys.new]\n"
    first, second = plan(parse(text), catalog), plan(parse(text), catalog)
    assert [key.name for key in apply(first, catalog, actor=ME)] == ["new"]
    assert apply(second, catalog, actor=ME) == []


def test_state_of_a_key_is_not_the_files(catalog: Catalog) -> None:
    """A key that was disabled stays disabled when the file is applied again."""
    applied(EXAMPLE, catalog)
    catalog.keys.set_state("ci", "disabled", actor=ME)
    assert applied(EXAMPLE.replace("daily = 1,", "daily = 3,"), catalog) == [("change", "key", "ci")]
    assert catalog.keys.get("ci").status == "disabled"


def test_own_route_and_provider_of_one_name(catalog: Catalog) -> None:
    """A route may have its provider's name."""
    catalog.providers.create("groq", ProviderSpec(kind="groq"), actor=ME)
    text = '[providers.groq]\nkind = "groq"\n[routes.groq]\nmembers = [{ provider = "groq" }]\n'
    text += '[keys.k]\nroutes = ["groq"]\n'
    assert applied(text, catalog) == [("create", "route", "groq"), ("create", "key", "k")]
    assert applied(text, catalog) == []
