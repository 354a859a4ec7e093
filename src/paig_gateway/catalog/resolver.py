"""Decrypted credentials of providers, kept only in this process's memory."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from paig_gateway.catalog.base import Secrets
from paig_gateway.catalog.credentials import StoredCredential, stored
from paig_gateway.database.tables import ProviderRow
from paig_gateway.domain.route import Credential
from paig_gateway.secrets.errors import SecretKeyError, SecretReferenceError
from paig_gateway.secrets.references import parse_reference

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""How often a credential that could not be read is tried again."""
FILE_SECONDS = 2.0
"""How often files are checked for a new credential."""
KEYRING_SECONDS = 10.0
"""How often a keyring is asked, at most, while a request waits for its credential."""

_Place = tuple[str, int, str]
"""A credential: the provider's id and version, and its own id."""
_Mark = tuple[int, int, int]
_CHANGING = ("file:", "keyring:")
"""Beginnings of references to what others may change while the gateway runs."""


class Resolver:
    """Resolves references and opens sealed literals, once for each version of a provider.

    Files are checked for changes every `FILE_SECONDS`; a keyring is read again after the provider has refused its
    credential.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._found: dict[_Place, str | SecretReferenceError] = {}
        self._references: dict[_Place, str] = {}
        self._marks: dict[_Place, _Mark | None] = {}
        self._timed_out: set[_Place] = set()
        self._asked: dict[_Place, float] = {}
        self._doubted: set[str] = set()
        self._renewed = False
        self._tried = self._looked = time.monotonic()

    def credentials(self, row: ProviderRow) -> tuple[tuple[Credential, ...], tuple[str, ...]]:
        """A provider's usable credentials, and why the others are not usable, without secrets."""
        usable: list[Credential] = []
        wrong: list[str] = []
        all_of_them = stored(row)
        for one in all_of_them:
            place = row.id, row.version, one.id
            if place not in self._found:
                # Another thread may be reading it.
                self._found = {**self._found, place: self._resolve(place, one)}
            secret = self._found[place]
            if isinstance(secret, str):
                usable.append(Credential(one.id, secret))
                continue
            which = f" {one.id}" if len(all_of_them) > 1 else ""
            if one.is_lost:
                wrong.append(
                    f"The credential{which} of the provider '{row.name}' was lost with the secret key, and must be"
                    f" given again: `paig providers update {row.name} --credential -`."
                )
            else:
                wrong.append(f"Cannot read the credential{which} of the provider '{row.name}': {secret}.")
        return tuple(usable), tuple(wrong)

    def forget_others(self, rows: Iterable[ProviderRow]) -> None:
        """Drop the credentials of all but these providers at these versions."""
        there = {(row.id, row.version) for row in rows}
        self._found = {place: found for place, found in self._found.items() if place[:2] in there}
        self._references = {place: text for place, text in self._references.items() if place[:2] in there}
        self._marks = {place: mark for place, mark in self._marks.items() if place[:2] in there}
        self._timed_out = {place for place in self._timed_out if place[:2] in there}
        self._asked = {place: asked for place, asked in self._asked.items() if place[:2] in there}

    def secrets(self) -> list[str]:
        return [found for found in self._found.values() if isinstance(found, str)]

    def doubt(self, credential: str) -> None:
        """Note that a provider has refused a credential: it is read again in the next round."""
        self._doubted.add(credential)

    def may_change(self, credential: str) -> bool:
        """Whether a file or a keyring holds a credential, so that it may have changed."""
        return any(place[2] == credential and text.startswith(_CHANGING) for place, text in self._references.items())

    def renewed(self, credential: str, secret: str) -> str | None:
        """The present secret of a credential if its file or keyring has another one than was sent; None otherwise."""
        for place, text in self._references.items():
            if place[2] != credential or not text.startswith(_CHANGING):
                continue
            before = self._found.get(place)
            if self._is_due(place, text):
                found = self._read(place, text)
                if isinstance(found, str) and found != before:
                    self._found = {**self._found, place: found}
                    self._renewed = True
            now = self._found.get(place)
            if isinstance(now, str) and now != secret:
                return now
        return None

    def _is_due(self, place: _Place, text: str) -> bool:
        """Whether a credential is worth reading again: its file has changed, or its keyring was not asked just now."""
        if text.startswith("file:"):
            return _mark(text) != self._marks.get(place)
        now = time.monotonic()
        if place in self._timed_out or now - self._asked.get(place, -KEYRING_SECONDS) < KEYRING_SECONDS:
            return False
        self._asked[place] = now
        return True

    def look_again(self) -> bool:
        """Read again the credentials that may have changed; returns whether any did."""
        now = time.monotonic()
        doubted, self._doubted = self._doubted, set()
        retry = now - self._tried >= RETRY_SECONDS
        files = now - self._looked >= FILE_SECONDS
        if retry:
            self._tried = now
        if files:
            self._looked = now
        changed, self._renewed = self._renewed, False
        for place, text in self._references.items():
            before = self._found.get(place)
            missing = isinstance(before, SecretReferenceError) and place not in self._timed_out
            moved = files and place in self._marks and _mark(text) != self._marks[place]
            if place[2] in doubted or moved or (missing and retry):
                found = self._read(place, text)
                if isinstance(found, SecretReferenceError) and isinstance(before, str):
                    log.warning("Cannot read %s again, keeping the credential that was read before: %s", text, found)
                    continue
                if found != before:
                    self._found = {**self._found, place: found}
                    changed = changed or isinstance(found, str)
        return changed

    def _resolve(self, place: _Place, one: StoredCredential) -> str | SecretReferenceError:
        if one.sealed is not None:
            try:
                found = self._secrets.vault.open(one.sealed.encode(), one.purpose).decode()
                self._secrets.references.check_stored(found)
                return found
            except SecretKeyError as error:
                return SecretReferenceError("unreadable", str(error).rstrip("."))
            except SecretReferenceError as error:
                return error
        text = one.reference or ""
        self._references = {**self._references, place: text}
        return self._read(place, text)

    def _read(self, place: _Place, text: str) -> str | SecretReferenceError:
        if text.startswith("file:"):
            self._marks[place] = _mark(text)
        try:
            return self._secrets.references.resolve(text)
        except SecretReferenceError as error:
            # A keyring that did not answer is not tried again: waiting for it would delay the revocation of a key.
            if error.code == "timeout":
                self._timed_out.add(place)
            return error


def _mark(text: str) -> _Mark | None:
    """A value that changes with the content of a reference's file; None if there is no file."""
    try:
        found = os.stat(Path(parse_reference(text).target).expanduser())
    except (OSError, RuntimeError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
