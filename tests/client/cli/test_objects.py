"""`paig providers|routes|projects|users` against a real gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.client.cli.conftest import Paig
from tests.client.real import Real


def rows(paig: Paig, kind: str, url: str) -> dict[str, Any]:
    """What a listing command prints as JSON, by name."""
    ran = paig(kind, "list", "--json", "--url", url)
    assert ran.code == 0
    return {item["name"]: item for item in json.loads(ran.out)}


def test_providers_from_creation_to_deletion(paig: Paig, url: str) -> None:
    """A provider is made, shown, changed and deleted; its credential stays a reference."""
    options = ["--kind", "bedrock", "--credential", "env:AWS_KEY", "--set", "region=eu-west-1"]
    made = paig("providers", "create", "life-bedrock", *options, "--url", url)
    assert (made.code, made.out) == (0, "")
    item = rows(paig, "providers", url)["life-bedrock"]
    assert (item["credential"], item["options"]["region"]) == ("env:AWS_KEY", "eu-west-1")
    assert "region=eu-west-1" in paig("providers", "list", "--url", url).out
    assert "env:AWS_KEY" in paig("providers", "show", "life-bedrock", "--url", url).out
    changes = ["--set", "region=none", "--set", "inject_cost=false", "--credential", "file:key.json"]
    changes += ["--set", "timeouts.first_byte=20"]
    assert paig("providers", "update", "life-bedrock", *changes, "--url", url).code == 0
    item = json.loads(paig("providers", "show", "life-bedrock", "--json", "--url", url).out)
    assert (item["credential"], item["options"]["inject_cost"]) == ("file:key.json", False)
    assert item["options"].get("region") in (None, "us-east-1")
    assert "timeouts.first_byte=20" in paig("providers", "show", "life-bedrock", "--url", url).out
    assert paig("providers", "delete", "life-bedrock", "--yes", "--url", url).code == 0
    assert "life-bedrock" not in rows(paig, "providers", url)


def test_a_credential_is_never_taken_from_the_command_line(paig: Paig, url: str) -> None:
    """A literal is refused; `-` reads the secret from standard input, and no answer shows it."""
    literal = paig("providers", "create", "p", "--kind", "openai", "--credential", "sk-secret", "--url", url)
    assert literal.code == 2
    assert paig("providers", "create", "p", "--kind", "openai", "--credential", "value:sk", "--url", url).code == 2
    asked = paig(
        "providers",
        "create",
        "asked",
        "--kind",
        "openai",
        "--credential",
        "-",
        "--json",
        "--url",
        url,
        stdin="sk-secret\n",
    )
    assert asked.code == 0
    assert "sk-secret" not in asked.out + asked.err
    assert json.loads(asked.out)["credential"] is not None
    nothing = paig("providers", "create", "p", "--kind", "openai", "--credential", "-", "--url", url)
    assert nothing.code == 2


def test_several_credentials(paig: Paig, url: str) -> None:
    """`--credential` may be repeated, `-` among them; one takes their place again."""
    options = ["--credential", "env:KEY_1", "--credential", "-", "--credential", "-", "--url", url]
    made = paig("providers", "create", "several", "--kind", "openai", *options, "--json", stdin="sk-two\nsk-three\n")
    assert made.code == 0, made.err
    assert "sk-" not in made.out + made.err
    item = json.loads(made.out)
    assert item["credential"] is None
    first, second, third = item["credentials"]
    assert first["reference"] == "env:KEY_1"
    assert (second["reference"], third["reference"]) == (
        f"value:<stored:{second['id']}>",
        f"value:<stored:{third['id']}>",
    )
    shown = paig("providers", "show", "several", "--url", url).out
    assert all(f"{one['reference']} ({one['id']})" in shown for one in item["credentials"])
    update = ["providers", "update", "several", "--url", url, "--json"]
    kept = json.loads(paig(*update, "--credential", third["reference"]).out)
    assert (kept["credential"], kept["credentials"][0]["id"]) == ("value:<stored>", third["id"])
    one = json.loads(paig(*update, "--credential", "env:KEY_2").out)
    assert (one["credential"], len(one["credentials"])) == ("env:KEY_2", 1)
    again = json.loads(paig(*update, "--credential", "env:KEY_2", "--credential", "env:KEY_3").out)
    assert (again["credential"], len(again["credentials"])) == (None, 2)
    assert json.loads(paig(*update, "--credential", "none").out)["credentials"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "p", "--kind", "openai", "--set", "colour=red"], "colour"),
        (["create", "p", "--kind", "openai", "--set", "region"], "FIELD=VALUE"),
        (["create", "p"], "--kind"),
        (["update", "openai"], "at least one thing to change"),
    ],
)
def test_a_wrong_provider_is_a_usage_error(paig: Paig, url: str, arguments: list[str], words: str) -> None:
    """What is wrong is named, and nothing is sent."""
    ran = paig("providers", *arguments, "--url", url)
    assert ran.code == 2
    assert words in ran.err


def test_a_provider_is_tried_out(paig: Paig, url: str) -> None:
    """One that answers is exit code 0, one that does not is 1 and says why."""
    fine = paig("providers", "test", "groq", "--url", url)
    assert fine.code == 0
    assert "● ok" in fine.out
    assert fine.err == "It answers and takes the credential.\n"
    away = ["--kind", "openai", "--base-url", "http://no-such-host.invalid", "--credential", "-"]
    assert paig("providers", "create", "away", *away, "--url", url, stdin="sk-x\n").code == 0
    ran = paig("providers", "test", "away", "--url", url)
    assert (ran.code, ran.err.split(".")[0]) == (1, "The name no-such-host")
    assert json.loads(paig("providers", "test", "away", "--json", "--url", url).out)["outcome"] == "dns"
    assert paig("providers", "delete", "away", "--yes", "--url", url).code == 0


def test_routes_from_creation_to_deletion(paig: Paig, url: str) -> None:
    """Members are written PROVIDER:PRIORITY:WEIGHT, and shown in a table."""
    ran = paig("routes", "create", "life-fast", "--member", "groq:10:3", "--member", "openai:5", "--url", url)
    assert ran.code == 0
    members = rows(paig, "routes", url)["life-fast"]["members"]
    assert [(item["provider"], item["priority"], item["weight"]) for item in members] == [
        ("groq", 10, 3),
        ("openai", 5, 1),
    ]
    lines = paig("routes", "list", "--url", url).out.splitlines()
    assert [" ".join(line.split()) for line in lines if "100%" in line] == ["life-fast groq 10 3 100%"]
    assert "standby" in paig("routes", "show", "life-fast", "--url", url).out
    setting = ["--set", "timeouts.deadline=30", "--set", "timeouts.first_byte=2.5", "--set", "choice=latency"]
    assert paig("routes", "update", "life-fast", *setting, "--set", "affinity=false", "--url", url).code == 0
    shown = "timeouts.first_byte=2.5, timeouts.deadline=30, choice=latency, affinity=false"
    assert shown in paig("routes", "show", "life-fast", "--url", url).out
    paig("routes", "update", "life-fast", "--set", "timeouts.deadline=none", "--set", "affinity=none", "--url", url)
    item = json.loads(paig("routes", "show", "life-fast", "--json", "--url", url).out)
    assert (item["timeouts"]["deadline"], item["timeouts"]["first_byte"]) == (None, 2.5)
    assert (item["choice"], item["affinity"], len(item["members"])) == ("latency", True, 2)
    assert paig("routes", "update", "life-fast", "--set", "choice=best", "--url", url).code == 1
    assert paig("routes", "update", "life-fast", "--url", url).code == 2
    assert paig("routes", "update", "life-fast", "--member", "openai", "--url", url).code == 0
    assert len(json.loads(paig("routes", "show", "life-fast", "--json", "--url", url).out)["members"]) == 1
    assert paig("routes", "create", "bad", "--member", "openai:1:2:3", "--url", url).code == 2
    assert paig("routes", "create", "bad", "--member", "openai:high", "--url", url).code == 2
    assert paig("routes", "create", "bad", "--member", "nobody", "--url", url).code == 1
    assert paig("routes", "delete", "life-fast", "--yes", "--url", url).code == 0


@pytest.mark.parametrize("kind", ["projects", "users"])
def test_owners_from_creation_to_deletion(paig: Paig, url: str, real: Real, kind: str) -> None:
    """Projects and users have caps, which stand beside what is spent."""
    name = f"life-{kind}"
    assert paig(kind, "create", name, "--daily", "10", "--tokens-per-minute", "5000", "--url", url).code == 0
    assert "░░░░░░░░   0% of $10.00" in paig(kind, "list", "--url", url).out
    shown = paig(kind, "show", name, "--url", url).out
    assert "tokens/minute" in shown
    assert "$10.00" in shown
    assert paig(kind, "update", name, "--daily", "none", "--weekly", "7.5", "--url", url).code == 0
    limits = rows(paig, kind, url)[name]["limits"]
    assert (limits["daily"], float(limits["weekly"]), limits["tokens_per_minute"]) == (None, 7.5, 5000)
    assert paig(kind, "update", name, "--url", url).code == 2
    one = kind.removesuffix("s")
    assert paig("keys", "create", f"of-{name}", f"--{one}", name, "--url", url).code == 0
    refused = paig(kind, "delete", name, "--yes", "--url", url)
    assert refused.code == 1
    assert paig("keys", "delete", f"of-{name}", "--yes", "--url", url).code == 0
    assert paig(kind, "delete", name, "--yes", "--url", url).code == 0
    assert name not in rows(paig, kind, url)


def test_a_project_has_its_own_settings(paig: Paig, url: str, real: Real) -> None:
    """Every setting of a project has an option, which is kept and can be reset."""
    options = [
        "--timezone",
        "Europe/Berlin",
        "--when-tight",
        "refuse",
        "--network",
        "10.0.0.0/8",
        "--format",
        "anthropic",
    ]
    assert paig("projects", "create", "life-own", *options, "--url", url).code == 0
    item = rows(paig, "projects", url)["life-own"]
    kept = [item[name] for name in ("timezone", "when_tight", "networks", "formats")]
    assert kept == ["Europe/Berlin", "refuse", ["10.0.0.0/8"], ["anthropic"]]
    assert paig("projects", "update", "life-own", "--network", "nowhere", "--url", url).code != 0
    assert paig("projects", "update", "life-own", "--timezone", "none", "--network", "none", "--url", url).code == 0
    item = rows(paig, "projects", url)["life-own"]
    assert (item["timezone"], item["networks"], item["when_tight"]) == (None, None, "refuse")
    assert paig("projects", "delete", "life-own", "--yes", "--url", url).code == 0


def test_keys_on_a_real_gateway(paig: Paig, url: str) -> None:
    """What the options say is what the gateway keeps, and the limits that bind are shown."""
    paig("projects", "create", "life-lab", "--monthly", "100", "--url", url)
    options = ["--project", "life-lab", "--daily", "0.05", "--expires", "30d", "--model", "gpt-5*"]
    made = json.loads(paig("keys", "create", "life-key", *options, "--json", "--url", url).out)
    assert set(made) == {"id", "name", "key"}
    shown = paig("keys", "show", "life-key", "--url", url).out
    assert "project life-lab" in shown
    assert "$100.00" in shown
    assert "gpt-5*" in shown
    assert made["key"] not in shown
    assert paig("keys", "update", "life-key", "--daily", "none", "--expires", "none", "--url", url).code == 0
    key = json.loads(paig("keys", "show", "life-key", "--json", "--url", url).out)
    assert (key["limits"]["daily"], key["expires_at"], key["models"]) == (None, None, ["gpt-5*"])
    assert json.loads(paig("keys", "rotate", "life-key", "--yes", "--json", "--url", url).out)["id"] == made["id"]
    assert paig("keys", "create", "x", "--project", "no-such-project", "--url", url).code == 1
