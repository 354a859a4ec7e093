"""Which headers pass in each direction, and where a client's key is found.

Towards the provider there is a list of headers that pass, so that no credential, cookie or account choice of the client
reaches it. Towards the client there is a list of headers that do not pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import unquote_plus

from paig_gateway.domain.errors import GatewayError
from paig_gateway.domain.http import Headers

_TO_UPSTREAM = frozenset(
    (
        b"accept accept-language content-type content-encoding user-agent idempotency-key x-client-request-id "
        b"x-session-id session_id conversation_id originator http-referer x-title x-goog-api-client "
        b"x-server-timeout x-gemini-service-tier x-fireworks-genie x-ds-anonymous"
    ).split()
)
_TO_UPSTREAM_PREFIXES = (
    b"anthropic-",
    b"openai-",
    b"x-stainless-",
    b"x-goog-upload-",
    b"x-vertex-ai-",
    b"x-amzn-bedrock-",
    b"amz-sdk-",
    b"groq-",
)
# These choose the account that pays, or belong to the client's own login.
_NEVER_TO_UPSTREAM = frozenset(
    {b"openai-organization", b"openai-project", b"anthropic-organization-id", b"anthropic-workspace-id"}
)
# Others of that kind that a provider may add; or they name a stored object, whose owner is checked in bodies alone.
_CHOOSES = re.compile(rb"(?:openai|anthropic|groq)-.*(?:organi[sz]ation|project|workspace|account|container)")

_HOP = frozenset(
    (
        b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
        b"transfer-encoding upgrade"
    ).split()
)
# These describe the upstream's own connection, host or cookies, and would be wrong for the gateway.
_NEVER_TO_CLIENT = (
    _HOP
    | _NEVER_TO_UPSTREAM
    | {
        b"alt-svc",
        b"content-length",
        b"date",
        b"strict-transport-security",
        b"logfire-ai-gateway-cost",
        b"pydantic-ai-gateway-price-estimate",
    }
)
# These would let the upstream control a browser at the gateway's origin.
_STEERING = frozenset(
    (
        b"accept-ch activate-storage-access clear-site-data content-security-policy "
        b"content-security-policy-report-only critical-ch expect-ct feature-policy nel origin-agent-cluster "
        b"origin-trial permissions-policy public-key-pins refresh report-to reporting-endpoints "
        b"service-worker-allowed set-cookie set-cookie2 set-login sourcemap speculation-rules "
        b"supports-loading-mode timing-allow-origin use-as-dictionary x-content-type-options x-frame-options "
        b"x-sourcemap x-xss-protection"
    ).split()
)
_STEERING_PREFIXES = (b"access-control-", b"cross-origin-", b"x-paig-")
# Schemes for which a browser asks the user for a password.
_ASKS_PASSWORD = re.compile(rb"(?:^|[\s,])(?:basic|digest|negotiate|ntlm)(?:[\s,]|$)", re.IGNORECASE)


def to_upstream(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The client's headers that are meant for the provider."""
    return [header for header in headers if _goes_on(header[0])]


@lru_cache(maxsize=1024)
def _goes_on(name: bytes) -> bool:
    return (name in _TO_UPSTREAM or name.startswith(_TO_UPSTREAM_PREFIXES)) and not _CHOOSES.match(name)


# Headers that can choose a more expensive service tier than the body does.
_TIERS = frozenset(
    (
        b"x-vertex-ai-llm-shared-request-type x-gemini-service-tier x-amzn-bedrock-service-tier "
        b"x-amzn-bedrock-performanceconfig-latency"
    ).split()
)


