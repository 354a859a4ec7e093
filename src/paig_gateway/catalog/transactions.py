"""The catalogue's transactions.

Every change is one transaction with the change itself, its audit entry and a new `directory_version`, by which running
nodes notice it. The version is written first: that takes the lock by which all edits, on all nodes, run one after the
other. Within a process, edits take turns before that: waiting for the database's lock would use up its connections, and
SQLite has no queue, so that of many edits some would wait in vain until it gives up ("database is locked").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from paig_gateway.catalog.base import CatalogError, Edit, LimitHooks, Secrets
from paig_gateway.database.columns import milliseconds
from paig_gateway.database.engine import utc_now
from paig_gateway.database.tables import MetaRow

OWNERS = frozenset({"paig serve", "SIGHUP", "token:admin"})
"""The actors that act for the gateway's owner: the start with a file, and the gateway's own admin token."""
DIRECTORY_VERSION = "directory_version"
"""The `meta` row whose value rises with every change that running nodes must see."""

_RAISE_VERSION = text(
    f"INSERT INTO meta (name, value) VALUES ('{DIRECTORY_VERSION}', 1)"
    " ON CONFLICT (name) DO UPDATE SET value = meta.value + 1 RETURNING value"
)


class Transactions:
    """The catalogue of one database, open for reading and for changes."""

    def __init__(
        self,
        engine: Engine,
        secrets: Secrets,
        *,
        hooks: LimitHooks | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Open the catalogue.

        Args:
            secrets: Seals literal credentials, and knows the allowed references.
            hooks: Called when a limit is made or removed.
        """
        self.engine = engine
        self.secrets = secrets
        self._hooks = hooks or LimitHooks()
        self._clock = clock
        self._turn = threading.Lock()

    @contextmanager
    def edit(self, actor: str) -> Iterator[Edit]:
        """Open one transaction for any number of changes; committed if the block succeeds and has changed anything.

        Raises:
            CatalogError: `conflict` where the database itself refuses a duplicate.
        """
        engine = self.engine.execution_options(immediate=True)
        with self._turn, Session(engine, expire_on_commit=False) as session:
            now = milliseconds(self._clock())
            version = session.connection().execute(_RAISE_VERSION).scalar_one()
            edit = Edit(session, self.secrets_for(actor), self._hooks, version, actor, now)
            try:
                yield edit
                if edit.changes:
                    session.commit()
            except IntegrityError as error:
                raise CatalogError(
                    "conflict", "An object of that name or value was made at the same time: repeat the request."
                ) from error

    def secrets_for(self, actor: str) -> Secrets:
        """The vault, and the references that this actor may name."""
        if actor not in OWNERS:
            return self.secrets
        return replace(self.secrets, references=replace(self.secrets.references, of_owner=True))

    @contextmanager
    def view(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    def now(self) -> int:
        """The present in milliseconds since the epoch."""
        return milliseconds(self._clock())

    def version(self) -> int:
        """The directory's version: it rises with every change."""
        with self.view() as session:
            row = session.get(MetaRow, DIRECTORY_VERSION)
            return row.value if row else 0
