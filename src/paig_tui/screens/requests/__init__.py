"""Requests: a list of them, and one in full."""

from __future__ import annotations
