"""Heads that are remembered: which ones, how many, and for how long."""

from __future__ import annotations

from dataclasses import replace

from paig_gateway.catalog.snapshot import Snapshot
from paig_gateway.domain.caller import Caller
from paig_gateway.proxy.browsers import NO_PAGES
from paig_gateway.proxy.heads import LONGEST, MOST, Head, Heads
from paig_gateway.proxy.request import Scope

CALLER = Caller("k1", "tester")


def scope(*headers: tuple[bytes, bytes], path: bytes = b"/proxy/openai/v1/chat/completions") -> Scope:
    """A request as the listener gives it."""
    return {
        "method": "POST", "scheme": "http", "raw_path": path, "query_string": b"", "headers": list(headers)
    }  # fmt: skip


def let_in(heads: Heads, asked: Scope, snapshot: Snapshot) -> Head:
    """The head of a request whose caller was found."""
    head = heads.of(asked, snapshot, NO_PAGES)
    head.caller, head.steady = CALLER, True
    heads.remember(head)
    return head


def test_the_same_head_but_for_length_and_trace() -> None:
    """These are read for each request; any other header makes another head, in another order too."""
    heads, snapshot = Heads(), Snapshot()
    key, kind = (b"authorization", b"Bearer k"), (b"content-type", b"application/json")
    head = let_in(heads, scope(key, kind, (b"content-length", b"1")), snapshot)
    again = scope(key, (b"traceparent", b"00-1-2-01"), kind, (b"content-length", b"2"))
    assert heads.of(again, snapshot, NO_PAGES) is head
    others = [
        scope((b"authorization", b"Bearer other"), kind),
        scope(kind, key),
        scope(key, kind, kind),
        scope(key),
        scope(key, kind, path=b"/proxy/openai/v1/responses"),
        {**scope(key, kind), "method": "GET"},
        {**scope(key, kind), "scheme": "https"},
        {**scope(key, kind), "query_string": b"alt=sse"},
    ]
    assert [heads.of(other, snapshot, NO_PAGES).caller for other in others] == [None] * len(others)


def test_another_directory() -> None:
    """Another snapshot drops all, and a head of the one before is not remembered with it."""
    heads, before, after = Heads(), Snapshot(version=1), Snapshot(version=2)
    let_in(heads, scope(), before)
    late = replace(heads.of(scope((b"accept", b"*/*")), before, NO_PAGES), caller=CALLER, steady=True)
    assert heads.of(scope(), after, NO_PAGES).caller is None
    heads.remember(late)
    assert heads.of(scope((b"accept", b"*/*")), after, NO_PAGES).caller is None


def test_what_is_not_remembered() -> None:
    """A caller that is not steady, and heads that are long; the number of heads is bounded."""
    heads, snapshot = Heads(), Snapshot()
    passing = heads.of(scope(), snapshot, NO_PAGES)
    passing.caller = CALLER
    heads.remember(passing)
    assert heads.of(scope(), snapshot, NO_PAGES).caller is None
    let_in(heads, scope((b"user-agent", b"x" * LONGEST)), snapshot)
    assert heads.of(scope((b"user-agent", b"x" * LONGEST)), snapshot, NO_PAGES).caller is None
    for number in range(MOST + 1):
        let_in(heads, scope((b"user-agent", b"%d" % number)), snapshot)
    kept = [heads.of(scope((b"user-agent", b"%d" % number)), snapshot, NO_PAGES).caller for number in range(MOST + 1)]
    assert 0 < sum(caller is not None for caller in kept) <= MOST
