"""Requests that are refused for lack of permission: counted, slowed down, and written to the audit log."""

from __future__ import annotations

import logging
import math
import time

import anyio.to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.roles import AdminIdentity
from paig_gateway.catalog import Catalog
from paig_gateway.secrets.attempts import AttemptKind, Attempts, Bursts

AUDITED = "refuse"
"""The action of an audit entry that summarises many refused changes."""
_WRONG_TOKEN = ("unknown-token", "login-refused")

log = logging.getLogger(__name__)


class RefusedRequests:
    """Counts refused requests, and notes the first change of each burst in the audit log."""

    def __init__(self, attempts: Attempts, catalog: Catalog) -> None:
        """Count there; note in that catalogue's log.

        Args:
            attempts: Where to count.
            catalog: The catalogue with the audit log.
        """
        self._attempts = attempts
        self._audited = Bursts(time.monotonic)
        self._catalog = catalog

    def check_guess(self, connection: HTTPConnection) -> None:
        """Refuse a token that could be guessed while its address has to wait, right or wrong.

        Raises:
            ProblemError: `rate-limited`.
        """
        if wait := self._attempts.wait("token", address_of(connection)):
            raise slowed("token", wait)

    async def note(self, request: HTTPConnection, error: ProblemError) -> ProblemError:
        """Count a refusal, and return what to answer: the refusal itself, or that there are too many."""
        kind: AttemptKind
        if error.code in _WRONG_TOKEN:
            kind = "token"
        elif error.code in ("forbidden", "conflict"):  # a conflict raised here is with a hidden object
            kind = "read" if request.scope["method"] in ("GET", "HEAD") else "action"
        else:
            return error
        address = address_of(request)
        identity: AdminIdentity | None = getattr(request.state, "identity", None)
        if identity is not None and kind != "token":
            address = (
                f"{address} ({identity.name})"  # a known admin is not confused with another one at the same address
            )
        wait = self._attempts.wait(kind, address)
        self._attempts.refused(kind, address)
        if kind == "action" and identity is not None:
            await self._audit(request, identity, error)
        return slowed(kind, wait) if wait else error

    async def _audit(self, request: HTTPConnection, identity: AdminIdentity, error: ProblemError) -> None:
        operation: str = getattr(request.state, "operation", "unknown")
        # An audit burst is one identity's tries of one operation, from wherever.
        if self._audited.add((identity.name, operation)).count > 1:
            return
        facts = {"path": request.url.path[:200], "from": address_of(request), "detail": str(error.detail)[:500]}

        def write() -> None:
            with self._catalog.edit(identity.name) as edit:
                edit.record(AUDITED, "operation", operation, None, facts)

        try:
            await anyio.to_thread.run_sync(write)
        except SQLAlchemyError:
            log.exception("a refused change (%s by %s) could not be written to the audit log", operation, identity.name)


def address_of(connection: HTTPConnection) -> str | None:
    """The address of a request's client."""
    return connection.client.host if connection.client else None


def slowed(kind: AttemptKind, wait: float) -> ProblemError:
    """The refusal of an address that has to wait."""
    seconds = math.ceil(wait)
    what = "wrong tokens" if kind == "token" else "requests that are not permitted"
    return ProblemError(
        "rate-limited",
        f"Too many {what} came from this address: wait {seconds} s, and check which program sends them.",
        headers={"retry-after": str(seconds)},
    )
