"""The section Limits at a real gateway: named limits, raises, the whole gateway's settings, and tight caps."""

from __future__ import annotations

from decimal import Decimal

import pytest

from paig_client.api.specs import KeySpec, MatchSpec, NamedLimitSpec
from paig_tui.screens.dialog import Dialog
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import Hand, ask, at

pytestmark = pytest.mark.anyio


async def closed(hand: Hand) -> None:
    """Wait until no dialog is open."""
    await hand.until(lambda: not isinstance(hand.app.screen, Dialog), "the form closes")


async def test_a_named_limit_from_its_making_to_its_end(world: World) -> None:
    """All that `[limits.NAME]` has is asked for; what is wrong stands at its field; each change is taken back."""
    secret = await world.make_key("billed")
    async with at(world, size=(140, 40)) as hand:
        await hand.press("7", "n")
        await hand.sees("new named limit")
        fields = {"name": "per-customer", "match.model": "gpt-*", "match.project": "nowhere", "match.tag": "customer"}
        await hand.fill(**fields, per="tag:customer", daily="0.000001", max_members="50")
        await hand.press("enter")
        await hand.sees("✕ there is no project 'nowhere'")
        await hand.fill(**{"match.project": ""})
        await hand.press("enter")
        await hand.sees("[named 1]", "per-customer", "model=gpt-*, tag=customer", "tag:customer", "a day")
        made = await world.admin.named_limits.get("per-customer")
        assert made.match == MatchSpec(model="gpt-*", tag="customer")
        assert (made.per, made.max_members, str(made.daily)) == ("tag:customer", 50, "0.000001")
        assert await ask(world, secret) == 200  # without the tag it does not match
        await hand.press("e")
        await hand.sees("edit limit per-customer", "from zero.")
        await hand.fill(**{"match.tag": "", "per": "key", "daily": "5", "requests_per_minute": "30"})
        await hand.press("enter")
        await hand.sees("u Undo", "each", "key", "30 req/min")
        await hand.press("u")
        await hand.sees("Undone")
        back = await world.admin.named_limits.get("per-customer")
        assert (back.match, back.per, str(back.daily)) == (made.match, made.per, "0.000001")
        assert back.requests_per_minute is None
        await hand.press("D")
        await hand.fill(name="per-customer")
        await hand.press("enter")
        await hand.sees("Limit per-customer is deleted", "No named limit.")


async def test_rates_and_members_are_raised_and_put_back(world: World) -> None:
    """A limit on tokens is raised from where all limits are, one session's budget too; `x` ends a raise."""
    limits = {"tokens_per_minute": 5000, "requests_per_minute": 700}
    await world.admin.keys.create("wordy", KeySpec.model_validate({"limits": limits}))
    async with at(world, size=(140, 40)) as hand:
        await hand.press("7", "slash", *"wordy", "space", *"tokens", "enter")
        await hand.sees("key wordy", "tokens/min", "5,000")
        await hand.press("m")
        await hand.sees("raise a cap of wordy", "tokens/min: 5,000")
        await hand.fill(to="90000", until="2h", why="")
        await hand.press("enter")
        await hand.sees("✕")
        await hand.fill(why="a long text")
        await hand.press("enter")
        await hand.sees("The tokens/min cap of wordy is 90,000 until")
        [raised] = await world.admin.raises()
        assert (raised.unit, raised.amount, raised.why) == ("tokens", Decimal(90000), "a long text")
        assert {one.unit: one.amount for one in await world.admin.limits() if one.owner == "wordy"} == {
            "tokens": Decimal(90000),
            "requests": Decimal(700),
        }
        await hand.press("right", "right")
        await hand.sees("[raises 1]", "key wordy", "a long text")
        await hand.press("x")
        await hand.sees("is what it was")
        assert await world.admin.raises() == []
        await hand.press("escape", "2")
        await hand.point("wordy")
        await hand.press("m")
        await hand.sees("which of its limits")
        await hand.fill(window="requests/min", to="1000", until="1h", why="load test")
        await hand.press("enter")
        await hand.sees("The requests/min cap of wordy is 1,000")
        await hand.press("u")
        await hand.sees("Undone: the raise of wordy")
        assert await world.admin.raises() == []


async def test_the_whole_gateways_settings(fresh: World) -> None:
    """Time zone, what happens when it is tight and `[models]` are edited as the caps are; a pair can be removed."""
    async with at(fresh, size=(120, 44)) as hand:
        await hand.press("7", "w")
        await hand.fill(timezone="Europe/Berlin", when_tight="refuse", models="gpt-5*=openai, claude-*=anthropic")
        await hand.press("enter")
        await hand.sees("u Undo")
        now = await fresh.admin.organisation()
        assert (now.timezone, now.when_tight) == ("Europe/Berlin", "refuse")
        assert now.models == {"gpt-5*": "openai", "claude-*": "anthropic"}
        await closed(hand)
        await hand.press("w")
        await hand.fill(models="gpt-5*=openai")
        await hand.press("enter")
        await closed(hand)
        assert (await fresh.admin.organisation()).models == {"gpt-5*": "openai"}
        await hand.press("u")
        await hand.sees("Undone")
        assert (await fresh.admin.organisation()).models == now.models


async def test_a_cap_below_one_usual_request_is_told(world: World) -> None:
    """A form of caps warns in the gateway's own words, which a change by the API has too."""
    await world.admin.keys.create("thrifty", KeySpec(models=["gpt-5"]))
    changed = await world.admin.keys.update("thrifty", {"limits": {"daily": "0.01"}})
    [warning] = changed.warnings
    assert warning.startswith("A gpt-5 call without a maximum holds $")
    assert (await world.admin.keys.get("thrifty")).warnings == []
    assert (await world.admin.keys.update("thrifty", {"limits": {"daily": "50"}})).warnings == []
    async with at(world, size=(120, 40)) as hand:
        await hand.press("2")
        await hand.point("thrifty")
        await hand.press("c")
        await hand.fill(daily="0.01")
        await hand.press("enter")
        await hand.sees("A tight cap", "A gpt-5 call without a maximum holds")


async def test_from_a_limit_to_whose_it_is(world: World) -> None:
    """`Enter` on a key's limit goes to the key; the palette finds a named limit by its name."""
    await world.make_key("owner-of-one", daily="3")
    await world.admin.named_limits.create("opus-only", NamedLimitSpec(match=MatchSpec(model="claude-opus-*")))
    async with at(world, size=(120, 40)) as hand:
        await hand.press("7", "slash", *"owner-of-one", "enter")
        await hand.sees("key owner-of-one")
        await hand.press("enter")
        await hand.until(lambda: hand.app.current_mode == "keys", "the keys")
        await hand.sees("about owner-of-one")
        await hand.press("colon", *"limit opus")
        await hand.sees("Limit opus-only")
        await hand.press("down", "enter")
        await hand.sees("about opus-only", "claude-opus-*")
