"""`paig requests`, `paig limits`, `paig version`; sorting, CSV and suggestions, which lists have alike."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.client import calls
from tests.client.cli.conftest import Paig
from tests.client.real import Real


@pytest.fixture(scope="module")
def spender(real: Real) -> str:
    """A key that has paid for a request, and been refused another."""
    name = f"spender-{id(real)}"
    key = real.make_key(name, daily=5)
    calls.groq(api_key=key, base_url=real.root)
    return name


def test_requests_are_listed_and_shown(paig: Paig, url: str, spender: str) -> None:
    """By filter; one is found by its id, with each try; an id that is not known is said."""
    at = ("--url", url)
    table = paig("requests", "list", "--key", spender, *at).out.splitlines()
    assert table[0].split()[:3] == ["time", "status", "key"]
    [row] = json.loads(paig("requests", "list", "--key", spender, "--json", *at).out)
    shown = paig("requests", "show", row["id"], *at).out
    assert row["id"] in shown
    assert "provider" in shown
    assert json.loads(paig("requests", "show", row["id"], "--json", *at).out)["key"] == spender
    [line] = csv.DictReader(io.StringIO(paig("requests", "list", "--key", spender, "--csv", *at).out))
    assert line["cost"] == row["cost"]
    assert line["id"] == row["id"]
    assert "no such requests" in paig("requests", "list", "--key", spender, "--errors", *at).err
    assert paig("requests", "show", "req_none", *at).code == 1


def test_limits_are_listed(paig: Paig, url: str, spender: str) -> None:
    """All of them, or one owner's, with what is spent as a number in CSV."""
    at = ("--url", url)
    table = paig("limits", "list", "--of", f"key:{spender}", *at).out
    assert "$5.00" in table
    assert "7 days" in table
    [limit] = json.loads(paig("limits", "list", "--of", f"key:{spender}", "--json", *at).out)
    [line] = csv.DictReader(io.StringIO(paig("limits", "list", "--of", f"key:{spender}", "--csv", *at).out))
    assert (line["amount"], line["spent"]) == (limit["amount"], limit["spent"])
    assert [float(one) > 0 for one in limit["spent_by_day"]] == [False] * 6 + [True]
    assert "Did you mean 'key'?" in paig("limits", "list", "--of", "keys", *at).err


def test_a_list_is_sorted_by_a_column(paig: Paig, url: str) -> None:
    """By value, not by text: $100 is more than $20; empty cells come last; an unknown column is answered."""
    at = ("--url", url)
    for name, daily in (("sort-b", "20"), ("sort-a", "100"), ("sort-c", "3")):
        assert paig("keys", "create", name, "--daily", daily, *at).code == 0
    shown = paig("limits", "list", "--sort", "amount", *at).out
    found = [word for word in shown.split() if word.startswith("sort-")]
    assert found == ["sort-c", "sort-b", "sort-a"]
    names = [
        row["name"] for row in csv.DictReader(io.StringIO(paig("keys", "list", "--csv", "--sort", "-name", *at).out))
    ]
    assert names == sorted(names, key=str.casefold, reverse=True)
    assert "Did you mean 'name'?" in paig("keys", "list", "--sort", "nmae", *at).err


def test_json_has_what_the_table_shows(paig: Paig, url: str, spender: str) -> None:
    """How much of each cap is spent, and how the members of a route share its requests."""
    at = ("--url", url)
    keys = {key["name"]: key for key in json.loads(paig("keys", "list", "--json", *at).out)}
    assert keys[spender]["balances"][0]["amount"] == "5"
    assert paig("routes", "create", "shared", "--member", "openai:1:3", "--member", "groq:1:1", *at).code == 0
    shown = json.loads(paig("routes", "show", "shared", "--json", *at).out)
    assert shown["shares"] == {"openai": "75%", "groq": "25%"}
    paig("routes", "delete", "shared", "--yes", *at)


def test_unknown_names_are_answered_with_the_nearest(paig: Paig, url: str, spender: str) -> None:
    """Of the same kind of object."""
    ran = paig("keys", "show", spender[:-1], "--url", url)
    assert ran.code == 1
    assert f"Did you mean '{spender}'?" in ran.err


def test_money_is_aligned_at_its_point(paig: Paig, url: str) -> None:
    """In a column of amounts the points stand below one another."""
    at = ("--url", url)
    for name, daily in (("cents", "0.05"), ("nanos", "0.000000001"), ("many", "1234.5")):
        assert paig("users", "create", name, "--daily", daily, *at).code == 0
    lines = paig("limits", "list", "--of", "user", *at).out.splitlines()
    points = {line.index(".", line.index("$")) for line in lines if line.startswith("user ")}
    assert len(points) == 1


def test_a_key_for_an_agent(paig: Paig, url: str) -> None:
    """Has limits that suit it; what is stated besides counts; an unknown agent is answered."""
    at = ("--url", url)
    assert paig("keys", "create", "agent", "--for", "claude-code", "--daily", "7", *at).code == 0
    limits = json.loads(paig("keys", "show", "agent", "--json", *at).out)["limits"]
    assert (limits["daily"], limits["monthly"]) == ("7", "200")
    ran = paig("keys", "create", "other", "--for", "claude", *at)
    assert ran.code == 2
    assert "claude-code" in ran.err


def test_versions(paig: Paig) -> None:
    """For a report of a bug."""
    assert json.loads(paig("version", "--json").out).keys() == {"paig", "python", "system"}
    assert paig("version").out.startswith("paig ")


