"""Tests that the admin app is made late, and only once."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from paig_gateway.admin.on_demand import AdminOnDemand, App
from paig_gateway.proxy.request import AsgiMessage, Receive, Scope, Send

pytestmark = pytest.mark.anyio

LATE = ("fastapi", "starlette", "jwt", "cryptography.x509", "sqlalchemy.dialects.postgresql", "alembic", "google.auth")


class Feed:
    """The feed of events of an app that is made in a test."""

    closed = stopped = False

    def close(self) -> None:
        """Note it."""
        self.closed = True

    async def stop(self) -> None:
        """Note it."""
        self.stopped = True


def test_a_start_imports_no_more_than_it_needs() -> None:
    """What only administrators, single sign-on or PostgreSQL need is imported by the first that needs it."""
    code = f"import sys, paig_gateway.server; print([name for name in {LATE!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


async def _receive() -> AsgiMessage:
    return {"type": "http.disconnect"}


async def test_requests_at_once_share_one_app() -> None:
    """The app is made by the first request; those that come meanwhile wait for it."""
    made: list[Feed] = []
    served: list[str] = []

    def make() -> tuple[App, Feed]:
        made.append(Feed())

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            served.append(scope["path"])

        return app, made[-1]

    async def send(message: AsgiMessage) -> None:
        raise AssertionError(message)

    admin = AdminOnDemand(make)
    await asyncio.gather(*(admin({"path": path}, _receive, send) for path in ("a", "b", "c")))
    assert (sorted(served), len(made)) == (["a", "b", "c"], 1)
    await admin.stop()
    assert made[0].closed
    assert made[0].stopped


async def test_an_app_that_is_made_at_the_end_streams_nothing() -> None:
    """Streams that would begin after the server was told to end are ended at once; an app never made needs no end."""
    feed = Feed()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer nothing."""

    async def send(message: AsgiMessage) -> None:
        raise AssertionError(message)

    admin = AdminOnDemand(lambda: (app, feed))
    admin.close()
    await admin.stop()
    await admin({"path": "/admin/v1/events"}, _receive, send)
    assert feed.closed


async def test_an_app_that_cannot_be_made_is_tried_again() -> None:
    """One failure, such as a file that cannot be opened for the moment, does not close the admin API for good."""
    served: list[str] = []
    failures = [OSError("too many open files")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])

    def make() -> tuple[App, Feed]:
        if failures:
            raise failures.pop()
        return app, Feed()

    async def send(message: AsgiMessage) -> None:
        raise AssertionError(message)

    admin = AdminOnDemand(make)
    with pytest.raises(OSError, match="too many"):
        await admin({"path": "a"}, _receive, send)
    await admin({"path": "b"}, _receive, send)
    assert served == ["b"]
