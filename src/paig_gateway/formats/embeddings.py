"""Embeddings of OpenAI's shape (also Voyage's and Mistral's) and of Cohere's; reranking; reading of documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format, Json
from paig_gateway.formats.folding import mapping
from paig_gateway.formats.reading import Members, Raw
from paig_gateway.formats.text import EMBEDDED_ITEM, Media, bound

_MEDIA_NAMES = ("image_base64", "image_url", "video_base64", "video_url", "image")
_MEDIA_PART = re.compile(rb"(?:%b)\s*:" % b"|".join(map(reading.spelt, _MEDIA_NAMES)))


def embedding(model: str | None, top: Members, body: bytes, media: Media, items: int) -> Call:
    """A request for embeddings of a number of items."""
    return Call(
        model=reading.model_of(top, model),
        input_tokens=bound(body, media, hidden=EMBEDDED_ITEM * items),
        output_tokens=0,
        answers=items,
        media_in=media.found,
        media=tuple(media.items),
        unbounded_input=media.unknown,
        asks_usage=True,
    )


def _read(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    media = Media()
    if _MEDIA_PART.search(body):
        media.unbounded()
    for image in reading.array(top.get("images")):  # Cohere's
        media.image(image)
    items = _items(top)
    return embedding(model, top, body, media, items)


def _items(top: Members) -> int:
    """The number of texts and images; an array of token ids is one text, but each id counts."""
    names = ("input", "inputs", "texts", "images", "documents")
    return max(1, sum(len(reading.array(top.get(name))) for name in names))


def _read_rerank(model: str | None, body: bytes) -> Call:
    """Each document is read together with the query, so the query counts once for each."""
    call = _read(model, body)
    top = reading.request(body)
    query = reading.size(top.get("query")) * call.answers
    return replace(call, input_tokens=call.input_tokens + query, units={"rerank_searches": searches(top, body)})


SEARCH_DOCUMENTS = 100
"""Documents that one unit of a rerank covers; Cohere counts a document longer than 500 tokens as several."""

SEARCH_BYTES = 500


def searches(top: Members, body: bytes) -> int:
    """How many units a rerank is billed at most: a token has at least one byte, so bytes bound the pieces."""
    documents = sum(len(reading.array(top.get(name))) for name in ("documents", "sources"))
    pieces = documents + len(body) // SEARCH_BYTES
    return -(-max(1, pieces) // SEARCH_DOCUMENTS)


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
    answer=frozenset({"data", "embeddings"}),
    normalise=total_only,
)

MODERATIONS = replace(OPENAI, name="mistral-moderations", path=re.compile(r"(?!)"), answer=frozenset({"results"}))
"""Mistral's moderation of texts and of chats, whose answers state tokens as embeddings do."""

COHERE = Format(
    name="cohere-embed",
    path=re.compile(r"(?:^/?|/v[12]/)embed/?$"),
    read=_read,
    flavor="embeddings",
    home="cohere",
    answer=frozenset({"embeddings"}),
)

RERANK = Format(
    name="rerank",
    path=re.compile(r"(?:^/?|/v[12]/)rerank/?$"),
    read=_read_rerank,
    flavor="embeddings",
    usage_paths=(("usage",),),
    answer=frozenset({"results", "data"}),
    normalise=total_only,
)


def _read_bedrock_rerank(model: str | None, body: bytes) -> Call:
    """Read a request of Bedrock's own rerank, which names the model by its ARN."""
    top = reading.request(body)
    config = reading.members(reading.members(top.get("rerankingConfiguration")).get("bedrockRerankingConfiguration"))
    named = reading.string(reading.members(config.get("modelConfiguration")).get("modelArn")) or model
    queries = max(1, len(reading.array(top.get("queries"))))
    return Call(
        model=reading.model_of(top, named),
        input_tokens=bound(body, Media()),
        output_tokens=0,
        units={"rerank_searches": queries * searches(top, body)},
        asks_usage=True,
    )


BEDROCK_RERANK = Format(
    name="bedrock-rerank",
    path=re.compile(r"^/rerank/?$"),
    read=_read_bedrock_rerank,
    home="aws",
    errors="bedrock",
    answer=frozenset({"results"}),
)


def _read_search(model: str | None, body: bytes) -> Call:
    """A search without a model; several queries in one request are one request."""
    reading.request(body)
    return Call(model=model or "search", input_tokens=0, output_tokens=0, units={"web_searches": 1}, asks_usage=True)


PERPLEXITY_SEARCH = Format(
    name="perplexity-search",
    path=re.compile(r"(?:^/?|/v1/)search/?$"),
    read=_read_search,
    home="perplexity",
    answer=frozenset({"results"}),
)


OCR_PAGES = 1_000
"""Pages that Mistral reads in one request at most."""


def _pages(top: Members) -> int:
    """How many pages are read at most: those that the request lists, one for an image, else as many as can be."""
    document = reading.members(top.get("document"))
    if "image_url" in document and "document_url" not in document and _is_picture(document["image_url"]):
        return 1
    media = Media()
    media.document(document.get("document_url"))
    found = media.items[0].pages if media.items else None
    most = OCR_PAGES if found is None else found
    if (listed := reading.string(top.get("pages"))) is not None:
        ranges = re.findall(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", listed)
        return min(most, sum(max(1, int(last or first) - int(first) + 1) for first, last in ranges) or most)
    return min(most, len(reading.array(top.get("pages"))) or most)


_PICTURE = re.compile(
    r"data:image/(?!tiff)[\w.+-]+;base64,|(?!data:)[^?#]+\.(?:png|jpe?g|webp|gif|bmp|avif|heic)(?:[?#]|$)",
    re.IGNORECASE,
)
_PDF_IN_BASE64 = "JVBER"


def _is_picture(raw: Raw) -> bool:
    """Whether what an image is given by says that it is one page: a document may come in its place."""
    text = reading.string(raw) or reading.string(reading.members(raw).get("url")) or ""
    return _PICTURE.match(text) is not None and not text[:200].partition("base64,")[2].startswith(_PDF_IN_BASE64)


def _read_ocr(model: str | None, body: bytes) -> Call:
    """Documents are billed by the page."""
    top = reading.request(body)
    pages = _pages(top)
    annotated = any(reading.present(top.get(f"{name}_annotation_format")) for name in ("bbox", "document"))
    return Call(
        model=reading.model_of(top, model),
        input_tokens=len(body),
        output_tokens=0,
        media_in=True,
        unbounded_input=True,
        server_tools=frozenset({"annotations"} if annotated else ()),
        units={"input_document_pages": pages} | ({"input_annotated_document_pages": pages} if annotated else {}),
        asks_usage=True,
    )


OCR = Format(
    name="mistral-ocr",
    path=re.compile(r"(?:^|/)ocr/?$"),
    read=_read_ocr,
    flavor="ocr",
    home="mistral",
    answer=frozenset({"pages"}),
)
