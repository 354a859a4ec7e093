"""Logins by single sign-on: the admin is made, or given the roles of its groups, and gets a session."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from sqlmodel import Session, col, delete, select

from paig_client.api.specs import AdminSpec, GrantSpec, TokenSpec
from paig_gateway.catalog import objects
from paig_gateway.catalog.admins import ADMINS
from paig_gateway.catalog.base import Edit, check_free_name
from paig_gateway.database.tables import AdminRow, ProjectRow, TokenRow

log = logging.getLogger(__name__)

ACTOR = "sso"
"""Who makes admins and changes their roles, for the audit log."""


@dataclass(frozen=True, slots=True)
class Login:
    """A person that the identity provider has authenticated.

    Attributes:
        subject: Issuer and subject there.
        admin: The person's name.
        grants: The roles that the person's groups give.
        expires_at: When the session ends.
    """

    subject: str
    admin: str
    grants: Sequence[GrantSpec]
    expires_at: datetime


def admit(edit: Edit, login: Login) -> AdminRow | None:
    """The admin that logs in, with the current roles of its groups; None if it has none.

    An admin is identified by issuer and subject alone: a name proves nothing, and never leads to another account. An
    admin whose groups give no role any more loses the roles that it had.
    """
    known = set(edit.session.exec(select(ProjectRow.name)))
    grants = [grant for grant in login.grants if grant.project is None or grant.project in known]
    for lost in set(login.grants) - set(grants):
        log.warning("[sso] groups gives a role in the project '%s', which does not exist", lost.project)
    row = edit.session.exec(select(AdminRow).where(AdminRow.subject == login.subject)).first()
    if row is None:
        if not grants:
            return None
        row = objects.create(edit, ADMINS, _free_name(edit.session, login), AdminSpec(grants=grants))
        row.subject = login.subject
        edit.session.add(row)
        return row
    active = objects.read(edit.session, ADMINS, row).active
    objects.put(edit, ADMINS, row, AdminSpec(grants=grants, active=active))
    return row if grants and active else None


def session_spec(edit: Edit, row: AdminRow, login: Login) -> tuple[str, TokenSpec]:
    """The name and the Spec of a new session; sessions that have ended are deleted."""
    ended = delete(TokenRow).where(col(TokenRow.admin_id) == row.id, col(TokenRow.session).is_(True))
    edit.session.exec(ended.where(col(TokenRow.expires_at) <= edit.now))
    return f"session {secrets.token_hex(4)}", TokenSpec(expires_at=login.expires_at)


def named(login: Login, row: AdminRow) -> Login:
    """The login with the name that the admin has here."""
    return replace(login, admin=row.name)


def _free_name(session: Session, login: Login) -> str:
    """The person's name at the provider, where it is free and valid here."""
    mark = sha256(login.subject.encode()).hexdigest()[:8]
    wanted = login.admin[:80].strip()
    if check_free_name(wanted) is not None:
        wanted = f"sso {mark}"
    taken = session.exec(select(AdminRow.id).where(AdminRow.name == wanted)).first() is not None
    return f"{wanted} ({mark})" if taken else wanted
