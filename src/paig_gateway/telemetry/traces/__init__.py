"""Traces: a span for each request and each try."""

from __future__ import annotations
