"""`paig demo`: a gateway and a simulated provider in one process, real clients, and a cap that holds.

Nothing leaves the machine and nothing is kept: the home folder is a temporary one. With `--live` the same agents talk
to the real providers whose keys are in the environment.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import paig_client
from paig_client.api.limits import LimitsSpec
from paig_client.api.resources import Request
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.server import running_gateway
from paig_gateway.simulator.serve import running_simulator

CAP = Decimal("0.05")
BURST = 50
SHOWN = 3
"""Rows of each kind in the table of the ledger."""

LIVE = {
    "openai": ("OPENAI_API_KEY", "gateway/openai:gpt-5-nano"),
    "anthropic": ("ANTHROPIC_API_KEY", "gateway/anthropic:claude-haiku-4-5"),
    "groq": ("GROQ_API_KEY", "gateway/groq:llama-3.1-8b-instant"),
}
"""By provider: where its key is looked for, and a cheap model."""


def main(*, live: bool = False) -> int:
    """Run the demo.

    Args:
        live: Use the real providers whose keys are in the environment.

    Returns:
        The exit code: 0 if everything went as promised.
    """
    console = Console()
    # The ledger's table needs its columns; a narrow terminal may wrap them.
    console.width = max(console.width, 100)
    with tempfile.TemporaryDirectory(prefix="paig-demo-") as folder:
        os.environ["PAIG_HOME"] = folder
        # The demo leaves nothing behind, in a keyring either.
        os.environ["PAIG_SECRET_KEY"] = os.environ["PAIG_ADMIN_TOKEN"] = "demo"
        os.environ.pop("PAIG_DATABASE_URL", None)
        return asyncio.run(_live(console, Path(folder)) if live else _simulated(console, Path(folder)))


async def _simulated(console: Console, home: Path) -> int:
    async with running_simulator() as simulator:
        store = OpenDatabase.open(home)
        for name, path in (("openai", "/openai/v1"), ("anthropic", "/anthropic")):
            spec = ProviderSpec(kind=name, base_url=simulator + path, credential="value:simulated")
            store.catalog.providers.create(name, spec, actor="demo")
        key = store.catalog.keys.create("demo", KeySpec(limits=LimitsSpec(daily=CAP)), actor="demo")
        async with running_gateway(Gateway(store)) as origin:
            console.print(f"Gateway at {origin}, a simulated provider behind it, key 'demo' with ${CAP} a day.\n")
            await _agents(console, origin, key.key, ["gateway/openai:gpt-5", "gateway/anthropic:claude-sonnet-4-5"])
            await _openai_sdk(console, origin, key.key)
            await _burst(console, origin, key.key)
            return await _ledger(console, origin)


async def _live(console: Console, home: Path) -> int:
    present = {name: model for name, (variable, model) in LIVE.items() if os.environ.get(variable)}
    if not present:
        wanted = ", ".join(variable for variable, _ in LIVE.values())
        console.print(f"--live needs a provider's key in the environment: one of {wanted}.")
        return 1
    store = OpenDatabase.open(home)
    for name in present:
        spec = ProviderSpec(kind=name, credential=f"env:{LIVE[name][0]}")
        store.catalog.providers.create(name, spec, actor="demo")
    key = store.catalog.keys.create("demo", KeySpec(limits=LimitsSpec(daily=CAP)), actor="demo")
    async with running_gateway(Gateway(store)) as origin:
        console.print(f"Gateway at {origin}, real providers behind it, key 'demo' with ${CAP} a day.\n")
        await _agents(console, origin, key.key, list(present.values()))
        return await _ledger(console, origin)


async def _agents(console: Console, origin: str, key: str, models: Sequence[str]) -> None:
    """One agent a model, all but the first streaming."""
    from pydantic_ai import Agent
    from pydantic_ai.settings import ModelSettings

    settings = ModelSettings(max_tokens=300)
    with paig_client.register(api_key=key, base_url=f"{origin}/proxy"):
        for number, model in enumerate(models):
            async with Agent(model, model_settings=settings) as agent:
                if number == 0:
                    result = await agent.run("What is a spending cap, in one sentence?")
                    console.print(f"[bold]Agent({model!r})[/]")
                    console.print(f"  {result.output}", markup=False, highlight=False)
                    console.print(f"  cost: ${result.usage.cost}\n")
                    continue
                async with agent.run_stream("Why do caps need reservations?") as stream:
                    console.print(f"[bold]Agent({model!r})[/], streaming")
                    console.print("  ", end="")
                    async for piece in stream.stream_text(delta=True):
                        console.print(piece, end="", markup=False, highlight=False)
                    console.print(f"\n  cost: ${stream.usage.cost}\n")


async def _openai_sdk(console: Console, origin: str, key: str) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key=key, base_url=f"{origin}/proxy/openai") as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}], max_completion_tokens=50
        )
        console.print("[bold]OpenAI SDK[/], only its base URL and key changed")
        console.print(f"  {answer.parse().choices[0].message.content}", markup=False, highlight=False)
        console.print(f"  cost: ${answer.headers['logfire-ai-gateway-cost'].removesuffix('USD')}\n")


async def _burst(console: Console, origin: str, key: str) -> None:
    """Far more requests at once than the cap pays for."""
    from openai import APIStatusError, AsyncOpenAI

    async with AsyncOpenAI(api_key=key, base_url=f"{origin}/proxy/openai", max_retries=0) as client:

        async def ask() -> str:
            try:
                await client.chat.completions.create(
                    model="gpt-5",
                    messages=[{"role": "user", "content": "[sim:tokens=200] [sim:delay=0.05] Tell me a story."}],
                    max_completion_tokens=200,
                )
            except APIStatusError as error:
                known = paig_client.from_exception(error)
                return type(known).__name__ if known else str(error.status_code)
            return "answered"

        outcomes = await asyncio.gather(*(ask() for _ in range(BURST)))
    console.print(f"[bold]A burst of {BURST} concurrent requests[/], $0.002 each at most")
    for outcome in sorted(set(outcomes)):
        console.print(f"  {outcomes.count(outcome):3} {outcome}")
    console.print()


async def _ledger(console: Console, origin: str) -> int:
    """Show what the ledger holds, and whether the cap held."""
    async with paig_client.AsyncAdminClient(origin, token="demo") as admin:
        rows = (await admin.requests(limit=200)).items
        caps = await admin.limits()
    console.print(_table(rows))
    spent = sum((row.cost for row in rows), Decimal(0))
    counted, held = caps[0].spent, caps[0].held
    console.print(
        f"Spent ${spent.normalize():f} of ${CAP}; the limit's counter says ${counted:f}, ${held:f} is still held."
    )
    if spent > CAP or spent != counted or held:
        console.print("That is not what was promised.", style="bold red")
        return 1
    console.print("Spend stopped at the cap, and every request has its row.", style="bold green")
    return 0


def _table(rows: Sequence[Request]) -> Table:
    table = Table(title="The ledger: the newest of each kind", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("time", "status", "model", "format", "in", "out", "cost $", "known how"):
        number = heading in ("in", "out", "cost $")
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    shown: dict[tuple[object, ...], int] = {}
    for row in rows:
        kind = (row.status, row.model, row.format, row.stream)
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] > SHOWN:
            continue
        usage = row.usage or {}
        table.add_row(
            row.time.strftime("%H:%M:%S"),
            str(row.status),
            row.model,
            row.format + (" ≈" if row.stream else ""),
            str(usage.get("input_tokens", "")),
            str(usage.get("output_tokens", "")),
            f"{row.cost:f}" if row.error is None else "",
            row.error or row.certainty or "",
        )
    more = len(rows) - sum(min(count, SHOWN) for count in shown.values())
    table.caption = f"≈ streamed; {more} more rows like these" if more else "≈ streamed"
    return table
