"""Metrics, traces and logs.

Enters: the events of the data plane (`proxy.observer`), and readings of the ledger and of providers. Leaves:
Prometheus' page, OTLP over HTTP or gRPC, lines on standard error.

- `metrics/` counts, `traces/` builds spans, `otlp/` sends both; `logs` writes, `redaction` removes secrets.

Queues are bounded, and what is dropped is counted.

Never true: a slow, hanging or refusing backend delays a request; a secret leaves through it, or the content of a
request whose project has not asked for that.
"""

from __future__ import annotations
