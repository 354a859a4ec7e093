"""Gemini: what is asked in either case style, how cumulative counts merge, embeddings."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats.base import Json
from paig_gateway.formats.folding import provisional
from paig_gateway.formats.gemini import EMBED, GENERATE, STREAM
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked, event, fold, sse

PATH = "/v1beta/models/gemini-2.5-flash"


def ask(**members: Any) -> Any:
    """A request with these members, read."""
    return asked(f"{PATH}:generateContent", {"contents": [{"parts": [{"text": "hi"}]}], **members})


@pytest.mark.parametrize(
    ("config", "output", "answers"),
    [
        ({}, None, 1),
        ({"maxOutputTokens": 10}, 10, 1),
        ({"max_output_tokens": 10}, 10, 1),
        ({"maxOutputTokens": 10, "candidateCount": 3}, 30, 3),
        ({"max_output_tokens": 10, "candidate_count": 3}, 30, 3),
        ({"maxOutputTokens": "10", "candidateCount": "2"}, None, 2),
        ({"maxOutputTokens": 10, "max_output_tokens": 8000}, 8000, 1),
        ({"maxOutputTokens": 0}, None, 1),
        ({"maxOutputTokens": 10, "max_output_tokens": 0}, None, 1),
    ],
)
@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
def test_output(name: str, config: dict[str, Any], output: int | None, answers: int) -> None:
    """The output's maximum, times the candidates."""
    call = ask(**{name: config})
    assert (call.output_tokens, call.answers) == (output, answers)


@pytest.mark.parametrize(
    ("tools", "unbounded", "searches"),
    [
        ([{"functionDeclarations": [{"name": "f"}]}], False, 0),
        ({"function_declarations": [{"name": "f"}]}, False, 0),
        ([{"computerUse": {}}], False, 0),
        ([{"googleSearch": {}}], True, 1),
        ([{"google_search_retrieval": {}}], True, 1),
        ([{"urlContext": {}}], True, 0),
        ([{"codeExecution": {}}], True, 0),
        ([{"fileSearch": {}}], True, 1),
    ],
)
def test_tools_of_the_server(tools: Any, unbounded: bool, searches: int) -> None:
    """What runs at Google may grow the input."""
    call = ask(tools=tools)
    assert (call.unbounded_tools, call.searches) == (unbounded, searches)


@pytest.mark.parametrize("small_first", [True, False])
def test_both_spellings_at_once(small_first: bool) -> None:
    """Which of them counts is Google's to say: the dearer reading bounds the request."""
    camel, snake = ({"maxOutputTokens": 1}, {"max_output_tokens": 9000, "candidate_count": 2})
    if not small_first:
        camel, snake = ({"maxOutputTokens": 9000, "candidateCount": 2}, {"max_output_tokens": 1})
    call = ask(
        generationConfig={**camel, "responseModalities": ["TEXT"]},
        generation_config={**snake, "response_modalities": ["AUDIO"]},
        serviceTier="standard",
        service_tier="PRIORITY",
    )
    assert (call.output_tokens, call.answers, call.media_out) == (18000, 2, True)
    assert call.service_tier == "priority"


def test_media_of_two_types_is_the_dearer() -> None:
    """What says that it is an image and a film is bounded as a film."""
    blob = {"mimeType": "image/png", "mime_type": "video/mp4", "data": "AAAA"}
    assert ask(contents=[{"parts": [{"inlineData": blob}]}]).unbounded_input
    assert ask(contents=[{"parts": [{"inlineData": {}, "inline_data": blob}]}]).unbounded_input


def test_the_path_says_what_streams() -> None:
    """Whether the answer is a stream is in the path, and so is the model."""
    assert not ask().stream
    call = asked(f"{PATH}:streamGenerateContent", {"contents": []})
    assert (call.stream, call.model) == (True, "gemini-2.5-flash")


def test_images_may_come_unless_text_is_asked_for() -> None:
    """Image models answer with images unless told otherwise."""
    assert ask().media_out
    assert not ask(generationConfig={"responseModalities": ["TEXT"]}).media_out
    assert ask(generationConfig={"responseModalities": ["TEXT", "IMAGE"]}).media_out


def test_service_tier() -> None:
    """The tier asked for is read in lower case."""
    assert ask(serviceTier="PRIORITY").service_tier == "priority"
    assert ask(service_tier="flex").service_tier == "flex"
    assert ask().service_tier is None


def chunk(usage: Any = None, *, finish: str | None = None, index: int = 0, **members: Any) -> bytes:
    """A raw chunk."""
    candidate = {"index": index, "content": {"parts": [{"text": "hi"}]}, **({"finishReason": finish} if finish else {})}
    metadata = {"usageMetadata": usage} if usage is not None else {}
    return sse({"candidates": [candidate], **metadata, "modelVersion": "gemini-2.5-flash-001", **members})


FIRST = {
    "promptTokenCount": 15,
    "toolUsePromptTokenCount": 770,
    "candidatesTokenCount": 4,
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
    "thoughtsTokenCount": 100,
    "trafficType": "ON_DEMAND",
}


