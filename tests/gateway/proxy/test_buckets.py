"""Objects in buckets: which address gets the credential, lists in pages, and what is asked nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from paig_gateway.domain.route import ActiveProvider, Credential
from paig_gateway.providers.auth import Authenticator
from paig_gateway.proxy import buckets
from paig_gateway.proxy.buckets import MOST_OBJECTS, STORES, BucketError, Buckets
from paig_gateway.proxy.provider_client import ProviderClient
from paig_gateway.proxy.upstream import Upstream
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator

pytestmark = pytest.mark.anyio

AWS = Credential("c", "AKIAIOSFODNN7EXAMPLE:secret")


@pytest.mark.parametrize(
    ("settings", "bucket", "url"),
    [
        ({"region": "eu-west-1"}, "b-1", "https://b-1.s3.eu-west-1.amazonaws.com/dir/a%20b"),
        ({"region": "eu-west-1"}, "b.dots", "https://s3.eu-west-1.amazonaws.com/b.dots/dir/a%20b"),
        ({"storage_url": "https://s3.internal/"}, "b-1", "https://s3.internal/b-1/dir/a%20b"),
    ],
)
def test_the_address_of_an_object_at_amazon(settings: dict[str, str], bucket: str, url: str) -> None:
    """The bucket is a name of the host where a certificate covers it."""
    assert STORES["aws"].object(settings, bucket, "dir/a b") == url


def test_the_address_of_an_object_at_google() -> None:
    """A name is one segment of the path."""
    place = "https://storage.googleapis.com/storage/v1/b/b_1/o/dir%2Fa%20b?alt=media"
    assert STORES["google"].object({}, "b_1", "dir/a b") == place


@pytest.fixture
async def bucket() -> AsyncIterator[tuple[Simulator, Buckets]]:
    """The simulator's S3, read with an access key."""
    simulator = Simulator()
    async with running_simulator(simulator) as base, Upstream() as upstream:
        settings = {"region": "us-east-1", "storage_url": f"{base}/s3"}
        provider = ActiveProvider("bedrock", "bedrock", f"{base}/bedrock", (AWS,), settings=settings)
        yield simulator, Buckets(ProviderClient(upstream, Authenticator()), provider, AWS)


async def test_lists_come_in_pages(bucket: tuple[Simulator, Buckets], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of more objects than a page is read to its end, and bounded; a neighbour of its name is not in it."""
    simulator, objects = bucket
    for number in range(MOST_OBJECTS):
        simulator.buckets.put(f"s3://mine/dir/{number:04}.jsonl", b"")
    simulator.buckets.put("s3://mine/dir-2/x.jsonl", b"")
    simulator.buckets.put("s3://mine/dir/", b"")
    found = await objects.objects("s3://mine/dir")
    assert (len(found), found[0], found[-1]) == (MOST_OBJECTS, "s3://mine/dir/0000.jsonl", "s3://mine/dir/0999.jsonl")
    assert await objects.objects("s3://mine/dir/00*7.jsonl") == [f"s3://mine/dir/00{n}7.jsonl" for n in range(10)]
    monkeypatch.setattr(buckets, "MOST_PAGES", 1)
    with pytest.raises(BucketError, match="too many objects in bucket 'mine'"):
        await objects.objects("s3://mine/*none.jsonl")
    simulator.buckets.put("s3://mine/dir/more.jsonl", b"")
    monkeypatch.undo()
    with pytest.raises(BucketError, match="more than 1,000"):
        await objects.objects("s3://mine/dir/")


@pytest.mark.parametrize(
    "uri",
    [
        *("gs://mine/x.jsonl", "http://mine/x.jsonl", "s3:/mine/x", "s3://", "s3://Mine/x.jsonl", "s3://a..b/x.jsonl"),
        *(
            "s3://mine@evil.example/x.jsonl",
            "s3://mine/../other/x.jsonl",
            "s3://mine/./x.jsonl",
            "s3://mine/a\nb.jsonl",
        ),
    ],
)
async def test_what_is_no_object_is_asked_nowhere(bucket: tuple[Simulator, Buckets], uri: str) -> None:
    """A URI of another store, host or place is refused before anything is sent."""
    simulator, objects = bucket
    with pytest.raises(BucketError):
        await objects.objects(uri)
    with pytest.raises(BucketError):
        async with objects.open(uri):
            pass
    assert simulator.requests == []


async def test_a_wildcard_that_the_gateway_does_not_know(bucket: tuple[Simulator, Buckets]) -> None:
    """Vertex AI reads every object that a name with it means, and the gateway would hold for one alone."""
    simulator, objects = bucket
    google = replace(objects.provider, kind="google-vertex")
    for name in ("x?.jsonl", "x[12].jsonl", "x{1,2}.jsonl", "x?/*.jsonl"):
        with pytest.raises(BucketError, match="only '\\*' is supported"):
            await replace(objects, provider=google).objects(f"gs://mine/{name}")
    assert await objects.objects("s3://mine/x[1].jsonl") == ["s3://mine/x[1].jsonl"]
    with pytest.raises(BucketError, match="only '\\*' is supported"):
        await objects.objects("s3://mine/x[1]*.jsonl")
    assert simulator.requests == []


async def test_a_list_that_is_none(bucket: tuple[Simulator, Buckets]) -> None:
    """A declaration of a document type, or no XML at all, is not read."""
    for body in (b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', b"{}", b"<x>"):
        with pytest.raises(ValueError, match="it "):
            STORES["aws"].page(body)
    with pytest.raises(ValueError, match="list of objects"):
        STORES["google"].page(b"[]")
