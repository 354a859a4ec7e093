"""Objects in buckets of Google Cloud Storage and Amazon S3: listed and streamed with a provider's own credential.

The provider's kind decides which store it is, and so the host that gets the credential; `storage_url` replaces that
host. A request chooses the bucket and the object alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote
from xml.etree import ElementTree

from paig_gateway.domain.http import Headers
from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.providers.auth import AuthScheme
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.upstream import UpstreamResponse

MOST_OBJECTS = 1_000
"""The most objects of one folder."""
MOST_LISTED = 8 * 1024 * 1024
"""The most bytes of one page of a list."""
MOST_PAGES = 100
"""The most pages of one list: names that a pattern does not mean are listed as well."""


class BucketError(Exception):
    """An object or a folder cannot be read; the message says why.

    Attributes:
        gone: Whether it is not there.
    """

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of a list: the names of objects, and the token of the next page."""

    names: list[str]
    next: str | None


@dataclass(frozen=True, slots=True)
class Store:
    """A kind of store.

    Attributes:
        scheme: The scheme of its URIs.
        auth: How requests to it are authenticated.
        bucket: What a bucket's name looks like.
        wildcards: The provider's wildcards besides `*`, which may stand for objects that the gateway would not read.
        rights: What the provider's account needs, to read and to list objects.
        object: The address of an object: the settings, bucket and name.
        folder: The address of a page of a list: the settings, bucket, prefix and token.
        page: Reads a page. Raises ValueError.
    """

    scheme: str
    auth: AuthScheme
    bucket: re.Pattern[str]
    wildcards: re.Pattern[str]
    rights: str
    object: Callable[[Mapping[str, str], str, str], str]
    folder: Callable[[Mapping[str, str], str, str, str | None], str]
    page: Callable[[bytes], _Page]


def _google_bucket(settings: Mapping[str, str], bucket: str) -> str:
    return f"{settings.get('storage_url', 'https://storage.googleapis.com').rstrip('/')}/storage/v1/b/{bucket}/o"


def _google_folder(settings: Mapping[str, str], bucket: str, prefix: str, token: str | None) -> str:
    more = f"&pageToken={quote(token, safe='')}" if token else ""
    fields = quote("items(name),nextPageToken", safe="")
    return f"{_google_bucket(settings, bucket)}?fields={fields}&prefix={quote(prefix, safe='')}{more}"


def _google_page(body: bytes) -> _Page:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("it is not a list of objects")
    names = [str(one.get("name")) for one in found.get("items") or [] if isinstance(one, dict)]
    token = found.get("nextPageToken")
    return _Page(names, str(token) if token else None)


def _amazon_bucket(settings: Mapping[str, str], bucket: str) -> str:
    if given := settings.get("storage_url"):
        return f"{given.rstrip('/')}/{bucket}"
    host = f"s3.{settings.get('region', 'us-east-1')}.amazonaws.com"
    # A certificate covers one label alone before the host.
    return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"


def _amazon_folder(settings: Mapping[str, str], bucket: str, prefix: str, token: str | None) -> str:
    more = f"continuation-token={quote(token, safe='')}&" if token else ""
    return f"{_amazon_bucket(settings, bucket)}/?{more}list-type=2&prefix={quote(prefix, safe='')}"


def _amazon_page(body: bytes) -> _Page:
    if b"<!" in body:
        raise ValueError("it declares a document type")
    try:
        found = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ValueError("it is not a list of objects") from error
    names = [one.text or "" for one in found.iterfind("{*}Contents/{*}Key")]
    return _Page(names, found.findtext("{*}NextContinuationToken"))


STORES: Mapping[AuthScheme, Store] = {
    "google": Store(
        "gs",
        "google",
        re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
        re.compile(r"[?\[\]{}]"),
        "storage.objects.get and storage.objects.list",
        lambda settings, bucket, name: f"{_google_bucket(settings, bucket)}/{quote(name, safe='')}?alt=media",
        _google_folder,
        _google_page,
    ),
    "aws": Store(
        "s3",
        "aws-s3",
        re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        re.compile(r"\*.*[?\[\]]|[?\[\]].*\*"),  # Amazon has none: these would be read as ours
        "s3:GetObject and s3:ListBucket",
        lambda settings, bucket, name: f"{_amazon_bucket(settings, bucket)}/{quote(name, safe='/~')}",
        _amazon_folder,
        _amazon_page,
    ),
}
"""By the way in which the provider's own requests are authenticated."""


