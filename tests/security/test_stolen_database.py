"""A writer of the database without the secret key moves no credential and hides no change."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from paig_client.api.specs import KeySpec, ProviderSpec
from paig_gateway.app import OpenDatabase
from paig_gateway.catalog import Catalog, CatalogError
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.secret_rotation import rotate
from paig_gateway.secrets.errors import SecretsError
from paig_gateway.secrets.home import secret_key
from paig_gateway.secrets.vault import Vault
from tests.gateway.catalogs import ME, VAULT, open_catalog, sqlite_url

SECRET = "sk-a-literal-credential"
OPENAI = ProviderSpec(kind="openai", base_url="https://api.openai.com/v1", credential=f"value:{SECRET}")


def credentials(catalog: Catalog) -> dict[str, list[str | None]]:
    """The providers' credentials, as a gateway that starts now has them."""
    directory = Directory(catalog.engine, VAULT)
    directory.refresh()
    return {name: [one.secret for one in found.credentials] for name, found in directory.providers().items()}


@pytest.mark.parametrize(
    "moved",
    [
        """UPDATE providers SET spec = replace(spec, 'https://api.openai.com/v1', 'https://evil.example/v1')""",
        """UPDATE providers SET spec = replace(spec, 'https://', 'http://')""",
        """UPDATE providers SET spec = replace(spec, 'api.openai.com/', 'api.openai.com:8443/')""",
        """UPDATE providers SET sealed = (SELECT sealed FROM providers WHERE name = 'openai') WHERE name = 'evil'""",
    ],
)
def test_a_moved_credential_does_not_open(tmp_path: Path, moved: str) -> None:
    """Neither at another origin nor in another provider's row."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.providers.create("openai", OPENAI, actor=ME)
        evil = ProviderSpec(kind="openai", base_url="https://evil.example/v1", credential="value:mine")
        catalog.providers.create("evil", evil, actor=ME)
        assert credentials(catalog) == {"openai": [SECRET], "evil": ["mine"]}
        with catalog.engine.begin() as connection:
            connection.execute(text(moved))
            connection.execute(text("UPDATE providers SET version = version + 1"))
        found = credentials(catalog)
        assert SECRET not in found["evil"]
        if "evil'" not in moved:
            assert found["openai"] == [None]


def test_a_new_origin_needs_the_credential_again(tmp_path: Path) -> None:
    """An administrator cannot have a stored literal sent elsewhere; another path of the same origin is no matter."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.providers.create("openai", OPENAI, actor=ME)
        for changes in (
            {"base_url": "https://evil.example/v1"},
            {"base_url": "http://api.openai.com/v1"},
            {"base_url": None},
            {"base_url": "https://evil.example/v1", "credential": "value:<stored>"},
            {"base_url": "https://evil.example/v1", "credential": None, "credentials": ["value:<stored>"]},
        ):
            with pytest.raises(CatalogError, match="give the credential again"):
                catalog.providers.update("openai", changes, actor=ME)
        catalog.providers.update("openai", {"base_url": "https://api.openai.com/v2"}, actor=ME)
        assert credentials(catalog) == {"openai": [SECRET]}
        changes = {"base_url": "https://other.example/v1", "credential": f"value:{SECRET}"}
        catalog.providers.update("openai", changes, actor=ME)
        assert credentials(catalog) == {"openai": [SECRET]}


def test_a_new_place_of_storage_needs_the_credential_again(tmp_path: Path) -> None:
    """The credential that reads buckets is bound to their address as well."""
    spec = ProviderSpec(kind="google-vertex", project="p", credential=f"value:{SECRET}")
    changes: dict[str, object] = {"storage_url": "https://evil.example"}
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.providers.create("vertex", spec, actor=ME)
        with pytest.raises(CatalogError, match="give the credential again"):
            catalog.providers.update("vertex", changes, actor=ME)
        catalog.providers.update("vertex", {**changes, "credential": f"value:{SECRET}"}, actor=ME)
        assert credentials(catalog) == {"vertex": [SECRET]}
        with pytest.raises(CatalogError, match="give the credential again"):
            catalog.providers.update("vertex", {"storage_url": None}, actor=ME)
        with catalog.engine.begin() as connection:
            connection.execute(text("UPDATE providers SET spec = replace(spec, 'evil.example', 'worse.example')"))
            connection.execute(text("UPDATE providers SET version = version + 1"))
        assert credentials(catalog) == {"vertex": [None]}


