"""Alerts: conditions of the ledger and of providers, told once for all nodes.

`conditions` says when something is wrong, `rows` remembers in the database what was told, `alerts` sends it.
An alert is sent once, whichever node sees the condition, and again when the condition has ended.
"""

from __future__ import annotations
