"""Provider kinds: one table of what differs between upstreams, one of how each is authenticated."""
