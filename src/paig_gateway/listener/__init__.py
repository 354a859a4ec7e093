"""The HTTP listener: what a connection may send before the gateway spends memory or time on it.

Enters: bytes of clients, from uvicorn's sockets. Leaves: requests whose head is complete and within its bounds, as ASGI
scopes; and refusals (`headers-too-large`, `target-too-long`, `too-slow`, `overloaded`, `bad-request`) for the rest.

- `connections` holds the bounds, and the connections of one process with their deadlines.
- `protocol` is the class that uvicorn's `http=` takes: it counts bytes before the parser sees them.
- `cycle` is one request and its answer, for ASGI apps and, without ASGI messages, for the data plane.

Never true: a connection without a complete head is older than its deadline; a byte beyond the bound of a head reaches
the parser; a field after the body (a trailer) becomes a header; more connections are open than the cap and its reserve.
All bounds hold for one process.
"""
