"""Fixtures of the gateway's own end-to-end tests."""

from __future__ import annotations

from tests.gateway.end_to_end.conftest import environment

__all__ = ["environment"]
