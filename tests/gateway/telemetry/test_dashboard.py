"""The dashboard and the alert rules under docs/ speak of metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from paig_gateway.telemetry.families import FAMILIES

DOCS = Path(__file__).parents[3] / "docs"
FOLDER = DOCS / "telemetry"
_METRIC = re.compile(r"\bpaig_[a-z_]+")
_BY = re.compile(r"by \(([^)]*)\)")
_SCRAPERS = {"instance", "job", "le"}
"""Labels that Prometheus itself adds."""


def dashboard() -> list[str]:
    """Every query of the dashboard."""
    panels = json.loads((FOLDER / "paig-dashboard.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def rules() -> list[str]:
    """Every expression of the rules."""
    groups = yaml.safe_load((FOLDER / "paig-alerts.yml").read_text("utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("expression", [*dashboard(), *rules()])
def test_an_expression_names_metrics_and_labels_that_there_are(expression: str) -> None:
    """A metric that was renamed, or a label that is gone, does not leave an empty panel or a silent alert behind."""
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _METRIC.findall(expression)}
    assert names <= set(FAMILIES) or expression.startswith("up{")
    labels = {label for name in names for label in FAMILIES[name].labels} | _SCRAPERS
    for grouping in _BY.findall(expression):
        assert {label.strip() for label in grouping.split(",")} <= labels
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_documented() -> None:
    """The page on telemetry names each metric."""
    page = (DOCS / "telemetry.md").read_text("utf-8")
    assert [name for name in FAMILIES if f"`{name}`" not in page] == []
