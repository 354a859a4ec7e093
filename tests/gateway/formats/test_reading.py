"""What cannot be read is said in words; what need not be read is the provider's to judge; nothing hangs or breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paig_gateway.formats import reading
from paig_gateway.formats.base import Format, MalformedRequest, StreamEvent
from paig_gateway.formats.framing import FRAMINGS
from paig_gateway.formats.registry import FORMATS

NEEDS_MODEL = [
    form
    for form in FORMATS
    if form.metered
    and "P<model>" not in form.path.pattern
    and not form.later_look
    and not form.batch  # its lines name models
    # A conversation that goes on has a model already, a video a default one, and a guardrail needs none.
    and form.name not in ("mistral-conversations", "openai-videos", "bedrock-guardrail", "perplexity-search")
]
READ = [form for form in FORMATS if form.metered and not form.later_look]


def called(form: Format) -> str:
    """How a format is called in the tests' names."""
    return f"{form.name}-{form.framing}"


@pytest.mark.parametrize("form", READ, ids=called)
@pytest.mark.parametrize("body", [b"", b"not json", b'{"model":', b'{"a":1} x', b"\xff\xfe", b"[" * 100_000])
def test_not_json(form: Format, body: bytes) -> None:
    """A body that is not JSON is refused with the reason."""
    with pytest.raises(MalformedRequest, match=r"not JSON|must be a JSON object"):
        form.read("m", body)


@pytest.mark.parametrize("form", READ, ids=called)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7"])
def test_not_an_object(form: Format, body: bytes) -> None:
    """So is JSON that is no object."""
    with pytest.raises(MalformedRequest, match="must be a JSON object"):
        form.read("m", body)


@pytest.mark.parametrize("form", NEEDS_MODEL, ids=called)
@pytest.mark.parametrize("model", [None, 7, "", ["m"], {}])
def test_no_model(form: Format, model: Any) -> None:
    """A request that names no model is told how to name one."""
    with pytest.raises(MalformedRequest, match='"model"'):
        form.read(None, json.dumps({"model": model}).encode())


def test_duplicates_and_escapes() -> None:
    """The last of duplicate members counts, escaped names are names, halves of surrogate pairs do no harm."""
    chat = FORMATS[0]
    assert chat.read(None, b'{"model":"a","model":"b","messages":[]}').model == "b"
    assert chat.read(None, b'{"mod\\u0065l":"a"}').model == "a"
    call = chat.read(
        None, rb'{"model":"a","messages":[{"content":[{"type":"image_url","image_url":"\ud83d"}]}],"x":"\udc00"}'
    )
    assert call.media_in


NAMES = st.sampled_from(
    [
        *("model", "messages", "input", "content", "contents", "parts", "type", "tools", "tool_choice", "usage"),
        *("stream", "stream_options", "max_tokens", "n", "image_url", "source", "data", "text", "system", "choices"),
        *("delta", "response", "message", "usageMetadata", "candidates", "error", "bytes", "generationConfig"),
        *("inferenceConfig", "image", "document", "finish_reason", "finishReason", "stop_reason", "index", "output"),
        *("promptTokenCount", "cache_creation", "results", "tokenCount", "x_groq", "metadata", "instances", "prompt"),
    ]
)
WORDS = st.sampled_from(["text", "image", "message_delta", "message_start", "image_url", "response.completed", "error"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
OBJECTS = st.dictionaries(NAMES, JUNK, max_size=8)


@given(OBJECTS)
def test_any_types_are_accepted(members: dict[str, Any]) -> None:
    """Wrong types anywhere but in the model's name and the number of answers are no reason to refuse."""
    body = json.dumps({**members, "model": "m"}).replace("Infinity", "1e999").encode()
    for form in READ:
        try:
            call = form.read("m", body)
        except MalformedRequest:
            assert {"n", "best_of", "num_generations"} & members.keys()
            continue
        assert call.model == ("" if form.batch and not call.model else "m")
        assert call.input_tokens >= 0
        assert call.answers >= 1
        assert call.output_tokens is None or call.output_tokens >= 0
        assert call.unbounded_input or all(item.size >= 0 for item in call.media)


@given(OBJECTS, st.sampled_from(["", "error", "metadata", "chunk"]), st.booleans())
@example({"bytes": "\x80"}, "chunk", False)
def test_any_answer_is_read(members: dict[str, Any], name: str, exception: bool) -> None:
    """No event or body, however shaped, breaks what reads it."""
    data = json.dumps(members).replace("Infinity", "1e999").encode()
    for form in FORMATS:
        read_all(
            form,
            data,
            [
                StreamEvent(name, data, exception),
                StreamEvent(name, data),
                StreamEvent("", data[:-1]),
                StreamEvent("", b""),
            ],
        )


def read_all(form: Format, data: bytes, events: list[StreamEvent]) -> None:
    """Let a format read these events and this body in every way it can."""
    body: dict[str, object] = {}
    for one in events:
        if form.fold is not None:
            form.fold(body, one)
        if form.is_asked_only is not None:
            form.is_asked_only(one)
        if form.text is not None:
            assert isinstance(form.text(one), str)
    if form.asks is not None:
        form.asks(data)
    answer: Any = json.loads(data)
    for found in (body, answer):
        normal = form.normalise(found, "m", {}) if form.normalise is not None else found
        if form.context is not None:
            assert all(isinstance(value, str) for value in form.context(normal, {}).values())
        if form.work_id is not None:
            form.work_id(normal)


@pytest.mark.parametrize("framing", FRAMINGS)
@given(noise=st.binary(max_size=200), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_random_streams(framing: Any, noise: bytes, sizes: list[int]) -> None:
    """Random bytes are cut and read, or refused as what they are not: by ValueError and nothing else."""
    make, parse = FRAMINGS[framing]
    splitter = make()
    returned = b""
    fed_so_far = b""
    try:
        for size in sizes:
            piece, noise = noise[:size], noise[size:]
            fed_so_far += piece
            for raw in splitter.feed(piece):
                returned += raw
                parse(raw)
    except ValueError:
        assert returned + splitter.rest() == fed_so_far
    else:
        assert returned + splitter.rest() == fed_so_far


@pytest.mark.parametrize("raw", [b"true", b"1", b"1.0", b'"true"', b'"True"', b'"1"', b'"yes"', b'"on"'])
def test_what_lenient_servers_take_for_true(raw: bytes) -> None:
    """Pydantic's words for it, as vLLM reads them; only one of them is true to everybody."""
    assert reading.truth(raw)
    assert reading.literally(raw) is (raw == b"true")


@pytest.mark.parametrize("raw", [None, b"false", b"0", b"null", b'"false"', b'"no"', b"2", b"[]", b"[1]", b"{}", b'""'])
def test_values_that_are_not_true(raw: bytes | None) -> None:
    """Absent, false, or refused by all."""
    assert not reading.truth(raw)


@pytest.mark.parametrize(
    ("raws", "most"), [((b"5", b"7"), 7), ((b"5", None), 5), ((), None), ((b"0",), None), ((b"5", b"0"), None)]
)
def test_the_largest_bound(raws: tuple[bytes | None, ...], most: int | None) -> None:
    """A 0 is no bound to Google's and Ollama's servers."""
    assert reading.largest(*raws) == most
