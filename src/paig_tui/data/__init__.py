"""The state of the gateway, as the screens show it, and the poller that keeps it up to date."""

from __future__ import annotations
