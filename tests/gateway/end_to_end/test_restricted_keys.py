"""Keys that are restricted to formats, methods and networks."""

from __future__ import annotations

import pytest

from paig_client.api.specs import KeySpec
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (KeySpec(formats=["anthropic"]), "may not use the API format openai-chat"),
        (KeySpec(methods=["GET"]), "may not use POST"),
        (KeySpec(networks=["10.0.0.0/8"]), "may not be used from 127.0.0.1"),
    ],
)
async def test_what_is_outside_is_refused(simulated: World, spec: KeySpec, says: str) -> None:
    """With `not-allowed`, before anything is held or sent."""
    key = (await simulated.admin.keys.create(f"restricted-{says[-4:]}", spec)).key
    answer = await simulated.http.post(
        "/proxy/openai/chat/completions", json=CHAT, headers={"authorization": f"Bearer {key}"}
    )
    assert (answer.status_code, answer.headers["x-paig-error"]) == (403, "not-allowed")
    assert says in answer.text


async def test_what_is_inside_passes(simulated: World) -> None:
    """A key with all three restrictions, used as they allow."""
    spec = KeySpec(formats=["openai-chat"], methods=["POST"], networks=["127.0.0.0/8", "::1"])
    key = (await simulated.admin.keys.create("inside", spec)).key
    headers = {"authorization": f"Bearer {key}"}
    answer = await simulated.http.post("/proxy/openai/chat/completions", json=CHAT, headers=headers)
    assert answer.status_code == 200
    refused = await simulated.http.post(
        "/proxy/openai/responses", json={"model": "gpt-5-mini", "input": "Hi"}, headers=headers
    )
    assert refused.headers["x-paig-error"] == "not-allowed"
