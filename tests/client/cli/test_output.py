"""What the commands print: tables that fit, bars, sparklines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from paig_client.cli import output

COLUMNS = ["name", "project", "used", "note"]
ROWS = [["ci", "", "1", "a long note about it"], ["laptop", "", "20", "x"]]


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that says nothing of colours."""
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_column_without_a_word_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has a project: there is no column for it; numbers stand flush right, lines have no tail of spaces."""
    output.print_table(COLUMNS, ROWS, empty="none", right=["used"])
    assert capsys.readouterr().out.splitlines() == [
        "name    used  note",
        "ci         1  a long note about it",
        "laptop    20  x",
    ]


@pytest.mark.parametrize(("width", "note"), [(200, "about it"), (26, "a long note…"), (20, "about it")])
def test_one_column_takes_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: None, width: int, note: str
) -> None:
    """On a narrow terminal a text is cut to a line, unless hardly a word would be left of it."""
    monkeypatch.setattr(output, "width", lambda: width)
    output.print_table(COLUMNS, ROWS, empty="none", cut="note")
    assert capsys.readouterr().out.splitlines()[1].endswith(note)


@pytest.mark.parametrize(
    ("width", "heading"), [(80, "name    used  note"), (30, "name    note"), (20, "name"), (5, "name")]
)
def test_a_narrow_terminal_does_without_some_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, heading: str
) -> None:
    """They go in the order that is given, and only as many as must."""
    monkeypatch.setattr(output, "width", lambda: width)
    output.print_table(COLUMNS, ROWS, empty="none", right=["used"], spare=["used", "note"])
    assert capsys.readouterr().out.splitlines()[0] == heading


def test_one_long_name_takes_no_other_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: None
) -> None:
    """It is folded instead."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(output, "width", lambda: 60)
    output.print_table(COLUMNS, [["m" * 74, "", "1", "x"]], right=["used"], spare=["used"])
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "used", "note"]
    assert sum(line.count("m") for line in lines) == 74


def test_no_rows_are_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays empty for programs that read it."""
    output.print_table(COLUMNS, [], empty="There are none.")
    assert capsys.readouterr() == ("", "There are none.\n")


@pytest.mark.parametrize(
    ("spent", "shown"),
    [
        ("0", "░░░░░░░░   0%"),
        ("0.5", "████░░░░  50%"),
        ("0.93", "███████░  93%▲"),
        ("0.999", "███████░  99%▲"),
        ("1", "████████ 100%!"),
        ("1.2", "████████ 120%!"),
    ],
)
def test_bars_are_rounded_down(spent: str, shown: str) -> None:
    """Only a cap that is spent looks full."""
    assert output.bar(Decimal(spent), Decimal(1)) == shown


def test_a_cap_of_nothing_is_full() -> None:
    """No money at all: nothing is left of it."""
    assert output.bar(Decimal(0), Decimal(0), 4) == "████ 100%!"


def test_sparklines() -> None:
    """The largest stands tallest, the least that is not nothing is seen, nothing is blank; all nothing is no line."""
    assert output.sparkline([Decimal(value) for value in ("0", "0.001", "4", "8")]) == " ▁▄█"
    assert output.sparkline([Decimal(0)] * 3) == ""
    assert output.sparkline([]) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(50, "in 50s"), (125, "in 2m"), (35_160, "in 9h 46m"), (7200, "in 2h"), (900_000, "in 10d 10h")],
)
def test_times_to_come(monkeypatch: pytest.MonkeyPatch, seconds: int, shown: str) -> None:
    """In the two largest units."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, zone: object = None) -> datetime:  # type: ignore[override]
            return now

    monkeypatch.setattr(output, "datetime", Clock)
    assert output.ahead(now + timedelta(seconds=seconds)).startswith(shown)
    assert output.ahead(None) == ""


@pytest.mark.parametrize(
    ("cell", "colour"),
    [
        ("████████ 100%!", 31),
        ("███████░  93%▲", 33),
        ("███░░░░░  42%", 32),
        (" ▁▃█", 36),
        ("■ stopped by ada", 31),
        ("ci", None),
    ],
)
def test_a_terminal_gets_colours_that_repeat_what_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cell: str, colour: int | None
) -> None:
    """Bars, trends and marks are coloured on a terminal; without one, or with NO_COLOR, there is no escape sequence."""
    output.print_table(["a", "b"], [["x", cell]])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.print_table(["a", "b"], [["x", cell]])
    line = capsys.readouterr().out.splitlines()[1]
    assert ("\x1b[" in line) == (colour is not None)
    assert colour is None or f"\x1b[{colour}m" in line
    monkeypatch.setenv("NO_COLOR", "1")
    output.print_table(["a", "b"], [["x", cell]])
    assert "\x1b[3" not in capsys.readouterr().out


def test_small_amounts_have_no_exponent(capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON and CSV a nanodollar is written out."""
    output.print_json({"cost": Decimal("1E-9")})
    output.show(output.PrintedTable(["cost"], [[output.usd(Decimal("1E-9"))]]), csv=True)
    assert capsys.readouterr().out == '{\n  "cost": "0.000000001"\n}\ncost\n0.000000001\n'


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "�=1"), ("\n=1", "�=1"),
        ("=\x1b[2J", "'=�[2J"), ("a;=1", "a;'=1"), ("gpt-5", "gpt-5"), ("a;b", "a;b"),
    ],
)  # fmt: skip
def test_no_text_in_csv_is_a_formula(capsys: pytest.CaptureFixture[str], text: str, printed: str) -> None:
    """Nor does it drive the terminal; where commas are decimal points, spreadsheets begin a cell at a semicolon."""
    output.print_csv(["name"], [[text]])
    assert capsys.readouterr().out == f"name\n{printed}\n"
