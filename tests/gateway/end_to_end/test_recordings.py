"""Recorded provider traffic through a real gateway: the same bytes, the right tokens, the right cost."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest

from tests.gateway.end_to_end import expected
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World
from tests.gateway.end_to_end.replay import Replay
from tests.recordings import Recording, recordings, unspliced

pytestmark = pytest.mark.anyio

KINDS = {"oddball": "openai-compatible"}
NOT_TO_CLIENT = {
    *("date", "alt-svc", "connection", "content-length", "set-cookie", "strict-transport-security"),
    # What steers a browser, or names the account.
    *("permissions-policy", "content-security-policy", "timing-allow-origin", "expect-ct", "nel", "report-to"),
    *("openai-organization", "openai-project", "x-content-type-options", "x-frame-options", "x-xss-protection"),
}
STEERING = ("access-control-", "cross-origin-")
COUNTING = ("count_tokens", "count-tokens", "countTokens", "input_tokens", "/tokenize")
FREE = (*COUNTING, "/files", "/realtime/", "ileSearchStore")


def cuts(body: bytes, seed: str) -> list[bytes]:
    """The body in a few pieces, cut anywhere."""
    draw = random.Random(seed)
    places = sorted(draw.randrange(len(body) + 1) for _ in range(min(12, len(body))))
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def route_and_path(recording: Recording) -> tuple[str, str]:
    """The route, and the path under it."""
    if recording.provider == "hosted-gateway":
        route, path = recording.path.lstrip("/").split("/", 1)
        return route, "/" + path
    return KINDS.get(recording.provider, recording.provider), recording.path


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.id)
async def test_replayed(recording: Recording, replay: Replay, replayed: World) -> None:
    """The client gets the provider's bytes and status, the provider gets the client's, and the row is right."""
    route, path = route_and_path(recording)
    replay.status = recording.status
    replay.headers = [
        (name, value)
        for name, value in recording.response_headers.items()
        if name not in ("transfer-encoding", "content-length", "connection", "content-encoding")
    ]
    replay.pieces = cuts(recording.response_body, recording.id)
    replay.asked.clear()
    headers = {"authorization": f"Bearer {replayed.key}", "content-type": "application/json"}
    headers |= {k: v for k, v in recording.request_headers.items() if k in ("content-type", "accept")}
    url = f"/proxy/{route}{path}" + (f"?{recording.query}" if recording.query else "")
    response = await replayed.http.request(recording.method, url, headers=headers, content=recording.request_body)

    assert response.status_code == recording.status, response.text
    assert "x-paig-error" not in response.headers
    assert unspliced(response.content) == unspliced(recording.response_body)
    for name, value in recording.response_headers.items():
        if name.startswith(STEERING):
            continue
        if name not in NOT_TO_CLIENT | {"transfer-encoding", "content-encoding"} and "gateway-price" not in name:
            assert response.headers.get(name) == value

    [asked] = replay.asked
    assert replayed.key.encode() not in asked.raw
    assert UPSTREAM_KEY in asked.raw.decode("latin-1")
    if recording.provider not in ("hosted-gateway", "derived"):
        assert asked.target == recording.path + (f"?{recording.query}" if recording.query else "")
    assert without_ask(asked.body) == without_ask(recording.request_body)

    found = expected.usage(recording)
    if any(part in recording.path for part in FREE) or recording.method == "GET":
        return
    row = await replayed.admin.request(response.headers["x-paig-request-id"])
    if found is None:
        assert Decimal(row.cost) == 0 or row.certainty in ("estimated", "ceiling")
        return
    assert row.usage is not None
    for key, count in vars(found).items():
        assert row.usage.get(key, 0) == count, key
    cost = expected.cost(recording, found, row.time)
    assert row.certainty in expected.certainties(recording, priced=cost is not None)
    if cost is not None:
        assert abs(Decimal(row.cost) - cost) <= Decimal("0.0000000005")


def without_ask(body: bytes) -> bytes:
    """The body without what asks for usage in a stream."""
    return body.replace(b'"stream_options":{"include_usage":true},', b"").replace(
        b',"stream_options":{"include_usage":true}', b""
    )


def test_the_recordings_are_there() -> None:
    """The corpus is not empty, and its bodies are JSON or streams."""
    assert len(recordings()) > 100
    assert json.loads(next(r for r in recordings() if r.provider == "openai" and not r.stream).response_body)
