"""Checks AWS's Signature Version 4."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote, unquote

from .traffic import Received

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/"
    r"(?P<scope>(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request),\s*"
    r"SignedHeaders=(?P<signed>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


def access_key(authorization: str) -> str | None:
    """The access key id of an `Authorization` header; None if it is not signed this way."""
    match = _AUTHORIZATION.match(authorization)
    return match["key"] if match else None


def verify(secret: str, received: Received) -> bool:
    """Whether the request was signed with the secret access key."""
    sent: dict[str, list[str]] = {}
    for name, value in received.headers:
        sent.setdefault(name.decode("latin-1").lower(), []).append(" ".join(value.decode("latin-1").split()))
    match = _AUTHORIZATION.match(",".join(sent.get("authorization", [])))
    date = ",".join(sent.get("x-amz-date", []))
    if match is None or not date.startswith(match["date"]):
        return False
    names = match["signed"].split(";")
    pairs = sorted(
        tuple(quote(unquote(half), safe="-_.~") for half in pair.partition("=")[::2])
        for pair in received.query.split("&")
        if pair
    )
    digest = hashlib.sha256(received.body).hexdigest()
    claimed = sent.get("x-amz-content-sha256", [digest])[0]
    canonical = "\n".join(
        (
            received.method,
            # Every service but S3 signs the path as it is sent, percent-encoded once more.
            received.path if match["service"] == "s3" else quote(received.path, safe="/-_.~"),
            "&".join("=".join(pair) for pair in pairs),
            *(f"{name}:{','.join(sent.get(name, []))}" for name in names),
            "",
            match["signed"],
            claimed,
        )
    )
    if claimed not in (digest, "UNSIGNED-PAYLOAD"):
        return False
    text = f"AWS4-HMAC-SHA256\n{date}\n{match['scope']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (match["date"], match["region"], match["service"], "aws4_request", text):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(key.hex(), match["signature"])
