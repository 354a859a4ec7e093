"""API formats: what the bytes of a request and of an answer mean.

One frozen record of pure functions for each format: the paths it claims, the model, the stated output maximum, how the
events of a stream fold into the body that the same call without streaming returns, and the shape of an error.
Bytes go in, facts come out.

Never true: something here does I/O, knows a provider's address or computes a price; a request that can be read in two
ways is read in one of them.
"""

from __future__ import annotations
