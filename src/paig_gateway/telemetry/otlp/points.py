"""The gateway's numbers as OTLP metrics, cumulative since the process began.

Each worker process has its own `service.instance.id`, as with an OpenTelemetry SDK: backends sum over instances, and a
restarted worker is a new instance that begins at zero. Imported only in a thread that exports, because it loads
protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

from paig_gateway.telemetry.metrics.families import FAMILIES, Family, Labels
from paig_gateway.telemetry.metrics.registry import MetricsReading
from paig_gateway.telemetry.otlp import common as otlp
from paig_gateway.telemetry.otlp.common import Attributes
from paig_gateway.telemetry.otlp.conventions import SCHEMA_URL


class Points:
    """Makes exports of readings."""

    def __init__(self, version: str, instance: str, began: int) -> None:
        """Set the process that they come from.

        Args:
            instance: The process's unique id.
            began: When the numbers began, in nanoseconds since the epoch.
        """
        self._resource = otlp.resource(version, instance)
        self._scope = otlp.scope(version)
        self._began = began

    def __call__(self, readings: Sequence[MetricsReading]) -> bytes:
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

    def _number(self, metric: Metric, family: Family, reading: MetricsReading) -> None:
        series = reading.numbers.values.get(family.name)
        if not series:
            return
        # Values that add up over workers are sums, all others are gauges.
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

    def _histogram(self, metric: Metric, family: Family, reading: MetricsReading) -> None:
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
    """Add the labels as attributes, except empty ones."""
    named = zip(family.labels, labels, strict=True)
    otlp.put(
        attributes,
        {name: int(value) if name == "server.port" else value for name, value in named if value},
    )
