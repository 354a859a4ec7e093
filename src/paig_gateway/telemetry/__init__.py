"""What is told of the gateway's work besides the ledger: metrics, logs, traces, alerts."""
