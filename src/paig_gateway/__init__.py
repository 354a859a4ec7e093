"""The gateway: a data plane that meters, a ledger that reserves before it dispatches, an admin API."""
