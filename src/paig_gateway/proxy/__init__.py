"""The data plane: a request in, the bytes of an answer out.

`proxy` takes a request, finds the caller, holds its worst case in the ledger, sends it and relays the answer while a
meter watches for usage; then it settles.

- `request` reads what must be known, `exchange` is one request and its outcome, `hold` reserves money for it.
- `failover` tries one candidate after the other; `upstream` and `upstream_connection` speak HTTP to providers.
- `admission` bounds what is in flight; `binding` says which limits bind; `stored` guards stored objects.
- `response` relays, `meter` watches and charges; `headers` and `browsers` say what may pass.

Never true: a request sent without a durable hold; a byte changed that the contract does not name; a second candidate
tried after the client got its first byte; a credential of a client in a request to a provider.
"""

from __future__ import annotations
