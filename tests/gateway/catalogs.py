"""Catalogues for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from paig_gateway.catalog import Catalog, LimitHooks, References
from paig_gateway.database.engine import migrate, open_engine, utc_now
from paig_gateway.secrets.vault import Vault

VAULT = Vault("a key for tests")
ME = "token:test"


@contextmanager
def open_catalog(
    url: str,
    *,
    vault: Vault = VAULT,
    references: References | None = None,
    hooks: LimitHooks | None = None,
    now: datetime | None = None,
) -> Iterator[Catalog]:
    """A catalogue in the database at `url`; with `now`, its clock stands still."""
    engine = open_engine(url)
    migrate(engine)
    try:
        yield Catalog(engine, vault, references, hooks=hooks, clock=(lambda: now) if now else utc_now)
    finally:
        engine.dispose()


def sqlite_url(folder: Path) -> str:
    """A SQLite database in a folder."""
    return f"sqlite:///{folder / 'paig.db'}"
