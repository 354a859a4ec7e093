"""The page of kept data: it names every table, and each setting, command and time on it is real."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from paig_client.cli.app import app
from paig_gateway.alerts import rows as alert_rows
from paig_gateway.catalog import idempotency, stops, tokens
from paig_gateway.cluster import health_rows
from paig_gateway.config.model import PROCESS
from paig_gateway.database.tables import SQLModel
from paig_gateway.ledger import batches, nodes, refusals, retention

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "data.md").read_text("utf-8")
ROWS = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ") and "of a person" not in line]
TABLES = {
    "requests: the ledger": {"requests"},
    "requests refused": {"refusals"},
    "totals for each quarter": {"rollups"},
    "counters of limits": {"counters"},
    "budgets of runs": {"runs"},
    "holds of requests": {"holds", "nodes"},
    "batches at a provider": {"batches", "batch_inputs"},
    "owners of objects": {"stored_objects"},
    "keys": {"keys", "key_uses"},
    "users, projects, limits": {"users", "projects", "limits", "named_limits"},
    "raises of limits": {"raises", "limit_requests"},
    "admins and their tokens": {"admins", "admin_tokens"},
    "stopped sessions": {"stopped_sessions"},
    "sessions in which": {"session_loops"},
    "the audit log": {"audit"},
    "answers kept": {"repeats"},
    "alerts that were sent": {"alerts"},
    "providers and their": {"providers", "routes", "prices", "meta"},
    "health of providers": {"breakers", "breaker_changes"},
}
"""The beginnings of the page's rows, and the tables that each is about."""


def test_every_table_has_a_row() -> None:
    """What a new version keeps besides must be said here, too."""
    assert set(SQLModel.metadata.tables) - set().union(*TABLES.values()) == set()
    assert [name for name in TABLES if not any(row[0].strip().startswith(name) for row in ROWS)] == []


def test_each_setting_exists() -> None:
    """`[section] name` is a field of that section."""
    named = re.findall(r"`\[(\w+)\] (\w+)`", PAGE)
    assert len(named) > 8
    assert [(section, name) for section, name in named if name not in PROCESS[section].model_fields] == []


def test_each_command_exists() -> None:
    """Also those that stand in tables; those in blocks are read by the test of all pages."""
    for line in re.findall(r"`paig ([a-z ]+)", PAGE):
        command = typer.main.get_command(app)
        words = line.split()
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands") or command.invoke_without_command, line


def test_times_are_those_of_the_code() -> None:
    """Each time on the page is a constant of the module that removes the rows."""
    day = 24 * 3600 * 1000
    said = {
        "requests refused": (f"{refusals.KEPT_FOR.days} days", f"{refusals.KEPT:,}"),
        "budgets of runs": (f"{retention.RUNS_KEPT.days} days",),
        "holds of requests": (f"{nodes.DEAD_SECONDS:.0f} seconds",),
        "batches at a provider": (f"{batches.INPUTS_KEPT.days} days",),
        "admins and their tokens": (f"{tokens.KEEP_EXPIRED_MS // day} days",),
        "stopped sessions": (f"{stops.KEPT_MS // day} days",),
        "answers kept": (f"{idempotency.KEEP_MS // day} day",),
        "alerts that were sent": (f"{alert_rows.KEPT.days} days",),
        "health of providers": (f"{health_rows.KEPT_CHANGES:,}",),
    }
    for name, times in said.items():
        [row] = [row for row in ROWS if row[0].strip().startswith(name)]
        assert all(time in row[2] for time in times), row
    assert f"video) for {retention.WORKS_KEPT.days} days" in PAGE


def test_it_is_linked() -> None:
    """From where a reader looks for it."""
    for page in ("faq", "databases", "admin-api", "emergencies"):
        assert "(data.md" in (DOCS / f"{page}.md").read_text("utf-8"), page
