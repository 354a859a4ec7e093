"""Metrics: one registry, read by Prometheus and pushed over OTLP.

Enters: the events of the data plane, and present values from functions. Leaves: the page `/metrics`, and readings.

- `families` is the table of all metrics, `registry` holds the numbers, `requests` counts requests, `genai`
  counts for OpenTelemetry's conventions.
- `prometheus` writes the page, and adds up the numbers of several worker processes.

Never true: a label whose values a client can multiply without bound; a counter that goes down.
"""

from __future__ import annotations
