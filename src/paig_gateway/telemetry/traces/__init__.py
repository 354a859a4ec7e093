"""Traces: a span for each request and each try.

Enters: finished requests (`proxy.observer`), and the client's `traceparent`. Leaves: spans for an OTLP destination.

- `recorder` decides which requests are exported and queues them; `record` is one of them.
- `spans` makes spans of records, `content` adds what was asked and answered where the project wants it.

Never true: a request waits for a destination; content is exported that the project did not ask for.
"""

from __future__ import annotations
