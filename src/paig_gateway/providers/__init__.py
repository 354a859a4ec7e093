"""Provider kinds: a row for each, and what is needed to talk to it.

Enters: a provider's settings and the path that a client asked for. Leaves: an address, signed headers, a body.

- `kinds` is the table; `paths` maps the spellings of a path to the provider's own.
- `auth` signs requests, one function a scheme; `adapters` carries one format over another format's endpoint.

A provider that speaks a known format is a row, never code. No credential of a client is ever sent on.
"""

from __future__ import annotations
