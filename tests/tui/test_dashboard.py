"""The dashboard at a real gateway."""

from __future__ import annotations

import shlex

import pytest

from paig_client.api.specs import MemberSpec, RouteSpec
from paig_tui.clipboard import copy
from paig_tui.screens.dashboard.first_request import VARIABLE, line
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import ask, at

pytestmark = pytest.mark.anyio


async def test_a_request_appears_as_it_finishes(fresh: World) -> None:
    """A request shows up in the live tail with its cost, and the figures count it."""
    async with at(fresh) as hand:
        assert await ask(fresh, fresh.key) == 200
        text = await hand.sees("● 200 ok", "gpt-5", "tester", "$0.00", "● none")
        assert "● following" in text


async def test_pause_filter_and_errors_only(world: World) -> None:
    """The tail stops, is filtered, and shows errors only."""
    key = await world.make_key("second")
    async with at(world) as hand:
        await ask(world, world.key)
        await ask(world, key, say="[sim:status=500] no")
        await hand.sees("● 200 ok", "✕ 500 error")
        await hand.press("x")
        await hand.sees("errors only")
        assert "● 200" not in hand.text
        await hand.press("x", "slash", *"tester", "enter")
        await hand.sees("filter: tester", "● 200 ok")
        assert "✕ 500" not in hand.text
        await hand.press("escape", "p")
        await hand.sees("■ paused")
        await ask(world, key)
        await hand.sees("1 new")
        await hand.press("p")
        await hand.sees("● following")


async def test_a_request_in_full(world: World) -> None:
    """Enter on a request shows attempts, usage, and how its cost is known; `y` copies its id."""
    async with at(world, size=(140, 40)) as hand:
        await ask(world, world.key)
        await hand.sees("● 200 ok")
        await hand.press("enter")
        await hand.sees("exact: the provider's own usage", "attempts (1)", "1. openai · ", "gpt-5 · $0.0", "req_")
        await hand.press("y")
        await hand.sees("clipboard")


async def test_the_trace_is_one_key_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's trace is named, and opened in the browser where its address is known."""
    monkeypatch.setenv("PAIG_TRACE_URL", "https://traces.example/{trace_id}")
    key = await world.make_key("traced")
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"authorization": f"Bearer {key}", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 20}
    opened: list[str] = []
    async with at(world, size=(140, 44)) as hand:
        monkeypatch.setattr(hand.app, "open_url", lambda url, new_tab=True: opened.append(url))
        await world.http.post("/proxy/openai/chat/completions", headers=headers, json=body)
        await hand.sees("traced")
        await hand.press("enter")
        await hand.sees(f"https://traces.example/{trace}")
        await hand.press("o")
        assert opened == [f"https://traces.example/{trace}"]


async def test_failed_attempts_are_shown_in_their_order(world: World) -> None:
    """A member that was busy comes first, with its 429; the row says how the request fared in the end."""
    members = [
        MemberSpec(provider="groq", priority=5, models={"gpt-5": "llama-3.1-8b-instant"}),
        MemberSpec(provider="openai"),
    ]
    await world.admin.routes.create("twice", RouteSpec(members=members))
    key = await world.make_key("tried-twice")
    said = [{"role": "user", "content": "[sim@groq:status=429] hi"}]
    body = {"model": "gpt-5", "messages": said, "max_completion_tokens": 20}
    async with at(world, size=(140, 40)) as hand:
        headers = {"authorization": f"Bearer {key}"}
        await world.http.post("/proxy/twice/chat/completions", headers=headers, json=body)
        await hand.sees("tried-twice")
        await hand.press("slash", *"tried", "enter", "enter")
        text = await hand.sees("attempts (2)", "▲ 429→200", "1. groq", "2. openai", "● 200")
        assert text.index("1. groq") < text.index("▲ 429", text.index("1. groq")) < text.index("2. openai")


async def test_the_fullest_caps_come_first(world: World) -> None:
    """The tightest cap is shown as nearly full, and the key that spends most is named."""
    key = await world.make_key("small", daily="0.001")
    async with at(world, size=(140, 40)) as hand:
        assert await ask(world, key) == 200
        while await ask(world, key) == 200:
            pass
        await hand.press("R")
        text = await hand.sees("■ 402 limit", "closest to cap", "50%", "spending · 5m")
        (line,) = [line for line in text.splitlines() if "50%" in line]
        assert "small" in line
        assert "━━━━────  50%" in line


async def test_the_first_run_is_guided(fresh: World) -> None:
    """A gateway that was never asked says what to do next, with a line to copy, until the first request has come."""
    async with at(fresh) as hand:
        await hand.sees("first run", "✓ done", "▶ next", "Send the first request", "curl http://127.0.0.1")
        await hand.press("y")
        await hand.sees("clipboard")
        await ask(fresh, fresh.key)
        await hand.until(lambda: "first run" not in hand.text, "the end of the guide")


async def test_the_line_of_the_first_run_is_a_request_that_works(fresh: World) -> None:
    """What is copied, read as a shell reads it, is a request to each kind of provider that answers 200."""
    for provider in await fresh.admin.providers.list():
        if provider.kind == "google-vertex":  # the simulator's account has no token here
            continue
        words = shlex.split(line(fresh.origin, [provider]).replace(f"${VARIABLE}", fresh.key))
        assert words[0] == "curl"
        headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
        answer = await fresh.http.post(words[1], headers=headers, content=words[words.index("-d") + 1])
        assert answer.status_code == 200, (provider.kind, answer.text)


async def test_nothing_is_kept_of_what_was_copied(world: World) -> None:
    """Textual's own clipboard holds nothing after a copy."""
    async with at(world, live=False) as hand:
        copy(hand.app, "paig_secret")
        assert hand.app.clipboard == ""
