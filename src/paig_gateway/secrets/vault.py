"""The vault: encrypts values for the database, with keys derived from the secret key.

A sealed value is AES-256-GCM under a key derived from the secret key. It is bound to its *purpose*, a text such as the
provider's id and the origin that its credential is sent to: a value that is moved to another row, or whose
provider is given another address, cannot be opened. Each value names the key that sealed it, so that values under two
secret keys can be in use together while the key is changed (`paig secret rotate`).
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from paig_gateway.secrets.errors import SecretKeyError, SecretsError

_MARK = b"v2."
_NONCE_BYTES = 12
_RELOAD_SECONDS = 1.0


class SecretKey:
    """One secret key and the keys derived from it."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()
        self.id = self._derived(b"key id")[:4].hex()
        """Identifies the key in sealed values; it reveals nothing about the key."""

    def mac_key(self) -> bytes:
        """The key of the audit log's chain."""
        return self._derived(b"audit log")

    @cached_property
    def proof_key(self) -> bytes:
        return self._derived(b"proofs")

    @cached_property
    def cipher(self) -> AESGCM:
        """Seals and opens values."""
        return AESGCM(self._derived(b"sealed values"))

    @cached_property
    def fernet(self) -> Fernet:
        """Opens values that were stored by versions before the binding to a purpose."""
        return Fernet(urlsafe_b64encode(self._derived(b"credentials at rest")))

    def _derived(self, info: bytes) -> bytes:
        return HKDF(SHA256(), length=32, salt=b"paig", info=info).derive(self._text)


class Vault:
    """Encrypts (seals) and decrypts (opens) what must not be in the database as plain text."""

    def __init__(self, keys: str, reload: Callable[[], str] | None = None) -> None:
        """Take the secret key, or several: the first one seals, all of them open.

        Args:
            keys: `NEW` or `NEW,OLD`, of any length; keys are derived from them.
            reload: Returns the present `keys`; asked when a value names a key that is not known, because another
                process may have changed the key.

        Raises:
            SecretsError: The key is empty.
        """
        self._reload = reload
        self._reloaded = float("-inf")
        self._lock = threading.Lock()
        self._keys = _parsed(keys)

    @property
    def key(self) -> SecretKey:
        return self._keys[0]

    def key_of(self, id: str) -> SecretKey | None:
        """The key of that id, or None if it is not known (any more)."""
        found = next((key for key in self._keys if key.id == id), None)
        if found is None and self._reload is not None:
            with self._lock:
                if time.monotonic() - self._reloaded > _RELOAD_SECONDS:
                    self._reloaded = time.monotonic()
                    self._keys = _parsed(self._reload())
            found = next((key for key in self._keys if key.id == id), None)
        return found

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Encrypt a value; only `open` with the same purpose gives it back. The result is ASCII."""
        key, nonce = self.key, secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + key.cipher.encrypt(nonce, plain, purpose.encode())
        return _MARK + key.id.encode() + b"." + urlsafe_b64encode(sealed)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The value that was sealed.

        Raises:
            SecretKeyError: Another key or another purpose sealed it, or it was changed.
        """
        if not sealed.startswith(_MARK):
            raise SecretKeyError("The value is not in the vault's form: start the gateway once to convert it.")
        id, _, text = sealed.removeprefix(_MARK).partition(b".")
        key = self.key_of(id.decode("ascii", "replace"))
        if key is None:
            raise SecretKeyError(
                "The secret key does not fit this database: its secrets were sealed with another one. Start with the"
                " PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that they were stored with, or set them again."
            )
        try:
            whole = urlsafe_b64decode(text)
            return key.cipher.decrypt(whole[:_NONCE_BYTES], whole[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, Base64Error, ValueError):
            raise SecretKeyError(
                "The value was sealed for another object or another address, or it was changed: set it again."
            ) from None

    def proof(self, text: str) -> str:
        """A code that only the gateway can make for a text; `proves` recognises it."""
        return hmac.digest(self.key.proof_key, text.encode(), "sha256").hex()

    def proves(self, text: str, proof: str) -> bool:
        """Whether a code is the gateway's own for a text, made with any of its keys."""
        codes = [hmac.digest(key.proof_key, text.encode(), "sha256").hex().encode() for key in self._keys]
        return any(hmac.compare_digest(code, proof.encode("utf-8", "replace")) for code in codes)

    def open_old(self, sealed: bytes) -> bytes:
        """The value that a version before the binding to a purpose encrypted.

        Raises:
            SecretKeyError: Another key encrypted it, or it was changed.
        """
        for key in self._keys:
            try:
                return key.fernet.decrypt(sealed)
            except InvalidToken:
                continue
        raise SecretKeyError("The secret key does not fit this database: another one encrypted its credentials.")

    def is_current(self, sealed: bytes) -> bool:
        """Whether the key that seals now has sealed a value."""
        return sealed.startswith(_MARK + self.key.id.encode() + b".")


def is_old(sealed: bytes) -> bool:
    """Whether a version before the binding to a purpose has encrypted a value."""
    return not sealed.startswith(_MARK)


def _parsed(keys: str) -> tuple[SecretKey, ...]:
    given = [text for text in map(str.strip, keys.split(",")) if text]
    if not given:
        raise SecretsError("The secret key is empty: set PAIG_SECRET_KEY, or unset it to have one made.")
    # Before several keys were possible, a key could contain a comma.
    whole = [keys] if len(given) > 1 else []
    return tuple(SecretKey(text) for text in (*given, *whole))
