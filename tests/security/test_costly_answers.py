"""Answers that are made to take long to read. Nothing else is served meanwhile, so work is counted, not timed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from paig_gateway.formats import framing
from paig_gateway.formats.base import Call, Format, MalformedRequest, Marker
from paig_gateway.formats.registry import FORMATS
from paig_gateway.proxy import meter as metering
from paig_gateway.proxy import response
from paig_gateway.proxy.content_encoding import decoder
from paig_gateway.proxy.meter import StreamMeter, takes_long
from paig_gateway.proxy.sockets.live import LiveSession
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.replay import Replay
from tests.gateway.end_to_end.test_frames import Provider, client, recorded
from tests.gateway.end_to_end.test_hostile import CHAT, answering, post, row_of
from tests.gateway.pricing.test_known_shapes import lookup

pytestmark = pytest.mark.anyio

MEGABYTE = 1024 * 1024
OPENAI_CHAT = next(fmt for fmt in FORMATS if fmt.name == "openai-chat")


def meter(fmt: Format = OPENAI_CHAT, *, hide: bool = False) -> StreamMeter:
    """A meter of a stream of OpenAI's."""
    prices = lookup("openai", {"model": "gpt-5"})
    return StreamMeter(fmt, Call(model="gpt-5", stream=True), "sse", {}, prices, splice=False, hide=hide)


@dataclass
class CountedMarker:
    """Counts the bytes that are searched."""

    marker: Marker
    searched: int = 0

    def search(self, data: bytes, start: int = 0) -> Any:
        """Search as the marker does."""
        self.searched += len(data) - start
        return self.marker.search(data, start)


