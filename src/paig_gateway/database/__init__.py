"""The database: engine, tables, columns and migrations.

SQLite or PostgreSQL, through SQLAlchemy. Other packages own what the tables mean; this one owns how they are stored.
A migration is only ever added; a database of an earlier release opens and migrates.
"""

from __future__ import annotations
