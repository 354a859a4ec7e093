"""The words with a fixed set of values: owners, states, roles, permissions."""

from __future__ import annotations

from typing import Literal

OwnerKind = Literal["organisation", "project", "user", "key", "run", "limit"]
"""What a limit can be set on. A run is bound by the budget that its first request names; `limit` is a named limit."""
Certainty = Literal["exact", "estimated", "ceiling", "unknown"]
"""How the cost of a request is known. `exact`: from the provider's usage, every billed unit priced. `estimated`:
counted from a partial answer, or a unit has no price. `ceiling`: charged at the reservation. `unknown`: it costs, and
the gateway cannot see what."""
CostSource = Literal["list", "provider"]
"""Where a cost comes from: the price list, or the provider's own charge."""
WhenTight = Literal["refuse", "fit", "lower"]
"""What happens to a request whose worst case does not fit what is left of a limit: it is refused, an output maximum is
filled in, or one that it states is lowered too."""
Stored = Literal["own", "project", "shared", "off"]
"""Which objects stored at providers a key may use: those that it made, those of its project, all of the account's, or
none."""
KeyState = Literal["active", "disabled", "blocked"]
"""What an operator has made of a key."""
KeyStatus = Literal["active", "disabled", "blocked", "expired", "limit-exceeded"]
"""Whether a key can be used now, and if not, why."""
OnDisconnect = Literal["drain", "cancel"]
"""What happens to a provider's answer when its client leaves: read on for its usage, or cancelled."""
Choice = Literal["weighted", "latency"]
"""How one of several members of the same priority is chosen: by weight alone, or the fastest one of late first."""
BreakerState = Literal["closed", "cooling", "half-open", "open"]
"""`closed`: all is well. `open`: the provider fails, and nothing is sent. `cooling`: it refuses the credential, or
asked for a wait. `half-open`: the rest is over, and a few requests try it."""
GroupBy = Literal["day", "hour", "key", "project", "user", "model", "provider", "route", "session", "agent"]
"""What usage is totalled by, besides the values of a tag."""
SecretStore = Literal["keyring", "file"]
"""Where the client keeps secrets."""
Role = Literal["owner", "admin", "editor", "viewer"]
Permission = Literal[
    "access:own", "access:owners", "access:read", "access:write", "audit:read", "catalog:read", "config:read",
    "config:write", "gateway:read", "keys:write", "ledger:read", "ledger:write", "limits:write", "organisation:write",
    "owners:write", "routing:write",
]  # fmt: skip
"""What a role allows, and what an admin token can be confined to. `access` is admins and their tokens (`own`: one's
own; `owners`: those of owners), `limits:write` raising limits and approving requests for more, `owners:write` projects
and users, `routing:write` providers, routes and prices."""
