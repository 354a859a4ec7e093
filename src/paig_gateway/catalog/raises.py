"""Raises, which give a limit a larger amount for a while, and requests for more, which become raises when approved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, cast

from sqlmodel import Session, SQLModel, col, func, select

from paig_client.api.limits import Unit, Window
from paig_client.api.resources import LimitRaise, LimitRequest
from paig_client.api.vocabulary import OwnerKind
from paig_gateway.catalog import objects
from paig_gateway.catalog.base import CatalogError, Edit, new_id
from paig_gateway.catalog.keys import KEYS
from paig_gateway.catalog.limits import ORGANISATION_ID
from paig_gateway.catalog.named_limits import NAMED_LIMITS
from paig_gateway.catalog.objects import ObjectType
from paig_gateway.catalog.owners import PROJECTS, USERS
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.limit_rows import zone_of
from paig_gateway.database.tables import (
    CounterRow,
    KeyRow,
    LimitRequestRow,
    LimitRow,
    NamedLimitRow,
    ProjectRow,
    RaiseRow,
    UserRow,
)
from paig_gateway.domain.limits import PREFIX, member_id, window_end
from paig_gateway.domain.money import MAX_NANODOLLARS, format_usd, nanodollars

LONGEST = timedelta(days=366)
"""The longest time for which a limit may be raised."""
OPEN_REQUESTS = 5
"""The most requests of one key that may wait for an answer."""
_TYPES: Mapping[str, ObjectType[Any, Any, Any]] = {
    "key": KEYS, "project": PROJECTS, "user": USERS, "limit": NAMED_LIMITS,
}  # fmt: skip
_ROWS: Mapping[str, type[SQLModel]] = {
    "key": KeyRow, "project": ProjectRow, "user": UserRow, "limit": NamedLimitRow,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Identifies a limit: by owner and window, and for a named limit perhaps by member."""

    owner_kind: OwnerKind
    owner: str
    window: Window
    member: str | None = None
    unit: Unit | None = None

    @property
    def counts(self) -> Unit:
        return self.unit or ("requests" if self.window == "minute" else "usd")


class Raises:
    """Raises and requests for them. All methods block; call them in a thread."""

    def __init__(self, catalog: Transactions) -> None:
        self._catalog = catalog

    def in_force(self) -> list[LimitRaise]:
        """The raises in force; the first to end comes first."""
        now = self._catalog.now()
        with self._catalog.view() as session:
            found = select(RaiseRow).where(col(RaiseRow.until) > now).order_by(col(RaiseRow.until))
            return [_raise(session, row) for row in session.exec(found)]

    def create(self, place: Place, to: Decimal, until: datetime, why: str, *, actor: str) -> LimitRaise:
        """Raise a limit.

        Raises:
            CatalogError: `not-found`; `invalid` if the amount is not a raise, or the time is too long.
        """
        with self._catalog.edit(actor) as edit:
            limit = _find(edit.session, place)
            id = limit.id if place.member is None else member_id(limit.id, _member(edit.session, limit, place.member))
            return _raise(edit.session, _insert(edit, limit, id, _amount(limit, to), until, why))

    def end(self, id: str, *, actor: str) -> None:
        """End a raise now.

        Raises:
            CatalogError: `not-found` if there is none, or it has ended.
        """
        with self._catalog.edit(actor) as edit:
            row = edit.session.get(RaiseRow, id)
            if row is None or row.until <= edit.now:
                raise CatalogError("not-found", f"There is no raise '{id}' in force: `paig limits raises` shows all.")
            before = _raise(edit.session, row)
            row.until = edit.now
            edit.session.add(row)
            edit.session.flush()
            edit.record("end-raise", "limit", _name(before), {"amount": f"{before.amount:f}", "why": before.why}, None)

    def requests(self, state: Literal["open", "approved", "declined"] | None = "open") -> list[LimitRequest]:
        """The latest 1,000 requests for more, the oldest first."""
        with self._catalog.view() as session:
            found = select(LimitRequestRow).order_by(col(LimitRequestRow.time).desc()).limit(1000)
            if state is not None:
                found = found.where(LimitRequestRow.state == state)
            return [_request(session, row) for row in session.exec(found)][::-1]

    def ask(self, key_id: str, limit_id: str, to: Decimal, why: str) -> LimitRequest:
        """Ask for a higher amount of a limit, as the holder of a key.

        Raises:
            CatalogError: `invalid`; `conflict` if too many requests of the key are waiting already.
        """
        with self._catalog.edit(f"key:{key_id}") as edit:
            session = edit.session
            limit = session.get(LimitRow, limit_id[:PREFIX])
            if limit is None:
                raise CatalogError("not-found", "The limit no longer exists.")
            amount = _amount(limit, to)
            waiting = select(func.count()).select_from(LimitRequestRow)
            waiting = waiting.where(LimitRequestRow.key_id == key_id, LimitRequestRow.state == "open")
            if session.exec(waiting).one() >= OPEN_REQUESTS:
                raise CatalogError(
                    "conflict", f"{OPEN_REQUESTS} requests of this key are already waiting for an answer."
                )
            row = LimitRequestRow(
                id=new_id("ask"), limit_id=limit_id, key_id=key_id, amount=amount, why=why, time=edit.now, state="open"
            )
            session.add(row)
            session.flush()
            asked = _request(session, row)
            edit.record("ask", "limit", _name(asked), None, {"to": f"{asked.amount:f}", "why": why, "key": asked.key})
            return asked

    def approve(self, id: str, until: datetime | None, answer: str | None, *, actor: str) -> LimitRequest:
        """Raise the limit as asked for.

        Args:
            id: The request's.
            until: When the raise ends; at the end of the limit's window if None, after a day where it has none.
            actor: The maker of the change.

        Raises:
            CatalogError: `not-found`, or `conflict` where it is answered already.
        """
        with self._catalog.edit(actor) as edit:
            row = _open(edit.session, id)
            limit = edit.session.get(LimitRow, row.limit_id[:PREFIX])
            if limit is None:
                raise CatalogError("not-found", "The limit is deleted: decline the request.")
            now = moment(edit.now)
            end = until or window_end(cast(Window, limit.window), now, zone_of(limit)) or now + timedelta(days=1)
            _insert(edit, limit, row.limit_id, row.amount, end, row.why)
            return _decide(edit, row, "approved", answer)

    def decline(self, id: str, answer: str | None, *, actor: str) -> LimitRequest:
        """Leave the limit unchanged.

        Raises:
            CatalogError: `not-found`, or `conflict` where it is answered already.
        """
        with self._catalog.edit(actor) as edit:
            row = _open(edit.session, id)
            declined = _decide(edit, row, "declined", answer)
            edit.record("decline", "limit", _name(declined), None, {"key": declined.key, "answer": answer})
            return declined


