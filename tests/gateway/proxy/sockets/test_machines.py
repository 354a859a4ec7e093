"""Transcripts of the machines: which message of the client needs a hold, which message of the provider ends a turn."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from paig_gateway.formats.base import MalformedRequest
from paig_gateway.proxy.sockets.live import LiveSession
from paig_gateway.proxy.sockets.realtime import RealtimeSession
from paig_gateway.proxy.sockets.responses import ResponsesSession
from paig_gateway.proxy.sockets.turns import Effect, Need, Saw, SocketSession, Turn, TurnOver

SECOND = base64.b64encode(bytes(48_000)).decode()
"""A second of audio."""


def send(session: SocketSession, /, **message: Any) -> list[Turn]:
    """The client sends a message; the turns that it needs."""
    return session.client(json.dumps(message).encode())


def hear(session: SocketSession, /, **message: Any) -> list[Effect]:
    """The provider sends a message; what follows from it."""
    return session.provider(json.dumps(message).encode())


def told(session: RealtimeSession, **settings: Any) -> None:
    """The provider says what the session's settings are."""
    hear(session, type="session.updated", session={"model": "gpt-realtime", **settings})


USAGE = {
    "total_tokens": 130,
    "input_tokens": 100,
    "output_tokens": 30,
    "input_token_details": {"text_tokens": 80, "audio_tokens": 20},
    "output_token_details": {"text_tokens": 10, "audio_tokens": 20},
}


def done(session: RealtimeSession, response: str = "r1", **more: Any) -> list[Effect]:
    """A response is done."""
    return hear(session, type="response.done", response={"id": response, "usage": USAGE, **more})


def test_a_response_that_is_asked_for_is_held_before_it_is_asked_for() -> None:
    """Items alone need no hold; the request does, and the response's end settles it."""
    session = RealtimeSession("gpt-realtime")
    told(session, turn_detection=None)
    content = [{"type": "input_text", "text": "Hello"}]
    assert send(session, type="conversation.item.create", item={"type": "message", "content": content}) == []
    [turn] = send(session, type="response.create", response={"max_output_tokens": 70})
    assert (turn.begun, turn.call.output_tokens) == (True, 70)
    assert hear(session, type="response.created", response={"id": "r1"}) == [Saw(turn)]
    assert done(session) == [Saw(turn), TurnOver(turn, "ended")]
    assert list(session.open()) == []


def test_where_the_provider_listens_the_first_audio_is_held_for_and_each_turn_after_it() -> None:
    """Audio within what is held ahead needs nothing more; when a response is done, the next one is held."""
    session = RealtimeSession("gpt-realtime")
    [turn] = send(session, type="input_audio_buffer.append", audio=SECOND)
    assert not turn.begun
    assert [send(session, type="input_audio_buffer.append", audio=SECOND) for _ in range(29)] == [[]] * 29
    assert send(session, type="input_audio_buffer.append", audio=SECOND * 2) == [turn]
    hear(session, type="input_audio_buffer.committed", item_id="i1")
    assert turn.begun
    assert hear(session, type="response.created", response={"id": "r1"}) == [Saw(turn)]
    saw, over, need = done(session)
    assert (saw, over) == (Saw(turn), TurnOver(turn, "ended"))
    assert isinstance(need, Need)
    assert list(session.open()) == [need.turn]


def test_audio_that_nothing_answers_needs_no_hold() -> None:
    """With turn detection off, audio is an item like any other; with transcription, its commit costs."""
    session = RealtimeSession("gpt-realtime")
    told(session, audio={"input": {"turn_detection": None}})
    assert send(session, type="input_audio_buffer.append", audio=SECOND) == []
    assert send(session, type="input_audio_buffer.commit") == []
    told(session, audio={"input": {"transcription": {"model": "whisper-1"}}})
    [turn] = send(session, type="input_audio_buffer.commit")
    assert [extra.model for extra in turn.call.also] == ["whisper-1"]


def test_what_was_read_and_written_bounds_what_is_read_next() -> None:
    """The provider's own count, with what came since; not the context window."""
    session = RealtimeSession("gpt-realtime")
    told(session, turn_detection=None)
    text = "a" * 10_000
    content = [{"type": "input_text", "text": text}]
    send(session, type="conversation.item.create", item={"content": content})
    [first] = send(session, type="response.create")
    hear(session, type="response.created", response={"id": "r1"})
    done(session)
    [second] = send(session, type="response.create")
    assert first.call.input_tokens > 10_000
    assert second.call.input_tokens < first.call.input_tokens - 9_000
    assert second.call.input_tokens >= 90
    assert not second.call.unbounded_input


