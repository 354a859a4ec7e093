from __future__ import annotations

import pytest

from paig_gateway.providers.kinds import KINDS, base_url
from paig_gateway.providers.paths import google_query

CASES = [
    # kind, base URL as configured, settings, the client's path, the upstream's URL
    ("openai", None, {}, "/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", None, {}, "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", None, {}, "/v1/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", None, {}, "/openai/v1/responses", "https://api.openai.com/v1/responses"),
    ("openai", "http://h:1", {}, "/responses", "http://h:1/v1/responses"),
    ("openai", "http://h:1/custom/", {}, "/v1/responses", "http://h:1/custom/responses"),
    ("anthropic", None, {}, "/messages", "https://api.anthropic.com/v1/messages"),
    ("anthropic", None, {}, "/v1/v1/messages", "https://api.anthropic.com/v1/messages"),
    ("anthropic", "http://h/anthropic", {}, "/v1/messages", "http://h/anthropic/v1/messages"),
    ("anthropic", "http://h/anthropic/v1", {}, "/messages", "http://h/anthropic/v1/messages"),
    ("google", None, {}, "/models/m:x", "https://generativelanguage.googleapis.com/v1beta/models/m:x"),
    ("google", None, {}, "/v1/models/m:x", "https://generativelanguage.googleapis.com/v1/models/m:x"),
    ("google", "http://h/v1beta", {}, "/v1beta/models/m:x", "http://h/v1beta/models/m:x"),
    ("google", None, {}, "/upload/v1beta/files", "https://generativelanguage.googleapis.com/upload/v1beta/files"),
    (
        "google",
        None,
        {},
        "/v1/projects/p/locations/us-east1/publishers/google/models/m:x",
        "https://generativelanguage.googleapis.com/v1beta/models/m:x",
    ),
    (
        "google",
        None,
        {},
        "/v1beta1/publishers/google/models/m:x",
        "https://generativelanguage.googleapis.com/v1beta/models/m:x",
    ),
    (
        "google",
        "http://h",
        {},
        "/v1/projects/p/locations/global/endpoints/openapi/chat/completions",
        "http://h/v1beta/openai/chat/completions",
    ),
    (
        "google",
        "http://h",
        {},
        "/v1beta1/projects/p/locations/global/cachedContents/c",
        "http://h/v1beta/cachedContents/c",
    ),
    ("groq", None, {}, "/openai/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
    ("groq", None, {}, "/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
    ("groq", "http://h", {}, "/chat/completions", "http://h/openai/v1/chat/completions"),
    (
        "google-vertex",
        None,
        {"project": "p"},
        "/v1beta1/publishers/google/models/m:x",
        "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google/models/m:x",
    ),
    (
        "google-vertex",
        None,
        {"project": "p", "location": "europe-west4"},
        "/v1/publishers/google/models/m:x",
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/publishers/google/models/m:x",
    ),
    (
        "google-vertex",
        None,
        {"project": "p"},
        "/v1beta/models/m:x",
        "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google/models/m:x",
    ),
    (
        "google-vertex",
        "http://h",
        {"project": "p"},
        "/v1beta1/projects/q/locations/us-east1/publishers/google/models/m:x",
        "http://h/v1beta1/projects/q/locations/us-east1/publishers/google/models/m:x",
    ),
    (
        "google-vertex",
        None,
        {"project": "p", "location": "europe-west4"},
        "/projects/paig/locations/global/publishers/anthropic/models/m:streamRawPredict",
        "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p/locations/europe-west4"
        "/publishers/anthropic/models/m:streamRawPredict",
    ),
    (
        "google-vertex",
        None,
        {"project": "p"},
        "/v1/projects/paig/locations/us-east1/batchPredictionJobs",
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/batchPredictionJobs",
    ),
    (
        "google-vertex",
        None,
        {"project": "p"},
        "/v1/projects/q/locations/us-east1/publishers/google/models/m:x",
        "https://us-east1-aiplatform.googleapis.com/v1/projects/q/locations/us-east1/publishers/google/models/m:x",
    ),
    (
        "bedrock",
        None,
        {"region": "eu-west-1"},
        "/model/us.amazon.nova-lite-v1%3A0/converse",
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.amazon.nova-lite-v1%3A0/converse",
    ),
    ("bedrock-mantle", None, {}, "/v1/responses", "https://bedrock-mantle.us-east-1.api.aws/v1/responses"),
    ("bedrock-mantle", None, {}, "/responses", "https://bedrock-mantle.us-east-1.api.aws/openai/v1/responses"),
    ("azure", "https://x.openai.azure.com", {}, "/v1/responses", "https://x.openai.azure.com/openai/v1/responses"),
    (
        "azure",
        "https://x.openai.azure.com/openai/v1",
        {},
        "/openai/deployments/m/chat/completions",
        "https://x.openai.azure.com/openai/deployments/m/chat/completions",
    ),
    ("deepseek", None, {}, "/v1/chat/completions", "https://api.deepseek.com/chat/completions"),
    ("azure", "https://x", {}, "/v1/messages", "https://x/anthropic/v1/messages"),
    ("azure", "https://x/openai/v1", {}, "/providers/cohere/v2/rerank", "https://x/providers/cohere/v2/rerank"),
    ("azure", "https://x", {}, "/providers/mistral/azure/ocr", "https://x/providers/mistral/azure/ocr"),
    ("azure", "https://x/openai/v1", {}, "/anthropic/v1/messages", "https://x/anthropic/v1/messages"),
    ("azure", "https://x/anthropic", {}, "/messages/count_tokens", "https://x/anthropic/v1/messages/count_tokens"),
    ("azure", "https://x", {}, "/threads/abc/messages", "https://x/openai/v1/threads/abc/messages"),
    ("deepseek", None, {}, "/v1/messages", "https://api.deepseek.com/anthropic/v1/messages"),
    ("deepseek", None, {}, "/beta/completions", "https://api.deepseek.com/beta/completions"),
    ("moonshot", None, {}, "/anthropic/v1/messages", "https://api.moonshot.ai/anthropic/v1/messages"),
    ("zai", None, {}, "/v1/messages", "https://api.z.ai/api/anthropic/v1/messages"),
    ("zai", "https://h/api/coding/paas/v4", {}, "/messages", "https://h/api/anthropic/v1/messages"),
    (
        "google-vertex",
        None,
        {"project": "p"},
        "/endpoints/openapi/chat/completions",
        "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/endpoints/openapi/chat/completions",
    ),
    ("openrouter", None, {}, "/api/alpha/decisions", "https://openrouter.ai/api/alpha/decisions"),
    ("mistral", None, {}, "/v2/skills", "https://api.mistral.ai/v2/skills"),
    ("mistral", "https://x.models.ai.azure.com", {}, "/models/chat/completions",
     "https://x.models.ai.azure.com/models/chat/completions"),
    ("together", None, {}, "/v2/videos", "https://api.together.xyz/v2/videos"),
    ("together", None, {}, "/v1/chat/completions", "https://api.together.xyz/v1/chat/completions"),
    ("fireworks", None, {}, "/v1/accounts/a/datasets", "https://api.fireworks.ai/v1/accounts/a/datasets"),
    ("fireworks", None, {}, "/v1/chat/completions", "https://api.fireworks.ai/inference/v1/chat/completions"),
    ("perplexity", None, {}, "/v1/chat/completions", "https://api.perplexity.ai/chat/completions"),
    ("perplexity", None, {}, "/search", "https://api.perplexity.ai/search"),
    ("perplexity", None, {}, "/responses", "https://api.perplexity.ai/v1/responses"),
    ("perplexity", "https://api.perplexity.ai/v1", {}, "/v1/embeddings", "https://api.perplexity.ai/v1/embeddings"),
    ("anthropic-aws", None, {"region": "eu-west-1"}, "/v1/messages",
     "https://aws-external-anthropic.eu-west-1.api.aws/v1/messages"),
    ("bedrock", None, {}, "/retrieveAndGenerate", "https://bedrock-agent-runtime.us-east-1.amazonaws.com/retrieveAndGenerate"),
    ("bedrock", None, {}, "/foundation-models", "https://bedrock.us-east-1.amazonaws.com/foundation-models"),
    ("bedrock", None, {}, "/guardrail/g/version/1/apply",
     "https://bedrock-runtime.us-east-1.amazonaws.com/guardrail/g/version/1/apply"),
    ("google-vertex", None, {"project": "p"}, "/v1/projects/p/locations/us-east1:retrieveContexts",
     "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1:retrieveContexts"),
    ("huggingface", None, {}, "/groq/openai/v1/chat/completions",
     "https://router.huggingface.co/groq/openai/v1/chat/completions"),
    ("huggingface", None, {}, "/hf-inference/models/o/m", "https://router.huggingface.co/hf-inference/models/o/m"),
    ("huggingface", "https://router.huggingface.co/v1", {}, "/fal-ai/fal-ai/flux",
     "https://router.huggingface.co/fal-ai/fal-ai/flux"),
    ("openrouter", None, {}, "/api/v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
    ("zai", None, {}, "/v1/chat/completions", "https://api.z.ai/api/paas/v4/chat/completions"),
    (
        "huggingface",
        None,
        {},
        "/novita/v3/openai/chat/completions",
        "https://router.huggingface.co/novita/v3/openai/chat/completions",
    ),
    ("huggingface", None, {}, "/chat/completions", "https://router.huggingface.co/v1/chat/completions"),
    ("cohere", None, {}, "/v2/chat", "https://api.cohere.com/v2/chat"),
    ("openai-compatible", "http://h", {}, "/v1/chat/completions", "http://h/v1/chat/completions"),
    ("openai-compatible", "http://h/v1", {}, "/v1/chat/completions", "http://h/v1/chat/completions"),
    ("openai-compatible", "http://h/v1", {}, "/chat/completions", "http://h/v1/chat/completions"),
    ("openai-compatible", "http://h/a/b", {}, "/a/b/chat/completions", "http://h/a/b/chat/completions"),
]  # fmt: skip


@pytest.mark.parametrize(("kind_name", "given", "settings", "path", "url"), CASES)
def test_every_usual_spelling_reaches_the_upstreams_own(
    kind_name: str, given: str | None, settings: dict[str, str], path: str, url: str
) -> None:
    """A version prefix added, forgotten or doubled means the same, and percent-encoding stays as it came."""
    kind = KINDS[kind_name]
    base = base_url(kind, given, settings)
    assert base is not None
    assert kind.path(base, path, {**(kind.defaults or {}), **settings}) == url


@pytest.mark.parametrize(
    ("kind_name", "given", "settings", "path", "ending", "known"),
    [
        ("openai", None, {}, "/v1/openai/v1/chat/completions", "/chat", True),
        ("openai", None, {}, "/chat/completions", "/chat", True),
        ("openai", None, {}, "/v1/engines/gpt-5-pro/chat/completions", "/chat", False),
        ("openai", None, {}, "/v1/deployments/gpt-5-pro/chat/completions", "/deployments", False),
        ("openai", None, {}, "/serving-endpoints/x/chat/completions", "/chat", False),
        ("openai", None, {}, "/v1/files/x/chat/completions", "/chat", False),
        ("openai", None, {}, "/@evil.example/v1/models", "/models", False),
        ("openai", None, {}, "/http:/evil.example/v1/models", "/models", False),
        ("openai-compatible", "http://h/serving-endpoints", {}, "/serving-endpoints/chat/completions", "/chat", True),
        ("openai-compatible", "http://h", {}, "/serving-endpoints/x/chat/completions", "/chat", False),
        ("azure", "http://h", {}, "/openai/deployments/m/chat/completions", "/deployments", True),
        ("anthropic", None, {}, "/v1/messages", "/messages", True),
        ("anthropic", None, {}, "/v1/organizations/o/messages", "/messages", False),
        ("google", None, {}, "/v1beta/models/m:generateContent", "/models", True),
        ("google", None, {}, "/v1beta/openai/chat/completions", "/chat", True),
        ("google", None, {}, "/v1beta/projects/p/models/m:generateContent", "/models", False),
        ("google", None, {}, "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "/models", True),
        ("google", None, {}, "/v1beta1/models/m:generateContent", "/models", True),
        ("google", None, {}, "/v1/publishers/anthropic/models/m:rawPredict", "/models", False),
        ("google", None, {}, "/v1beta1/endpoints/e/models/m:generateContent", "/models", False),
        ("google-vertex", None, {"project": "p"}, "/v1/projects/p/locations/l-1/models/m:x", "/models", True),
        ("google-vertex", None, {"project": "p"}, "/v1/projects/q/locations/l-1/models/m:x", "/models", False),
        ("google-vertex", None, {"project": "p"}, "/projects/paig/locations/l-1/models/m:x", "/models", True),
        ("google-vertex", None, {}, "/v1/projects/q/locations/l-1/models/m:x", "/models", True),
        ("google-vertex", None, {"project": "p"}, "/v1/projects/q/locations/l:retrieveContexts", "/projects", False),
        ("google-vertex", None, {"project": "p"}, "/v1/projects/p/locations/l:retrieveContexts", "/projects", True),
        ("mistral", None, {}, "/v2/skills/s", "/skills", True),
        ("mistral", None, {}, "/models/chat/completions", "/chat", True),
        ("openrouter", None, {}, "/api/alpha/decisions", "/decisions", True),
        ("openrouter", None, {}, "/v1/presets/p/chat/completions", "/chat", False),
        ("zai", None, {}, "/api/coding/paas/v4/chat/completions", "/chat", True),
        ("google-vertex", None, {"project": "p"}, "/v1/projects/p/locations/l@h/models/m:x", "/models", False),
        ("google-vertex", None, {"project": "p"}, "/publishers/anthropic/models/m:rawPredict", "/models", True),
        ("google-vertex", None, {"project": "p"}, "/v1beta/models/m:x", "/models", True),
        ("bedrock", None, {}, "/model/m/converse", "/model", True),
        ("bedrock", None, {}, "/openai/v1/chat/completions", "/chat", True),
        ("bedrock", None, {}, "/guardrail/g/model/m/converse", "/model", False),
        ("huggingface", None, {}, "/novita/v3/openai/chat/completions", "/chat", True),
        ("cohere", None, {}, "/compatibility/v1/chat/completions", "/chat", True),
    ],
)  # fmt: skip
def test_what_may_stand_before_an_ending(
    kind_name: str, given: str | None, settings: dict[str, str], path: str, ending: str, known: bool
) -> None:
    """A path whose ending is known but whose beginning is not could mean another model or account."""
    kind = KINDS[kind_name]
    base = base_url(kind, given, settings)
    assert base is not None
    assert kind.path.knows(base, path, path.index(ending), {**(kind.defaults or {}), **settings}) is known


@pytest.mark.parametrize(
    ("query", "hiding"),
    [
        (b"", None),
        (b"alt=sse", None),
        (b"alt=json&key=k&pageSize=1&page_token=x&uploadType=media&upload_id=1", None),
        (b"a%6ct=s%73e", None),
        (b"fields=candidates", "fields"),
        (b"f%69elds=candidates", "fields"),
        (b"$fields=candidates", "$fields"),
        (b"alt=proto", "alt"),
        (b"ALT=proto", "ALT"),
        (b"$alt=proto", "$alt"),
        (b"alt=sse&alt=json", "alt"),
        (b"alt=sse&callback=f", "callback"),
        (b"prettyPrint=false", "prettyPrint"),
    ],
)
def test_queries_that_hide_usage(query: bytes, hiding: str | None) -> None:
    """At Google, only parameters that leave the usage where it is may come, however they are spelled."""
    assert google_query(query) == hiding


def test_kinds_without_a_default_address_say_so() -> None:
    """A kind whose every account has its own address has no base URL until one is given."""
    assert base_url(KINDS["azure"], None, {}) is None
    assert base_url(KINDS["openai-compatible"], "http://h/", {}) == "http://h"


def test_price_providers_are_known_to_the_price_book() -> None:
    """A row's price provider exists, so that a misspelling cannot make a provider's models priceless."""
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    known = get_snapshot().providers
    for kind in KINDS.values():
        if kind.price_provider and "{" not in kind.price_provider:
            assert find_provider_by_id(known, kind.price_provider), kind.name
