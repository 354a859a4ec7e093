"""Words that every part of the gateway shares: money, limits, callers, routes, errors.

Plain data and functions, without I/O and without time of their own. Everything else imports this; it imports only the
enums of `paig_client.api`.
"""

from __future__ import annotations
