"""The gateway's home folder, and the secrets made in it at first start."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path
from sqlalchemy import URL

if TYPE_CHECKING:
    pass
from paig_gateway.secrets.keyring import SERVICE, _os_keyring, _os_keyring_get, keyring_call
from paig_gateway.secrets.vault import _EMPTY_FILE_SECONDS, SecretsError


def home_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of database, secret key and admin token: `PAIG_HOME`, else the platform's; made if missing.

    Raises:
        SecretsError: It cannot be made.
    """
    given = environ.get("PAIG_HOME")
    home = Path(given).expanduser().absolute() if given else user_data_path("paig", appauthor=False)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SecretsError(
            f"The home folder {home} cannot be made ({error.strerror}): set PAIG_HOME to a folder you may write to."
        ) from None
    return home


def database_url(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The database's SQLAlchemy URL: `PAIG_DATABASE_URL`, else SQLite's `paig.db` in `home`."""
    default = URL.create("sqlite", database=str(home / "paig.db"))
    return environ.get("PAIG_DATABASE_URL") or default.render_as_string(hide_password=False)


def secret_key(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The key that encrypts credentials at rest: `PAIG_SECRET_KEY`, else the one made at first start.

    Raises:
        SecretsError: It is kept somewhere that cannot be read, or that others can read.
    """
    return environ.get("PAIG_SECRET_KEY") or _kept(home / "secret.key", "PAIG_SECRET_KEY")


def admin_token(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The bearer token of the admin API: `PAIG_ADMIN_TOKEN`, else the one made at first start.

    Raises:
        SecretsError: It is kept somewhere that cannot be read, or that others can read.
    """
    return environ.get("PAIG_ADMIN_TOKEN") or _kept(home / "admin.token", "PAIG_ADMIN_TOKEN")


def _kept(path: Path, variable: str) -> str:
    """The secret whose file is `path`, made now if there is none."""
    content = _read_private(path)
    if content is None:
        content = _make(path)
    if not content.startswith("keyring:"):
        return content
    service, _, user = content.removeprefix("keyring:").partition("/")
    advice = f"{path.name} in {path.parent} says that it is kept in the OS keyring (service {service}, user {user})"
    try:
        found = keyring_call(lambda: _os_keyring_get(service, user))
    except Exception as error:  # any backend, any failure: all end in the same advice
        raise SecretsError(f"{advice}, which cannot be read: {error} Or set {variable}.") from error
    if not found:
        raise SecretsError(f"{advice}, where it is not: unlock that keyring, restore the entry, or set {variable}.")
    return found


def _read_private(path: Path) -> str | None:
    """A secret file's content, or None if there is no such file."""
    give_up = time.monotonic() + _EMPTY_FILE_SECONDS
    while True:
        try:
            with path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read().strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SecretsError(f"{path} cannot be read: {error}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise SecretsError(f"{path} can be read by others: run `chmod 600 {path}`, or have it made anew.")
        if content:
            return content
        if time.monotonic() > give_up:
            raise SecretsError(f"{path} is empty: delete it to have a new one made.")
        time.sleep(0.01)  # another process has created it and is about to write


def _make(path: Path) -> str:
    """Make a secret and the file that holds it or says where it is; if another process was faster, take that one's."""
    secret = secrets.token_urlsafe(32)
    user = f"{path.name}-{secrets.token_hex(4)}"
    in_keyring = _put_in_keyring(user, secret)
    content = f"keyring:{SERVICE}/{user}" if in_keyring else secret
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        if in_keyring:
            _forget(user)
        winner = _read_private(path)
        if winner is None:
            raise SecretsError(f"{path} was deleted while the gateway started: start again.") from None
        return winner
    except OSError as error:
        raise SecretsError(
            f"{path} cannot be made ({error.strerror}): set PAIG_HOME to a folder you may write to."
        ) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    return content


def _put_in_keyring(user: str, secret: str) -> bool:
    """Whether the OS keyring took the secret and gives it back."""

    def put() -> bool:
        backend = _os_keyring()
        if backend is None:
            return False
        backend.set_password(SERVICE, user, secret)
        return backend.get_password(SERVICE, user) == secret

    try:
        return keyring_call(put)
    except Exception:  # a keyring that fails in whatever way is one that cannot be used: the file takes its place
        return False


def _forget(user: str) -> None:
    def delete() -> None:
        backend = _os_keyring()
        if backend is not None:
            backend.delete_password(SERVICE, user)

    try:
        keyring_call(delete)
    except Exception:  # an entry that nothing refers to does no harm
        return
