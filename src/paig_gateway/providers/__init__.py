"""Provider kinds: a row for each, and what is needed to talk to it.

`kinds` is the table, `paths` maps the spellings of a path to the provider's own, `auth` signs requests, `adapters`
carries one provider's format over another's endpoint. A provider that speaks a known format is a row, never code.
"""

from __future__ import annotations
