"""Sessions of coding agents, from the ledger's rows: what each cost, and which of its agents spent it.

A session is known by its key and by the id that the client gave it. It blocks: call it in a thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, func, select, tuple_

from paig_client.api.resources import Session, SessionAgent, SessionLoop, SessionTree
from paig_gateway.database.columns import moment
from paig_gateway.domain.money import dollars
from paig_gateway.ledger.reports import REQUESTS, SUMS, Filter, row_conditions, row_sums
from paig_gateway.ledger.session_loops import loops_of

MOST_AGENTS = 1000
"""The most agents of a session that are listed; of more, the cheapest are summed up as one."""
OTHERS = "(others)"

_TIMES = (func.min(REQUESTS.c.time).label("began"), func.max(REQUESTS.c.time).label("ended"))
_BUSY = func.coalesce(func.sum(REQUESTS.c.ms_total), 0.0).label("busy")

StoppedBy = Mapping[tuple[str, str], str]
"""The actor that stopped a session, by key id and session."""


def list_sessions(engine: Engine, which: Filter, stopped: StoppedBy, *, limit: int = 100) -> list[Session]:
    """Sessions, the one with the latest request first.

    Args:
        which: Which requests count.
        limit: How many at most.
    """
    place = (REQUESTS.c.key_id, REQUESTS.c.session)
    owners = [func.max(REQUESTS.c[name]).label(name) for name in ("key", "project", "user")]
    agents = func.count(REQUESTS.c.agent.distinct()).label("agents")
    columns = (*place, *owners, agents, *_TIMES, _BUSY, *row_sums())
    with engine.connect() as connection:
        query = select(*columns).where(REQUESTS.c.session.is_not(None), *row_conditions(connection, which))
        rows = connection.execute(query.group_by(*place).order_by(_TIMES[1].desc()).limit(limit)).all()
        loops = loops_of(connection, [(row.key_id, row.session) for row in rows])
        errors = _last_errors(connection, [(row.session, row.key_id, row.ended) for row in rows])
    return [Session(**_session(row._mapping, stopped, loops, errors)) for row in rows]


def _last_errors(connection: Connection, latest: Sequence[tuple[str, str, int]]) -> dict[tuple[str, str], str]:
    """The error of each session's latest request, by its key's id and its own; none for one that was answered.

    Args:
        latest: Session, key's id and time of the latest request.
    """
    if not latest:
        return {}
    columns = (REQUESTS.c.session, REQUESTS.c.key_id, REQUESTS.c.time)
    # SQLite finds rows in the index by single columns alone.
    each = [column.in_({row[place] for row in latest}) for place, column in enumerate(columns)]
    query = select(REQUESTS.c.key_id, REQUESTS.c.session, REQUESTS.c.error).where(*each, tuple_(*columns).in_(latest))
    return {(row.key_id, row.session): row.error for row in connection.execute(query) if row.error is not None}


def keys_of(engine: Engine, session: str, which: Filter) -> list[tuple[str, str, str]]:
    """The keys that have a session of that id: id, name and project's id, two at most."""
    columns = [REQUESTS.c.key_id, func.max(REQUESTS.c.key), func.max(REQUESTS.c.project_id)]
    with engine.connect() as connection:
        query = select(*columns).where(REQUESTS.c.session == session, *row_conditions(connection, which))
        return [(row[0], row[1], row[2]) for row in connection.execute(query.group_by(REQUESTS.c.key_id).limit(2))]


def session_tree(engine: Engine, key_id: str, session: str, stopped: StoppedBy) -> SessionTree | None:
    """A session with its agents; None if the ledger has no request of it."""
    mine = (REQUESTS.c.session == session, REQUESTS.c.key_id == key_id)
    agent, model = func.coalesce(REQUESTS.c.agent, "").label("agent"), REQUESTS.c.model
    named = [func.max(REQUESTS.c[name]).label(name) for name in ("agent_parent", "agent_name", *_OWNERS)]
    query = select(agent, model, *named, *_TIMES, _BUSY, *row_sums()).where(*mine).group_by(agent, model)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(func.sum(REQUESTS.c.cost).desc())).all()
        loops = loops_of(connection, [(key_id, session)])
        errors = _last_errors(connection, [(session, key_id, max((row.ended for row in rows), default=0))])
    if not rows:
        return None
    nodes: dict[str, _Agent] = {}
    for row in rows:
        name = row.agent if row.agent in nodes or len(nodes) < MOST_AGENTS else OTHERS
        nodes.setdefault(name, _Agent(name)).add(row._mapping)
    whole = _Agent("")
    for node in nodes.values():
        whole.merge(node)
    first = rows[0]._mapping
    owners = {name: next((row._mapping[name] for row in rows if row._mapping[name]), None) for name in _OWNERS}
    sums = {**whole.sums, "began": whole.began, "ended": whole.ended, "busy": whole.busy}
    agents = sum(1 for name in nodes if name)
    found = {**first, **owners, **sums, "agents": agents, "key_id": key_id, "session": session}
    return SessionTree(**_session(found, stopped, loops, errors), tree=_in_order(nodes))


