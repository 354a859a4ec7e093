"""Short random histories, on both databases; `histories` runs long ones."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.gateway.ledger.histories import BATCH, History


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_history_adds_up(engine: Engine, seed: int) -> None:
    """Spent and held never exceed a hard limit; rows, counters and rollups agree; also after a node's death."""
    history = History(engine, seed)
    history.run(6 * BATCH)
    history.die()
    history.run(4 * BATCH)
    assert history.refused
    assert history.done - history.refused > BATCH
