"""The section Routes: members, weights and a dry run."""

from __future__ import annotations
