"""Keys: secrets, rotation, states, expiry, what they refer to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import select

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, OwnerSpec, ProjectSpec, ProviderSpec
from paig_gateway.catalog import Catalog, CatalogError, keys
from paig_gateway.database.tables import AuditRow, KeyRow, LimitRow
from tests.gateway.catalogs import ME, open_catalog, sqlite_url

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def row(catalog: Catalog, name: str) -> KeyRow:
    """What is stored of a key."""
    with catalog.view() as session:
        return session.exec(select(KeyRow).where(KeyRow.name == name)).one()


def test_new_key_is_shown_once_and_hashed(catalog: Catalog) -> None:
    """256 random bits, of which only the SHA-256 and the first nine characters stay."""
    made = catalog.keys.create("ci", KeySpec(), actor=ME)
    assert re.fullmatch(r"paig_[A-Za-z0-9_-]{43}", made.key)
    assert made.key != catalog.keys.create("other", KeySpec(), actor=ME).key
    stored = row(catalog, "ci")
    assert (stored.id, stored.hash) == (made.id, sha256(made.key.encode()).hexdigest())
    assert catalog.keys.get("ci").hint == stored.hint == made.key[:9]
    with catalog.view() as session:
        entries = "".join(entry.model_dump_json() for entry in session.exec(select(AuditRow)))
    assert made.key not in stored.model_dump_json() + catalog.keys.get("ci").model_dump_json() + entries


def test_key_is_shown_with_its_owners(catalog: Catalog) -> None:
    """Project, user, routes, models, limits and expiry come back as they were given, alone and in a list."""
    catalog.providers.create("openai", ProviderSpec(kind="openai"), actor=ME)
    catalog.projects.create("research", ProjectSpec(), actor=ME)
    catalog.users.create("ada", OwnerSpec(), actor=ME)
    caps = LimitsSpec(daily=Decimal("0.05"), tokens_per_minute=1000)
    spec = KeySpec(project="research", user="ada", routes=["openai"], models=["gpt-5*"], limits=caps, expires_at=NOW)
    catalog.keys.create("ci", spec, actor=ME)
    catalog.keys.create("plain", KeySpec(), actor=ME)
    key, plain = catalog.keys.list()
    assert (key, plain) == (catalog.keys.get("ci"), catalog.keys.get("plain"))
    assert (key.project, key.user, key.routes, key.models) == ("research", "ada", ["openai"], ["gpt-5*"])
    assert (key.limits, key.expires_at) == (caps, NOW)
    assert (plain.project, plain.user, plain.routes, plain.models, plain.limits) == (
        None,
        None,
        None,
        None,
        LimitsSpec(),
    )


def test_rotation_keeps_id_and_limits(catalog: Catalog) -> None:
    """A rotated key has another secret; everything that money hangs on is the same."""
    made = catalog.keys.create("ci", KeySpec(limits=LimitsSpec(total=Decimal(5))), actor=ME)
    with catalog.view() as session:
        before = session.exec(select(LimitRow)).one().id
    rotated = catalog.keys.rotate("ci", actor=ME)
    assert rotated.id == made.id
    assert rotated.key != made.key
    assert row(catalog, "ci").hash == sha256(rotated.key.encode()).hexdigest()
    assert catalog.keys.get("ci").limits == LimitsSpec(total=Decimal(5))
    with catalog.view() as session:
        assert session.exec(select(LimitRow)).one().id == before
    entry = catalog.audit()[0]
    assert (entry.action, entry.before, entry.after) == ("rotate", {"hint": made.key[:9]}, {"hint": rotated.key[:9]})


def test_states(url: str) -> None:
    """A key is disabled, enabled and blocked, each noted once; one past its expiry says so."""
    with open_catalog(url, now=NOW) as catalog:
        catalog.keys.create("ci", KeySpec(expires_at=NOW + timedelta(seconds=1)), actor=ME)
        assert catalog.keys.get("ci").status == "active"
        assert catalog.keys.set_state("ci", "disabled", actor=ME).status == "disabled"
        assert catalog.keys.set_state("ci", "disabled", actor=ME).version == 2
        assert catalog.keys.set_state("ci", "active", actor=ME).status == "active"
        assert catalog.keys.set_state("ci", "blocked", actor=ME).status == "blocked"
        assert [entry.action for entry in catalog.audit()] == ["block", "enable", "disable", "create"]
        catalog.keys.create("late", KeySpec(expires_at=NOW), actor=ME)
        assert catalog.keys.get("late").status == "expired"


def test_value_chosen_elsewhere(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value that a reference means is hashed, the reference kept as written; a hint shows at most a quarter."""
    monkeypatch.setenv("CI_GATEWAY_KEY", "chosen-elsewhere-long-enough")
    made = catalog.keys.create("ci", KeySpec(secret="env:CI_GATEWAY_KEY"), actor=ME)
    assert made.key == "chosen-elsewhere-long-enough"
    stored = row(catalog, "ci")
    assert (stored.hash, stored.spec["secret"]) == (
        sha256(b"chosen-elsewhere-long-enough").hexdigest(),
        "env:CI_GATEWAY_KEY",
    )
    assert stored.hint == "chosen-"
    with pytest.raises(CatalogError, match="comes from env:CI_GATEWAY_KEY") as caught:
        catalog.keys.rotate("ci", actor=ME)
    assert caught.value.code == "conflict"


