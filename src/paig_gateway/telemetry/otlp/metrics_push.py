"""Metrics over OTLP: at intervals, a reading of all numbers is queued for a thread to send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from paig_client.api.specs import ExportSpec
from paig_gateway.telemetry.metrics.registry import MetricsReading, Numbers
from paig_gateway.telemetry.otlp.exporter import Destination, close
from paig_gateway.telemetry.otlp.transport import METRICS

if TYPE_CHECKING:
    from paig_gateway.telemetry.otlp.points import Points


class Push:
    """Queues readings for a destination.

    A reading has all counts since the process began, so a lost reading loses nothing. If the last one is still waiting
    for the backend, the next one is dropped.
    """

    def __init__(
        self, spec: ExportSpec, every: float, read: Callable[[], Numbers], *, version: str, instance: str
    ) -> None:
        """Queue readings.

        Args:
            spec: Where to.
            every: Seconds from one to the next.
            read: Takes one, on the event loop.
            instance: The process's unique id.
        """
        self._every = every
        self._read = read
        began = time.time_ns()

        def points() -> Points:
            from paig_gateway.telemetry.otlp.points import Points  # late, and with it protobuf

            return Points(version, instance, began)

        self.destination: Destination[MetricsReading] = Destination(
            "metrics", spec, METRICS, points, most_queued=1, batch=1
        )
        self.destination.start()

    async def run(self) -> None:
        """Queue one reading after another until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self._push()

    async def stop(self) -> None:
        """Send the last reading, for a few seconds at most."""
        self._push()
        await asyncio.to_thread(close, [self.destination])

    def _push(self) -> None:
        self.destination.put(MetricsReading(self._read(), time.time_ns()))
