"""What nodes tell one another through the database.

`health_rows` stores the states of circuit breakers, `health_sync` writes the own ones and reads those of the others.
A node works without it: when the database is unavailable, each node goes by what it sees itself.
"""

from __future__ import annotations
