"""Whether what a provider sent is an answer, judged from its first bytes."""

from __future__ import annotations

import json

import pytest

from paig_gateway.formats import framing
from paig_gateway.formats.judgement import MOST, Judgement, judge, judge_event
from paig_gateway.formats.registry import FORMATS

BY_NAME = {fmt.name: fmt for fmt in reversed(FORMATS)}
CHAT = BY_NAME["openai-chat"]
ANSWERS = {
    "openai-chat": {"choices": [{"message": {"content": "hi"}}]},
    "openai-completions": {"choices": [{"text": "hi"}]},
    "openai-responses": {"status": "completed", "output": []},
    "openai-responses-compact": {"output": []},
    "anthropic": {"type": "message", "content": []},
    "gemini": {"candidates": [{"content": {}}]},
    "gemini-embed": {"embedding": {"values": [0.1]}},
    "bedrock-converse": {"output": {"message": {}}},
    "bedrock-invoke": {"results": [{"outputText": "hi"}]},
    "cohere-chat": {"message": {"content": []}},
    "openai-embeddings": {"data": []},
    "cohere-embed": {"embeddings": {"float": []}},
    "rerank": {"results": []},
    "openai-images": {"data": [{"b64_json": "AAAA"}]},
    "mistral-ocr": {"pages": []},
}
"""The least that an answer of each format has."""

REFUSALS = [
    b"",
    b"  \n",
    b"<!DOCTYPE html><html><body>Checking your browser</body></html>",
    b"upstream connect error or disconnect/reset before headers",
    b'{"error":{"message":"Provider returned error","code":502},"user_id":"u"}',
    b'{"error":"busy"}',
    b'{"detail":"Not authenticated"}',
    b'{"base_resp":{"status_code":1004,"status_msg":"login fail"}}',
    b"[]",
    b"null",
    b'{"error":{"message":"a \\ud83d","code":NaN}}',
    b'{"id":"x","message":"internal server error"}',
    b'{"choices":[{"finish_reason":"error","message":{"role":"assistant","content":""}}],"error":{"code":502}}',
]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_each_format(name: str) -> None:
    """The least that the format has is an answer; the same with an error beside it still is."""
    fmt = BY_NAME[name]
    assert judge(fmt, 200, json.dumps(ANSWERS[name]).encode(), True) == "answer"
    assert judge(fmt, 200, json.dumps(ANSWERS[name]).encode()[:-1], False) == "more"


@pytest.mark.parametrize("body", REFUSALS)
@pytest.mark.parametrize("name", ANSWERS)
def test_bodies_that_are_not_an_answer_of_any_format(name: str, body: bytes) -> None:
    """Errors, pages, empty and broken bodies are not answers, whichever format was asked."""
    assert judge(BY_NAME[name], 200, body, True) == "not-answer"


@pytest.mark.parametrize(
    ("status", "judged"), [(200, "answer"), (201, "answer"), (204, "not-answer"), (302, "not-answer")]
)
def test_status(status: int, judged: Judgement) -> None:
    """Of inference, redirects and empty answers are none."""
    assert judge(CHAT, status, json.dumps(ANSWERS["openai-chat"]).encode(), True) == judged


def test_formats_that_are_not_judged() -> None:
    """Downloads, deletions and looks at stored objects are whatever the provider sends."""
    files = BY_NAME["files"]
    assert judge(files, 302, b"", True) == "answer"
    assert judge(files, 200, b"\x00\x01", True) == "answer"


def test_beginnings() -> None:
    """A beginning that may become an answer waits for more; what cannot is known at once; 64 KB decide."""
    assert judge(CHAT, 200, b"", False) == "more"
    assert judge(CHAT, 200, b"dat", False) == "more"
    assert judge(CHAT, 200, b"<html>", False) == "not-answer"
    assert judge(CHAT, 200, b'{"error":', False) == "more"
    assert judge(CHAT, 200, b'{"choices":[{"x":"' + b"x" * MOST, False) == "answer"
    assert judge(CHAT, 200, b" " * MOST, False) == "answer"


def test_json_that_breaks_off() -> None:
    """It may have been an answer, whatever came of it; while more may come, nothing is said."""
    for body in (b'{"cho', b'{"choices":[{"message":', b"[{"):
        assert judge(CHAT, 200, body, True) == "cut"
        assert judge(CHAT, 200, body, False) == "more"


def test_streams() -> None:
    """A stream is an answer with its first event that says something, and none with an error before it."""
    created = b'data: {"type":"response.created","response":{}}\n\n'
    assert judge(CHAT, 200, created, False) == "more"
    assert judge(CHAT, 200, created, True) == "not-answer"
    assert judge(CHAT, 200, created + b'data: {"choices":[]}\n\n', False) == "answer"
    assert judge(CHAT, 200, created + b'data: {"error":{"message":"busy"}}\n\n', False) == "not-answer"
    assert judge(CHAT, 200, b"data: <html>\n\n", False) == "not-answer"
    assert judge(CHAT, 200, b"data: [DONE]\n\n", True) == "not-answer"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n', "not-answer"),
        (b'data: {"error":{"message":"busy","type":"server_error"}}\n\n', "not-answer"),
        (b'data: {"error":{"code":503,"status":"UNAVAILABLE"}}\n\n', "not-answer"),
        (b'data: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n', "not-answer"),
        (b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n', None),
        (b'event: ping\ndata: {"type":"ping"}\n\n', None),
        (b": OPENROUTER PROCESSING\n\n", None),
        (b'data: {"type":"response.created","response":{"error":null}}\n\n', None),
        (b'data: {"choices":[{"delta":{"content":"error"}}],"error":null}\n\n', "answer"),
        (b'data: {"candidates":[]}\n\n', "answer"),
        (b"data: [DONE]\n\n", None),
    ],
)
def test_server_sent_events(raw: bytes, said: str | None) -> None:
    """An error is told from what comes before an answer, and from an answer."""
    assert judge_event(framing.parse_sse(raw)) == said


def test_frames() -> None:
    """Bedrock's exceptions are frames of their own kind."""
    payload = json.dumps({"message": "Too many requests"}).encode()
    thrown = framing.encode_frame("throttlingException", payload, kind="exception")
    assert judge_event(framing.parse_frame(thrown)) == "not-answer"
    assert judge_event(framing.parse_frame(framing.encode_frame("messageStart", b'{"role":"assistant"}'))) is None
    assert judge_event(framing.parse_frame(framing.encode_frame("chunk", b'{"bytes":"e30="}'))) == "answer"
