"""The database: engine, tables, columns and migrations, for SQLite and PostgreSQL.

Enters: a URL. Leaves: an engine whose schema is up to date, or an error that says what to do.

- `engine` opens and migrates, `tables` is the schema, `columns` converts times and JSON.
- `migrations/` has one Alembic revision per change; `upgrade` refuses what a release cannot open.
- `conversion` copies rows between the two kinds of database.

Other packages own the meaning of the tables; this one owns how they are stored.

Never true: a released migration is changed; a database of an earlier release does not open and migrate.
"""

from __future__ import annotations
