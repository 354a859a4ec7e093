"""A session of a coding agent with its subagents, request by request, as Claude Code sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx2

SESSION = "5d1b7c62-0f0e-4a7e-9c55-2f6d0f3f1c9a"
MAIN, SCOUT, DIGGER, TESTER = None, "a1f09c3d", "b27e4410", "c90d77aa"


@dataclass(frozen=True)
class Step:
    """One request of an agent.

    Attributes:
        agent: None for the main one.
        tokens: How many tokens its answer has.
    """

    agent: str | None
    kind: str | None
    parent: str | None
    say: str
    tokens: int
    model: str = "claude-sonnet-4-5"

    def headers(self, session: str) -> dict[str, str]:
        """What Claude Code sends beside the body."""
        stated = {
            "x-claude-code-session-id": session,
            "x-claude-code-agent-id": self.agent,
            "x-claude-code-parent-agent-id": self.parent,
            "x-claude-code-agent-type": self.kind,
            "user-agent": "claude-cli/2.1.332 (external, cli)",
            "anthropic-version": "2023-06-01",
        }
        return {name: value for name, value in stated.items() if value is not None}

    def body(self) -> dict[str, object]:
        """The request itself."""
        text = f"[sim:tokens={self.tokens}] {self.say}"
        return {"model": self.model, "max_tokens": 2000, "messages": [{"role": "user", "content": text}]}


STEPS: Sequence[Step] = (
    Step(MAIN, None, None, "Find out why the nightly job fails, and mend it.", 120),
    Step(SCOUT, "Explore", None, "Where is the nightly job defined?", 400),
    Step(SCOUT, "Explore", None, "Read the scheduler.", 300),
    Step(DIGGER, "Explore", SCOUT, "Which commits touched the scheduler?", 1500),
    Step(TESTER, "Test", None, "Run the tests of the scheduler.", 200, "claude-haiku-4-5"),
    Step(MAIN, None, None, "The time zone was wrong; it is mended.", 150),
)


async def play(
    http: httpx2.AsyncClient, key: str, session: str = SESSION, steps: Sequence[Step] = STEPS
) -> list[httpx2.Response]:
    """Send the session's requests, one after the other."""
    answers = []
    for step in steps:
        headers: Mapping[str, str] = {"x-api-key": key, **step.headers(session)}
        answers.append(await http.post("/proxy/anthropic/v1/messages", headers=headers, json=step.body()))
    return answers
