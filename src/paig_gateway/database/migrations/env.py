"""Run by Alembic: binds a migration to the connection, and so to the transaction and lock, that `migrate` opened."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text
from sqlmodel import SQLModel

from paig_gateway.database import tables

assert tables.RequestRow.metadata is SQLModel.metadata  # importing the tables is what fills the metadata

for index in (index for table in SQLModel.metadata.tables.values() for index in table.indexes):
    if (condition := index.info.get("where")) is not None:
        index.dialect_kwargs["postgresql_where"] = text(condition)
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
context.run_migrations()
