"""Shared by all kinds of objects in the catalogue: errors, the open transaction, names, ids."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from sqlalchemy import Connection
from sqlmodel import Session

from paig_client.api.fields import NAME
from paig_gateway.catalog import chain
from paig_gateway.database.tables import AuditRow, LimitRow
from paig_gateway.secrets.references import References
from paig_gateway.secrets.vault import Vault

CatalogErrorCode = Literal["not-found", "conflict", "changed", "invalid", "in-use", "idempotency-mismatch"]

NAME_RULE = "must start with a letter or digit and hold only letters, digits, '.', '_' and '-', 64 at most"


class CatalogError(Exception):
    """A change to the catalogue that cannot be made.

    Attributes:
        code: `not-found`, `conflict` (a name or a secret is taken), `changed` (another change was faster), `invalid`,
            `in-use`, or `idempotency-mismatch`.
        message: The error and what to do, without secrets.
        field: The Spec's field at fault, such as `members.0.provider`; empty if it is none or all of it.
    """

    def __init__(self, code: CatalogErrorCode, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.code: CatalogErrorCode = code
        self.message = message
        self.field = field


@dataclass(frozen=True, slots=True)
class Secrets:
    """The vault that seals secrets, and the references that are allowed."""

    vault: Vault
    references: References


def _no_hook(connection: Connection, row: LimitRow) -> None:
    """Do nothing: there is no ledger."""


@dataclass(frozen=True)
class LimitHooks:
    """Called in the transaction that makes or removes a limit (a new amount calls neither)."""

    created: Callable[[Connection, LimitRow], None] = _no_hook
    removed: Callable[[Connection, LimitRow], None] = _no_hook


@dataclass
class Edit:
    """An open transaction that holds the catalogue's write lock.

    Attributes:
        version: The directory's version that it makes; no two transactions have the same.
        actor: The maker of the changes, for the audit log.
        now: The moment of all its changes, in milliseconds since the epoch.
        changes: The number of changes; a transaction without changes is rolled back.
    """

    session: Session
    secrets: Secrets
    hooks: LimitHooks
    version: int
    actor: str
    now: int
    changes: int = field(default=0)

    def record(
        self,
        action: str,
        kind: str,
        name: str,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
        *,
        project_id: str | None = None,
        old_project_id: str | None = None,
    ) -> None:
        """Note a change in the audit log, with the project that its object belongs to and the one it was in."""
        entry = f"aud_{self.version:012x}{self.changes:06x}"  # sorts in the order of the changes
        row = AuditRow(
            id=entry, time=self.now, actor=self.actor, action=action, kind=kind, name=name, before=before,
            after=after, project_id=project_id, old_project_id=old_project_id,
        )  # fmt: skip
        chain.append(self.session, self.secrets.vault, row)
        self.changes += 1


def new_id(prefix: str) -> str:
    """An id of 64 random bits, such as `key_9f86d081884c7d65`."""
    return f"{prefix}_{secrets.token_hex(8)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where a known name is similar, else nothing: the end of a message."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def check_url_name(name: str) -> str | None:
    """The error in the name of a provider or a route, or None."""
    return _id_problem(name) if re.fullmatch(NAME.strip("^$"), name) else NAME_RULE


def check_free_name(name: str) -> str | None:
    """The error in the name of a project, a user or a key, or None."""
    if not 1 <= len(name) <= 100:
        return "must have 1 to 100 characters"
    if name != name.strip():
        return "must not begin or end with white space"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "must not hold control characters or line breaks"
    return _id_problem(name)


def is_id(text: str) -> bool:
    """Whether a text is an id and therefore not a name: names and ids never clash."""
    return re.fullmatch(r"[a-z]+_[0-9a-f]{16}", text) is not None


def _id_problem(name: str) -> str | None:
    return "looks like an id: choose another" if is_id(name) else None
