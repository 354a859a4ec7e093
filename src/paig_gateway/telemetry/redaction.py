"""Keeps secrets out of all text that leaves the process: logs, spans, captured content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

HIDDEN = "[hidden]"
SHORTEST = 8
"""A shorter secret is not looked for: it would black out ordinary words."""

_SHAPES = re.compile(
    r"paig_[A-Za-z0-9_-]{16,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"
    r"|\bsk-[A-Za-z0-9_-]{16,}"
    r"|\bgsk_[A-Za-z0-9]{16,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bpylf_v\d+_[A-Za-z0-9_]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.S,
)
"""What looks like a key, a token, or a password in a URL."""


class Redactor:
    """Blacks out the secrets that the process holds, and text that looks like one."""

    def __init__(self) -> None:
        self._sources: list[Callable[[], Iterable[str]]] = []
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def know(self, source: Callable[[], Iterable[str]]) -> None:
        """Ask this for the secrets held at the time."""
        self._sources.append(source)

    def __call__(self, text: str) -> str:
        """The text without secrets; from any thread."""
        known = frozenset(part for source in self._sources for secret in source() for part in parts(secret))
        if known != self._known:
            longest_first = sorted(known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if known else None
            self._known = known
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return _SHAPES.sub(HIDDEN, text)


def parts(secret: str) -> Iterator[str]:
    """A credential, and its parts that are secrets themselves: the half after a colon, the strings in a JSON object."""
    if len(secret) >= SHORTEST:
        yield secret
        yield json.dumps(secret)[1:-1]
    if secret.startswith("{"):
        try:
            loaded = json.loads(secret)
        except ValueError:
            return
        for name, value in loaded.items() if isinstance(loaded, dict) else ():
            if isinstance(value, str) and any(word in name.lower() for word in ("key", "secret", "token")):
                yield from parts(value)
    elif ":" in secret and len(half := secret.partition(":")[2]) >= SHORTEST:
        yield half