@pytest.mark.parametrize(
    "tampered",
    [
        "UPDATE audit SET actor = 'admin:innocent' WHERE name = 'k1'",
        """UPDATE audit SET "after" = NULL WHERE name = 'k1'""",
        "UPDATE audit SET time = time + 1 WHERE name = 'k1'",
        "DELETE FROM audit WHERE name = 'k1'",
        "DELETE FROM audit WHERE name = 'k0'",
        "DELETE FROM audit WHERE name = 'k2'",
        "UPDATE audit SET mac = NULL WHERE name = 'k1'",
        "UPDATE audit SET id = id || 'x' WHERE name = 'k0'",
        "INSERT INTO audit (id, time, actor, action, kind, name) VALUES ('aud_z', 1, 'a', 'create', 'key', 'z')",
        "DELETE FROM meta WHERE name = 'audit_head'",
    ],
)
def test_any_change_of_the_audit_log_is_found(tmp_path: Path, tampered: str) -> None:
    """Altered, missing, inserted and reordered entries, and a head that is gone."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        for number in range(3):
            catalog.keys.create(f"k{number}", KeySpec(), actor=ME)
        good = catalog.verify_audit()
        assert (good.rows, good.problem) == (3, None)
        with catalog.engine.begin() as connection:
            connection.execute(text(tampered))
        assert catalog.verify_audit().problem is not None


def test_a_cut_tail_is_found_against_a_head_kept_elsewhere(tmp_path: Path) -> None:
    """Where the recorded head was put back too, nothing inside the database shows it."""
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        catalog.keys.create("k0", KeySpec(), actor=ME)
        before = catalog.verify_audit().head
        catalog.keys.create("k1", KeySpec(), actor=ME)
        kept = catalog.verify_audit().head
        catalog.keys.create("k2", KeySpec(), actor=ME)
        assert catalog.verify_audit(kept).problem is None
        with catalog.engine.begin() as connection:
            connection.execute(text("DELETE FROM audit WHERE name IN ('k1', 'k2')"))
            connection.execute(
                text("UPDATE meta SET text = :head, value = 1 WHERE name = 'audit_head'"), {"head": before}
            )
        assert catalog.verify_audit().problem is None
        assert "expected head" in (catalog.verify_audit(kept).problem or "")


def test_the_secret_key_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is sealed again, a running gateway reads on, the audit log still verifies, the old key is dropped."""
    monkeypatch.delenv("PAIG_SECRET_KEY", raising=False)
    monkeypatch.delenv("PAIG_DATABASE_URL", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    store = OpenDatabase.open(tmp_path)
    store.catalog.providers.create("openai", OPENAI, actor=ME)
    old = secret_key(tmp_path)
    with pytest.raises(SecretsError, match="no old secret key to drop"):
        rotate(tmp_path, finish=True)
    assert "--finish" in rotate(tmp_path)
    new, kept = secret_key(tmp_path).split(",")
    assert (kept, new != old) == (old, True)
    running = Directory(store.engine, store.vault)  # opened with the old key alone
    running.refresh()
    assert [one.secret for one in running.providers()["openai"].credentials] == [SECRET]
    store.catalog.providers.update("openai", {"inject_cost": False}, actor=ME)
    rotate(tmp_path, finish=True)
    assert secret_key(tmp_path) == new
    fresh = Directory(store.engine, Vault(new))
    fresh.refresh()
    assert [one.secret for one in fresh.providers()["openai"].credentials] == [SECRET]
    assert OpenDatabase.open(tmp_path).catalog.verify_audit().problem is None
    store.engine.dispose()


def test_a_key_of_the_environment_is_rotated_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NEW,OLD` seals again; one key alone, or a weak new one, is refused with what to do."""
    old, new = "an-old-secret-key-0123456789", "a-new-secret-key-0123456789"
    monkeypatch.delenv("PAIG_DATABASE_URL", raising=False)
    monkeypatch.setenv("PAIG_SECRET_KEY", old)
    store = OpenDatabase.open(tmp_path)
    store.catalog.providers.create("openai", OPENAI, actor=ME)
    store.engine.dispose()
    with pytest.raises(SecretsError, match="NEW,OLD"):
        rotate(tmp_path)
    monkeypatch.setenv("PAIG_SECRET_KEY", f"weak,{old}")
    with pytest.raises(SecretsError, match="too weak"):
        rotate(tmp_path)
    monkeypatch.setenv("PAIG_SECRET_KEY", f"{new},{old}")
    assert "the new key alone" in rotate(tmp_path)
    monkeypatch.setenv("PAIG_SECRET_KEY", new)
    store = OpenDatabase.open(tmp_path)
    assert store.catalog.verify_audit().problem is None
    directory = Directory(store.engine, store.vault)
    directory.refresh()
    assert [one.secret for one in directory.providers()["openai"].credentials] == [SECRET]
    store.engine.dispose()
