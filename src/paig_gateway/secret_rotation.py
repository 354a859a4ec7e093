"""`paig secret rotate`: everything that is sealed gets a new secret key, while gateways run.

The new key stands before the old one (`NEW,OLD`): the new one seals, both open. A running gateway that meets a value
under a key that it does not know reads the key file again. Once every gateway was started with the new key, the old one
is dropped (`finish`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from paig_gateway.app import OpenDatabase
from paig_gateway.secrets.errors import SecretsError
from paig_gateway.secrets.home import given, home_folder, replace_secret_key, secret_key, weakness
from paig_gateway.secrets.vault import Vault

VARIABLE = "PAIG_SECRET_KEY"


def rotate(home: Path | None = None, *, finish: bool = False, environ: Mapping[str, str] = os.environ) -> str:
    """Seal everything with a new secret key, or drop the old one.

    Args:
        home: The home folder; by default what the environment says.
        finish: Drop the old key; nothing may be sealed with it any more.
        environ: Where `PAIG_SECRET_KEY` may be set.

    Returns:
        What was done and what is left to do.

    Raises:
        SecretsError: The keys do not allow it; the message says what to do.
        DatabaseError: The database cannot be used.
    """
    home = home or home_folder(environ)
    chosen = given(VARIABLE, environ)
    keys = [key for key in (chosen or secret_key(home, environ)).split(",") if key]
    if chosen is not None and (finish or len(keys) < 2):
        raise SecretsError(
            f"{VARIABLE} is set: to begin, set it to NEW,OLD for this command and for every gateway; to finish, set it"
            " to NEW alone."
        )
    if chosen is not None and (wrong := weakness(VARIABLE, keys[0])):
        raise SecretsError(wrong)
    if finish and len(keys) < 2:
        raise SecretsError("There is no old secret key to drop: `paig secret rotate` makes a new one.")
    _seal(home)  # with the present key, so that one older than the old one is not needed any more
    if finish:
        replace_secret_key(home, keys[0])
        return "The old secret key is dropped."
    if chosen is None:
        replace_secret_key(home, f"{secrets.token_urlsafe(32)},{keys[0]}")
        keys = secret_key(home, environ).split(",")
        _seal(home)
    _note(home, keys)
    begin = "Everything is sealed with the new secret key; the old one can still be read."
    if chosen is not None:
        return f"{begin} Once every gateway runs with it, set {VARIABLE} to the new key alone."
    return f"{begin} Start every gateway again, then run `paig secret rotate --finish` to drop the old key."


def _seal(home: Path) -> None:
    OpenDatabase.open(home).engine.dispose()


def _note(home: Path, keys: list[str]) -> None:
    store = OpenDatabase.open(home)
    try:
        with store.catalog.edit("paig secret rotate") as edit:
            new, old = (Vault(key).key.id for key in keys[:2])
            edit.record("rotate", "secret", "secret key", {"key": old}, {"key": new})
    finally:
        store.engine.dispose()
