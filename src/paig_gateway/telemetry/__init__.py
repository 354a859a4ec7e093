"""Metrics, traces and logs.

It observes the data plane, which knows it only as an `Observer`. A slow, hanging or refusing backend holds up no
request: queues are bounded and what is dropped is counted. No secret and, unless a project asks for it, no content of
a request leaves through it.
"""

from __future__ import annotations
