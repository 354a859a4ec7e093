"""Export: a file that, applied to the same catalogue, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import (
    KeySpec,
    MatchSpec,
    MemberSpec,
    NamedLimitSpec,
    OrganisationSpec,
    OwnerSpec,
    ProviderSpec,
    RouteSpec,
)
from paig_gateway.catalog import Catalog, CatalogError, References
from paig_gateway.catalog.base import check_free_name
from paig_gateway.config import Config, Plan, apply, export, parse, plan
from tests.gateway.catalogs import ME, open_catalog, sqlite_url
from tests.gateway.config.test_parse import EXAMPLE


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """An empty catalogue; the example's key has a value."""
    monkeypatch.setenv("CI_GATEWAY_KEY", "chosen-for-ci-and-long-enough")
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        yield catalog


def test_export_of_the_example(catalog: Catalog) -> None:
    """The file reads as a person would write it, sorted by name, defaults left out."""
    apply(plan(parse(EXAMPLE), catalog), catalog, actor=ME)
    assert (
        export(catalog)
        == """\
[organisation]
limits = { monthly = 1000 }

[providers.groq]
kind = "groq"

[providers.openai]
kind = "openai"
base_url = "https://api.openai.com/v1"
credential = "env:OPENAI_API_KEY"
require_price = true
price_provider = "openai"

[routes.fast]
members = [{ provider = "groq", priority = 10, weight = 3 }, { provider = "openai", priority = 5 }]

[projects.research]
limits = { daily = 10, weekly = 50, monthly = 100 }

[users.ada]
limits = { daily = 0.05 }

[keys.ci]
project = "research"
user = "ada"
routes = ["openai", "fast"]
models = ["gpt-5*"]
limits = { daily = 1, total = 20, requests_per_minute = 600, tokens_per_minute = 200000 }
secret = "env:CI_GATEWAY_KEY"
"""
    )


def test_export_of_nothing(catalog: Catalog) -> None:
    """An empty catalogue is an empty file."""
    assert export(catalog) == ""


