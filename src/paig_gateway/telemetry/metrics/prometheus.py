"""`GET /metrics`: the metrics of all workers, in the format that the scraper accepts."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from paig_gateway.proxy.request import Receive, Scope, Send
from paig_gateway.telemetry.metrics.families import FAMILIES, Family, Labels
from paig_gateway.telemetry.metrics.registry import Numbers, Source

SHARE_SECONDS = 1.0
"""How often a worker writes its numbers for the others."""
RECENT_MS = 5000
"""How long a worker remembers which requests it has counted, so that after its death the rest can be counted."""
SILENT_SECONDS = 10.0
"""A worker without an update for this long is treated as dead: its counts stay, its gauges do not."""

log = logging.getLogger(__name__)


class Exposition:
    """The numbers of this process, and of the other workers if there are any.

    Each worker writes its numbers into a folder that all share, every second and before each scrape that it answers.
    Whichever worker is asked adds them all up, and so a counter never falls from one scrape to the next.
    """

    def __init__(
        self,
        numbers: Numbers,
        sources: Iterable[Source],
        *,
        name: str,
        folder: Path | None = None,
        token: str | None = None,
        recent: Callable[[], Iterable[tuple[int, str]]] = tuple,
    ) -> None:
        """Show these numbers.

        Args:
            numbers: What this process has counted.
            sources: Where present values come from.
            name: This process's name among the workers.
            folder: Where workers share their numbers; None if there is one process.
            token: The bearer token that a scraper must show, or None.
            recent: The requests that were counted last: when, in milliseconds since the epoch, and their ids.
        """
        self._numbers = numbers
        self._sources = tuple(sources)
        self._name = name
        self._folder = folder
        self._token = token
        self._recent = recent
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        status, kind, body = 200, "text/plain; charset=utf-8", b""
        if scope["method"] not in ("GET", "HEAD"):
            status, body = 405, b"Only GET is answered here.\n"
        elif self._token and not hmac.compare_digest(
            headers.get(b"authorization", b""), f"Bearer {self._token}".encode()
        ):
            status, body = 401, b"Send 'Authorization: Bearer TOKEN', the metrics_token of paig.toml.\n"
        else:
            encode, kind = choose_encoder(headers.get(b"accept", b"").decode("latin-1"))
            present = self.present()
            # Many models make a long page: it is written aside, so that no request waits for it.
            body = await asyncio.to_thread(lambda: encode(self.registry(present)))
        answer = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        if status == 401:
            answer.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def present(self) -> Numbers:
        """This process's numbers now; on the event loop."""
        return self._numbers.present(self._sources)

    def registry(self, present: Numbers) -> CollectorRegistry:
        """All workers' numbers, for prometheus_client; reads files, so call it in a thread."""
        if self._folder is not None:
            self._write(self._folder, present, list(self._recent()))
            for path in self._folder.glob("*.json"):
                if path.stem == self._name:
                    continue
                try:
                    stored = json.loads(path.read_bytes())
                    fresh = time.time() - path.stat().st_mtime < SILENT_SECONDS
                    gauges = fresh and not stored["ended"] and _lives(stored["pid"])
                    present.merge(Numbers.from_plain(stored), gauges=gauges)
                except (OSError, ValueError, KeyError) as error:
                    log.warning("a worker's metrics in %s cannot be read: %s", path, error)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(present))
        return registry

    async def share(self) -> None:
        """Write this process's numbers for the other workers until cancelled; at once over if there are none."""
        while self._folder is not None:
            await self.share_once()
            await asyncio.sleep(SHARE_SECONDS)

    async def share_once(self, *, ended: bool = False) -> None:
        """Write this process's numbers for the other workers, if there are any.

        Args:
            ended: Whether these are its last: its gauges then no longer count.
        """
        self._ended = self._ended or ended
        if self._folder is not None:
            await asyncio.to_thread(self._write, self._folder, self.present(), list(self._recent()))

    def last_words(self, name: str) -> tuple[int, frozenset[str]] | None:
        """When a dead worker last counted, and the ids of requests that it counted since; reads a file.

        Returns:
            Milliseconds since the epoch and ids; None if it shared no numbers with this process.
        """
        try:
            stored = json.loads((self._folder / f"{name}.json").read_bytes()) if self._folder else None
        except (OSError, ValueError):
            return None
        if stored is None:
            return None
        recent = stored["recent"]
        # What was counted is recorded moments later; half of what is remembered leaves room for that.
        until = stored["at"] - RECENT_MS // 2
        if stored["full"]:
            until = max(until, min(at for at, _ in recent))
        return until, frozenset(id for _, id in recent)

    def _write(self, folder: Path, present: Numbers, recent: list[tuple[int, str]]) -> None:
        now = int(time.time() * 1000)
        latest = [(at, id) for at, id in recent if now - at < RECENT_MS]
        about = {
            "pid": os.getpid(),
            "ended": self._ended,
            "at": now,
            "recent": latest,
            "full": len(latest) == len(recent) > 0,
        }
        try:
            handle, unfinished = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "w") as file:
                json.dump({**present.plain(), **about}, file)
            os.replace(unfinished, folder / f"{self._name}.json")
        except OSError as error:
            log.warning("the metrics cannot be shared with the other workers: %s", error)


def _lives(pid: int) -> bool:
    """Whether a process of this machine still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class _Collected(Collector):
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        for family in filter(lambda family: family.scraped, FAMILIES.values()):
            if family.kind == "histogram":
                yield _histogram(family, self._numbers.buckets.get(family.name, {}).items())
            else:
                yield _plain(family, self._numbers.values.get(family.name, {}).items())


def _plain(family: Family, series: Iterable[tuple[Labels, float]]) -> Metric:
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = make(family.name, family.help, labels=family.labels)
    for labels, value in series:
        metric.add_metric(labels, value * family.unit if family.unit != 1 else value)
    return metric


def _histogram(family: Family, series: Iterable[tuple[Labels, list[float]]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*(repr(bound) for bound in family.buckets), "+Inf"]
    for labels, counts in series:
        total, rising = 0.0, []
        for bound, count in zip(bounds, counts[:-1], strict=True):
            total += count
            rising.append((bound, total))
        metric.add_metric(labels, rising, counts[-1])
    return metric
