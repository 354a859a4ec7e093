"""Keys, projects and users as rows of a table, and the details of one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from textual.content import Content

from paig_client.api.limits import LABELS, SPENDING, Window
from paig_client.api.resources import Key, LimitStatus, Owner
from paig_client.api.vocabulary import KeyStatus
from paig_tui.data.state import AppState, judged, used
from paig_tui.text import (
    MUTED,
    NOT_YET,
    WARN,
    amount,
    bar,
    cap_cell,
    dollars,
    fitted,
    level,
    lines,
    percent,
    plain,
    rounded,
    span,
    status,
    until,
)  # fmt: skip
from paig_tui.widgets.table import Column

Tab = Literal["keys", "projects", "users"]
WIDE = 150
"""The table's width from which caps are also shown in dollars."""
URGENT = ("limit-exceeded", "active", "expired", "blocked", "disabled")
"""Statuses; those that need attention come first."""
SINGULAR = {"keys": "key", "projects": "project", "users": "user"}


@dataclass(frozen=True)
class KeyTableRow:
    """A key, a project or a user.

    Attributes:
        status: Its status by the current limits.
        caps: Its caps in US dollars, by window.
        used: How long ago it was used, in words.
        keys: The keys of a project or user.
        kind: `key`, `project` or `user`.
        binds: The fullest of all caps that bind it.
    """

    resource: Key | Owner
    status: KeyStatus
    caps: Mapping[str, LimitStatus] = field(default_factory=dict)
    used: str = NOT_YET
    keys: Sequence[Key] = ()
    kind: str = "key"
    binds: LimitStatus | None = None

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def members(self) -> Sequence[Key]:
        """The key itself, or the keys of a project or user."""
        return (self.resource,) if isinstance(self.resource, Key) else self.keys

    @property
    def fullest(self) -> float:
        return max((used(limit) for limit in self.caps.values()), default=-1.0)


def rows(state: AppState, kind: Tab) -> list[KeyTableRow] | None:
    """All of a kind, or None while they are not known."""
    things: Sequence[Key | Owner] | None = getattr(state, kind)
    if things is None:
        return None
    caps, exhausted, now, owner = state.caps(), state.exhausted(), state.as_of, SINGULAR[kind]
    members: dict[str, list[Key]] = {}
    if kind != "keys":
        for key in state.keys or ():
            members.setdefault(getattr(key, owner) or "", []).append(key)
    found = []
    for resource in things:
        own = caps.get((owner, resource.name), {})
        binds = _binding(caps, owner, resource)
        if isinstance(resource, Key):
            found.append(
                KeyTableRow(resource, judged(resource, exhausted), own, _used(state, [resource], now), (), owner, binds)
            )
        else:
            of = members.get(resource.name, ())
            owner_status = _owner_status(of, (owner, resource.name) in exhausted)
            found.append(KeyTableRow(resource, owner_status, own, _used(state, of, now), of, owner, binds))
    return found


def _binding(
    caps: Mapping[tuple[str, str], Mapping[str, LimitStatus]], owner: str, resource: Key | Owner
) -> LimitStatus | None:
    owners = [(owner, resource.name), ("organisation", "organisation")]
    if isinstance(resource, Key):
        owners += [("project", resource.project or ""), ("user", resource.user or "")]
    every = [limit for one in owners for limit in caps.get(one, {}).values()]
    return max(every, key=used, default=None)


def _owner_status(keys: Sequence[Key], exhausted: bool) -> KeyStatus:
    """The status of a project or user: that of its cap, or disabled if all its keys are."""
    if exhausted:
        return "limit-exceeded"
    return "disabled" if keys and all(key.status == "disabled" for key in keys) else "active"


def _used(state: AppState, keys: Sequence[Key], now: datetime) -> str:
    """How long ago one of these keys was used, by the gateway's record and the last hour's requests."""
    since = state.recent.since
    if not keys:
        return NOT_YET
    times = [time for key in keys for time in (key.last_used_at, state.recent.used.get(key.name)) if time is not None]
    if times:
        return span((now - max(times)).total_seconds())
    if since is None:
        return NOT_YET
    young = all(key.created_at > since for key in keys)
    return "never" if young else f">{span((now - since).total_seconds())}"


def _cap(
    window: Window, title: str, spent_room: int = 0, amount_room: int = 0
) -> tuple[Column[KeyTableRow], Column[KeyTableRow]]:
    """A cap's column, and its column for wide terminals, which also shows dollars in as many cells as they need."""
    money_room = spent_room + 4 + amount_room

    def full(row: KeyTableRow) -> float | None:
        return used(row.caps[window]) if window in row.caps else None

    def narrow(row: KeyTableRow, width: int) -> Content:
        return cap_cell(full(row), width - 6)

    def wide(row: KeyTableRow, width: int) -> Content:
        limit = row.caps.get(window)
        if limit is None:
            return cap_cell(None, width - money_room - 7)
        money = Content.assemble(f"{rounded(limit.spent):>{spent_room}}", (" of ", MUTED), rounded(limit.amount))
        return Content.assemble(cap_cell(used(limit), width - money_room - 7), " ", fitted(money, money_room))

    least = 100 if window == "weekly" else 0
    return (
        Column(title, 10, wide=narrow, least=least, below=WIDE, most=26, sort=full),
        Column(title, money_room + 11, wide=wide, least=WIDE, most=60, sort=full),
    )


def _urgency(row: KeyTableRow) -> tuple[int, float, str]:
    """The order by status: fullest caps first, disabled keys last."""
    place = URGENT.index(row.status) if row.status in URGENT else len(URGENT)
    return place, -row.fullest, row.name.casefold()


