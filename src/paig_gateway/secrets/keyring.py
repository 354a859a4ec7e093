"""The operating system's keyring, with a time limit for each call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from paig_gateway.secrets.errors import KeyringTimeoutError, SecretsError

if TYPE_CHECKING:  # importing it takes 0.1 s
    from keyring.backend import KeyringBackend

T = TypeVar("T")


SERVICE = "paig"
"""The service under which the keyring holds the gateway's own secrets."""


KEYRING_SECONDS = 3.0
"""How long a keyring may take to answer: one that waits to be unlocked must not hold up the gateway."""


def keyring_call(work: Callable[[], T]) -> T:
    """Call the keyring in a thread, and give up after `KEYRING_SECONDS`.

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


def read(service: str, user: str) -> str | None:
    """A password of the machine's keyring, or None if it has none of that name.

    Raises:
        SecretsError: No keyring answers.
    """
    backend = os_keyring()
    if backend is None:
        raise SecretsError("no OS keyring answers here.")
    return backend.get_password(service, user)


def store(user: str, secret: str) -> bool:
    """Store one of the gateway's own secrets; returns whether the OS keyring gives it back."""

    def put() -> bool:
        backend = os_keyring()
        if backend is None:
            return False
        backend.set_password(SERVICE, user, secret)
        return backend.get_password(SERVICE, user) == secret

    try:
        return keyring_call(put)
    except Exception:  # any failure: the keyring cannot be used, and a file takes its place
        return False


def forget(user: str) -> None:
    """Remove a secret of the gateway's own."""

    def delete() -> None:
        backend = os_keyring()
        if backend is not None:
            backend.delete_password(SERVICE, user)

    try:
        keyring_call(delete)
    except Exception:  # an entry that nothing refers to does no harm
        return


def os_keyring() -> KeyringBackend | None:
    """The machine's keyring; None if it keeps nothing, keeps plain text, or may ask on the terminal."""
    import keyring  # late: takes 0.1 s to import, and looks for a D-Bus session

    backend = keyring.get_keyring()
    backends: list[KeyringBackend] = list(getattr(backend, "backends", [backend]))
    for candidate in backends:
        # keyring gives its own null and fail backends a priority below 1, and recommended ones at least 1. The
        # `keyrings` namespace holds third-party backends: files and cloud services.
        if candidate.priority >= 1 and not type(candidate).__module__.startswith("keyrings."):
            return candidate
    return None
