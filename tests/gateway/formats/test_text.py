"""Bounds of input hold for text of any kind, and cost next to nothing where a request carries media."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.formats.asking import asked

BLOB = base64.b64encode(random.Random(7).randbytes(60_000)).decode()
LINK = "https://example.com/cat.png"
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
CONVERSE, INVOKE = "/model/m/converse", "/model/m/invoke"


def chat(part: Any) -> tuple[str, object]:
    """A chat request with one content part."""
    return CHAT, {"model": "m", "messages": [{"role": "user", "content": [part]}]}


def responses(item: Any) -> tuple[str, object]:
    """A Responses request with one content part."""
    return RESPONSES, {"model": "m", "input": [{"role": "user", "content": [item]}]}


def messages(block: Any) -> tuple[str, object]:
    """A Messages request with one block."""
    return MESSAGES, {"model": "m", "messages": [{"role": "user", "content": [block]}]}


def gemini(part: Any) -> tuple[str, object]:
    """A Gemini request with one part."""
    return GEMINI, {"contents": [{"role": "user", "parts": [part]}]}


def converse(block: Any) -> tuple[str, object]:
    """A Converse request with one block."""
    return CONVERSE, {"messages": [{"role": "user", "content": [block]}]}


CLAUDE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BLOB}}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": BLOB}]}


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (chat({"type": "image_url", "image_url": {"url": "data:image/png;base64," + BLOB}}), "image"),
        (chat({"type": "image_url", "image_url": BLOB}), "image"),
        (responses({"type": "input_image", "image_url": "data:image/png;base64," + BLOB}), "image"),
        ((RESPONSES, {"model": "m", "input": [OUTPUT]}), "image"),
        ((RESPONSES, {"model": "m", "input": [{"type": "image_generation_call", "result": BLOB}]}), "image"),
        (messages(CLAUDE), "image"),
        (messages({"type": "tool_result", "tool_use_id": "t", "content": [CLAUDE]}), "image"),
        (messages({"type": "document", "source": {"type": "content", "content": [CLAUDE]}}), "image"),
        ((INVOKE, {"anthropic_version": "b", "messages": [{"role": "user", "content": [CLAUDE]}]}), "image"),
        (gemini({"inlineData": {"mimeType": "image/png", "data": BLOB}}), "image"),
        (gemini({"inline_data": {"mime_type": "image/png", "data": BLOB}}), "image"),
        (
            gemini({"functionResponse": {"parts": [{"inlineData": {"mimeType": "image/png", "data": BLOB}}]}}),
            "image",
        ),
        (converse({"image": {"format": "png", "source": {"bytes": BLOB}}}), "image"),
        (converse({"toolResult": {"content": [{"image": {"source": {"bytes": BLOB}}}]}}), "image"),
        (converse({"guardContent": {"image": {"source": {"bytes": BLOB}}}}), "image"),
        ((INVOKE, {"prompt": "What is it?", "images": [BLOB]}), "image"),
        (chat({"type": "input_audio", "input_audio": {"data": BLOB, "format": "wav"}}), "audio"),
        (responses({"type": "input_audio", "input_audio": {"data": BLOB, "format": "mp3"}}), "audio"),
        (gemini({"inlineData": {"mimeType": "audio/wav", "data": BLOB}}), "audio"),
    ],
)
def test_images_inline(request_: tuple[str, object], kind: str) -> None:
    """The base64 of an image is not text, and the image has a bound of its own."""
    call = asked(*request_)
    assert call.media_in
    assert [item.kind for item in call.media] == [kind]
    assert call.input_tokens < 4_000


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (chat({"type": "image_url", "image_url": {"url": LINK}}), "image"),
        (responses({"type": "input_image", "image_url": LINK}), "image"),
        (responses({"type": "input_image", "file_id": "file-1"}), "image"),
        (messages({"type": "image", "source": {"type": "url", "url": LINK}}), "image"),
        (gemini({"fileData": {"mimeType": "image/png", "fileUri": "gs://b/o"}}), "image"),
        (converse({"image": {"source": {"s3Location": {"uri": "s3://b/o"}}}}), "image"),
    ],
)
def test_images_by_link(request_: tuple[str, object], kind: str) -> None:
    """An image by link or id is an image."""
    call = asked(*request_)
    assert (call.media_in, [item.kind for item in call.media]) == (True, [kind])


@pytest.mark.parametrize(
    "request_",
    [
        chat({"type": "input_audio", "input_audio": {"data": LINK, "format": "wav"}}),
        chat({"type": "file", "file": {"file_id": "file-1"}}),
        chat({"type": "video_url", "video_url": {"url": LINK}}),
        chat({"type": "of_next_year"}),
        (CHAT, {"model": "m", "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
        responses({"type": "input_file", "file_data": BLOB}),
        responses({"type": "input_file", "file_id": "file-1"}),
        (RESPONSES, {"model": "m", "input": [{"type": "item_reference", "id": "rs_1"}]}),
        (RESPONSES, {"model": "m", "input": "and?", "previous_response_id": "resp_1"}),
        (RESPONSES, {"model": "m", "input": "and?", "conversation": "conv_1"}),
        (RESPONSES, {"model": "m", "prompt": {"id": "pmpt_1"}}),
        messages({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": BLOB}}),
        messages({"type": "document", "source": {"type": "url", "url": LINK}}),
        messages({"type": "document", "source": {"type": "file", "file_id": "f"}}),
        messages({"type": "container_upload", "file_id": "f"}),
        messages({"type": "web_fetch_tool_result", "content": {}}),
        (MESSAGES, {"model": "m", "messages": [], "container": "container_1"}),
        gemini({"inlineData": {"mimeType": "application/pdf", "data": BLOB}}),
        gemini({"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}}),
        gemini({"fileData": {"fileUri": "files/x"}}),
        (GEMINI, {"contents": [], "cachedContent": "cachedContents/1"}),
        (GEMINI, {"contents": [], "cached_content": "cachedContents/1"}),
        converse({"document": {"format": "pdf", "source": {"bytes": BLOB}}}),
        converse({"document": {"format": "txt", "source": {"s3Location": {"uri": "s3://b/o"}}}}),
        converse({"video": {"source": {"bytes": BLOB}}}),
        (CONVERSE, {"promptVariables": {"a": {"text": "b"}}}),
        (INVOKE, {"inputText": "x", "mediaSource": {"s3Location": {}}}),
        ("/v1/embeddings", {"model": "m", "input": [{"type": "image_url", "image_url": LINK}]}),
        ("/v1/ocr", {"model": "m", "document": {"document_url": LINK}}),
    ],
)
def test_only_the_context_window_bounds(request_: tuple[str, object]) -> None:
    """Documents, sound, film and whatever is kept at the provider have no bound of their own."""
    call = asked(*request_)
    assert (call.media_in, call.unbounded_input) == (True, True)


@pytest.mark.parametrize(
    "request_",
    [
        chat({"type": "text", "text": BLOB}),
        chat({"type": "text", "text": "x", "image_url": None}),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": BLOB}]}),
        (CHAT, {"model": "m", "messages": [], "tools": [{"type": "function", "function": {"description": BLOB}}]}),
        (CHAT, {"model": "m", "messages": [], "metadata": {"image_url": BLOB}}),
        responses({"type": "input_text", "text": BLOB}),
        (RESPONSES, {"model": "m", "input": [{"type": "reasoning", "encrypted_content": BLOB}]}),
        messages({"type": "tool_use", "id": "t", "name": "n", "input": {"source": {"data": BLOB}}}),
        messages({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": BLOB}}),
        gemini({"inlineData": {"mimeType": "text/plain", "data": BLOB}}),
        gemini({"functionResponse": {"response": {"inlineData": {"mimeType": "image/png", "data": BLOB}}}}),
        converse({"document": {"format": "txt", "source": {"bytes": BLOB}}}),
        converse({"toolResult": {"content": [{"json": {"image": BLOB}}]}}),
        ("/v1/embeddings", {"model": "m", "input": BLOB}),
    ],
)
def test_what_looks_like_media_but_is_text(request_: tuple[str, object]) -> None:
    """Base64 that reaches the prompt as text counts as text, byte for byte."""
    path, body = request_
    call = asked(path, body)
    assert (call.media_in, call.media, call.unbounded_input) == (False, (), False)
    if BLOB in json.dumps(body):
        assert call.input_tokens >= len(BLOB)


@given(st.text(max_size=200), st.booleans())
def test_text_never_has_more_tokens_than_the_bound(text: str, ascii_only: bool) -> None:
    """Even where each byte of UTF-8 is a token, however the JSON is written."""
    text = text.encode("utf-8", "replace").decode()
    for path, body in (chat({"type": "text", "text": text}), gemini({"text": text}), converse({"text": text})):
        raw = json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode()
        assert asked(path, raw).input_tokens >= len(text.encode())


def test_tools_have_an_allowance() -> None:
    """What comes with tools unseen is allowed for, once and for each."""
    function = {"type": "function", "function": {"name": "f"}}
    one, two = (asked(CHAT, {"model": "m", "messages": [], "tools": [function] * count}) for count in (1, 2))
    none = asked(CHAT, {"model": "m", "messages": [], "tools": []})
    assert one.input_tokens - none.input_tokens > 1_000
    assert two.input_tokens - one.input_tokens > 64


def test_a_large_image_is_passed_over() -> None:
    """Six megabytes of base64 are read in milliseconds, and no object is made of them."""
    blob = base64.b64encode(random.Random(7).randbytes(4_500_000)).decode()
    path, body = chat({"type": "image_url", "image_url": {"url": "data:image/png;base64," + blob}})
    raw = json.dumps(body).encode()
    began = time.process_time()
    for _ in range(10):
        call = asked(path, raw)
    assert (time.process_time() - began) / 10 < 0.2
    assert call.input_tokens < 4_000
