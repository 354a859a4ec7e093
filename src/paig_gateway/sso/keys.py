"""The identity provider's signing keys, read again when a token names an unknown one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paig_gateway.sso.settings import SsoError

if TYPE_CHECKING:
    import jwt

ALGORITHMS: Mapping[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
"""The accepted algorithms, and the kind of key of each: only signatures.

`none` is not among them, nor are shared secrets such as HS256, with which the provider's public key would be a
password.
"""

REFETCH_SECONDS = 10.0
"""The least seconds between two searches for unknown keys."""


KEEP_SECONDS = 3600.0
"""How long keys are used before they are read again, so that a withdrawn key stops working."""


class KeySet:
    """Keys by id, from the provider's own list."""

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]], clock: Callable[[], float]) -> None:
        """Begin without keys; `clock` returns monotonic seconds."""
        self._fetch = fetch
        self._clock = clock
        self._keys: Sequence[Mapping[str, Any]] | None = None
        self._read_at = 0.0
        self._looked: float | None = None
        self._lock = asyncio.Lock()

    async def get(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The signing key that a token names.

        Raises:
            SsoError: There is no such key.
        """
        import jwt  # late, and with it X.509: few gateways use single sign-on

        async with self._lock:
            if self._keys is None or self._clock() - self._read_at >= KEEP_SECONDS:
                await self._read()
            found = self._fitting(kid, algorithm)
            if not found and (self._looked is None or self._clock() - self._looked >= REFETCH_SECONDS):
                self._looked = self._clock()
                await self._read()
                found = self._fitting(kid, algorithm)
        if len(found) != 1:
            raise SsoError("The login's token is signed with a key that the identity provider does not list.")
        try:
            return jwt.PyJWK.from_dict(dict(found[0]), algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise SsoError("The identity provider's signing key cannot be used.") from error

    async def _read(self) -> None:
        self._keys = await self._fetch()
        self._read_at = self._clock()

    def _fitting(self, kid: str | None, algorithm: str) -> list[Mapping[str, Any]]:
        """The keys that may have made a signature: by id if the token names one, and always of the right kind."""
        return [
            key
            for key in self._keys or ()
            if key.get("kty") == ALGORITHMS[algorithm]
            and key.get("alg", algorithm) == algorithm
            and key.get("use", "sig") == "sig"
            and (kid is None or key.get("kid") == kid)
        ]
