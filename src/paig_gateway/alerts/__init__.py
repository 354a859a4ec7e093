"""Alerts: conditions of the ledger and of providers, reported once for all nodes.

Enters: limits that fill up, requests without a price, provider failures. Leaves: messages to a webhook.

`conditions` says when something is wrong, `rows` remembers in the database what was sent, `alerts` sends it.
An alert is sent once, whichever node sees the condition, and again when the condition has ended. Alerts that cannot be
delivered are tried again and counted.

Never true: a slow webhook delays a request; the webhook's address, which is a secret, is in a log or an error.
"""

from __future__ import annotations
