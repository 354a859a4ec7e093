"""Whether a provider answers and takes its credential: one small free request, and its answer explained.

No request here can be billed: lists of models and counts of tokens are free, and where a provider has no such thing it
is sent a request that it must refuse, after it has looked at the credential.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from paig_client.api.resources import ProviderCheck, ProviderOutcome
from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.providers.auth import SigningError
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.egress import own_egress
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.upstream import UpstreamResponse
from paig_gateway.routing.failures import UpstreamError, UpstreamTimeout

SECONDS = 20.0
"""How long the whole of it may take."""
LONGEST = 4 * 1024 * 1024
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A free request.

    Attributes:
        path: As a client would write it below the route.
        body: The body of a POST; None for a GET.
        headers: Headers in addition to those that authenticate.
        met: Statuses other than 2xx that show that the credential was accepted.
    """

    path: str
    body: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    met: frozenset[int] = frozenset()


_MODELS = Probe("/models")
# Without a model or messages: a provider that accepts the credential answers 400 or 422.
_EMPTY_CHAT = Probe("/chat/completions", b"{}", met=frozenset({400, 422}))
_COUNT = b'{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}'
_BEDROCK_COUNT = b'{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}}}'

PROBES: Mapping[str, tuple[Probe, ...]] = {
    "anthropic": (Probe("/v1/models", headers=((b"anthropic-version", b"2023-06-01"),)),),
    "google": (Probe("/v1beta/models"),),
    "google-vertex": (Probe("/v1/publishers/google/models/gemini-2.5-flash:countTokens", _COUNT),),
    # A model that cannot count tokens answers so only if the credential is valid.
    "bedrock": (
        Probe("/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/count-tokens", _BEDROCK_COUNT, met=frozenset({400})),
    ),
    "cohere": (Probe("/v1/models"),),
    "openrouter": (Probe("/key"),),
    "voyageai": (Probe("/embeddings", b"{}", met=frozenset({400, 422})),),
}
"""What is asked of a kind, one after the other until one is not 404; of any other kind, its models, else a chat."""
_USUAL = (_MODELS, _EMPTY_CHAT)

PUBLIC = frozenset({"huggingface", "novita", "ovhcloud", "ollama", "vllm"})
"""Kinds whose list of models is public, so it does not test the credential."""

_BAD_KEY = re.compile(
    r"(api[ _-]?key|token|signature|credential)s?\b.{0,40}\b(not valid|invalid|incorrect|expired|unrecogni[sz]ed)"
    r"|(invalid|incorrect|unrecogni[sz]ed|expired|wrong).{0,40}(api[ _-]?key|token|signature|client|credential)"
    r"|API_KEY_INVALID|UnrecognizedClient|InvalidSignature",
    re.IGNORECASE | re.DOTALL,
)


async def check(provider: ActiveProvider, client: ProviderClient) -> ProviderCheck:
    """Send a provider its free request with each of its credentials and explain what comes of it.

    Args:
        client: Sends the request.

    Returns:
        The result of the first credential that fails, or else of the first.
    """
    of_all = [await _check(provider, credential, client) for credential in provider.credentials]
    if len(of_all) == 1:
        return of_all[0]
    ids = [credential.id for credential in provider.credentials]
    wrong = [(id, found) for id, found in zip(ids, of_all, strict=True) if not found.ok]
    if not wrong:
        message = f"{of_all[0].message} The same holds for all of its {len(ids)} credentials."
        return of_all[0].model_copy(update={"message": message})
    which = ", ".join(f"{id}: {found.outcome}" for id, found in wrong)
    first = wrong[0][1]
    return first.model_copy(
        update={"message": f"{len(wrong)} of {len(ids)} credentials failed ({which}). {first.message}"}
    )


async def _check(provider: ActiveProvider, credential: Credential, client: ProviderClient) -> ProviderCheck:
    found = ProviderCheck(provider=provider.name, outcome="failed", ok=False, message="", request="")
    began = time.monotonic()
    try:
        async with asyncio.timeout(SECONDS):
            for probe in PROBES.get(provider.kind, _USUAL):
                found = await _ask(provider, credential, probe, client)
                if found.outcome != "not-found":
                    break
    except TimeoutError:
        found = found.model_copy(
            update={"outcome": "timeout", "message": f"It did not answer in {SECONDS:g} s. {_NETWORK}"}
        )
    return found.model_copy(update={"ms": round((time.monotonic() - began) * 1000, 1)})


async def _ask(provider: ActiveProvider, credential: Credential, probe: Probe, client: ProviderClient) -> ProviderCheck:
    kind = KINDS[provider.kind]
    url = kind.path(provider.base_url, probe.path, provider.settings)
    method = "GET" if probe.body is None else "POST"
    result = ProviderCheck(
        provider=provider.name, outcome="failed", ok=False, message="", request=f"{method} {_without_secret(url)}"
    )

    def outcome(name: ProviderOutcome, message: str, **more: object) -> ProviderCheck:
        return result.model_copy(update={"outcome": name, "ok": name == "ok", "message": message, **more})

    headers: Headers = [(b"accept", b"application/json"), (b"accept-encoding", b"identity"), *probe.headers]
    if probe.body is not None:
        headers.append((b"content-type", b"application/json"))
    try:
        headers += await client.auth.headers(kind.auth, provider, credential, method, url, headers, probe.body or b"")
    except SigningError as error:
        return outcome("credential", f"{str(error)[0].upper()}{str(error)[1:]}.")
    try:
        answer = await client.upstream.send(method, url, headers, probe.body, way=own_egress(provider))
        try:
            body = await _body(answer)
        finally:
            await answer.aclose()
    except UpstreamError as error:
        return outcome(*_unreached(error, url))
    return outcome(*_explained(provider, credential, probe, answer, body), status=answer.status, models=_models(body))


