"""The state of the gateway, as the screens show it, and the poller that keeps it up to date.

In: answers and events of the admin API. Out: `AppState`, with None for what is not fetched yet.

`poller` fetches, `state` holds what was fetched, `recent` has the last hour's requests and their sums.

Never true: something here draws; a part that the token may not read is taken for a lost connection.
"""

from __future__ import annotations
