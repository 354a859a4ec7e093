"""The health of providers: a word for each state of a breaker, its reason, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from textual.content import Content

from paig_client.api.resources import CredentialHealth, Provider, ProviderHealth
from paig_client.api.vocabulary import BreakerState
from paig_tui.data.state import AppState
from paig_tui.text import BAD, GOOD, MUTED, WARN, fitted, plain, safe, took, until

STATES: dict[BreakerState, tuple[str, str]] = {
    "closed": ("● up", GOOD),
    "half-open": ("◐ trying", WARN),
    "cooling": ("■ cooling", WARN),
    "open": ("✕ breaker", BAD),
}
HEALTHY_SHARE = 0.95
"""The share of answered tries from which on a provider counts as up."""


@dataclass(frozen=True)
class ProviderStatus:
    """The health of a provider or of one of its credentials.

    Attributes:
        word: The state as glyph and word.
        style: The colour of the state.
        good: The share of tries in the last five minutes that were answered.
        p95: The 95th percentile of the time until an answer began, in milliseconds.
        throttled: How often it answered 429.
        ready: The number of its credentials that are in use, if known.
        note: The reason of the state, and when it ends.
    """

    word: str
    style: str
    good: float | None
    p95: float | None
    throttled: int
    tries: int
    ready: int | None = None
    note: str = ""


def provider_statuses(state: AppState) -> dict[str, ProviderStatus]:
    """The health of all providers, by name: the gateway's report on all nodes, else from recent requests."""
    now = state.as_of
    if state.health_of is not None:
        return {one.provider: provider_status(one, now) for one in state.health_of}
    found = {}
    for name, seen in state.provider_figures().items():
        word, style = _by_share(seen.good, seen.attempts)
        found[name] = ProviderStatus(word, style, seen.good, seen.p95, seen.throttled, seen.attempts)
    return found


def provider_status(health: ProviderHealth, now: datetime) -> ProviderStatus:
    """The health of a provider."""
    ready = sum(one.state in ("closed", "half-open") for one in health.credentials)
    notes = [note(one, now) for one in health.credentials]
    words = next(filter(None, notes), "")
    some = f"{len(notes) - ready} of {len(notes)}: " if words and 0 < ready < len(notes) else ""
    return _status(health, ready, some + words or _problem_of(health))


def _problem_of(health: ProviderHealth) -> str:
    """What went wrong with a provider that is still used; empty where all is well."""
    if not health.tries or health.ok_share is None or health.ok_share >= HEALTHY_SHARE:
        return ""
    latest = max((one for one in health.credentials if one.last_error_at), key=_when, default=None)
    why = "" if latest is None else f"last error: {safe(latest.last_error)}"
    busy = f"{health.throttled} of {health.tries} tries were too many (429)" if health.throttled else ""
    return " · ".join(filter(None, (busy, why))) or "no try was answered"


def _when(health: CredentialHealth) -> datetime:
    assert health.last_error_at is not None
    return health.last_error_at


def credential(health: CredentialHealth, now: datetime) -> ProviderStatus:
    """The health of a credential."""
    return _status(health, None, note(health, now))


def _status(health: ProviderHealth | CredentialHealth, ready: int | None, words: str) -> ProviderStatus:
    word, style = _by_share(health.ok_share, health.tries) if health.state == "closed" else STATES[health.state]
    return ProviderStatus(word, style, health.ok_share, health.p95_ms, health.throttled, health.tries, ready, words)


def _by_share(good: float | None, tries: int) -> tuple[str, str]:
    """The word and style of a provider whose breaker is closed."""
    if not tries or good is None:
        return "◌ idle", MUTED
    return ("● up", GOOD) if good >= HEALTHY_SHARE else ("▲ some", WARN) if good > 0 else ("✕ fails", BAD)


def note(health: CredentialHealth, now: datetime) -> str:
    """Why a credential is in its state, and what happens next."""
    why = f" · {safe(health.reason)}" if health.reason else ""
    left = (
        f"in {until(health.until, now)}" if health.until is not None and health.until > now else "with the next request"
    )
    if health.state == "open":
        return f"half-open {left}{why}"
    if health.state == "half-open":
        return f"a few requests try it{why}"
    if health.waits:
        first = health.waits[0]
        more = f" (+{len(health.waits) - 1})" if len(health.waits) > 1 else ""
        return f"{safe(first.model)} waits {until(first.until, now)}{more} · {safe(first.reason)}"
    return f"again {left}{why}" if health.state == "cooling" else ""


def has_countdown(state: AppState) -> bool:
    """Whether a countdown is shown."""
    return any(one.until or one.waits for found in state.health_of or () for one in found.credentials)


def credentials(provider: Provider, health: ProviderHealth | None, now: datetime, width: int) -> Iterator[Content]:
    """A line for each of a provider's credentials: its state, its reference and its figures."""
    known = {one.credential: one for one in health.credentials} if health else {}
    for one in provider.credentials:
        found = known.get(one.id)
        if found is None:
            yield Content.assemble((f"{'◌ idle':<10} ", MUTED), plain(one.reference))
            continue
        shown = credential(found, now)
        good = "–" if shown.good is None else f"{shown.good:.1%}"
        figures = f"{good:>7} {took(shown.p95):>7} {shown.tries:>7,} {'try' if shown.tries == 1 else 'tries'}"
        where = fitted(plain(one.reference), max(12, min(48, width - 42)))
        yield Content.assemble((f"{shown.word:<10} ", shown.style), where, " ", (figures, MUTED))
        error = f"last error {safe(found.last_error)} at {found.last_error_at:%H:%M:%S}" if found.last_error_at else ""
        nodes = [node for node in found.nodes if node.state == found.state]
        on_nodes = f"on {len(nodes)} of {len(found.nodes)} nodes" if len(nodes) < len(found.nodes) else ""
        more = " · ".join(filter(None, (shown.note, on_nodes, error)))
        if more:
            yield Content.assemble(" " * 11, (more, shown.style if shown.note else MUTED))
