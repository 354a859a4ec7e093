"""`paig_client.keychain` with keyrings of every temper."""

from __future__ import annotations

import sys
import time

import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from paig_client import keychain
from paig_client.keychain import KeyringError
from tests.client import keyrings


def test_a_secret_comes_back_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put, get and remove through a sound keyring; what is not there is None, and removing it is no error."""
    keyrings.use(monkeypatch, keyrings.Memory())
    keychain.put("paig:http://gw", "key", "secret")
    assert keychain.get("paig:http://gw", "key") == "secret"
    assert keychain.get("paig:http://gw", "admin") is None
    keychain.remove("paig:http://gw", "key")
    keychain.remove("paig:http://gw", "key")
    assert keychain.get("paig:http://gw", "key") is None


@pytest.mark.parametrize("backend", [fail.Keyring(), null.Keyring(), keyrings.PlaintextKeyring()])
def test_keyrings_that_keep_nothing_or_keep_it_in_the_clear_are_refused(
    monkeypatch: pytest.MonkeyPatch, backend: KeyringBackend
) -> None:
    """No secret goes into a null, failing or plaintext backend."""
    keyrings.use(monkeypatch, backend)
    with pytest.raises(KeyringError, match="No keyring that keeps secrets safe"):
        keychain.put("paig:http://gw", "key", "secret")
    assert getattr(backend, "secrets", {}) == {}


def test_headless_linux_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux without a keyring the message says why, and what to do instead."""
    monkeypatch.setattr(sys, "platform", "linux")
    keyrings.use(monkeypatch, fail.Keyring())
    with pytest.raises(KeyringError, match=r"D-Bus session.*PYDANTIC_AI_GATEWAY_API_KEY.*--store file"):
        keychain.get("paig:http://gw", "key")


def test_a_chain_is_used_by_its_sound_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plaintext or read-only backend in front does not get the secret; a sound one behind does."""
    plain, registry, sound = keyrings.PlaintextKeyring(), keyrings.ReadOnly(), keyrings.Memory()
    keyrings.use(monkeypatch, plain, registry, sound)
    keychain.put("paig:http://gw", "key", "secret")
    assert (plain.secrets, registry.secrets) == ({}, {})
    assert keychain.get("paig:http://gw", "key") == "secret"
    keychain.remove("paig:http://gw", "key")
    assert sound.secrets == {}


def test_a_keyring_that_loses_the_secret_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is read back."""
    keyrings.use(monkeypatch, keyrings.Forgetful())
    with pytest.raises(KeyringError, match="does not return it"):
        keychain.put("paig:http://gw", "key", "secret")


def test_a_locked_keyring_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend's own words are handed on."""
    keyrings.use(monkeypatch, keyrings.Locked())
    with pytest.raises(KeyringError, match="the collection is locked"):
        keychain.get("paig:http://gw", "key")


def test_a_hanging_keyring_is_given_up_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded, and the process pays for it once."""
    monkeypatch.setattr(keychain, "BOUND", 0.2)
    keyrings.use(monkeypatch, keyrings.Hanging())
    before = time.monotonic()
    with pytest.raises(KeyringError, match=r"within 0.2 s"):
        keychain.get("paig:http://gw", "key")
    with pytest.raises(KeyringError, match="does not try it again"):
        keychain.get("paig:http://gw", "key")
    keyrings.Hanging.release.set()
    assert time.monotonic() - before < 5
    assert keyrings.Hanging.asked == 1


def test_the_bound_is_three_seconds() -> None:
    """The promise of the documentation."""
    assert keychain.BOUND == 3.0
