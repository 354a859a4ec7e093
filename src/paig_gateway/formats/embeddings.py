"""Embeddings of OpenAI's shape (also Voyage's and Mistral's) and of Cohere's; reranking; reading of documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format, Json
from paig_gateway.formats.folding import mapping
from paig_gateway.formats.reading import Members
from paig_gateway.formats.text import EMBEDDED_ITEM, OPENAI_IMAGE, Media, bound

_MEDIA_PART = re.compile(rb'"(?:image_base64|image_url|video_base64|video_url|image)"\s*:')


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = Media()
    if _MEDIA_PART.search(body):
        media.unbounded()
    for image in reading.array(top.get("images")):  # Cohere's
        media.image(image, OPENAI_IMAGE)
    items = _items(top)
    return Call(
        model=reading.model_of(top, model),
        input_tokens=bound(body, media, hidden=EMBEDDED_ITEM * items),
        output_tokens=0,
        answers=items,
        media_in=media.found,
        media_tokens=media.tokens,
        asks_usage=True,
    )


def _items(top: Members) -> int:
    """How many texts and images there are; an array of token numbers is one text, but counts as many."""
    names = ("input", "inputs", "texts", "images", "documents")
    return max(1, sum(len(reading.array(top.get(name))) for name in names))


def _read_rerank(model: str | None, body: bytes) -> Call:
    """Each document is read together with the query, so the query counts once for each."""
    call = _read(model, body)
    top = reading.request(body)
    query = reading.size(top.get("query")) * call.answers
    return replace(call, input_tokens=call.input_tokens + query)


def total_only(body: Json, model: str, headers: Mapping[str, str]) -> Json:
    """Give the extractor `prompt_tokens` where a provider counts a total alone (Voyage): embeddings are all input."""
    usage = mapping(body.get("usage"))
    total = usage.get("total_tokens")
    if "prompt_tokens" in usage or total is None:
        return body
    return {**body, "usage": {**usage, "prompt_tokens": total}}


OPENAI = Format(
    name="openai-embeddings",
    path=re.compile(r"(?:^|/)(?:deployments/(?P<model>[^/]+)/)?(?:multimodal|contextualized)?embeddings/?$"),
    read=_read,
    flavor="embeddings",
    usage_paths=(("usage",),),
    normalise=total_only,
)

COHERE = Format(
    name="cohere-embed",
    path=re.compile(r"(?:^/?|/v[12]/)embed/?$"),
    read=_read,
    flavor="embeddings",
    home="cohere",
)

RERANK = Format(
    name="rerank",
    path=re.compile(r"(?:^/?|/v[12]/)rerank/?$"),
    read=_read_rerank,
    flavor="embeddings",
    usage_paths=(("usage",),),
    normalise=total_only,
)


def _read_ocr(model: str | None, body: bytes) -> Call:
    """Documents are billed by the page, and how many pages one has is not to be seen: the bound is the model's."""
    top = reading.request(body)
    return Call(
        model=reading.model_of(top, model),
        input_tokens=len(body),
        output_tokens=0,
        media_in=True,
        media_tokens=None,
        asks_usage=True,
    )


OCR = Format(
    name="mistral-ocr",
    path=re.compile(r"(?:^|/)ocr/?$"),
    read=_read_ocr,
    flavor="ocr",
    home="mistral",
)
