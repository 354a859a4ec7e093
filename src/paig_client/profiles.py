"""What `paig login` keeps: profiles, and for each gateway where its secrets are.

`client.json` in `PAIG_HOME`, readable by its owner alone, holds the profiles, and of each secret either the secret or
that the keyring keeps it. Secrets belong to a gateway's root address: what was stored for one is never sent to another.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paig_client import keychain
from paig_client.api.vocabulary import SecretStore

SecretKind = Literal["key", "admin", "login"]
"""`login` is what renews the personal key of a login by single sign-on."""


class ProfilesError(Exception):
    """The stored profiles cannot be read or written; the message says why."""


class Stored(BaseModel):
    """Where a secret is; its value if that is here."""

    model_config = ConfigDict(extra="forbid")

    place: SecretStore
    value: str | None = Field(default=None, repr=False)


class Contents(BaseModel):
    """The file: a root address for each profile, the stored secrets for each root address."""

    model_config = ConfigDict(extra="forbid")

    profiles: dict[str, str] = {}
    secrets: dict[str, dict[SecretKind, Stored]] = {}


def home() -> Path:
    """The folder of the gateway's and the client's own files: `PAIG_HOME`, else the platform's user-data folder."""
    if chosen := os.environ.get("PAIG_HOME"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("paig", appauthor=False)


def path() -> Path:
    """The file of stored profiles and secrets."""
    return home() / "client.json"


def read() -> Contents:
    """Read the stored profiles; empty if there are none.

    Raises:
        ProfilesError: Others can read the file, or it is not ours.
    """
    file = path()
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return Contents()
    except OSError as error:
        raise ProfilesError(f"{file} cannot be read: {error.strerror}") from error
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ProfilesError(f"{file} may hold secrets, and others can read it: run chmod 600 {file}")
    try:
        return Contents.model_validate_json(text)
    except ValidationError as error:
        raise ProfilesError(f"{file} is damaged: remove it and run `paig login` again") from error


def get(root: str, kind: SecretKind) -> tuple[str, str] | None:
    """The secret stored for the gateway at `root`, and where it was; None if none is stored.

    Raises:
        ProfilesError: The file cannot be used.
        keychain.KeyringError: It is in the keyring, and that cannot be used.
    """
    stored = read().secrets.get(root, {}).get(kind)
    if stored is None:
        return None
    if stored.place == "file":
        return (stored.value, f"file {path()}") if stored.value else None
    secret = keychain.get(_service(root), kind)
    return (secret, "keyring") if secret else None


def local_admin_token() -> tuple[str, str] | None:
    """The admin token that a gateway on this machine made at its first start, and where it was; None if it made none.

    Raises:
        ProfilesError: Its file cannot be read.
        keychain.KeyringError: It is in the keyring, and that cannot be used.
    """
    file = home() / "admin.token"
    try:
        text = file.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProfilesError(f"{file} cannot be read: {error.strerror}") from error
    if not text.startswith("keyring:"):
        return (text, f"file {file}") if text else None
    service, _, user = text.removeprefix("keyring:").partition("/")
    token = keychain.get(service, user)
    return (token, f"keyring, as {file} says") if token else None


def put(root: str, kind: SecretKind, secret: str, place: SecretStore) -> None:
    """Keep a secret for the gateway at `root`; one kept elsewhere before is forgotten.

    Raises:
        ProfilesError: The file cannot be used.
        keychain.KeyringError: The keyring is to keep it, and cannot; nothing is written then.
    """
    contents = read()
    before = contents.secrets.get(root, {}).get(kind)
    if place == "keyring":
        keychain.put(_service(root), kind, secret)
    stored = Stored(place=place, value=secret if place == "file" else None)
    contents.secrets.setdefault(root, {})[kind] = stored
    write(contents)
    if before is not None and before.place == "keyring" and place == "file":
        keychain.remove(_service(root), kind)


def remove(root: str) -> list[SecretKind]:
    """Delete every secret of the gateway at `root`; returns which there were.

    Raises:
        ProfilesError: The file cannot be used.
        keychain.KeyringError: The keyring keeps one, and cannot be used.
    """
    contents = read()
    gone = contents.secrets.pop(root, {})
    for kind, stored in gone.items():
        if stored.place == "keyring":
            keychain.remove(_service(root), kind)
    write(contents)
    return list(gone)


def write(contents: Contents) -> None:
    """Replace the file whole; only its owner can read it.

    Raises:
        ProfilesError: It cannot be written.
    """
    file = path()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".client-")  # made with mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(contents.model_dump_json(indent=2, exclude_none=True) + "\n")
            os.replace(name, file)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise ProfilesError(f"{file} cannot be written: {error.strerror}") from error


def _service(root: str) -> str:
    return f"paig:{root}"
