"""Keyring backends of every temper."""

from __future__ import annotations

import threading

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked


class Memory(KeyringBackend):
    """Keeps secrets for as long as it lives."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.secrets.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.secrets[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.secrets[service, username]


class Forgetful(Memory):
    """Takes secrets and does not keep them."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Do nothing."""


class Locked(Memory):
    """Refuses whatever it is asked."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("the collection is locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked("the collection is locked")


class Hanging(Memory):
    """Waits for ever."""

    asked = 0
    release = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        type(self).asked += 1
        self.release.wait(30)
        return None

    set_password = get_password  # type: ignore[assignment]


class PlaintextKeyring(Memory):
    """Like keyrings.alt's: keeps secrets in the clear."""


class ReadOnly(Memory):
    """Like a package registry's: gives what it has, takes nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


class Chain(ChainerBackend):
    """Several backends, most wanted first."""

    priority = 10
    backends: tuple[KeyringBackend, ...] = ()


def use(monkeypatch: pytest.MonkeyPatch, *backends: KeyringBackend) -> None:
    """Make keyring answer with this backend, or with a chain of them."""
    chosen: KeyringBackend = backends[0]
    if len(backends) > 1:
        chosen = Chain()
        monkeypatch.setattr(Chain, "backends", backends)
    monkeypatch.setattr(keyring, "get_keyring", lambda: chosen)