_OWNERS = ("key", "project", "user")


@dataclass
class _Agent:
    """An agent's sums."""

    id: str
    parent: str = ""
    name: str | None = None
    models: list[str] = field(default_factory=list)
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMS, 0))
    began: int = 0
    ended: int = 0
    busy: float = 0.0

    def add(self, row: Mapping[Any, Any]) -> None:
        self.parent, self.name = row["agent_parent"] or self.parent, row["agent_name"] or self.name
        if row["model"] not in self.models:
            self.models.append(row["model"])
        self._count(row, row["began"], row["ended"], row["busy"])

    def merge(self, other: _Agent) -> None:
        """Add another agent's sums."""
        self._count(other.sums, other.began, other.ended, other.busy)

    def _count(self, sums: Mapping[Any, Any], began: int, ended: int, busy: float) -> None:
        for name in SUMS:
            self.sums[name] += int(sums[name] or 0)
        self.began = min(self.began or began, began)
        self.ended, self.busy = max(self.ended, ended), self.busy + busy


def _in_order(nodes: Mapping[str, _Agent]) -> list[SessionAgent]:
    """The agents as a tree, parents before their children, siblings in the order in which they began.

    Clients state the parents. An agent whose parent does not exist, or is part of a circle, counts as started by the
    main agent.
    """
    children: dict[str, list[_Agent]] = defaultdict(list)
    for node in nodes.values():
        if node.id:
            children[_parent(node, nodes)].append(node)
    found: list[SessionAgent] = []

    def show(node: _Agent, depth: int) -> int:
        place, total = len(found), node.sums["cost"]
        found.append(_shown(node, depth))
        for child in sorted(children[node.id], key=lambda one: (one.began, one.id)):
            total += show(child, depth + 1)
        found[place].total_cost = dollars(total)
        return total

    began, ended = min(node.began for node in nodes.values()), max(node.ended for node in nodes.values())
    show(nodes.get("") or _Agent("", began=began, ended=ended), 0)
    return found


def _parent(node: _Agent, nodes: Mapping[str, _Agent]) -> str:
    """Its parent's id, or the main agent's if there is no such parent, a circle, or too many generations."""
    at, steps = node.parent, 0
    while at and at in nodes and at != node.id and steps < DEEPEST:
        at, steps = nodes[at].parent, steps + 1
    is_tree = not at or (at not in nodes and at != node.id)
    return node.parent if node.parent in nodes and is_tree and steps < DEEPEST else ""


DEEPEST = 50
"""The most generations of agents that are shown."""


def _shown(node: _Agent, depth: int) -> SessionAgent:
    return SessionAgent(
        id=node.id or None,
        name=node.name,
        depth=depth,
        models=node.models,
        total_cost=Decimal(0),
        **_figures(node.sums, node.began, node.ended, node.busy),
    )


def _figures(sums: Mapping[Any, Any], began: int, ended: int, busy: float) -> dict[str, Any]:
    counts = {name: int(sums[name] or 0) for name in SUMS if name != "cost"}
    times = {"began": moment(began).astimezone(UTC), "ended": moment(ended).astimezone(UTC)}
    return {**counts, **times, "cost": dollars(int(sums["cost"] or 0)), "ms_busy": round(busy, 1)}


def _session(
    row: Mapping[Any, Any],
    stopped: StoppedBy,
    loops: Mapping[tuple[str, str], SessionLoop],
    errors: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    return {
        "session": row["session"],
        **{name: row[name] for name in _OWNERS},
        "agents": row["agents"],
        "stopped_by": stopped.get((row["key_id"], row["session"])),
        "loop": loops.get((row["key_id"], row["session"])),
        "last_error": errors.get((row["key_id"], row["session"])),
        **_figures(row, row["began"], row["ended"], row["busy"]),
    }
