"""From rows of limits to limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from paig_client.api.limits import Unit, Window
from paig_client.api.specs import NamedLimitSpec
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.domain.limits import UTC_ZONE, Limit, Raise, Zone
from paig_gateway.domain.named_limits import LimitRule


class StoredLimit(Protocol):
    """The columns of `limits`."""

    id: str
    owner_kind: Any
    owner_id: str
    unit: Any
    window: Any
    amount: int
    soft: bool
    zone: str
    old_zone: str | None
    zone_since: int


def limit_of(row: StoredLimit, owner: str | None = None, raises: Iterable[Raise] = ()) -> Limit:
    """A limit; if the owner's name is not given, the owner's id is used."""
    kind: OwnerKind = row.owner_kind
    unit: Unit = row.unit
    window: Window = row.window
    zone = zone_of(row)
    return Limit(row.id, kind, owner or row.owner_id, unit, window, row.amount, row.soft, zone, raises=tuple(raises))


def zone_of(row: StoredLimit) -> Zone:
    """The time zone of a limit."""
    if row.old_zone is None and row.zone == UTC_ZONE.name:
        return UTC_ZONE
    return Zone(row.zone, row.old_zone, row.zone_since)


def named_limit(name: str, stored: Mapping[str, Any], limits: tuple[Limit, ...]) -> LimitRule:
    """A named limit, from its row's `spec` and its caps."""
    spec = NamedLimitSpec.model_validate(stored, extra="ignore")
    return LimitRule(name, spec.match.model_dump(exclude_none=True), spec.per, spec.max_members, limits)
