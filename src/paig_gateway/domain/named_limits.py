"""Named limits: caps on what requests have in common, such as a model, a provider or a customer's tag. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from paig_gateway.domain.limits import Limit, member_id

LONGEST_MEMBER = 100
"""The most characters of a member in its counter's name; a longer member is replaced by a digest."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What named limits look at.

    Attributes:
        key: Its id and its name; so for `user` and `project`.
        models: The names of every model that may be billed for it; the first is what `per = "model"` counts.
    """

    key: tuple[str, str]
    user: tuple[str, str] | None
    project: tuple[str, str] | None
    route: str
    provider: str | None
    models: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A named limit: what it matches, what gets its own counter, and its caps.

    Attributes:
        match: What a request must have, by `key`, `user`, `project`, `route`, `provider`, `model` (a pattern) or `tag`.
        per: For what each an own counter is kept; None for one in all.
        limits: Its caps, as a request without `per` is bound by them.
    """

    name: str
    match: Mapping[str, str]
    per: str | None
    max_members: int
    limits: tuple[Limit, ...]

    @property
    def looks_at_member(self) -> bool:
        """Whether another member of a route may be bound by other counters."""
        return "provider" in self.match or "model" in self.match or self.per in ("provider", "model")

    @property
    def is_in_totals(self) -> bool:
        """Whether totals have what it matches: they have neither tags nor sessions."""
        return "tag" not in self.match and self.per != "session" and not (self.per or "").startswith("tag:")

    def matches(self, subject: Subject, *, any_member: bool = False) -> bool:
        """Whether the limit binds a request; with `any_member`, whether it may bind the request at some provider."""
        return all(
            MATCHES[name](subject, wanted)
            for name, wanted in self.match.items()
            if not (any_member and name == "provider")
        )

    def bind(self, subject: Subject) -> tuple[Limit, ...]:
        """The counters that bind a request that it matches."""
        if self.per is None:
            return self.limits
        id, shown = member_of(self.per, subject)
        if len(id) > LONGEST_MEMBER:
            id = hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()
        return tuple(
            replace(
                limit, id=member_id(limit.id, id), member=shown, per=self.per, max_members=self.max_members,
                raises=tuple(one for one in limit.raises if one.member in (None, id)),
            )
            for limit in self.limits
        )  # fmt: skip


def bound(named: Iterable[LimitRule], subject: Subject) -> tuple[Limit, ...]:
    """The counters of named limits that bind a request."""
    return tuple(limit for one in named if one.matches(subject) for limit in one.bind(subject))


def member_of(per: str, subject: Subject) -> tuple[str, str]:
    """The member that a request counts in: its id, which outlives its name, and its name. Empty if it has none."""
    match per:
        case "key":
            return subject.key
        case "user":
            return subject.user or ("", "")
        case "project":
            return subject.project or ("", "")
        case "provider":
            found = subject.provider
        case "model":
            found = subject.models[0]
        case "session":
            found = f"{subject.key[0]}:{subject.session}" if subject.session else None
            return found or "", subject.session or ""
        case _:
            found = subject.tags.get(per.removeprefix("tag:"))
    return found or "", found or ""


def _tagged(subject: Subject, wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in subject.tags and (not equals or subject.tags[name] == value)


MATCHES: Mapping[str, Callable[[Subject, str], bool]] = {
    "key": lambda subject, wanted: subject.key[1] == wanted,
    "user": lambda subject, wanted: subject.user is not None and subject.user[1] == wanted,
    "project": lambda subject, wanted: subject.project is not None and subject.project[1] == wanted,
    "route": lambda subject, wanted: subject.route == wanted,
    "provider": lambda subject, wanted: subject.provider == wanted,
    "model": lambda subject, wanted: any(fnmatchcase(name.lower(), wanted.lower()) for name in subject.models),
    "tag": _tagged,
}
"""How each field of a limit's `match` tests a request."""
