"""The section Dashboard: spend, rate, latency and errors right now."""

from __future__ import annotations
