"""What is kept: the catalogue of providers, routes, keys and limits, and the ledger of every request."""
