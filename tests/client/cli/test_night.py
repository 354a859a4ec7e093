"""An operator's night with the command line alone: what spends, why it is refused, stop it, let the others go on."""

from __future__ import annotations

import json

import httpx2

from tests.client.cli.conftest import Paig
from tests.client.real import Real


def ask(real: Real, key: str) -> str:
    """One request: its status, or the gateway's own error."""
    body = {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "[sim:tokens=50] hi"}],
        "max_completion_tokens": 60,
    }
    with httpx2.Client(base_url=real.root, trust_env=False, timeout=60) as http:
        answer = http.post("/proxy/openai/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    return answer.headers.get("x-paig-error", str(answer.status_code))


def until(real: Real, key: str, wanted: str) -> None:
    """Ask until that comes of it."""
    for _ in range(100):
        if ask(real, key) == wanted:
            return
    raise AssertionError(f"never {wanted}")


def test_the_night(paig: Paig, real: Real, url: str) -> None:
    """Each answer of one command leads to the next command."""
    at = ("--url", url)
    runaway = real.make_key("night-runaway", daily="0.01")
    deploy = real.make_key("night-deploy", daily="0.0012")
    assert ask(real, deploy) == "200"
    until(real, runaway, "limit-exceeded")
    until(real, deploy, "limit-exceeded")

    # Which key spends?
    usage = json.loads(paig("usage", "--by", "key", "--since", "1h", "--sort", "-cost", "--json", *at).out)
    spenders = [item["group"]["key"] for item in usage["items"] if item["group"]["key"].startswith("night-")]
    assert spenders[0] == "night-runaway"
    fullest = paig("limits", "list", "--sort", "-used", *at).out.splitlines()
    assert any("night-runaway" in line for line in fullest[:4])

    # Why was a request refused?
    [row, *_] = json.loads(
        paig("requests", "list", "--key", "night-deploy", "--error", "limit-exceeded", "--json", *at).out
    )
    shown = paig("requests", "show", row["id"], *at).out
    assert "daily" in shown
    assert "night-deploy" in shown
    assert "resets" in shown

    # Stop the one, and let the other go on until the morning.
    assert paig("keys", "disable", "night-runaway", *at).code == 0
    until(real, runaway, "key-disabled")
    raised = paig("limits", "raise", "key:night-deploy", "1", "--until", "8h", "--why", "release tonight", *at)
    assert raised.code == 0, raised.err
    until(real, deploy, "200")
    listed = paig("limits", "raises", *at).out
    assert "night-deploy" in listed
    assert "release tonight" in listed

    # And what was done stands in the audit log.
    done = json.loads(paig("audit", "--since", "1h", "--name", "night-runaway", "--json", *at).out)
    assert done[0]["action"] == "disable"
