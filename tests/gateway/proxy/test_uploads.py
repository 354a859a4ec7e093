"""Bodies that pass as they come: what looks at them, and what holds the end back."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from paig_gateway.domain.errors import GatewayError
from paig_gateway.providers import endpoints
from paig_gateway.proxy.request import ClientGone, Target
from paig_gateway.proxy.uploads import Upload, begun_session, continued_session, is_upload, led_back, origin_of
from paig_gateway.routing.candidates import Candidate

pytestmark = pytest.mark.anyio

FORM = {b"content-type": b"multipart/form-data; boundary=xyz"}
BODY = (
    b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\none\ntwo\r\n--xyz--\r\n'
)


class Pieces:
    """An ASGI `receive` of a body in pieces; after None the client is gone."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.left = list(pieces)

    async def __call__(self) -> MutableMapping[str, Any]:
        """The next message."""
        piece = self.left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.left)}


class Watcher:
    """Notes what it sees, and refuses at the end if it is to."""

    def __init__(self, refuse: bool = False) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.refuse = refuse

    def field(self, name: str, content: bytes) -> None:
        """A field."""
        self.seen.append((name, content))

    def piece(self, name: str, data: bytes) -> None:
        """A piece."""
        self.seen.append((name, data))

    async def complete(self) -> None:
        """The end."""
        if self.refuse:
            raise GatewayError("bad-request", "no")

    async def answered(self, candidate: Candidate, body: bytes) -> None:
        """The answer."""


async def test_it_passes_unchanged_and_is_seen() -> None:
    """Field by field, piece by piece; raw bodies have pieces without a name."""
    watcher = Watcher()
    upload = Upload(Pieces(BODY[:50], b"", BODY[50:120], BODY[120:]), FORM, 1000, watcher=watcher)
    assert b"".join([piece async for piece in upload.pieces()]) == BODY
    assert watcher.seen[0] == ("purpose", b"batch")
    assert b"".join(data for name, data in watcher.seen[1:] if name == "file") == b"one\ntwo"
    raw = Upload(Pieces(b"a", b"b"), {}, 1000, watcher=(watcher := Watcher()))
    assert [piece async for piece in raw.pieces()] == [b"ab"]
    known = Upload(Pieces(b"a", b"b", b"c"), {b"content-length": b"3"}, 1000)
    assert [piece async for piece in known.pieces()] == [b"a", b"b", b"c"]
    chunked = Upload(Pieces(b"a", b"b", b"c"), {}, 1000)
    assert [piece async for piece in chunked.pieces()] == [b"a", b"bc"]
    assert watcher.seen == [("", b"a"), ("", b"b")]


@pytest.mark.parametrize("pieces", [(BODY,), (BODY[:40], BODY[40:]), (BODY[:-1], BODY[-1:]), (BODY, b"")])
async def test_the_end_waits_until_all_is_allowed(pieces: tuple[bytes, ...]) -> None:
    """What is refused at last never went whole."""
    upload = Upload(Pieces(*pieces), FORM, 1000, watcher=Watcher(refuse=True))
    gone: list[bytes] = []

    async def send() -> None:
        async for piece in upload.pieces():
            gone.append(piece)

    with pytest.raises(GatewayError, match="no"):
        await send()
    assert len(b"".join(gone)) < len(BODY)
    assert upload.started


async def test_ids_in_fields_are_checked_before_the_end() -> None:
    """As in forms that are held."""
    body = b'--xyz\r\nContent-Disposition: form-data; name="file_id"\r\n\r\nfile-1\r\n--xyz--\r\n'
    asked: list[str] = []

    async def check(ids: object) -> None:
        asked.extend(ids)  # type: ignore[call-overload]
        raise GatewayError("not-found", "theirs")

    upload = Upload(Pieces(body), FORM, 1000, check=check)
    with pytest.raises(GatewayError, match="theirs"):
        [piece async for piece in upload.pieces()]
    assert asked == ["file-1"]


