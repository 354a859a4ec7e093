"""What tests of telemetry share: a gateway in front of the simulator, and a reader of its metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.end_to_end.conftest import World, environment

__all__ = ["environment"]

Scraped = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(world: World) -> Scraped:
    """Every sample of `/metrics`, by name and labels."""
    response = await world.http.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(scraped: Scraped, name: str, **labels: str) -> float:
    """The sum of the samples of that name that have those labels."""
    wanted = set(labels.items())
    return sum(amount for (other, found), amount in scraped.items() if other == name and wanted <= found)
