"""Keeps the state up to date: one loop polls the admin API, another receives its events.

Events bring finished requests at once and announce changes of the catalogue; polling brings sums, and whatever the
events missed. Both loops continue after a lost connection, with growing pauses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from paig_client.admin import AdminError, AsyncAdminClient, NotAuthorised
from paig_client.api.resources import Request
from paig_tui.data.state import AppState

EVERY = 5.0
"""Seconds between two polls of sums and limits, if the gateway answers quickly."""
SOON = 0.1
"""Seconds from a wake-up to the poll, so that many changes at once cause one poll."""
WHOLE = 60.0
"""Seconds between two polls of everything."""
PAUSES = (1, 2, 4, 8, 15)
"""Seconds to the next try after a loss."""
PAGES = 3
"""Pages of a thousand requests that the first poll reads of the last hour."""


class Poller:
    """Fetches from the admin API into the state.

    Args:
        admin: The admin API's client.
    """

    def __init__(self, admin: AsyncAdminClient, state: AppState) -> None:
        self.admin = admin
        self.state = state
        self.pending: list[Request] = []
        self._whole_due = True
        self._wake = asyncio.Event()
        self._answers = asyncio.Event()

    def again(self, *, whole: bool = True) -> None:
        """Poll now: everything, or the sums alone."""
        self._whole_due = self._whole_due or whole
        self._wake.set()

    async def ask(self) -> None:
        """Poll until cancelled."""
        losses = 0
        last_whole = 0.0
        while True:
            began = time.monotonic()
            self._wake.clear()
            whole, self._whole_due = self._whole_due or began - last_whole > WHOLE, False
            self.state.link.asked_at = self.state.clock()
            try:
                await (self.fetch_all() if whole else self.fetch_sums())
            except AdminError as error:
                pause = float(PAUSES[min(losses, len(PAUSES) - 1)])
                losses += 1
                self._whole_due = True
                self._answers.clear()
                retry = self.state.clock() + timedelta(seconds=pause)
                self.state.lost(str(error), retry, refused=isinstance(error, NotAuthorised))
            else:
                losses = 0
                last_whole = began if whole else last_whole
                self.state.heard()
                self._answers.set()
                pause = max(EVERY, 10 * (time.monotonic() - began))
            await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(SOON)

    async def listen(self) -> None:
        """Receive events until cancelled; requests wait in `pending` until the next drawing."""
        last: str | None = None
        while True:
            await self._answers.wait()
            try:
                async for event in self.admin.events(last_event_id=last):
                    last = event.id or last
                    self.state.heard()
                    if event.request is not None:
                        self.pending.append(event.request)
                    elif event.name == "change":
                        self.again()
                    elif event.name == "state":
                        self.again(whole=False)
            except NotAuthorised as error:
                if error.problem.status == 403:  # no events for this token: polling is all there is
                    return
                self._answers.clear()
            except AdminError:
                last = None  # the poll that is woken below reports the error and fills the gap
                self._answers.clear()
            self.again(whole=False)
            await asyncio.sleep(0.2)

    def take(self) -> bool:
        """Move the pending requests into the state; returns whether there were any."""
        pending, self.pending = self.pending, []
        if not pending:
            return False
        self.state.recent.add(pending)
        return True

    async def fetch_sums(self) -> None:
        """Fetch what changes with every request."""
        state, admin = self.state, self.admin
        now = state.clock()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        await self._fetch(
            {
                "newest": lambda: admin.requests(limit=100),
                "health": admin.health,
                "limits": admin.limits,
                "raises": admin.raises,
                "asks": admin.limit_requests,
                "health_of": admin.providers.health,
                "today": lambda: admin.usage(since=midnight),
            }
        )
        rows = state.newest.items if state.newest else []
        state.recent.add(row for row in reversed(rows) if not state.recent.knows(row.id))
        state.recent.forget(now)
        state.changed(fetched=True)

    async def fetch_all(self) -> None:
        """Fetch the catalogue beside requests and sums: what a slow gateway answers first is shown first."""
        for end in await asyncio.gather(self._fetch_catalogue(), self._fetch_ledger(), return_exceptions=True):
            if end is not None:
                raise end

    async def _fetch_ledger(self) -> None:
        """Fetch the last hour if it is not known, and then the sums: requests are added in their order."""
        if self.state.recent.since is None or self.state.stale:
            await self._fetch_hour(self.state.clock())
        await self.fetch_sums()

    async def _fetch_catalogue(self) -> None:
        """Fetch what people set, and what does not change with every request."""
        state, admin = self.state, self.admin
        now = state.clock()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        day = timedelta(days=1)
        await self._fetch(
            {
                "identity": admin.whoami,
                "keys": admin.keys.list,
                "projects": admin.projects.list,
                "users": admin.users.list,
                "providers": admin.providers.list,
                "routes": admin.routes.list,
                "named": admin.named_limits.list,
                "yesterday": lambda: admin.usage(since=midnight - day, until=now - day),
            }
        )

    async def _fetch(self, parts: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        """Fetch several parts at once; return when all are answered.

        Each part is a function, not a coroutine: a task that is cancelled before it starts would never await a
        coroutine.

        Raises:
            AdminError: One of them failed.
        """
        ends = await asyncio.gather(*(self._put(part, ask) for part, ask in parts.items()), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def _put(self, part: str, ask: Callable[[], Awaitable[object]]) -> None:
        """Put an answer into a part of the state. A part that the token may not read is not a lost connection."""
        try:
            found = await ask()
        except NotAuthorised as error:
            if error.problem.status != 403:
                raise
            self.state.denied[part] = str(error)
        else:
            self.state.denied.pop(part, None)
            setattr(self.state, part, found)
        if self.state.link.asked_at is not None:
            self.state.link.asked_at = self.state.clock()
        if self.state.link.state == "connecting":
            self.state.changed(fetched=True)

    async def _fetch_hour(self, now: datetime) -> None:
        """Fetch the last hour's requests, as far back as `PAGES` pages go."""
        since = now - timedelta(hours=1)
        rows: list[Request] = []
        cursor: str | None = None
        for _ in range(PAGES):
            try:
                page = await self.admin.requests(since=since, limit=1000, cursor=cursor)
            except NotAuthorised as error:
                if error.problem.status != 403:
                    raise
                return
            rows += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        recent = self.state.recent
        recent.since = min(recent.since or since, since) if cursor is None else rows[-1].time
        recent.add(row for row in reversed(rows) if not recent.knows(row.id))
