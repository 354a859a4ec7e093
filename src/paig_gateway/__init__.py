"""The gateway: a data plane that meters, a ledger that reserves before it dispatches, an admin API."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("paig")
"""What `pyproject.toml` says, as the installed package has it."""
