"""Which API format a request is in."""

from __future__ import annotations

import re
from urllib.parse import unquote

from paig_gateway.formats import (
    anthropic,
    bedrock_converse,
    bedrock_invoke,
    cohere,
    embeddings,
    free,
    gemini,
    images,
    openai_chat,
    openai_responses,
)
from paig_gateway.formats.base import Format

# The first that claims a request has it.
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
    *free.COUNT_TOKENS,
    openai_responses.LATER_LOOK,
    openai_responses.COMPACT,
    openai_chat.COMPLETIONS,
    images.IMAGES,
    cohere.CHAT,
    embeddings.COHERE,
    embeddings.RERANK,
    embeddings.OCR,
    *free.UNMETERED,
    *free.FREE,
)

# A path that may mean another one to whoever resolves it could be priced as what it is not.
_AMBIGUOUS = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;]|$)|[\x00-\x1f\x7f?#\\]")


def detect(method: str, path: str) -> tuple[Format, str | None] | None:
    """The format of a request.

    Args:
        method: The HTTP method.
        path: What follows the route's name, percent-encoded, without a query.

    Returns:
        The format and the model that the path names, percent-decoded, or None for it; None altogether where no format
        claims the request.
    """
    for form in FORMATS:
        if method in form.methods and (match := form.path.search(path)) is not None:
            if _AMBIGUOUS.search(unquote(unquote(path))):
                return None
            model = match.groupdict().get("model")
            return form, unquote(model) if model else None
    return None


def names() -> tuple[str, ...]:
    """The names of all formats, in the table's order."""
    return tuple(dict.fromkeys(form.name for form in FORMATS))
