"""What the accounts of a route's providers store: every list that a kind of provider has, read page after page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.formats import reading
from paig_gateway.formats.base import ErrorShape
from paig_gateway.formats.listing import listing
from paig_gateway.providers.auth import SigningError
from paig_gateway.providers.endpoints import Endpoint, endpoints
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.egress import own_egress
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.routing.failures import UpstreamError

SECONDS = 24.0
"""How long all lists may take together: a client of the admin API waits 30 s."""
MOST = 20_000
"""Objects that are taken from one account."""
LONGEST = 16 * 1024 * 1024
"""Bytes of one page that are read."""
_AT_ONCE = 8

_VERSIONS = {"google": "/v1beta", "bedrock": ""}
_BETAS: Mapping[tuple[ErrorShape, str], tuple[bytes, bytes]] = {
    ("anthropic", "files"): (b"anthropic-beta", b"files-api-2025-04-14"),
    ("anthropic", "skills"): (b"anthropic-beta", b"skills-2025-10-02"),
    ("openai", "assistants"): (b"openai-beta", b"assistants=v2"),
    ("openai", "chatkit/threads"): (b"openai-beta", b"chatkit_beta=v1"),
}
"""Headers without which an API does not show a list."""
_ABSENT = frozenset({404, 405, 501})
_SIZES: Mapping[ErrorShape, tuple[str, int]] = {"openai": ("limit", 100), "anthropic": ("limit", 100)}


@dataclass(slots=True)
class AccountObjects:
    """The objects found in an account.

    Attributes:
        found: The kind of each object, by its provider and id.
        problems: Lists that could not be read, or not to their end.
    """

    found: dict[tuple[str, str], str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def account_objects(providers: list[ActiveProvider], client: ProviderClient) -> AccountObjects:
    """Read all lists of stored objects that some providers have, with each of their credentials.

    Args:
        client: Sends the requests.
    """
    result = AccountObjects()
    places = asyncio.Semaphore(_AT_ONCE)
    end = time.monotonic() + SECONDS

    async def one(provider: ActiveProvider, credential: Credential, row: Endpoint) -> None:
        async with places:
            problem = await _List(provider, credential, row, client, end).read(result.found)
        if problem is not None:
            result.problems.append(f"{provider.name}, {row.path}: {problem}")

    async with asyncio.TaskGroup() as tasks:
        for provider in providers:
            for row in lists_of(provider.kind):
                for credential in provider.credentials:
                    tasks.create_task(one(provider, credential, row))
    result.problems = sorted(set(result.problems))
    return result


def lists_of(kind: str) -> list[Endpoint]:
    """The endpoints at which a kind of provider lists stored objects; of several APIs' rows for a path, the first."""
    rows: dict[str, Endpoint] = {}
    for row in endpoints():
        if kind in row.kinds and "GET" in row.methods and "{" not in row.path and row.operation("GET") == "list":
            rows.setdefault(row.path, row)
    return list(rows.values())


@dataclass(frozen=True, slots=True)
class _List:
    provider: ActiveProvider
    credential: Credential
    row: Endpoint
    client: ProviderClient
    end: float

    async def read(self, found: dict[tuple[str, str], str]) -> str | None:
        """Add the list's objects; returns the error, if there is one."""
        query: dict[str, str] | None = {}
        seen: set[str] = set()
        while query is not None:
            try:
                async with asyncio.timeout(max(0.0, self.end - time.monotonic())):
                    status, body = await self._page(query)
            except TimeoutError:
                return f"it was not read to its end in {SECONDS:g} s; name what is missing by its id"
            except (SigningError, UpstreamError) as error:
                return str(error)
            if status in _ABSENT:
                return None
            if status != 200:
                return f"the provider answers with HTTP {status}"
            try:
                page = listing(body)
            except ValueError as error:
                return f"the list cannot be read: {error}"
            ids = [id for id in page.ids if id is not None] if page is not None else []
            if seen.issuperset(ids):  # the end, or a list that has no pages and begins again
                return None
            seen.update(ids)
            for id in ids:
                if len(found) >= MOST:
                    return f"there are more than {MOST} objects; name what is missing by its id"
                found.setdefault((self.provider.name, id), self.row.object or "object")
            query = _following(body, ids, len(seen), self.row.format.errors)
        return None

    async def _page(self, query: Mapping[str, str]) -> tuple[int, bytes]:
        kind = KINDS[self.provider.kind]
        path = f"{_VERSIONS.get(kind.name, '/v1')}/{self.row.path}"
        url = kind.path(self.provider.base_url, path, self.provider.settings)
        size = dict([_SIZES[self.row.format.errors]]) if self.row.format.errors in _SIZES else {}
        if asked := urlencode({**size, **query}):
            url += ("&" if "?" in url else "?") + asked
        headers: Headers = [(b"accept", b"application/json"), (b"accept-encoding", b"identity")]
        if self.row.format.errors == "anthropic":
            headers.append((b"anthropic-version", b"2023-06-01"))
        if (beta := _BETAS.get((self.row.format.errors, self.row.path))) is not None:
            headers.append(beta)
        headers += await self.client.auth.headers(kind.auth, self.provider, self.credential, "GET", url, headers, b"")
        answer = await self.client.upstream.send("GET", url, headers, None, way=own_egress(self.provider))
        try:
            body = bytearray()
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > LONGEST:
                    break
        finally:
            await answer.aclose()
        return answer.status, bytes(body)


def _following(body: bytes, ids: list[str], seen: int, shape: ErrorShape) -> dict[str, str] | None:
    """The query of the next page; None after the last one."""
    top = reading.members(body)
    for member, parameter in (("nextPageToken", "pageToken"), ("nextToken", "nextToken"), ("next_page", "page")):
        if token := reading.string(top.get(member)):
            return {parameter: token}
    if reading.truth(top.get("has_more")) and ids:
        last = reading.string(top.get("last_id")) or ids[-1]
        return {"after_id" if shape == "anthropic" else "after": last}
    total = reading.integer(top.get("total"))
    if total is not None and seen < total and ids:  # pages by number, the first one is 0
        return {"page": str(seen // len(ids)), "page_size": str(len(ids))}
    return None
