"""The section Limits: the state of each limit, named limits, and limits that are raised for a while."""

from __future__ import annotations
