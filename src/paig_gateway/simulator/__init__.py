"""Simulated providers for the demo, the tests and the benchmarks: the provider's side of every API format.

In: requests as real clients send them; directives in the prompt ask for faults (`[sim:status=503]`). Out: answers as
the real providers give them, streamed or whole; `traffic` counts what was served.

Never true: it imports more of the gateway than `domain` and `formats`, since it stands for the other side; an answer
has a shape that the real provider does not send.
"""

from __future__ import annotations

from .app import Simulator
from .faults import Faults
from .traffic import Received, Served

__all__ = ["Faults", "Received", "Served", "Simulator"]
