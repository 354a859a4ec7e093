"""xAI's videos and deferred completions, with the simulator as provider."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_video_at_xai(everyone: World) -> None:
    """Held by its length, and charged what its result states."""
    headers, body = {"authorization": f"Bearer {everyone.key}"}, {"model": "grok-imagine-video", "prompt": "A heron"}
    made = await everyone.http.post("/proxy/xai/v1/videos/generations", json={**body, "duration": 5}, headers=headers)
    place = f"/proxy/xai/v1/videos/{made.json()['request_id']}"
    looks = [(await everyone.http.get(place, headers=headers)).json()["status"] for _ in range(3)]
    assert looks == ["pending", "done", "done"]

    async def is_settled() -> bool:
        return (await everyone.admin.request(made.headers["x-paig-request-id"])).certainty == "exact"

    await until(is_settled)
    assert Decimal((await everyone.admin.request(made.headers["x-paig-request-id"])).cost or 0) == Decimal("0.35")


async def test_a_completion_at_xai_that_is_fetched_later(everyone: World) -> None:
    """202 until it is there; charged once, by its usage."""
    headers = {"authorization": f"Bearer {everyone.key}"}
    body = {"model": "grok-4", "messages": [{"role": "user", "content": "Hi"}], "deferred": True, "max_tokens": 50}
    made = await everyone.http.post("/proxy/xai/v1/chat/completions", json=body, headers=headers)
    place = f"/proxy/xai/v1/chat/deferred-completion/{made.json()['request_id']}"
    looks = [await everyone.http.get(place, headers=headers) for _ in range(3)]
    assert [look.status_code for look in looks] == [202, 200, 200]
    assert looks[1].json()["choices"][0]["message"]["content"]

    async def is_settled() -> bool:
        return (await everyone.admin.request(made.headers["x-paig-request-id"])).certainty in ("exact", "estimated")

    await until(is_settled)