def test_many_events_with_usage_are_searched_once() -> None:
    """Not the whole of a read again for each of them: 8 MB, as a few KB of gzip bring them, took hours."""
    marker = CountedMarker(OPENAI_CHAT.usage_marker)  # type: ignore[arg-type]
    stream = b'data:{"usage":{}}\n\n' * 40_000
    meter(replace(OPENAI_CHAT, usage_marker=marker)).feed(stream)  # type: ignore[arg-type]
    assert marker.searched < len(stream) * 1_000


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_of_too_many_events_with_usage_only_some_are_read(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them always: it tells the usage of the whole answer."""
    monkeypatch.setattr(metering, "MOST_EVENTS", 100)
    read = 0

    def fold(body: dict[str, object], event: Any) -> None:
        nonlocal read
        read += 1
        assert OPENAI_CHAT.fold is not None
        OPENAI_CHAT.fold(body, event)

    stream = b"".join(
        b'data:{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}%b' % (number, end)
        for number in range(5_000)
    )
    taken = meter(replace(OPENAI_CHAT, fold=fold))
    for start in range(0, len(stream), 16_384):
        taken.feed(stream[start : start + 16_384])
    taken.end()
    assert 4 <= read < 500
    found = taken.reading().extracted
    assert found is not None
    assert found.usage["output_tokens"] == 4_999


@pytest.mark.parametrize("size", [1, 50, 5_000, 100_000])
def test_every_event_is_read_wherever_a_block_is_cut(size: int) -> None:
    """The first and the last one too, beside events without usage that are longer than a part."""
    events = [
        b'data:{"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * (number % 3 * 7_000))
        if number % 2
        else b'data:{"choices":[],"usage":{"prompt_tokens":%d}}\n\n' % (number + 1)
        for number in range(41)
    ]
    read: list[bytes] = []
    taken = meter(replace(OPENAI_CHAT, fold=lambda body, event: read.append(event.data)))
    stream = b"".join(events)
    given = b"".join(taken.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + taken.end()
    assert [one for one in read if b"usage" in one] == [one[5:-2] for one in events[::2]]
    assert given == stream


def test_hidden_events_do_not_pile_up() -> None:
    """They are held back in case that a choice follows, and given to the client once they are many."""
    usage = b'data:{"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    taken = meter(hide=True)
    given = b"".join(taken.feed(usage) for _ in range(10_000))
    assert len(given) > 9_000 * len(usage) - metering._MOST_HIDDEN
    assert len(taken._held) <= metering._MOST_HIDDEN


class Searched(bytearray):
    """A buffer that counts how much of it is searched."""

    searched = 0

    def rfind(self, *given: Any) -> int:
        """Search as a buffer does."""
        self.searched += len(self) - (given[1] if len(given) > 1 else 0)
        return super().rfind(*given)


def test_a_line_without_an_end_is_searched_once() -> None:
    """Not as often as chunks of it come."""
    splitter = framing.SseSplitter()
    buffer = splitter._buffer = Searched()
    for _ in range(10_000):
        assert splitter.feed_block(b"x" * 10) == b""
    assert splitter.feed_block(b"\n") == b""
    assert splitter.feed_block(b"\n") == b"x" * 100_000 + b"\n\n"
    assert buffer.searched < 200_000


def test_the_headers_of_a_frame_are_bounded() -> None:
    """AWS allows 128 KB: three bytes are a header, so a frame of them takes seconds to read."""
    with pytest.raises(framing.CorruptFrame):
        framing.EventStreamSplitter().feed(_frame(b"\x01a\x00" * (framing.MAX_FRAME_HEADERS // 3 + 1)))
    most = _frame(b"\x01a\x00" * (framing.MAX_FRAME_HEADERS // 3))
    assert framing.EventStreamSplitter().feed(most) == [most]


def _frame(headers: bytes) -> bytes:
    start = (16 + len(headers)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    frame = start + framing._CRC.pack(framing.crc32(start)) + headers
    return frame + framing._CRC.pack(framing.crc32(frame))


def test_a_read_of_an_encoded_stream_decodes_to_little() -> None:
    """The rest is passed on without being read."""
    taken = meter()
    bomb = gzip.compress(b"data:{}\n\n" * (4 * response._MOST_DECODED // 9))
    assert len(bomb) < 256 * 1024
    assert response._aside(taken, decoder("gzip"), bomb) == bomb
    assert taken.unread
    assert taken._seen <= response._MOST_DECODED


def repeated(before: bytes, piece: bytes, after: bytes = b"", megabytes: int = 8) -> Callable[[], bytes]:
    """A large body, made when it is needed."""
    return lambda: before + piece * (megabytes * MEGABYTE // len(piece)) + after


COSTLY = {
    "objects": repeated(b'{"data":[', b"{},", b"0]}"),
    "lists": repeated(b'{"data":[', b"[],", b"0]}"),
    "names": repeated(b"{", b'"":0,', b'"":0}'),
    "unended": repeated(b'{"data":[', b"{},"),
    "a sequence": repeated(b"", b"{}"),
    "quotation marks": repeated(b"[", b'""'),
    "brackets": repeated(b"", b"["),
    "not UTF-8": repeated(b'{"a":"', b"\xff", b'"}'),
}
HONEST = {
    "embeddings": repeated(b'{"data":[{"embedding":[', b"-0.012345678,", b"0]}]}", 31),
    "an image": repeated(b'{"data":[{"b64_json":"', b"ABCD", b'"}]}', 31),
    "text": repeated(b'{"choices":[{"message":{"content":"', b'f(a, [1], {}) \\n\\"', b'"}}]}'),
}


@pytest.mark.parametrize("name", [*COSTLY, *HONEST])
def test_which_bodies_are_read_from_their_end(name: str) -> None:
    assert takes_long({**COSTLY, **HONEST}[name]()) == (name in COSTLY)


@pytest.mark.parametrize("name", COSTLY)
async def test_a_costly_body_is_relayed_and_charged(
    replayed: World, replay: Replay, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its ceiling, without being read; where its usage stands at the end, by that."""

    def decode(body: bytes) -> None:
        assert len(body) <= response.TAIL + 1, "all of it was read"

    body = COSTLY[name]()
    answering(replay, body)
    monkeypatch.setattr(response, "decode_json", decode)
    answer = await post(replayed, CHAT)
    assert answer.content == body
    row = await row_of(replayed, answer)
    assert (row.certainty, row.cost) == ("ceiling", row.reserved)


async def test_the_usage_of_a_costly_body_is_read(replayed: World, replay: Replay) -> None:
    """Log probabilities of many tokens are honest, and their usage is exact."""
    usage = b'"usage":{"prompt_tokens":10000,"completion_tokens":500}'
    answering(replay, b'{"model":"gpt-5","choices":[' + b"[]," * 800_000 + b"0]," + usage + b"}")
    row = await row_of(replayed, await post(replayed, CHAT))
    assert (row.certainty, row.cost) == ("exact", Decimal("0.0175"))


async def test_costly_answers_about_stored_objects(
    replayed: World, replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a creation must be read; a batch is relayed unread, because its results may stand in it."""
    monkeypatch.setattr(metering, "MOST_VALUES", 50_000)
    batches, auth = "/proxy/anthropic/v1/messages/batches", {"x-api-key": replayed.key}
    question = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    answering(replay, b'{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress"}')
    creation = {"requests": [{"custom_id": "a", "params": question}]}
    made = await replayed.http.post(batches, headers=auth, json=creation)
    assert made.status_code == 200, made.text
    body = b'{"id":"msgbatch_1","type":"message_batch","data":[' + b"{}," * 20_000 + b"0]}"
    answering(replay, body)
    assert (await replayed.http.get(f"{batches}/msgbatch_1", headers=auth)).content == body
    refused = await replayed.http.post(batches, headers=auth, json=creation)
    assert (refused.status_code, "too many values" in refused.text) == (502, True)
    assert (await row_of(replayed, refused)).certainty == "ceiling"


@pytest.mark.parametrize("shape", [b'{"a":%b}', b"[%b]", b'[{"a":%b}]'])
def test_a_deep_message_of_the_live_api(shape: bytes) -> None:
    """It is read or refused, in whichever member the depth is."""
    for depth in (40, 450, 900, 5_000):
        deep = b"1"
        before, _, after = shape.partition(b"%b")
        deep = before * depth + deep + after * depth
        for name in (b"setup", b"clientContent", b"realtimeInput", b"toolResponse"):
            session = LiveSession()
            session.client(b'{"setup":{"model":"models/gemini-live-2.5-flash"}}')
            try:
                session.client(b'{"%b":{"turns":[%b],"x":%b}}' % (name, deep, deep))
            except MalformedRequest:
                continue
            session.provider(b'{"serverContent":{"modelTurn":%b},"usageMetadata":%b}' % (deep, deep))


async def test_a_costly_message_of_a_provider_ends_the_session(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is relayed, and what it says of money is not read: the open turn is charged as one that broke off."""
    monkeypatch.setattr(metering, "MOST_VALUES", 50_000)

    class Hostile(Provider):
        async def __call__(self, socket: ServerConnection) -> None:
            await socket.send(json.dumps({"type": "session.created", "session": {"turn_detection": None}}))
            await socket.send('{"type":"response.done","x":[' + "{}," * 20_000 + "0]}")
            await socket.wait_closed()

    async with recorded(tmp_path, Hostile()) as world, client(world) as session:
        await session.recv()
        assert len(await session.recv()) > 50_000
        with pytest.raises(ConnectionClosed) as closed:
            await session.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            1011,
            "the provider's message has too many values",
        )
