"""Formats values as text: statuses with glyphs, bars, amounts, spans of time. No widget, no I/O.

`safe` removes control characters from remote text; a `Content` is never parsed as markup. A status is always a glyph
and a word, so that its colour adds nothing.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from textual.content import Content

from paig_client.api.refusals import failed, is_unused
from paig_client.api.resources import Request

GOOD, WARN, BAD, ACCENT, MUTED = "$success", "$warning", "$error", "$accent", "dim"
NOT_YET = "–"
"""Shown for what has not been fetched: never a zero."""

KEY_STATUS = {
    "active": ("●", "active", GOOD),
    "limit-exceeded": ("■", "limit", BAD),
    "blocked": ("✕", "blocked", BAD),
    "expired": ("◌", "expired", WARN),
    "disabled": ("○", "disabled", MUTED),
}
WHY = {
    "limit-exceeded": "limit",
    "rate-limited": "rate",
    "key-disabled": "key",
    "key-expired": "key",
    "key-blocked": "key",
    "not-allowed": "denied",
    "not-found": "absent",
    "limit-too-small": "limit",
    "loop-stopped": "loop",
    "ambiguous-request": "unsure",
    "headers-too-large": "size",
    "target-too-long": "size",
    "too-slow": "slow",
    "route-not-found": "route",
    "model-not-allowed": "model",
    "no-price": "price",
    "body-too-large": "size",
    "upstream-unreachable": "lost",
    "upstream-timeout": "late",
    "overloaded": "shed",
    "client-gone": "gone",
}
"""A short word for each of the gateway's own errors; any other is an `error`."""
CERTAINTY = {
    "exact": "exact: the provider's own usage",
    "estimated": "estimated: something is not known or has no price",
    "ceiling": "ceiling: charged at the reservation, because no usage came",
    "unknown": "unknown: it may cost something that the gateway cannot see",
}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def safe(text: object) -> str:
    """Remote text with control and format characters replaced by `�`: it cannot move the cursor or hide anything.

    Joiners of emoji go: where a dialog covers the second half of a joined sign, the joiner would take in the border.
    """
    signs = str(text).replace("\u200d", "")
    return "".join("�" if unicodedata.category(sign) in _HIDDEN else sign for sign in signs)


def plain(text: object, style: str = "") -> Content:
    """Remote text as content, never parsed as markup."""
    return Content.styled(safe(text), style) if style else Content(safe(text))


def lines(parts: Iterable[Content | str]) -> Content:
    """Join parts as lines."""
    return Content("\n").join(Content(part) if isinstance(part, str) else part for part in parts)


def hanging(label: str, value: Content, width: int, room: int) -> Content:
    """A label and its value; if the value takes several lines, they are aligned.

    Args:
        label: In `room` cells.
        value: What is known by that name.
        width: Cells of a whole line.
        room: Cells of the label.
    """
    first, *more = value.wrap(max(10, width - room)) if value.cell_length > width - room else [value]
    found = [Content.assemble((f"{label:<{room}}", MUTED), first)]
    return lines([*found, *(Content.assemble(" " * room, line) for line in more)])


def fitted(content: Content, width: int) -> Content:
    """Content in exactly `width` cells, cut with an ellipsis."""
    cut = content.truncate(width, ellipsis=True)
    return cut.pad_right(width - cut.cell_length)


def status(key_status: str) -> Content:
    """A key's status: glyph and word."""
    glyph, word, style = KEY_STATUS.get(key_status, ("?", safe(key_status), WARN))
    return Content.styled(f"{glyph} {word}", style)


def dollars(amount: Decimal | float | None) -> str:
    """An amount of US dollars, rounded by its size: `$1,234`, `$36.57`, `$0.0421`, `$0.000017`."""
    if amount is None:
        return NOT_YET
    value = Decimal(amount)
    if value == 0:
        return "$0"
    size = abs(value)
    if size >= 1000:
        return f"${value:,.0f}"
    places = 2 if size >= 1 else 4 if size >= Decimal("0.01") else 6
    if size < Decimal("0.000001"):
        return f"${value:.9f}".rstrip("0")
    return f"${value:.{places}f}"


def rounded(amount: Decimal) -> str:
    """An amount for a narrow cell: without cents from $100 on, or if there are none."""
    if abs(amount) >= 100:
        return f"${amount:,.0f}"
    shown = dollars(amount)
    return shown.rstrip("0").rstrip(".") if "." in shown and abs(amount) < Decimal("0.01") else _cents(shown)


