"""What every kind of object in the catalogue shares: errors, hooks, the open transaction, names, ids."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy import Connection
from sqlmodel import Session

from paig_client.api.specs import NAME
from paig_gateway.database.tables import AuditRow, LimitRow
from paig_gateway.secrets.vault import Vault

Code = Literal["not-found", "conflict", "changed", "invalid", "in-use", "idempotency-mismatch"]

NAME_RULE = "must start with a letter or digit and hold only letters, digits, '.', '_' and '-', 64 at most"


class CatalogError(Exception):
    """A change to the catalogue that cannot be made.

    Attributes:
        code: `not-found`, `conflict` (a name or a secret is taken), `changed` (somebody else was faster), `invalid`,
            `in-use`, or `idempotency-mismatch`.
        message: What is wrong and what to do, never a secret.
        field: The Spec's field at fault, such as `members.0.provider`; empty where it is none or all of it.
    """

    def __init__(self, code: Code, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.code: Code = code
        self.message = message
        self.field = field


class KindLike(Protocol):
    """What the catalogue needs to know of a provider kind."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings it takes besides the common ones."""
        ...

    @property
    def defaults(self) -> Mapping[str, str] | None:
        """Values of those settings where none is given."""
        ...

    @property
    def require_price(self) -> bool:
        """Whether a model without a price is refused unless told otherwise."""
        ...


K = TypeVar("K", bound=KindLike)


@dataclass(frozen=True)
class Kinds:
    """The provider kinds, handed in because the store does not know the providers."""

    rows: Mapping[str, KindLike]
    base_url: Callable[[str, str | None, Mapping[str, str]], str | None]
    """(kind, URL given or None, settings) → where it answers, or None where none was given and it has no default."""

    @staticmethod
    def of(rows: Mapping[str, K], base_url: Callable[[K, str | None, Mapping[str, str]], str | None]) -> Kinds:
        """From the table of kinds and the function that completes base URLs."""
        return Kinds(rows, lambda kind, given, settings: base_url(rows[kind], given, settings))


def _no_hook(connection: Connection, row: LimitRow) -> None:
    """What happens to a limit where there is no ledger."""


@dataclass(frozen=True)
class LimitHooks:
    """What the ledger does in the transaction that makes or removes a limit (a new amount needs neither)."""

    created: Callable[[Connection, LimitRow], None] = _no_hook
    removed: Callable[[Connection, LimitRow], None] = _no_hook


@dataclass
class Edit:
    """An open transaction that holds the catalogue's write lock.

    Attributes:
        version: The directory's version that it makes; no two transactions have the same.
        actor: Who makes the changes, for the audit log.
        now: The moment of all its changes, in milliseconds since the epoch.
        changes: How many it has made; a transaction of none is rolled back and wakes nobody.
    """

    session: Session
    vault: Vault
    kinds: Kinds
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
        self.session.add(
            AuditRow(
                id=entry, time=self.now, actor=self.actor, action=action, kind=kind, name=name, before=before,
                after=after, project_id=project_id, old_project_id=old_project_id,
            )
        )  # fmt: skip
        self.changes += 1


def new_id(prefix: str) -> str:
    """An id of 64 random bits, such as `key_9f86d081884c7d65`."""
    return f"{prefix}_{secrets.token_hex(8)}"


def milliseconds(at: datetime) -> int:
    """Milliseconds since the epoch; a time without a zone is UTC."""
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def moment(at: int) -> datetime:
    """The time, in UTC, of milliseconds since the epoch."""
    return datetime.fromtimestamp(at // 1000, UTC).replace(microsecond=at % 1000 * 1000)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where something known is spelt alike, else nothing: the end of a message."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def check_url_name(name: str) -> str | None:
    """What is wrong with the name of a provider or a route, or None."""
    return _id_problem(name) if re.fullmatch(NAME.strip("^$"), name) else NAME_RULE


def check_free_name(name: str) -> str | None:
    """What is wrong with the name of a project, a user or a key, or None."""
    if not 1 <= len(name) <= 100:
        return "must be of 1 to 100 characters"
    if name != name.strip():
        return "must not begin or end with white space"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "must not hold control characters or line breaks"
    return _id_problem(name)


def is_id(text: str) -> bool:
    """Whether a text is an id and therefore no name: names and ids never clash."""
    return re.fullmatch(r"[a-z]+_[0-9a-f]{16}", text) is not None


def _id_problem(name: str) -> str | None:
    return "looks like an id: choose another" if is_id(name) else None
