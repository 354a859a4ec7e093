"""The audit log's chain: each row carries a code that authenticates it and all rows before it.

The code of a row is an HMAC of its content and of the code of the row before, under a key derived from the secret key.
`verify` finds every row that was altered, removed, reordered or inserted by someone who can write to the database but
does not have the secret key. Only a tail that is cut off together with the recorded head cannot be found from inside:
for that, compare with a head that was kept elsewhere (`paig audit verify --expect HEAD`).

Rows from before there was a chain are sealed as one block: the first row of the chain holds their number and digest.
Each code names the key that made it. When the secret key is changed, the derived key of the earlier rows is kept in the
database, sealed with the new secret key. When it is lost, the codes of the earlier rows prove nothing any more; the row
of the reset then holds the number and digest of all rows before it, so that what is altered after the reset is found.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlmodel import Session, col, func, select

from paig_gateway.database.tables import AuditRow, MetaRow
from paig_gateway.secrets.errors import SecretKeyError
from paig_gateway.secrets.vault import Vault

HEAD = "audit_head"
"""The `meta` row with the code of the newest row, and how many rows the chain has."""
SEALED = "seal"
"""The action of the row that seals those from before the chain."""

RESET = "reset"
"""The action of the row that seals all before it, because the key that made their codes is lost."""

_KEY = "audit_key:"
_START = "0" * 16
_FIELDS = ("id", "time", "actor", "action", "kind", "name", "project_id", "old_project_id", "before", "after")


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of verifying the chain.

    Attributes:
        rows: How many rows there are, those before the chain included.
        head: The code of the newest row; empty if there is none.
        problem: The first thing that is wrong, or None.
    """

    rows: int
    head: str
    problem: str | None = None


def append(session: Session, vault: Vault, row: AuditRow) -> None:
    """Add a row at the end of the chain; the caller's transaction holds the catalogue's write lock."""
    head = session.get(MetaRow, HEAD) or MetaRow(name=HEAD, value=0, text=_START)
    if not (head.text or "").startswith(f"{vault.key.id}."):
        _remember_key(session, vault)
    row.mac = _code(vault.key.id, vault.key.mac_key(), head.text or _START, row)
    head.value, head.text = head.value + 1, row.mac
    session.add(row)
    session.add(head)


def earlier_rows(session: Session) -> dict[str, Any] | None:
    """What the chain's first row must record of the rows before it; None if there is nothing to seal."""
    if session.get(MetaRow, HEAD) is not None:
        return None
    found = anchor(session)
    return found if found["rows"] else None


def anchor(session: Session) -> dict[str, Any]:
    """The number and the digest of all rows that there are."""
    content = _Content()
    for row in session.exec(select(AuditRow).order_by(col(AuditRow.id))):
        content.add(row)
    return content.anchor()


def give_up_keys(session: Session, vault: Vault) -> list[str]:
    """Drop the kept keys of the chain that cannot be opened; the ids of the secret keys that they came from."""
    lost = []
    for row in session.exec(select(MetaRow).where(col(MetaRow.name).startswith(_KEY))).all():
        try:
            vault.open((row.text or "").encode(), row.name)
        except SecretKeyError:
            lost.append(row.name.removeprefix(_KEY))
            session.delete(row)
    return sorted(lost)


