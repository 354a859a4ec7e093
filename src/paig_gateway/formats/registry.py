"""All API formats."""

from __future__ import annotations

from paig_gateway.formats import (
    anthropic,
    audio,
    batches,
    bedrock_converse,
    bedrock_invoke,
    cohere,
    cohere_v1,
    embeddings,
    free,
    gemini,
    guardrail,
    images,
    interactions,
    mistral_conversations,
    ollama,
    openai_chat,
    openai_responses,
    videos,
)
from paig_gateway.formats.base import Format

FORMATS: tuple[Format, ...] = (
    openai_chat.CHAT,
    openai_responses.RESPONSES,
    anthropic.MESSAGES,
    gemini.GENERATE,
    gemini.STREAM,
    bedrock_converse.CONVERSE,
    bedrock_converse.STREAM,
    bedrock_invoke.INVOKE,
    bedrock_invoke.STREAM,
    embeddings.OPENAI,
    gemini.EMBED,
    openai_responses.LATER_LOOK,
    openai_responses.COMPACT,
    openai_responses.DECISIONS,
    openai_chat.COMPLETIONS,
    images.IMAGES,
    audio.TRANSCRIPTION,
    audio.SPEECH,
    interactions.INTERACTIONS,
    interactions.DECISIONS,
    interactions.LATER_LOOK,
    mistral_conversations.CONVERSATIONS,
    cohere.CHAT,
    cohere_v1.CHAT,
    cohere_v1.GENERATE,
    embeddings.COHERE,
    embeddings.RERANK,
    embeddings.OCR,
    embeddings.MODERATIONS,
    embeddings.BEDROCK_RERANK,
    embeddings.PERPLEXITY_SEARCH,
    ollama.CHAT,
    ollama.GENERATE,
    ollama.EMBED,
    *(api.format for api in batches.APIS.values()),
    openai_chat.DEFERRED,
    videos.OPENAI,
    videos.XAI,
    videos.OPENAI_LOOK,
    videos.VEO,
    videos.VEO_LOOK,
    videos.VEO_FETCH,
    videos.IMAGEN,
    guardrail.APPLY,
    *free.FREE,
    free.UNMETERED,
)


def names() -> tuple[str, ...]:
    """The names of all formats, in the table's order."""
    return tuple(dict.fromkeys(form.name for form in FORMATS))