async def test_bounds_and_clients_that_leave() -> None:
    """Announced or not, what is too long is refused; a client that leaves ends it."""
    announced = Upload(Pieces(), {b"content-length": b"11"}, 10)
    with pytest.raises(GatewayError, match="max_upload_mb"):
        announced.check_length()
    with pytest.raises(GatewayError, match="max_upload_mb"):
        [piece async for piece in Upload(Pieces(b"x" * 6, b"x" * 6), {}, 10).pieces()]
    with pytest.raises(ClientGone):
        [piece async for piece in Upload(Pieces(b"x", None), {}, 10).pieces()]
    with pytest.raises(GatewayError, match="must end"):
        [piece async for piece in Upload(Pieces(BODY[:-8]), FORM, 1000).pieces()]


@pytest.mark.parametrize(
    ("method", "path", "headers", "streamed"),
    [
        ("POST", "/v1/files", FORM, True),
        ("POST", "/v1/uploads/u/parts", FORM, True),
        ("POST", "/v1/containers/c/files", FORM, True),
        ("POST", "/v1/uploads", {b"content-type": b"application/json"}, False),
        ("POST", "/v1/files", {**FORM, b"content-encoding": b"gzip"}, False),
        ("POST", "/v1/audio/transcriptions", FORM, False),
        ("POST", "/v1/images/edits", FORM, False),
        ("POST", "/upload/v1beta/files", {b"content-type": b"video/mp4"}, True),
        ("POST", "/upload/v1beta/files", {b"x-goog-upload-command": b"start", b"content-type": b"text/x"}, False),
        ("POST", "/upload/v1beta/files", {b"x-goog-upload-command": b"upload, finalize"}, True),
        ("POST", "/v1/fine_tuning/jobs", {b"content-type": b"text/plain"}, False),
        ("GET", "/v1/files", FORM, False),
    ],
)
def test_what_is_an_upload(method: str, path: str, headers: dict[bytes, bytes], streamed: bool) -> None:
    """Where no model is asked and the body is no JSON."""
    assert is_upload(method, endpoints.matches(method, path), headers) is streamed


def test_addresses_of_sessions_lead_back() -> None:
    """Their host becomes the gateway, their path and query stay; one that names no session is left out."""
    base = "https://generativelanguage.googleapis.com"
    url = base.encode() + b"/upload/v1beta/files?upload_id=AB%2FC&upload_protocol=resumable"
    headers = [(b"x-goog-upload-status", b"active"), (b"x-goog-upload-url", url)]
    assert led_back(headers, "http://gw:1", "g", base)[1][1] == (
        b"http://gw:1/proxy/g/upload/v1beta/files?upload_id=AB%2FC&upload_protocol=resumable"
    )
    assert begun_session({"x-goog-upload-url": url.decode()}) == "AB/C"
    below = [(b"x-goog-upload-url", url.replace(b"/upload/", b"/google/upload/"))]
    for path in ("/google", "/google/v1beta", "/google/v1beta/"):
        assert led_back(below, "http://gw:1", "g", base + path) == [
            (
                b"x-goog-upload-url",
                b"http://gw:1/proxy/g/upload/v1beta/files?upload_id=AB%2FC&upload_protocol=resumable",
            )
        ]
    nameless = [(b"x-goog-upload-url", base.encode() + b"/x?upload_id=1")]
    assert led_back(nameless, "http://gw:1", "g", base) == []
    elsewhere = [(b"x-goog-upload-url", b"https://elsewhere.example/upload/x?upload_id=1")]
    assert led_back(elsewhere, "http://gw:1", "g", base) == elsewhere
    assert led_back(headers, "", "g", base) == headers[:1]
    assert origin_of("https", {b"host": b"gw:1"}) == "https://gw:1"
    assert origin_of("https", {b"host": b"gw/evil"}) == ""
    target = Target("g", "/upload/v1beta/files", b"key=k&upload_id=S")
    assert continued_session(target, {b"x-goog-upload-command": b"upload"}) == "S"
    assert continued_session(target, {b"x-goog-upload-command": b"start"}) is None
    assert continued_session(target, {}) is None
