"""The services that the admin API uses; the composition root provides them."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_client.api.resources import AuditEntry, NewKey
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


class ConfigIssue(Protocol):
    """One thing that is wrong with a configuration."""

    @property
    def line(self) -> int: ...

    @property
    def path(self) -> str:
        """The field, as TOML writes it."""

    @property
    def message(self) -> str:
        """The error and what to do."""


class ConfigurationError(Exception):
    """A configuration that cannot be applied; raised by `AdminServices.apply_config`.

    Attributes:
        issues: All that is wrong with it.
    """

    def __init__(self, issues: Sequence[ConfigIssue]) -> None:
        super().__init__("; ".join(f"line {issue.line}: {issue.path}: {issue.message}" for issue in issues))
        self.issues = issues


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What a configuration changed, or would change.

    Attributes:
        items: Each step: `action`, `kind`, `name`, `changes`; no secret.
        keys: The keys that were made here, the only time that they are shown.
        drift: What was changed by hand since the last apply, where the file says otherwise.
        ignored: The sections of the file that only a start of the process reads.
        warnings: Where caps are smaller than what one usual request holds.
    """

    items: Sequence[Mapping[str, Any]]
    keys: Sequence[NewKey] = ()
    drift: Sequence[AuditEntry] = ()
    ignored: Sequence[str] = ()
    warnings: Sequence[str] = ()


class ApplyConfig(Protocol):
    """Applies a configuration to the catalogue."""

    def __call__(self, config: str, *, dry_run: bool, prune: bool, actor: str) -> ApplyResult:
        """Apply, or with `dry_run` only compare.

        Args:
            config: The text of a `paig.toml`.
            dry_run: Change nothing.
            prune: Delete what the configuration does not name.
            actor: The actor, for the audit log.

        Raises:
            ConfigurationError: The text is wrong.
            CatalogError: A change cannot be made.
        """


async def _nothing() -> None:
    """Where no traffic is served, no loops are seen."""


@dataclass(frozen=True)
class AdminServices:
    """The services that the admin API uses.

    Attributes:
        engine: The database, for reports and probes.
        catalog: What people edit.
        ledger: The running ledger.
        directory: Refreshed after each change, so that it takes effect on this node at once.
        admin_token: The owner's bearer token, or what answers it.
        apply_config: See `ApplyConfig`.
        export_config: Answers the catalogue as the text of a `paig.toml`.
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
    apply_config: ApplyConfig
    export_config: Callable[[], str]
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

    def changed(self) -> None:
        """Make a change of the catalogue take effect on this node now; the others notice within a second."""
        try:
            self.directory.refresh()
        except SQLAlchemyError:
            # The change itself is made; the directory's own loop, which looks several times a second, catches up.
            log.warning("The directory could not be refreshed at once after a change", exc_info=True)
