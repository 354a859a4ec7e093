"""Run by Alembic: binds a migration to the connection, and so to the transaction and lock, that `migrate` opened."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from paig_gateway.database import tables

assert tables.RequestRow.metadata is SQLModel.metadata  # importing the tables is what fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
context.run_migrations()
