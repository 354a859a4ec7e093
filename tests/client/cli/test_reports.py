"""`paig usage` and `paig tail`."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from paig_client.api.resources import Request, UsageReport
from paig_client.cli import reports
from tests.client import calls
from tests.client.cli.conftest import Paig
from tests.client.double import TOKEN, Double, request_row
from tests.client.real import Real


@pytest.fixture(scope="session")
def spent(real: Real) -> str:
    """A key that has paid for three requests."""
    key = real.make_key("usage-key", daily=5)
    for _ in range(3):
        calls.groq(api_key=key, base_url=real.root)
    return "usage-key"


def test_usage_as_table_json_and_csv(paig: Paig, url: str, spent: str) -> None:
    """The same totals in each form; the table ends in their sum."""
    table = paig("usage", "--by", "key", "--by", "model", "--url", url).out
    [line] = [line for line in table.splitlines() if line.startswith(spent)]
    assert "openai/gpt-oss-120b" in line
    assert "total" in table.splitlines()[-1]
    report = json.loads(paig("usage", "--by", "key", "--json", "--url", url).out)
    [mine] = [item for item in report["items"] if item["group"]["key"] == spent]
    assert mine["requests"] == 3
    rows = list(csv.DictReader(io.StringIO(paig("usage", "--by", "key", "--csv", "--url", url).out)))
    [row] = [row for row in rows if row["key"] == spent]
    assert (row["requests"], row["cost"]) == ("3", mine["cost"])


def test_usage_of_a_time(paig: Paig, url: str, spent: str) -> None:
    """Since and until take lengths of time and dates; what was before or after is not counted."""
    old = paig("usage", "--since", "2020-01-01", "--until", "2020-01-02", "--url", url)
    assert (old.out, old.err) == ("", "Nothing was spent.\n")
    assert spent in paig("usage", "--by", "key", "--since", "1h", "--url", url).out
    assert paig("usage", "--since", "yesterday", "--url", url).code == 2
    assert paig("usage", "--by", "colour", "--url", url).code == 1


def test_usage_of_one_thing(paig: Paig, url: str, spent: str, real: Real) -> None:
    """Whatever can be grouped by can be filtered by."""
    calls.groq(api_key=real.make_key("another"), base_url=real.root)
    for option, value in (("--key", spent), ("--model", "openai/gpt-oss-120b"), ("--provider", "groq")):
        report = json.loads(paig("usage", "--by", "key", option, value, "--json", "--url", url).out)
        assert spent in [item["group"]["key"] for item in report["items"]], option
    assert "another" not in paig("usage", "--by", "key", "--key", spent, "--url", url).out
    assert "there is no route 'nowhere'" in paig("usage", "--route", "nowhere", "--url", url).err


def test_usage_has_a_sparkline_on_each_row(paig: Paig, url: str, spent: str) -> None:
    """By the day over two weeks, by the hour where two days or less are asked for; never beside a grouping by time."""
    heading, *lines = paig("usage", "--by", "key", "--url", url).out.splitlines()
    assert heading.endswith("14 days")
    assert all(line.endswith("█") for line in lines if line.split()[0] in (spent, "total"))  # all was spent today
    assert "24 hours" in paig("usage", "--since", "23h", "--url", url).out.splitlines()[0]
    assert "days" not in paig("usage", "--by", "day", "--url", url).out


def test_the_columns_of_a_sparkline() -> None:
    """As many as the time has begun days or hours, costs in their places, the total's the sum."""
    end = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    trend = reports.Trend(end - timedelta(days=4), end)
    assert (trend.unit, trend.heading) == ("day", "5 days")
    spent = {"requests": 1, "errors": 0, "input_tokens": 1, "output_tokens": 1}
    spent |= {"cache_read_tokens": 0, "cache_write_tokens": 0}
    items = [
        {**spent, "cost": cost, "group": {"key": key, "day": day}}
        for key, day, cost in (("a", "2026-11-20", "4"), ("a", "2026-11-23", "8"), ("b", "2026-11-20", "8"))
    ]
    trend.fill(UsageReport.model_validate({"items": items, "total": {**spent, "cost": "20", "group": {}}}), ["key"])
    assert trend.line(["a"]) == " ▄  █"
    assert trend.line(["b"]) == " █   "
    assert trend.line(None) == " █  ▆"
    assert trend.line(["nobody"]) == ""
    assert reports.Trend(end - timedelta(hours=3), end).heading == "4 hours"
    assert reports.Trend(None, datetime(2026, 11, 23, tzinfo=UTC)).heading == "14 days"


