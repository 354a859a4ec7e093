"""Words that every room of the gateway shares: money, limits, callers, routes, errors.

Plain data and pure functions. Money is whole nanodollars; times are passed in and are UTC. An error here has the code,
the status and the details that clients see.

Everything else imports this room; it imports only the enums of `paig_client.api`. No I/O, no clock, no configuration.
"""

from __future__ import annotations
