"""Words that every package of the gateway shares: money, limits, callers, routes, errors.

Plain data and pure functions. Money is whole nanodollars; times are passed in and are UTC. An error here has the code,
the status and the details that clients see.

Everything else imports this package; it imports only the enums of `paig_client.api`.

Never true: an amount of money is a float; something here does I/O, or reads a clock or the configuration.
"""

from __future__ import annotations
