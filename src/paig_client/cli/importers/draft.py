"""A draft: the tables of a `paig.toml`, and what could not be carried over. No secret is ever in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from paig_client.api import toml

Table = dict[str, object]


@dataclass
class Draft:
    """What a configuration is made of.

    Attributes:
        server: Settings of the server.
        alerts: When alerts are sent, and where.
        organisation: Limits of the whole gateway.
        providers: Accounts, by name; all tables below are by name too.
        routes: Groups of providers.
        prices: What models cost.
        projects: The projects of keys.
        users: The users of keys.
        keys: What clients hold: the hash of a value, never the value.
        limits: Named limits: what each matches, and its amounts.
        models: The names of models where the draft comes from; some are patterns.
        groups: The models of each access group there.
        notes: What was left out or changed, one sentence each.
    """

    server: Table = field(default_factory=dict)
    alerts: Table = field(default_factory=dict)
    organisation: Table = field(default_factory=dict)
    providers: dict[str, Table] = field(default_factory=dict)
    routes: dict[str, Table] = field(default_factory=dict)
    prices: dict[str, Table] = field(default_factory=dict)
    projects: dict[str, Table] = field(default_factory=dict)
    users: dict[str, Table] = field(default_factory=dict)
    keys: dict[str, Table] = field(default_factory=dict)
    limits: dict[str, Table] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    groups: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note about something that is left out, once."""
        if text not in self.notes:
            self.notes.append(text)

    def label_for(self, wanted: str, table: Mapping[str, Table]) -> str:
        """A name like `wanted` that projects, users, keys and limits can have, and that is not in the table yet."""
        plain = "".join(char if char.isprintable() else " " for char in wanted).strip()[:80].strip() or "unnamed"
        return next(name for name in _numbered(plain) if name not in table)

    def name_for(self, wanted: str, table: Mapping[str, Table]) -> str:
        """A name like `wanted` that a URL can hold, and that is not in the table yet."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-._")[:56] or "unnamed"
        return next(name for name in _numbered(plain) if name not in table)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def to_toml(draft: Draft, head: str) -> str:
    """The draft as a file.

    Args:
        head: Lines to begin with, as comments.
    """
    parts = [_comments(head.splitlines())]
    if draft.server:
        parts.append(toml.table("server", draft.server))
    if draft.alerts:
        parts.append(toml.table("alerts", draft.alerts))
    if draft.organisation:
        parts.append(toml.table("organisation", draft.organisation))
    tables = {
        **{"providers": draft.providers, "routes": draft.routes, "prices": draft.prices},
        **{"projects": draft.projects, "users": draft.users, "keys": draft.keys},
        "limits": draft.limits,
    }
    for kind, found in tables.items():
        parts += [toml.table(f"{kind}.{toml.key(name)}", table) for name, table in found.items()]
    if draft.notes:
        parts.append(_comments(["Left out, or changed:", *(f"- {note}" for note in draft.notes)]))
    return "\n".join(parts)


def _comments(lines: list[str]) -> str:
    return "".join(f"# {_one_line(line)}".rstrip() + "\n" for line in lines)


def _one_line(text: str) -> str:
    """The text without what would end a comment or drive a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
