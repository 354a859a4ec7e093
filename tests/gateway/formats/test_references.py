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
    ["https://example.org/v2/x.pdf", "gs://bucket/x", "https://www.youtube.com/watch?v=1", "https://a.b/c/files.html"],
)
@pytest.mark.parametrize("name", ["fileUri", "uri"])
def test_places_elsewhere_are_no_stored_objects(name: str, place: str) -> None:
    """Buckets and web pages belong to no owner here."""
    assert stored_ids(json.dumps({"contents": [{name: place}]}).encode()) == []


def test_what_a_dashboard_makes_is_for_all_keys() -> None:
    """OpenAI's stored prompts and workflows are not made through its API."""
    body = {"prompt": {"id": "pmpt_1", "version": "2"}, "workflow": {"id": "wf_1"}}
    assert stored_ids(json.dumps(body).encode()) == []


def test_text_is_no_id() -> None:
    """Prompts, voices and audio settings have the names of stored objects, too."""
    body = {"prompt": "a cat", "voice": "alloy", "audio": {"voice": "alloy", "format": "wav"}, "agent": "deep-research"}
    assert stored_ids(json.dumps(body).encode()) == []
