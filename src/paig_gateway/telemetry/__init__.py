"""Metrics, traces and logs.

Enters: what the data plane tells its `Observer`, and readings of the ledger and of providers. Leaves: Prometheus' page,
OTLP over HTTP or gRPC, lines on standard error.

- `metrics/` counts, `traces/` builds spans, `otlp/` sends both; `logs` writes, `redaction` removes secrets.

A slow, hanging or refusing backend delays no request: queues are bounded, and what is dropped is counted. No secret
and, unless a project asks for it, no content of a request leaves through it.
"""

from __future__ import annotations
