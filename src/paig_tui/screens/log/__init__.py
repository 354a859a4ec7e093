"""The section Log: audit entries and requests."""

from __future__ import annotations