def test_a_transcription_that_comes_late_settles_the_turn() -> None:
    """A turn waits for the transcription of what was said before it."""
    session = RealtimeSession("gpt-realtime")
    told(session, audio={"input": {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}}})
    [turn] = send(session, type="input_audio_buffer.append", audio=SECOND)
    hear(session, type="input_audio_buffer.committed", item_id="i1")
    hear(session, type="response.created", response={"id": "r1"})
    effects = done(session)
    assert TurnOver(turn, "ended") not in effects
    kind = "conversation.item.input_audio_transcription.completed"
    assert hear(session, type=kind, item_id="i1", usage={"type": "duration", "seconds": 1}) == [
        Saw(turn),
        TurnOver(turn, "ended"),
    ]


def test_a_refused_request_costs_nothing() -> None:
    """The error names the message that it is about."""
    session = RealtimeSession("gpt-realtime")
    [turn] = send(session, type="response.create", event_id="mine")
    assert hear(session, type="error", error={"type": "invalid_request_error", "event_id": "other"}) == []
    assert hear(session, type="error", error={"type": "invalid_request_error", "event_id": "mine"}) == [
        Saw(turn),
        TurnOver(turn, "refused"),
    ]


def test_speech_billed_by_the_second_is_held_for_as_it_comes() -> None:
    """A minute at a time, and more before it is used up."""
    session = RealtimeSession("grok-voice-latest", by_seconds=True)
    [turn] = send(session, type="response.create")
    hear(session, type="response.created", response={"id": "r1"})
    delta = {"type": "response.output_audio.delta", "response_id": "r1"}
    held = [hear(session, **delta, delta=SECOND * 10) for _ in range(7)]
    assert held[:5] == [[]] * 5
    assert [Need(turn)] in held


@pytest.mark.parametrize("session", [RealtimeSession("gpt-realtime"), ResponsesSession([]), LiveSession("g")])
def test_what_is_not_known_is_not_passed(session: SocketSession) -> None:
    """A message of a kind whose cost is not known."""
    with pytest.raises(MalformedRequest):
        send(session, type="something.new")


def test_answers_of_a_connection_are_told_apart_by_their_stream() -> None:
    """Two at once, each ended by its own event."""
    session = ResponsesSession([])
    [one] = send(session, type="response.create", model="gpt-5", input="a", stream_id="x")
    [two] = send(session, type="response.create", model="gpt-5", input="b", stream_id="y")
    assert hear(session, type="response.created", stream_id="y", response={"id": "r2"}) == [Saw(two)]
    assert hear(session, type="response.created", stream_id="x", response={"id": "r1"}) == [Saw(one)]
    end = {"type": "response.completed", "response": {"id": "r1", "usage": {"total_tokens": 12}}}
    assert hear(session, **end, stream_id="x") == [Saw(one), TurnOver(one, "ended")]
    assert list(session.open()) == [two]


def test_an_answer_that_goes_on_from_a_known_one_is_bounded_by_it() -> None:
    """By what that one read and wrote; an unknown one by the context window."""
    session = ResponsesSession([])
    send(session, type="response.create", model="gpt-5", input="a")
    hear(session, type="response.created", response={"id": "r1"})
    hear(session, type="response.completed", response={"id": "r1", "usage": {"total_tokens": 5_000}})
    [known] = send(session, type="response.create", model="gpt-5", input="b", previous_response_id="r1")
    assert not known.call.unbounded_input
    assert 5_000 < known.call.input_tokens < 6_000
    [other] = send(session, type="response.create", model="gpt-5", input="b", previous_response_id="r9")
    assert other.call.unbounded_input


def test_gemini_turns_with_functions_read_everything_once_more() -> None:
    """Each result sets off another generation; the turn's end settles it."""
    session = LiveSession()
    send(session, setup={"model": "models/gemini-3.8-live"})
    [turn] = send(session, clientContent={"turns": [{"parts": [{"text": "Hello"}]}], "turnComplete": True})
    usage = {"promptTokenCount": 10, "responseTokenCount": 5, "totalTokenCount": 15}
    assert hear(session, toolCall={"functionCalls": []}, usageMetadata=usage) == [Saw(turn)]
    [again] = send(session, toolResponse={"functionResponses": [{"id": "1", "response": {}}]})
    assert again is turn
    assert turn.call.repeats == 2
    assert hear(session, serverContent={"turnComplete": True}, usageMetadata=usage) == [
        Saw(turn),
        TurnOver(turn, "ended"),
    ]


def test_gemini_usage_may_come_after_the_turns_end() -> None:
    """The turn is settled once it is there."""
    session = LiveSession()
    send(session, setup={"model": "models/gemini-3.8-live"})
    [turn] = send(session, realtimeInput={"text": "Hello"})
    assert hear(session, serverContent={"turnComplete": True}) == [Saw(turn)]
    assert list(session.open()) == [turn]
    usage = {"promptTokenCount": 10, "responseTokenCount": 5, "totalTokenCount": 15}
    assert hear(session, usageMetadata=usage) == [Saw(turn), TurnOver(turn, "ended")]
