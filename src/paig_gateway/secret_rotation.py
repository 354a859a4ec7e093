"""`paig secret`: seals everything with a new secret key, or gives it up because the key is lost.

`rotate` works while gateways run. The new key stands before the old one (`NEW,OLD`): the new one seals, both open. A
running gateway that meets a value under a key that it does not know reads the key file again. Once every gateway was
started with the new key, the old one is dropped (`finish`).

`reset` is for a key that is gone and has no backup. What no key opens is marked as lost, and the audit log begins a new
chain. Keys, admin tokens, limits and the ledger do not depend on the secret key, and stay.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from paig_gateway.app import OpenDatabase
from paig_gateway.catalog import Catalog
from paig_gateway.database.engine import migrate, open_engine, utc_now
from paig_gateway.ledger import nodes
from paig_gateway.secrets.errors import SecretKeyError, SecretsError
from paig_gateway.secrets.home import (
    database_url,
    given,
    home_folder,
    new_secret_key,
    replace_secret_key,
    secret_key,
    secret_key_or_none,
    weakness,
)
from paig_gateway.secrets.vault import Vault

VARIABLE = "PAIG_SECRET_KEY"


def rotate(home: Path | None = None, *, finish: bool = False) -> str:
    """Seal everything with a new secret key, or drop the old one.

    Args:
        home: The home folder; by default the one that the environment names.
        finish: Drop the old key; nothing may be sealed with it any more.

    Returns:
        What was done and what is left to do.

    Raises:
        SecretsError: The keys do not allow it; the message says what to do.
        DatabaseError: The database cannot be used.
    """
    home = home or home_folder()
    _check_used(home)
    chosen = given(VARIABLE, os.environ)
    keys = [key for key in (chosen or secret_key(home)).split(",") if key]
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
        keys = secret_key(home).split(",")
        _seal(home)
    _note(home, keys)
    begin = "Everything is sealed with the new secret key; the old one can still be read."
    if chosen is not None:
        return f"{begin} Once every gateway runs with it, set {VARIABLE} to the new key alone."
    return f"{begin} Start every gateway again, then run `paig secret rotate --finish` to drop the old key."


@dataclass(frozen=True, slots=True)
class Reset:
    """The result of giving up what the lost key sealed.

    Attributes:
        providers: The names of the providers whose credential is lost; None where nothing was lost.
        key: Where the new secret key is; None where nothing was lost.
    """

    providers: list[str] | None
    key: str | None


def reset(home: Path | None = None) -> Reset:
    """Give up what the lost secret key sealed, and make a new secret key.

    What the present key still opens is sealed with the new one, and is not lost. If `PAIG_SECRET_KEY` is set, it is the
    new key.

    Args:
        home: The home folder; by default the one that the environment names.

    Raises:
        SecretsError: A gateway runs, or the new key cannot be kept or is too weak.
        DatabaseError: The database cannot be used.
    """
    home = home or home_folder()
    _check_used(home)
    chosen = given(VARIABLE, os.environ)
    present = secret_key_or_none(home)
    if chosen is not None and (wrong := weakness(VARIABLE, chosen)):
        raise SecretsError(wrong)
    engine = open_engine(database_url(home))
    try:
        migrate(engine)
        with engine.connect() as connection:
            if (running := nodes.alive(connection, utc_now)) is not None:
                raise SecretsError(f"A gateway uses this database ({running}): stop every gateway first.")
        if present is not None and _fits(engine, present):
            return Reset(None, None)
        if chosen is None and present is None:
            keys = new_secret_key(home)
        elif chosen is None:
            keys = f"{secrets.token_urlsafe(32)},{present}"
            replace_secret_key(home, keys)
        else:
            keys = chosen
        catalog = Catalog(engine, Vault(keys))
        providers = catalog.give_up("paig secret reset")
        catalog.seal()
        if chosen is None and present is not None:
            replace_secret_key(home, keys.partition(",")[0])
        return Reset(providers or [], VARIABLE if chosen is not None else str(home / "secret.key"))
    finally:
        engine.dispose()


def _check_used(home: Path) -> None:
    """Refuse a folder that no gateway has used: nothing is sealed there, so another folder is probably meant."""
    url = database_url(home)
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).expanduser().exists():
        raise SecretsError(f"There is no database at {path}: is PAIG_HOME the gateway's?")


def _fits(engine: Engine, keys: str) -> bool:
    try:
        Catalog(engine, Vault(keys)).seal()
    except SecretKeyError:
        return False
    return True


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
