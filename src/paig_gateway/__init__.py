"""The gateway: a data plane that meters, a ledger that reserves before it dispatches, an admin API."""

from __future__ import annotations

__version__ = "0.1.0"
