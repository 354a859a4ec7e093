"""The vocabulary that the client, the gateway and the terminal UI share.

`specs` holds what people write (in `paig.toml` or a request body): unknown fields are errors. `resources` holds what
the admin API answers. Money is a decimal string of US dollars outside and `Decimal` here; times are ISO 8601 in UTC.
Nothing here does I/O, and nothing here imports the rest of the client.
"""

from __future__ import annotations
