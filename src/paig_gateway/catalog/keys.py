"""Keys in the catalogue: only the SHA-256 of a secret is kept, and limits hang on the key's id, never on its secret."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Literal

from sqlmodel import Session, select

from paig_client.api import resources
from paig_client.api.specs import KeySpec, LimitsSpec
from paig_gateway.catalog import limits, objects, owners
from paig_gateway.catalog.base import CatalogError, Edit, check_free_name, is_id, milliseconds, moment
from paig_gateway.catalog.objects import Context, ObjectType
from paig_gateway.catalog.references import route_names
from paig_gateway.database.tables import KeyRow, ProjectRow, UserRow
from paig_gateway.secrets.references import STORED, CredentialError, parse_reference, resolve

State = Literal["active", "disabled", "blocked"]

_VERBS: Mapping[State, str] = {"active": "enable", "disabled": "disable", "blocked": "block"}
_END_OF_TIME = 253_370_764_800_000  # the year 9999, in milliseconds
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def new_secret() -> str:
    """A key's secret of 256 random bits: `paig_` and 43 characters that are safe in URLs."""
    return f"paig_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """What is stored of a secret and looked up by: its SHA-256, in hex. A plain hash will do for so much randomness."""
    return sha256(secret.encode()).hexdigest()


def hint(secret: str) -> str:
    """The first characters of a secret: nine of those made here, no more than a quarter of those chosen elsewhere."""
    return secret[: min(9, len(secret) // 4)]


def parse_expiry(text: str, now: datetime) -> datetime:
    """When a key expires, from `30d` (also m, h, w) or an ISO 8601 time (UTC where it names no zone).

    Raises:
        ValueError: It is neither.
    """
    if match := re.fullmatch(r"(\d{1,5})([mhdw])", text.strip()):
        return now + int(match[1]) * _UNITS[match[2]]
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"'{text}' is no expiry: write 30d, 12h or a date such as 2027-01-31") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def chosen_value(reference: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The value that a key's `secret` means; None where none is given or the stored one is to be kept.

    Looks into the environment, files or the keyring, so it is called before a transaction is opened.

    Raises:
        CatalogError: `invalid`; it cannot be had or would not do as a key.
    """
    if reference is None or reference == STORED:
        return None
    try:
        value = resolve(reference, environ)
    except CredentialError as error:
        raise CatalogError("invalid", str(error), field="secret") from None
    if not re.fullmatch(r"[\x21-\x7e]{8,512}", value):
        raise CatalogError(
            "invalid", "a key's value must be of 8 to 512 printable ASCII characters without spaces", field="secret"
        )
    return value


def problems(spec: KeySpec) -> Iterator[tuple[str, str]]:
    """What is wrong with a key by itself: (field, message)."""
    if spec.secret is not None:
        try:
            parse_reference(spec.secret)
        except CredentialError as error:
            yield "secret", str(error)
    for number, pattern in enumerate(spec.models or ()):
        if not pattern:
            yield f"models.{number}", "must not be empty: write a model's name or a pattern such as gpt-5*"
    if spec.expires_at is not None and not 0 <= milliseconds(spec.expires_at) < _END_OF_TIME:
        yield "expires_at", "is out of range"


def create(edit: Edit, name: str, spec: KeySpec, value: str | None) -> tuple[KeyRow, str]:
    """Make a key of the value chosen elsewhere, or of a new one; answers that value too.

    Raises:
        CatalogError: `invalid`, or `conflict` where the name or the value is taken.
    """
    secret = value or new_secret()
    _check_unique(edit.session, secret)

    def blank(id: str, name: str, now: int) -> KeyRow:
        return KeyRow(id=id, name=name, hash=digest(secret), hint=hint(secret), created_at=now, updated_at=now)

    return objects.create(edit, replace(SHAPE, blank=blank), name, spec), secret


def set_value(edit: Edit, row: KeyRow, secret: str) -> None:
    """Give a key another secret. Its id, and so its limits and what is spent of them, stay.

    Raises:
        CatalogError: `conflict` where another key has it.
    """
    if digest(secret) == row.hash:
        return
    _check_unique(edit.session, secret)
    before = row.hint
    row.hash, row.hint = digest(secret), hint(secret)
    objects.touch(edit, row)
    edit.session.flush()
    edit.record("rotate", "key", row.name, {"hint": before}, {"hint": row.hint}, project_id=row.project_id)


def rotate(edit: Edit, row: KeyRow) -> str:
    """Give a key a new secret and answer it; the old one stops working.

    Raises:
        CatalogError: `conflict` where the value is chosen elsewhere.
    """
    if row.secret is not None and row.secret != STORED:
        raise CatalogError(
            "conflict", f"The value of the key '{row.name}' comes from {row.secret}: change it there and apply again."
        )
    row.secret = None
    secret = new_secret()
    set_value(edit, row, secret)
    return secret