def test_another_value_rotates_the_key(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving the reference again after its value changed takes the new value; the id stays."""
    monkeypatch.setenv("CI_GATEWAY_KEY", "first-value-that-is-long-enough")
    made = catalog.keys.create("ci", KeySpec(secret="env:CI_GATEWAY_KEY"), actor=ME)
    monkeypatch.setenv("CI_GATEWAY_KEY", "second-value-that-is-long-enough")
    assert catalog.keys.update("ci", {"secret": "env:CI_GATEWAY_KEY"}, actor=ME).id == made.id
    assert row(catalog, "ci").hash == sha256(b"second-value-that-is-long-enough").hexdigest()
    catalog.keys.update("ci", {"secret": None}, actor=ME)
    assert (row(catalog, "ci").spec.get("secret"), row(catalog, "ci").hash) == (
        None,
        sha256(b"second-value-that-is-long-enough").hexdigest(),
    )


def test_literal_value_is_hashed_and_not_kept(catalog: Catalog) -> None:
    """A literal leaves nothing but its hash; giving it again, or giving back what was shown, changes nothing."""
    catalog.keys.create("ci", KeySpec(secret="value:chosen-here-and-long-enough"), actor=ME)
    stored = row(catalog, "ci")
    assert (stored.hash, stored.spec["secret"]) == (
        sha256(b"chosen-here-and-long-enough").hexdigest(),
        "value:<stored>",
    )
    assert catalog.keys.update("ci", {"secret": "value:chosen-here-and-long-enough"}, actor=ME).version == 1
    assert catalog.keys.update("ci", {"secret": "value:<stored>"}, actor=ME).version == 1
    catalog.keys.update("ci", {"secret": "value:chosen-once-more-and-long-enough"}, actor=ME)
    assert row(catalog, "ci").hash == sha256(b"chosen-once-more-and-long-enough").hexdigest()
    with catalog.view() as session:
        assert "-long" not in "".join(entry.model_dump_json() for entry in session.exec(select(AuditRow)))
    rotated = catalog.keys.rotate("ci", actor=ME)
    assert (row(catalog, "ci").spec.get("secret"), row(catalog, "ci").hint) == (None, rotated.key[:9])


def test_two_keys_never_share_a_value(catalog: Catalog) -> None:
    """The second key of a value is refused, made or changed to it; the error names neither the first nor the value."""
    catalog.keys.create("one", KeySpec(secret="value:same-value-that-is-long-enough"), actor=ME)
    catalog.keys.create("two", KeySpec(), actor=ME)
    for attempt in (
        lambda: catalog.keys.create("three", KeySpec(secret="value:same-value-that-is-long-enough"), actor=ME),
        lambda: catalog.keys.update("two", {"secret": "value:same-value-that-is-long-enough"}, actor=ME),
    ):
        with pytest.raises(CatalogError, match="another key has the same value") as caught:
            attempt()
        assert (caught.value.code, caught.value.field) == ("conflict", "secret")
        assert "same-value-that-is-long-enough" not in str(caught.value)
    assert [key.name for key in catalog.keys.list()] == ["one", "two"]


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        (KeySpec(project="none"), "project", "no project 'none'"),
        (KeySpec(user="none"), "user", "no user 'none'"),
        (KeySpec(routes=["openai", "none"]), "routes.1", "no route or provider 'none'"),
        (KeySpec(models=["gpt-5", ""]), "models.1", "must not be empty"),
        (KeySpec(expires_at=datetime(9999, 12, 31, tzinfo=UTC)), "expires_at", "out of range"),
        (KeySpec(expires_at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))), "expires_at", "out of range"),
        (KeySpec(formats=["openai-chart"]), "formats.0", "did you mean openai-chat?"),
        (KeySpec(secret="my-secret-value"), "secret", "is not a reference"),
        (KeySpec(secret="value:<stored>"), "secret", "no stored value to keep"),
        (KeySpec(secret="value:short"), "secret", "8 to 512"),
        (KeySpec(secret="value:aaaaaaaa"), "secret", "too weak"),
        (KeySpec(secret="value:" + "a" * 27), "secret", "guessing it"),
        (KeySpec(secret="value:with a space"), "secret", "without spaces"),
        (KeySpec(secret="value:not-äscii"), "secret", "ASCII"),
        (KeySpec(secret="env:NOT_SET_ANYWHERE"), "secret", "NOT_SET_ANYWHERE is not set"),
    ],
)
def test_bad_key_names_its_field(plain_catalog: Catalog, spec: KeySpec, field: str, says: str) -> None:
    """Each mistake is refused with its field and what to do, and no key is made."""
    plain_catalog.providers.create("openai", ProviderSpec(kind="openai"), actor=ME)
    with pytest.raises(CatalogError) as caught:
        plain_catalog.keys.create("k", spec, actor=ME)
    assert (caught.value.code, caught.value.field) == ("invalid", field)
    assert says in caught.value.message
    assert plain_catalog.keys.list() == []


def test_owner_of_keys_cannot_be_deleted(catalog: Catalog) -> None:
    """A project or user with keys stays until they are gone."""
    catalog.projects.create("research", ProjectSpec(), actor=ME)
    catalog.users.create("ada", OwnerSpec(), actor=ME)
    catalog.keys.create("ci", KeySpec(project="research", user="ada"), actor=ME)
    for collection, name in ((catalog.projects, "research"), (catalog.users, "ada")):
        with pytest.raises(CatalogError, match="named by the keys 'ci'") as caught:
            collection.delete(name, actor=ME)
        assert caught.value.code == "in-use"
    catalog.keys.delete("ci", actor=ME)
    catalog.projects.delete("research", actor=ME)
    catalog.users.delete("ada", actor=ME)


def test_deleted_key_takes_its_limits_along(catalog: Catalog) -> None:
    """Nothing is left of the key but its audit trail."""
    catalog.keys.create("ci", KeySpec(limits=LimitsSpec(daily=Decimal(1), requests_per_minute=5)), actor=ME)
    catalog.keys.delete("ci", actor=ME)
    with catalog.view() as session:
        assert session.exec(select(LimitRow)).all() == []


def test_long_lists_take_few_queries(tmp_path: Path) -> None:
    """Listing keys with limits asks the database a handful of times, not once for each key."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.projects.create("p", ProjectSpec(), actor=ME)
        with catalog.edit(ME) as edit:
            for number in range(50):
                spec = KeySpec(project="p", limits=LimitsSpec(daily=Decimal(number)))
                keys.create(edit, f"k{number:02}", spec, None)
        asked: list[str] = []
        event.listen(catalog.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        listed = catalog.keys.list()
        assert [int(key.limits.daily or 0) for key in listed] == list(range(50))
        assert {key.project for key in listed} == {"p"}
        assert len(asked) <= 6


def test_a_key_can_be_made_from_the_hash_of_its_value(catalog: Catalog) -> None:
    """Its holder's value works; the hash stands in the Spec; anything but a hash is refused."""
    value = "sk-made-elsewhere-0123456789"
    reference = f"sha256:{sha256(value.encode()).hexdigest()}"
    catalog.keys.create("moved", KeySpec(secret=reference), actor="test")
    with catalog.view() as session:
        [row] = session.exec(select(KeyRow)).all()
        assert row.hash == sha256(value.encode()).hexdigest()
        assert row.spec["secret"] == reference
    for wrong in ("sha256:", "sha256:abc", f"sha256:{'F' * 64}"):
        with pytest.raises(CatalogError, match="64 lower-case hexadecimal digits"):
            catalog.keys.create("other", KeySpec(secret=wrong), actor="test")
    made = catalog.keys.rotate("moved", actor="test")
    assert made.key.startswith("paig_")


def test_a_weak_value_from_before_stays_until_another_is_given(catalog: Catalog) -> None:
    """A key that was made when weak values were taken goes on, also where the same value is given again."""
    with catalog.edit(ME) as edit:
        keys.create(edit, "old", KeySpec(), None)
        weak = sha256(b"aaaaaaaa").hexdigest()
        edit.session.connection().exec_driver_sql(f"UPDATE keys SET hash = '{weak}'")
    catalog.keys.update("old", {"secret": "value:aaaaaaaa"}, actor=ME)
    with pytest.raises(CatalogError, match="too weak"):
        catalog.keys.update("old", {"secret": "value:bbbbbbbb"}, actor=ME)
