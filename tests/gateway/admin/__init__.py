"""Tests of the admin API, over HTTP, on a real server with a real database."""

from __future__ import annotations