def store_of(provider: ActiveProvider) -> Store | None:
    """The store whose buckets a kind of provider uses, or None."""
    return STORES.get(KINDS[provider.kind].auth)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets that a provider's credential can read."""

    client: ProviderClient
    provider: ActiveProvider
    credential: Credential

    def _place(self, uri: str) -> tuple[Store, str, str]:
        """The store of a URI, its bucket and the name of its object.

        Raises:
            BucketError: It is not a URI of the provider's store.
        """
        store = store_of(self.provider)
        if store is None:
            raise BucketError(f"a provider of kind {self.provider.kind} has no buckets")
        scheme, mark, rest = uri.partition("://")
        bucket, _, name = rest.partition("/")
        if scheme != store.scheme or not mark or store.bucket.fullmatch(bucket) is None or ".." in bucket:
            raise BucketError(f"'{uri[:200]}' is not an address such as {store.scheme}://BUCKET/NAME")
        if any(part in (".", "..") for part in name.split("/")) or not name.isprintable() or len(name) > 1024:
            raise BucketError(f"'{uri[:200]}' is not the name of an object")
        return store, bucket, name

    @asynccontextmanager
    async def _get(self, store: Store, url: str, uri: str) -> AsyncIterator[UpstreamResponse]:
        none: Headers = []
        async with self.client.get_at(url, store.auth, self.provider, self.credential, none) as answer:
            if answer.status != 200:
                raise BucketError(
                    f"the storage answered {answer.status} for {uri}. The account of provider '{self.provider.name}' "
                    f"needs {store.rights} in that bucket",
                    gone=answer.status in (404, 410),
                )
            yield answer

    async def objects(self, uri: str) -> list[str]:
        """The URIs of the objects that a URI names: itself, those below a folder, or those that fit a pattern.

        Raises:
            BucketError: They cannot be listed, or are too many.
            UpstreamError: The storage cannot be reached.
            SigningError: The credential cannot be used.
        """
        store, bucket, name = self._place(uri)
        if store.wildcards.search(name) is not None:
            raise BucketError(f"'{uri[:200]}' may name several objects: of wildcards, only '*' is supported")
        fixed, star, _ = name.partition("*")
        if not star and name.endswith((".jsonl", ".out")):
            return [uri]
        found: list[str] = []
        token: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._page(store, store.folder(self.provider.settings, bucket, fixed, token), uri)
            found += _within(page.names, name)
            if len(found) > MOST_OBJECTS:
                raise BucketError(f"{uri} has more than {MOST_OBJECTS:,} objects")
            if page.next is None or page.next == token:
                return [f"{store.scheme}://{bucket}/{one}" for one in found]
            token = page.next
        raise BucketError(f"too many objects in bucket '{bucket}' have names that begin with '{fixed}'")

    async def _page(self, store: Store, url: str, uri: str) -> _Page:
        body = bytearray()
        async with self._get(store, url, uri) as answer:
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > MOST_LISTED:
                    raise BucketError(f"the list of {uri} is too long")
        try:
            return store.page(bytes(body))
        except ValueError as error:
            raise BucketError(f"the storage's list of {uri} cannot be read: {error}") from None

    @asynccontextmanager
    async def open(self, uri: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream an object. Raises as `objects` does."""
        store, bucket, name = self._place(uri)
        async with self._get(store, store.object(self.provider.settings, bucket, name), uri) as answer:
            yield answer.chunks()


def _within(names: Iterable[str], name: str) -> list[str]:
    """Those names that a folder or a pattern means; names that end in a slash stand for folders themselves."""
    folder = f"{name.rstrip('/')}/" if name else ""
    return [
        one
        for one in names
        if not one.endswith("/") and (fnmatchcase(one, name) if "*" in name else one == name or one.startswith(folder))
    ]
