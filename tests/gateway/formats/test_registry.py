"""Every spelling of a path finds its format; what is not known is not claimed."""

from __future__ import annotations

import pytest

from paig_gateway.formats.registry import FORMATS, names
from paig_gateway.providers.endpoints import detect

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
VERTEX = "/v1beta1/projects/p/locations/global/publishers"


def claimed(method: str, path: str) -> tuple[str, str | None] | None:
    """The name of the format that claims a request, and the model in its path."""
    found = detect(method, path)
    return (found[0].name, found[1]) if found else None


@pytest.mark.parametrize(
    ("path", "name", "model"),
    [
        ("/chat/completions", "openai-chat", None),
        ("/v1/chat/completions", "openai-chat", None),
        ("/v1/chat/completions/", "openai-chat", None),
        ("/openai/v1/chat/completions", "openai-chat", None),
        ("/api/paas/v4/chat/completions", "openai-chat", None),
        ("/nebius/v1/chat/completions", "openai-chat", None),
        ("/v1beta/openai/chat/completions", "openai-chat", None),
        ("/openai/deployments/my%20gpt/chat/completions", "openai-chat", "my gpt"),
        ("/v1/fim/completions", "openai-chat", None),
        ("/v1/completions", "openai-completions", None),
        ("/openai/deployments/d/completions", "openai-completions", "d"),
        ("/responses", "openai-responses", None),
        ("/openai/v1/responses", "openai-responses", None),
        ("/v1/responses/compact", "openai-responses-compact", None),
        ("/v1/embeddings", "openai-embeddings", None),
        ("/openai/deployments/e/embeddings", "openai-embeddings", "e"),
        ("/v1/multimodalembeddings", "openai-embeddings", None),
        ("/v1/images/generations", "openai-images", None),
        ("/v1/audio/speech", "openai-speech", None),
        ("/v1/audio/transcriptions", "openai-transcription", None),
        ("/v1beta/interactions", "gemini-interactions", None),
        ("/images/edits", "openai-images", None),
        ("/v1/messages", "anthropic", None),
        ("/messages", "anthropic", None),
        ("/v1/v1/messages", "anthropic", None),
        (f"{VERTEX}/anthropic/models/claude-sonnet-4@20250514:rawPredict", "anthropic", "claude-sonnet-4@20250514"),
        (
            f"{VERTEX}/anthropic/models/claude-sonnet-4%4020250514:streamRawPredict",
            "anthropic",
            "claude-sonnet-4@20250514",
        ),
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini", "gemini-2.5-flash"),
        ("/models/gemini-2.5-flash%3AgenerateContent", "gemini", "gemini-2.5-flash"),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "gemini", "gemini-2.5-flash"),
        ("/v1beta/tunedModels/mine:generateContent", "gemini", "mine"),
        ("/v1beta1/publishers/google/models/gemini-2.5-pro:generateContent", "gemini", "gemini-2.5-pro"),
        (f"{VERTEX}/google/models/gemini-2.5-pro:streamGenerateContent", "gemini", "gemini-2.5-pro"),
        ("/v1beta/models/gemini-embedding-001:batchEmbedContents", "gemini-embed", "gemini-embedding-001"),
        (f"{VERTEX}/google/models/gemini-embedding-2:embedContent", "gemini-embed", "gemini-embedding-2"),
        (f"{VERTEX}/google/models/text-embedding-005:predict", "gemini-embed", "text-embedding-005"),
        ("/model/amazon.nova-micro-v1%3A0/converse", "bedrock-converse", "amazon.nova-micro-v1:0"),
        (f"/model/{CLAUDE.replace(':', '%3A')}/converse-stream", "bedrock-converse", CLAUDE),
        (f"/model/{CLAUDE}/invoke", "bedrock-invoke", CLAUDE),
        (f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/invoke-with-response-stream", "bedrock-invoke", ARN),
        (f"/model/{ARN}/invoke", "bedrock-invoke", ARN),
        ("/v2/chat", "cohere-chat", None),
        ("/chat", "cohere-chat", None),
        ("/v2/embed", "cohere-embed", None),
        ("/v1/rerank", "rerank", None),
        ("/v1/ocr", "mistral-ocr", None),
        ("/v1/responses/input_tokens", "count-tokens", None),
        ("/v1/messages/count_tokens", "count-tokens", None),
        ("/v1beta/models/gemini-2.5-flash:countTokens", "count-tokens", "gemini-2.5-flash"),
        ("/model/m%3A0/count-tokens", "count-tokens", "m:0"),
        ("/v1/tokenize", "count-tokens", None),
        ("/v1/moderations", "moderations", None),
        ("/v1/files", "files", None),
        ("/upload/v1beta/files", "files", None),
        ("/v1/uploads/u/parts", "files", None),
        ("/v1/conversations", "conversations", None),
        ("/v1/conversations/c/items", "conversations", None),
        ("/v1/responses/r/cancel", "other-free", None),
        ("/v1/messages/batches/b/cancel", "other-free", None),
    ],
)
def test_posts(path: str, name: str, model: str | None) -> None:
    """Paths with and without their version, with their models percent-decoded."""
    assert claimed("POST", path) == (name, model)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/responses/resp_1", "openai-responses-get"),
        ("DELETE", "/v1/responses/resp_1", "other-free"),
        ("GET", "/v1/responses/resp_1/input_items", "other-free"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/meta-llama/Llama-3", "models"),
        ("GET", "/v1beta/models/gemini-2.5-flash", "models"),
        ("GET", "/v1/batches/b", "other-free"),
        ("GET", "/v1/messages/batches/b/results", "other-free"),
        ("DELETE", "/v1beta/fileSearchStores/s", "files"),
        ("GET", "/v1/chat/completions/c", "other-free"),
        ("GET", "/v1/threads/t/runs/r", "other-free"),
    ],
)
def test_other_methods(method: str, path: str, name: str) -> None:
    """Looking and deleting is free, but for a later look at work that was asked for before."""
    assert claimed(method, path) == (name, None)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime/calls",
        "/openai/v1/realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/fine_tuning/jobs",
        "/v1/threads/t/runs",
        "/v1/videos/edits",
        "/v1/containers",
        "/v1/vector_stores/v/search",
        "/v1beta/fileSearchStores",
        "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
        "/v1beta/cachedContents",
        f"{VERTEX}/google/models/lyria-002:predict",
        f"{VERTEX}/google/models/imagen-4.0:predictLongRunning",
        "/async-invoke",
    ],
)
def test_known_but_unmetered(path: str) -> None:
    """What costs out of the gateway's sight is known as such."""
    found = detect("POST", path)
    assert found is not None
    assert (found[0].name, found[0].unmetered, found[0].metered) == ("unmetered", True, False)


