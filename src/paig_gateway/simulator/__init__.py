"""A provider's side of every API format, for the demo, the tests and the benchmarks.

It plays the other side of the gateway, so it imports nothing of it.
"""

from __future__ import annotations

from .app import Simulator
from .books import Received, Served
from .faults import Faults

__all__ = ["Faults", "Received", "Served", "Simulator"]
