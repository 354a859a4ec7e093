"""What a person is told of a cap that one usual request does not fit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, OrganisationSpec, OwnerSpec, ProjectSpec
from paig_client.api.vocabulary import WhenTight
from paig_gateway.catalog import Catalog
from paig_gateway.catalog.cap_warnings import cap_warnings
from paig_gateway.config import parse, plan
from tests.gateway.catalogs import ME

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("caps", "models", "when_tight", "found"),
    [
        ({"daily": 1}, ["gpt-5"], "fit", ["A gpt-5 call without a maximum holds $1.28125, more than the daily cap of"]),
        ({"daily": 1}, ["gpt-5"], "fit", ["with when_tight = fit it gets at most 24,875 tokens"]),
        ({"daily": 1}, ["gpt-5"], "refuse", ["it is refused, unless it states a maximum of at most 99,875 tokens"]),
        ({"daily": 0}, ["gpt-5"], "fit", []),
        ({"daily": "0.01"}, ["gpt-5"], "lower", ["not even 4,096 tokens fit"]),
        ({"tokens_per_minute": 20_000}, ["gpt-5"], "fit", ["tokens, more than 20,000 tokens a minute"]),
        ({"daily": 9, "monthly": 1}, ["gpt-5"], "fit", ["the monthly cap of $1"]),
        ({"daily": 1}, ["gpt-5*"], "fit", ["A gpt-5-pro call"]),
        ({"daily": 100}, ["gpt-5"], "fit", []),
        ({"daily": 1}, ["gpt-4o-mini"], "fit", []),
        ({"daily": 1, "soft": True}, ["gpt-5"], "fit", []),
        ({"daily": 1}, ["a-model-of-our-own"], "fit", []),
        ({"requests_per_minute": 1}, None, "fit", []),
        ({}, None, "fit", []),
    ],
)
def test_what_is_said(
    caps: dict[str, object], models: list[str] | None, when_tight: WhenTight, found: list[str]
) -> None:
    said = list(cap_warnings(LimitsSpec.model_validate(caps), models, when_tight, NOW))
    assert len(said) == len(found)
    assert all(part in sentence for part, sentence in zip(found, said, strict=True))


def test_a_new_key_says_it(catalog: Catalog) -> None:
    limits = LimitsSpec.model_validate({"daily": 1})
    assert catalog.keys.create("tight", KeySpec(limits=limits, models=["gpt-5"]), actor=ME).warnings
    assert not catalog.keys.create("small", KeySpec(limits=limits, models=["gpt-4o-mini"]), actor=ME).warnings


def test_whatever_makes_or_changes_a_cap_says_it(catalog: Catalog) -> None:
    """Each by its own mode or that of the organisation; a change of a state says nothing."""
    tight = {"limits": {"daily": "1"}}
    assert catalog.projects.create("lab", ProjectSpec.model_validate(tight), actor=ME).warnings
    catalog.users.create("ada", OwnerSpec(), actor=ME)
    catalog.keys.create("k", KeySpec(models=["gpt-5"]), actor=ME)
    [said] = catalog.projects.update("lab", {"when_tight": "refuse"}, actor=ME).warnings
    assert "with when_tight = refuse it is refused" in said
    assert catalog.users.update("ada", tight, actor=ME).warnings
    assert not catalog.users.update("ada", {"limits": {"daily": "100"}}, actor=ME).warnings
    [said] = catalog.keys.update("k", tight, actor=ME).warnings
    assert said.startswith("A gpt-5 call without a maximum holds")
    assert not catalog.keys.set_state("k", "disabled", actor=ME).warnings
    assert not catalog.keys.get("k").warnings
    changed = catalog.organisation.update(tight, actor=ME)
    assert changed.warnings
    assert catalog.organisation.put(OrganisationSpec(), actor=ME).warnings == []


def test_a_plan_says_it_of_what_changes(catalog: Catalog) -> None:
    """By the key's own mode, else its project's, else the organisation's."""
    text = """
        [organisation]
        when_tight = "refuse"
        [projects.lab]
        when_tight = "lower"
        [keys.own]
        project = "lab"
        when_tight = "fit"
        models = ["gpt-5"]
        limits = { daily = 1 }
        [keys.of-project]
        project = "lab"
        models = ["gpt-5"]
        limits = { daily = 1 }
        [keys.of-none]
        models = ["gpt-5"]
        limits = { daily = 1 }
    """
    said = plan(parse(text), catalog).warnings(NOW)
    assert [sentence.partition(":")[0] for sentence in said] == ["key own", "key of-project", "key of-none"]
    assert ["when_tight = fit" in said[0], "when_tight = lower" in said[1], "when_tight = refuse" in said[2]] == [
        True
    ] * 3
