"""The services that the admin API uses; the composition root provides them."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_gateway.admin.site import Site
from paig_gateway.catalog import Catalog
from paig_gateway.catalog.key_uses import KeyUses
from paig_gateway.catalog.snapshot import Directory
from paig_gateway.ledger.ledger import Ledger
from paig_gateway.pricing.overrides import PriceSources
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.secrets.attempts import Attempts
from paig_gateway.sso.provider import IdentityProvider

log = logging.getLogger(__name__)


async def _nothing() -> None:
    """Stands in for the detection of loops where no traffic is served."""


@dataclass(frozen=True)
class AdminServices:
    """The services that the admin API uses.

    Attributes:
        engine: The database, for reports and probes.
        catalog: What people edit.
        directory: Refreshed after each change, so that it takes effect on this node at once.
        admin_token: The owner's bearer token, or what answers it.
        prices: The prices known now.
        client: Sends the gateway's own requests to providers.
        node_id: This process among the nodes.
        started_at: When this process started.
        version: paig's version.
        key_uses: When keys were last used.
        attempts: Counts requests that were refused for lack of permission.
        sso: The identity provider of single sign-on; None if it is not set up.
        note_loops: Writes down which sessions this process saw going round in circles.
    """

    engine: Engine
    catalog: Catalog
    ledger: Ledger
    directory: Directory
    admin_token: Callable[[], str] | str
    prices: PriceSources
    client: ProviderClient
    clock: Callable[[], datetime]
    node_id: str
    started_at: datetime
    version: str
    sso: IdentityProvider | None = None
    key_uses: KeyUses = field(default_factory=KeyUses)
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))
    note_loops: Callable[[], Awaitable[None]] = _nothing

    @property
    def site(self) -> Site:
        """Where browsers find the gateway."""
        return Site(self.sso.spec.public_url if self.sso else None)

    async def write_pending(self) -> None:
        """Write what this process still has to record, so that a client finds the row of an answer that it has read."""
        await self.ledger.flush()
        await self.note_loops()

    def changed(self) -> None:
        """Make a change of the catalogue take effect on this node now; the others notice within a second."""
        try:
            self.directory.refresh()
        except SQLAlchemyError:
            # The change itself is made; the directory's own loop, which looks several times a second, catches up.
            log.warning("The directory could not be refreshed at once after a change", exc_info=True)