def _name(row: KeyTableRow) -> str:
    return row.name.casefold()


def _bound(row: KeyTableRow) -> float | None:
    return None if row.binds is None else used(row.binds)


def _last_used(row: KeyTableRow) -> float | None:
    times = [key.last_used_at.timestamp() for key in row.members if key.last_used_at is not None]
    return max(times, default=None)


def _binds(row: KeyTableRow) -> Content:
    """The fullest cap: the next one to refuse."""
    if row.binds is None:
        return Content.styled("no cap", MUTED)
    limit, share = row.binds, used(row.binds)
    word = LABELS[limit.unit, limit.window]
    whose = f"{limit.owner_kind} {limit.owner} {word}"
    if (limit.owner_kind, limit.owner) == (row.kind, row.name):
        whose = f"own {word}"
    elif limit.owner_kind == "organisation":
        whose = f"gateway {word}"
    return Content.assemble((percent(share), level(share)), " ", plain(whose))


def _hint(row: KeyTableRow) -> Content:
    return plain(f"{row.resource.hint}…" if isinstance(row.resource, Key) else "", MUTED)


def _belongs(row: KeyTableRow) -> Content:
    resource = row.resource
    if not isinstance(resource, Key):
        return Content("")
    found = " / ".join(name for name in (resource.project, resource.user) if name)
    return plain(found) if found else Content.styled(NOT_YET, MUTED)


def _count(row: KeyTableRow) -> Content:
    active = sum(key.status in ("active", "limit-exceeded") for key in row.keys)
    return Content.assemble(f"{active:,}", (f"/{len(row.keys):,}", MUTED))


STATUS: Column[KeyTableRow] = Column("status", 10, lambda row: status(row.status), sort=_urgency)
NAME: Column[KeyTableRow] = Column("name", 0, lambda row: plain(row.name), sort=lambda row: row.name.casefold())
USED: Column[KeyTableRow] = Column("used", 5, lambda row: Content.styled(row.used, MUTED), right=True, sort=_last_used)
BINDS: Column[KeyTableRow] = Column(
    "binds", 0, _binds, least=136, sort=lambda row: used(row.binds) if row.binds else -1.0
)
_OWNER = (STATUS, NAME, Column("keys", 9, _count, right=True, sort=lambda row: len(row.keys)), USED, BINDS)
COLUMNS: Mapping[Tab, Sequence[Column[KeyTableRow]]] = {
    "keys": (
        STATUS,
        NAME,
        Column("key", 10, _hint, least=96, below=WIDE),
        USED,
        Column("project / user", 0, _belongs, least=120, sort=lambda row: _belongs(row).plain),
        BINDS,
    ),
    "projects": _OWNER,
    "users": _OWNER,
}
"""Without the caps."""


def columns(kind: Tab, shown: Sequence[KeyTableRow]) -> list[Column[KeyTableRow]]:
    """The columns of these rows: a cap's only where one of them has that cap, and the day's at least."""
    known: dict[str, list[LimitStatus]] = {"daily": []} if not any(row.caps for row in shown) else {}
    for row in shown:
        for window, limit in row.caps.items():
            known.setdefault(window, []).append(limit)
    rooms = {
        window: [max((len(rounded(one)) for one in amounts), default=2) for amounts in both]
        for window, limits in known.items()
        for both in [({limit.spent for limit in limits}, {limit.amount for limit in limits})]
    }
    caps = (_cap(row.window, row.label, *rooms[row.window]) for row in SPENDING if row.window in rooms)
    return [*COLUMNS[kind], *(column for both in caps for column in both)]


def about(row: KeyTableRow, now: datetime) -> Content:
    """The details of a row: its caps in numbers, and its other settings."""
    shown = [_limit(row.caps[window.window], now) for window in SPENDING if window.window in row.caps]
    resource = row.resource
    if not shown:
        shown.append(Content.styled("no cap of its own", MUTED))
    facts: dict[str, str] = {}
    limits = resource.limits
    rates = [
        f"{count:,} {word}"
        for count, word in (
            (limits.requests_per_minute, "requests/min"),
            (limits.tokens_per_minute, "tokens/min"),
        )
        if count is not None
    ]
    if rates:
        facts["rates"] = ", ".join(rates)
    if isinstance(resource, Key):
        facts["models"] = ", ".join(resource.models) if resource.models else "all"
        facts["routes"] = ", ".join(resource.routes) if resource.routes else "all"
        facts["expires"] = f"{resource.expires_at:%Y-%m-%d %H:%M} UTC" if resource.expires_at else "never"
    else:
        facts["keys"] = ", ".join(key.name for key in row.keys) or "none"
    facts["made"] = f"{resource.created_at:%Y-%m-%d %H:%M} UTC"
    return lines([*shown, *(Content.assemble((f"{name:<9}", MUTED), plain(value)) for name, value in facts.items())])


def _limit(limit: LimitStatus, now: datetime) -> Content:
    share = used(limit)
    held = f", {amount(limit.held, limit.unit)} held" if float(limit.held) else ""
    resets = f" · resets in {until(limit.resets_at, now)}" if limit.resets_at else ""
    return Content.assemble(
        (f"{limit.window:<9}", MUTED), bar(share, 16), " ", (percent(share), level(share)), "  ",
        fitted(Content(f"{dollars(limit.spent)} of {dollars(limit.amount)}{held}"), 30),
        (f"{dollars(limit.left)} left{resets}", MUTED), (" · soft" if limit.soft else "", WARN),
    )  # fmt: skip
