"""What goes wrong with secrets. No message ever shows one."""

from __future__ import annotations

from typing import Literal

ReferenceProblem = Literal["malformed", "missing", "empty", "unreadable", "timeout", "forbidden"]


class SecretsError(Exception):
    """The home folder, the secret key or the admin token cannot be used; the message says what to do."""


class SecretKeyError(SecretsError):
    """A stored value cannot be opened: another secret key sealed it, or it was changed or moved."""


class KeyringTimeoutError(SecretsError):
    """The OS keyring did not answer in time, most likely because it is locked."""


class SecretReferenceError(Exception):
    """A credential that cannot be read or used. The message never shows a secret, nor what might be one."""

    def __init__(self, code: ReferenceProblem, message: str) -> None:
        super().__init__(message)
        self.code: ReferenceProblem = code
