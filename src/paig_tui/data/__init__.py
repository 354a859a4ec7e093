"""What the screens know: the state of the gateway, and the poller that keeps it fresh."""

from __future__ import annotations