def _cents(shown: str) -> str:
    """`$5.00` as `$5`, `$0.0350` as `$0.035`, `$0.5000` as `$0.50`."""
    whole, point, part = shown.partition(".")
    part = part.rstrip("0")
    return whole + point + part.ljust(2, "0") if part else whole


def pointed(amount: str | Decimal | float, places: int = 6) -> str:
    """An amount for a column, in `places + 5` cells at most, padded so that decimal points align.

    Args:
        amount: US dollars.
        places: Decimal places that there is room for; what is less than that is `<$0.0001`.
    """
    value = Decimal(amount)
    least = Decimal(1).scaleb(-places)
    if 0 < abs(value) < least / 2:
        return f"<${least:f}"
    shown = f"${value:.{places}f}" if 0 < abs(value) < Decimal("0.01") else dollars(value)
    whole, point, part = shown.partition(".")
    return f"{whole}{point or ' '}{part:<{places}}" if len(whole) < 5 else whole + point + part


LEVELS = "▁▂▃▄▅▆▇█"


def gauge(value: float, least: float, most: float) -> str:
    """A value as one column, to be looked at rather than read: each step is the same factor; nothing for zero."""
    if value <= 0:
        return " "
    place = math.log(max(value, least) / least) / math.log(most / least) * len(LEVELS)
    return LEVELS[min(len(LEVELS) - 1, int(place))]


def amount(value: Decimal, unit: str) -> str:
    """An amount of a limit, in dollars or as a count."""
    return dollars(value) if unit == "usd" else f"{value:,.0f}"


def exact(value: str | Decimal | None) -> str:
    """An amount with every digit, for editing."""
    if value is None:
        return ""
    text = f"{Decimal(value):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def took(ms: float | None) -> str:
    """How long a request took."""
    if ms is None:
        return NOT_YET
    if ms < 999.5:
        return f"{ms:.0f}ms"
    return f"{ms / 1000:.2f}s" if ms < 100_000 else f"{ms / 60_000:.1f}m"


def span(seconds: float) -> str:
    """A length of time in one or two units: `4s`, `12m`, `11h56m`, `6d`."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m"
    if left < 86_400:
        return f"{left // 3600}h{left % 3600 // 60:02}m" if left % 3600 // 60 else f"{left // 3600}h"
    return f"{left // 86_400}d"


def until(moment: datetime | None, now: datetime) -> str:
    """The time left until a moment."""
    return "never" if moment is None else span((moment - now).total_seconds())


def percent(share: float) -> str:
    """A share of a cap, rounded down, so that only a full cap shows 100 %; `▲` from 80 %, `!` when full."""
    mark = "!" if share >= 1 else "▲" if share >= 0.8 else " "
    return f"{min(999, int(share * 100)):>3}%{mark}"


def level(share: float) -> str:
    """The colour of a share of a cap."""
    return BAD if share >= 1 else WARN if share >= 0.8 else GOOD


def bar(share: float, width: int, style: str | None = None) -> Content:
    """A bar in steps of half a cell, rounded down, so that only a full one looks full; by default coloured as a cap."""
    halves = min(2 * width, int(share * 2 * width))
    drawn = "━" * (halves // 2) + "╸" * (halves % 2)
    return Content.assemble((drawn, style or level(share)), ("─" * (width - len(drawn)), MUTED))


def cap_cell(share: float | None, width: int = 4) -> Content:
    """A cap in a table: bar and percent, or `no cap`."""
    if share is None:
        return Content.styled(f"{'no cap':>{width + 5}}", MUTED)
    return Content.assemble(bar(share, width), " ", (percent(share), level(share)))


def outcome(request: Request) -> Content:
    """A request's status: glyph, number, word; `429→200` if earlier attempts failed."""
    codes = [str(attempt.status or "✕") for attempt in request.attempts]
    final = "open" if request.state == "open" else str(request.status or "–")
    shown = f"{codes[0]}→{final}" if len(codes) > 1 else final
    if request.state == "open":
        return Content.styled(f"◌ {shown}", MUTED)
    if is_unused(request):
        return Content.styled(f"◌ {shown} unused", MUTED)
    if failed(request):
        word = WHY.get(request.error or "", "error")
        return Content.styled(f"{'■' if word in ('limit', 'rate') else '✕'} {shown} {word}", BAD)
    return Content.styled(f"▲ {shown}" if len(codes) > 1 else f"● {shown} ok", WARN if len(codes) > 1 else GOOD)
