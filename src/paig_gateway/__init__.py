"""The gateway: a data plane that meters, a ledger that reserves before it sends, an admin API.

`app` puts one node together, `server` runs it. Each package has one subject and imports only what is below it:

    paig_client.api ← domain ← formats, database ← pricing, providers, secrets, listener ← routing, ledger, catalog, sso
    ← proxy, cluster ← telemetry ← alerts, config ← admin ← core ← observability, dispatch ← app ← server ← demo

A request comes in through `listener` and is served by `proxy`, which asks `catalog` who calls, `formats` what the
bytes mean, `pricing` what they cost at most, `routing` where to send them, and `ledger` to hold and settle the money.
`scripts/check_imports.py` holds the direction.
"""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("paig")
"""What `pyproject.toml` says, as the installed package has it."""
