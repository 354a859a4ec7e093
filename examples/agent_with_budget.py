"""An agent whose run can never cost more than ten cents, however many steps it takes.

Run it with the gateway in the environment: `paig run -- python examples/agent_with_budget.py`.
"""

from __future__ import annotations

from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError

import paig_client

paig_client.register()

agent = Agent("gateway/openai-chat:gpt-4o-mini", model_settings={"max_tokens": 500})


@agent.tool_plain
def population(city: str) -> int:
    """The number of people who live in a city."""
    return {"Paris": 2_100_000, "Rome": 2_800_000}.get(city, 0)


def main() -> None:
    """Ask questions until they are answered or the budget is used up."""
    with paig_client.budget(usd="0.10") as run, paig_client.tags(job="example"):
        try:
            for question in ("How many people live in Paris?", "And in Rome?"):
                result = agent.run_sync(question)
                print(f"{result.output}  ({result.usage.cost} USD)")
        except ModelHTTPError as error:
            refusal = paig_client.from_exception(error)
            if not isinstance(refusal, paig_client.LimitExceeded):
                raise
            print(f"Stopped: {refusal}")
    print(f"`paig usage --by tag:job` shows what it cost; the run was {run}.")


if __name__ == "__main__":
    main()
