"""A database of an earlier version opens, and everything in it is as it was.

`schema_0010.sql` and `catalog_0010.sql` are a SQLite database as the version with revision 0010 wrote it,
`catalog_0010.toml` is what that version exported from it. Its secret key was `SECRET_KEY`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import LargeBinary, MetaData, Table, create_engine, insert, select
from sqlalchemy.pool import StaticPool
from sqlmodel import select as model_select

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import GrantSpec
from paig_gateway.catalog import Catalog, References
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.config import export
from paig_gateway.database import engine as module
from paig_gateway.database.engine import migrate, open_engine
from paig_gateway.database.tables import ProviderRow
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.secrets.vault import Vault, is_old

HERE = Path(__file__).parent
REFERENCES = References(environ={"AZURE_KEY": "azure", "GROQ_KEY": "groq"})
SECRET_KEY = "the-secret-key-of-an-old-gateway"
TABLES = (
    *("providers", "routes", "prices", "projects", "users", "keys", "limits", "meta", "audit", "admins"),
    *("admin_tokens", "repeats", "counters"),
)


@pytest.fixture
def old(url: str) -> str:
    """A database of either kind at revision 0010, with the rows of `catalog_0010.sql`."""
    source = sqlite3.connect(":memory:", check_same_thread=False)
    for file in ("schema_0010.sql", "catalog_0010.sql"):
        source.executescript((HERE / file).read_text("utf-8"))
    reading = create_engine("sqlite://", creator=lambda: source, poolclass=StaticPool)
    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        for name in TABLES:
            target = Table(name, MetaData(), autoload_with=connection)
            with reading.connect() as old_rows:
                rows = [
                    dict(row._mapping)
                    for row in old_rows.execute(select(Table(name, MetaData(), autoload_with=reading)))
                ]
            for row in rows:
                for column in target.columns:
                    if isinstance(column.type, LargeBinary) and isinstance(row[column.name], str):
                        row[column.name] = row[column.name].encode()
            if rows:
                connection.execute(target.delete())
                connection.execute(insert(target), rows)
    engine.dispose()
    reading.dispose()
    source.close()
    return url


def opened(url: str, key: str = SECRET_KEY) -> Catalog:
    """The catalogue after the migration."""
    engine = open_engine(url)
    migrate(engine)
    return Catalog(engine, Vault(key), REFERENCES)


def test_everything_is_as_it_was(old: str) -> None:
    """The export is the same to the letter; keys, admins, credentials' ids and secrets are found."""
    catalog = opened(old)
    assert export(catalog) == (HERE / "catalog_0010.toml").read_text("utf-8")
    assert [grant.project for grant in catalog.admins.get("eve").grants] == [None, "research"]
    assert catalog.admins.get("eve").grants[1] == GrantSpec(role="editor", project="research")
    assert catalog.admins.get("off").active is False
    assert catalog.keys.get("ci").limits == LimitsSpec(total=20)
    ids = {provider.name: [one.id for one in provider.credentials] for provider in catalog.providers.list()}
    assert ids == {"azure": ["1d62df9e", "7095250e", "29e70655"], "groq": ["022cefb5"], "openai": ["35f40d02"]}
    assert catalog.seal() == 2
    assert catalog.seal() == 0
    directory = Directory(
        catalog.engine, Vault(SECRET_KEY), References(environ={"AZURE_KEY": "azure", "GROQ_KEY": "groq"})
    )
    directory.refresh()
    assert directory.snapshot.problems == {}
    secrets = {name: [one.secret for one in found.credentials] for name, found in directory.providers().items()}
    assert secrets == {
        "openai": ["sk-old-literal"],
        "azure": ["azure", "sk-old-second", "sk-old-third"],
        "groq": ["groq"],
    }
    [eve] = [grant for grant in directory.snapshot.bearers.values() if grant.admin == "eve"]
    assert len(eve.grants) == 2
    catalog.engine.dispose()


def test_credentials_are_sealed_again_and_the_audit_log_gets_its_chain(old: str) -> None:
    """The earlier rows are sealed as one block, which shows any later change of theirs."""
    catalog = opened(old)
    rows = len(catalog.audit(limit=1000))
    catalog.seal()
    with catalog.view() as session:
        sealed = [text for row in session.exec(model_select(ProviderRow)) for text in row.sealed.values()]
    assert len(sealed) == 3
    assert not any(is_old(text.encode()) for text in sealed)
    verified = catalog.verify_audit()
    assert (verified.problem, verified.rows) == (None, rows + 1)
    catalog.users.update("ada", {"limits": None}, actor="me")
    assert catalog.verify_audit(verified.head).problem is None
    with catalog.engine.begin() as connection:
        audit = Table("audit", MetaData(), autoload_with=connection)
        connection.execute(audit.update().where(audit.c.name == "groq").values(actor="somebody else"))
    assert "rows from before the chain were altered" in (catalog.verify_audit().problem or "")
    catalog.engine.dispose()


def test_another_secret_key_is_refused_in_words(old: str) -> None:
    """It names the providers whose credentials it cannot read, and changes nothing."""
    catalog = opened(old, "another-key")
    with pytest.raises(SecretKeyError, match="credentials of azure, openai"):
        catalog.seal()
    catalog.engine.dispose()
    catalog = opened(old)
    assert catalog.seal() == 2
    catalog.engine.dispose()