def test_no_secret_is_exported(catalog: Catalog) -> None:
    """A literal stands as stored, a key made here without a value; references are not resolved."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credential="value:sk-secret"), actor=ME)
    made = catalog.keys.create("k", KeySpec(), actor=ME)
    catalog.keys.create("ci", KeySpec(secret="env:CI_GATEWAY_KEY"), actor=ME)
    text = export(catalog)
    assert 'credential = "value:<stored>"' in text
    assert 'secret = "env:CI_GATEWAY_KEY"' in text
    assert not any(secret in text for secret in ("sk-secret", made.key, "chosen-for-ci-and-long-enough"))
    assert plan(parse(text), catalog, prune=True).changes == ()


names = st.text(max_size=100).filter(lambda name: check_free_name(name) is None)
url_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15)
dollars = st.decimals(0, 1_000_000_000, places=9) | st.integers(0, 1000).map(Decimal)
counts = st.integers(0, 2**62)
limits = st.builds(
    LimitsSpec,
    daily=st.none() | dollars,
    weekly=st.none() | dollars,
    total=st.none() | dollars,
    requests_per_minute=st.none() | counts,
    tokens_per_minute=st.none() | counts,
    soft=st.booleans(),
)
owners = st.builds(OwnerSpec, limits=limits)
literals = words.filter(lambda word: word.strip() != "").map(lambda word: f"value:{word}")
references = st.sampled_from(["env:A_KEY", "keyring:a/b", "file:~/x y"]) | literals
held = st.fixed_dictionaries({"credential": st.none() | references}) | st.fixed_dictionaries(
    {"credentials": st.lists(references, min_size=1, max_size=3, unique=True)}
)
providers = st.builds(
    lambda held, **fields: ProviderSpec(**held, **fields),
    held=held,
    kind=st.sampled_from(["openai", "bedrock", "google-vertex", "ollama"]),
    base_url=st.none() | st.sampled_from(["https://x.example/v1", "http://localhost:1/", "https://é.example/a%2Fb"]),
    inject_cost=st.booleans(),
    require_price=st.none() | st.booleans(),
    price_provider=st.none() | words,
    service_tier=st.none() | words,
    on_disconnect=st.sampled_from(["drain", "cancel"]),
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Any configuration that is right by itself."""
    accounts = draw(st.dictionaries(url_names, providers, max_size=3))
    projects = draw(st.dictionaries(names, owners, max_size=3))
    users = draw(st.dictionaries(names, owners, max_size=3))
    members = st.builds(
        MemberSpec,
        provider=st.sampled_from(sorted(accounts) or [""]),
        priority=st.integers(-(2**31), 2**31 - 1),
        weight=st.integers(0, 2**31 - 1),
        active=st.booleans(),
        models=st.dictionaries(words, words, max_size=2),
    )
    routes = st.builds(RouteSpec, members=st.lists(members, min_size=1, max_size=3))
    paths = draw(st.dictionaries(url_names, routes, max_size=3)) if accounts else {}
    reachable = sorted({*accounts, *paths})
    keys = st.builds(
        KeySpec,
        project=st.sampled_from([None, *projects]),
        user=st.sampled_from([None, *users]),
        routes=st.none() | (st.lists(st.sampled_from(reachable), max_size=2) if reachable else st.just([])),
        models=st.none() | st.lists(words, max_size=2),
        limits=limits,
        expires_at=st.none() | st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
        secret=st.sampled_from([None, "value:chosen-literally-and-long", "env:A_KEY"]),
    )
    zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"])
    tight = st.sampled_from([None, "refuse", "lower"])
    organisations = st.builds(OrganisationSpec, limits=limits, timezone=zones, when_tight=tight)
    matches = st.builds(
        MatchSpec, project=st.sampled_from([None, *projects]), route=st.sampled_from([None, *reachable]),
        model=st.sampled_from([None, "gpt-*"]), tag=st.sampled_from([None, "customer", "customer=acme"]),
    )  # fmt: skip
    named = st.builds(
        NamedLimitSpec, match=matches, per=st.sampled_from([None, "key", "tag:customer"]), daily=st.just(Decimal(5))
    )
    return Config(
        organisation=draw(st.none() | organisations),
        providers=accounts,
        routes=paths,
        projects=projects,
        users=users,
        keys=draw(st.dictionaries(names, keys, max_size=3)),
        limits=draw(st.dictionaries(names, named, max_size=2)),
    )


def chosen_twice(config: Config) -> bool:
    """Whether two keys are to have one value, which is refused."""
    chosen = [key.secret for key in config.keys.values() if key.secret]
    return len(chosen) > len(set(chosen))


@pytest.fixture(scope="module")
def shared_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """One catalogue for all examples; each brings it to a configuration of its own, whatever it was before."""
    references = References(environ={"A_KEY": "chosen-in-the-environment-of-all"})
    with open_catalog(sqlite_url(tmp_path_factory.mktemp("export")), references=references) as catalog:
        yield catalog


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(config=configs())
def test_whatever_is_applied_comes_back(shared_catalog: Catalog, config: Config) -> None:
    """From any configuration to any other: the new one is in place, and its export applies to nothing-changed."""

    def still_to_do(wanted: Config) -> Plan:
        return plan(wanted, shared_catalog, prune=True)

    if chosen_twice(config):
        with pytest.raises(CatalogError, match="has the same value"):
            apply(still_to_do(config), shared_catalog, actor=ME)
    else:
        apply(still_to_do(config), shared_catalog, actor=ME)
        assert still_to_do(config).changes == ()
    text = export(shared_catalog)
    assert still_to_do(parse(text)).changes == ()
    assert export(shared_catalog) == text
    assert {*parse(text).keys} == {key.name for key in shared_catalog.keys.list()}
