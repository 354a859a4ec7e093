"""What the listener refuses is counted in the metrics."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.end_to_end.conftest import running_world
from tests.gateway.end_to_end.test_failover import pytestmark as pytestmark


async def test_a_refusal_of_the_listener_is_counted(environment: None, tmp_path: Path) -> None:
    """By its code, though no key was looked at."""
    async with running_world(tmp_path, {}) as world:
        many = {f"x-{number}": "1" for number in range(200)}
        refused = await world.http.get("/proxy/openai/models", headers=many)
        assert refused.headers["x-paig-error"] == "headers-too-large"
        page = (await world.http.get("/metrics")).text
    assert 'paig_listener_refusals_total{code="headers-too-large"} 1' in page
    assert "paig_listener_dropped_total 0" in page
