"""Unmetered operations: free ones, and those whose cost the gateway cannot see.

This file has only their names and how they are read; their paths are in the table of endpoints in `providers`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format

_LARGEST_READ = 1024 * 1024
"""The largest body that is searched for a model's name; uploads are larger and name none."""

_NOWHERE = re.compile(r"(?!)")


def _read(model: str | None, body: bytes) -> Call:
    if model or body.lstrip()[:1] != b"{" or len(body) > _LARGEST_READ:
        return Call(model=model or "")
    return Call(model=reading.string(reading.members(body).get("model")) or "")


def _free(name: str) -> Format:
    return Format(name=name, path=_NOWHERE, read=_read, metered=False)


MODELS = _free("models")
"""Lists of models, a provider's or the gateway's own."""
FREE = (MODELS, *map(_free, ("count-tokens", "files", "moderations", "conversations", "other-free")))
UNMETERED = replace(_free("unmetered"), unmetered=True)
