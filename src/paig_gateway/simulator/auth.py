"""Authentication: the headers in which each provider expects a credential, and Google's token endpoint."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from . import sigv4
from .operation import SimulatedAnswer, SimulatedRequest
from .traffic import Received
from .wire import Document, encode, new_id

# The headers that may carry the key; a provider ignores those of others.
_KEY_HEADERS: Mapping[str, tuple[bytes, ...]] = {
    "anthropic": (b"x-api-key",),
    "google": (b"x-goog-api-key",),
    "azure": (b"api-key",),
}
_GRANTS = ("urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token")
_TOKEN_SECONDS = 3599


class Guard:
    """Checks credentials and issues Google's access tokens.

    Args:
        credentials: The keys and tokens that are accepted; None accepts any. Issued access tokens are always accepted.
        aws_secrets: Secret access keys by access key id; the signatures of requests with these ids are checked.
    """

    def __init__(self, credentials: Collection[str] | None, aws_secrets: Mapping[str, str]) -> None:
        self._accepted = None if credentials is None else frozenset(credentials)
        self._secrets = aws_secrets
        self._issued: set[str] = set()

    def admits(self, request: SimulatedRequest, received: Received) -> bool:
        """Whether the request carries a credential that its provider accepts."""
        family, headers = request.family, request.headers
        found: str | None = None
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        if authorization[:7].lower() == "bearer ":
            found = authorization[7:].strip()
        elif family in ("bedrock", "s3") and (key := sigv4.access_key(authorization)):
            if (secret := self._secrets.get(key)) is not None:
                return sigv4.verify(secret, received)
            found = key
        for name in _KEY_HEADERS.get(family, ()):
            found = headers.get(name, b"").decode("latin-1") or found
        if family == "google":
            found = request.query.get("key") or found
        return bool(found) and (self._accepted is None or found in self._accepted or found in self._issued)

    def token(self, body: bytes, now: float) -> SimulatedAnswer:
        """Google's token endpoint: an access token for a service account's signed JWT or for a refresh token."""
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        problem = _problem(form, now)
        if problem is not None:
            value: Document = {"error": "invalid_grant", "error_description": problem}
            return SimulatedAnswer(b"application/json; charset=utf-8", encode(value), status=400)
        token = new_id("ya29.simulated-", 40)
        self._issued.add(token)
        value = {"access_token": token, "expires_in": _TOKEN_SECONDS, "token_type": "Bearer"}
        return SimulatedAnswer(b"application/json; charset=utf-8", encode(value))


def _problem(form: Mapping[str, str], now: float) -> str | None:
    """What is wrong with a token request. The JWT's form and times are checked, its signature is not."""
    if form.get("grant_type") not in _GRANTS:
        return "Invalid grant_type"
    if form["grant_type"] == "refresh_token":
        return None if form.get("refresh_token") else "Missing refresh_token"
    parts = form.get("assertion", "").split(".")
    if len(parts) != 3 or not all(parts):
        return "Invalid JWT: it must have three parts"
    try:
        padded = [part + "=" * (-len(part) % 4) for part in parts[:2]]
        head, claims = (msgspec.json.decode(base64.urlsafe_b64decode(part), type=dict[str, Any]) for part in padded)
    except ValueError:
        return "Invalid JWT: its parts must be base64url of JSON"
    if head.get("alg") != "RS256":
        return "Invalid JWT: alg must be RS256"
    missing = [name for name in ("iss", "scope", "aud", "iat", "exp") if name not in claims]
    if missing:
        return f"Invalid JWT: missing {', '.join(missing)}"
    if not claims["iat"] - 60 <= now < claims["exp"] <= claims["iat"] + 3600:
        return "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe"
    return None
