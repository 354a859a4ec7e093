"""The gateway's home folder and the two secrets made at first start: the secret key and the admin token.

Each secret has a file in the home folder, made once with `O_EXCL` so that processes that start together agree. Where
the machine has an OS keyring the secret lies there and the file holds only its reference (`keyring:paig/…`); elsewhere
the file, readable by its owner alone, holds the secret itself. A later start thus knows where its secret must be, and
never makes another in silence because a keyring is locked.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from platformdirs import user_data_path
from sqlalchemy import URL, Engine, select
from sqlmodel import Session, col

from paig_gateway.store.tables import ProviderRow

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SERVICE = "paig"
"""The keyring's name for what is ours."""
KEYRING_SECONDS = 3.0
"""How long a keyring may take to answer: one that waits for somebody to unlock it must not hold up the gateway."""
_EMPTY_FILE_SECONDS = 2.0


class SecretsError(Exception):
    """The home folder, the secret key or the admin token cannot be used; the message says what to do."""


class SecretKeyError(SecretsError):
    """The secret key is not the one that the stored credentials were encrypted with."""


class KeyringTimeoutError(SecretsError):
    """The OS keyring did not answer in time, most likely because it is locked."""


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


class Vault:
    """Encrypts what must not lie in the database in the clear."""

    def __init__(self, key: str) -> None:
        """Take a key of any length; it is derived, never used as it is.

        Raises:
            SecretsError: The key is empty.
        """
        if not key:
            raise SecretsError("The secret key is empty: set PAIG_SECRET_KEY, or unset it to have one made.")
        derived = HKDF(SHA256(), length=32, salt=b"paig", info=b"credentials at rest").derive(key.encode())
        self._fernet = Fernet(urlsafe_b64encode(derived))

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt and sign."""
        return self._fernet.encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """What `encrypt` was given.

        Raises:
            SecretKeyError: Encrypted with another key, or damaged.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise SecretKeyError(
                "The secret key does not fit this database: its credentials were encrypted with another one. "
                "Start with the PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that they were stored with, "
                "or set each provider's credential anew."
            ) from None

    def verify(self, engine: Engine) -> None:
        """Make sure that every encrypted credential in the database can be read.

        Raises:
            SecretKeyError: One cannot; names the providers.
        """
        with Session(engine) as session:
            rows = session.execute(
                select(col(ProviderRow.name), col(ProviderRow.secret), col(ProviderRow.credentials)).order_by(
                    ProviderRow.name
                )
            )
            misfits = [
                name
                for name, secret, several in rows
                if not all(map(self._reads, [*([secret] if secret is not None else []), *_sealed(several)]))
            ]
        if misfits:
            raise SecretKeyError(
                f"The secret key does not fit this database: it cannot read the credentials of {', '.join(misfits)}. "
                "Start with the PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that they were stored with."
            )

    def _reads(self, token: bytes) -> bool:
        try:
            self.decrypt(token)
        except SecretKeyError:
            return False
        return True


def _sealed(credentials: list[dict[str, str]] | None) -> list[bytes]:
    return [one["secret"].encode() for one in credentials or () if "secret" in one]


def keyring_call(work: Callable[[], T]) -> T:
    """Do something with the keyring in a thread of its own, and give up on it after `KEYRING_SECONDS`.

    Raises:
        KeyringTimeoutError: It did not finish in time; its thread is left behind.
        Exception: Whatever `work` raises.
    """
    done: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # handed to the caller below
            failed.append(error)

    thread = threading.Thread(target=run, name="paig-keyring", daemon=True)
    thread.start()
    thread.join(KEYRING_SECONDS)
    if failed:
        raise failed[0]
    if not done:
        raise KeyringTimeoutError(
            f"The OS keyring did not answer within {KEYRING_SECONDS:g} s: unlock it and try again."
        )
    return done[0]


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


def _os_keyring_get(service: str, user: str) -> str | None:
    backend = _os_keyring()
    if backend is None:
        raise SecretsError("no OS keyring answers here.")
    return backend.get_password(service, user)


def _os_keyring() -> KeyringBackend | None:
    """The machine's keyring, unless it keeps nothing, keeps it in plain text, or may ask on the terminal."""
    import keyring  # late: takes 0.1 s to import, and looks for a D-Bus session

    backend = keyring.get_keyring()
    backends: list[KeyringBackend] = list(getattr(backend, "backends", [backend]))
    for candidate in backends:
        # keyring gives its own null and fail backends less than 1, which is also its measure of a recommended one;
        # the `keyrings` namespace holds third parties' files and cloud services.
        if candidate.priority >= 1 and not type(candidate).__module__.startswith("keyrings."):
            return candidate
    return None
