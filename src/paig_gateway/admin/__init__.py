"""The admin API: what administrators, the command line and the terminal UI read and change.

Enters: HTTP requests with an admin token, a login's cookie or, for `me`, a gateway key. Leaves: the resources of
`paig_client.api`, problems as `application/problem+json`, events, and the OpenAPI document.

- `on_demand` makes the app when the first request for it comes; `readiness` answers the probes without it.
- `access` finds the principal, `roles` what it may do; `objects` makes the endpoints of each kind of object.
- `reports`, `events`, `health` and `me` read the ledger; `configuration` applies and exports `paig.toml`.
- `holder`, `holder_html` and `holder_cookie` are the page `/me` of the person who holds a key; `charts` draws for it.
- `edge` checks and completes every request and answer; `site` knows the gateway's origin, cookies and pages.

Never true: a handler that answers about a project which the principal may not read; a change without an entry in the
audit log; a secret in an answer, except a new key or token, once.
"""

from __future__ import annotations
