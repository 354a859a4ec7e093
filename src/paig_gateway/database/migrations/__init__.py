"""The schema's history, one Alembic revision per file of `versions/`."""
