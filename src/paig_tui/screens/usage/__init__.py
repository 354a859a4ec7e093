"""The section Usage: totals by time and by name."""

from __future__ import annotations
