"""Whom to try next: the members of a route, their health, and the time that is left.

A route, a model and a format go in; an ordered list of candidates and, after each try, a verdict come out.
Circuit breakers, waits that providers ask for and the retry budget are transition tables over injected time.
Nothing here opens a socket or writes to a database.
"""

from __future__ import annotations
