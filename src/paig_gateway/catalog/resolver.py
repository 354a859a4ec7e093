"""Providers' credentials in the clear, in this process's memory alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from paig_gateway.catalog.credentials import Held, held
from paig_gateway.database.tables import ProviderRow
from paig_gateway.domain.route import Credential
from paig_gateway.secrets.references import CredentialError, resolve
from paig_gateway.secrets.vault import SecretKeyError, Vault

RETRY_SECONDS = 30.0
"""How often a credential that could not be resolved is tried again."""

_Place = tuple[str, int, str]
"""A credential: the provider's id and version, and its own id."""


class Resolver:
    """Finds what references mean and reads what is encrypted: once for each version of a provider."""

    def __init__(self, vault: Vault, environ: Mapping[str, str]) -> None:
        self._vault = vault
        self._environ = environ
        self._found: dict[_Place, str | CredentialError] = {}
        self._missing: dict[_Place, str] = {}  # references to try again
        self._tried = time.monotonic()

    def credentials(self, row: ProviderRow) -> tuple[tuple[Credential, ...], tuple[str, ...]]:
        """A provider's credentials that can be had, and why the others cannot, in words that show no secret."""
        usable: list[Credential] = []
        wrong: list[str] = []
        all_of_it = held(row)
        for one in all_of_it:
            place = row.id, row.version, one.id
            if place not in self._found:
                # Another thread may be reading it.
                self._found = {**self._found, place: self._resolve(place, one)}
            secret = self._found[place]
            if isinstance(secret, str):
                usable.append(Credential(one.id, secret))
            else:
                which = f" {one.id}" if len(all_of_it) > 1 else ""
                wrong.append(f"The credential{which} of the provider '{row.name}' cannot be had: {secret}.")
        return tuple(usable), tuple(wrong)

    def forget_others(self, rows: Iterable[ProviderRow]) -> None:
        """Drop the credentials of all but these providers at these versions."""
        there = {(row.id, row.version) for row in rows}
        self._found = {place: found for place, found in self._found.items() if place[:2] in there}
        self._missing = {place: reference for place, reference in self._missing.items() if place[:2] in there}

    def secrets(self) -> list[str]:
        """Every secret in memory."""
        return [found for found in self._found.values() if isinstance(found, str)]

    def found_meanwhile(self) -> bool:
        """Whether a credential that was not to be had is there now; looked for only every `RETRY_SECONDS`."""
        if not self._missing or time.monotonic() - self._tried < RETRY_SECONDS:
            return False
        self._tried = time.monotonic()
        missing, self._missing = self._missing, {}
        for place, reference in missing.items():
            try:
                self._found[place] = resolve(reference, self._environ)
            except CredentialError as error:
                if error.code != "timeout":
                    self._missing[place] = reference
        return any(isinstance(self._found[place], str) for place in missing)

    def _resolve(self, place: _Place, one: Held) -> str | CredentialError:
        try:
            if one.sealed is not None:
                return self._vault.decrypt(one.sealed).decode()
            return resolve(one.reference or "", self._environ)
        except SecretKeyError as error:
            return CredentialError("unreadable", str(error))
        except CredentialError as error:
            # A keyring that did not answer is not asked again: that would hold up the news of a revoked key.
            if one.reference is not None and error.code != "timeout":
                self._missing[place] = one.reference
            return error
