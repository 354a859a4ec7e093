"""OTLP: telemetry as protobuf, sent over HTTP or gRPC.

Enters: records and readings. Leaves: export requests to a collector or a backend.

- `exporter` queues and batches, `transport` sends, `metrics_push` sends metrics at intervals.
- `common`, `conventions` and `points` encode.

Never true: a queue without a bound; a dropped record that is not counted; a token in a log.
"""

from __future__ import annotations
