"""The endpoint `events`: the feed as server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated

import anyio
from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from paig_gateway.admin.access import Guarded
from paig_gateway.admin.event_feed import EventFeed, FeedEvent, FeedPosition
from paig_gateway.admin.examples import EVENTS
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.roles import AdminIdentity

RECHECK_SECONDS = 0.3
"""How often it is looked whether a reader's token still holds."""

_DESCRIPTION = """\
Server-sent events: `request` (a Request) as each is finished, or corrected by a later look at its work; `change` (an
AuditEntry), for those who may read the audit log; `state` (a BreakerChange) as a provider's breaker opens or closes,
for those who may know of all projects; `dropped` before a reader that is too slow is cut off. Comments keep a quiet
stream alive."""


class EventStream(Response):
    """An answer that lasts until its client leaves."""

    media_type = "text/event-stream"

    def __init__(
        self, feed: EventFeed, since: FeedPosition | None, principal: Callable[[], AdminIdentity | None]
    ) -> None:
        """Stream the feed's events since a place or from now on.

        Args:
            since: The place.
            principal: Returns the reader; None once it has lost the permission.
        """
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._since = since
        self._asker = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._feed.listen() as listener, anyio.create_task_group() as tasks:

            async def leave_with_the_client() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            async def leave_with_the_permission() -> None:
                while self._asker() is not None:  # noqa: ASYNC110 nothing tells of a token that ends
                    await anyio.sleep(RECHECK_SECONDS)
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave_with_the_client)
            tasks.start_soon(leave_with_the_permission)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, b": here come the events\n\n")  # so that the client sees that it is connected
            async with aclosing(self._feed.events(listener, self._since)) as events:
                async for event in events:
                    if event is None:
                        await self._send(send, b": still here\n\n")
                    elif (principal := self._asker()) is not None and may_see(principal, event):
                        await self._send(send, event.encode())
            tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, chunk: bytes) -> None:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


def may_see(principal: AdminIdentity, event: FeedEvent) -> bool:
    """Whether the reader may see an event; one that concerns no project needs the permission in the whole gateway."""
    if event.name == "dropped":
        return True
    within = principal.within("audit:read" if event.name == "change" else "ledger:read")
    return within is None or bool(event.projects & within)


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
        responses={200: {"content": {EventStream.media_type: {"schema": {"type": "string"}, "example": EVENTS}}}},
    )
    async def stream_events(
        request: Request,
        last_event_id: Annotated[
            str | None, Header(description="Go on after the event of that id, on whichever node it was read.")
        ] = None,
    ) -> Response:
        try:
            since = FeedPosition.parse(last_event_id) if last_event_id else None
        except ValueError as error:
            raise invalid([FieldProblem("Last-Event-ID", str(error))]) from None

        def principal() -> AdminIdentity | None:
            """The reader's present identity, by its token."""
            try:
                identity: AdminIdentity = request.app.state.authenticate(request)
            except ProblemError:
                return None
            return identity if identity.may_somewhere("ledger:read") else None

        return EventStream(feed, since, principal)

    return router
