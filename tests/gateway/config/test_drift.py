"""Drift: what was changed by hand since a file was applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import (
    AdminSpec,
    GrantSpec,
    KeySpec,
    OrganisationSpec,
    OwnerSpec,
    ProjectSpec,
    ProviderSpec,
    TokenSpec,
)
from paig_gateway.catalog import Catalog
from paig_gateway.config import apply, export, parse, plan
from tests.gateway.catalogs import ME, open_catalog, sqlite_url

FILE = """
[providers.openai]
kind = "openai"
[projects.research]
limits = { daily = 10 }
[keys.ci]
project = "research"
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A catalogue that the file was applied to."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        bring(catalog, FILE)
        yield catalog


def bring(catalog: Catalog, text: str) -> None:
    """Apply a file."""
    apply(plan(parse(text), catalog), catalog, actor="file")


def drifted(catalog: Catalog, text: str = FILE, *, prune: bool = False) -> list[tuple[str, str, str]]:
    """What is shown of each object that drifted."""
    found = plan(parse(text), catalog, prune=prune).drift
    return [(entry.action, entry.kind, entry.name) for entry in found]


def test_nothing_has_drifted_from_what_was_never_applied(tmp_path: Path) -> None:
    """A catalogue that was always changed by hand has nothing to drift from."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.users.create("ada", OwnerSpec(), actor=ME)
        assert drifted(catalog) == []


def test_drift_is_also_counted_from_an_apply_that_changes_nothing(tmp_path: Path) -> None:
    """As of a file that was exported just now; applying it again and again leaves one mark."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.projects.create("research", ProjectSpec(), actor=ME)
        text = export(catalog)
        for _ in range(3):
            bring(catalog, text)
        assert [entry.action for entry in catalog.audit()] == ["apply", "create"]
        catalog.projects.update("research", {"limits": {"daily": 5}}, actor=ME)
        assert drifted(catalog, text) == [("update", "project", "research")]


def test_what_was_applied_has_not_drifted(catalog: Catalog) -> None:
    """A file's own changes are no drift, nor those of another file."""
    assert drifted(catalog) == []
    bring(catalog, "[users.ada]")
    assert drifted(catalog) == []


def test_changes_by_hand_are_told_until_they_are_put_right(catalog: Catalog) -> None:
    """Drift shows the value of the last apply and the present one, for any actors and number of steps."""
    for daily in (5, 7):
        catalog.projects.update("research", {"limits": {"daily": daily}}, actor=ME)
    catalog.providers.delete("openai", actor=ME)
    assert drifted(catalog) == [("update", "project", "research"), ("delete", "provider", "openai")]
    [entry, _] = plan(parse(FILE), catalog).drift
    assert (entry.before, entry.after) == ({"limits": {"daily": "10"}}, {"limits": {"daily": "7"}})
    assert entry.actor == ME
    bring(catalog, FILE)
    assert drifted(catalog) == []


def test_what_the_file_does_not_name(catalog: Catalog) -> None:
    """It is told whether it would be pruned or stays; not, where it is gone again."""
    catalog.users.create("eve", OwnerSpec(), actor=ME)
    catalog.users.create("mallory", OwnerSpec(), actor=ME)
    catalog.users.delete("mallory", actor=ME)
    catalog.organisation.put(OrganisationSpec(limits=LimitsSpec(monthly=100)), actor=ME)
    expected = [("create", "user", "eve"), ("update", "organisation", "organisation")]
    assert drifted(catalog) == expected
    assert drifted(catalog, prune=True) == expected


def test_what_came_back_to_what_it_was_has_not_drifted(catalog: Catalog) -> None:
    """Nor has what the file now says likewise."""
    catalog.projects.update("research", {"limits": {"daily": 5}}, actor=ME)
    assert drifted(catalog, FILE.replace("daily = 10", "daily = 5")) == []
    catalog.projects.update("research", {"limits": {"daily": 10}}, actor=ME)
    assert drifted(catalog) == []


def test_a_keys_state_and_secret_are_no_drift(catalog: Catalog) -> None:
    """A file cannot say them."""
    catalog.keys.rotate("ci", actor=ME)
    catalog.keys.set_state("ci", "disabled", actor=ME)
    assert drifted(catalog) == []


def test_admins_and_their_tokens_are_no_drift(catalog: Catalog) -> None:
    """No file can name them, and a login by single sign-on changes no configuration."""
    ada = catalog.admins.create("ada", AdminSpec(grants=[GrantSpec(role="viewer")]), actor=ME)
    catalog.tokens.create("laptop", ada.id, TokenSpec(), actor=ME)
    assert drifted(catalog) == []


def test_no_secret_is_told(catalog: Catalog) -> None:
    """Of a literal credential only that one is stored."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credential="value:sk-secret"), actor=ME)
    catalog.keys.create("k", KeySpec(secret="value:chosen-literally-here-and-long"), actor=ME)
    told = repr(plan(parse(FILE), catalog).drift)
    assert "p" in told
    assert "sk-secret" not in told
    assert "chosen-literally" not in told


def test_what_was_changed_by_hand_can_be_kept(catalog: Catalog) -> None:
    """With `keep_drift` it stays as it is, everything else is applied, and it is still known as drift afterwards."""
    catalog.projects.update("research", {"limits": {"daily": 5}}, actor=ME)
    text = f"{FILE}\n[users.ada]\n"
    kept = plan(parse(text), catalog, keep_drift=True)
    assert [str(change) for change in kept.changes] == ["+ user ada"]
    assert kept.kept == {("project", "research")}
    apply(kept, catalog, actor="file")
    assert catalog.projects.get("research").limits == LimitsSpec(daily=5)
    [change] = plan(parse(text), catalog).changes
    reverted = plan(parse(text), catalog).reverts(change)
    assert reverted is not None
    assert (reverted.actor, reverted.before, reverted.after) == (
        ME,
        {"limits": {"daily": "10"}},
        {"limits": {"daily": "5"}},
    )
