"""Requests for more of a limit, answered with one key: the developer asks, the operator decides."""

from __future__ import annotations

from decimal import Decimal

import pytest

from paig_client.api.resources import Me
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import ask, at

pytestmark = pytest.mark.anyio


async def test_a_developer_asks_and_the_operator_answers(world: World) -> None:
    """What was spent, how much is left, more: asked with the key, approved here, and the next request passes."""
    secret = await world.make_key("dev", daily="0.001")
    own = {"authorization": f"Bearer {secret}"}
    assert await ask(world, secret, most=60) == 200
    while await ask(world, secret, most=60) == 200:
        pass
    me = Me.model_validate((await world.http.get("/admin/v1/me", headers=own)).json())
    assert float(me.limits[0].left) < 0.001
    for to, why in (("5", "a long <refactoring>"), ("50", "even more")):
        asked = await world.http.post("/admin/v1/me/limit-requests", headers=own, json={"to": to, "why": why})
        assert asked.status_code == 201
    async with at(world, size=(120, 30)) as hand:
        await hand.press("2")
        await hand.sees("a 2 ask for more")
        await hand.press("a")
        await hand.sees("requests for more", "a long <refactoring>", "$5.00", "even more", "daily", "why dev asks")
        await hand.press("a")
        await hand.sees("Approved for dev: daily $5.00")
        await hand.until(lambda: "refactoring" not in hand.text, "it waits no more")
        await hand.press("x")
        await hand.sees("Declined for dev: daily $50.00", "No one asks for more.")
        await hand.press("escape")
        await hand.until(lambda: "for more" not in hand.app.screen.query_one("#frame").border_title, "none waits")
    assert await ask(world, secret, most=60) == 200
    me = Me.model_validate((await world.http.get("/admin/v1/me", headers=own)).json())
    assert me.limits[0].amount == Decimal(5)


async def test_a_viewer_cannot_answer_requests(world: World) -> None:
    secret = await world.make_key("asks-in-vain", daily="1")
    own = {"authorization": f"Bearer {secret}"}
    await world.http.post("/admin/v1/me/limit-requests", headers=own, json={"to": "5", "why": "because"})
    async with at(world, read_only=True) as hand:
        await hand.press("2", "a")
        text = await hand.sees("asks-in-vain", "because")
        assert "a approve" not in text
        await hand.press("a")
        await hand.sees("This is read-only")
    assert [one.key for one in await world.admin.limit_requests() if one.key == "asks-in-vain"] == ["asks-in-vain"]
