"""Finds the name of a model in the price book, if clients or providers call it otherwise.

These are the providers' own rules: routing suffixes, publishers' prefixes, ARNs. Other names are resolved by the answer
(`ANSWER_NAMES_MODEL`), or by the operator (`aliases`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# OpenRouter's routing variants: the same model, chosen by price, speed or quality, or with a plugin.
_ROUTING_SUFFIX = re.compile(r"(?::[a-z0-9-]+)+$")
_PRESET = re.compile(r"(?<=.)@preset/[^/]+$")
_GOOGLE_PREFIX = re.compile(r"^(?:.*/)?(?:models|publishers)/|^[a-z0-9-]+/(?=[^/]+$)")
_BEDROCK_REGION = re.compile(r"^(?:(?P<geography>[a-z]{2}|apac|us-gov)|global)\.")
"""Bedrock's inference profiles: of a geography, or of the whole world."""
_VERSION = re.compile(r"@[a-z0-9-]+$")

ROUTERS = re.compile(r"openrouter/(?:auto|free|fusion|pareto|bodybuilder).*|switchpoint/router|@preset/.+|~.+/.+")
"""OpenRouter's names for models that it chooses itself."""

_AZURE_NAMES = {"whisper": "whisper-1", "tts": "tts-1", "tts-hd": "tts-1-hd"}
"""Azure's own names of OpenAI's models."""

_PROMPT_ROUTER = re.compile(r"^arn:[^/]*:(?:default-)?prompt-router/")
"""Bedrock's routers between models: the trace of an answer names the one that answered."""

_SNAPSHOT = {
    **{source: re.compile(r"-20\d\d-\d\d-\d\d$") for source in ("openai", "azure")},
    **{"google": re.compile(r"-\d{3}$"), "x-ai": re.compile(r"-\d{4}$")},
}
"""The end of a dated snapshot's name: one that the price book lacks is newer, and costs what the undated name costs."""

_GROK_420 = re.compile(r"grok-4\.20-(?!multi-agent).*")
"""xAI's other names of one model: with and without reasoning, beta, latest."""

_COMPOUND = re.compile(r"(?:groq/)?compound(?:-(?:mini|beta|beta-mini))?")


def spellings(source: str, model: str) -> Iterator[str]:
    """Names to look a model up by, the most exact one first.

    Args:
        source: The genai-prices provider whose prices apply.
        model: The model as the client or the answer names it.
    """
    yield model
    name = model.rsplit("/", 1)[-1] if model.startswith("arn:") else model
    if source == "openrouter" or source.startswith("huggingface_"):
        name = _ROUTING_SUFFIX.sub("", _PRESET.sub("", name))
    elif source == "google":
        name = _VERSION.sub("", _GOOGLE_PREFIX.sub("", name))
        name = name.rsplit("/", 1)[-1]
    elif source == "aws":
        yield name
        yield f"{name}-1:0"  # the other address of Bedrock leaves the version out
        profile, name = _BEDROCK_REGION.match(name), _BEDROCK_REGION.sub("", name)
        if profile is not None and profile["geography"]:
            yield f"us.{name}"
    elif source == "fireworks":
        name = name.rsplit("/", 1)[-1]
    elif source == "mistral":
        name = name.removesuffix("-latest")
    elif source == "x-ai" and _GROK_420.fullmatch(name):
        name = "grok-4.20"
    elif source == "azure":
        name = _AZURE_NAMES.get(name, name.replace("gpt-35-", "gpt-3.5-"))
    if name != model:
        yield name
    if source in _SNAPSHOT and (undated := _SNAPSHOT[source].sub("", name)) != name:
        yield undated


def geography(model: str, region: str) -> str:
    """The part of the world where Bedrock serves a model: a profile's, else the region; empty for the United States.

    Args:
        model: A model, an inference profile or an ARN.
        region: The provider's region; empty for the default.
    """
    if model.startswith("arn:"):
        region, model = model.split(":", 4)[3] or region, model.rsplit("/", 1)[-1]
    profile = _BEDROCK_REGION.match(model)
    place = region if profile is None else profile["geography"] or ""
    return "" if place.startswith("us") and not place.startswith("us-gov") else place


# Resellers' names of vendors whose models they sell at the vendors' list prices.
_VENDORS = {
    "openrouter": {
        **{name: name for name in ("openai", "anthropic", "google", "x-ai", "deepseek", "cohere", "perplexity")},
        **{"moonshotai": "moonshotai", "mistralai": "mistral", "z-ai": "zai", "voyageai": "voyageai"},
    },
    "perplexity": {**{name: name for name in ("openai", "anthropic", "google")}, "xai": "x-ai"},
}


def vendor_of(source: str, model: str) -> tuple[str, str] | None:
    """The vendor of a model that a reseller sells, and its name there, for models that only the vendor prices."""
    vendor, slash, name = model.partition("/")
    vendors = _VENDORS.get(source, {})
    if not slash or vendor not in vendors or model.endswith(":free"):
        return None
    return vendors[vendor], _ROUTING_SUFFIX.sub("", name)


def answer_names(source: str, model: str, fmt: str) -> bool:
    """Whether only the answer names the model that is billed, so that it may pass although its own name has no price.

    These are Azure's deployments, which may have any name, Vertex AI's endpoints of tuned models, which are numbers,
    OpenRouter's and Bedrock's routers, Groq's compound systems, and stored prompts, agents and conversations, which
    hold the model's name.
    """
    if source == "azure":
        return fmt in ("openai-chat", "openai-completions", "openai-responses", "openai-embeddings", "anthropic")
    if source == "openrouter":
        return ROUTERS.fullmatch(model) is not None
    if source == "aws":
        return fmt == "bedrock-converse" and _PROMPT_ROUTER.match(model) is not None
    if source == "google":
        return fmt == "gemini" and model.isdecimal()
    if source == "moonshotai":
        return model == "moonshot-v1-auto"
    if source == "groq":
        return _COMPOUND.fullmatch(model) is not None
    if model:
        return False
    return fmt == "openai-responses" or (source == "mistral" and fmt in ("openai-chat", "mistral-conversations"))


_REASONING = re.compile(r"(?:.*/)?(?:gpt-5(?!.*chat)|gpt-[6-9]|o[1-9])")


def hides_reasoning(fmt: str, source: str, model: str) -> bool:
    """Whether a stream of the model shows nothing of the reasoning that it bills: OpenAI's chat completions."""
    hidden = fmt in ("openai-chat", "openai-completions") and source in ("openai", "azure")
    return hidden and _REASONING.match(model.lower()) is not None
