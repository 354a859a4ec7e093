"""The operating system's keyring, asked with a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend
from paig_gateway.secrets.vault import SecretsError, T

SERVICE = "paig"
"""The keyring's name for what is ours."""


KEYRING_SECONDS = 3.0
"""How long a keyring may take to answer: one that waits for somebody to unlock it must not hold up the gateway."""


class KeyringTimeoutError(SecretsError):
    """The OS keyring did not answer in time, most likely because it is locked."""


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
