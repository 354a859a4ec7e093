"""The endpoint `events`: the feed as server-sent events."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import anyio
from fastapi import APIRouter, Header
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from paig_gateway.admin.access import Asker, Guarded
from paig_gateway.admin.feed import EventFeed, Place
from paig_gateway.admin.problems import FieldProblem, invalid

_DESCRIPTION = """\
Server-sent events: `request` (a Request) as each is finished, or corrected by a later look at its work; `change` (an
AuditEntry), for those who may read the audit log; `dropped` before a reader that is too slow is cut off. Comments keep
a quiet stream alive."""


class EventStream(Response):
    """The answer that goes on until its client leaves."""

    media_type = "text/event-stream"

    def __init__(self, feed: EventFeed, since: Place | None, names: frozenset[str]) -> None:
        """Stream the feed's events of these names, since a place or from now on."""
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._since = since
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        async with self._feed.listen() as listener, anyio.create_task_group() as tasks:

            async def leave_with_the_client() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave_with_the_client)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, b": here come the events\n\n")  # so that the client sees that it is connected
            async with aclosing(self._feed.events(listener, self._since)) as events:
                async for event in events:
                    if event is None:
                        await self._send(send, b": still here\n\n")
                    elif event.name in self._names:
                        await self._send(send, event.encode())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            tasks.cancel_scope.cancel()

    async def _send(self, send: Send, chunk: bytes) -> None:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


def event_routes(feed: EventFeed) -> APIRouter:
    """The endpoint `events`."""
    router = APIRouter(tags=["events"], route_class=Guarded)

    @router.get(
        "/events",
        operation_id="stream_events",
        summary="Follow what happens",
        description=_DESCRIPTION,
        status_code=200,
        response_class=EventStream,
        responses={200: {"content": {EventStream.media_type: {"schema": {"type": "string"}}}}},
    )
    async def stream_events(
        asker: Asker,
        last_event_id: Annotated[
            str | None, Header(description="Go on after the event of that id, on whichever node it was read.")
        ] = None,
    ) -> Response:
        try:
            since = Place.parse(last_event_id) if last_event_id else None
        except ValueError as error:
            raise invalid([FieldProblem("Last-Event-ID", str(error))]) from None
        names = frozenset({"request", "dropped", *(["change"] if asker.may("audit:read") else [])})
        return EventStream(feed, since, names)

    return router