def tiers(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The service tiers that a request's headers ask for, in lower case."""
    return [value.decode("latin-1").strip().lower() for name, value in headers if name in _TIERS]


def to_client(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The provider's headers that also hold for the gateway's answer and do not control a browser."""
    return [
        (name, value)
        for name, value in headers
        if _passes(name) and not (name == b"www-authenticate" and _ASKS_PASSWORD.search(value))
    ]


# Clients that follow a redirect send these headers again to the other address; they leave out `authorization` alone.
_REPEATED_KEYS = (b"x-api-key", b"api-key", b"x-goog-api-key")
_LEADING = frozenset({b"location", b"operation-location", b"azure-asyncoperation"})


def without_redirects(headers: Headers, request: Iterable[tuple[bytes, bytes]]) -> Headers:
    """A provider's headers without those that would send the client, and its gateway key, to another address.

    Args:
        headers: The answer's.
        request: The client's.
    """
    if _LEADING.isdisjoint([name for name, _ in headers]) or not any(name in _REPEATED_KEYS for name, _ in request):
        return headers
    return [(name, value) for name, value in headers if name not in _LEADING or _OWN_PATH.match(value)]


# Clients drop tabs and line ends, so `/<tab>/host` would become `//host`.
_OWN_PATH = re.compile(rb"/(?![/\\])[\x21-\x7e]*\Z")


@lru_cache(maxsize=1024)
def _passes(name: bytes) -> bool:
    kept = name in _NEVER_TO_CLIENT or name in _STEERING or name.startswith(_STEERING_PREFIXES)
    return not kept


# Query parameters that may hold a client's own credential.
_QUERY_CREDENTIALS = frozenset({"access_token", "api_key", "api-key", "apikey", "x-api-key", "subscription-key"})

_SIGV4_KEY = re.compile(rb"Credential=([^/,\s]+)/")


def client_key(headers: Mapping[bytes, bytes], query: bytes, *, from_page: bool = False) -> tuple[str, bytes]:
    """Find the gateway key that a client sent; returns it and the query without it.

    Args:
        headers: The request's headers, by lower-case name.
        query: The raw query string; Google's clients may send the key there.
        from_page: Whether a browser's page sent the request: histories and logs would keep a key in its query.

    Raises:
        GatewayError: `missing-key`; `not-allowed` for a page's key in the query.
    """
    key = b""
    authorization = headers.get(b"authorization", b"")
    if authorization[:7].lower() == b"bearer ":
        key = authorization[7:].strip()
    elif match := _SIGV4_KEY.search(authorization):
        key = match.group(1)
    for name in (b"x-api-key", b"api-key", b"x-goog-api-key"):
        key = key or headers.get(name, b"").strip()
    if query:
        kept = []
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            named = unquote_plus(name.decode("latin-1")).lower()
            if named == "key":
                if from_page:
                    raise GatewayError(
                        "not-allowed",
                        "A page must not send a gateway key in the query: send it in the header x-goog-api-key.",
                    )
                key = key or unquote_plus(value.decode("latin-1")).encode("utf-8")
            elif named not in _QUERY_CREDENTIALS and not named.startswith("x-amz-"):
                kept.append(part)
        # A parameter of any name that contains the key is dropped, too.
        query = b"&".join(part for part in kept if not key or key.decode("latin-1") not in _read(part))
    if not key:
        raise GatewayError(
            "missing-key",
            "The request has no gateway key. Send one as 'Authorization: Bearer paig_…' "
            "(or x-api-key, api-key, x-goog-api-key); an administrator creates one with 'paig keys create'.",
        )
    return key.decode("latin-1"), query


def _read(part: bytes) -> str:
    return unquote_plus(part.decode("latin-1"))


def error_headers(error: GatewayError, request_id: str) -> Headers:
    """The headers that mark an answer as the gateway's own error."""
    added = [(b"x-paig-error", error.code.encode()), (b"x-paig-request-id", request_id.encode())]
    if error.details:
        added.append((b"x-paig-error-details", json.dumps(dict(error.details)).encode("ascii")))
    if not error.retryable:
        added.append((b"x-should-retry", b"false"))
    if error.retry_after is not None:
        added.append((b"retry-after", str(error.retry_after).encode()))
    return added
