"""References to credentials: written in configuration and shown to people, resolved only in the gateway's memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from paig_gateway.secrets.keyring import KeyringTimeoutError, keyring_call

Scheme = Literal["env", "keyring", "file", "value"]
Trouble = Literal["malformed", "missing", "empty", "unreadable", "timeout"]

STORED = "value:<stored>"
"""How a literal is shown once it is stored, and how a configuration says to keep it; one among several says which."""

_SCHEMES: tuple[str, ...] = get_args(Scheme)
_FORMS = "env:NAME, keyring:SERVICE/USER, file:PATH or value:LITERAL"
_MAX_FILE_BYTES = 1_000_000


class CredentialError(Exception):
    """A reference that is malformed or cannot be resolved. Never shows a secret, nor what might be one.

    Attributes:
        code: What is wrong: `malformed`, `missing`, `empty`, `unreadable` or `timeout`.
    """

    def __init__(self, code: Trouble, message: str) -> None:
        super().__init__(message)
        self.code: Trouble = code


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a credential is to be found; of a `value` the target is the secret itself."""

    scheme: Scheme
    target: str = field(repr=False)

    @property
    def is_literal(self) -> bool:
        """Whether the reference is the secret."""
        return self.scheme == "value"

    def __str__(self) -> str:
        """As written, but for a literal, which is never shown."""
        return STORED if self.is_literal else f"{self.scheme}:{self.target}"


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Raises:
        CredentialError: `malformed`; the text is not shown, because it may well be the secret.
    """
    scheme, colon, target = text.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise CredentialError("malformed", f"is no reference: write {_FORMS}")
    if not target:
        raise CredentialError("malformed", f"has nothing after '{scheme}:': write {_FORMS}")
    if scheme != "value" and re.search(r"[\x00-\x1f\x7f]", target):
        raise CredentialError("malformed", f"holds a control character: write {_FORMS}")
    if scheme == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", target):
        raise CredentialError("malformed", "is no environment variable's name after 'env:': write env:NAME")
    if scheme == "keyring" and not all(target.rpartition("/")):
        raise CredentialError("malformed", "needs a service and a user after 'keyring:': write keyring:SERVICE/USER")
    return Reference(cast(Scheme, scheme), target)


def resolve(reference: Reference | str, environ: Mapping[str, str] = os.environ) -> str:
    """The secret that a reference means, without surrounding white space.

    Args:
        reference: Parsed or as written. A relative `file:` path is taken from the working directory.
        environ: The environment that `env:` looks in.

    Raises:
        CredentialError: It cannot be had; says what to do.
    """
    if isinstance(reference, str):
        reference = parse_reference(reference)
    found = _LOOK[reference.scheme](reference.target, environ).strip()
    if not found:
        raise CredentialError("empty", f"{reference} is empty: put the credential there")
    return found


def _environment(name: str, environ: Mapping[str, str]) -> str:
    found = environ.get(name)
    if found is None:
        raise CredentialError(
            "missing", f"the environment variable {name} is not set where the gateway runs: set it and start again"
        )
    return found


def _keyring(target: str, environ: Mapping[str, str]) -> str:
    service, _, user = target.rpartition("/")

    def get() -> str | None:
        import keyring  # late: takes 0.1 s to import, and looks for a D-Bus session

        return keyring.get_password(service, user)

    try:
        found = keyring_call(get)
    except KeyringTimeoutError as error:
        raise CredentialError("timeout", f"keyring:{target} cannot be had. {error}") from None
    except Exception as error:  # keyring backends raise what they please
        raise CredentialError(
            "unreadable", f"keyring:{target} cannot be had: the keyring failed ({type(error).__name__})"
        ) from error
    if found is None:
        raise CredentialError(
            "missing", f"the keyring has no password of user {user} for service {service}: run `keyring set` to add it"
        )
    return found


def _file(target: str, environ: Mapping[str, str]) -> str:
    path = Path(target)
    try:
        path = path.expanduser()
        with path.open(encoding="utf-8") as file:
            found = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise CredentialError("missing", f"there is no file {path}: put the credential there") from None
    except OSError as error:
        raise CredentialError("unreadable", f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CredentialError("unreadable", f"the file {path} is not text") from None
    except (ValueError, RuntimeError) as error:  # a null byte in the path, an unknown ~user
        raise CredentialError("unreadable", f"the path after 'file:' cannot be used: {error}") from None
    if len(found) > _MAX_FILE_BYTES:
        raise CredentialError("unreadable", f"the file {path} is too large to be a credential")
    return found


def _literal(target: str, environ: Mapping[str, str]) -> str:
    return target


_LOOK = {"env": _environment, "keyring": _keyring, "file": _file, "value": _literal}
