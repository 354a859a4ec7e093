"""Tokens of the admin API: only the SHA-256 is kept of each, and each belongs to an admin."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlmodel import Session, col, delete, select

from paig_client.api import resources
from paig_client.api.resources import NewToken
from paig_client.api.specs import TokenSpec
from paig_gateway.catalog import objects
from paig_gateway.catalog.admins import ADMINS
from paig_gateway.catalog.base import CatalogError, Edit, check_free_name, new_id
from paig_gateway.catalog.idempotency import Repeat, once
from paig_gateway.catalog.keys import digest
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.tables import AdminRow, TokenRow

PREFIX = "paig_admin_"
BROWSER_PREFIX = "paig_session_"
"""The prefix of tokens in browsers' cookies, which are not bearer tokens."""
KEEP_EXPIRED_MS = 30 * 24 * 3600 * 1000


class TokenCollection:
    """All admin tokens, those that logins made included."""

    def __init__(self, catalog: Transactions) -> None:
        self._catalog = catalog

    def list(self, admin: str | None = None) -> Sequence[resources.Token]:
        """Every token, or those of one admin (by id), the newest first."""
        query = select(TokenRow, AdminRow.name).where(col(AdminRow.id) == TokenRow.admin_id)
        if admin is not None:
            query = query.where(TokenRow.admin_id == admin)
        with self._catalog.view() as session:
            return [
                _wire(row, name)
                for row, name in session.exec(query.order_by(col(TokenRow.created_at).desc(), TokenRow.id))
            ]

    def get(self, id: str) -> tuple[resources.Token, str]:
        """A token, and the id of its admin.

        Raises:
            CatalogError: `not-found`.
        """
        with self._catalog.view() as session:
            row, admin = _find(session, id)
            return _wire(row, admin.name), admin.id

    def create(
        self, name: str, admin: str, spec: TokenSpec, *, actor: str, repeat: Repeat[NewToken] | None = None
    ) -> NewToken:
        """Make a token for an admin, by name or id.

        Raises:
            CatalogError: `not-found`, `invalid`, `conflict` where the admin has one of that name, or
                `idempotency-mismatch`.
        """

        def make() -> NewToken:
            owner = objects.get(edit.session, ADMINS, admin)
            return add(edit, owner, name, spec)

        with self._catalog.edit(actor) as edit:
            return once(edit, repeat, make)

    def revoke(self, id: str, *, actor: str) -> None:
        """Revoke a token.

        Raises:
            CatalogError: `not-found`.
        """
        with self._catalog.edit(actor) as edit:
            row, admin = _find(edit.session, id)
            edit.session.delete(row)
            edit.record("revoke", _kind(row), f"{admin.name}/{row.name}", _shown(row), None)


def add(
    edit: Edit, owner: AdminRow, name: str, spec: TokenSpec, *, session: bool = False, prefix: str = PREFIX
) -> NewToken:
    """Make a token in an open transaction; tokens that expired long ago are deleted.

    Raises:
        CatalogError: `invalid`, or `conflict` where the admin has one of that name.
    """
    if wrong := check_free_name(name):
        raise CatalogError("invalid", wrong, field="name")
    if spec.expires_at is not None and milliseconds(spec.expires_at) <= edit.now:
        raise CatalogError("invalid", "is in the past", field="expires_at")
    taken = select(TokenRow.id).where(TokenRow.admin_id == owner.id, TokenRow.name == name)
    if edit.session.exec(taken).first() is not None:
        raise CatalogError(
            "conflict", f"'{owner.name}' has a token '{name}' already: choose another name or revoke it."
        )
    edit.session.exec(delete(TokenRow).where(col(TokenRow.expires_at) < edit.now - KEEP_EXPIRED_MS))
    secret = prefix + secrets.token_urlsafe(32)
    row = TokenRow(
        id=new_id("tok"),
        admin_id=owner.id,
        name=name,
        hash=digest(secret),
        hint=secret[: len(prefix) + 4],
        session=session,
        scopes=sorted(set(spec.scopes)) if spec.scopes is not None else None,
        expires_at=None if spec.expires_at is None else milliseconds(spec.expires_at),
        created_at=edit.now,
    )
    edit.session.add(row)
    edit.session.flush()
    edit.record("create", _kind(row), f"{owner.name}/{name}", None, _shown(row))
    return NewToken(id=row.id, name=name, token=secret)


def _find(session: Session, id: str) -> tuple[TokenRow, AdminRow]:
    row = session.get(TokenRow, id)
    admin = session.get(AdminRow, row.admin_id) if row is not None else None
    if row is None or admin is None:
        raise CatalogError("not-found", f"There is no token '{id}': `paig tokens list` shows all.")
    return row, admin


def _kind(row: TokenRow) -> str:
    return "session" if row.session else "token"


def _shown(row: TokenRow) -> dict[str, object]:
    expires = moment(row.expires_at).isoformat() if row.expires_at is not None else None
    return {"hint": row.hint, "scopes": row.scopes, "expires_at": expires}


def _wire(row: TokenRow, admin: str) -> resources.Token:
    return resources.Token.model_validate(
        {
            **row.model_dump(include={"id", "name", "hint", "session", "scopes"}),
            "admin": admin,
            "created_at": row.created_at / 1000,
            "expires_at": moment(row.expires_at) if row.expires_at is not None else None,
        }
    )
