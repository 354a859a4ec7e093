"""API formats: what the bytes of a request and of an answer mean. No I/O, no knowledge of the ledger."""