def _find(session: Session, place: Place) -> LimitRow:
    owner_id, owner = ORGANISATION_ID, place.owner
    if place.owner_kind != "organisation":
        type = _TYPES.get(place.owner_kind)
        if type is None:
            raise CatalogError(
                "invalid", f"objects of the kind '{place.owner_kind}' have no limits", field="owner_kind"
            )
        owner_id = objects.get(session, type, owner).id
    found = select(LimitRow).where(
        LimitRow.owner_kind == place.owner_kind, LimitRow.owner_id == owner_id, LimitRow.window == place.window,
        LimitRow.unit == place.counts,
    )  # fmt: skip
    row = session.exec(found).first()
    if row is None:
        what = f"limit on {place.counts} a minute" if place.window == "minute" else f"{place.window} limit"
        raise CatalogError("not-found", f"The {place.owner_kind} '{owner}' has no {what}.")
    return row


def _member(session: Session, limit: LimitRow, member: str) -> str:
    """The part of a counter's name that identifies a member."""
    row = session.get(NamedLimitRow, limit.owner_id) if limit.owner_kind == "limit" else None
    per = row.spec.get("per") if row is not None else None
    if per is None:
        raise CatalogError("invalid", "the limit has a single counter, so it has no members", field="member")
    if per == "session":
        return _session(session, limit, member)
    type = _TYPES.get(per)
    return objects.get(session, type, member).id if type is not None else member


def _session(session: Session, limit: LimitRow, member: str) -> str:
    """The part of a counter's name that identifies a session: its key's id, and the client's id of it.

    Raises:
        CatalogError: `invalid` if no session of that id has a counter, or sessions of several keys have one.
    """
    of_limit = func.substr(CounterRow.limit_id, 1, PREFIX) == limit.id
    named = col(CounterRow.limit_id).endswith(f":{member}", autoescape=True)
    found = {id[PREFIX + 1 :] for id in session.exec(select(CounterRow.limit_id).where(of_limit, named))}
    exact = [id for id in found if id.partition(":")[2] == member]
    if len(exact) == 1:
        return exact[0]
    which = "sessions of several keys have" if exact else "no session has"
    raise CatalogError("invalid", f"{which} a counter '{member}': `paig limits list` shows all", field="member")


