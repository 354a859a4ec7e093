"""The catalogue: providers, routes, prices, projects, users, keys and limits, which people edit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine

from paig_client.api import resources
from paig_client.api.resources import AuditEntry
from paig_client.api.specs import AdminSpec, OwnerSpec, PriceSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.catalog import admins, audit, owners, prices, providers, routes
from paig_gateway.catalog.audit import EVERY_CHANGE, AuditFilter
from paig_gateway.catalog.base import CatalogError, Edit, Kinds, LimitHooks
from paig_gateway.catalog.collection import Collection, KeyCollection, Organisation, wire_owners, wire_projects
from paig_gateway.catalog.keys import parse_expiry
from paig_gateway.catalog.tokens import TokenCollection
from paig_gateway.catalog.transactions import Transactions, utc_now
from paig_gateway.database.tables import AdminRow, PriceRow, ProjectRow, ProviderRow, RouteRow, UserRow
from paig_gateway.secrets.vault import Vault

__all__ = [
    "AuditFilter",
    "Catalog",
    "CatalogError",
    "Collection",
    "Edit",
    "KeyCollection",
    "Kinds",
    "LimitHooks",
    "Organisation",
    "parse_expiry",
]


class Catalog(Transactions):
    """The catalogue in one database. All methods block; call them in a thread."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        kinds: Kinds,
        *,
        hooks: LimitHooks | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Open the catalogue.

        Args:
            engine: The migrated database.
            vault: Encrypts literal credentials.
            kinds: The provider kinds to validate against.
            hooks: What the ledger does when a limit is made or removed.
            clock: The present.
        """
        super().__init__(engine, vault, kinds, hooks=hooks, clock=clock)
        self.providers: Collection[ProviderRow, ProviderSpec, resources.Provider] = Collection(
            self, providers.SHAPE, lambda session, rows: [providers.wire(row, kinds) for row in rows]
        )
        self.routes: Collection[RouteRow, RouteSpec, resources.Route] = Collection(
            self, routes.SHAPE, lambda session, rows: [routes.wire(row) for row in rows]
        )
        self.prices: Collection[PriceRow, PriceSpec, resources.OwnPrice] = Collection(
            self, prices.SHAPE, lambda session, rows: [prices.wire(row) for row in rows]
        )
        self.projects: Collection[ProjectRow, ProjectSpec, resources.Project] = Collection(
            self, owners.PROJECTS, wire_projects
        )
        self.users: Collection[UserRow, OwnerSpec, resources.Owner] = Collection(self, owners.USERS, wire_owners)
        self.keys = KeyCollection(self)
        self.organisation = Organisation(self)
        self.admins: Collection[AdminRow, AdminSpec, resources.Admin] = Collection(self, admins.SHAPE, admins.wire)
        self.tokens = TokenCollection(self)

    def ensure_project(self, name: str, *, actor: str) -> resources.Project:
        """The project of that name, made without limits if there is none."""
        return self.projects.ensure(name, ProjectSpec(), actor=actor)

    def ensure_user(self, name: str, *, actor: str) -> resources.Owner:
        """The user of that name, made without limits if there is none."""
        return self.users.ensure(name, OwnerSpec(), actor=actor)

    def audit(
        self, which: AuditFilter = EVERY_CHANGE, *, limit: int = 100, before: str | None = None
    ) -> list[AuditEntry]:
        """The changes made, newest first; `before` is the id of the last entry already seen."""
        with self.view() as session:
            return audit.newest(session, which, limit=limit, before=before)

    def changes_since(self, entry: str, *, limit: int = 200) -> list[tuple[AuditEntry, frozenset[str]]]:
        """The changes after one, in order, each with the ids of the projects that it concerns."""
        with self.view() as session:
            return audit.since(session, entry, limit=limit)
