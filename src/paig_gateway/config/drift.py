"""Drift: what was changed by hand since a configuration was last applied, as the audit log tells."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session

from paig_client.schema import AuditEntry
from paig_gateway.config.apply import Change, changed_by_hand
from paig_gateway.config.model import Config
from paig_gateway.store.catalog import Catalog
from paig_gateway.store.catalog.base import moment


def drift(catalog: Catalog, config: Config, changes: Sequence[Change]) -> list[AuditEntry]:
    """What a file would put right, or does not name, of all that was changed by hand since the last apply.

    Args:
        catalog: What there is.
        config: The file.
        changes: What applying it would change.

    Returns:
        For each object its last change, with what it was when a configuration was last applied as `before`. Nothing,
        where none was ever applied.
    """
    concerned = {(change.kind, change.name) for change in changes}
    with catalog.view() as session:
        return [
            entry
            for entry in _since_the_last(session)
            if (entry.kind, entry.name) in concerned or not _named(config, entry)
        ]


def _since_the_last(session: Session) -> list[AuditEntry]:
    found: dict[tuple[str, str], AuditEntry] = {}
    for row in changed_by_hand(session) or ():
        entry = AuditEntry.model_validate({**row.model_dump(), "time": moment(row.time)})
        first = found.get((row.kind, row.name), entry)
        found[row.kind, row.name] = entry.model_copy(update={"before": first.before})
    return [entry for entry in found.values() if entry.before != entry.after]


def _named(config: Config, entry: AuditEntry) -> bool:
    """Whether the file speaks of the object; what was deleted and is not in the file is as the file has it."""
    tables = {
        **{"provider": config.providers, "route": config.routes, "project": config.projects},
        **{"user": config.users, "key": config.keys, "price": config.prices},
    }
    if entry.kind not in tables:
        return config.organisation is not None
    return entry.name in tables[entry.kind] or entry.after is None
