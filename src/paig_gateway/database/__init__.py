"""The database: engine, tables, columns and migrations, for SQLite and PostgreSQL.

Enters: a URL. Leaves: an engine whose schema is up to date, or an error that says what to do.

- `engine` opens and migrates, `tables` is the schema, `columns` converts times and JSON.
- `migrations/` has one Alembic revision per change; `upgrade` refuses what a release cannot open.
- `conversion` copies rows between the two kinds of database.

Other rooms own what the tables mean; this one owns how they are stored. A released migration is never changed, and a
database of an earlier release always opens and migrates.
"""

from __future__ import annotations
