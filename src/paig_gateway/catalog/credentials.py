"""A provider's credentials in the catalogue: references are kept as written, literals sealed; each has an id."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

from paig_client.api.specs import ProviderSpec
from paig_gateway.catalog.base import CatalogError, Secrets
from paig_gateway.database.tables import ProviderRow
from paig_gateway.secrets.errors import SecretKeyError, SecretReferenceError
from paig_gateway.secrets.references import STORED, References, parse_reference
from paig_gateway.secrets.vault import Vault, is_old

LOST = "lost"
"""Replaces a sealed literal that no key can open."""
LOST_MASK = "value:<lost: give it again>"

_MASK = re.compile(r"value:<stored(?::(?P<id>[0-9a-f]{8}))?>")


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """One credential of a provider.

    Attributes:
        id: Its name in the ledger, in logs and in metrics; the same on every node. It changes when another secret is
            stored in its place; of a reference, when the reference changes, not the secret that it names.
        reference: As written; None for a literal.
        sealed: A literal, sealed by the vault.
        purpose: The purpose that it is sealed for.
    """

    id: str
    reference: str | None = None
    sealed: str | None = field(default=None, repr=False)
    purpose: str = ""

    @property
    def mask(self) -> str:
        """Its name among several: its reference, or the number of the stored literal."""
        return self.reference or f"value:<stored:{self.id}>"

    @property
    def is_lost(self) -> bool:
        """Whether it is a literal that was given up with the secret key that sealed it."""
        return self.sealed == LOST


def stored(row: ProviderRow) -> tuple[StoredCredential, ...]:
    """A provider's credentials, in order."""
    single = row.spec.get("credential")
    texts: list[str] = row.spec.get("credentials") or ([single] if single is not None else [])
    bound_to = purpose(row.id, *_address(row))
    return tuple(_stored(row, text, bound_to) for text in texts)


def _stored(row: ProviderRow, text: str, bound_to: str) -> StoredCredential:
    mask = _MASK.fullmatch(text)
    if mask is None:
        return StoredCredential(sha256(f"{row.id}\n{text}".encode()).hexdigest()[:8], reference=text)
    id = mask["id"] or next(iter(row.sealed), "missing")
    return StoredCredential(id, sealed=row.sealed.get(id, ""), purpose=bound_to)


def purpose(id: str, kind: str, base_url: str | None, storage_url: str | None = None) -> str:
    """The purpose that a provider's literal is sealed for: the provider and the origins that it is sent to.

    If no address is given, the kind stands for the kind's own address, which a new version may change.
    """
    return f"credential {id} {origin(kind, base_url, storage_url)}"


def _address(row: ProviderRow) -> tuple[str, str | None, str | None]:
    return row.spec.get("kind", ""), row.spec.get("base_url"), row.spec.get("storage_url")


