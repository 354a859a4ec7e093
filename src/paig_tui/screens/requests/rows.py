"""A request as a row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from textual.content import Content

from paig_client.api.resources import Request
from paig_tui.text import MUTED, NOT_YET, outcome, plain, pointed, took
from paig_tui.widgets.table import Column

MARKS = {"estimated": "~", "ceiling": "≤"}
"""Before a cost that is not exact."""


def cost(row: Request) -> Content:
    """What a request cost; one that cost nothing shows nothing."""
    if Decimal(row.cost) == 0:
        return Content.styled(f"—{'':<6}", MUTED)
    return Content(MARKS.get(row.certainty or "", "") + pointed(row.cost))


def tokens(row: Request) -> Content:
    """Tokens in and out."""
    if not row.usage:
        return Content.styled(NOT_YET, MUTED)
    read, wrote = row.usage.get("input_tokens", 0), row.usage.get("output_tokens", 0)
    return Content.assemble(f"{read:,.0f}", ("→", MUTED), f"{wrote:,.0f}")


TAIL: Sequence[Column[Request]] = (
    Column("time", 8, lambda row: Content(f"{row.time:%H:%M:%S}")),
    Column("status", 12, outcome),
    Column("key", 0, lambda row: plain(row.key), most=32),
    Column("model", 0, lambda row: plain(row.model)),
    Column("provider", 14, lambda row: plain(row.provider or NOT_YET, "" if row.provider else MUTED), least=104),
    Column("tokens", 13, tokens, right=True, least=104),
    Column("took", 7, lambda row: Content(took(row.ms_total)), right=True),
    Column("cost", 10, cost, right=True),
)
"""The live tail; the wide ones have two columns more."""
REQUESTS: Sequence[Column[Request]] = (
    Column("time", 14, lambda row: Content.assemble((f"{row.time:%m-%d} ", MUTED), f"{row.time:%H:%M:%S}")),
    *TAIL[1:],
)
"""Requests of more than a day."""
