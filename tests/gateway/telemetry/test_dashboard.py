"""The dashboard and the alert rules under docs/ speak of metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from paig_gateway.telemetry.metrics.families import FAMILIES

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
    promql_parser.parse(asked(expression))


def asked(expression: str) -> str:
    """A query as Prometheus gets it, its variables filled in by Grafana."""
    filled = expression.replace("$instance", ".*")
    assert "$" not in filled
    return filled


def test_the_dashboard_can_be_shown() -> None:
    """Panels have names of their own, lie beside each other, and ask the data source that is chosen."""
    board = json.loads((FOLDER / "paig-dashboard.json").read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "instance"}


SHOWN_NOWHERE = {"paig_info", "paig_workers", "paig_telemetry_exported_total", "paig_telemetry_errors_total"} | {
    "paig_ledger_dropped_total",
    "paig_ledger_set_aside_total",
    "paig_price_book_age_seconds",
    "paig_listener_refusals_total",
    "paig_listener_dropped_total",
    "paig_websocket_sessions",
    "paig_websockets_ended_total",
}


def test_the_dashboard_shows_what_there_is() -> None:
    """A new metric finds its way into a panel, or into the list of those that need none."""
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for query in dashboard() for name in _METRIC.findall(query)}
    assert {family.name for family in FAMILIES.values() if family.scraped} - named == SHOWN_NOWHERE


@pytest.fixture
def promtool() -> str:
    """Prometheus' own checker, where it is installed."""
    if (found := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus), so Prometheus itself has no say")
    return found


def run(command: list[str], text: str = "") -> None:
    """Run a checker, which says what is wrong."""
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_prometheus_takes_the_rules_and_the_queries(promtool: str, tmp_path: Path) -> None:
    """`promtool check rules` passes the rules as they are, and the dashboard's queries as rules."""
    queries = [{"record": f"paig:query{number}", "expr": asked(query)} for number, query in enumerate(dashboard())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": queries}]}))
    run([promtool, "check", "rules", str(FOLDER / "paig-alerts.yml"), str(tmp_path / "queries.yml")])


FIRING = """
rule_files: ["{rules}"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'paig_attempts_total{{provider="bad", outcome="529"}}'
        values: "0+10x20"
      - series: 'paig_attempts_total{{provider="bad", outcome="200"}}'
        values: "0+2x20"
      - series: 'paig_attempts_total{{provider="good", outcome="200"}}'
        values: "0+10x20"
      - series: 'paig_attempts_total{{provider="good", outcome="404"}}'
        values: "0+9x20"
      - series: 'paig_ledger_up{{instance="a"}}'
        values: "1x10 0x10"
      - series: 'up{{job="paig", instance="b"}}'
        values: "1x10 0x10"
    alert_rule_test:
      - {{ eval_time: 15m, alertname: PaigProviderFails, exp_alerts: [{{ exp_labels: {{ severity: warning, provider: bad }}, exp_annotations: {{ summary: "More than half of the tries at bad fail." }} }}] }}
      - {{ eval_time: 15m, alertname: PaigLedgerDown, exp_alerts: [{{ exp_labels: {{ severity: critical, instance: a }}, exp_annotations: {{ summary: "The ledger of a cannot record.", description: "Look at the database; the gateway's log has its last error." }} }}] }}
      - {{ eval_time: 15m, alertname: PaigDown, exp_alerts: [{{ exp_labels: {{ severity: critical, job: paig, instance: b }}, exp_annotations: {{ summary: "The gateway b does not answer." }} }}] }}
      - {{ eval_time: 15m, alertname: PaigProviderThrottles, exp_alerts: [] }}
"""  # noqa: E501


def test_prometheus_alerts_when_it_should(promtool: str, tmp_path: Path) -> None:
    """By `promtool test rules`: a failing provider, a ledger and a gateway that are down; not a client's mistakes."""
    (tmp_path / "test.yml").write_text(FIRING.format(rules=FOLDER / "paig-alerts.yml"))
    run([promtool, "test", "rules", str(tmp_path / "test.yml")])


def test_every_metric_is_documented() -> None:
    """The page on telemetry names each metric."""
    page = (DOCS / "telemetry.md").read_text("utf-8")
    assert [name for name in FAMILIES if f"`{name}`" not in page] == []
