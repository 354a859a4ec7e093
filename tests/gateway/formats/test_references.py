"""Which stored objects a body names: what a provider looks up, and not what a client says of itself."""

from __future__ import annotations

import json

import pytest

from paig_gateway.formats.references import stored_ids


@pytest.mark.parametrize("place", ["metadata", "client_metadata", "labels", "arguments", "properties"])
@pytest.mark.parametrize("name", ["thread_id", "conversation_id", "previous_response_id", "file_id"])
def test_what_a_client_says_of_itself_names_nothing(place: str, name: str) -> None:
    """Coding agents put ids of their own into metadata, under the names of a provider's objects; Codex always does."""
    body = {"model": "gpt-5", "input": "Hello", place: {name: "01a22c3f-d571-75e0-b0dd-8dceaf50445a"}}
    assert stored_ids(json.dumps(body).encode()) == []


def test_the_same_names_elsewhere_do() -> None:
    """Beside such members, and inside messages, they count."""
    content = [{"type": "input_file", "file_id": "file-1"}]
    body = {
        "previous_response_id": "resp_1",
        "client_metadata": {"thread_id": "of its own"},
        "input": [{"role": "user", "content": content}],
    }
    assert sorted(stored_ids(json.dumps(body).encode())) == ["file-1", "resp_1"]


@pytest.mark.parametrize(
    "place",
    [
        *("https://example.org/v2/x.pdf", "gs://bucket/x", "https://www.youtube.com/watch?v=1"),
        *("https://a.b/c/files.html", "gs://bucket/files/x", "s3://bucket/files/x", "https://a.b/files/report.pdf"),
    ],
)
@pytest.mark.parametrize("name", ["fileUri", "uri"])
def test_places_elsewhere_are_no_stored_objects(name: str, place: str) -> None:
    """Buckets and web pages belong to no owner here."""
    assert stored_ids(json.dumps({"contents": [{name: place}]}).encode()) == []


def test_what_a_dashboard_makes_is_for_all_keys() -> None:
    """OpenAI's stored prompts and workflows are not made through its API."""
    body = {"prompt": {"id": "pmpt_1", "version": "2"}, "workflow": {"id": "wf_1"}}
    assert stored_ids(json.dumps(body).encode()) == []


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ({"type": "file_content", "content": [{"item": {"x": 1}}]}, []),
        ({"type": "file_id", "id": "file-1"}, ["file-1"]),
        ({"type": "responses", "model": "gpt-5"}, ["all responses"]),
        ({"type": "file_content", "data_source": 1, "source": {"type": "responses"}}, ["all responses"]),
    ],
)
def test_an_eval_may_run_on_responses_that_come_along(source: object, named: list[str]) -> None:
    """Its data source has the same type, whether its items are in the request or are all of the account's."""
    body = {"data_source": {"type": "responses", "source": source}}
    assert stored_ids(json.dumps(body).encode()) == named


def test_text_is_no_id() -> None:
    """Prompts, voices and audio settings have the names of stored objects, too."""
    body = {"prompt": "a cat", "voice": "alloy", "audio": {"voice": "alloy", "format": "wav"}, "agent": "deep-research"}
    assert stored_ids(json.dumps(body).encode()) == []


@pytest.mark.parametrize("place", ["https://generativelanguage.googleapis.com/files/x", "https://a.b/v1beta/files/x"])
def test_a_file_at_google_is_one(place: str) -> None:
    """Also where another host speaks Google's API, and whatever stands behind the id."""
    for end in ("", ":download", "?alt=media", "/"):
        assert stored_ids(json.dumps({"contents": [{"fileUri": place + end}]}).encode()) != []


NAMED = {"file_id": "f", "agent_id": "a", "conversation_id": "c", "prompt": {"id": "p"}, "video": {"id": "v"}}


@pytest.mark.parametrize(
    "content",
    [
        {"toolUse": {"toolUseId": "t", "name": "read", "input": NAMED}},
        {"toolUse": {"toolUseId": "t", "name": "read", "input": NAMED, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "t", "content": [{"json": NAMED}], "status": "success"}},
        {"type": "tool_use", "id": "t", "name": "read", "input": NAMED},
        {"functionCall": {"name": "read", "args": NAMED}},
        {"functionResponse": {"id": "1", "name": "read", "response": NAMED}},
        {"type": "function_result", "name": "read", "call_id": "1", "result": NAMED},
        {"function": {"name": "read", "arguments": NAMED}},
        {"call": {"name": "read", "parameters": NAMED}, "outputs": [NAMED]},
        {"documents": [{"title": "x", **NAMED}]},
        {"documents": [{"id": "d", "data": NAMED}]},
        {"type": "document", "document": {"id": "d", "data": NAMED}},
        {"type": "file_search_call", "id": "fs", "queries": ["x"], "results": [{"attributes": NAMED, **NAMED}]},
    ],
)
def test_what_tools_and_documents_say_names_nothing(content: object) -> None:
    """Arguments, results and documents are the client's own, under names of its own choice, in every API."""
    body = {"messages": [{"role": "user", "content": [content]}]}
    assert stored_ids(json.dumps(body).encode()) == []


@pytest.mark.parametrize(
    "content",
    [
        {"type": "function_result", "name": "f", "call_id": "1", "result": {"items": [{"type": "image", **NAMED}]}},
        {"type": "function_result", "name": "f", "call_id": "1", "result": [{"type": "image", **NAMED}]},
        {"functionResponse": {"name": "f", "response": {}, "parts": [{"fileData": NAMED}]}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": NAMED}]},
        {"documents": [{"type": "file", **NAMED}]},
        {"toolUseId": "t", "model": "m", "input": [NAMED]},
        {"type": "tool_use", "name": "x", "model": "m", "input": [NAMED]},
    ],
)
def test_contents_inside_results_count(content: object) -> None:
    """A provider looks up the pictures and files that a result brings, and reads a request within a request."""
    body = {"messages": [{"role": "user", "content": [content]}]}
    assert "f" in stored_ids(json.dumps(body).encode())
