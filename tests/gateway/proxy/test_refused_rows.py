"""How many rows the refusals of a key write."""

from __future__ import annotations

from datetime import timedelta

import pytest

from paig_gateway.ledger.records import Reservation, Settlement
from paig_gateway.proxy.refused_rows import ROWS_A_MINUTE, RefusedRows
from tests.gateway.ledger.books import NOON, Clock, reservation

pytestmark = pytest.mark.anyio


class Notes:
    """What was written."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.found: list[Settlement] = []
        self.rows = RefusedRows(self._note, self.clock)

    def _note(self, reservation: Reservation, settlement: Settlement) -> None:
        assert reservation.id == settlement.id
        self.found.append(settlement)

    def refuse(self, key: str = "ci") -> str:
        request = reservation(key=key)
        refusal = {"code": "limit-exceeded", "message": "No room.", "owner": key}
        self.rows.add(request, Settlement(request.id, NOON, 0, None, error="limit-exceeded", refusal=refusal))
        return request.id


async def test_each_of_a_few_has_a_row() -> None:
    notes = Notes()
    ids = [notes.refuse() for _ in range(ROWS_A_MINUTE)]
    notes.rows.flush()
    assert [found.id for found in notes.found] == ids


async def test_further_ones_share_a_row_that_counts_them() -> None:
    """It is written at the end of the minute, keeps the refusal's details, and has the id of the last."""
    notes = Notes()
    ids = [notes.refuse() for _ in range(ROWS_A_MINUTE + 40)]
    assert len(notes.found) == ROWS_A_MINUTE
    notes.clock.now += timedelta(minutes=1)
    later = notes.refuse()
    *_, counted, last = notes.found
    assert (len(notes.found), counted.id, last.id) == (ROWS_A_MINUTE + 2, ids[-1], later)
    assert counted.refusal is not None
    assert (counted.refusal["count"], counted.refusal["owner"]) == (40, "ci")
    assert str(counted.refusal["message"]).startswith("40 more requests were refused in this minute")


async def test_keys_do_not_share_rows() -> None:
    notes = Notes()
    for _ in range(ROWS_A_MINUTE + 5):
        notes.refuse()
    other = notes.refuse("other")
    assert notes.found[-1].id == other
    notes.rows.flush()
    assert len(notes.found) == ROWS_A_MINUTE + 2
