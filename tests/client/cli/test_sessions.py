"""`paig sessions`: a recorded session of several agents as its tree, stopped and let go on."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import httpx2
import pytest

from tests.client.cli.conftest import Paig
from tests.client.real import Real
from tests.gateway.end_to_end.agents import DIGGER, SCOUT, SESSION, STEPS, play


@pytest.fixture(scope="module")
def coder(real: Real) -> tuple[str, str]:
    """A key with that session: its name and its secret."""
    name = f"coder-{id(real)}"
    secret = real.make_key(name)
    assert send(real, secret) == [200] * len(STEPS)
    return name, secret


def send(real: Real, secret: str) -> list[int]:
    """Play the session; the statuses."""

    async def sending() -> list[int]:
        async with httpx2.AsyncClient(base_url=real.root, trust_env=False, timeout=30) as http:
            return [answer.status_code for answer in await play(http, secret)]

    return asyncio.run(sending())


def test_a_session_is_shown_as_its_tree(paig: Paig, url: str, coder: tuple[str, str]) -> None:
    """Each agent stands below the one that started it, with what it spent itself and with all below it."""
    at = ("--url", url)
    lines = paig("sessions", "show", SESSION, *at).out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("agent "))
    assert [line[:14].rstrip() for line in lines[start + 1 :]] == ["main", "├─ Explore", "│  └─ Explore", "└─ Test"]
    assert lines[start].split() == (
        ["agent", "lasted", "requests", "input", "cached", "output", "cost", "total", "share", "model"]
    )
    tree = json.loads(paig("sessions", "show", SESSION, "--json", *at).out)["tree"]
    assert [agent["id"] for agent in tree][:3] == [None, SCOUT, DIGGER]
    assert "no session 'none'" in paig("sessions", "show", "none", *at).err


def test_sessions_are_listed_and_added_up(paig: Paig, url: str, coder: tuple[str, str]) -> None:
    """As a table, as CSV and in `paig usage`; the requests of one are found by it."""
    at, name = ("--url", url), coder[0]
    assert SESSION in paig("sessions", "list", "--key", name, *at).out
    [line] = csv.DictReader(io.StringIO(paig("sessions", "list", "--key", name, "--csv", *at).out))
    [one] = json.loads(paig("sessions", "list", "--key", name, "--json", *at).out)
    assert (line["cost"], line["requests"], line["agents"]) == (one["cost"], "6", "4")
    report = json.loads(paig("usage", "--by", "session", "--key", name, "--json", *at).out)
    assert [(item["group"], item["cost"]) for item in report["items"]] == [({"session": SESSION}, one["cost"])]
    agents = json.loads(paig("usage", "--by", "agent", "--key", name, "--json", *at).out)
    assert len(agents["items"]) == 4
    rows = json.loads(paig("requests", "list", "--session", SESSION, "--key", name, "--json", *at).out)
    assert len(rows) == 6
    shown = paig("requests", "show", rows[1]["id"], *at).out
    assert "Test" in shown
    assert SESSION in shown
    assert "There are no sessions" in paig("sessions", "list", "--key", "tester", *at).err


def test_a_session_is_stopped_until_it_may_go_on(paig: Paig, url: str, real: Real, coder: tuple[str, str]) -> None:
    """Each request of the session is refused meanwhile."""
    at, secret = ("--url", url), coder[1]
    assert f"of key {coder[0]} is stopped" in paig("sessions", "stop", SESSION, *at).err
    assert send(real, secret) == [429] * len(STEPS)
    assert "■ stopped by token:admin" in paig("sessions", "list", "--key", coder[0], *at).out
    assert "may go on" in paig("sessions", "resume", SESSION, *at).err
    assert send(real, secret) == [200] * len(STEPS)


def test_loops_are_told_in_words_and_csv_stays_as_it_was(paig: Paig, url: str, real: Real) -> None:
    """On the table and below the session; what programs read has no column for people's eyes."""
    at = ("--url", url)
    secret = real.make_key("circling")

    async def sending() -> None:
        async with httpx2.AsyncClient(base_url=real.root, trust_env=False, timeout=30) as http:
            await play(http, secret, "in-circles", [STEPS[0]] * 20)

    asyncio.run(sending())
    listed = paig("sessions", "list", "--key", "circling", *at).out
    assert "▲ loop" in listed
    assert "14 days" in listed
    [line] = csv.DictReader(io.StringIO(paig("sessions", "list", "--key", "circling", "--csv", *at).out))
    assert [*line] == [
        *[
            "session",
            "key",
            "project",
            "user",
            "began",
            "lasted",
            "agents",
            "requests",
            "input",
            "cached",
            "output",
            "cost",
            "state",
        ]
    ]
    assert line["state"] == ""
    shown = paig("sessions", "show", "in-circles", *at)
    assert "loop: It sent the same request 20 times" in shown.err
    [row] = json.loads(paig("requests", "list", "-n", "1", "--session", "in-circles", "--json", *at).out)
    assert "$" not in paig("requests", "list", "-n", "1", "--csv", *at).out.splitlines()[0]
    assert row["session"] == "in-circles"
