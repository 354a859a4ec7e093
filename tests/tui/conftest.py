"""A real gateway in front of simulated providers, and the terminal UI at it without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import textual._wait
from textual.pilot import Pilot
from textual.widgets import Input

from paig_client.admin import AsyncAdminClient
from paig_gateway.simulator.serve import running_simulator
from paig_tui.app import PaigApp
from paig_tui.screens.dialog import FieldRow
from paig_tui.widgets.table import Table
from tests.gateway.end_to_end.conftest import ADMIN, World, environment, running_world, simulated_providers

__all__ = ["environment"]
PATIENCE = 60.0
"""Seconds until something that must happen is taken not to."""


@pytest.fixture(scope="session", autouse=True)
def no_idling() -> Iterator[None]:
    """Textual's pilot waits until the process is idle, which one with a gateway in it never is; `Hand` waits itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textual._wait, "SLEEP_IDLE", textual._wait.SLEEP_GRANULARITY)
        yield


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of simulated providers, for all tests of a module: each makes keys of its own."""
    home = tmp_path_factory.mktemp("home")
    async with running_simulator() as base, running_world(home, simulated_providers(base)) as running:
        yield running


@pytest.fixture
async def fresh(environment: None, tmp_path: Path) -> AsyncIterator[World]:
    """A new gateway."""
    async with running_simulator() as base, running_world(tmp_path / "home", simulated_providers(base)) as running:
        yield running


async def ask(world: World, key: str, *, model: str = "gpt-5", say: str = "[sim:tokens=50] hi", most: int = 60) -> int:
    """One request to the gateway; its status."""
    body = {"model": model, "messages": [{"role": "user", "content": say}], "max_completion_tokens": most}
    headers = {"authorization": f"Bearer {key}"}
    return (await world.http.post("/proxy/openai/chat/completions", headers=headers, json=body)).status_code


@dataclass
class Hand:
    """Somebody at the keys."""

    app: PaigApp
    pilot: Pilot[None]

    @property
    def text(self) -> str:
        """What is on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def sees(self, *words: str) -> str:
        """Wait until all of it is on the screen."""
        await self.until(lambda: all(word in self.text for word in words), " and ".join(words))
        return self.text

    async def until(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait for it."""
        async with asyncio.timeout(PATIENCE) as limit:
            while not condition():
                if limit.when() is not None and asyncio.get_running_loop().time() > (limit.when() or 0) - 0.5:
                    raise AssertionError(f"never came: {what}\n{self.text}")
                await self.pilot.pause(0.05)

    async def settled(self) -> str:
        """What is on the screen once all that waits was drawn: two looks in a row see the same."""
        before, now = None, self.text
        while before != now:
            await self.pilot.pause()
            before, now = now, self.text
        return now

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other: each has done what it does, but for what it asks the gateway."""
        for key in keys:
            await self.pilot.press(key)

    async def point(self, name: str) -> None:
        """Put the cursor on the row of that name, once it is there."""

        def there() -> bool:
            table = next((table for table in self.app.screen.query(Table) if table.has_focus), None)
            if table is not None:
                table.point_at(name)
            return table is not None and table.current_key == name

        await self.until(there, f"row {name}")

    async def fill(self, **fields: str) -> None:
        """Fill in the fields of a dialog; limits and timeouts are named without `limits.`."""
        for name, value in fields.items():
            await self.until(lambda name=name: self._row(name) is not None, f"field {name}")
            row = self._row(name)
            assert row is not None
            row.input.value = value

    def _row(self, name: str) -> FieldRow | None:
        rows = self.app.screen.query(FieldRow)
        names = (name, f"limits.{name}", f"timeouts.{name}")
        return next((row for row in rows if row.field.name in names and row.query(Input)), None)


@asynccontextmanager
async def at(
    world: World, *, size: tuple[int, int] = (100, 30), read_only: bool = False, live: bool = True
) -> AsyncIterator[Hand]:
    """The app at a gateway; nothing may have gone wrong inside at the end."""
    app = PaigApp(AsyncAdminClient(world.origin, token=ADMIN), profile="prod", read_only=read_only)
    async with app.run_test(size=size, notifications=True) as pilot:
        hand = Hand(app, pilot)
        if live:
            await hand.sees("● live")
        yield hand
    assert app.failures == []
