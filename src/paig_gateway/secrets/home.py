"""The gateway's home folder and the two secrets made at first start: the secret key and the admin token.

Each secret has a file in the home folder, made once with `O_EXCL` so that processes that start together agree. Where
the machine has an OS keyring, the secret is kept there and the file holds only its reference (`keyring:paig/…`);
elsewhere the file, readable only by its owner, holds the secret itself. A later start thus knows where its secret must
be, and never makes another one because a keyring is locked.
"""

from __future__ import annotations

import math
import os
import secrets
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_data_path
from sqlalchemy import URL

from paig_gateway.secrets import keyring
from paig_gateway.secrets.errors import SecretsError

FROM_FILES = ("PAIG_DATABASE_URL", "PAIG_SECRET_KEY", "PAIG_ADMIN_TOKEN")
"""Variables whose value may also be in a file, which the variable with the suffix `_FILE` names."""

ENOUGH_BITS = 128
"""Guessing a secret must take at least two to this power of tries."""

_EMPTY_FILE_SECONDS = 2.0
_CLASSES = ((str.islower, 26), (str.isupper, 26), (str.isdigit, 10))
_OTHERS = 33
"""ASCII's punctuation and space."""


def home_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of database, secret key and admin token: `PAIG_HOME`, else the platform's; made if missing.

    Raises:
        SecretsError: It cannot be made, or others can write to it.
    """
    given = environ.get("PAIG_HOME")
    home = Path(given).expanduser().absolute() if given else user_data_path("paig", appauthor=False)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
    except OSError as error:
        raise SecretsError(
            f"Cannot make the home folder {home} ({error.strerror}): set PAIG_HOME to a folder you can write to."
        ) from None
    if os.name == "posix":
        if found.st_uid not in (os.getuid(), 0):
            raise SecretsError(
                f"The home folder {home} belongs to another user: change its owner, or set PAIG_HOME to another folder."
            )
        if found.st_mode & stat.S_IWOTH:
            raise SecretsError(f"Everybody can write to the home folder {home}: run `chmod 700 {home}`.")
    return home


def given(variable: str, environ: Mapping[str, str]) -> str | None:
    """The value of an environment variable, or the content of the file that `VARIABLE_FILE` names, or None.

    Container platforms mount secrets as files, with modes of their own, so the file's mode is not checked.

    Raises:
        SecretsError: Both are set, or the file cannot be read or is empty.
    """
    value, path = environ.get(variable), environ.get(f"{variable}_FILE")
    if not path:
        return value or None
    if value:
        raise SecretsError(f"{variable} and {variable}_FILE are both set: unset one of them.")
    try:
        content = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretsError(f"Cannot read the file that {variable}_FILE names: {error}") from None
    if not content:
        raise SecretsError(f"The file that {variable}_FILE names is empty: {path}")
    return content


def database_url(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The database's SQLAlchemy URL: `PAIG_DATABASE_URL`, else SQLite's `paig.db` in `home`.

    Raises:
        SecretsError: The file that `PAIG_DATABASE_URL_FILE` names cannot be read.
    """
    default = URL.create("sqlite", database=str(home / "paig.db"))
    return given("PAIG_DATABASE_URL", environ) or default.render_as_string(hide_password=False)


def secret_key(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The key that seals credentials at rest: `PAIG_SECRET_KEY`, else the one made at first start.

    While the key is being changed it is `NEW,OLD`.

    Raises:
        SecretsError: Its place cannot be read, or others can read it.
    """
    return given("PAIG_SECRET_KEY", environ) or _kept(home / "secret.key", "PAIG_SECRET_KEY")


def admin_token(home: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The bearer token of the admin API: `PAIG_ADMIN_TOKEN`, else the one made at first start.

    Raises:
        SecretsError: Its place cannot be read, or others can read it.
    """
    return given("PAIG_ADMIN_TOKEN", environ) or _kept(home / "admin.token", "PAIG_ADMIN_TOKEN")


def replace_secret_key(home: Path, keys: str) -> None:
    """Replace the secret key that was made at first start by another one, or by `NEW,OLD`.

    Raises:
        SecretsError: There is none yet, or it cannot be replaced.
    """
    path = home / "secret.key"
    before = _read_private(path)
    if before is None:
        raise SecretsError(f"There is no {path}: start the gateway once to have one made.")
    user = f"{path.name}-{secrets.token_hex(4)}"
    in_keyring = before.startswith("keyring:") and keyring.store(user, keys)
    if before.startswith("keyring:") and not in_keyring:
        raise SecretsError("The OS keyring does not take the new key: unlock it and try again.")
    part = path.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)
        _write(part, f"keyring:{keyring.SERVICE}/{user}" if in_keyring else keys)
        part.replace(path)
    except OSError as error:
        raise SecretsError(f"Cannot replace {path}: {error.strerror}.") from None
    if in_keyring:
        keyring.forget(before.rpartition("/")[2])


