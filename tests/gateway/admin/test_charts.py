"""Charts as SVG: axes that are easy to read, and words for those who do not see them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

import pytest

from paig_gateway.admin.charts import Bar, Value, bar_chart, column_chart, rounded_up


@pytest.mark.parametrize(
    ("value", "top"), [(0, 0), (0.7, 1), (1, 1), (1.01, 2), (2.2, 2.5), (3, 5), (7, 10), (123, 200), (1e-9, 1e-9)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert rounded_up(value) == pytest.approx(top)


def test_a_column_chart_has_axis_labels_and_words() -> None:
    values = [Value("28", 0.0, "Saturday: $0"), Value("29", 0.3, "Sunday: <$0.30>"), Value("30", 0.6, "Monday: $0.60")]
    svg = column_chart(values, "Cost by day", "$0.90 in 3 days.", lambda value: f"${value:g}", id="c")
    root = Xml.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "c-t c-d"
    assert [(one.tag, one.text) for one in root[:2]] == [("title", "Cost by day"), ("desc", "$0.90 in 3 days.")]
    assert [one.text for one in root.iter("text")] == ["$0", "$0.5", "$1", "28", "29", "30"]
    assert [one[0].text for one in root.iter("g")] == ["Saturday: $0", "Sunday: <$0.30>", "Monday: $0.60"]
    heights = [float(one.get("height") or 0) for one in root.iter("rect") if (one.get("class") or "").startswith("bar")]
    assert heights[0] == 0
    assert heights[2] == pytest.approx(2 * heights[1])
    assert "style" not in svg


def test_without_any_value_there_is_an_axis_at_nothing() -> None:
    root = Xml.fromstring(column_chart([Value("1", 0.0, "none")], "t", "s", str, id="c"))
    assert [one.text for one in root.iter("text")] == ["0.0", "1"]


def test_bars_share_one_scale() -> None:
    html = bar_chart([Bar("a", 4.0, "$4"), Bar("b", 1.0, "$1", "25%")])
    assert re.findall(r'class="bar" width="([\d.]+)"', html) == ["200.0", "50.0"]
    assert bar_chart([Bar("a", 0.0, "$0")]).count("<li") == 1
