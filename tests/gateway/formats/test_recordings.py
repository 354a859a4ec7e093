"""Recorded traffic of real providers: each interaction is claimed, bounded, cut, folded and spliced right.

What is expected is worked out here a second time, plainly and from the whole answer, and read by genai-prices.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paig_gateway.formats.base import Format, StreamEvent
from paig_gateway.formats.folding import provisional
from paig_gateway.formats.framing import FRAMINGS, framing_of
from paig_gateway.formats.splice import splice_cost, splice_event
from paig_gateway.pricing.media_tokens import media_tokens
from paig_gateway.pricing.usage import Extracted, extract
from paig_gateway.providers.endpoints import detect
from tests.gateway.formats.cutting import fed
from tests.recordings import Recording, recordings, unspliced

PRICES = {"bedrock": "aws", "bedrock-mantle": "aws", "google-vertex": "google"}


def ids(recording: Recording) -> str:
    """How a recording is called in the tests' names."""
    return f"{recording.file}-{recording.id}"


def claim(recording: Recording) -> Format:
    """The format that claims a recording."""
    found = detect(recording.method, recording.path)
    assert found is not None, f"no format claims {recording.method} {recording.path}"
    return found[0]


METERED = [one for one in recordings() if (found := detect(one.method, one.path)) and found[0].metered]
STREAMS = [one for one in METERED if one.stream and one.status == 200]
BODIES = [one for one in METERED if not one.stream and one.response_body.startswith(b"{")]


def usage_of(recording: Recording, form: Format, body: Any) -> Extracted | None:
    """What genai-prices reads from a body of the shape that `form` answers in."""
    found = detect(recording.method, recording.path)
    if form.normalise is not None:
        body = form.normalise(body, (found[1] if found else None) or "", recording.response_headers)
    provider = PRICES.get(recording.provider, recording.provider)
    return extract(body, provider=provider, flavor=form.flavor, home=form.home)


def folded(form: Format, events: list[bytes], framing: Any) -> dict[str, object]:
    """The events that the marker picks, folded."""
    assert form.usage_marker is not None
    assert form.fold is not None
    body: dict[str, object] = {}
    for raw in events:
        if form.usage_marker.search(raw):
            form.fold(body, FRAMINGS[framing][1](raw))
    return body


def events_of(recording: Recording, sizes: list[int]) -> tuple[list[bytes], Any]:
    """A stream's raw events, an unfinished last one included, when it comes in pieces of these sizes."""
    framing = framing_of(recording.content_type)
    assert framing is not None
    events, rest = fed(FRAMINGS[framing][0](), recording.response_body, sizes)
    assert b"".join(events) + rest == recording.response_body
    return [*events, rest] if rest else events, framing


def payloads(recording: Recording) -> Iterator[Any]:
    """The JSON of a stream's events, told apart in the plainest way."""
    if "vnd.amazon" in recording.content_type:
        body = recording.response_body
        while body:
            size, headers = int.from_bytes(body[:4]), int.from_bytes(body[4:8])
            said = json.loads(body[12 + headers : size - 4])
            yield json.loads(base64.b64decode(said["bytes"])) if "bytes" in said else said
            body = body[size:]
        return
    for line in recording.response_body.decode().splitlines():
        if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
            yield json.loads(line[5:])


def whole_answer(recording: Recording) -> Any:
    """The body that the call without a stream would have returned, as far as it has usage; None where it had none."""
    answer: dict[str, Any] | None = None
    started: dict[str, Any] = {}
    for said in payloads(recording):
        if said.get("type") == "message_start":
            started = said["message"]
        elif said.get("type") == "message_delta":
            answer = {**started, "usage": {**started["usage"], **said["usage"]}}
        elif said.get("type") == "message-end":
            answer = said["delta"]
        elif said.get("type") in ("response.completed", "response.incomplete", "response.failed"):
            answer = said["response"]
        elif said.get("usageMetadata"):
            answer = {**(answer or {}), **said}
        elif said.get("usage") and "type" not in said:
            answer = said
        elif (said.get("x_groq") or {}).get("usage"):
            answer = {**said, "usage": said["x_groq"]["usage"]}
    return answer


def test_there_are_some() -> None:
    """The recordings are in place."""
    assert len(STREAMS) >= 20
    assert len(BODIES) >= 50


@pytest.mark.parametrize("recording", recordings(), ids=ids)
def test_each_is_claimed_and_read(recording: Recording) -> None:
    """Each request is claimed by a format, and its model and what it asks are read from it."""
    found = detect(recording.method, recording.path)
    assert found is not None
    form, model, _ = found
    call = form.read(model, recording.request_body)
    try:
        asked = json.loads(recording.request_body)
    except ValueError:
        return
    if form.metered:
        assert call.model == (model or asked.get("model"))
        assert call.stream == recording.stream or recording.status != 200


