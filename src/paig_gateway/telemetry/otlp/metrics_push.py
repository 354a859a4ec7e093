"""Metrics over OTLP: every so often, a reading of the numbers for a thread to send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

from paig_client.api.specs import ExportSpec
from paig_gateway.telemetry.metrics.families import FAMILIES, Family, Labels
from paig_gateway.telemetry.metrics.registry import Numbers
from paig_gateway.telemetry.otlp import common
from paig_gateway.telemetry.otlp.common import Attributes
from paig_gateway.telemetry.otlp.conventions import SCHEMA_URL
from paig_gateway.telemetry.otlp.exporter import Destination, close
from paig_gateway.telemetry.otlp.transport import METRICS

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Reading:
    """What the numbers were at one moment.

    Attributes:
        at: Nanoseconds since the epoch.
    """

    numbers: Numbers
    at: int


class Push:
    """Hands readings to a destination.

    A reading holds all that was counted since the process began, so one that is lost loses nothing; where the last one
    still waits for the backend, the next is dropped.

    Attributes:
        destination: Where they go.
    """

    def __init__(
        self, spec: ExportSpec, every: float, read: Callable[[], Numbers], *, version: str, instance: str
    ) -> None:
        """Hand over readings.

        Args:
            spec: Where to.
            every: Seconds from one to the next.
            read: Takes one, on the event loop.
            version: The gateway's version.
            instance: The process's name among all that ever were.
        """
        self._every = every
        self._read = read
        began = time.time_ns()

        def points() -> Points:
            pass  # late, and with it protobuf

            return Points(version, instance, began)

        self.destination: Destination[Reading] = Destination("metrics", spec, METRICS, points, most_queued=1, batch=1)
        self.destination.start()

    async def run(self) -> None:
        """Hand over one reading after another until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self._push()

    async def stop(self) -> None:
        """Hand over the last, for some seconds at most."""
        self._push()
        await asyncio.to_thread(close, [self.destination])

    def _push(self) -> None:
        self.destination.put(Reading(self._read(), time.time_ns()))


class Points:
    """Makes exports of readings."""

    def __init__(self, version: str, instance: str, began: int) -> None:
        """Make them in the name of this process.

        Args:
            version: The gateway's version.
            instance: The process's name among all that ever were.
            began: When the numbers began, in nanoseconds since the epoch.
        """
        self._resource = common.resource(version, instance)
        self._scope = common.scope(version)
        self._began = began

    def __call__(self, readings: Sequence[Reading]) -> bytes:
        """An export of these readings."""
        export = ExportMetricsServiceRequest()
        ours = export.resource_metrics.add(resource=self._resource, schema_url=SCHEMA_URL)
        metrics = ours.scope_metrics.add(scope=self._scope, schema_url=SCHEMA_URL).metrics
        for reading in readings:
            for family in FAMILIES.values():
                metric = Metric(description=family.help)
                metric.name, metric.unit = family.over_otlp
                if family.kind == "histogram":
                    self._histogram(metric, family, reading)
                else:
                    self._number(metric, family, reading)
                if metric.WhichOneof("data"):
                    metrics.append(metric)
        return export.SerializeToString()

    def _number(self, metric: Metric, family: Family, reading: Reading) -> None:
        series = reading.numbers.values.get(family.name)
        if not series:
            return
        # What adds up over workers is a sum, rising or not; what does not is a gauge.
        if family.kind == "counter" or family.merge == "sum":
            metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            metric.sum.is_monotonic = family.kind == "counter"
            points, began = metric.sum.data_points, self._began
        else:
            points, began = metric.gauge.data_points, 0
        whole = family.kind == "counter" and family.unit == 1
        for labels, value in series.items():
            point = points.add(start_time_unix_nano=began, time_unix_nano=reading.at)
            _name(point.attributes, family, labels)
            _set(point, value * family.unit, whole=whole)

    def _histogram(self, metric: Metric, family: Family, reading: Reading) -> None:
        series = reading.numbers.buckets.get(family.name)
        if not series:
            return
        histogram = metric.histogram
        histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        for labels, counts in series.items():
            each = [int(count) for count in counts[:-1]]
            point = histogram.data_points.add(
                start_time_unix_nano=self._began,
                time_unix_nano=reading.at,
                count=sum(each),
                sum=counts[-1],
                bucket_counts=each,
                explicit_bounds=family.buckets,
            )
            _name(point.attributes, family, labels)


def _set(point: NumberDataPoint, value: float, *, whole: bool) -> None:
    if whole:
        point.as_int = int(value)
    else:
        point.as_double = value


def _name(attributes: Attributes, family: Family, labels: Labels) -> None:
    """The labels as attributes; one that is empty says nothing."""
    named = zip(family.labels, labels, strict=True)
    common.put(
        attributes,
        {name: int(value) if name == "server.port" else value for name, value in named if value},
    )
