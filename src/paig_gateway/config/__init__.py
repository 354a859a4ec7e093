"""Configuration as code: `paig.toml` is parsed, compared with the catalogue, and applied in one transaction."""

from __future__ import annotations

from paig_gateway.config.export import export
from paig_gateway.config.model import Config, ConfigError, Issue, LedgerSpec, ServerSpec
from paig_gateway.config.parse import load, parse
from paig_gateway.config.plan import Plan, PlannedChange, apply, plan
from paig_gateway.routing.deadlines import Timeouts

__all__ = [
    "Config",
    "ConfigError",
    "Issue",
    "LedgerSpec",
    "Plan",
    "PlannedChange",
    "ServerSpec",
    "Timeouts",
    "apply",
    "export",
    "load",
    "parse",
    "plan",
]
