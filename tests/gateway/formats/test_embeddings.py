"""Embeddings and reranking: batches, images, totals alone."""

from __future__ import annotations

from typing import Any

import pytest

from paig_gateway.formats import embeddings
from paig_gateway.pricing.usage import extract
from tests.gateway.formats.asking import asked


@pytest.mark.parametrize(
    ("path", "body", "items"),
    [
        ("/v1/embeddings", {"input": "hi"}, 1),
        ("/v1/embeddings", {"input": ["hi", "ho"]}, 2),
        ("/v2/embed", {"texts": ["hi", "ho"]}, 2),
        ("/v1/rerank", {"query": "q", "documents": ["a", "b", "c"]}, 3),
    ],
)
def test_embeddings(path: str, body: dict[str, Any], items: int) -> None:
    """Texts in a batch each have a window of their own; nothing is put out."""
    call = asked(path, {"model": "m", **body})
    assert (call.answers, call.output_tokens, call.media_in) == (items, 0, False)


def test_reranking_reads_the_query_with_each_document() -> None:
    """The query counts once for each document."""
    few, many = (
        asked("/v1/rerank", {"model": "m", "query": "q" * 100, "documents": ["a"] * count}).input_tokens
        for count in (1, 11)
    )
    assert many - few >= 1_000


def test_images_to_embed() -> None:
    """Cohere takes images as data URLs."""
    call = asked("/v2/embed", {"model": "m", "images": ["data:image/png;base64," + "A" * 5_000]})
    assert (call.media_in, len(call.media)) == (True, 1)
    assert call.input_tokens < 1_000


def test_a_total_alone() -> None:
    """Voyage counts a total alone: all of it is input."""
    form = embeddings.OPENAI
    assert form.normalise is not None
    body = form.normalise({"model": "voyage-3", "usage": {"total_tokens": 3}}, "voyage-3", {})
    found = extract(body, provider="voyageai", flavor=form.flavor, home=form.home)
    assert found is not None
    assert found.usage["input_tokens"] == 3
    whole = {"usage": {"prompt_tokens": 2, "total_tokens": 3}}
    assert form.normalise(whole, "m", {}) == whole
    assert form.normalise({}, "m", {}) == {}
