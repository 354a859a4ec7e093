"""The table of metrics: every name that `/metrics` and OTLP can show, its labels, how workers' values are put together.

Names with dots are those of the semantic conventions for generative AI. They say once more what the gateway's own say,
for dashboards that know nothing of the gateway, and go out over OTLP alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
FIRST_BYTE = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
OVERHEAD = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0, 5.0)
# As the conventions advise for each.
DURATION = tuple(0.01 * 2**step for step in range(14))
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(float(4**step) for step in range(14))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: As it is scraped; a counter's ends in `_total`. One with dots is not scraped.
        labels: The names of its labels, in the order of their values.
        merge: How the values of several workers are merged.
        unit: What one stored unit is worth in shown units: money is stored as nanodollars and shown as dollars.
        buckets: Upper bounds of a histogram's buckets.
        measure: The unit over OTLP, if the name does not have it.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    merge: Literal["sum", "max", "min"] = "sum"
    unit: float = 1.0
    buckets: tuple[float, ...] = ()
    measure: str = ""

    @property
    def scraped(self) -> bool:
        return "." not in self.name

    @property
    def over_otlp(self) -> tuple[str, str]:
        """Its name and unit over OTLP: such that Prometheus, which makes a name of both, has the scraped one again."""
        if not self.scraped:
            return self.name, self.measure
        stem = self.name.removesuffix("_total")
        bare = stem.removesuffix("_seconds")
        return bare.replace("_", ".", 1), "s" if bare != stem else ""


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
    Family(
        "paig_security_refusals_total",
        "counter",
        "Refused attempts: wrong admin tokens (token) and keys (key), changes (action) and reads without permission.",
        ("kind",),
    ),
    Family("paig_cost_excess_total", "counter", "Answers that stated far more than was held for them.", ("provider",)),
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
    Family(
        "paig_price_book_age_seconds",
        "gauge",
        "How old the prices are at least: since they were fetched, or were installed with the gateway.",
        merge="max",
    ),
    Family("paig_ledger_dropped_total", "counter", "Rows of refusals not written, because there were too many."),
    Family("paig_ledger_set_aside_total", "counter", "Settlements that the database refused; charged at the ceiling."),
    Family("paig_listener_refusals_total", "counter", "Requests refused before their key was looked at.", ("code",)),
    Family("paig_listener_dropped_total", "counter", "Connections closed to make room for others."),
    Family("paig_websocket_sessions", "gauge", "Sessions over WebSockets that are open.", ("format",)),
    Family(
        "paig_websockets_ended_total", "counter", "Sessions over WebSockets that ended, and how.", ("format", "end")
    ),
    Family("paig_retries_refused_total", "counter", "Tries not made as the retries were used up.", ("route",)),
    Family(
        "paig_breaker_open",
        "gauge",
        "1 while only probes are sent to a provider, for it fails or refuses every credential.",
        ("provider",),
        "max",
    ),
    Family("paig_telemetry_queue_depth", "gauge", "Records that wait for a telemetry backend.", ("destination",)),
    Family("paig_telemetry_exported_total", "counter", "Records that a telemetry backend has taken.", ("destination",)),
    Family(
        "paig_telemetry_dropped_total",
        "counter",
        "Records that no backend got, its queue being full (queue) or itself failing (export), or not whole (content).",
        ("destination", "reason"),
    ),
    Family("paig_telemetry_errors_total", "counter", "Requests that telemetry failed to record; see the log."),
    Family("paig_info", "gauge", "1; the version.", ("version",), "max"),
    Family("paig_workers", "gauge", "Worker processes."),
)

_CALL: Labels = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")
_CALLED: Labels = (*_CALL, "server.address", "server.port")
_FAILED: Labels = (*_CALLED, "error.type")


def _seconds(name: str, description: str, labels: Labels, buckets: tuple[float, ...] = DURATION) -> Family:
    return Family(name, "histogram", description, labels, buckets=buckets, measure="s")


def _tokens(name: str, description: str, *more: str) -> Family:
    return Family(name, "histogram", description, (*_CALLED, *more), buckets=TOKENS, measure="{token}")


def _usage(name: str, description: str) -> Family:
    return Family(name, "counter", description, (*_CALLED, "gen_ai.token.modality"), measure="{token}")


_CONVENTIONS = (
    _seconds("gen_ai.client.inference.duration", "Tries at providers, of inference.", _FAILED),
    _seconds("gen_ai.client.inference.time_to_first_chunk", "From a streamed try to its first chunk.", _CALLED),
    _usage("gen_ai.client.inference.usage.input_tokens", "Input tokens used, cached ones included."),
    _usage("gen_ai.client.inference.usage.output_tokens", "Output tokens used, reasoning included."),
    _usage("gen_ai.client.inference.usage.cache_read.input_tokens", "Input tokens read from a cache."),
    _usage("gen_ai.client.inference.usage.cache_write.input_tokens", "Input tokens written to a cache."),
    _usage("gen_ai.client.inference.usage.reasoning.output_tokens", "Output tokens of reasoning."),
    _tokens("gen_ai.client.inference.operation.input_tokens", "Input tokens of an answer."),
    _tokens("gen_ai.client.inference.operation.output_tokens", "Output tokens of an answer."),
    _seconds("gen_ai.client.embeddings.duration", "Tries at providers, of embeddings.", _FAILED),
    _tokens("gen_ai.client.embeddings.operation.input_tokens", "Input tokens of embeddings."),
    _seconds("gen_ai.server.request.duration", "From a request to its end.", (*_CALL, "error.type")),
    _seconds("gen_ai.server.time_to_first_token", "To a streamed answer's first chunk.", _CALL, FIRST_TOKEN),
    _seconds("gen_ai.server.time_per_output_token", "Of a streamed answer after its first chunk.", _CALL, PER_TOKEN),
    # As release 1.41 has them.
    _seconds("gen_ai.client.operation.duration", "Tries at providers.", _FAILED),
    _seconds("gen_ai.client.operation.time_to_first_chunk", "From a streamed try to its first chunk.", _CALLED),
    _tokens("gen_ai.client.token.usage", "Tokens of an answer, by type.", "gen_ai.token.type"),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in (*_TABLE, *_CONVENTIONS)}
