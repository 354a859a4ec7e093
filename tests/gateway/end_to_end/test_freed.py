"""A request's bodies leave the memory when it ends, not when garbage is collected next."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from paig_gateway.proxy.exchange import Exchange, Outcome
from paig_gateway.proxy.meter import StreamMeter
from paig_gateway.proxy.response import ResponseRelay
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.replay import Replay
from tests.gateway.end_to_end.test_wire import ANSWER, CHAT, ENCODERS, STREAM, auth
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

ROUNDS = 5


def alive(*kinds: type) -> list[str]:
    """The objects of those kinds that are in memory."""
    return sorted(type(one).__name__ for one in gc.get_objects() if type(one) in kinds)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("status", "kind", "encoding", "pieces"),
    [
        pytest.param(200, "application/json", "identity", [ANSWER], id="a whole answer"),
        pytest.param(200, "application/json", "identity", [ANSWER[:9], ANSWER[9:]], id="an answer in pieces"),
        pytest.param(200, "text/event-stream", "identity", [STREAM[:99], STREAM[99:]], id="a stream"),
        pytest.param(200, "text/event-stream", "gzip", [ENCODERS["gzip"](STREAM)], id="an encoded stream"),
        pytest.param(400, "application/json", "identity", [b'{"error": {"message": "no"}}'], id="an error"),
    ],
)
async def test_a_request_is_freed_at_its_end(
    replayed: World, replay: Replay, uncollected: None, status: int, kind: str, encoding: str, pieces: list[bytes]
) -> None:
    """Nothing of it stands in a circle of references: memory is bounded by the requests in flight."""
    replay.status, replay.headers = status, [("content-type", kind), ("content-encoding", encoding)]
    replay.pieces = pieces
    for _ in range(ROUNDS):
        answer = await replayed.http.post("/proxy/openai/chat/completions", headers=auth(replayed), json=CHAT)
        assert answer.status_code == status
    await until(lambda: not alive(Exchange, Outcome, ResponseRelay, StreamMeter), seconds=20)
