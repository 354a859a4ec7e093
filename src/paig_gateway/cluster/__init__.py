"""What nodes share through the database.

Enters: this node's circuit breakers. Leaves: the breakers of all nodes, for routing here and for the admin API.

`health_rows` stores the states of circuit breakers, `health_sync` writes this node's and reads those of the others.
A node works without it: when the database is unavailable, each node decides by what it sees itself.

Never true: another node's report counts for more than a newer result of this node's own tries; a request waits for it.
"""

from __future__ import annotations
