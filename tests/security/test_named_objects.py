"""What a request names at the provider, in every spelling, and what it only mentions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paig_gateway.formats.references import stored_ids
from paig_gateway.proxy.headers import to_upstream

SEALED = "gAAAA" * 20
THOUGHT = {"type": "reasoning_text", "text": "hm"}
SUMMARY = {"type": "summary_text", "text": "hm"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
SAID = {"type": "output_text", "text": "x", "annotations": []}


def ids(**body: Any) -> list[str]:
    return stored_ids(json.dumps({"model": "gpt-5", **body}).encode())


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEALED},
        {"type": "reasoning", "id": "rs_1", "summary": [SUMMARY], "content": [THOUGHT], "encrypted_content": None},
        {"type": "reasoning", "summary": [SUMMARY], "content": None, "encrypted_content": SEALED},
        {"type": "reasoning", "summary": [SUMMARY]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [SAID]},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "x", "tools": []},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": SEALED},
        CALL,
        SEARCH,
    ],
    ids=lambda item: item["type"],
)
def test_items_that_clients_send_back_whole(item: dict[str, Any]) -> None:
    """As the OpenAI SDKs, Codex and pydantic-ai do, with `store` false too: the provider looks nothing up."""
    assert ids(input=[item, {"role": "user", "content": "Go on"}], store=False) == []


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference"},
        {"type": "ITEM_REFERENCE"},
        {"type": None},
        {},
        {"type": "reasoning", "summary": [SUMMARY]},
        {"type": "reasoning", "summary": [], "encrypted_content": None},
        {"type": "reasoning", "summary": [], "encrypted_content": ""},
        {"type": "reasoning", "summary": [], "content": [], "encrypted_content": "  "},
        {"type": "message"},
        {"type": "message", "role": "assistant", "status": "completed"},
        {"type": "function_call"},
        {"type": "web_search_call"},
        {"type": "image_generation_call", "status": "completed", "result": None},
        {"type": "file_search_call", "queries": ["x"], "results": []},
    ],
    ids=str,
)
def test_items_that_stand_for_stored_ones(item: dict[str, Any]) -> None:
    """They have an id and nothing of their own, so the provider would fetch what it keeps under that id."""
    assert ids(input=[{**item, "id": "theirs"}]) == ["theirs"]


GEMINI = "https://generativelanguage.googleapis.com"


@pytest.mark.parametrize(
    "place",
    [
        f"{GEMINI}/v1beta/files/theirs", f" {GEMINI}/v1beta/files/theirs", f"{GEMINI}:443/v1beta/files/theirs",
        f"{GEMINI}./v1beta/files/theirs", f"{GEMINI.upper()}/v1beta/files/theirs", "files/theirs",
        "https://x@generativelanguage.googleapis.com/v1beta/files/theirs", f"{GEMINI}/v1beta/%66iles/theirs",
        "https://generativelanguage.mtls.googleapis.com/v1beta/files/theirs",
    ],
)  # fmt: skip
def test_places_of_files(place: str) -> None:
    """However the address is written."""
    part = {"fileData": {"fileUri": place, "mimeType": "image/png"}}
    assert ids(contents=[{"parts": [part]}]) == ["theirs"]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("characters[0][id]", True), ("characters.0.id", True), ("input_reference[file_id]", True),
        ("image[0][file_id]", True), ("voice[id]", True), ("voice", False), ("prompt", False),
    ],
)  # fmt: skip
def test_fields_of_forms(name: str, named: bool) -> None:
    """Objects in forms, in both ways of writing them; a plain voice is a well-known name."""
    part = f'--XB\r\nContent-Disposition: form-data; name="{name}"\r\n\r\ntheirs\r\n--XB--\r\n'
    assert stored_ids(part.encode()) == (["theirs"] if named else [])


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("anthropic-container", False), ("anthropic-container-id", False), ("anthropic-workspace-id", False),
        ("openai-organization", False), ("openai-organisation", False), ("openai-account-id", False),
        ("anthropic-beta", True), ("anthropic-version", True), ("openai-beta", True),
    ],
)  # fmt: skip
def test_headers_choose_no_object_and_no_account(name: str, passes: bool) -> None:
    """Owners are checked in bodies and paths, so a header that would name an object does not pass."""
    assert bool(to_upstream([(name.encode(), b"x")])) is passes
