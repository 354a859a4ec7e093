"""The table of metrics: every name that `/metrics` can show, its labels, and how workers' values are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
FIRST_BYTE = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
OVERHEAD = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: As it is scraped; a counter's ends in `_total`.
        labels: The names of its labels, in the order of their values.
        merge: What becomes of the values of several workers.
        unit: What one stored unit is worth in shown units: money is stored as nanodollars and shown as dollars.
        buckets: Upper bounds of a histogram's buckets, in seconds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    merge: Literal["sum", "max", "min"] = "sum"
    unit: float = 1.0
    buckets: tuple[float, ...] = ()


_SERVED: Labels = ("provider", "model")
_NANO = 1e-9

_TABLE = (
    Family(
        "paig_requests_total",
        "counter",
        "Finished requests of known keys, by the status that the client was sent (none: it had left).",
        ("route", "provider", "model", "format", "status"),
    ),
    Family("paig_refusals_total", "counter", "Errors of the gateway's own, by code.", ("code",)),
    Family(
        "paig_limit_refusals_total",
        "counter",
        "Requests that a limit had no room for.",
        ("owner_kind", "unit", "window"),
    ),
    Family("paig_attempts_total", "counter", "Tries at providers, by status or failure.", ("provider", "outcome")),
    Family("paig_failovers_total", "counter", "Tries that another try had to follow.", ("route", "provider")),
    Family("paig_request_seconds", "histogram", "From a request to its end.", _SERVED, buckets=SECONDS),
    Family("paig_first_byte_seconds", "histogram", "To the answer's first byte.", _SERVED, buckets=FIRST_BYTE),
    Family("paig_gateway_seconds", "histogram", "The gateway's own part of a request's time.", buckets=OVERHEAD),
    Family(
        "paig_tokens_total",
        "counter",
        "Tokens used; cache_read and cache_write are parts of input.",
        (*_SERVED, "kind"),
    ),
    Family(
        "paig_cost_dollars_total",
        "counter",
        "What requests cost, by how that is known: exact, estimated or ceiling.",
        (*_SERVED, "certainty"),
        unit=_NANO,
    ),
    Family("paig_project_cost_dollars_total", "counter", "What requests cost, by project.", ("project",), unit=_NANO),
    Family("paig_requests_in_flight", "gauge", "Requests that are let through and not finished."),
    Family("paig_reserved_dollars", "gauge", "What requests in flight hold in the ledger.", unit=_NANO),
    Family("paig_ledger_up", "gauge", "1 while the ledger's database takes what it is given.", merge="min"),
    Family("paig_ledger_queue_depth", "gauge", "Changes that wait for the ledger's writer."),
    Family("paig_ledger_waiting", "gauge", "Reservations that wait for others to release what they hold of a limit."),
    Family("paig_ledger_lag_seconds", "gauge", "For how long the writer has tried its present batch.", merge="max"),
    Family("paig_ledger_dropped_total", "counter", "Rows of refusals not written, because there were too many."),
    Family(
        "paig_breaker_open", "gauge", "1 while nothing is sent to a provider for its failures.", ("provider",), "max"
    ),
    Family("paig_telemetry_queue_depth", "gauge", "Records that wait for a telemetry backend.", ("destination",)),
    Family("paig_telemetry_exported_total", "counter", "Records that a telemetry backend has taken.", ("destination",)),
    Family(
        "paig_telemetry_dropped_total",
        "counter",
        "Records that no telemetry backend got: its queue was full (queue), or it failed (export).",
        ("destination", "reason"),
    ),
    Family("paig_telemetry_errors_total", "counter", "Requests that telemetry failed to record; see the log."),
    Family("paig_info", "gauge", "1; the version.", ("version",), "max"),
    Family("paig_workers", "gauge", "Worker processes."),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _TABLE}
