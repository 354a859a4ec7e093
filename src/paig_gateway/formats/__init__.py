"""API formats: what the bytes of a request and of an answer mean.

One frozen record of pure functions for each format: the paths it claims, the model, the stated output maximum, how the
events of a stream fold into the body that the same call without streaming returns, and the shape of an error.
Bytes go in, facts come out; nothing here does I/O, knows a provider's address or computes a price.
"""

from __future__ import annotations