def secret_key_or_none(home: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret key as `secret_key` has it, but none is made; None where it is lost.

    It is lost where its file is gone, is empty, or names an entry of the OS keyring that cannot be read.

    Raises:
        SecretsError: The file exists but cannot be used.
    """
    if (chosen := given("PAIG_SECRET_KEY", environ)) is not None:
        return chosen
    path = home / "secret.key"
    if not path.exists() or not path.stat().st_size:
        return None
    if not (_read_private(path) or "").startswith("keyring:"):
        return secret_key(home, environ)
    try:
        return secret_key(home, environ)
    except SecretsError:
        return None


def has_secret_key(home: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `secret_key` makes none, even if the one that there is cannot be read."""
    return given("PAIG_SECRET_KEY", environ) is not None or (home / "secret.key").exists()


def discard_secret_key(home: Path) -> None:
    """Remove a secret key that was just made, and that fits nothing."""
    path = home / "secret.key"
    content = _read_private(path) or ""
    if content.startswith("keyring:"):
        keyring.forget(content.rpartition("/")[2])
    path.unlink(missing_ok=True)


def new_secret_key(home: Path) -> str:
    """A new secret key, kept in place of the one that is lost; the old file stays as `secret.key.lost`.

    Raises:
        SecretsError: It cannot be kept.
    """
    path = home / "secret.key"
    try:
        if path.exists():
            path.replace(path.with_name("secret.key.lost"))
    except OSError as error:
        raise SecretsError(f"Cannot replace {path}: {error.strerror}.") from None
    return secret_key(home, {})


def bits(secret: str) -> float:
    """How many bits guessing a secret takes: its length times the logarithm of its classes of characters.

    It is an upper bound, because it takes each character for random: a secret below it is certainly weak.
    """
    size = sum(count for is_one, count in _CLASSES if any(is_one(character) for character in secret))
    if any(not character.isalnum() for character in secret):
        size += _OTHERS
    return len(secret) * math.log2(size) if size > 1 else 0.0


def weakness(variable: str, secret: str) -> str | None:
    """Why a secret is too weak to be used, or None.

    Args:
        variable: The environment variable that holds it, for the message.
        secret: The secret; several, separated by commas, are judged each by itself.
    """
    worst = min(map(bits, secret.split(",")))
    if worst >= ENOUGH_BITS:
        return None
    return (
        f"{variable} is too weak: guessing it takes {worst:.0f} bits, and it must take {ENOUGH_BITS}. Choose a random"
        ' one, such as `python -c "import secrets; print(secrets.token_urlsafe(32))"` prints.'
    )


def _kept(path: Path, variable: str) -> str:
    """The secret in the file `path`, created now if there is none."""
    content = _read_private(path)
    if content is None:
        content = _make(path)
    if not content.startswith("keyring:"):
        return content
    service, _, user = content.removeprefix("keyring:").partition("/")
    advice = f"{path.name} in {path.parent} says that it is kept in the OS keyring (service {service}, user {user})"
    try:
        found = keyring.keyring_call(lambda: keyring.read(service, user))
    except Exception as error:  # any failure of any backend: the advice is the same
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
            raise SecretsError(f"Cannot read {path}: {error}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise SecretsError(f"Others can read {path}: run `chmod 600 {path}`, or delete it to have a new one made.")
        if content:
            return content
        if time.monotonic() > give_up:
            raise SecretsError(f"{path} is empty: delete it to have a new one made.")
        time.sleep(0.01)  # another process has created it and is about to write


def _make(path: Path) -> str:
    """Create a secret, and the file that holds or locates it; if another process was faster, use that one's."""
    secret = secrets.token_urlsafe(32)
    user = f"{path.name}-{secrets.token_hex(4)}"
    in_keyring = keyring.store(user, secret)
    content = f"keyring:{keyring.SERVICE}/{user}" if in_keyring else secret
    try:
        _write(path, content)
    except FileExistsError:
        if in_keyring:
            keyring.forget(user)
        winner = _read_private(path)
        if winner is None:
            raise SecretsError(f"{path} was deleted while the gateway started: start again.") from None
        return winner
    except OSError as error:
        raise SecretsError(
            f"Cannot make {path} ({error.strerror}): set PAIG_HOME to a folder you can write to."
        ) from None
    return content


def _write(path: Path, content: str) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
