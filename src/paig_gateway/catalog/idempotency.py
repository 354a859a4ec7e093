"""Creates that are sent twice: done once, and answered the same, on whichever node.

What a create answered is kept for a day, in the transaction of the create itself. Since all edits come one after the
other, the second of two that come at the same time finds the first one's answer. The answer to a new key holds its
secret, so it lies encrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

from pydantic import BaseModel
from sqlmodel import col, delete

from paig_gateway.catalog.base import CatalogError, Edit
from paig_gateway.database.tables import RepeatRow
from paig_gateway.secrets.vault import SecretKeyError

A = TypeVar("A", bound=BaseModel)

KEEP_MS = 24 * 3600 * 1000
"""How long an answer is kept."""


@dataclass(frozen=True, slots=True)
class Repeat(Generic[A]):
    """A create that may come again.

    Attributes:
        id: Who asks, with the value that they chose for it, as a digest.
        request: What is asked, as a digest.
        answer: What it answers.
    """

    id: str
    request: str
    answer: type[A]

    @classmethod
    def of(cls, asker: str, key: str, request: str, answer: type[A]) -> Repeat[A]:
        """A create by who asks, the value that they chose for it, and what is asked, in one spelling."""
        return cls(sha256(f"{asker}\0{key}".encode()).hexdigest(), sha256(request.encode()).hexdigest(), answer)


def once(edit: Edit, repeat: Repeat[A] | None, make: Callable[[], A]) -> A:
    """What `make` answers, or answered when the same create came first. A failure is not remembered.

    Args:
        edit: The open transaction, that `make` makes its changes in.
        repeat: None for a create that may be done any number of times.
        make: Does it.

    Raises:
        CatalogError: `idempotency-mismatch` where the same value has made something else before.
    """
    if repeat is None:
        return make()
    session = edit.session
    row = session.get(RepeatRow, repeat.id)
    if row is not None and row.created_at > edit.now - KEEP_MS:
        if row.request != repeat.request:
            raise CatalogError(
                "idempotency-mismatch", "This Idempotency-Key has made something else before: choose a new one."
            )
        try:
            return repeat.answer.model_validate_json(edit.vault.decrypt(row.answer))
        except SecretKeyError as error:
            raise CatalogError("conflict", "This was made before, and its answer cannot be read any more.") from error
    session.exec(delete(RepeatRow).where(col(RepeatRow.created_at) <= edit.now - KEEP_MS))
    made = make()
    answer = edit.vault.encrypt(made.model_dump_json().encode())
    session.add(RepeatRow(id=repeat.id, request=repeat.request, answer=answer, created_at=edit.now))
    return made
