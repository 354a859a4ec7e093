"""Keys in the catalogue: only the SHA-256 of a secret is kept; limits belong to the key's id, never to its secret."""

from __future__ import annotations

import re
import secrets as randomness
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

from sqlmodel import Session, col, delete, or_, select

from paig_client.api import resources
from paig_client.api.specs import KeySpec
from paig_client.api.vocabulary import KeyState
from paig_gateway.catalog import limits, objects
from paig_gateway.catalog.base import CatalogError, Edit, Secrets, check_free_name, is_id, suggestion
from paig_gateway.catalog.objects import ObjectType, Problem
from paig_gateway.catalog.owners import PROJECTS, USERS, format_problems
from paig_gateway.catalog.references import check_unlimited, route_names
from paig_gateway.database.columns import milliseconds, moment
from paig_gateway.database.tables import KeyRow, KeyUseRow
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.home import weakness
from paig_gateway.secrets.references import STORED, References, parse_reference

MAX_OVERLAP = timedelta(days=30)
HASHED = "sha256:"
"""The prefix of a value given as its SHA-256 (hex), for a secret that only its holder knows."""

_VERBS: Mapping[KeyState, str] = {"active": "enable", "disabled": "disable", "blocked": "block"}
_END_OF_TIME = 253_370_764_800_000  # the year 9999, in milliseconds


