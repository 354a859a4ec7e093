"""A provider's credentials in the catalogue: references are kept as written, literals encrypted; each has an id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from paig_client.api.specs import ProviderSpec
from paig_gateway.catalog.base import CatalogError
from paig_gateway.database.tables import ProviderRow
from paig_gateway.secrets.references import STORED, CredentialError, parse_reference
from paig_gateway.secrets.vault import SecretKeyError, Vault

_MASK = re.compile(r"value:<stored(?::(?P<id>[0-9a-f]{8}))?>")


@dataclass(frozen=True, slots=True)
class Held:
    """One credential of a provider.

    Attributes:
        id: Its name wherever it is spoken of; made of what is stored, so that it is the same on every node, and another
            once another secret is stored in its place. Of a reference, the reference counts, not the secret there.
        reference: As written; None for a literal.
        sealed: A literal, encrypted.
    """

    id: str
    reference: str | None = None
    sealed: bytes | None = field(default=None, repr=False)

    @property
    def mask(self) -> str:
        """How one among several is shown: its reference, or which stored literal it is."""
        return self.reference or f"value:<stored:{self.id}>"


def held(row: ProviderRow) -> tuple[Held, ...]:
    """A provider's credentials, in order; none where it has none."""
    if row.credentials is not None:
        return tuple(
            _held(row, one.get("reference"), one["secret"].encode() if "secret" in one else None)
            for one in row.credentials
        )
    return () if row.credential is None and row.secret is None else (_held(row, row.credential, row.secret),)


def _held(row: ProviderRow, reference: str | None, sealed: bytes | None) -> Held:
    # Of a literal the ciphertext counts: it differs each time that something is encrypted, and tells nothing.
    stored = sealed if sealed is not None else (reference or "").encode()
    return Held(sha256(row.id.encode() + b"\n" + stored).hexdigest()[:8], reference, sealed)


def shown(row: ProviderRow) -> dict[str, object]:
    """The fields of a ProviderSpec that speak of credentials; literals are shown as stored."""
    if row.credentials is not None:
        return {"credentials": [one.mask for one in held(row)]}
    return {"credential": STORED if row.secret is not None else row.credential}


def is_mask(text: str) -> bool:
    """Whether a credential is the word for one that is stored already."""
    return _MASK.fullmatch(text) is not None


def problems(spec: ProviderSpec) -> Iterator[tuple[str, str]]:
    """What is wrong with a provider's credentials by themselves: (field, message)."""
    if spec.credential is not None and spec.credentials is not None:
        yield "credentials", "stand beside 'credential': give one credential or a list of several, not both"
    given = [("credential", spec.credential)] if spec.credential is not None else []
    listed = spec.credentials or []
    for place, text in (*given, *((f"credentials.{number}", one) for number, one in enumerate(listed))):
        try:
            parse_reference(text)
        except CredentialError as error:
            yield place, str(error)
    for number, text in enumerate(listed):
        if text in listed[:number]:
            yield f"credentials.{number}", "stands there twice: one credential needs to be named once"


def normal(vault: Vault, row: ProviderRow | None, spec: ProviderSpec) -> dict[str, object]:
    """What changes in a Spec so that what is stored already is named as stored.

    Raises:
        CatalogError: A stored literal is to be kept where there is none such, or two are the same.
    """
    there = [one for one in held(row) if one.sealed is not None] if row is not None else []
    if spec.credentials is not None:
        known = [_known(vault, there, text, f"credentials.{number}") for number, text in enumerate(spec.credentials)]
        listed = [one.mask if one else text for one, text in zip(known, spec.credentials, strict=True)]
        for number, text in enumerate(listed):
            if text in listed[:number]:
                raise CatalogError("invalid", "is the same secret as another one", field=f"credentials.{number}")
        return {"credentials": listed}
    if spec.credential is None:
        return {}
    one = _known(vault, there, spec.credential, "credential")
    alone = row is not None and row.secret is not None
    return {"credential": STORED if alone else one.mask} if one is not None else {}


def write(vault: Vault, row: ProviderRow, spec: ProviderSpec) -> None:
    """Put a normal Spec's credentials onto a row."""
    there = {one.id: one.sealed for one in held(row) if one.sealed is not None}

    def sealed(text: str) -> bytes | None:
        if mask := _MASK.fullmatch(text):
            return there[mask["id"]] if mask["id"] else next(iter(there.values()))
        reference = parse_reference(text)
        return vault.encrypt(reference.target.encode()) if reference.is_literal else None

    row.credential, row.secret, row.credentials = None, None, None
    if spec.credentials is not None:
        kept = [(text, sealed(text)) for text in spec.credentials]
        row.credentials = [{"secret": seal.decode()} if seal else {"reference": text} for text, seal in kept]
    elif spec.credential is not None:
        row.secret = sealed(spec.credential)
        row.credential = spec.credential if row.secret is None else None


def _known(vault: Vault, there: list[Held], text: str, place: str) -> Held | None:
    """The stored literal that a text means or repeats; None where it is something else."""
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
    return next((one for one in there if one.sealed and _opened(vault, one.sealed) == reference.target), None)


def _opened(vault: Vault, sealed: bytes) -> str | None:
    try:
        return vault.decrypt(sealed).decode()
    except SecretKeyError:
        return None  # unreadable, so whatever is given now is new