@pytest.mark.parametrize(
    ("kind", "path", "name"),
    [
        ("openai", "/v1/batches", "openai-batch"),
        ("groq", "/openai/v1/batches", "openai-batch"),
        ("anthropic", "/v1/messages/batches", "anthropic-batch"),
        ("mistral", "/v1/batch/jobs", "mistral-batch"),
        ("google", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", "gemini-batch"),
        ("google", "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent", "gemini-batch"),
    ],
)
def test_batches(kind: str, path: str, name: str) -> None:
    """Each API's batches have a format of their own."""
    found = detect("POST", path, kind)
    assert found is not None
    assert (found.format.name, found.format.batch, found.endpoint.charging) == (name, True, "later")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", ""),
        ("GET", "/v1/chat/completions/../../admin"),
        ("POST", "/v1/models/m"),
        ("PUT", "/v1/chat/completions"),
        ("POST", "/v1/files/../responses"),
        ("POST", "/v1/files/%2e%2e/responses"),
        ("POST", "/v1/files/..%2fresponses"),
        ("POST", "/v1/files/%252e%252e/responses"),
        ("POST", "/v1/files/x\\..\\y"),
        ("GET", "/v1/models/%0d%0ax"),
        ("GET", "/v1/models/m%3fx=1"),
        ("POST", "/v1/projects/files/locations/l/secrets/s"),
        ("POST", "/v1/models/files/x"),
    ],
)
def test_unknown(method: str, path: str) -> None:
    """A path on no list, or one that may resolve to another path, is not claimed."""
    assert detect(method, path) is None


def test_names() -> None:
    """The contract's names are there, each once."""
    found = names()
    assert len(found) == len(set(found))
    assert {
        *("openai-chat", "openai-responses", "openai-responses-compact", "openai-responses-get", "openai-completions"),
        *("openai-embeddings", "openai-images", "anthropic", "gemini", "gemini-embed", "bedrock-converse"),
        *(
            "bedrock-invoke",
            "cohere-chat",
            "cohere-embed",
            "count-tokens",
            "models",
            "files",
            "other-free",
            "unmetered",
        ),
    } <= set(found)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name} {form.path.pattern[-30:]}")
def test_records_are_whole(form: object) -> None:
    """A format with streams knows how to cut, find and fold their events; only what is metered is priced."""
    from paig_gateway.formats.base import Format

    assert isinstance(form, Format)
    streams = (form.framing, form.usage_marker, form.fold)
    assert all(part is None for part in streams) or all(part is not None for part in streams)
    assert form.metered or not (form.usage_paths or form.fold)
    assert (form.asks is None) == (form.is_asked_only is None)
    assert not form.splice_streams or (form.framing == "sse" and form.usage_paths)