def new_secret() -> str:
    """A new secret of 256 random bits: `paig_` and 43 characters that are safe in URLs."""
    return f"paig_{randomness.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """The SHA-256 of a secret, in hex, as it is stored. A secret is random, so it needs no slower hash."""
    if secret.startswith(HASHED):
        return secret.removeprefix(HASHED)
    return sha256(secret.encode()).hexdigest()


def hint(secret: str) -> str:
    """The first characters of a secret: nine of a generated one, at most a quarter of an operator's own value."""
    return secret[: min(9, len(secret) // 4)]


def chosen_value(reference: str | None, references: References) -> str | None:
    """The value that a key's `secret` names; None if none is given or the stored one is to be kept.

    Reads the environment, files or the keyring, so call it before a transaction is opened.

    Raises:
        CatalogError: `invalid` if it cannot be read or is not usable as a key.
    """
    if reference is None or reference == STORED:
        return None
    if reference.startswith(HASHED):
        return _hashed(reference)
    try:
        value = references.resolve(reference)
    except SecretReferenceError as error:
        raise CatalogError("invalid", str(error), field="secret") from None
    if not re.fullmatch(r"[\x21-\x7e]{8,512}", value) or value.startswith(HASHED):
        raise CatalogError(
            "invalid", "a key's value must have 8 to 512 printable ASCII characters without spaces", field="secret"
        )
    return value


def check_strength(secret: str) -> None:
    """Refuse a chosen value that could be guessed; a hash cannot be checked, and passes.

    Raises:
        CatalogError: `invalid`.
    """
    if not secret.startswith(HASHED) and (wrong := weakness("the key's value", secret)) is not None:
        raise CatalogError("invalid", f'{wrong} Or leave "secret" out to have one made.', field="secret")


def _hashed(reference: str) -> str:
    """A reference that is the hash of a value.

    Raises:
        CatalogError: `invalid`.
    """
    if not re.fullmatch(rf"{HASHED}[0-9a-f]{{64}}", reference):
        raise CatalogError("invalid", f"needs 64 lower-case hexadecimal digits after '{HASHED}'", field="secret")
    return reference


def problems(spec: KeySpec) -> Iterator[Problem]:
    """The errors in a key: (field, message)."""
    if spec.secret is not None and spec.secret.startswith(HASHED):
        _hashed(spec.secret)
    elif spec.secret is not None:
        try:
            parse_reference(spec.secret)
        except SecretReferenceError as error:
            yield "secret", str(error)
    for number, pattern in enumerate(spec.models or ()):
        if not pattern:
            yield f"models.{number}", "must not be empty: write a model's name or a pattern such as gpt-5*"
    yield from format_problems(spec.formats)
    if spec.expires_at is not None and not 0 <= milliseconds(spec.expires_at) < _END_OF_TIME:
        yield "expires_at", "is out of range"


def create(edit: Edit, name: str, spec: KeySpec, value: str | None) -> tuple[KeyRow, str]:
    """Create a key with the value chosen elsewhere, or with a new one; returns the value too.

    Raises:
        CatalogError: `invalid`, or `conflict` where the name or the value is taken.
    """
    secret = value or new_secret()
    check_strength(secret)
    _check_unique(edit.session, secret)
    return objects.create(edit, KEYS, name, spec, hash=digest(secret), hint=hint(secret)), secret


def set_value(edit: Edit, row: KeyRow, secret: str, overlap: timedelta = timedelta()) -> None:
    """Give a key another secret. Its id stays, and with it its limits and their spent amounts.

    Args:
        secret: Its new secret.
        overlap: How long the old one is still accepted.

    Raises:
        CatalogError: `invalid` where it may be guessed, `conflict` where another key has it.
    """
    if digest(secret) == row.hash:
        return  # a weak value of an older version stays
    check_strength(secret)
    _check_unique(edit.session, secret)
    before, old = row.hint, row.hash
    row.hash, row.hint = digest(secret), hint(secret)
    until = edit.now + overlap // timedelta(milliseconds=1)
    row.old_hash, row.old_until = (old, until) if overlap else (None, None)
    objects.touch(edit, row)
    after: dict[str, Any] = {"hint": row.hint}
    if overlap:
        after["old_secret_until"] = moment(until).isoformat()
    edit.record("rotate", "key", row.name, {"hint": before}, after, project_id=row.project_id)


def rotate(edit: Edit, row: KeyRow, overlap: timedelta = timedelta()) -> str:
    """Give a key a new secret and return it; the old one stops working, at once or after `overlap`.

    Raises:
        CatalogError: `conflict` where the value is chosen elsewhere, or `invalid` for too long an overlap.
    """
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise CatalogError("invalid", f"must be between 0 and {MAX_OVERLAP.days} days", field="overlap")
    source = row.spec.get("secret")
    if source is not None and source != STORED and not source.startswith(HASHED):
        raise CatalogError(
            "conflict", f"The value of the key '{row.name}' comes from {source}: change it there and apply again."
        )
    row.spec = {name: value for name, value in row.spec.items() if name != "secret"}
    secret = new_secret()
    set_value(edit, row, secret, overlap)
    return secret


def set_state(edit: Edit, row: KeyRow, state: KeyState) -> None:
    """Enable, disable or block a key."""
    if row.state == state:
        return
    before, row.state = row.state, state
    objects.touch(edit, row)
    edit.record(_VERBS[state], "key", row.name, {"state": before}, {"state": state}, project_id=row.project_id)


def _check_unique(session: Session, secret: str) -> None:
    same = or_(KeyRow.hash == digest(secret), KeyRow.old_hash == digest(secret))
    if session.exec(select(KeyRow.id).where(same)).first() is not None:
        raise CatalogError("conflict", "another key has the same value: choose another", field="secret")


def _normal(secrets: Secrets, row: KeyRow | None, spec: KeySpec) -> KeySpec:
    for name, wrong in problems(spec):
        raise CatalogError("invalid", wrong, field=name)
    changes: dict[str, object] = {"limits": limits.normal(spec.limits)}
    if spec.expires_at is not None:
        changes["expires_at"] = moment(milliseconds(spec.expires_at))  # whole milliseconds, as times are kept
    stored = row is not None and row.spec.get("secret") == STORED
    if spec.secret == STORED and not stored:
        raise CatalogError("invalid", "there is no stored value to keep: give one or leave it out", field="secret")
    if row is not None and stored and spec.secret is not None and not spec.secret.startswith(HASHED):
        reference = parse_reference(spec.secret)
        if reference.is_literal and digest(reference.target.strip()) == row.hash:
            changes["secret"] = STORED
    return spec.model_copy(update=changes)


def _problems(edit: Edit, spec: KeySpec) -> Iterable[Problem]:
    known = route_names(edit.session) if spec.routes else set()
    for number, name in enumerate(spec.routes or ()):
        if name not in known:
            close = suggestion(name, known) or ": make it first"
            yield f"routes.{number}", f"there is no route or provider '{name}'{close}"
    for type, owner in ((PROJECTS, spec.project), (USERS, spec.user)):
        if owner is not None and _owner_id(edit.session, type, owner) is None:
            yield type.kind, f"there is no {type.kind} '{owner}': make it first"


def _store(edit: Edit, row: KeyRow, spec: KeySpec) -> KeySpec:
    row.project_id = _owner_id(edit.session, PROJECTS, spec.project)
    row.user_id = _owner_id(edit.session, USERS, spec.user)
    named = spec.secret if spec.secret is not None and not spec.secret.startswith(HASHED) else None
    literal = named is not None and parse_reference(named).is_literal
    return spec.model_copy(update={"secret": STORED}) if literal else spec


def _owner_id(session: Session, type: ObjectType[Any, Any, Any], name: str | None) -> str | None:
    owner = None if name is None or is_id(name) else objects.find(session, type, name)
    return None if owner is None else owner.id


def _shown(row: KeyRow, spec: KeySpec, now: int) -> Mapping[str, Any]:
    """The ledger tells whether a limit is used up."""
    expired = row.state == "active" and spec.expires_at is not None and milliseconds(spec.expires_at) <= now
    overlaps = row.old_until is not None and row.old_until > now
    return {
        "hint": row.hint,
        "status": "expired" if expired else row.state,
        "old_secret_until": moment(row.old_until) if overlaps and row.old_until is not None else None,
    }


def _unlink(edit: Edit, row: KeyRow) -> None:
    check_unlimited(edit.session, "key", row.name)
    edit.session.exec(delete(KeyUseRow).where(col(KeyUseRow.key_id) == row.id))


KEYS: ObjectType[KeyRow, KeySpec, resources.Key] = ObjectType(
    kind="key",
    prefix="key",
    row=KeyRow,
    spec=KeySpec,
    resource=resources.Key,
    check_name=check_free_name,
    limited=True,
    normal=_normal,
    problems=_problems,
    store=_store,
    unlink=_unlink,
    shown=_shown,
)
