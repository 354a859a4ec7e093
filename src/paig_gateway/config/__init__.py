"""Configuration as code: `paig.toml`.

Enters: the text of a file. Leaves: settings of the process, a plan of changes to the catalogue, and the catalogue as
the text of a file.

- `lines` finds the line of each value, `parse` checks the file, `model` holds its content.
- `plan` compares it with the catalogue and applies it in one transaction; `export` writes the catalogue as a file.

Never true: a field that is ignored because it is unknown; an error without its line; half a file applied; a secret in a
plan or an export.
"""

from __future__ import annotations

from paig_gateway.config.export import export
from paig_gateway.config.model import Config, ConfigError, Issue, LedgerSpec, ServerSpec
from paig_gateway.config.parse import load, parse
from paig_gateway.config.plan import Plan, PlanStep, apply, plan
from paig_gateway.routing.deadlines import Timeouts

__all__ = [
    "Config",
    "ConfigError",
    "Issue",
    "LedgerSpec",
    "Plan",
    "PlanStep",
    "ServerSpec",
    "Timeouts",
    "apply",
    "export",
    "load",
    "parse",
    "plan",
]
