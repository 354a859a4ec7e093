"""The terminal UI: reads and changes the gateway through `paig_client` alone."""