def set_state(edit: Edit, row: KeyRow, state: State) -> None:
    """Enable, disable or block a key."""
    if row.state == state:
        return
    before, row.state = row.state, state
    objects.touch(edit, row)
    edit.record(_VERBS[state], "key", row.name, {"state": before}, {"state": state}, project_id=row.project_id)


def wire(row: KeyRow, spec: KeySpec, now: int) -> resources.Key:
    """The key as the admin API shows it; whether a limit is exhausted is for the ledger to say."""
    expired = row.state == "active" and row.expires_at is not None and row.expires_at <= now
    return resources.Key.model_validate(
        {
            **row.model_dump(include={"id", "name", "version", "hint", "routes", "models"}),
            "created_at": row.created_at / 1000,
            "updated_at": row.updated_at / 1000,
            "status": "expired" if expired else row.state,
            "project": spec.project,
            "user": spec.user,
            "limits": spec.limits,
            "expires_at": spec.expires_at,
        }
    )


def spec_of(row: KeyRow, project: str | None, user: str | None, caps: LimitsSpec) -> KeySpec:
    """The Spec that a row stands for, given what it refers to."""
    return KeySpec(
        project=project,
        user=user,
        routes=row.routes,
        models=row.models,
        limits=caps,
        expires_at=None if row.expires_at is None else moment(row.expires_at),
        secret=row.secret,
    )


def _check_unique(session: Session, secret: str) -> None:
    taken = session.exec(select(KeyRow.name).where(KeyRow.hash == digest(secret))).first()
    if taken is not None:
        raise CatalogError("conflict", f"the key '{taken}' has the same value: choose another", field="secret")


def _normal(context: Context, row: KeyRow | None, spec: KeySpec) -> KeySpec:
    for name, wrong in problems(spec):
        raise CatalogError("invalid", wrong, field=name)
    changes: dict[str, object] = {"limits": limits.normal(spec.limits)}
    if spec.expires_at is not None:
        changes["expires_at"] = moment(milliseconds(spec.expires_at))
    if spec.secret == STORED:
        if row is None or row.secret != STORED:
            raise CatalogError("invalid", "there is no stored value to keep: give one or leave it out", field="secret")
    elif spec.secret is not None and row is not None and row.secret == STORED:
        reference = parse_reference(spec.secret)
        if reference.is_literal and digest(reference.target.strip()) == row.hash:
            changes["secret"] = STORED
    return spec.model_copy(update=changes)


def _read(session: Session, row: KeyRow) -> KeySpec:
    project = session.get(ProjectRow, row.project_id) if row.project_id else None
    user = session.get(UserRow, row.user_id) if row.user_id else None
    caps = limits.spec_of(limits.rows_of(session, "key", row.id))
    return spec_of(row, project.name if project else None, user.name if user else None, caps)


def _write(edit: Edit, row: KeyRow, spec: KeySpec) -> None:
    session = edit.session
    known = route_names(session) if spec.routes else set()
    for number, name in enumerate(spec.routes or ()):
        if name not in known:
            raise CatalogError(
                "invalid", f"there is no route or provider '{name}': make it first", field=f"routes.{number}"
            )
    row.project_id = _owner_id(session, owners.PROJECTS, spec.project)
    row.user_id = _owner_id(session, owners.USERS, spec.user)
    row.routes, row.models = spec.routes, spec.models
    row.expires_at = None if spec.expires_at is None else milliseconds(spec.expires_at)
    literal = spec.secret is not None and parse_reference(spec.secret).is_literal
    row.secret = STORED if literal else spec.secret
    session.add(row)
    limits.write(edit, "key", row.id, spec.limits)


def _owner_id(session: Session, kind: ObjectType[owners.O, owners.P], name: str | None) -> str | None:
    if name is None:
        return None
    owner = None if is_id(name) else objects.find(session, kind, name)
    if owner is None:
        raise CatalogError("invalid", f"there is no {kind.kind} '{name}': make it first", field=kind.kind)
    return owner.id


def _unlink(edit: Edit, row: KeyRow) -> None:
    limits.write(edit, "key", row.id, LimitsSpec())


def _blank(id: str, name: str, now: int) -> KeyRow:
    raise AssertionError("a key is made by keys.create, which knows its secret")


SHAPE: ObjectType[KeyRow, KeySpec] = ObjectType(
    kind="key",
    prefix="key",
    row=KeyRow,
    spec=KeySpec,
    check_name=check_free_name,
    blank=_blank,
    normal=_normal,
    read=_read,
    write=_write,
    unlink=_unlink,
)
