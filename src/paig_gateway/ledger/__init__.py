"""The ledger: every request, the amount held for it, and its cost.

Reservations and settlements are queued; one writer applies them in batches, one transaction each. `transitions` decides
and does no I/O; `sqlite` and `postgres` read and write. Amounts are whole nanodollars. `executor` runs a batch;
`batches` has the requests of providers' batch APIs.
It must never be true that a request was sent without a durable hold, that a hold is lost, that spent + held exceeds a
hard limit, or that rows, counters and rollups disagree.
"""

from __future__ import annotations
