"""Logins by single sign-on: create a person's admin, or update its roles, by the person's groups."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlmodel import Session, SQLModel, col, delete, select

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, TokenSpec
from paig_gateway.catalog import objects
from paig_gateway.catalog.admins import ADMINS
from paig_gateway.catalog.base import Edit, check_free_name
from paig_gateway.database.tables import AdminRow, KeyRow, ProjectRow, TokenRow, UserRow

log = logging.getLogger(__name__)

ACTOR = "sso"
"""The actor of changes to admins, for the audit log."""


@dataclass(frozen=True, slots=True)
class PersonalKey:
    """The key that a person's group gives.

    Attributes:
        spec: Its project, routes and models.
        limits: The limits of the person, for all keys together.
        expires_at: When the key ends unless it is renewed.
    """

    spec: KeySpec
    limits: LimitsSpec
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """A person that the identity provider has authenticated.

    Attributes:
        subject: Issuer and subject there.
        admin: The person's name.
        grants: The roles that the person's groups give.
        expires_at: When the session ends.
        key: The key that the person's groups give, or None.
    """

    subject: str
    admin: str
    grants: Sequence[GrantSpec]
    expires_at: datetime
    key: PersonalKey | None = None


def admit(edit: Edit, login: Login) -> AdminRow | None:
    """The admin that logs in, with the current roles of its groups; None if it has none.

    An admin is identified only by issuer and subject; a name proves nothing. An admin whose groups give no role any
    more loses the roles that it had.
    """
    known = set(edit.session.exec(select(ProjectRow.name)))
    grants = [grant for grant in login.grants if grant.project is None or grant.project in known]
    for lost in set(login.grants) - set(grants):
        log.warning("[sso] groups gives a role in the project '%s', which does not exist", lost.project)
    row = edit.session.exec(select(AdminRow).where(AdminRow.subject == login.subject)).first()
    if row is None:
        if not grants:
            return None
        row = objects.create(edit, ADMINS, free_name(edit.session, AdminRow, login), AdminSpec(grants=grants))
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


def made_by_login(row: SQLModel) -> bool:
    """Whether logins make and change the object, so that no configuration file needs to name it."""
    return (isinstance(row, KeyRow) and row.login) or (isinstance(row, UserRow) and row.subject is not None)


def kept_out(edit: Edit, login: Login) -> bool:
    """Whether an administrator has made the person's admin inactive."""
    row = edit.session.exec(select(AdminRow).where(AdminRow.subject == login.subject)).first()
    return row is not None and not objects.read(edit.session, ADMINS, row).active


def free_name(session: Session, kind: type[AdminRow] | type[UserRow], login: Login) -> str:
    """The person's name at the provider, if it is free and valid here."""
    mark = sha256(login.subject.encode()).hexdigest()[:8]
    wanted = login.admin[:80].strip()
    if check_free_name(wanted) is not None:
        wanted = f"sso {mark}"
    taken = session.exec(select(kind.id).where(kind.name == wanted)).first() is not None
    return f"{wanted} ({mark})" if taken else wanted
