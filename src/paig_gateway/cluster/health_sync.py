"""Shares the health of providers between nodes.

Each node decides by its own tries. Once a second it writes which of its breakers changed, and reads the other nodes'
rows: if another node found a provider failing, a node without newer results of its own adopts that until the rest is
over. A node's own successes count for more than another's failures, so a node with a broken network does not stop the
others from using the providers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from paig_client.api.vocabulary import BreakerState
from paig_gateway.cluster import health_rows
from paig_gateway.cluster.health_rows import Report, ReportedWait, StateChange
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.routing.breaker import Breaker
from paig_gateway.routing.health import CredentialName, HealthTracker

SHARE_SECONDS = 1.0
FIGURES_EVERY = 5
"""After this many rounds, the results of tries are written too, if they changed."""

log = logging.getLogger(__name__)


class HealthSync:
    """Shares breaker states with other nodes."""

    def __init__(
        self,
        health: HealthTracker,
        engine: Engine,
        node_id: str,
        providers: Callable[[], Mapping[str, ActiveProvider]],
    ) -> None:
        """Share a process's breaker states.

        Args:
            health: The process's breakers.
            providers: The configured providers, by name.
        """
        self._health = health
        self._engine = engine
        self._node_id = node_id
        self._providers = providers
        self._published: dict[CredentialName, _Published] = {}
        self._states: dict[CredentialName, BreakerState] = {}  # the last states that were written and logged
        self._logged: dict[CredentialName, BreakerState] = {}
        self._rounds = 0
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to share, once a second until stopped."""
        self._task = asyncio.create_task(self._run(), name="sharing")

    async def stop(self) -> None:
        """Stop, and remove this node's rows; if the database is unavailable, another node removes them later."""
        self._ending.set()
        if self._task is not None:
            # It is not cancelled, because its thread would go on and write the rows that are removed here.
            await self._task
        try:
            await asyncio.to_thread(health_rows.forget, self._engine, self._node_id)
        except SQLAlchemyError as error:
            log.warning("This node's health rows could not be removed: %s", error)

    async def _run(self) -> None:
        """While the database is down, each node uses its own states alone."""
        away = False
        while not self._ending.is_set():
            try:
                await self.share()
            except Exception as error:  # any error: the next round may succeed
                if not away:
                    log.warning("The health of providers cannot be shared with other nodes; retrying: %s", error)
                away = True
            else:
                away = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), SHARE_SECONDS)

    async def share(self) -> None:
        """One round: write changes, and read other nodes' states.

        Raises:
            SQLAlchemyError: The database is unavailable.
        """
        self._rounds += 1
        fresh, changes = self._collect(figures=self._rounds % FIGURES_EVERY == 0)
        gone = [name for name in self._published if not self._is_known(name)]
        reports = await asyncio.to_thread(self._exchange, [one.report for one in fresh.values()], changes, gone)
        self._published |= fresh
        self._states |= {name: one.report.state for name, one in fresh.items()}
        # Missing rows were removed, here or by a node that considered this one dead.
        mine = {(report.provider, report.credential) for node, report in reports if node == self._node_id}
        self._published = {name: one for name, one in self._published.items() if name in mine}
        self._take_over([report for node, report in reports if node != self._node_id])

    def _exchange(
        self, fresh: list[Report], changes: list[StateChange], gone: list[CredentialName]
    ) -> list[tuple[str, Report]]:
        if fresh or gone:
            health_rows.publish(self._engine, self._node_id, fresh, changes, gone)
        return health_rows.read(self._engine)

    def _collect(self, *, figures: bool) -> tuple[dict[CredentialName, _Published], list[StateChange]]:
        """What to write, and which states changed since the last time."""
        clock, now = self._health.clock(), self._health.now()
        fresh: dict[CredentialName, _Published] = {}
        changes: list[StateChange] = []
        for name, breaker in self._health.breakers():
            if not self._is_known(name):
                self._health.forget(name)
                continue
            state = breaker.look(clock)
            marks = state, breaker.since, breaker.until, breaker.reason, tuple(breaker.waits.items())
            report = _report(name, state, breaker, now, clock)
            known = self._published.get(name)
            if known is not None and known.marks == marks:
                published = known.report
                if not figures or (published.sums, published.last_error) == (report.sums, report.last_error):
                    continue
                # Moments are not computed again, or they would seem to move.
                published = replace(published, sums=report.sums, ok_at=report.ok_at)
                report = replace(published, last_error=report.last_error, last_error_at=report.last_error_at)
            elif (before := self._states.get(name, "closed")) != state:
                changes.append(self._change(report, before, now))
            fresh[name] = _Published(report, marks)
        return fresh, changes

    def _change(self, report: Report, before: BreakerState, now: datetime) -> StateChange:
        """A change of state, also logged; once, however often the database must be tried."""
        name = report.provider, report.credential
        waits = report.waits if report.until is None and report.state == "cooling" else ()
        reason = report.reason or next((wait.reason for wait in waits), None)
        until = report.until or max((wait.until for wait in waits), default=None)
        if self._logged.get(name, "closed") != report.state:
            self._logged[name] = report.state
            log.log(
                logging.WARNING if "open" in (before, report.state) else logging.INFO,
                "the provider %s (credential %s) is %s%s",
                *(*name, report.state, f": {reason}" if reason else ""),
            )
        return StateChange(now, self._node_id, *name, before, report.state, until, reason)

    def _take_over(self, reports: list[Report]) -> None:
        """Adopt other nodes' states, unless this node has newer results."""
        clock, now = self._health.clock(), self._health.now()
        for report in reports:
            if report.state == "closed" and report.ok_at is not None:
                if (resting := self._health.if_not_closed(report.provider, report.credential)) is not None:
                    resting.peer_recovered(_seconds(report.ok_at, now, clock), clock)
                continue
            rests = report.own and report.until is not None and report.until > now
            waits = [wait for wait in report.waits if wait.own and wait.until > now]
            if not (rests or waits) or (breaker := self._breaker(report.provider, report.credential)) is None:
                continue
            if rests and report.until is not None:
                since, until = _seconds(report.since, now, clock), _seconds(report.until, now, clock)
                breaker.peer_opened(report.state, since, until, report.reason or "", clock)
            for wait in waits:
                since, until = _seconds(wait.since, now, clock), _seconds(wait.until, now, clock)
                breaker.peer_waits(wait.model, since, until, wait.reason, clock)

    def _breaker(self, provider: str, credential: str) -> Breaker | None:
        found = self._providers().get(provider)
        known = next((one for one in found.credentials if one.id == credential), None) if found else None
        return self._health.entry(found, known).breaker if found and known else None

    def _is_known(self, name: CredentialName) -> bool:
        found = self._providers().get(name[0])
        return found is not None and any(credential.id == name[1] for credential in found.credentials)


@dataclass(frozen=True, slots=True)
class _Published:
    """The last report of a credential, and the marks in the breaker's own time that show whether it changed."""

    report: Report
    marks: object


def _report(name: CredentialName, state: BreakerState, breaker: Breaker, now: datetime, clock: float) -> Report:
    def moment(at: float) -> datetime:
        return now + timedelta(seconds=at - clock)

    outcomes = breaker.outcomes
    return Report(
        provider=name[0],
        credential=name[1],
        state=state,
        since=moment(breaker.since),
        own=breaker.own,
        until=moment(breaker.until) if breaker.until else None,
        reason=breaker.reason or None,
        waits=tuple(
            ReportedWait(model, moment(wait.until - wait.seconds), moment(wait.until), wait.reason, wait.own)
            for model, wait in breaker.waits.items()
            if wait.until > clock
        ),
        sums=outcomes.sums(clock),
        last_error=outcomes.last_error or None,
        last_error_at=moment(outcomes.last_error_at) if outcomes.last_error else None,
        ok_at=moment(breaker.ok_at) if breaker.ok_at > 0 else None,
    )


def _seconds(at: datetime, now: datetime, clock: float) -> float:
    """A moment on this process's own clock."""
    return clock + (at - now).total_seconds()
