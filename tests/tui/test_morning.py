"""The developer's morning in the terminal UI: what was spent, on what, how much is left, and more of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from paig_client.admin import AsyncAdminClient
from paig_client.api.specs import AskSpec, MatchSpec, NamedLimitSpec
from tests.gateway.end_to_end.agents import SESSION, STEPS, play
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import at

pytestmark = pytest.mark.anyio


async def test_the_morning(world: World) -> None:
    """A budget for each session stopped one; the tree says which agent spent it, and one key gives it more."""
    secret = await world.make_key("morning", daily="5")
    spec = NamedLimitSpec(match=MatchSpec(key="morning"), per="session", total=Decimal("0.035"))
    await world.admin.named_limits.create("agents", spec)
    statuses = [answer.status_code for answer in await play(world.http, secret)]
    assert statuses[-1] == 402
    assert [answer.status_code for answer in await play(world.http, secret, "another", STEPS[:1])] == [200]
    async with AsyncAdminClient(world.origin, token=secret) as own:
        await own.ask_for_more(AskSpec(to=Decimal(9), why="a long refactoring"))
    cost = (await world.admin.session(SESSION)).cost
    async with at(world, size=(140, 40)) as hand:
        # What was spent, and on what? By model, then by session, then the tree of the session's agents.
        await hand.press("3")
        await hand.sees("everything", "claude-sonnet-4-5", "claude-haiku-4-5", "█ claude-sonnet-4-5")
        await hand.press("left")
        await hand.sees("[session]", SESSION)
        await hand.point(f"group {SESSION}")
        await hand.press("enter")
        text = await hand.sees(f"session {SESSION}", "main", "├─ Explore", "│  └─ Explore")
        assert f"${Decimal(cost):.4f}"[:7] in text

        # Why did it stop?
        await hand.press("l")
        await hand.sees("■ 402 limit", "● 200 ok")
        await hand.press("escape", "escape")

        # How much is left? Each session has a budget of its own.
        await hand.press("7", "slash", *"agents", "enter")
        await hand.sees(f"limit agents ({SESSION})", "limit agents (another)", "total")

        # Give it more: the session's budget for an hour, and what was asked for with one key.
        await hand.point(f"limit agents total usd {SESSION}")
        await hand.press("m")
        await hand.fill(to="1", until="1h", why="let it finish")
        await hand.press("enter")
        await hand.sees("u undoes it")
        assert [answer.status_code for answer in await play(world.http, secret, SESSION, STEPS[-1:])] == [200]
        await hand.press("escape", "a")
        await hand.sees("requests for more", "a long refactoring")
        await hand.press("a")
        await hand.sees("Approved for morning: daily $9.00")
    await world.admin.named_limits.delete("agents")
