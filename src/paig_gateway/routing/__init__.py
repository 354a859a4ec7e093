"""Which candidate to try next: the members of a route, their health, and the time that is left.

Enters: a route, a model and a format, and after each try its result. Leaves: an ordered list of candidates, and whether
another may be tried.

- `candidates` orders members, `latency` measures them, `affinity` keeps a conversation at one account.
- `verdicts` classifies results; `breaker`, `outcomes` and `health` remember it for each credential.
- `deadlines` and `retry_budget` bound how long and how often, `decisions` says what comes next.

Transition tables over injected time.

Never true: something here opens a socket or writes to a database; a client's own mistake counts against a provider; a
failing route multiplies its load by retries.
"""

from __future__ import annotations
