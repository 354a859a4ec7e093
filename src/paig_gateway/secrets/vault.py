"""The gateway's home folder and the two secrets made at first start: the secret key and the admin token.

Each secret has a file in the home folder, made once with `O_EXCL` so that processes that start together agree. Where
the machine has an OS keyring the secret lies there and the file holds only its reference (`keyring:paig/…`); elsewhere
the file, readable by its owner alone, holds the secret itself. A later start thus knows where its secret must be, and
never makes another in silence because a keyring is locked.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, TypeVar

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Engine, select
from sqlmodel import Session, col

from paig_gateway.database.tables import ProviderRow

if TYPE_CHECKING:
    pass

T = TypeVar("T")

_EMPTY_FILE_SECONDS = 2.0


class SecretsError(Exception):
    """The home folder, the secret key or the admin token cannot be used; the message says what to do."""


class SecretKeyError(SecretsError):
    """The secret key is not the one that the stored credentials were encrypted with."""


class Vault:
    """Encrypts what must not lie in the database in the clear."""

    def __init__(self, key: str) -> None:
        """Take a key of any length; it is derived, never used as it is.

        Raises:
            SecretsError: The key is empty.
        """
        if not key:
            raise SecretsError("The secret key is empty: set PAIG_SECRET_KEY, or unset it to have one made.")
        derived = HKDF(SHA256(), length=32, salt=b"paig", info=b"credentials at rest").derive(key.encode())
        self._fernet = Fernet(urlsafe_b64encode(derived))

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt and sign."""
        return self._fernet.encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """What `encrypt` was given.

        Raises:
            SecretKeyError: Encrypted with another key, or damaged.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise SecretKeyError(
                "The secret key does not fit this database: its credentials were encrypted with another one. "
                "Start with the PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that they were stored with, "
                "or set each provider's credential anew."
            ) from None

    def verify(self, engine: Engine) -> None:
        """Make sure that every encrypted credential in the database can be read.

        Raises:
            SecretKeyError: One cannot; names the providers.
        """
        with Session(engine) as session:
            rows = session.execute(
                select(col(ProviderRow.name), col(ProviderRow.secret), col(ProviderRow.credentials)).order_by(
                    ProviderRow.name
                )
            )
            misfits = [
                name
                for name, secret, several in rows
                if not all(map(self._reads, [*([secret] if secret is not None else []), *_sealed(several)]))
            ]
        if misfits:
            raise SecretKeyError(
                f"The secret key does not fit this database: it cannot read the credentials of {', '.join(misfits)}. "
                "Start with the PAIG_SECRET_KEY (or the secret.key in PAIG_HOME) that they were stored with."
            )

    def _reads(self, token: bytes) -> bool:
        try:
            self.decrypt(token)
        except SecretKeyError:
            return False
        return True


def _sealed(credentials: list[dict[str, str]] | None) -> list[bytes]:
    return [one["secret"].encode() for one in credentials or () if "secret" in one]
