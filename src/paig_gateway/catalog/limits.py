"""Limits of any owner: converted from Specs to rows and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import cast

from sqlmodel import Session, col, delete, func, select

from paig_client.api.fields import Spec
from paig_client.api.limits import WINDOWS, LimitsSpec, Unit, Window
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.catalog import zones
from paig_gateway.catalog.base import CatalogError, Edit, new_id
from paig_gateway.database.tables import LimitRow, RaiseRow
from paig_gateway.domain.limits import PREFIX
from paig_gateway.domain.money import MAX_NANODOLLARS, format_usd, nanodollars

ORGANISATION_ID = ""
"""The owner id of the whole gateway's limits."""

_FIELD_OF: Mapping[tuple[str, str], str] = {(row.unit, row.window): row.field for row in WINDOWS}
_A_FEW = 50


def of(spec: Spec) -> LimitsSpec:
    """The limits in the Spec of an owner."""
    return cast(LimitsSpec, getattr(spec, "limits"))  # noqa: B009 not every Spec has the field


def amounts(spec: LimitsSpec) -> dict[tuple[Unit, Window], int]:
    """The caps as the ledger counts them: nanodollars, requests, tokens.

    Raises:
        CatalogError: One is too large.
    """
    found: dict[tuple[Unit, Window], int] = {}
    for row in WINDOWS:
        value = cast("Decimal | int | None", getattr(spec, row.field))
        if value is None:
            continue
        amount = nanodollars(Decimal(value)) if row.unit == "usd" else int(value)
        if amount > MAX_NANODOLLARS:
            raise CatalogError("invalid", f"must be at most {MAX_NANODOLLARS}", field=f"limits.{row.field}")
        found[row.unit, row.window] = amount
    return found


def spec_of(rows: Iterable[LimitRow]) -> LimitsSpec:
    """The limits of one owner as a Spec."""
    caps: dict[tuple[Unit, Window], int] = {}
    soft = False
    for row in rows:
        caps[cast(Unit, row.unit), cast(Window, row.window)] = row.amount
        soft = soft or row.soft
    return _spec(caps, soft)


def normal(spec: LimitsSpec) -> LimitsSpec:
    """The same limits in the one form in which they are read back: `2.50` is 2.5, and without a cap nothing is soft.

    Raises:
        CatalogError: One is too large.
    """
    caps = amounts(spec)
    return _spec(caps, spec.soft and bool(caps))


def _spec(caps: Mapping[tuple[Unit, Window], int], soft: bool) -> LimitsSpec:
    values: dict[str, object] = {
        _FIELD_OF[counted]: Decimal(format_usd(amount)) if counted[0] == "usd" else amount
        for counted, amount in caps.items()
        if counted in _FIELD_OF  # a newer gateway may have more
    }
    return LimitsSpec.model_validate({**values, "soft": soft})


def rows_of(session: Session, owner_kind: OwnerKind, owner_id: str) -> list[LimitRow]:
    """The rows of one owner's limits."""
    query = select(LimitRow).where(col(LimitRow.owner_kind) == owner_kind, col(LimitRow.owner_id) == owner_id)
    return list(session.exec(query))


def by_owner(session: Session, owner_kind: OwnerKind, ids: Sequence[str]) -> dict[str, LimitsSpec]:
    """The limits of several owners of one kind, by the owner's id; those without limits are left out."""
    query = select(LimitRow).where(col(LimitRow.owner_kind) == owner_kind)
    if len(ids) <= _A_FEW:
        query = query.where(col(LimitRow.owner_id).in_(ids))
    found: dict[str, list[LimitRow]] = {}
    for row in session.exec(query):
        found.setdefault(row.owner_id, []).append(row)
    return {owner: spec_of(rows) for owner, rows in found.items()}


def write(edit: Edit, owner_kind: OwnerKind, owner_id: str, spec: LimitsSpec) -> None:
    """Set an owner's limits to those of `spec`. A cap that stays keeps its id, and so its spent amount."""
    wanted = amounts(spec)
    session = edit.session
    removed = []
    for row in rows_of(session, owner_kind, owner_id):
        amount = wanted.pop((cast(Unit, row.unit), cast(Window, row.window)), None)
        if amount is None:
            removed.append(row)
        else:
            row.amount, row.soft = amount, spec.soft
            session.add(row)
    zone = zones.of(session, owner_kind, owner_id) if wanted else ""
    created = [
        LimitRow(
            id=new_id("lim"), owner_kind=owner_kind, owner_id=owner_id, unit=unit, window=window, amount=amount,
            soft=spec.soft, zone=zone,
        )
        for (unit, window), amount in wanted.items()
    ]  # fmt: skip
    session.add_all(created)
    for row in removed:
        session.execute(delete(RaiseRow).where(func.substr(RaiseRow.limit_id, 1, PREFIX) == row.id))
        session.delete(row)
    session.flush()
    connection = session.connection()
    for row in removed:
        edit.hooks.removed(connection, row)
    for row in created:
        edit.hooks.created(connection, row)
