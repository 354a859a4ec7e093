"""Repeated creates: executed once, and answered the same on every node.

The answer to a create is kept for a day, written in the transaction of the create itself. All edits run one after the
other, so the second of two that come at the same time finds the first one's answer. The answer to a new key holds its
secret, so it is stored sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Engine, text
from sqlmodel import col, delete

from paig_gateway.catalog.base import CatalogError, Edit
from paig_gateway.database.engine import writing
from paig_gateway.database.tables import RepeatRow
from paig_gateway.secrets.errors import SecretKeyError

A = TypeVar("A", bound=BaseModel)

KEEP_MS = 24 * 3600 * 1000
"""How long an answer is kept."""


@dataclass(frozen=True, slots=True)
class Repeat(Generic[A]):
    """A create that may be repeated.

    Attributes:
        id: A digest of the sender and the value that it chose as `Idempotency-Key`.
        request: A digest of the request.
        answer: The type of the answer.
    """

    id: str
    request: str
    answer: type[A]

    @classmethod
    def of(cls, principal: str, key: str, request: str, answer: type[A]) -> Repeat[A]:
        """A create, from the sender, its `Idempotency-Key` and the normalised request."""
        return cls(sha256(f"{principal}\0{key}".encode()).hexdigest(), sha256(request.encode()).hexdigest(), answer)


_USE = text(
    "INSERT INTO repeats (id, request, answer, created_at) VALUES (:id, 'use', :nothing, :now)"
    " ON CONFLICT (id) DO NOTHING"
)


def is_first_use(engine: Engine, secret: str, now: int) -> bool:
    """Mark a single-use secret as used; returns whether this is its first use on any node.

    Args:
        secret: The secret to use; its digest is kept for a day.
        now: The present in milliseconds since the epoch.
    """
    with writing(engine) as connection:
        connection.execute(delete(RepeatRow).where(col(RepeatRow.created_at) <= now - KEEP_MS))
        used = sha256(f"use\0{secret}".encode()).hexdigest()
        return connection.execute(_USE, {"id": used, "nothing": b"", "now": now}).rowcount == 1


def once(edit: Edit, repeat: Repeat[A] | None, make: Callable[[], A]) -> A:
    """The answer of `make`, or the earlier answer to the same create. Failures are not kept.

    Args:
        edit: The open transaction in which `make` makes its changes.
        repeat: None for a create without an `Idempotency-Key`.
        make: Makes the object.

    Raises:
        CatalogError: `idempotency-mismatch` where the value was used for another request.
    """
    if repeat is None:
        return make()
    session, vault, purpose = edit.session, edit.secrets.vault, f"answer {repeat.id}"
    row = session.get(RepeatRow, repeat.id)
    if row is not None and row.created_at > edit.now - KEEP_MS:
        if row.request != repeat.request:
            raise CatalogError(
                "idempotency-mismatch", "This Idempotency-Key was used for another request before: choose a new one."
            )
        try:
            return repeat.answer.model_validate_json(vault.open(row.answer, purpose))
        except SecretKeyError as error:
            raise CatalogError(
                "conflict", "This object was created before, and that answer can no longer be read."
            ) from error
    session.exec(delete(RepeatRow).where(col(RepeatRow.created_at) <= edit.now - KEEP_MS))
    made = make()
    answer = vault.seal(made.model_dump_json().encode(), purpose)
    session.add(RepeatRow(id=repeat.id, request=repeat.request, answer=answer, created_at=edit.now))
    return made