async def _body(answer: UpstreamResponse) -> bytes:
    """The beginning of the answer's body, decoded."""
    parts: list[bytes] = []
    async for chunk in answer.chunks():
        parts.append(chunk)
        if sum(map(len, parts)) > LONGEST:
            break
    body = b"".join(parts)
    if (b"content-encoding", b"gzip") in answer.headers:
        try:
            return gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            return body
    return body


_NETWORK = "Is there a firewall or a proxy on the way (HTTPS_PROXY)?"


def _unreached(error: UpstreamError, url: str) -> tuple[ProviderOutcome, str]:
    """The result if no answer arrived."""
    parts = urlsplit(url)
    host, reason = parts.hostname or "", str(error)
    if isinstance(error, UpstreamTimeout):
        return "timeout", f"{host} did not answer in time ({reason}). {_NETWORK}"
    if "name not resolved" in reason:
        return (
            "dns",
            f"The name {host} does not resolve. Is base_url spelt right? Does DNS work on the gateway's machine?",
        )
    if "TLS" in reason or "certificate" in reason:
        why = "a proxy that opens connections, or a private authority that the gateway does not trust (SSL_CERT_FILE)"
        return (
            "tls",
            f"The connection to {host} is not secure: {reason}. Often it is {why}; or base_url must be http://.",
        )
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return "unreachable", f"Nothing answers at {host} port {port}: {reason}. Is base_url right? {_NETWORK}"


def _explained(
    provider: ActiveProvider, credential: Credential, probe: Probe, answer: UpstreamResponse, body: bytes
) -> tuple[ProviderOutcome, str]:
    status, message = answer.status, _error_text(body, credential.secret)
    quoted = f" It says: {message}" if message else ""
    known = KINDS[provider.kind].base_url
    own = f" The usual one is {known}." if known and "{" not in known else ""
    if status in (400, 403) and _BAD_KEY.search(message):
        status = 401
    if 200 <= status < 300:
        if _json(body) is None:
            return "not-the-api", f"What answers there is not {provider.kind}'s API (no JSON). Is base_url right?{own}"
        if provider.kind in PUBLIC:
            return (
                "ok",
                "It answers. Its list of models is open to everybody: whether it takes the credential is not known.",
            )
        return "ok", "It answers and takes the credential." if credential.secret else "It answers."
    if status in probe.met:
        return "ok", "It answers and takes the credential."
    if status == 401:
        refused = "It does not take the credential: is it whole, of this provider, and not revoked?"
        return "unauthorised", f"{refused if credential.secret else 'It wants a credential, and has none.'}{quoted}"
    if status == 403:
        return (
            "forbidden",
            f"It knows the credential, but does not allow this: look at the account's permissions.{quoted}",
        )
    if status in (404, 405):
        return "not-found", f"There is no API at that address. Is base_url right?{own}{quoted}"
    if 300 <= status < 400:
        to = next((value.decode("latin-1") for name, value in answer.headers if name == b"location"), "elsewhere")
        return "not-the-api", f"It sends us to {_without_secret(to)}. Is base_url right?{own}"
    if status == 402:
        return "no-means", f"It knows the credential, but the account has no credit.{quoted}"
    if status == 429:
        return "no-means", f"It knows the credential, but its rate or quota is used up for now.{quoted}"
    if status >= 500:
        return "failed", f"The provider has a problem of its own (HTTP {status}): try again later.{quoted}"
    return "failed", f"It answers with HTTP {status}.{quoted}"


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        # A list that is longer than the part that is read is still JSON.
        return {} if len(body) > LONGEST and body[:1] in b"{[" else None


def _models(body: bytes) -> int | None:
    """How many models a list has."""
    found = _json(body)
    listed = (found.get("data") or found.get("models")) if isinstance(found, dict) else None
    return len(listed) if isinstance(listed, list) else None


def _error_text(body: bytes, credential: str | None) -> str:
    """The message of a provider's error, on one line, without the credential that some messages repeat."""
    found = _json(body)
    if isinstance(found, list) and found:
        found = found[0]
    words: object = None
    if isinstance(found, dict):
        error = found.get("error")
        words = (error.get("message") if isinstance(error, dict) else error) or found.get("message")
        words = words or found.get("Message") or found.get("detail")
    text = " ".join(words.split()) if isinstance(words, str) else ""
    for secret in filter(None, [credential, *(credential or "").split(":")[1:]]):
        text = text.replace(secret, "…")
    return text if len(text) <= 300 else f"{text[:299]}…"


def _without_secret(url: str) -> str:
    """An address without its query, where some put keys, nor a user."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