def verify(session: Session, vault: Vault, expect: str | None = None) -> Verified:
    """Look for altered, missing, inserted and reordered rows.

    Args:
        session: Of the database.
        vault: Holds the secret key.
        expect: The head that was seen at some time; it must still be in the chain.
    """
    keys, content = _Keys(session, vault), _Content()
    before, earlier, seen = _START, 0, expect is None
    lost: str | None = None
    head = session.get(MetaRow, HEAD)
    for row in session.exec(select(AuditRow).order_by(col(AuditRow.id))):
        rows = content.rows + 1
        if row.mac is None and before == _START:
            earlier = rows
            content.add(row)
            continue
        if row.mac is None:
            return Verified(rows, before, f"The row {row.id} has no code: it was inserted or its code was removed.")
        id = row.mac.partition(".")[0]
        key = keys.get(id)
        if key is None:
            lost = lost or f"The row {row.id} was made with a secret key that is not known: {id}."
        elif lost and row.action != RESET:
            break
        elif before == _START and earlier and row.action != SEALED and row.action != RESET:
            problem = f"The chain begins with the row {row.id}, which does not seal the rows before it."
            return Verified(rows, row.mac, problem)
        elif (row.action == RESET or (before == _START and earlier)) and (wrong := _altered(row, content)):
            return Verified(rows, row.mac, wrong)
        elif not hmac.compare_digest(row.mac, _code(id, key, before, row)):
            return Verified(rows, row.mac, f"The row {row.id} was altered, or a row before it is missing.")
        else:
            lost = None  # a reset has sealed what its key cannot prove
        before = row.mac
        content.add(row)
        seen = seen or hmac.compare_digest(before.encode(), (expect or "").encode())
    rows, found = content.rows, "" if before == _START else before
    if lost:
        return Verified(rows, found, lost)
    if earlier and not found:
        return Verified(rows, found, "The rows have no chain: it was removed, or the gateway was not started since.")
    if head is not None and (head.text or _START) != before:
        return Verified(rows, found, "The newest rows are missing: the head of the chain is not among the rows.")
    if head is not None and head.value != rows - earlier:
        return Verified(rows, found, f"The chain has {rows - earlier} rows, and {head.value} were recorded.")
    if head is None and found:
        return Verified(rows, found, "The record of the chain's head is missing.")
    if not seen:
        return Verified(rows, found, "The expected head is not in the chain: rows up to it are missing.")
    return Verified(rows, found)


def _altered(row: AuditRow, content: _Content) -> str | None:
    """The errors in the rows before a sealing row."""
    after: Mapping[str, Any] = row.after or {}
    if {name: after.get(name) for name in ("rows", "digest")} == content.anchor():
        return None
    return f"The {after.get('rows')} rows from before the chain were altered: there are {content.rows} now."


class _Content:
    """The number of rows, and a digest of their content."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = sha256()

    def add(self, row: AuditRow) -> None:
        self.rows += 1
        self._digest.update(_content(row) + b"\n")

    def anchor(self) -> dict[str, Any]:
        return {"rows": self.rows, "digest": self._digest.hexdigest()}


def _code(id: str, key: bytes, before: str, row: AuditRow) -> str:
    return f"{id}.{hmac.digest(key, before.encode() + b'|' + _content(row), 'sha256').hex()}"


def _content(row: AuditRow) -> bytes:
    values = [getattr(row, name) for name in _FIELDS]
    # What the database gives back: a mapping's keys are text, and numbers are those that JSON has.
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str).encode()


def _remember_key(session: Session, vault: Vault) -> None:
    """Keep the chain's key sealed in the database, so that its rows can be verified after the secret key is changed."""
    name = _KEY + vault.key.id
    if session.get(MetaRow, name) is None:
        number = session.exec(select(func.count()).where(col(MetaRow.name).startswith(_KEY))).one()
        sealed = vault.seal(vault.key.mac_key(), name).decode()
        session.add(MetaRow(name=name, value=number + 1, text=sealed))


def reseal_keys(session: Session, vault: Vault) -> int:
    """Seal the kept keys of the chain with the present secret key; how many were sealed again.

    Raises:
        SecretKeyError: One cannot be opened.
    """
    count = 0
    for row in session.exec(select(MetaRow).where(col(MetaRow.name).startswith(_KEY))):
        sealed = (row.text or "").encode()
        if not vault.is_current(sealed):
            row.text = vault.seal(vault.open(sealed, row.name), row.name).decode()
            session.add(row)
            count += 1
    return count


class _Keys:
    """The chain's keys by the id of the secret key that they are derived from."""

    def __init__(self, session: Session, vault: Vault) -> None:
        self._session = session
        self._vault = vault
        self._found: dict[str, bytes | None] = {}

    def get(self, id: str) -> bytes | None:
        if id not in self._found:
            self._found[id] = self._look_up(id)
        return self._found[id]

    def _look_up(self, id: str) -> bytes | None:
        known = self._vault.key_of(id)
        if known is not None:
            return known.mac_key()
        row = self._session.get(MetaRow, _KEY + id)
        if row is None or row.text is None:
            return None
        try:
            return self._vault.open(row.text.encode(), row.name)
        except SecretKeyError:
            return None
