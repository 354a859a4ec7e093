"""Uploads that go on: Google's resumable ones, whose addresses lead back, and clients that leave in the middle."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from paig_client.api.specs import KeySpec, ProviderSpec
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.test_uploads import FILE, HEAD, MB, PIECE, Sink, posting, running_sink
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def sink() -> AsyncIterator[Sink]:
    """The account."""
    async with running_sink() as running:
        yield running


@pytest.fixture(scope="module")
async def world(environment: None, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of it."""
    specs = {
        "openai": ProviderSpec(kind="openai", base_url=f"{sink.base}/v1", credential="value:a"),
        "google": ProviderSpec(kind="google", base_url=sink.base, credential="value:d"),
    }
    async with running_world(tmp_path_factory.mktemp("home"), specs) as running:
        yield running


@pytest.fixture(autouse=True)
def reset(sink: Sink) -> None:
    """Each test begins at zero."""
    sink.answers, sink.size, sink.served = Sink().answers, 0, 0
    sink.heads.clear()


async def test_a_client_that_leaves_leaves_a_row(world: World, sink: Sink) -> None:
    """And the provider gets no end."""
    async with posting(world, "/proxy/openai/v1/files", 10 * MB) as (_, writer):
        writer.write(HEAD + FILE + PIECE)
        await writer.drain()

        async def begun() -> bool:
            return sink.size > 0

        await until(begun)

    async def told() -> bool:
        row = (await world.admin.requests(limit=1)).items[0]
        return (row.error, row.format, row.cost) == ("client-gone", "files", Decimal(0))

    await until(told)
    assert sink.served == 0


class Google:
    """Resumable uploads as Google plays them."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.sessions: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}

    def __call__(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answer one request."""
        if "upload_id=" not in path:
            session = f"session-{len(self.sessions)}"
            self.sessions[session] = b""
            url = f"{self.base}{path}?upload_id={session}&upload_protocol=resumable"
            return 200, {"x-goog-upload-status": "active", "x-goog-upload-url": url}, b""
        session = path.partition("upload_id=")[2].partition("&")[0]
        self.sessions[session] += body
        name = f"files/{session}"
        self.files[name] = self.sessions[session]
        said = {"file": {"name": name, "uri": f"https://generativelanguage.googleapis.com/v1beta/{name}"}}
        return 200, {"x-goog-upload-status": "final"}, json.dumps(said).encode()


@pytest.mark.parametrize("address", ["/proxy/google", ""])
async def test_resumable_uploads_lead_back(world: World, sink: Sink, address: str) -> None:
    """As google-genai uploads a file, without a key; the session and the file are the key's own, whichever key asks."""
    google = sink.answers = Google(sink.base)
    mine = (await world.admin.keys.create(f"mine-{len(address)}", KeySpec(routes=["google"]))).key
    theirs = (await world.admin.keys.create(f"theirs-{len(address)}", KeySpec(routes=["google"]))).key
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-api-key": mine}
    begun = await world.http.post(f"{address}/upload/v1beta/files", json={"file": {}}, headers=start)
    last = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    made = await world.http.post(begun.headers["x-goog-upload-url"], content=PIECE * 3, headers=last)
    name = made.json()["file"]["name"]
    assert google.files[name] == PIECE * 3
    assert "x-goog-api-key: d" in sink.heads[-1].lower()
    session = next(iter(google.sessions))
    url = f"/proxy/google/upload/v1beta/files?upload_id={session}&upload_protocol=resumable"
    command = {"x-goog-upload-command": "query"}
    before = len(sink.heads)
    stranger = await world.http.post(url, headers=command)
    assert (stranger.status_code, stranger.headers["x-paig-error"]) == (401, "missing-key")  # it has ended
    for path, method in ((name, "POST"), ("x:generateContent", "POST"), (name, "GET"), (name, "DELETE")):
        other = f"/proxy/google/upload/v1beta/{path}?upload_id={name.removeprefix('files/')}"
        answer = await world.http.request(method, other, headers=command)  # ids of other objects are no secrets
        assert answer.headers["x-paig-error"] == "missing-key"
    refused = await world.http.post(url, headers={**command, "x-goog-api-key": theirs})
    assert refused.headers["x-paig-error"] == "not-found"
    named = await world.http.get(f"/proxy/google/v1beta/{name}", headers={"x-goog-api-key": theirs})
    assert named.headers["x-paig-error"] == "not-found"
    assert len(sink.heads) == before


async def test_a_session_stands_for_the_key_that_began_it(world: World, sink: Sink) -> None:
    """Without a key, as Google's clients use its address; not once the key is disabled, nor for another session."""
    sink.answers = Google(sink.base)
    key = await world.admin.keys.create("begins", KeySpec(routes=["google"]))
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-api-key": key.key}
    begun = await world.http.post("/proxy/google/upload/v1beta/files", json={"file": {}}, headers=start)
    url = begun.headers["x-goog-upload-url"]
    assert url.startswith(f"{world.origin}/proxy/google/upload/v1beta/files?upload_id=")
    unknown = await world.http.post(
        url.replace("upload_id=", "upload_id=x"), headers={"x-goog-upload-command": "upload"}
    )
    assert (unknown.status_code, unknown.headers["x-paig-error"]) == (401, "missing-key")
    beginning = await world.http.post(url, headers={"x-goog-upload-command": "start"})
    assert beginning.headers["x-paig-error"] == "missing-key"
    await world.admin.keys.disable("begins")

    async def disabled() -> bool:
        refused = await world.http.get("/proxy/google/v1beta/files", headers={"x-goog-api-key": key.key})
        return refused.headers.get("x-paig-error") == "key-disabled"

    await until(disabled)
    refused = await world.http.post(url, headers={"x-goog-upload-command": "query"})
    assert (refused.status_code, refused.headers["x-paig-error"]) == (403, "key-disabled")
