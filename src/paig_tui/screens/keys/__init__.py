"""The section Keys: keys, projects and users with their caps."""

from __future__ import annotations