def origin(kind: str, base_url: str | None, storage_url: str | None = None) -> str:
    """Scheme, host and port of a base URL, in one spelling; the kind, if none is given.

    If there is a storage URL, its scheme, host and port follow.
    """
    if storage_url is not None:
        return f"{origin(kind, base_url)} and {origin(kind, storage_url)}"
    if base_url is None:
        return f"kind:{kind}"
    parts = urlsplit(base_url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def is_mask(text: str) -> bool:
    """Whether a credential stands for one that is stored already."""
    return _MASK.fullmatch(text) is not None


def problems(spec: ProviderSpec, references: References | None = None) -> Iterator[tuple[str, str]]:
    """The errors in a provider's credentials: (field, message).

    Args:
        references: What references may name; None checks only their form.
    """
    if spec.credential is not None and spec.credentials is not None:
        yield "credentials", "is given beside 'credential': give one credential or a list of several, not both"
    given = [("credential", spec.credential)] if spec.credential is not None else []
    listed = spec.credentials or []
    check = references.check if references is not None else parse_reference
    for place, text in (*given, *((f"credentials.{number}", one) for number, one in enumerate(listed))):
        try:
            check(text)
        except SecretReferenceError as error:
            yield place, str(error)
    for number, text in enumerate(listed):
        if text in listed[:number]:
            yield f"credentials.{number}", "is listed twice: name each credential once"


def normal(secrets: Secrets, row: ProviderRow | None, spec: ProviderSpec) -> dict[str, object]:
    """The changes to a Spec by which stored credentials are named as stored.

    Raises:
        CatalogError: A stored literal is to be kept if there is none or where the provider's address has changed, or
            two are the same.
    """
    there = [one for one in stored(row) if one.sealed is not None] if row is not None else []
    vault = secrets.vault
    if spec.credentials is not None:
        known = [_known(vault, there, text, f"credentials.{number}") for number, text in enumerate(spec.credentials)]
        listed = [one.mask if one else text for one, text in zip(known, spec.credentials, strict=True)]
        for number, text in enumerate(listed):
            if text in listed[:number]:
                raise CatalogError("invalid", "is the same secret as another one", field=f"credentials.{number}")
        _check_origin(
            row, spec, [one for one, text in zip(known, spec.credentials, strict=True) if one and is_mask(text)]
        )
        return {"credentials": listed}
    if spec.credential is None:
        return {}
    one = _known(vault, there, spec.credential, "credential")
    _check_origin(row, spec, [one] if one and is_mask(spec.credential) else [])
    alone = row is not None and row.spec.get("credential") is not None
    return {"credential": STORED if alone else one.mask} if one is not None else {}


def _check_origin(row: ProviderRow | None, spec: ProviderSpec, kept: list[StoredCredential]) -> None:
    """Refuse to send a stored literal to another address than the one it was given for."""
    if row is None or not kept:
        return
    before, after = origin(*_address(row)), origin(spec.kind, spec.base_url, spec.storage_url)
    if before != after:
        raise CatalogError(
            "invalid",
            f"give the credential again: the stored one was given for {before}, and the provider's address is now"
            f" {after}",
            field="credential" if spec.credential is not None else "credentials",
        )


def store(secrets: Secrets, row: ProviderRow, spec: ProviderSpec) -> ProviderSpec:
    """Seal a normal Spec's literals into the row; returns the Spec with masks in their place."""
    bound_to = purpose(row.id, spec.kind, spec.base_url, spec.storage_url)
    before = {one.id: one for one in stored(row)} if row.spec else {}
    sealed: dict[str, str] = {}

    def mask(text: str) -> str:
        if found := _MASK.fullmatch(text):
            kept = before[found["id"]] if found["id"] else next(one for one in before.values() if one.sealed)
            assert kept.sealed is not None
            id, sealed[kept.id] = kept.id, kept.sealed
            if kept.purpose != bound_to:  # the same literal was given again
                sealed[id] = secrets.vault.seal(
                    secrets.vault.open(kept.sealed.encode(), kept.purpose), bound_to
                ).decode()
        else:
            reference = parse_reference(text)
            if not reference.is_literal:
                return text
            id = _new_id()
            sealed[id] = secrets.vault.seal(reference.target.encode(), bound_to).decode()
        return f"value:<stored:{id}>"

    if spec.credentials is not None:
        masked = spec.model_copy(update={"credentials": [mask(text) for text in spec.credentials]})
    elif spec.credential is not None:
        text = mask(spec.credential)
        masked = spec.model_copy(update={"credential": STORED if sealed else text})
    else:
        masked = spec
    row.sealed = sealed
    return masked


def seal_again(vault: Vault, row: ProviderRow) -> bool:
    """Seal a provider's literals in the present form with the present key; returns whether any changed.

    Raises:
        SecretKeyError: One cannot be opened.
    """
    changed = dict(row.sealed)
    for one in stored(row):
        if one.sealed is None or one.is_lost or vault.is_current(one.sealed.encode()):
            continue
        changed[one.id] = vault.seal(_plain(vault, one), one.purpose).decode()
    if changed == row.sealed:
        return False
    row.sealed = changed
    return True


def give_up(vault: Vault, row: ProviderRow) -> bool:
    """Mark a provider's sealed literals that cannot be opened as lost; returns whether there are any."""
    if lost := cannot_open(vault, row):
        row.sealed = {**row.sealed, **dict.fromkeys(lost, LOST)}
        row.version += 1
    return bool(lost)


def cannot_open(vault: Vault, row: ProviderRow) -> list[str]:
    """The ids of a provider's sealed literals that no secret key opens, but for those marked as lost."""
    return [one.id for one in stored(row) if one.sealed is not None and not _opens(vault, one)]


def _opens(vault: Vault, one: StoredCredential) -> bool:
    try:
        return one.is_lost or bool(_plain(vault, one))
    except SecretKeyError:
        return False


def _plain(vault: Vault, one: StoredCredential) -> bytes:
    raw = (one.sealed or "").encode()
    return vault.open_old(raw) if is_old(raw) else vault.open(raw, one.purpose)


def _known(vault: Vault, there: list[StoredCredential], text: str, place: str) -> StoredCredential | None:
    """The stored literal that a text names or repeats; None if it is something else."""
    if mask := _MASK.fullmatch(text):
        fit = [one for one in there if mask["id"] in (None, one.id)]
        if not fit:
            raise CatalogError("invalid", "there is no stored credential to keep: give one", field=place)
        if len(fit) > 1:
            raise CatalogError(
                "invalid",
                f"does not say which of the stored credentials to keep: write {' or '.join(one.mask for one in fit)}",
                field=place,
            )
        return fit[0]
    reference = parse_reference(text)
    if not reference.is_literal:
        return None
    return next((one for one in there if _opened(vault, one) == reference.target), None)


def _opened(vault: Vault, one: StoredCredential) -> str | None:
    try:
        return vault.open((one.sealed or "").encode(), one.purpose).decode()
    except SecretKeyError:
        return None  # it cannot be read, so any given literal is new


def _new_id() -> str:
    return secrets.token_hex(4)
