"""A pass-through that does nothing else: the same server and the same upstream client, no key, no meter, no ledger."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

from paig_gateway.proxy.upstream import Upstream


class Bare:
    """The ASGI app."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.upstream = Upstream()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one request through."""
        if scope["type"] == "lifespan":
            await receive()
            await self.upstream.__aenter__()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [header for header in scope["headers"] if header[0] == b"content-type"]
        response = await self.upstream.send("POST", self.base + scope["path"], headers, body)
        kept = [header for header in response.headers if header[0] != b"transfer-encoding"]
        await send({"type": "http.response.start", "status": response.status, "headers": kept})
        async for chunk in response.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await response.aclose()
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(Bare(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)
