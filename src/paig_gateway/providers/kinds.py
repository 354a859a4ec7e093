"""The table of provider kinds. A provider that speaks OpenAI's API is a row here, never code.

Base URLs are those of each provider's own API documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paig_gateway.formats.base import ErrorShape
from paig_gateway.providers.adapters import ANTHROPIC, BEDROCK, VERTEX, Adapter
from paig_gateway.providers.auth import AuthScheme
from paig_gateway.providers.paths import (
    PathRule,
    anthropic,
    azure,
    bedrock,
    cohere,
    compatible,
    fireworks,
    fixed,
    google,
    huggingface,
    mistral,
    ollama,
    openrouter,
    perplexity,
    together,
    versioned,
    vertex,
    zai,
)

_OPENAI_LIKE = fixed("/v1")
_OPENAI: frozenset[ErrorShape] = frozenset({"openai"})
_BOTH: frozenset[ErrorShape] = frozenset({"openai", "anthropic"})


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """One kind of provider.

    Attributes:
        name: As written in `kind = "…"`.
        base_url: Its default address; `{setting}` is filled in; None if each account has its own.
        auth: How requests to it are authenticated.
        path: How a client's path becomes the upstream's.
        speaks: The families of API formats that it serves, each named by the shape of its errors.
        adapters: By format: for formats outside those families, or in a spelling of its own.
        path_decides: Whether the model in the request decides the price, not the one in the answer.
        price_provider: The provider in genai-prices whose prices apply, or None.
        require_price: Whether a model without a price is refused by default.
        asks_usage: Whether its OpenAI-shaped streams give usage only when asked (`stream_options.include_usage`).
        maximum: By format: the member of a request that holds the output maximum (levels separated by dots), if it is
            not the usual one (`USUAL_MAXIMUM`); empty if no member bounds all output that it bills.
        reasoning_maximum: The same for models that reason before they answer.
        both_maxima: Whether its chat heeds OpenAI's older name of the maximum, `max_tokens`, as well as the newer one,
            `max_completion_tokens`; others heed the one in the column `maximum` alone.
        states_cost: Whether its answers state its own charge.
        reports_usage: Whether it states the usage of every complete answer; false for servers that may run any
            software.
        hidden_tokens: Tokens of a system prompt of its own that it may add to a request, and bills.
        google_query: Whether it is Google's, where parameters of a query can hide usage.
        settings: Names of the settings it takes besides the common ones.
        defaults: Values of those settings if none is given.
    """

    name: str
    base_url: str | None
    auth: AuthScheme = "bearer"
    path: PathRule = _OPENAI_LIKE
    speaks: frozenset[ErrorShape] = _OPENAI
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    path_decides: bool = False
    price_provider: str | None = None
    require_price: bool = True
    asks_usage: bool = True
    maximum: Mapping[str, str] = field(default_factory=dict)
    reasoning_maximum: Mapping[str, str] = field(default_factory=dict)
    both_maxima: bool = False
    states_cost: bool = False
    reports_usage: bool = True
    hidden_tokens: int = 0
    google_query: bool = False
    settings: tuple[str, ...] = ()
    defaults: Mapping[str, str] | None = None

    def maximum_field(self, format_name: str, *, reasoning: bool) -> str | None:
        """The member of a request that bounds all output that is billed; None if there is none.

        Args:
            reasoning: Whether the model may reason before it answers.
        """
        usual = self.maximum.get(format_name, USUAL_MAXIMUM.get(format_name, ""))
        return (self.reasoning_maximum.get(format_name, usual) if reasoning else usual) or None

    def heeds(self, format_name: str, *, reasoning: bool) -> str | None:
        """The only member of a chat that bounds its output; empty where none does, None where either name does.

        Args:
            reasoning: Whether the model may reason before it answers.
        """
        if format_name != "openai-chat" or self.both_maxima:
            return None
        return self.maximum_field(format_name, reasoning=reasoning) or ""


USUAL_MAXIMUM: Mapping[str, str] = {
    "openai-chat": "max_tokens",
    "openai-completions": "max_tokens",
    "openai-responses": "max_output_tokens",
    "anthropic": "max_tokens",
    "gemini": "generationConfig.maxOutputTokens",
    "bedrock-converse": "inferenceConfig.maxTokens",
    "bedrock-invoke": "the model family's own",
    "cohere-chat": "max_tokens",
    "cohere-chat-v1": "max_tokens",
    "cohere-generate": "max_tokens",
    "ollama-chat": "options.num_predict",
    "ollama-generate": "options.num_predict",
}
"""Where each format states the output maximum."""

# OpenAI's newer name: its reasoning models refuse the older one.
_COMPLETION: Mapping[str, str] = {"openai-chat": "max_completion_tokens"}
# Citations and searches are billed as output beyond the maximum.
_UNBOUNDED: Mapping[str, str] = {"openai-chat": ""}

_ROWS = (
    ProviderKind("openai", "https://api.openai.com/v1", price_provider="openai", maximum=_COMPLETION, both_maxima=True),
    ProviderKind(
        "anthropic",
        "https://api.anthropic.com",
        auth="x-api-key",
        path=anthropic,
        speaks=_BOTH,
        adapters={"anthropic": ANTHROPIC},
        price_provider="anthropic",
    ),
    ProviderKind(
        "anthropic-aws",
        "https://aws-external-anthropic.{region}.api.aws",
        auth="aws-anthropic",
        path=anthropic,
        speaks=_BOTH,
        adapters={"anthropic": ANTHROPIC},
        price_provider="anthropic",
        settings=("region", "workspace"),
        defaults={"region": "us-east-1"},
    ),
    ProviderKind(
        "google-vertex",
        "https://{location}-aiplatform.googleapis.com",
        auth="google",
        path=vertex,
        google_query=True,
        speaks=frozenset({"openai", "google"}),
        adapters={"anthropic": VERTEX},
        price_provider="google",
        both_maxima=True,
        settings=("project", "location", "token_url", "storage_url"),
        defaults={"location": "global"},
    ),
    ProviderKind(
        "google",
        "https://generativelanguage.googleapis.com",
        auth="x-goog-api-key",
        path=google,
        google_query=True,
        speaks=frozenset({"openai", "google"}),
        price_provider="google",
        both_maxima=True,
    ),
    ProviderKind(
        "groq",
        "https://api.groq.com/openai/v1",
        price_provider="groq",
        asks_usage=False,
        maximum=_COMPLETION,
        both_maxima=True,
    ),
    ProviderKind(
        "bedrock",
        "https://bedrock-runtime.{region}.amazonaws.com",
        auth="aws",
        path=bedrock,
        speaks=frozenset({"openai", "bedrock"}),
        adapters={"anthropic": BEDROCK},
        path_decides=True,
        price_provider="aws",
        both_maxima=True,
        settings=("region", "storage_url"),
        defaults={"region": "us-east-1"},
    ),
    ProviderKind(
        "bedrock-mantle",
        "https://bedrock-mantle.{region}.api.aws",
        auth="aws",
        path=versioned("/openai/v1", "/v1"),
        speaks=_BOTH,
        price_provider="aws",
        both_maxima=True,
        settings=("region",),
        defaults={"region": "us-east-1"},
    ),
    ProviderKind(
        "azure",
        None,
        auth="api-key",
        path=azure,
        speaks=_BOTH,
        price_provider="azure",
        # Mistral's models at Azure accept only the older name.
        reasoning_maximum=_COMPLETION,
        both_maxima=True,
        settings=("api_version",),
    ),
    ProviderKind(
        "mistral",
        "https://api.mistral.ai",
        path=mistral,
        price_provider="mistral",
        asks_usage=False,
        # Magistral's own instructions for thinking.
        hidden_tokens=256,
    ),
    ProviderKind(
        "huggingface",
        "https://router.huggingface.co",
        path=huggingface,
        price_provider="huggingface_{sub}",
        reports_usage=False,
    ),
    ProviderKind("ovhcloud", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1", price_provider="ovhcloud"),
    ProviderKind(
        "openrouter",
        "https://openrouter.ai/api/v1",
        path=openrouter,
        speaks=_BOTH,
        price_provider="openrouter",
        asks_usage=False,
        states_cost=True,
        # Grok showed 687 prompt tokens for three words.
        hidden_tokens=1024,
    ),
    ProviderKind(
        "xai",
        "https://api.x.ai/v1",
        speaks=_BOTH,
        price_provider="x-ai",
        states_cost=True,
        maximum=_COMPLETION,
        both_maxima=True,
        hidden_tokens=1024,
    ),
    ProviderKind(
        "deepseek",
        "https://api.deepseek.com",
        path=fixed("/v1", keeps="/beta(?:/v1)?", messages=("/v1|/beta", "/anthropic/v1")),
        speaks=_BOTH,
        price_provider="deepseek",
    ),
    ProviderKind(
        "cerebras", "https://api.cerebras.ai/v1", price_provider="cerebras", maximum=_COMPLETION, both_maxima=True
    ),
    ProviderKind("cohere", "https://api.cohere.com", path=cohere, price_provider="cohere"),
    ProviderKind("voyageai", "https://api.voyageai.com/v1", price_provider="voyageai"),
    ProviderKind("crusoe", "https://api.inference.crusoecloud.com/v1"),
    ProviderKind("snowflake", None, speaks=_BOTH, path=fixed("/api/v2/cortex/v1", "/v1"), both_maxima=True),
    ProviderKind(
        "zai",
        "https://api.z.ai/api/paas/v4",
        path=zai,
        speaks=_BOTH,
        price_provider="zai",
    ),
    ProviderKind("together", "https://api.together.xyz/v1", path=together, price_provider="together"),
    ProviderKind(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        path=fireworks,
        both_maxima=True,
        speaks=_BOTH,
        price_provider="fireworks",
    ),
    ProviderKind(
        "perplexity",
        "https://api.perplexity.ai",
        path=perplexity,
        price_provider="perplexity",
        states_cost=True,
        # Of the others, `max_tokens` bounds the output.
        reasoning_maximum=_UNBOUNDED,
    ),
    ProviderKind(
        "moonshot",
        "https://api.moonshot.ai/v1",
        path=fixed("/v1", messages=("/v1", "/anthropic/v1")),
        speaks=_BOTH,
        price_provider="moonshotai",
    ),
    ProviderKind(
        "novita",
        "https://api.novita.ai/v3/openai",
        path=fixed("/v3/openai", "/v1", messages=("/v3/openai", "/anthropic/v1")),
        speaks=_BOTH,
        price_provider="novita",
    ),
    ProviderKind("heroku", "https://us.inference.heroku.com/v1"),
    ProviderKind(
        "ollama",
        "http://localhost:11434/v1",
        path=ollama,
        speaks=_BOTH | {"ollama"},
        require_price=False,
        reports_usage=False,
    ),
    ProviderKind(
        "vllm",
        "http://localhost:8000/v1",
        speaks=_BOTH,
        require_price=False,
        reports_usage=False,
        both_maxima=True,
    ),
    ProviderKind(
        "openai-compatible",
        None,
        speaks=_BOTH,
        path=compatible,
        both_maxima=True,
        require_price=False,
        states_cost=True,
        reports_usage=False,
        hidden_tokens=256,
    ),
)

KINDS: Mapping[str, ProviderKind] = {kind.name: kind for kind in _ROWS}


def base_url(kind: ProviderKind, given: str | None, settings: Mapping[str, str]) -> str | None:
    """A provider's base URL: the given one (completed if it is only an origin), else the kind's own.

    Args:
        kind: The provider's kind.
        settings: The provider's settings, over the kind's defaults.

    Returns:
        The URL without a trailing slash, or None if the kind has no default and none was given.
    """
    values = {**(kind.defaults or {}), **settings}
    own = kind.base_url.format(**values) if kind.base_url else None
    if own and own.startswith("https://global-aiplatform."):
        own = own.replace("global-", "", 1)
    if given is None:
        return own
    given = given.rstrip("/")
    has_path = "/" in given.split("://", 1)[-1]
    if has_path or own is None:
        return given
    return given + own[own.index("/", 8) :] if "/" in own[8:] else given