@pytest.mark.parametrize("recording", METERED, ids=ids)
def test_input_stays_within_its_bound(recording: Recording) -> None:
    """What was used is never more than what the request alone told."""
    form = claim(recording)
    model = detect(recording.method, recording.path)
    call = form.read(model[1] if model else None, recording.request_body)
    if form.later_look or call.unbounded_tools or call.unbounded_input:
        return
    answer = whole_answer(recording) if recording.stream else _json(recording.response_body)
    found = usage_of(recording, form, answer) if isinstance(answer, dict) else None
    if found is not None:
        # OpenRouter passes on to servers with prompts of their own, for which the table of kinds has an allowance.
        hidden = 1024 if recording.provider == "openrouter" else 0
        media = sum(media_tokens(item, call.model) or 0 for item in call.media)
        assert found.usage["input_tokens"] <= call.input_tokens + media + hidden
        assert call.output_tokens is None or found.usage["output_tokens"] <= call.output_tokens


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
def test_a_stream_folds_into_its_whole_answer(recording: Recording) -> None:
    """Usage and model are what genai-prices reads from the answer that the stream amounts to."""
    form = claim(recording)
    events, framing = events_of(recording, [len(recording.response_body)])
    body = folded(form, events, framing)
    answer = whole_answer(recording)
    if answer is None:
        assert usage_of(recording, form, body) is None
        return
    found, expected = usage_of(recording, form, body), usage_of(recording, form, answer)
    assert found is not None
    assert expected is not None
    assert (found.usage, found.model) == (expected.usage, expected.model)
    if form.context is not None:
        headers = recording.response_headers
        assert form.context(body, headers) == form.context(answer, headers)


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_chunks_make_no_difference(recording: Recording, data: st.DataObject) -> None:
    """However a stream is torn apart, the same events come out of it."""
    whole, _ = events_of(recording, [len(recording.response_body)])
    sizes = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=30))
    assert events_of(recording, sizes)[0] == whole


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
def test_byte_by_byte(recording: Recording) -> None:
    """A stream that comes byte by byte, line ends and checksums torn, folds the same."""
    form = claim(recording)
    whole, framing = events_of(recording, [len(recording.response_body)])
    single, _ = events_of(recording, [1])
    assert folded(form, single, framing) == folded(form, whole, framing)


ITEMS = re.compile(rb"output_item\.done|content_block_start")
"""Events that tell once of each item what it is: a search, say, which is billed."""


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
def test_few_events_are_parsed(recording: Recording) -> None:
    """The marker picks the events that matter: a handful, but for Gemini, whose every chunk has usage."""
    form = claim(recording)
    assert form.usage_marker is not None
    events, _ = events_of(recording, [len(recording.response_body)])
    picked = sum(form.usage_marker.search(raw) is not None and not ITEMS.search(raw) for raw in events)
    assert picked <= 3 or form.name == "gemini"


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
def test_a_stream_cut_short(recording: Recording) -> None:
    """Cut anywhere before its usage is final, a stream has none; what it is known to have used is never more."""
    form = claim(recording)
    events, framing = events_of(recording, [len(recording.response_body)])
    complete = usage_of(recording, form, folded(form, events, framing))
    seen_final = False
    for end in range(len(events)):
        body = folded(form, events[:end], framing)
        found = usage_of(recording, form, body)
        if found is not None:
            assert complete is not None
            assert found.usage == complete.usage
            seen_final = True
            continue
        assert not seen_final
        partial = usage_of(recording, form, provisional(body))
        if partial is not None and complete is not None:
            assert all(count <= complete.usage[name] for name, count in partial.usage.items())


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
def test_text_of_a_stream(recording: Recording) -> None:
    """What the model says is found, and none of it twice, in a stream as in its whole answer."""
    form = claim(recording)
    assert form.text is not None
    events, framing = events_of(recording, [len(recording.response_body)])
    said = "".join(form.text(FRAMINGS[framing][1](raw)) for raw in events)
    assert said or "error" in folded(form, events, framing)
    if form.name == "openai-responses":
        whole = form.text(StreamEvent("", json.dumps(whole_answer(recording)).encode()))
        assert len(whole) * 0.5 <= len(said) <= len(whole) * 1.5


@pytest.mark.parametrize("recording", STREAMS, ids=ids)
def test_splicing_streams(recording: Recording) -> None:
    """The cost goes into the events with usage, the JSON around it stays, and taking it out restores each byte."""
    form = claim(recording)
    if not form.splice_streams:
        assert form.framing != "sse" or form.home == "google"
        return
    events, _ = events_of(recording, [len(recording.response_body)])
    spliced = [splice_event(raw, form.usage_paths, "0.0042") for raw in events]
    changed = [raw for raw, before in zip(spliced, events, strict=True) if raw != before]
    assert b"".join(map(unspliced, spliced)) == recording.response_body
    if whole_answer(recording) is not None:
        assert changed
    again = replace(recording, response_body=b"".join(spliced))
    found, expected = whole_answer(again), whole_answer(recording)
    if expected is not None:
        assert found["usage"].pop("logfire_ai_gateway") == {"cost": "0.0042"}
        assert found["usage"].pop("pydantic_ai_gateway") == {"cost_estimate": 0.0042}
        assert found == expected


@pytest.mark.parametrize("recording", BODIES, ids=ids)
def test_splicing_bodies(recording: Recording) -> None:
    """A body with usage where the format keeps it gets the cost there; any other stays as it is."""
    form = claim(recording)
    body = recording.response_body
    spliced = splice_cost(body, form.usage_paths, "0.0042")
    before, after = json.loads(body), json.loads(spliced)
    if form.usage_paths and isinstance(before.get("usage"), dict):
        before["usage"]["logfire_ai_gateway"] = {"cost": "0.0042"}
        before["usage"]["pydantic_ai_gateway"] = {"cost_estimate": 0.0042}
    assert after == before
    if "hosted-gateway" not in recording.file:
        assert unspliced(spliced) == body


@pytest.mark.parametrize("recording", BODIES, ids=ids)
def test_usage_of_bodies(recording: Recording) -> None:
    """An answer's usage is read wherever the provider put it: only refusals and unfinished work have none."""
    form = claim(recording)
    body = json.loads(recording.response_body)
    found = usage_of(recording, form, body)
    counted = body.get("usage") or body.get("usageMetadata") or body.get("meta", {}).get("billed_units")
    assert (found is not None) == bool(counted)
    if found is not None:
        assert found.usage["input_tokens"] > 0
