"""The table of endpoints: every endpoint of today's SDKs has a row, and each row means what its path says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from paig_gateway.providers.endpoints import choose, detect, endpoints, matches, parse, unknown
from paig_gateway.providers.kinds import KINDS
from scripts.surface import surface, table, unlisted
from tests.gateway.formats.asking import form_of

VERTEX = "/v1/projects/p/locations/l"


def test_every_endpoint_of_the_sdks_has_a_row() -> None:
    """The surface is copied from the providers' own SDKs; nothing of it is unknown."""
    assert unlisted() == []


def test_inference_is_not_refused_and_only_accounts_are() -> None:
    """What is forbidden manages an account, its keys, its money or all its traffic; nothing else is."""
    words = ("organization", "compliance", "tunnels", "webhook", "service-accounts", "users", "whoami", "key")
    words += ("credits", "activity", "safety", "permissions", "/roles", "/groups", "billing", "oauth", "secrets")
    # OpenRouter's workspaces, Together's queue for all keys, Fireworks' and AWS's accounts.
    words += ("byok", "vault", "workspaces", "scim", "guardrails", "observability", "private-endpoints", "analytics")
    words += (
        "generation/",
        "presets",
        "queue/clear",
        "/v1/accounts",
        "/v1/projects",
        "tags",
        "tagResource",
        "untagResource",
        "listTags",
        "agreement",
    )
    words += ("data_retention", "data-retention", "logging", "resource-policy", "trusted-access", "use-case")
    words += ("enforcedGuardrails", "imported-models", "inference-profiles", "/projects")
    forbidden = [(api, path) for api, _, path, found in surface() if found and found.charging == "forbidden"]
    assert len(forbidden) > 200
    assert [path for _, path in forbidden if not any(word in path for word in words)] == []


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("openai", "POST", "/v1/vector_stores"),
        ("openai", "POST", "/v1/vector_stores/v/files"),
        ("openai", "POST", "/v1/containers"),
        ("openai", "POST", "/v1/agents/sessions"),
        ("openai", "POST", "/v1/agents/sessions/s/events"),
        ("openai", "POST", "/v1/threads/t/runs"),
        ("openai", "POST", "/v1/videos/v/remix"),
        ("openai", "POST", "/v1/realtime/client_secrets"),
        ("openai", "POST", "/v1/fine_tuning/jobs"),
        ("openai", "POST", "/v1/evals/e/runs"),
        ("anthropic", "POST", "/v1/sessions"),
        ("anthropic", "POST", "/v1/dreams"),
        ("anthropic", "POST", "/v1/deployments/d/run"),
        ("google", "POST", "/v1beta/cachedContents"),
        ("google", "POST", "/v1beta/environments"),
        ("google", "POST", "/v1beta/triggers/t/executions"),
        ("google", "POST", "/v1beta/interactions/i/auth_tokens"),
        ("google", "PATCH", "/v1beta/cachedContents/c"),
        ("google", "POST", "/v1beta/fileSearchStores"),
        ("google", "POST", "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore"),
        ("google", "POST", "/v1beta/models/lyria-002:predict"),
        ("google", "POST", "/v1beta/models/other-video:predictLongRunning"),
        ("google-vertex", "POST", f"{VERTEX}/ragCorpora"),
        ("google-vertex", "POST", f"{VERTEX}/reasoningEngines/r:query"),
        ("google-vertex", "POST", f"{VERTEX}/publishers/google/models/lyria-002:predict"),
        ("mistral", "POST", "/v1/classifications"),
        ("mistral", "POST", "/v1/libraries/l/documents"),
        ("bedrock", "POST", "/async-invoke"),
        ("xai", "POST", "/v1/videos/edits"),
        ("cohere", "POST", "/v2/parse"),
        ("cohere", "POST", "/v2/batches"),
        ("xai", "POST", "/v1/batches"),
        ("xai", "POST", "/v1/batches/b/requests"),
        ("openrouter", "POST", "/api/v1/batches"),
    ],
)
def test_what_costs_is_not_free(kind: str, method: str, path: str) -> None:
    """Storage, work in the background and sessions cost, and the gateway does not see what."""
    found = detect(method, path, kind)
    assert found is not None
    assert (found.endpoint.charging, found.format.metered, found.format.unmetered) == ("costly", False, True)


