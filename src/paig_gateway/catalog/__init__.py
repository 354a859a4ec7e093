"""The catalogue: providers, routes, prices, projects, users, keys, admins, tokens and limits, which people edit.

In come Specs and references to objects; out go resources, as the admin API shows them, and `snapshot.Directory`, the
catalogue in memory that the data plane asks. Each kind of object is one record (`objects.ObjectType`); each change is
one transaction that also writes the audit log and raises the version by which every node notices it (`transactions`).

What must never be true: a change without its audit entry; a literal secret in a row's `spec`, in the audit log or in a
resource; an object that names another one that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine

from paig_client.api import resources
from paig_client.api.resources import AuditEntry
from paig_client.api.specs import AdminSpec, NamedLimitSpec, OwnerSpec, PriceSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.catalog import audit, chain, credentials
from paig_gateway.catalog.admins import ADMINS
from paig_gateway.catalog.audit import EVERY_CHANGE, AuditFilter
from paig_gateway.catalog.base import CatalogError, Edit, LimitHooks, Secrets
from paig_gateway.catalog.collection import Collection, KeyCollection, OrganisationSettings
from paig_gateway.catalog.named_limits import NAMED_LIMITS
from paig_gateway.catalog.objects import rows
from paig_gateway.catalog.owners import PROJECTS, USERS
from paig_gateway.catalog.people import People
from paig_gateway.catalog.prices import PRICES
from paig_gateway.catalog.providers import PROVIDERS
from paig_gateway.catalog.raises import Raises
from paig_gateway.catalog.routes import ROUTES
from paig_gateway.catalog.tokens import TokenCollection
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.engine import utc_now
from paig_gateway.database.tables import AdminRow, NamedLimitRow, PriceRow, ProjectRow, ProviderRow, RouteRow, UserRow
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.secrets.references import References
from paig_gateway.secrets.vault import Vault

__all__ = [
    "AuditFilter",
    "Catalog",
    "CatalogError",
    "Collection",
    "Edit",
    "KeyCollection",
    "LimitHooks",
    "OrganisationSettings",
    "References",
]


class Catalog(Transactions):
    """The catalogue in one database. All methods block; call them in a thread."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        references: References | None = None,
        *,
        hooks: LimitHooks | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Open the catalogue.

        Args:
            vault: Seals literal credentials.
            references: What references may name; by default all but the gateway's own.
            hooks: Called when a limit is made or removed.
        """
        super().__init__(engine, Secrets(vault, references or References()), hooks=hooks, clock=clock)
        self.providers: Collection[ProviderRow, ProviderSpec, resources.Provider] = Collection(self, PROVIDERS)
        self.routes: Collection[RouteRow, RouteSpec, resources.Route] = Collection(self, ROUTES)
        self.prices: Collection[PriceRow, PriceSpec, resources.OwnPrice] = Collection(self, PRICES)
        self.projects: Collection[ProjectRow, ProjectSpec, resources.Project] = Collection(self, PROJECTS)
        self.users: Collection[UserRow, OwnerSpec, resources.Owner] = Collection(self, USERS)
        self.admins: Collection[AdminRow, AdminSpec, resources.Admin] = Collection(self, ADMINS)
        self.named_limits: Collection[NamedLimitRow, NamedLimitSpec, resources.NamedLimit] = Collection(
            self, NAMED_LIMITS
        )
        self.keys = KeyCollection(self)
        self.raises = Raises(self)
        self.organisation = OrganisationSettings(self)
        self.tokens = TokenCollection(self)
        self.people = People(self)

    def audit(
        self, which: AuditFilter = EVERY_CHANGE, *, limit: int = 100, before: str | None = None
    ) -> list[AuditEntry]:
        """The changes made, newest first; `before` is the id of the last entry already seen."""
        with self.view() as session:
            return audit.newest(session, which, limit=limit, before=before)

    def audit_page(
        self, which: AuditFilter, *, limit: int, cursor: str | None, sort: str | None
    ) -> tuple[list[AuditEntry], str | None]:
        """A page of the changes, newest first or in another order, and the cursor of the next page.

        Raises:
            BadOrder: They cannot be sorted so, or the cursor is not one of this list.
        """
        with self.view() as session:
            if sort is not None:
                return audit.in_order(session, which, limit=limit, cursor=cursor, sort=sort)
            found = audit.newest(session, which, limit=limit + 1, before=cursor)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def audit_unknown(self, which: AuditFilter) -> list[tuple[str, str]]:
        """The names in a filter that no change has: the field, and a message with the nearest name."""
        with self.view() as session:
            return audit.unknown(session, which)

    def changes_since(self, entry: str, *, limit: int = 200) -> list[tuple[AuditEntry, frozenset[str]]]:
        """The changes after one, in order, each with the ids of the projects that it concerns."""
        with self.view() as session:
            return audit.since(session, entry, limit=limit)

    def verify_audit(self, expect: str | None = None) -> chain.Verified:
        """Look for altered, missing and reordered rows of the audit log; `expect` is a head kept elsewhere."""
        with self.view() as session:
            return chain.verify(session, self.secrets.vault, expect)

    def seal(self) -> int:
        """Seal everything with the present secret key and in the present form, and begin the audit log's chain.

        Does nothing if that was done already. `paig serve` calls it at its start, `paig secret rotate` after it has
        made a new key.

        Returns:
            How many values were sealed again.

        Raises:
            SecretKeyError: Something cannot be opened; names the providers. Nothing is changed.
        """
        vault = self.secrets.vault
        unreadable: list[str] = []
        count = 0
        with self.edit("paig") as edit:
            for row in rows(edit.session, PROVIDERS):
                try:
                    if credentials.seal_again(vault, row):
                        edit.session.add(row)
                        count += 1
                except SecretKeyError:
                    unreadable.append(row.name)
            if unreadable:
                raise SecretKeyError(
                    f"The secret key does not fit this database: it cannot read the credentials of"
                    f" {', '.join(unreadable)}. Start with the PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that"
                    " they were stored with. If it is lost, `paig secret reset` goes on without them."
                )
            try:
                count += chain.reseal_keys(edit.session, vault)
            except SecretKeyError:
                raise SecretKeyError(
                    "The secret key does not fit this database: it cannot read the audit log's keys. Start with the"
                    " PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that was used before. If it is lost, `paig"
                    " secret reset` begins a new chain; no credential is stored under it."
                ) from None
            earlier = chain.earlier_rows(edit.session)
            if earlier is not None:
                edit.record(chain.SEALED, "audit", "earlier rows", None, earlier)
            edit.changes += count
        return count

    def unreadable(self) -> list[str]:
        """The names of the providers with a sealed credential that no secret key opens."""
        with self.view() as session:
            return [row.name for row in rows(session, PROVIDERS) if credentials.cannot_open(self.secrets.vault, row)]

    def give_up(self, actor: str) -> list[str] | None:
        """Give up values that no secret key opens: credentials become lost, and the audit log gets a new chain.

        Returns:
            The names of the providers that lost a credential; None if everything can be opened, and nothing changed.
        """
        vault = self.secrets.vault
        with self.edit(actor) as edit:
            lost = [row for row in rows(edit.session, PROVIDERS) if credentials.give_up(vault, row)]
            keys = chain.give_up_keys(edit.session, vault)
            if not lost and not keys:
                return None
            edit.session.add_all(lost)
            names = [row.name for row in lost]
            anchor = chain.anchor(edit.session)
            edit.record(chain.RESET, "secret", "secret key", {"keys": keys}, {"lost_credentials": names, **anchor})
            return names
