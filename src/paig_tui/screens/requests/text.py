"""One request in full, as text: its attempts over time, its usage, how its cost is known, and its key and route."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from textual.content import Content

from paig_client.api.refusals import reasons
from paig_client.api.resources import Attempt, Request
from paig_tui.text import BAD, CERTAINTY, GOOD, MUTED, NOT_YET, WARN, fitted, hanging, lines, outcome, plain, safe, took

LABEL = 11
NAMES = {"refused because": "because", "failed because": "because"}
TRACE_URL = "PAIG_TRACE_URL"
"""The environment variable with the address of a trace, `{trace_id}` in it."""


def trace_link(row: Request, environ: Mapping[str, str]) -> str | None:
    """The address of the request's trace, if it is known."""
    template = environ.get(TRACE_URL, "")
    if row.trace_id is None or not template.startswith(("http://", "https://")):
        return None
    return template.replace("{trace_id}", row.trace_id)


def described(row: Request, width: int, link: str | None = None) -> Content:
    """The request, line by line.

    Args:
        link: The address of its trace.
    """
    parts = (_head(row, width), _attempts(row, width), _usage(row), _where(row, link))
    return Content("\n\n").join(lines(part) for part in parts)


def _line(label: str, value: Content | str | None, width: int = 10_000) -> Content:
    missing = value is None or not str(value)
    shown = Content.styled(NOT_YET, MUTED) if missing else value if isinstance(value, Content) else plain(value)
    return hanging(label, shown, width, LABEL)


def _head(row: Request, width: int) -> Iterable[Content]:
    error = Content.assemble("  ", plain(row.error, BAD)) if row.error else Content("")
    yield _line("status", Content.assemble(outcome(row), error))
    for label, words in reasons(row):
        name, _, provider = label.partition(": ")
        value = f"{provider}: {words}" if provider else words
        style = BAD if label in NAMES else "bold" if name == "next step" else WARN
        yield _line(NAMES.get(name, name), plain(value, style), width)
    yield _line("time", f"{row.time:%Y-%m-%d %H:%M:%S} UTC")
    yield _line("model", f"{row.model} · {row.format}{' · streamed' if row.stream else ''}")
    yield _line("took", f"{took(row.ms_total)} · first byte {took(row.ms_first_byte)} · gateway {took(row.ms_gateway)}")
    cost = Content.assemble((f"${row.cost}", "bold"), (f" · reserved ${row.reserved}", MUTED))
    yield _line("cost", cost)
    unknown = "not settled yet" if row.state == "open" else "never sent to a provider"
    known = CERTAINTY.get(row.certainty or "", unknown)
    yield _line("known how", Content.styled(known, GOOD if row.certainty == "exact" else WARN))
    if row.certainty_reason:
        yield _line("not exact", plain(row.certainty_reason), width)
    yield _line("price", row.price)
    if row.cost_source == "provider":
        listed = f"${row.list_price}" if row.list_price else "none"
        yield _line("charged by", f"the provider's own statement · list price {listed}")


def _title(words: str) -> Content:
    return Content.styled(words, "bold $secondary")


def _attempts(row: Request, width: int) -> Iterable[Content]:
    yield _title(f"attempts ({len(row.attempts)})")
    if not row.attempts:
        yield _line("  none", "refused before anything was sent")
    room = max([len(_result(attempt).plain) for attempt in row.attempts], default=0) + 1
    whole = max([row.ms_total or 0.0, *(attempt.began_ms + attempt.ms for attempt in row.attempts)]) or 1.0
    for number, attempt in enumerate(row.attempts, 1):
        last = number == len(row.attempts)
        facts = (attempt.provider, attempt.credential, attempt.model, f"${attempt.cost}" if attempt.cost != "0" else "")
        words = Content.assemble(f"  {number}. ", plain(" · ".join(fact for fact in facts if fact)))
        yield Content.assemble(fitted(words, max(20, width - room - 1)), " ", _result(attempt))
        yield _span(attempt, row.ms_total if last else None, whole, max(10, width - 28))


def _result(attempt: Attempt) -> Content:
    error = f" {safe(attempt.error)}" if attempt.error else ""
    if attempt.status is None:
        return Content.styled(f"✕ –{error}", BAD)
    good = attempt.status < 400 and not error
    style = GOOD if good else WARN if attempt.status == 429 else BAD
    return Content.styled(f"{'●' if good else '▲' if attempt.status == 429 else '✕'} {attempt.status}{error}", style)


def _span(attempt: Attempt, ends: float | None, whole: float, width: int) -> Content:
    """A bar of the attempt's time: heavy until its answer began, light until the answer ended."""
    room = width - 5
    begins = min(room - 1, int(attempt.began_ms / whole * room))
    heavy = max(1, round(attempt.ms / whole * room))
    heavy = min(heavy, room - begins)
    rest = max(0, round((ends or 0.0) / whole * room) - begins - heavy)
    ran = f"{took(attempt.ms)} to its answer" if attempt.status else f"gave up after {took(attempt.ms)}"
    return Content.assemble(
        " " * (5 + begins), ("━" * heavy, "$primary"), ("╌" * rest, "$primary"),
        " " * (room - begins - heavy - rest), (f" {ran}", MUTED),
    )  # fmt: skip


def _usage(row: Request) -> Iterable[Content]:
    yield _title("usage")
    found = {
        name.removesuffix("_tokens").replace("_", " "): value for name, value in (row.usage or {}).items() if value
    }
    if not found:
        yield _line("  none", "the provider reported none")
    for name, value in found.items():
        yield Content.assemble((f"  {safe(name):<20}", MUTED), f"{value:>12,}")
    for name, raw in (row.raw_usage or {}).items():
        written = json.dumps(raw, ensure_ascii=False) if isinstance(raw, dict | list) else raw
        yield Content.assemble((f"  raw {safe(name)}: ", MUTED), plain(written))


def _where(row: Request, link: str | None) -> Iterable[Content]:
    yield _title("where")
    yield _line("  key", row.key)
    yield _line("  project", row.project)
    yield _line("  user", row.user)
    yield _line("  route", f"{row.route} → {row.provider or NOT_YET}")
    yield _line("  session", row.session)
    if row.session:
        yield _line("  agent", row.agent_name or row.agent or "main")
    yield _line("  run", row.run)
    for name, value in row.tags.items():
        yield _line("  tag", f"{name} = {value}")
    yield _line("  id", row.id)
    yield _line("  trace", row.trace_id)
    if link is not None:
        yield _line("", plain(link, "$secondary"))