@pytest.mark.parametrize(
    ("kind", "method", "path", "name", "model"),
    [
        ("mistral", "POST", "/v1/agents/completions", "openai-chat", None),
        ("mistral", "POST", "/rawPredict", "openai-chat", None),
        ("mistral", "POST", "/v1/conversations", "mistral-conversations", None),
        ("mistral", "POST", "/v1/conversations/c/restart", "mistral-conversations", None),
        ("mistral", "POST", "/v1/chat/moderations", "mistral-moderations", None),
        ("azure", "POST", "/models/chat/completions", "openai-chat", None),
        ("azure", "POST", "/openai/deployments/w/audio/transcriptions", "openai-transcription", "w"),
        ("openai", "POST", "/v1/audio/speech", "openai-speech", None),
        ("groq", "POST", "/openai/v1/audio/translations", "openai-transcription", None),
        ("google", "POST", "/v1beta/interactions", "gemini-interactions", None),
        ("google", "POST", "/v1beta/decisions", "gemini-decisions", None),
        ("openai", "POST", "/v1/decisions", "openai-decisions", None),
        ("azure", "POST", "/providers/mistral/azure/ocr", "mistral-ocr", None),
        ("openrouter", "POST", "/api/v1/images", "openai-images", None),
        ("google-vertex", "POST", f"{VERTEX}/publishers/anthropic/models/c:rawPredict", "anthropic", "c"),
        ("google-vertex", "POST", f"{VERTEX}/publishers/meta/models/llama:rawPredict", "openai-chat", "llama"),
        ("google-vertex", "POST", f"{VERTEX}/publishers/mistralai/models/mistral-ocr-1:rawPredict", "mistral-ocr",
         "mistral-ocr-1"),
        ("google-vertex", "POST", f"{VERTEX}/publishers/google/models/text-embedding-5:predict", "gemini-embed",
         "text-embedding-5"),
        ("google-vertex", "POST", f"{VERTEX}/publishers/anthropic/models/count-tokens:rawPredict", "count-tokens",
         None),
        ("bedrock", "POST", "/model/m%3A0/converse", "bedrock-converse", "m:0"),
    ],
)  # fmt: skip
def test_other_paths_of_known_formats(kind: str, method: str, path: str, name: str, model: str | None) -> None:
    """A format is metered under every path that a provider gives it."""
    found = detect(method, path, kind)
    assert found is not None
    assert (found.format.name, found.model) == (name, model)


def test_one_path_is_another_endpoint_at_another_kind() -> None:
    """What is free at one provider may be billed at another."""
    assert [detect("POST", "/v1/moderations", kind).endpoint.charging for kind in ("openai", "mistral")] == [  # type: ignore[union-attr]
        "free",
        "metered",
    ]
    assert choose(matches("POST", "/v1/conversations"), ("mistral", "openai")).endpoint.charging == "metered"  # type: ignore[union-attr]


def test_another_api_of_the_same_path_is_not_taken_for_it() -> None:
    """Ollama's own API and Cohere's first one end like others."""
    found = [detect("POST", path, kind) for path, kind in (("/api/chat", "ollama"), ("/v1/chat", "cohere"))]
    assert [one.format.name for one in found if one] == ["ollama-chat", "cohere-chat-v1"]
    assert detect("POST", "/v2/chat", "cohere").format.name == "cohere-chat"  # type: ignore[union-attr]
    assert detect("POST", "/api/chat", "openai") is None
    assert detect("DELETE", "/api/delete", "ollama").endpoint.charging == "forbidden"  # type: ignore[union-attr]


def test_literal_words_come_before_ids() -> None:
    """`agents/sessions` is the list of sessions, not the agent of that name."""
    found = detect("GET", "/v1/agents/sessions", "openai")
    assert found is not None
    assert (found.endpoint.object, found.endpoint.operation("GET")) == ("session", "list")
    assert detect("GET", "/v1/agents/agent_1", "openai").endpoint.object == "agent"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("method", "path", "operation", "stored"),
    [
        ("POST", "/v1/files", "create", None),
        ("GET", "/v1/files", "list", None),
        ("HEAD", "/v1/files/f", "read", "f"),
        ("GET", "/v1/files/f/content", "read", "f"),
        ("DELETE", "/v1/files/f", "delete", "f"),
        ("POST", "/v1/uploads/u/parts", "change", "u"),
        ("GET", "/v1/containers/c/files/d/content", "read", "c"),
        ("DELETE", "/v1/vector_stores/v/files/f", "delete", "v"),
    ],
)
def test_operations(method: str, path: str, operation: str, stored: str | None) -> None:
    """What a request does to which stored object."""
    found = detect(method, path, "openai")
    assert found is not None
    assert (found.endpoint.operation(method), found.format.stored(path)) == (operation, stored)


def test_unknown_paths_never_reach_an_account() -> None:
    """An unknown endpoint may be allowed, but no spelling of what manages an account is one."""
    assert unknown("POST", "/v1/brand/new") is not None
    for path in ("/v1/Organization/x", "/v2/organizations/y", "/v1/%6frganization/x", "/v1/../x", "/v1/a%2f..%2fb"):
        assert unknown("POST", path) is None, path


def test_every_metered_format_has_a_row_of_its_own_path() -> None:
    """The path that the table shows for a format is one that the format itself claims."""
    for row in endpoints():
        assert row.methods <= row.format.methods, row.path
        assert row.kinds <= KINDS.keys()
        if row.charging in ("metered", "later"):
            assert row.format.metered, row.path
        else:
            assert (row.format.metered, row.format.unmetered) == (False, row.format.name == "unmetered")
    assert form_of("/v1/chat/completions").name == "openai-chat"


def test_rows_are_unique() -> None:
    """No row hides another."""
    rows = endpoints()
    seen = Counter((row.api, kind, method, row.path) for row in rows for kind in row.kinds for method in row.methods)
    assert [key for key, number in seen.items() if number > 1] == []


def test_a_line_that_is_not_a_row_is_an_error() -> None:
    """The table names the line."""
    with pytest.raises(ValueError, match="line 2"):
        parse("[x] openai: openai\nGET\n")
    with pytest.raises(ValueError, match="'cheap'"):
        parse("[x] openai: openai\nGET a cheap\n")
    (row,) = parse("[x] openai: openai\nGET a/{id} free thing\n")
    assert row.endpoint().operation("GET") == "read"


def test_the_page_is_in_step() -> None:
    """docs/endpoints.md holds the table as `scripts/surface.py` writes it."""
    page = (Path(__file__).parents[3] / "docs" / "endpoints.md").read_text("utf-8")
    assert table() in page
