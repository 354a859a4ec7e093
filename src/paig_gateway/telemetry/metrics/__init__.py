"""Metrics: one registry, read by Prometheus and pushed over OTLP."""

from __future__ import annotations
