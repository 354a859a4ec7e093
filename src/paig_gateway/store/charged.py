"""Finished requests with the prices that they were charged at, to be compared with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from paig_gateway.store.reports import REQUESTS, Filter, row_conditions
from paig_gateway.store.values import moment


@dataclass(frozen=True, slots=True)
class Charged:
    """A finished request that was priced.

    Attributes:
        sent_model: The model's name as it was sent to the provider.
        price: The identity of the price that it was charged at.
        cost: Nanodollars.
    """

    time: datetime
    provider: str
    model: str
    sent_model: str
    price: str
    usage: dict[str, int | float] | None
    cost: int
    certainty: str


def charged_requests(engine: Engine, which: Filter) -> Iterator[Charged]:
    """Finished requests that were priced, read a thousand at a time."""
    names = ("id", "time", "provider", "model", "price", "usage", "cost", "certainty", "attempts")
    query = select(*(REQUESTS.c[name] for name in names)).where(
        REQUESTS.c.state != "open", REQUESTS.c.price.is_not(None)
    )
    with engine.connect() as connection:
        query = query.where(*row_conditions(connection, which))
        for row in connection.execution_options(yield_per=1000).execute(query):
            attempts: Sequence[Mapping[str, Any]] = row.attempts or ()
            sent = str(attempts[-1].get("model") or row.model) if attempts else row.model
            yield Charged(
                moment(row.time), row.provider or "", row.model, sent, row.price, row.usage, row.cost, row.certainty
            )
