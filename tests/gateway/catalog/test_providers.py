"""Providers: validation against the kinds, credentials encrypted or referred to."""

from __future__ import annotations

import pytest
from sqlmodel import select

from paig_client.api.specs import KeySpec, MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.catalog import Catalog, CatalogError
from paig_gateway.catalog.credentials import stored
from paig_gateway.database.tables import AuditRow, ProviderRow
from paig_gateway.secrets.vault import Vault
from tests.gateway.catalogs import ME, open_catalog

SECRET = "sk-very-secret"


def row(catalog: Catalog, name: str) -> ProviderRow:
    """What is stored of a provider."""
    with catalog.view() as session:
        return session.exec(select(ProviderRow).where(ProviderRow.name == name)).one()


def test_provider_is_shown_with_what_applies(catalog: Catalog) -> None:
    """The base URL is the kind's own where none is given, the settings' defaults filled in."""
    shown = catalog.providers.create("v", ProviderSpec(kind="google-vertex", location="europe-west4"), actor=ME)
    assert shown.base_url == "https://europe-west4-aiplatform.googleapis.com"
    assert shown.options == {
        "inject_cost": True,
        "allow_unmetered": False,
        "location": "europe-west4",
        "on_disconnect": "drain",
        "provider_cost": True,
    }
    shown = catalog.providers.update("v", {"base_url": "https://proxy.example/v/", "require_price": False}, actor=ME)
    assert shown.base_url == "https://proxy.example/v"
    assert shown.options["require_price"] is False


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        (ProviderSpec(kind="opena"), "kind", "did you mean openai?"),
        (ProviderSpec(kind="zzz"), "kind", "known are anthropic, anthropic-aws, azure"),
        (ProviderSpec(kind="azure"), "base_url", "is needed"),
        (ProviderSpec(kind="openai-compatible"), "base_url", "is needed"),
        (ProviderSpec(kind="openai", base_url="api.openai.com"), "base_url", "must be an address"),
        (ProviderSpec(kind="openai", base_url="ftp://x"), "base_url", "must be an address"),
        (ProviderSpec(kind="openai", base_url="https://x:99999"), "base_url", "must be an address"),
        (ProviderSpec(kind="openai", base_url="https://[x"), "base_url", "must be an address"),
        (ProviderSpec(kind="openai", base_url="https://a b"), "base_url", "must be an address"),
        (ProviderSpec(kind="openai", base_url="https://sk-very-secret@x"), "base_url", "as the credential"),
        (ProviderSpec(kind="openai", base_url="https://x/v1?key=1"), "base_url", "query"),
        (ProviderSpec(kind="openai", region="eu"), "region", "not a setting of the kind openai"),
        (ProviderSpec(kind="bedrock", location="eu"), "location", "it takes region"),
        (ProviderSpec(kind="bedrock", region="eu/../x"), "region", "must hold only"),
        (ProviderSpec(kind="google-vertex", token_url="x"), "token_url", "must be an address"),
        (ProviderSpec(kind="bedrock", storage_url="s3.example"), "storage_url", "must be an address"),
        (ProviderSpec(kind="openai", storage_url="https://s.example"), "storage_url", "not a setting of the kind"),
        (ProviderSpec(kind="openai", credential=SECRET), "credential", "write env:NAME"),
        (ProviderSpec(kind="openai", credential="value:<stored>"), "credential", "no stored credential to keep"),
        (ProviderSpec(kind="openai", credential="env:A", credentials=["env:B"]), "credentials", "give one credential"),
        (ProviderSpec(kind="openai", credentials=["env:A", SECRET]), "credentials.1", "write env:NAME"),
        (ProviderSpec(kind="openai", credentials=["env:A", "env:A"]), "credentials.1", "twice"),
        (ProviderSpec(kind="openai", credentials=["value:<stored>"]), "credentials.0", "no stored credential to keep"),
        (ProviderSpec(kind="openai", credentials=["value:<stored:0a1b2c3d>"]), "credentials.0", "no stored credential"),
    ],
)  # fmt: skip
def test_bad_provider_names_its_field(plain_catalog: Catalog, spec: ProviderSpec, field: str, says: str) -> None:
    """Each mistake is refused with its field and what to do, and without what may be a secret."""
    with pytest.raises(CatalogError) as caught:
        plain_catalog.providers.create("p", spec, actor=ME)
    assert (caught.value.code, caught.value.field) == ("invalid", field)
    assert says in caught.value.message
    assert SECRET not in str(caught.value)


