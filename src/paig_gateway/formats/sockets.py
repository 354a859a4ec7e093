"""The API formats that are spoken over WebSockets."""

from __future__ import annotations

from dataclasses import replace

from paig_gateway.formats.base import Format
from paig_gateway.formats.gemini_live import LIVE
from paig_gateway.formats.openai_realtime import REALTIME
from paig_gateway.formats.openai_responses import RESPONSES

RESPONSES_SOCKET = replace(RESPONSES, methods=frozenset({"GET"}), splice_streams=False)
"""The Responses API: each message of the client is the body of a request, each of the provider's an event."""

SOCKETS = (REALTIME, RESPONSES_SOCKET, LIVE)


def detect_socket(path: str) -> Format | None:
    """The format of a WebSocket at a path, or None."""
    return next((fmt for fmt in SOCKETS if fmt.path.search(path)), None)
