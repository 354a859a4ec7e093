"""The operating system's keyring, bounded in time, never one that keeps secrets in the clear.

`keyring` takes 100 to 200 ms to import, and a locked keyring may wait for a person for ever: it is imported when first
needed, and asked in a thread.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

BOUND = 3.0
"""Seconds that the keyring may take."""

HEADLESS = (
    "A Linux machine without a desktop session has none, unless gnome-keyring or KWallet runs in a D-Bus session of its"
    " own. Set PYDANTIC_AI_GATEWAY_API_KEY (or PAIG_ADMIN_TOKEN) in the environment, or have `paig login --store file`"
    " keep the secret unencrypted in a file that only you can read."
)

_stuck = threading.Event()  # a keyring that hung once hangs again: ask it once a process


class KeyringError(Exception):
    """The keyring cannot be used; the message says why and what to do instead."""


def get(service: str, user: str) -> str | None:
    """The secret, or None if the keyring has none.

    Raises:
        KeyringError: There is no usable keyring, or it failed, or took longer than `BOUND`.
    """

    def look() -> str | None:
        found = (backend.get_password(service, user) for backend in _backends())
        return next((secret for secret in found if secret is not None), None)

    return _bounded(look)


def put(service: str, user: str, secret: str) -> None:
    """Keep the secret, and read it back to be sure.

    Raises:
        KeyringError: There is no usable keyring, or it failed, took longer than `BOUND`, or lost the secret.
    """

    def keep() -> bool:
        for backend in _backends():
            try:
                backend.set_password(service, user, secret)
            except NotImplementedError:  # read-only backends, such as those of package registries
                continue
            return backend.get_password(service, user) == secret
        return False

    if not _bounded(keep):
        raise KeyringError("The keyring accepted the secret but does not return it.")


def remove(service: str, user: str) -> None:
    """Forget the secret, if the keyring has it.

    Raises:
        KeyringError: There is no usable keyring, or it failed, or took longer than `BOUND`.
    """

    def forget() -> None:
        for backend in _backends():
            if backend.get_password(service, user) is not None:
                backend.delete_password(service, user)

    _bounded(forget)


def name() -> str:
    """What the keyring in use calls itself.

    Raises:
        KeyringError: There is no usable keyring.
    """
    return _bounded(lambda: str(_backends()[0].name))


def _backends() -> list[KeyringBackend]:
    """The usable backends, most wanted first; at least one."""
    import keyring

    chosen = keyring.get_keyring()
    usable = [backend for backend in getattr(chosen, "backends", [chosen]) if not _is_weak(backend)]
    if not usable:
        kind = f"{type(chosen).__module__}.{type(chosen).__qualname__}"
        why = f"No keyring that keeps secrets safe was found (what there is: {kind})."
        raise KeyringError(f"{why} {HEADLESS}" if sys.platform.startswith("linux") else why)
    return usable


def _is_weak(backend: KeyringBackend) -> bool:
    """Whether the backend keeps nothing, or keeps it in the clear."""
    from keyring.backends import fail, null

    if isinstance(backend, (fail.Keyring, null.Keyring)):
        return True
    return any("plaintext" in kind.__name__.lower() for kind in type(backend).__mro__)


def _bounded(work: Callable[[], T]) -> T:
    if _stuck.is_set():
        raise KeyringError("The keyring did not answer before, so this process does not try it again.")
    results: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # whatever a backend raises
            failures.append(error)

    thread = threading.Thread(target=run, name="paig-keyring", daemon=True)
    thread.start()
    thread.join(BOUND)
    if results:
        return results[0]
    if not failures:
        _stuck.set()
        raise KeyringError(
            f"The keyring did not answer within {BOUND:g} s. If it waits to be unlocked, unlock it and try again;"
            " else use the environment or `paig login --store file`."
        )
    if isinstance(failures[0], KeyringError):
        raise failures[0]
    raise KeyringError(f"The keyring failed: {failures[0]}") from failures[0]
