"""What each agent's own requests do at a key of `paig keys create --for AGENT` whose cap is nearly spent.

The requests are those that the simulated provider got while the agent ran. They are sent again and again with such a
key, until it is refused: no request may be refused while the cap has room for it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from paig_client.admin import AdminClient

LIMIT = Decimal(20)
"""US dollars a day, which `--for` sets."""
ROOMS = [Decimal("0.05") * 2**number for number in range(7)]
"""How much is left of the limit at the beginning: the first room that lets some requests through."""
SOME, MOST = 5, 600
"""How many requests must be answered at least, and how many must be enough to spend what is left."""
SENT = ("content-type", "anthropic-version", "anthropic-beta", "accept", "user-agent")
FINAL = ("limit-exceeded", "limit-too-small")
"""The refusals of a cap."""
LEAST = Decimal("0.95")
"""The share of the limit that must be spent before the first refusal."""
SentRequest = tuple[str, dict[str, str], str]
"""Path, headers and body."""


@dataclass(frozen=True, slots=True)
class Capped:
    """The outcome for one agent.

    Attributes:
        spent: What was spent of the limit at the refusal, in US dollars.
        answered: How many requests were answered.
        fitted: How many of them had their output maximum lowered.
        refusal: The error that ended it, and its status.
        trouble: What was wrong; empty if nothing was.
    """

    spent: Decimal
    answered: int
    fitted: int
    refusal: str
    trouble: str

    def cells(self) -> str:
        """The columns of the page's table."""
        failed = " **failed**" if self.trouble else ""
        return f"{self.answered} | {self.fitted} | {self.refusal}{failed} | {100 * self.spent / LIMIT:.1f} %"


def requests_of(received: Sequence[Mapping[str, Any]], routes: Mapping[str, str]) -> list[SentRequest]:
    """Path, headers and body of each request for an answer of a model, as a client of the gateway sends it.

    Args:
        received: What the simulated provider got.
        routes: The path of each route there.
    """
    found = []
    for request in received:
        path = str(request["path"])
        route, prefix = max(
            ((route, prefix) for route, prefix in routes.items() if path.startswith(f"{prefix}/")),
            key=lambda pair: len(pair[1]),
        )
        target = f"/proxy/{route}{path.removeprefix(prefix)}" + (f"?{request['query']}" if request["query"] else "")
        headers = {name: value for name, value in request["headers"] if name in SENT}
        if request.get("body") and not path.endswith(("/count_tokens", ":countTokens")):
            found.append((target, headers, str(request["body"])))
        for message in map(json.loads, request.get("messages", ())):
            if message.pop("type", "") == "response.create":  # over HTTP the same, without its type
                found.append((target, {"content-type": "application/json"}, json.dumps({**message, "stream": True})))
    return found


def spend_cap(
    agent: str, requests: Sequence[SentRequest], paig: Callable[..., str], admin: AdminClient, root: str
) -> Capped:
    """Send an agent's requests with a key of its own until they are refused.

    Args:
        agent: What `--for` takes.
        requests: As `requests_of` found them.
        paig: Runs the command line, and gives what it prints.
        admin: Asks the admin API.
        root: The gateway's address.
    """
    for room in ROOMS:
        name = f"{agent} with {room} left"
        key = json.loads(paig("keys", "create", name, "--for", agent, "--json"))["key"]
        admin.record_spent(name, LIMIT - room, source=name.replace(" ", "-"))
        answered = fitted = 0
        with httpx2.Client(
            base_url=root, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=60
        ) as http:
            for number in range(MOST):
                path, headers, body = requests[number % len(requests)]
                answer = http.post(path, headers=headers, content=body.encode())
                if answer.status_code != 200:
                    break
                answered += 1
                fitted += "x-paig-fitted" in answer.headers
        if answered >= SOME or answer.headers.get("x-paig-error") not in FINAL:
            break
    [limit] = [row for row in admin.limits() if row.owner == name and row.window == "daily"]
    spent = Decimal(limit.spent)
    refusal = f"{answer.status_code} `{answer.headers.get('x-paig-error', '–')}`"
    trouble = ""
    if answer.headers.get("x-paig-error") not in FINAL:
        trouble = f"it ended with {refusal}, not by its cap: {answer.text[:300]}\n"
    elif not LIMIT * LEAST <= spent <= LIMIT:
        trouble = f"refused when {spent} was spent: {answer.text[:500]}\n"
    return Capped(spent, answered, fitted, refusal, trouble)


def command(paig: Path, environment: Mapping[str, str]) -> Callable[..., str]:
    """Runs the command line."""

    def run(*words: str) -> str:
        done = subprocess.run([paig, *words], env=dict(environment), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    return run