def test_csv_cells_are_not_formulas(paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key named like a spreadsheet's formula is quoted."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    numbers = dict.fromkeys(("requests", "errors", "input_tokens", "output_tokens"), 1)
    total = {**numbers, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost": "0.1", "group": {}}
    double.usage = {"items": [{**total, "group": {"key": "=HYPERLINK(1)"}}], "total": total}
    ran = paig("usage", "--by", "key", "--csv", "--url", gateway)
    assert ran.out.splitlines()[1].startswith("'=HYPERLINK(1),1,")


def test_tail_shows_the_last_requests(paig: Paig, url: str, spent: str) -> None:
    """Oldest first, a line each, or as JSON; of one key alone."""
    ran = paig("tail", "--no-follow", "-n", "2", "--key", spent, "--url", url)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert " 200  usage-key" in ran.out
    lines = paig("tail", "--no-follow", "--json", "--key", spent, "--url", url).out.splitlines()
    times = [json.loads(line)["time"] for line in lines]
    assert times == sorted(times)
    assert len(times) == 3


def test_tail_begins_with_the_day_on_a_terminal(
    paig: Paig, url: str, spent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line above the requests, apart from standard output: what was spent hour by hour, and the sum."""
    monkeypatch.setattr(reports, "console", lambda: Console(force_terminal=True, width=200, no_color=True))
    ran = paig("tail", "--no-follow", "--key", spent, "--url", url)
    assert re.search(r"^24 hours  [ ▁▂▃▄▅▆▇]*█ *  \$\d+\.\d+ in 3 requests$", ran.err, re.MULTILINE)
    assert "24 hours" not in paig("tail", "--no-follow", "--json", "--key", spent, "--url", url).err


def test_tail_marks_how_the_cost_is_known_and_what_failed(
    paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Estimates and ceilings are marked; --errors shows failures alone."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    double.ledger = [
        request_row("c", certainty="ceiling", cost="0.5"),
        request_row("b", status=402, error="limit-exceeded", certainty=None, cost="0"),
        request_row("a", certainty="estimated", cost="0.25"),
    ]
    lines = paig("tail", "--no-follow", "--url", gateway).out.splitlines()
    assert "~$0.25" in lines[0]
    assert "limit-exceeded" in lines[1]
    assert "≤$0.50" in lines[2]
    assert len(paig("tail", "--no-follow", "--errors", "--url", gateway).out.splitlines()) == 1


def test_tail_looks_back_for_what_is_wanted(
    paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-n 2 --errors` is two failures, however many successes came after them."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    fine = [request_row(f"fine-{number}") for number in range(50)]
    failed = [request_row(f"bad-{number}", status=500) for number in range(3)]
    double.ledger = [*fine, *failed]
    lines = paig("tail", "--no-follow", "--errors", "-n", "2", "--json", "--url", gateway).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["bad-1", "bad-0"]


def test_what_tail_began_with_is_not_shown_again(
    paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is opened before the last requests are read: nothing falls between, and nothing comes twice."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    monkeypatch.setattr(reports, "PAUSE", 0.01)
    monkeypatch.setattr(reports, "TIMEOUT_SECONDS", 0.05)
    double.ledger = [request_row("req_1")]
    double.events = [json.dumps(request_row(f"req_{number}")) for number in (1, 2)]
    double.streams = 2
    ran = paig("tail", "--json", "--url", gateway)
    assert [json.loads(line)["id"] for line in ran.out.splitlines()] == ["req_1", "req_2"]


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_tail_fits_the_terminal(
    paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """A request is one line; long names are cut where they must be."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    monkeypatch.setattr(reports, "width", lambda: columns)
    monkeypatch.setattr(reports, "narrow", lambda: columns < 110)
    long = request_row("a", key="k" * 16, model="m" * 28, error="limit-exceeded", status=402, ms_total=4.2)
    double.ledger = [long]
    [line] = paig("tail", "--no-follow", "--url", gateway).out.splitlines()
    assert len(line) <= columns
    assert "4ms" in line
    assert line.endswith("limit-exceeded")
    assert ("…" in line) == (columns < 110)


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_columns_of_tail_line_up(
    paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """A refused request moves no column, nor does a name in wide letters."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    monkeypatch.setattr(reports, "width", lambda: columns)
    monkeypatch.setattr(reports, "narrow", lambda: columns < 110)
    double.ledger = [
        request_row("a", ms_total=4.2),
        request_row("b", key="研究", error="limit-exceeded", status=402, ms_total=4.2, cost="0"),
    ]
    lines = paig("tail", "--no-follow", "--url", gateway).out.splitlines()
    assert len({cell_len(line[: line.index("4ms")]) for line in lines}) == 1


def test_tail_follows_and_comes_back(paig: Paig, gateway: str, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that breaks off is taken up where it broke; a gateway that is gone for good ends it."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    monkeypatch.setattr(reports, "PAUSE", 0.01)
    double.events = [json.dumps(request_row(f"req_{number}")) for number in (1, 2, 3)]
    monkeypatch.setattr(reports, "TIMEOUT_SECONDS", 0.05)
    double.streams = 3
    ran = paig("tail", "-n", "0", "--json", "--url", gateway)
    assert [json.loads(line)["id"] for line in ran.out.splitlines()] == ["req_1", "req_2", "req_3"]
    assert double.event_requests == [None, "1", "2"]
    assert ran.code == 3
    assert "shutting down" in ran.err


def test_tail_does_not_wait_for_a_gateway_that_was_never_there(paig: Paig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that it has listened to may be away for a while."""
    monkeypatch.setenv("PAIG_ADMIN_TOKEN", TOKEN)
    monkeypatch.setattr(reports, "PAUSE", 30.0)
    ran = paig("tail", "--url", "http://127.0.0.1:9")
    assert (ran.code, ran.out) == (3, "")
    assert "trying again" not in ran.err


def test_tail_sees_a_real_request_arrive(paig: Paig, url: str, real: Real, spent: str) -> None:
    """What finishes while it follows is shown."""
    key = real.make_key("tailed")
    listening = threading.Event()
    seen: list[str] = []
    original_last, original_line = reports._last, reports._line

    def last(*arguments: object) -> list[Request]:
        listening.set()  # what came before is shown once the gateway listens
        return original_last(*arguments)  # type: ignore[arg-type]

    def line(row: Request) -> str:
        text = original_line(row)
        if "tailed" in text:
            seen.append(text)
            raise KeyboardInterrupt
        return text

    def later() -> None:
        assert listening.wait(30)
        calls.groq(api_key=key, base_url=real.root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports, "_last", last)
        patch.setattr(reports, "_line", line)
        thread = threading.Thread(target=later)
        thread.start()
        ran = paig("tail", "-n", "0", "--url", url)
        thread.join()
    assert ran.code == 0
    assert len(seen) == 1
