"""Every table is sorted by a key or by a click on a heading; columns take the room that there is."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.pilot import Pilot

from paig_tui.widgets.table import Column, Table
from tests.gateway.end_to_end.conftest import World
from tests.tui.conftest import ask, at

pytestmark = pytest.mark.anyio
Row = tuple[str, float | None]
ROWS: list[Row] = [("beta", 2), ("alpha", None), ("gamma-with-a-long-name", 30), ("delta", 1)]


def _bar(row: Row, width: int) -> Content:
    return Content("=" * width)


class OneTable(App[None]):
    """A table alone."""

    def compose(self) -> ComposeResult:
        """It."""
        yield Table(
            (
                Column("name", 0, lambda row: Content(row[0]), sort=lambda row: row[0]),
                Column("size", 6, lambda row: Content(f"{row[1]}"), right=True, sort=lambda row: row[1]),
                Column("bar", 4, wide=_bar, most=40),
            ),
            lambda row: row[0],
        )


async def shown(pilot: Pilot[None]) -> list[str]:
    """The lines of the table."""
    await pilot.pause()
    table = pilot.app.query_one(Table)
    return ["".join(segment.text for segment in table.render_line(y)).rstrip() for y in range(len(table.rows) + 1)]


async def test_sorting_by_keys_and_by_headings() -> None:
    """Numbers begin with the largest, names with A; what is not known stays last; the cursor stays on its row."""
    app = OneTable()
    async with app.run_test(size=(60, 10)) as pilot:
        table = app.query_one(Table)
        table.show(ROWS)
        table.focus()
        table.point_at("beta")
        await pilot.press("o")
        assert [row[0] for row in table.rows] == ["alpha", "beta", "delta", "gamma-with-a-long-name"]
        await pilot.press("o")
        assert [row[0] for row in table.rows] == ["gamma-with-a-long-name", "beta", "delta", "alpha"]
        assert "size▼" in (await shown(pilot))[0]
        await pilot.press("O")
        assert [row[0] for row in table.rows] == ["delta", "beta", "gamma-with-a-long-name", "alpha"]
        assert table.current_key == "beta"
        table.show([*ROWS, ("epsilon", 0)])
        assert table.rows[0][0] == "epsilon"
        await pilot.press("o")
        assert [row[0] for row in table.rows] == [*(row[0] for row in ROWS), "epsilon"]
        await pilot.click(Table, offset=(3, 0))
        await pilot.pause()
        assert (table.sorted_by, table.largest_first) == ("name", False)
        await pilot.click(Table, offset=(3, 0))
        await pilot.pause()
        assert (table.sorted_by, table.largest_first) == ("name", True)


@pytest.mark.parametrize(("width", "bar"), [(40, 8), (60, 28), (120, 40)])
async def test_columns_are_as_wide_as_their_content(width: int, bar: int) -> None:
    """A name is not cut where there is room, and takes no more than it needs; a bar grows with the rest."""
    app = OneTable()
    async with app.run_test(size=(width, 10)) as pilot:
        app.query_one(Table).show(ROWS)
        lines = await shown(pilot)
        assert "gamma-with-a-long-name" in lines[3]
        assert lines[1].count("=") == bar


async def test_requests_are_sorted_by_the_gateway(world: World) -> None:
    """Of more rows than one page the dearest come first: the order is asked for, not made of what is there."""
    key = await world.make_key("sorter")
    for most in (60, 5, 30):
        assert await ask(world, key, say=f"[sim:tokens={most}] hi", most=most) == 200
    async with at(world, size=(120, 30)) as hand:
        await hand.press("2")
        await hand.point("sorter")
        await hand.press("l")
        await hand.sees("requests of key sorter · 3")
        table = hand.app.screen.query_one(Table)
        came = [row.id for row in table.rows]
        table.sort_by("cost", largest_first=True)
        dearest = [row.id for row in (await world.admin.requests(key="sorter", sort="-cost")).items]
        await hand.until(lambda: [row.id for row in table.rows] == dearest, "the dearest first")
        assert dearest != came
        await hand.sees("cost▼")
