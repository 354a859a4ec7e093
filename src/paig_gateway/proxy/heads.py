"""What the head of a request decides, computed once for all requests with the same head.

Clients send the same request line and headers again and again, apart from the length of the body and the trace. What
follows from them and from the directory alone is remembered: the caller, the endpoint, the route with the members that
have it, and what the headers say of the body.

A head is remembered only after its key and route were accepted, and only for the present snapshot of the directory:
when a key, route, provider, alias, limit or price changes, there is a new snapshot, and all heads are dropped. What
depends on anything else is checked for each request: the key's expiry, the client's address, the body, the health of
providers, prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from paig_gateway.catalog.snapshot import Snapshot
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.http import Headers
from paig_gateway.formats.base import ErrorShape
from paig_gateway.formats.errors import error_shape
from paig_gateway.providers import endpoints
from paig_gateway.providers.kinds import KINDS
from paig_gateway.proxy import browsers, model_lists, request
from paig_gateway.proxy.request import NONE, Attribution, Place, Scope, Stated, Target

MOST = 1024
"""The most heads that are remembered."""

LONGEST = 4096
"""The most bytes of a remembered head: its request line and headers."""

_APART = frozenset({b"content-length", b"traceparent", b"tracestate"})
"""Headers that differ from request to request, and are read for each."""

_Key = tuple[object, ...]


@dataclass(slots=True)
class Head:
    """What is known of the requests with one head.

    Attributes:
        key: The request line and headers that these requests have in common; a client's secret is among them.
        snapshot: The directory's snapshot for which it holds.
        target: Their route, path and query; once the caller is known, without a key in the query.
        found: The rows of the table of endpoints that they may mean.
        likely: The one of these that applies at the first kind of provider that has one.
        shape: The shape of the gateway's own errors.
        listed: The part of the gateway's own list of models that they ask for, if any.
        sealed: Headers that every answer gets.
        caller: The caller with their key; None until it is looked up.
        steady: Whether the caller is the same as long as the directory does not change.
        guessable: Whether the key could be guessed: then it has to wait if its address has tried wrong keys.
        said: The attribution in their headers: tags, a run, a session.
        stated: What the headers say of the body.
        origin: The address at which the client reached the gateway.
        places: Their endpoint by the route's name: a path without a route may lead to several routes.
    """

    key: _Key = field(repr=False)
    snapshot: Snapshot
    target: Target
    found: Sequence[endpoints.Match]
    likely: endpoints.Match | None
    shape: ErrorShape
    listed: tuple[model_lists.ListShape, str | None] | None
    sealed: Headers
    caller: Caller | None = None
    steady: bool = False
    guessable: bool = False
    said: Attribution = NONE
    stated: Stated | None = None
    origin: str = ""
    places: dict[str, Place] = field(default_factory=dict)


class Heads:
    """The heads that are remembered."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._known: dict[_Key, Head] = {}

    def of(self, scope: Scope, snapshot: Snapshot, cors: browsers.Cors) -> Head:
        """The head of a request: a remembered one, which has a caller, or a new one.

        Args:
            snapshot: The directory's present one.
            cors: Which pages may read an answer.
        """
        if snapshot is not self._snapshot:
            self._snapshot, self._known = snapshot, {}
        headers: Headers = scope["headers"]
        raw_path, query = scope["raw_path"], scope["query_string"]
        key = (
            scope["method"], scope["scheme"], raw_path, query, *[one for one in headers if one[0] not in _APART]
        )  # fmt: skip
        return self._known.get(key) or _read(key, snapshot, scope, cors)

    def remember(self, head: Head) -> None:
        """Use a head for later requests too, unless it is too long or its caller may change by itself."""
        if head.snapshot is not self._snapshot or not head.steady or head.key in self._known:
            return
        if sum(len(one[0]) + len(one[1]) if type(one) is tuple else len(str(one)) for one in head.key) > LONGEST:
            return
        if len(self._known) >= MOST:
            self._known = {}
        self._known[head.key] = head


def _read(key: _Key, snapshot: Snapshot, scope: Scope, cors: browsers.Cors) -> Head:
    """Read the part of a head that does not depend on the key."""
    method, headers, target = scope["method"], scope["headers"], request.target(scope)
    found = endpoints.matches(method, target.path)
    likely = endpoints.choose(found, KINDS)
    listed = None if target.route else model_lists.requested_list(method, target.path, dict(headers))
    shape = error_shape(likely.format if likely else None, target.route, target.path)
    sealed = [*browsers.SEALED, *cors.headers(headers)]
    return Head(key, snapshot, target, found, likely, listed[0] if listed else shape, listed, sealed)