def test_the_terminal_ui_needs_a_terminal(paig: Paig) -> None:
    """Without one it says so and ends."""
    ran = paig("tui")
    assert (ran.code, "needs a terminal" in ran.err) == (1, True)


def test_a_refusal_is_shown_in_words(paig: Paig, url: str, real: Real) -> None:
    """Why, and what to do next."""
    at = ("--url", url)
    key = real.make_key("refused-key", daily="0.00001")
    with pytest.raises(Exception, match="limit"):
        calls.groq(api_key=key, base_url=real.root)
    [row] = json.loads(paig("requests", "list", "--key", "refused-key", "--json", *at).out)
    shown = paig("requests", "show", row["id"], *at).out
    assert "refused because" in shown
    assert "can never fit the daily limit" in shown
    assert "next step" in shown
    assert "or ask for a larger limit: paig limits ask." in shown


def test_named_limits_are_made_changed_and_deleted(paig: Paig, url: str) -> None:
    at = ("--url", url)
    made = paig("limits", "create", "by-model", "--match", "model=gpt-*", "--per", "key", "--daily", "5", *at)
    assert made.code == 0
    assert "model=gpt-*" in paig("limits", "show", "by-model", *at).out
    assert paig("limits", "update", "by-model", "--daily", "7", *at).code == 0
    rows = json.loads(paig("limits", "list", "--of", "limit:by-model", "--json", *at).out)
    assert {(row["owner_kind"], row["amount"]) for row in rows} == {("limit", "7")}
    assert paig("limits", "delete", "by-model", "--yes", *at).code == 0


def test_a_limit_is_raised_for_a_while(paig: Paig, url: str, real: Real) -> None:
    at = ("--url", url)
    real.make_key("raised-key", daily=1)
    ran = paig("limits", "raise", "key:raised-key", "20", "--until", "2h", "--why", "release day", *at)
    assert ran.code == 0
    assert "daily limit of key raised-key" in ran.err
    [raised] = [one for one in json.loads(paig("limits", "raises", "--json", *at).out) if one["why"] == "release day"]
    assert raised["amount"] == "20"
    assert "raised-key" in paig("limits", "raises", *at).out
    assert paig("limits", "end-raise", raised["id"], *at).code == 0
    assert raised["id"] not in paig("limits", "raises", "--json", *at).out


def test_a_rate_is_raised_for_a_while(paig: Paig, url: str, real: Real) -> None:
    """Requests or tokens a minute, as whole numbers; a key has both, and each is raised by itself."""
    at, why = ("--url", url), ("--until", "1h", "--why", "load test")
    real.make_key("paced", requests_per_minute=10, tokens_per_minute=1000)
    for unit, to in (("tokens", "250000"), ("requests", "600")):
        ran = paig("limits", "raise", "key:paced", to, "--unit", unit, *why, *at)
        assert f"Raised the {unit} per minute limit of key paced to {to} until" in ran.err
    raised = json.loads(paig("limits", "raises", "--json", *at).out)
    shown = {one["unit"]: one["amount"] for one in raised if one["owner"] == "paced"}
    assert shown == {"tokens": "250000", "requests": "600"}
    wrong = paig("limits", "raise", "key:paced", "1.5", "--unit", "tokens", *why, *at)
    assert (wrong.code, "whole number" in wrong.err) == (2, True)
    real.make_key("unpaced")
    absent = paig("limits", "raise", "key:unpaced", "9", "--unit", "tokens", *why, *at)
    assert "has no limit on tokens a minute" in absent.err


def test_a_change_says_where_a_cap_is_small(paig: Paig, url: str, real: Real) -> None:
    """As a create does; what is printed for programs stays clean."""
    at = ("--url", url)
    real.make_key("tight-key")
    ran = paig("keys", "update", "tight-key", "--daily", "1", "--json", *at)
    assert "Note: A claude-sonnet-4-5 call" in ran.err or "Note: A gpt-5 call" in ran.err, ran.err
    assert json.loads(ran.out)["limits"]["daily"] == "1"
    assert "Note: " not in paig("keys", "update", "tight-key", "--daily", "100", *at).err
    assert "Note: " in paig("users", "create", "tight-user", "--daily", "1", *at).err


def test_a_key_alone_sees_its_limits_and_asks_for_more(
    paig: Paig, url: str, real: Real, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at = ("--url", url)
    key = real.make_key("holder", daily=1)
    with monkeypatch.context() as alone:
        alone.delenv("PAIG_ADMIN_TOKEN")
        alone.setenv("PAIG_HOME", str(tmp_path))
        alone.setenv("PAIG_API_KEY", key)
        assert "$1.00" in paig("status", *at).out
        shown = paig("usage", *at).out
        assert "spent today" in shown
        assert "$1.00" in shown
        assert json.loads(paig("usage", "--json", *at).out)["key"] == "holder"
        assert "needs an admin token" in paig("usage", "--by", "day", *at).err
        asked = paig("limits", "ask", "10", "--why", "a long refactoring", *at)
        assert asked.code == 0
    requests = json.loads(paig("limits", "requests", "--json", *at).out)
    [request] = [one for one in requests if one["key"] == "holder"]
    assert (request["key"], request["amount"]) == ("holder", "10")
    assert paig("limits", "approve", request["id"], "--until", "1h", *at).code == 0
    assert paig("limits", "decline", request["id"], *at).code == 1
    [row] = json.loads(paig("limits", "list", "--of", "key:holder", "--json", *at).out)
    assert row["amount"] == "10"
