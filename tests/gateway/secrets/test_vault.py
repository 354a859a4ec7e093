"""The vault: what it seals opens with the same key for the same purpose alone."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from paig_gateway.secrets.errors import SecretKeyError, SecretsError
from paig_gateway.secrets.vault import Vault, is_old


@pytest.mark.parametrize("key", ["k", "a passphrase of some length, with ünïcode", "x" * 5000, "with, a comma"])
def test_sealed_value_opens_with_the_same_key(key: str) -> None:
    """Any key works; the sealed form shows nothing of the value and never repeats."""
    sealed = Vault(key).seal(b"sk-secret", "credential 1")
    assert Vault(key).open(sealed, "credential 1") == b"sk-secret"
    assert b"sk-secret" not in sealed
    assert Vault(key).seal(b"sk-secret", "credential 1") != sealed


def test_another_key_another_purpose_or_a_change_does_not_open() -> None:
    """Each is an error that shows nothing of the value; that of another key names PAIG_SECRET_KEY."""
    sealed = Vault("right").seal(b"sk-secret", "credential 1 https://api.openai.com:443")
    with pytest.raises(SecretKeyError, match="PAIG_SECRET_KEY"):
        Vault("wrong").open(sealed, "credential 1 https://api.openai.com:443")
    for purpose, value in (
        ("credential 2 https://api.openai.com:443", sealed),
        ("credential 1 https://evil.example:443", sealed),
        ("credential 1 https://api.openai.com:443", sealed[:-4] + b"AAAA"),
        ("credential 1 https://api.openai.com:443", sealed[:20]),
        ("credential 1 https://api.openai.com:443", b""),
    ):
        with pytest.raises(SecretKeyError):
            Vault("right").open(value, purpose)


def test_several_keys_open_and_the_first_seals() -> None:
    """While the key is changed, values under both are read, and new ones are under the new key."""
    old = Vault("old").seal(b"one", "p")
    both = Vault("new,old")
    assert both.open(old, "p") == b"one"
    assert (both.is_current(old), both.is_current(both.seal(b"two", "p"))) == (False, True)
    assert Vault("new").open(both.seal(b"two", "p"), "p") == b"two"
    with pytest.raises(SecretKeyError):
        Vault("old").open(both.seal(b"two", "p"), "p")


def test_changed_key_is_looked_up_again() -> None:
    """A running process that meets a value under a key that it does not know asks for the keys as they are now."""
    keys = ["old"]
    vault = Vault("old", lambda: keys[0])
    keys[0] = "new,old"
    assert vault.open(Vault("new").seal(b"x", "p"), "p") == b"x"


def test_values_of_earlier_versions_are_told_apart() -> None:
    """Fernet's tokens, which no purpose binds, are opened only where that is asked for."""
    vault = Vault("key")
    token = vault.key.fernet.encrypt(b"x")
    assert isinstance(vault.key.fernet, Fernet)
    assert is_old(token)
    assert not is_old(vault.seal(b"x", "p"))
    assert vault.open_old(token) == b"x"
    with pytest.raises(SecretKeyError):
        vault.open(token, "p")
    with pytest.raises(SecretKeyError):
        Vault("other").open_old(token)


@pytest.mark.parametrize("keys", ["", ",", " , "])
def test_empty_key_is_refused(keys: str) -> None:
    """A vault without a key is not made."""
    with pytest.raises(SecretsError, match="PAIG_SECRET_KEY"):
        Vault(keys)
