"""People who log in by single sign-on: the admin, the user and the personal key that their groups give them.

A person is identified only by issuer and subject. Each login makes a key of its own, which expires unless it is
renewed. All keys of a person belong to one user, whose limits are those of the person's group, so logging in again
gives nothing more to spend.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from paig_client.api.resources import NewKey, NewToken
from paig_client.api.specs import KeySpec, OwnerSpec
from paig_gateway.catalog import keys, logins, objects, tokens
from paig_gateway.catalog.base import CatalogError, Edit
from paig_gateway.catalog.keys import KEYS
from paig_gateway.catalog.logins import Login, PersonalKey
from paig_gateway.catalog.owners import USERS
from paig_gateway.catalog.transactions import Transactions
from paig_gateway.database.columns import milliseconds
from paig_gateway.database.tables import KeyRow, UserRow

MAX_KEYS = 10
"""The most login keys that a person may have at once; a further login ends the oldest."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The result of a login.

    Attributes:
        name: The person's name here.
        token: A session of the admin API; None for a person without a role.
        key: A personal key; None where no group gives one.
    """

    name: str
    token: NewToken | None
    key: NewKey | None


class People:
    """Logging in, renewing a personal key, and logging out. All methods block; call them in a thread."""

    def __init__(self, catalog: Transactions) -> None:
        self._catalog = catalog

    def log_in(self, login: Login, *, browser: bool = False, token: bool = True) -> LoggedIn | None:
        """Log a person in after the identity provider has authenticated them.

        Args:
            login: The person, and what their groups grant.
            browser: Whether the token is only for a browser's cookie; a browser gets no key.
            token: Whether a person with a role gets a session of the admin API.

        Returns:
            None if the person's groups grant neither a role nor a key, or if the person is blocked.
        """
        with self._catalog.edit(logins.ACTOR) as edit:
            admin = logins.admit(edit, login)
            if admin is None and logins.kept_out(edit, login):
                return None
            key = None if browser else _new_key(edit, login)
            if admin is None or not token:
                return LoggedIn(key[0], None, key[1]) if key is not None else None
            edit.actor = f"admin:{admin.name}"
            name, spec = logins.session_spec(edit, admin, login)
            prefix = tokens.BROWSER_PREFIX if browser else tokens.PREFIX
            made = tokens.add(edit, admin, name, spec, session=True, prefix=prefix)
            return LoggedIn(admin.name, made, key[1] if key is not None else None)

    def user_of(self, login: Login) -> str | None:
        """The id of the user that a person's keys belong to; None if there is none, or if the person is blocked."""
        with self._catalog.edit(logins.ACTOR) as edit:
            user = _user(edit, login)
            return None if user is None or logins.kept_out(edit, login) else user.id

    def renew_key(self, id: str, login: Login) -> datetime | None:
        """Renew a personal key by the person's present groups; without a group that gives one, it ends.

        Returns:
            When it ends; None if it has ended.
        """
        with self._catalog.edit(logins.ACTOR) as edit:
            row = edit.session.get(KeyRow, id)
            user = _user(edit, login)
            if row is None or not row.login or user is None or row.user_id != user.id or row.state != "active":
                return None
            if login.key is None or logins.kept_out(edit, login):
                objects.delete(edit, KEYS, row)
                return None
            _give_limits(edit, user, login.key)
            objects.put(edit, KEYS, row, _spec(edit, user, login.key))
            return login.key.expires_at

    def end_key(self, id: str) -> None:
        """Delete a personal key; a key that has already ended is not an error."""
        with self._catalog.edit(logins.ACTOR) as edit:
            row = edit.session.get(KeyRow, id)
            if row is not None and row.login:
                objects.delete(edit, KEYS, row)


def _new_key(edit: Edit, login: Login) -> tuple[str, NewKey] | None:
    """The user's name and a new key, or None.

    There is none if no group gives one, or if an administrator has stopped one of the person's keys.
    """
    if login.key is None:
        return None
    user = _user(edit, login)
    if user is None:
        user = objects.create(edit, USERS, logins.free_name(edit.session, UserRow, login), OwnerSpec())
        user.subject = login.subject
        edit.session.add(user)
    theirs = select(KeyRow).where(KeyRow.user_id == user.id, col(KeyRow.login).is_(True))
    rows = list(edit.session.exec(theirs.order_by(col(KeyRow.created_at))))
    if any(row.state != "active" for row in rows):
        return None
    specs = dict(zip((row.id for row in rows), objects.specs(edit.session, KEYS, rows), strict=True))
    lasting = [row for row in rows if (until := specs[row.id].expires_at) and milliseconds(until) > edit.now]
    for row in rows:
        if row not in lasting or row in lasting[: max(0, len(lasting) - MAX_KEYS + 1)]:
            objects.delete(edit, KEYS, row)
    _give_limits(edit, user, login.key)
    name = f"{user.name[:80]} {secrets.token_hex(4)}"
    row, secret = keys.create(edit, name, _spec(edit, user, login.key), None)
    row.login = True
    edit.session.add(row)
    return user.name, NewKey(id=row.id, name=row.name, key=secret)


def _user(edit: Edit, login: Login) -> UserRow | None:
    return edit.session.exec(select(UserRow).where(UserRow.subject == login.subject)).first()


def _give_limits(edit: Edit, user: UserRow, given: PersonalKey) -> None:
    objects.put(edit, USERS, user, OwnerSpec(limits=given.limits))


def _spec(edit: Edit, user: UserRow, given: PersonalKey) -> KeySpec:
    """The settings of the key.

    Raises:
        CatalogError: `invalid` if the settings name a project or route that does not exist.
    """
    spec = given.spec.model_copy(update={"user": user.name, "expires_at": given.expires_at})
    for field, wrong in KEYS.problems(edit, spec):
        raise CatalogError("invalid", f"[sso.keys] {field}: {wrong}", field=field)
    return spec