def _amount(limit: LimitRow, to: Decimal) -> int:
    if limit.unit != "usd" and to != int(to):
        raise CatalogError("invalid", f"must be a whole number of {limit.unit}", field="to")
    amount = nanodollars(to) if limit.unit == "usd" else int(to)
    if not limit.amount < amount <= MAX_NANODOLLARS:
        raise CatalogError("invalid", f"must be more than the limit, {_shown(limit.unit, limit.amount)}", field="to")
    return amount


def _insert(edit: Edit, limit: LimitRow, id: str, amount: int, until: datetime, why: str) -> RaiseRow:
    end = milliseconds(until)
    if not edit.now < end <= edit.now + LONGEST // timedelta(milliseconds=1):
        raise CatalogError("invalid", f"must be a time within the next {LONGEST.days} days", field="until")
    row = RaiseRow(id=new_id("raise"), limit_id=id, amount=amount, actor=edit.actor, why=why, since=edit.now, until=end)
    edit.session.add(row)
    edit.session.flush()
    made = _raise(edit.session, row)
    after = {"amount": _shown(limit.unit, amount), "until": made.until.isoformat(), "why": why}
    edit.record("raise", "limit", _name(made), {"amount": _shown(limit.unit, limit.amount)}, after)
    return row


def _open(session: Session, id: str) -> LimitRequestRow:
    row = session.get(LimitRequestRow, id)
    if row is None:
        raise CatalogError("not-found", f"There is no request '{id}': `paig limits requests` shows all.")
    if row.state != "open":
        raise CatalogError("conflict", f"The request is {row.state} already.")
    return row


def _decide(edit: Edit, row: LimitRequestRow, state: str, answer: str | None) -> LimitRequest:
    row.state, row.actor, row.decided_at, row.answer = state, edit.actor, edit.now, answer
    edit.session.add(row)
    edit.session.flush()
    return _request(edit.session, row)


def _described(session: Session, limit_id: str) -> dict[str, Any]:
    """The limit of a raise or a request, as resources show it."""
    row = session.get(LimitRow, limit_id[:PREFIX])
    if row is None:  # deleted since
        return {"owner_kind": "organisation", "owner": "deleted", "unit": "usd", "window": "total", "member": None}
    table = _ROWS.get(row.owner_kind)
    owner = session.get(table, row.owner_id) if table is not None else None
    name = getattr(owner, "name", row.owner_kind)
    member = limit_id[PREFIX + 1 :] or None
    if member is not None and isinstance(owner, NamedLimitRow):
        member = _shown_member(session, owner.spec.get("per"), member)
    return {"owner_kind": row.owner_kind, "owner": name, "unit": row.unit, "window": row.window, "member": member}


def _shown_member(session: Session, per: str | None, id: str) -> str:
    if per == "session":
        return id.partition(":")[2]
    table = _ROWS.get(per) if per is not None else None
    return getattr(session.get(table, id), "name", id) if table is not None else id


def _raise(session: Session, row: RaiseRow) -> LimitRaise:
    about = _described(session, row.limit_id)
    return LimitRaise(
        id=row.id, **about, amount=_amount_of(about["unit"], row.amount), actor=row.actor, why=row.why,
        since=moment(row.since), until=moment(row.until),
    )  # fmt: skip


def _request(session: Session, row: LimitRequestRow) -> LimitRequest:
    about = _described(session, row.limit_id)
    key = session.get(KeyRow, row.key_id)
    return LimitRequest(
        id=row.id, **about, key=key.name if key is not None else row.key_id,
        amount=_amount_of(about["unit"], row.amount), why=row.why, time=moment(row.time), state=cast(Any, row.state),
        actor=row.actor, decided_at=None if row.decided_at is None else moment(row.decided_at), answer=row.answer,
    )  # fmt: skip


def _amount_of(unit: str, amount: int) -> Decimal:
    return Decimal(_shown(unit, amount))


def _shown(unit: str, amount: int) -> str:
    return format_usd(amount) if unit == "usd" else str(amount)


def _name(about: LimitRaise | LimitRequest) -> str:
    """The limit's name in the audit log."""
    owner = about.owner if about.owner_kind == "organisation" else f"{about.owner_kind} {about.owner}"
    unit = f" {about.unit}" if about.unit == "tokens" else ""
    return f"{owner} {about.window}{unit}" + (f" {about.member}" if about.member else "")
