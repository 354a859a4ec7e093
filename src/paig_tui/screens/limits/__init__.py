"""The section Limits: where each limit stands, named limits, and what is raised for a while."""

from __future__ import annotations
