"""Embeddings: OpenAI's and, in their own test, Google's and Titan's share the vectors."""

from __future__ import annotations

import math

import genai_prices
import httpx2
import openai
import pytest

from paig_gateway.simulator import Simulator
from paig_gateway.simulator.embeddings import vector

pytestmark = pytest.mark.anyio


def test_vectors_are_unit_and_repeatable() -> None:
    """The same text has the same vector, of length one; another text another."""
    values = vector("a", 64)
    assert values == vector("a", 64) != vector("b", 64)
    assert math.isclose(sum(value * value for value in values), 1, abs_tol=1e-5)


async def test_openai(base_url: str, simulator: Simulator) -> None:
    """The SDK, which asks for base64, gets the vectors; the input is billed."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/openai/v1", api_key="k") as client:
        got = await client.embeddings.create(model="text-embedding-3-small", input=["Hello!!!", "you"], dimensions=8)
    assert [len(item.embedding) for item in got.data] == [8, 8]
    assert got.data[0].embedding == pytest.approx(vector("Hello!!!", 8), abs=1e-6)
    assert got.usage.prompt_tokens == 3
    assert (simulator.served["openai"].input_tokens, simulator.served["openai"].output_tokens) == (3, 0)


@pytest.mark.parametrize(("given", "tokens"), [("Hello", 2), ([1, 2, 3], 3), ([[1, 2], [3]], 3)])
async def test_inputs(http: httpx2.AsyncClient, given: object, tokens: int) -> None:
    """Text counts by characters, numbers are tokens already; genai-prices reads the usage."""
    asked = {"model": "text-embedding-3-small", "input": given}
    got = (await http.post("/openai/v1/embeddings", json=asked)).json()
    assert len(got["data"][0]["embedding"]) == 1536
    found = genai_prices.extract_usage(got, provider_id="openai", api_flavor="embeddings").usage
    assert found.input_tokens == tokens
