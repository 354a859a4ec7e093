"""Logins by single sign-on: the admin is made, or brought to what their groups give, and gets a session."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from sqlmodel import Session, col, delete, select

from paig_client.api.specs import AdminSpec, GrantSpec, TokenSpec
from paig_gateway.catalog import admins, objects
from paig_gateway.catalog.base import Edit, check_free_name
from paig_gateway.database.tables import AdminRow, ProjectRow, TokenRow

log = logging.getLogger(__name__)

ACTOR = "sso"
"""Who makes admins and changes their roles, for the audit log."""


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody whom the identity provider vouches for.

    Attributes:
        subject: Issuer and subject there.
        admin: What to call them.
        grants: What their groups give them.
        expires_at: When the session ends.
    """

    subject: str
    admin: str
    grants: Sequence[GrantSpec]
    expires_at: datetime


def admit(edit: Edit, login: Login) -> AdminRow | None:
    """The admin who logs in, with the roles of their groups as they are now; None if they may not.

    An admin is known by issuer and subject alone: a name proves nothing, and never leads to somebody else's account.
    Who has no role any more loses those that they had.
    """
    known = set(edit.session.exec(select(ProjectRow.name)))
    grants = [grant for grant in login.grants if grant.project is None or grant.project in known]
    for lost in set(login.grants) - set(grants):
        log.warning("[sso] groups gives a role in the project '%s', which there is not", lost.project)
    row = edit.session.exec(select(AdminRow).where(AdminRow.subject == login.subject)).first()
    if row is None:
        if not grants:
            return None
        row = objects.create(edit, admins.SHAPE, _free_name(edit.session, login), AdminSpec(grants=grants))
        row.subject = login.subject
        edit.session.add(row)
        return row
    objects.put(edit, admins.SHAPE, row, AdminSpec(grants=grants, active=row.active))
    return row if grants and row.active else None


def session_spec(edit: Edit, row: AdminRow, login: Login) -> tuple[str, TokenSpec]:
    """The name and the Spec of a new session; those that ended are forgotten."""
    ended = delete(TokenRow).where(col(TokenRow.admin_id) == row.id, col(TokenRow.session).is_(True))
    edit.session.exec(ended.where(col(TokenRow.expires_at) <= edit.now))
    return f"session {secrets.token_hex(4)}", TokenSpec(expires_at=login.expires_at)


def named(login: Login, row: AdminRow) -> Login:
    """The login with the name that the admin has here."""
    return replace(login, admin=row.name)


def _free_name(session: Session, login: Login) -> str:
    """What the provider calls them, where that is free and may be a name here."""
    mark = sha256(login.subject.encode()).hexdigest()[:8]
    wanted = login.admin[:80].strip()
    if check_free_name(wanted) is not None:
        wanted = f"sso {mark}"
    taken = session.exec(select(AdminRow.id).where(AdminRow.name == wanted)).first() is not None
    return f"{wanted} ({mark})" if taken else wanted
