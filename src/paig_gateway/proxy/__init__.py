"""The data plane: a request in, the bytes of an answer out.

`proxy` takes a request, finds the caller, holds its worst case in the ledger, sends it (`failover`, `upstream`) and
relays the answer (`response`) while a `meter` watches for usage; then it settles. Bytes pass unchanged, but for what
the contract names. Nothing is sent without a durable hold, and after the first byte there is no failover.
"""

from __future__ import annotations
