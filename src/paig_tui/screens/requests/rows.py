"""A request as a row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from textual.content import Content

from paig_client.api.refusals import failed, failover, in_short, what_happened
from paig_client.api.resources import Request
from paig_tui.text import BAD, MUTED, NOT_YET, WARN, gauge, outcome, plain, pointed, took
from paig_tui.widgets.table import Column

MARKS = {"estimated": "~", "ceiling": "≤", "unknown": "?"}
"""The mark before a cost that is not exact."""


def cost(row: Request) -> Content:
    """The cost of a request; a dash if it is zero."""
    if row.cost == 0:
        return Content.styled(f"—{'':<6}", MUTED)
    return Content(MARKS.get(row.certainty or "", "") + pointed(row.cost))


def tokens(row: Request) -> Content:
    """Input and output tokens."""
    if not row.usage:
        return Content.styled(NOT_YET, MUTED)
    read, wrote = row.usage.get("input_tokens", 0), row.usage.get("output_tokens", 0)
    return Content.assemble(f"{read:,.0f}", ("→", MUTED), f"{wrote:,.0f}")


def _belongs(row: Request) -> Content:
    found = " / ".join(name for name in (row.project, row.user) if name)
    return plain(found) if found else Content.styled(NOT_YET, MUTED)


def _why(row: Request) -> Content:
    """What went wrong, in words: the limit that refused, or the tries that failed before another answered."""
    if failed(row):
        return plain(in_short(row) or what_happened(row.error, row.status, row.refusal), BAD)
    return plain(failover(row), WARN)


def _provider(row: Request) -> Content:
    return plain(row.provider or NOT_YET, "" if row.provider else MUTED)


def _all_tokens(row: Request) -> float | None:
    return None if not row.usage else sum(row.usage.get(name, 0) for name in ("input_tokens", "output_tokens"))


def _dear(row: Request) -> Content:
    """How much it cost, from a hundredth of a cent up to a dollar."""
    return Content.styled(gauge(float(row.cost), 0.0001, 1.0), "$primary")


def _slow(row: Request) -> Content:
    """How long it took, from a tenth of a second up to a minute."""
    return Content.styled(gauge(row.ms_total or 0.0, 100.0, 60_000.0), "$secondary")


def _day_and_time(row: Request) -> Content:
    return Content.assemble((f"{row.time:%m-%d} ", MUTED), f"{row.time:%H:%M:%S}")


TAIL: Sequence[Column[Request]] = (
    Column("time", 8, lambda row: Content(f"{row.time:%H:%M:%S}"), sort=lambda row: row.time, field="time"),
    Column("status", 12, outcome, sort=attrgetter("status"), field="status"),
    Column("key", 0, lambda row: plain(row.key), sort=lambda row: row.key.casefold(), field="key"),
    Column("model", 0, lambda row: plain(row.model), sort=lambda row: row.model, field="model"),
    Column("project / user", 0, _belongs, least=150, most=40, sort=lambda row: row.project, field="project"),
    Column(
        "route", 0, lambda row: plain(row.route, MUTED), least=150, most=24, sort=attrgetter("route"), field="route"
    ),
    Column("provider", 0, _provider, least=104, sort=lambda row: row.provider, field="provider"),
    Column("tokens", 0, tokens, right=True, least=104, sort=_all_tokens),
    Column("why", 0, _why, least=150),
    Column(
        "first",
        7,
        lambda row: Content(took(row.ms_first_byte)),
        right=True,
        least=150,
        sort=attrgetter("ms_first_byte"),
        field="ms_first_byte",
    ),
    Column(
        "took", 7, lambda row: Content(took(row.ms_total)), right=True, sort=attrgetter("ms_total"), field="ms_total"
    ),
    Column("", 1, _slow, least=100),
    Column("cost", 11, cost, right=True, sort=lambda row: row.cost, field="cost"),
    Column("", 1, _dear),
)
"""The columns of the live tail; wider terminals show more of them."""
REQUESTS: Sequence[Column[Request]] = (
    Column("time", 14, _day_and_time, sort=lambda row: row.time, field="time"),
    *TAIL[1:],
)
"""The columns for requests of more than one day."""