def test_literal_credential_is_encrypted_and_never_shown(catalog: Catalog) -> None:
    """A literal lies encrypted in the database, and neither the object nor the audit log has it."""
    shown = catalog.providers.create("p", ProviderSpec(kind="openai", credential=f"value:{SECRET}"), actor=ME)
    assert shown.credential == "value:<stored>"
    kept = row(catalog, "p")
    assert kept.spec["credential"] == "value:<stored>"
    assert SECRET not in kept.model_dump_json()
    assert literals(catalog, "p") == [SECRET.encode()]
    catalog.providers.update("p", {"credential": f"value:{SECRET}2"}, actor=ME)
    with catalog.view() as session:
        assert SECRET not in "".join(entry.model_dump_json() for entry in session.exec(select(AuditRow)))
    assert [(entry.before or {}).get("credential") for entry in catalog.audit()] == ["value:<stored>", None]
    assert [(entry.after or {}).get("credential") for entry in catalog.audit()] == ["value:<new>", "value:<new>"]


def test_literal_stays_unless_another_is_given(catalog: Catalog) -> None:
    """Changing something else, giving back what was shown, or giving the same literal keeps the stored one."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credential=f"value:{SECRET}"), actor=ME)
    kept = row(catalog, "p").sealed
    catalog.providers.update("p", {"inject_cost": False}, actor=ME)
    catalog.providers.update("p", {"credential": "value:<stored>"}, actor=ME)
    assert catalog.providers.update("p", {"credential": f"value:{SECRET}"}, actor=ME).version == 2
    assert row(catalog, "p").sealed == kept


def literals(catalog: Catalog, name: str) -> list[bytes]:
    """A provider's encrypted credentials, opened."""
    vault = catalog.secrets.vault
    return [vault.open(one.sealed.encode(), one.purpose) for one in stored(row(catalog, name)) if one.sealed]


def test_several_literals_are_encrypted_each_and_never_shown(catalog: Catalog) -> None:
    """Each is called by an id of its own; neither the object, the row nor the audit log has one of them."""
    spec = ProviderSpec(kind="openai", credentials=[f"value:{SECRET}1", "env:KEY", f"value:{SECRET}2"])
    shown = catalog.providers.create("p", spec, actor=ME)
    ids = [one.id for one in shown.credentials]
    assert len(set(ids)) == 3
    assert shown.credential is None
    assert [one.reference for one in shown.credentials] == [
        f"value:<stored:{ids[0]}>",
        "env:KEY",
        f"value:<stored:{ids[2]}>",
    ]
    assert SECRET not in row(catalog, "p").model_dump_json()
    assert literals(catalog, "p") == [f"{SECRET}1".encode(), f"{SECRET}2".encode()]
    assert catalog.audit()[0].after == {"kind": "openai", "credentials": ["value:<new>", "env:KEY", "value:<new>"]}


def test_one_of_several_literals_is_kept_or_dropped_by_its_id(catalog: Catalog) -> None:
    """What was shown keeps what is stored, in any order and number; the same secret again changes nothing."""
    spec = ProviderSpec(kind="openai", credentials=[f"value:{SECRET}1", f"value:{SECRET}2"])
    first, second = (one.reference for one in catalog.providers.create("p", spec, actor=ME).credentials)
    assert catalog.providers.update("p", {"credentials": spec.credentials}, actor=ME).version == 1
    catalog.providers.update("p", {"credentials": [second, "value:new", first]}, actor=ME)
    assert literals(catalog, "p") == [f"{SECRET}2".encode(), b"new", f"{SECRET}1".encode()]
    with pytest.raises(CatalogError, match="which of the stored credentials to keep: write") as caught:
        catalog.providers.update("p", {"credentials": ["value:<stored>"]}, actor=ME)
    assert caught.value.field == "credentials.0"
    with pytest.raises(CatalogError, match="is the same secret as another one"):
        catalog.providers.update("p", {"credentials": [first, f"value:{SECRET}1"]}, actor=ME)
    catalog.providers.update("p", {"credentials": [second]}, actor=ME)
    assert literals(catalog, "p") == [f"{SECRET}2".encode()]


