"""What the head of a request decides, worked out once for all requests with the same head.

Clients send the same request line and headers again and again, apart from the length of the body and the trace. What
follows from them and from the directory alone is remembered: the caller, the endpoint, the route with the members that
have it, and what the headers say of the body.

A head is remembered only after its key and its route were accepted, and only for the snapshot of the directory that was
in force then: a changed key, route, provider, alias, limit or price makes another snapshot, and all heads are dropped.
What depends on anything else is checked for each request: the key's expiry, the client's address, the body, the health
of providers, prices.
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
"""Heads that are remembered at most."""

LONGEST = 4096
"""Bytes of the request line and headers of a head that is remembered."""

_APART = frozenset({b"content-length", b"traceparent", b"tracestate"})
"""Headers that differ from request to request, and are read for each."""

_Key = tuple[object, ...]


@dataclass(slots=True)
class Head:
    """What is known of the requests with one head.

    Attributes:
        key: The request line and headers that these requests have in common; a client's secret is among them.
        snapshot: The directory's, when it was made.
        target: Where they are aimed; once the caller is known, without a key in the query.
        found: The rows of the table of endpoints that they may mean.
        likely: Which of these it is at the first kind of provider that has one.
        shape: The shape of the gateway's own errors.
        listed: What they ask of the gateway's own list of models, if anything.
        sealed: Headers that every answer gets.
        caller: Whose key came with them; None as long as that was not looked up.
        steady: Whether the caller is the same as long as the directory does not change.
        guessable: Whether the key could be guessed, so that it has to wait where wrong ones were tried.
        said: What their headers attribute them to: tags, a run, a session.
        stated: What the headers say of the body.
        origin: The address at which the client reached the gateway.
        places: Their endpoint, by the name of the route: the one address leads to several.
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
            scope: The request.
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
        """Use a head for later requests too, unless its caller may change without the directory or it is long."""
        if head.snapshot is not self._snapshot or not head.steady or head.key in self._known:
            return
        if sum(len(one[0]) + len(one[1]) if type(one) is tuple else len(str(one)) for one in head.key) > LONGEST:
            return
        if len(self._known) >= MOST:
            self._known = {}
        self._known[head.key] = head


def _read(key: _Key, snapshot: Snapshot, scope: Scope, cors: browsers.Cors) -> Head:
    """What a head says by itself, the same for every key."""
    method, headers, target = scope["method"], scope["headers"], request.target(scope)
    found = endpoints.matches(method, target.path)
    likely = endpoints.choose(found, KINDS)
    listed = None if target.route else model_lists.requested_list(method, target.path, dict(headers))
    shape = error_shape(likely.format if likely else None, target.route, target.path)
    sealed = [*browsers.SEALED, *cors.headers(headers)]
    return Head(key, snapshot, target, found, likely, listed[0] if listed else shape, listed, sealed)
