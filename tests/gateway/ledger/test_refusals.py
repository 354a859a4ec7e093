"""Which refused requests are kept, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select

from paig_gateway.database.engine import writing
from paig_gateway.domain.caller import Caller
from paig_gateway.domain.errors import GatewayError
from paig_gateway.ledger import refusals
from paig_gateway.ledger.refusals import REFUSALS, RefusalBuffer, RefusedRequest
from paig_gateway.ledger.reports import get_request
from tests.gateway.ledger.books import NOON

CI = Caller("key_ci", "ci", "proj_lab", "lab")
REFUSED = RefusedRequest(
    "req_1", NOON, CI, "POST", "/v1/chat\0", "openai", "openai-chat", GatewayError("bad-request", "Not JSON \ud800.")
)


def test_callers_without_a_known_key_are_the_smaller_part() -> None:
    """However many they are, a request of a known key still finds room; what finds none is counted."""
    waiting = RefusalBuffer()
    assert waiting.add(replace(REFUSED, caller=None))
    for _ in range(1000):
        waiting.add(replace(REFUSED, caller=None))
    assert not waiting.add(REFUSED)
    found = waiting.take()
    assert (len(found), found[-1].caller) == (refusals.WRITTEN_UNKNOWN + 1, CI)
    assert waiting.dropped == 1001 - refusals.WRITTEN_UNKNOWN
    for _ in range(1000):
        waiting.add(REFUSED)
    assert len(waiting.take()) == refusals.WRITTEN


def test_only_the_latest_are_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many, and none that is older than a week; each is shown to the admins of its project alone."""
    monkeypatch.setattr(refusals, "KEPT", 3)
    many = [replace(REFUSED, id=f"req_{number}", time=NOON + timedelta(minutes=number)) for number in range(6)]
    with writing(engine) as connection:
        refusals.write(connection, many)
        refusals.prune(connection, NOON)
        kept = list(connection.execute(select(REFUSALS.c.id).order_by(REFUSALS.c.id)).scalars())
    assert kept == ["req_3", "req_4", "req_5"]
    row = get_request(engine, "req_5")
    assert row is not None
    assert (row.key, row.project, row.error, row.status) == ("ci", "lab", "bad-request", 400)
    assert get_request(engine, "req_5", frozenset({"proj_lab"})) is not None
    assert get_request(engine, "req_5", frozenset({"proj_other"})) is None
    with writing(engine) as connection:
        refusals.prune(connection, NOON + timedelta(days=8))
        assert connection.execute(select(func.count()).select_from(REFUSALS)).scalar_one() == 0