def test_one_credential_becomes_several_and_back(catalog: Catalog) -> None:
    """A stored literal survives from one form into the other; null takes a form away."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credential=f"value:{SECRET}"), actor=ME)
    id = catalog.providers.get("p").credentials[0].id
    changes = {"credential": None, "credentials": ["value:<stored>", "env:B"]}
    assert catalog.providers.update("p", changes, actor=ME).credentials[0].id == id
    assert row(catalog, "p").spec["credentials"] == [f"value:<stored:{id}>", "env:B"]
    back = {"credential": f"value:<stored:{id}>", "credentials": None}
    shown = catalog.providers.update("p", back, actor=ME)
    assert (shown.credential, [one.id for one in shown.credentials]) == ("value:<stored>", [id])
    assert "credentials" not in row(catalog, "p").spec
    assert catalog.providers.update("p", {"credential": f"value:<stored:{id}>"}, actor=ME).version == 3
    with pytest.raises(CatalogError, match="give one credential or a list"):
        catalog.providers.update("p", {"credentials": ["env:B"]}, actor=ME)


def test_reference_replaces_a_literal_and_back(catalog: Catalog) -> None:
    """Only one of the two is ever stored; null takes the credential away."""
    catalog.providers.create("p", ProviderSpec(kind="openai", credential=f"value:{SECRET}"), actor=ME)
    assert catalog.providers.update("p", {"credential": "env:KEY"}, actor=ME).credential == "env:KEY"
    assert (row(catalog, "p").spec["credential"], row(catalog, "p").sealed) == ("env:KEY", {})
    assert catalog.providers.update("p", {"credential": "value:x"}, actor=ME).credential == "value:<stored>"
    assert len(row(catalog, "p").sealed) == 1
    assert catalog.providers.update("p", {"credential": None}, actor=ME).credential is None
    assert ("credential" in row(catalog, "p").spec, row(catalog, "p").sealed) == (False, {})


def test_unreadable_literal_can_be_set_again(url: str) -> None:
    """With another secret key, the way out that the error names works: give the credential again."""
    spec = ProviderSpec(kind="openai", credential=f"value:{SECRET}")
    with open_catalog(url, vault=Vault("old")) as catalog:
        catalog.providers.create("p", spec, actor=ME)
    with open_catalog(url, vault=Vault("new")) as catalog:
        catalog.providers.update("p", {"credential": f"value:{SECRET}"}, actor=ME)
        assert literals(catalog, "p") == [SECRET.encode()]


def test_provider_in_use_cannot_be_deleted(catalog: Catalog) -> None:
    """A member of a route, or what a key is confined to, stays until it is let go; the error says by what."""
    catalog.providers.create("openai", ProviderSpec(kind="openai"), actor=ME)
    catalog.routes.create("fast", RouteSpec(members=[MemberSpec(provider="openai")]), actor=ME)
    with pytest.raises(CatalogError, match="member of the routes fast") as caught:
        catalog.providers.delete("openai", actor=ME)
    assert caught.value.code == "in-use"
    catalog.routes.delete("fast", actor=ME)
    for number in range(7):
        catalog.keys.create(f"k{number}", KeySpec(routes=["openai"]), actor=ME)
    with pytest.raises(CatalogError, match="by the keys 'k0', 'k1', 'k2', 'k3', 'k4' and 2 more"):
        catalog.providers.delete("openai", actor=ME)
    for number in range(7):
        catalog.keys.update(f"k{number}", {"routes": None}, actor=ME)
    catalog.providers.delete("openai", actor=ME)


def test_route_of_the_same_name_stands_in(catalog: Catalog) -> None:
    """A name that a key is confined to may lose its provider while a route has it, and the other way round."""
    for name in ("openai", "groq"):
        catalog.providers.create(name, ProviderSpec(kind=name), actor=ME)
    catalog.routes.create("openai", RouteSpec(members=[MemberSpec(provider="groq")]), actor=ME)
    catalog.keys.create("k", KeySpec(routes=["openai"]), actor=ME)
    catalog.providers.delete("openai", actor=ME)
    with pytest.raises(CatalogError, match="named by the keys 'k'"):
        catalog.routes.delete("openai", actor=ME)
    catalog.providers.create("openai", ProviderSpec(kind="openai"), actor=ME)
    catalog.routes.delete("openai", actor=ME)


def test_route_members_are_checked(catalog: Catalog) -> None:
    """A member must name a provider; priority and weight must fit."""
    catalog.providers.create("openai", ProviderSpec(kind="openai"), actor=ME)
    good = MemberSpec(provider="openai", models={"gpt-5": "gpt-5-mini"}, active=False)
    for bad, field in (
        (MemberSpec(provider="opnai"), "members.1.provider"),
        (MemberSpec(provider="openai", priority=2**40), "members.1.priority"),
        (MemberSpec(provider="openai", weight=2**40), "members.1.weight"),
    ):
        with pytest.raises(CatalogError) as caught:
            catalog.routes.create("fast", RouteSpec(members=[good, bad]), actor=ME)
        assert (caught.value.code, caught.value.field) == ("invalid", field)
    made = catalog.routes.create("fast", RouteSpec(members=[good]), actor=ME)
    assert catalog.routes.get("fast") == made
    assert made.members == [good]
