"""How providers fare, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from paig_client.cli.output import ahead

if TYPE_CHECKING:
    from paig_client.schema import BreakerState, CredentialHealth, ProviderHealth, TryFigures

COLUMNS = ("provider", "credential", "state", "5m ok", "p95", "429s", "tries", "note")
FIGURES = ("5m ok", "p95", "429s", "tries")
_MARKS: dict[BreakerState, str] = {"closed": "●", "half-open": "◐", "cooling": "■", "open": "✕"}


def rows(found: Iterable[ProviderHealth]) -> Iterator[list[str]]:
    """A row for each provider, and below it, where it has several, one for each of its credentials."""
    for provider in found:
        name, state = provider.provider, provider.state
        if len(provider.credentials) == 1:
            [only] = provider.credentials
            yield [name, "", _state(state), *_figures(only), _note(only)]
            continue
        yield [name, "", _state(state), *_figures(provider), ""]
        for one in provider.credentials:
            yield ["", one.credential, _state(one.state), *_figures(one), _note(one)]


def _state(state: BreakerState) -> str:
    return f"{_MARKS[state]} {state}"


def _figures(figures: TryFigures) -> list[str]:
    if not figures.tries:
        return ["–", "–", "0", "0"]
    share = "–" if figures.ok_share is None else f"{figures.ok_share:.1%}"
    return [share, _time(figures.p95_ms), str(figures.throttled), str(figures.tries)]


def _time(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:.0f}ms" if ms < 1000 else f"{ms / 1000:.1f}s"


def _note(health: CredentialHealth) -> str:
    """Why it is so, until when, and on how many nodes where not on all."""
    if health.waits:
        return ", ".join(f"{wait.model}: {wait.reason}, {ahead(wait.until)}" for wait in health.waits)
    if health.state == "closed":
        return ""
    so = sum(node.state == health.state for node in health.nodes)
    where = f"{so} of {len(health.nodes)} nodes" if so < len(health.nodes) else ""
    return ", ".join(part for part in (health.reason, ahead(health.until), where) if part)
