"""What the gateway's end-to-end tests have."""

from __future__ import annotations

from tests.gateway.end_to_end.conftest import environment, replay, replayed

__all__ = ["environment", "replay", "replayed"]
