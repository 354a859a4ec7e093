"""Who gave an answer that its provider has stored, as the ledger knows it."""

from __future__ import annotations

from sqlalchemy import Engine, select
from sqlmodel import col

from paig_gateway.store.tables import RequestRow
from paig_gateway.store.values import text


def holder_of(engine: Engine, work_id: str) -> tuple[str, str | None] | None:
    """The provider, and the id of the credential that it was asked with; None where the ledger has no such answer.

    Raises:
        SQLAlchemyError: The database cannot be read.
    """
    query = (
        select(col(RequestRow.provider), col(RequestRow.attempts))
        .where(col(RequestRow.work_id) == text(work_id), col(RequestRow.provider).is_not(None))
        .order_by(col(RequestRow.time))
        .limit(1)
    )
    with engine.connect() as connection:
        found = connection.execute(query).first()
    if found is None:
        return None
    provider, attempts = found
    credential = attempts[-1].get("credential") if attempts else None
    return provider, credential if isinstance(credential, str) else None
