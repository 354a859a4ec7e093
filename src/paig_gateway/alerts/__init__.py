"""Alerts: conditions of the ledger and of providers, reported once for all nodes.

Enters: limits that fill up, requests without a price, provider failures. Leaves: messages to a webhook.

`conditions` says when something is wrong, `rows` remembers in the database what was sent, `alerts` sends it.
An alert is sent once, whichever node sees the condition, and again when the condition has ended. A webhook that is slow
or down delays nothing else; alerts that cannot be delivered are tried again and counted.
"""

from __future__ import annotations
