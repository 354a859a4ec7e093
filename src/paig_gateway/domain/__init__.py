"""What the gateway knows without any I/O: money, usage, prices, limits, callers, routes, errors."""
