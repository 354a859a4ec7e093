"""A provider's side of every API format, for the demo, the tests and the benchmarks.

Enters: requests as real clients send them, with faults in the prompt (`[sim:status=503]`). Leaves: answers as the real
providers give them, streamed or whole, with a count of everything that was served (`books`).

It plays the other side of the gateway, so it imports nothing of it but `domain` and `formats`.
"""

from __future__ import annotations

from .app import Simulator
from .books import Received, Served
from .faults import Faults

__all__ = ["Faults", "Received", "Served", "Simulator"]