def counts(body: Json) -> dict[str, int | float] | None:
    """What genai-prices reads from a body."""
    found = extract(body, provider="google", flavor="default", home="google")
    return {name: found.usage[name] for name in ("input_tokens", "output_tokens")} if found else None


def test_later_chunks_may_drop_fields() -> None:
    """Fields that a later chunk leaves out stay as they were; parts of a count told again do not."""
    body = fold(STREAM, [chunk(FIRST), chunk({"promptTokenCount": 15, "candidatesTokenCount": 9}, finish="STOP")])
    assert body["usageMetadata"] == {
        **{name: value for name, value in FIRST.items() if name != "candidatesTokensDetails"},
        "candidatesTokenCount": 9,
    }
    assert counts(body) == {"input_tokens": 785, "output_tokens": 109}
    assert body["modelVersion"] == "gemini-2.5-flash-001"


def test_stubs_are_no_usage() -> None:
    """Usage with nothing but the kind of traffic is none, first or last."""
    stub = {"trafficType": "ON_DEMAND_PRIORITY"}
    assert "usageMetadata" not in fold(STREAM, [chunk(stub), chunk(stub, finish="STOP")])
    body = fold(STREAM, [chunk(stub), chunk(FIRST, finish="STOP"), chunk(stub)])
    assert counts(body) == {"input_tokens": 785, "output_tokens": 104}
    assert STREAM.context is not None
    assert STREAM.context(body, {}) == {"service_tier": "priority"}


def test_final_with_a_finish_reason_of_each_candidate() -> None:
    """A stream that is cut has only what is known so far."""
    stream = [chunk(FIRST), chunk(FIRST, index=1), chunk(FIRST, finish="STOP")]
    body = fold(STREAM, stream)
    assert "usageMetadata" not in body
    assert counts(provisional(body)) == {"input_tokens": 785, "output_tokens": 104}
    assert "usageMetadata" in fold(STREAM, [*stream, chunk(FIRST, finish="MAX_TOKENS", index=1)])


def test_usage_after_the_finish() -> None:
    """Usage may come with or after the finish reason."""
    body = fold(STREAM, [chunk(finish="STOP"), sse({"usageMetadata": FIRST})])
    assert counts(body) == {"input_tokens": 785, "output_tokens": 104}


def test_a_blocked_prompt() -> None:
    """A prompt that is blocked has been read, and has no candidates."""
    body = fold(STREAM, [sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}})])
    assert counts(body) == {"input_tokens": 7, "output_tokens": 0}


def test_an_error_in_a_stream() -> None:
    """An error under HTTP 200 is kept."""
    error = {"code": 503, "status": "UNAVAILABLE"}
    assert fold(STREAM, [chunk(FIRST), sse({"error": error})])["error"] == error


@pytest.mark.parametrize(
    ("body", "headers", "tier"),
    [
        ({}, {"x-gemini-service-tier": "FLEX"}, "flex"),
        ({"usageMetadata": {"serviceTier": "priority"}}, {}, "priority"),
        ({"usageMetadata": {"trafficType": "ON_DEMAND_FLEX"}}, {}, "flex"),
        ({"usageMetadata": {"trafficType": "ON_DEMAND"}}, {}, "standard"),
        ({"usageMetadata": {"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}}, {}, None),
        ({"usageMetadata": {"trafficType": "PROVISIONED_THROUGHPUT"}}, {}, "provisioned_throughput"),
    ],
)
def test_tier_of_an_answer(body: Any, headers: dict[str, str], tier: str | None) -> None:
    """The tier is in a header, in the usage, or told by the kind of traffic."""
    assert GENERATE.context is not None
    assert GENERATE.context(body, headers) == ({"service_tier": tier} if tier else {})


def test_text() -> None:
    """Text, thoughts, code and calls count."""
    parts = [
        {"text": "a", "thought": True},
        {"executableCode": {"code": "b"}},
        {"functionCall": {"name": "f", "args": {}}},
    ]
    assert GENERATE.text is not None
    assert GENERATE.text(event({"candidates": [{"content": {"parts": parts}}]})) == "abf{}"


def test_embeddings() -> None:
    """One text, a batch, or Vertex AI's instances; none puts out tokens."""
    one = asked(f"{PATH}:embedContent", {"content": {"parts": [{"text": "hi"}]}})
    batch = asked(f"{PATH}:batchEmbedContents", {"requests": [{"content": {"parts": [{"text": "hi"}]}}] * 3})
    vertex = asked("/v1/publishers/google/models/text-embedding-005:predict", {"instances": [{"content": "hi"}] * 2})
    assert [call.answers for call in (one, batch, vertex)] == [1, 3, 2]
    assert [call.output_tokens for call in (one, batch, vertex)] == [0, 0, 0]
    image = asked(
        f"{PATH}:embedContent", {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}
    )
    assert image.media_in


def test_predictions_are_summed() -> None:
    """Vertex AI counts tokens per prediction."""
    predictions = [{"embeddings": {"statistics": {"token_count": count}, "values": []}} for count in (3, 4.0)]
    assert EMBED.normalise is not None
    assert counts(EMBED.normalise({"predictions": predictions}, "m", {})) == {"input_tokens": 7, "output_tokens": 0}
    assert EMBED.normalise({"predictions": [{}]}, "m", {}) == {"predictions": [{}]}
