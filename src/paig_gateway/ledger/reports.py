"""The ledger's reports: requests and totals. They block: call them in a thread.

Totals come from the rollups of a quarter of an hour, which change in the same transactions as their rows. Where a span
begins or ends within a quarter, that part is summed from the rows themselves, so any span is exact as far back as rows
are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, Table, case, false, func, or_, select, tuple_
from sqlmodel import col

from paig_client.api.resources import Attempt, Request, RequestPage, UsageReport, UsageTotal
from paig_client.api.vocabulary import GroupBy
from paig_gateway.database.columns import milliseconds, moment, text
from paig_gateway.database.order import BadOrder, Kind, Order
from paig_gateway.database.tables import RequestRow
from paig_gateway.domain.money import dollars
from paig_gateway.ledger.statements import TABLES
from paig_gateway.ledger.transitions import STEP_MS, SWEPT_ERROR, HeldRequest

HOLDS, REQUESTS, ROLLUPS, REFUSALS = (TABLES[name] for name in ("holds", "requests", "rollups", "refusals"))

GROUPS: tuple[GroupBy, ...] = get_args(GroupBy)
MAX_PAGE = 1000
OF_ROWS = frozenset({"session", "agent"})
"""Groups that rollups do not have: they are read from the rows, as tags are."""

SORTED: dict[str, Kind] = {
    **{"time": "number", "status": "number", "cost": "number", "reserved": "number", "list_price": "number"},
    **{"ms_total": "number", "ms_first_byte": "number", "ms_gateway": "number"},
    **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), "number"),
    **dict.fromkeys(("key", "project", "user", "route", "provider", "model", "format", "run", "session"), "text"),
    **dict.fromkeys(("certainty", "certainty_reason", "cost_source", "price", "error"), "text"),
}
"""The fields that requests can be sorted by."""
EQUAL = ("format", "run", "session", "trace_id", "certainty", "certainty_reason", "cost_source", "price", "error")
"""The fields, besides owners and times, that requests can be filtered by: each must have a given value."""
_HELD = frozenset(HeldRequest.__struct_fields__)

_OWNED = {"key": "keys", "project": "projects", "user": "users"}
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
SUMS = ("requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost")
_EXTRA = "list_extra"
"""List prices minus the providers' own charges."""


class BadQuery(ValueError):
    """A query that cannot be answered; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests are meant. Keys, projects and users by name or id; None means any.

    Attributes:
        since: The earliest time of a request.
        until: The first moment that is too late.
        status: The HTTP status that the client was sent.
        within: The ids of the projects that the principal may read; None for all.
        state: `open` for requests in flight, `settled` for finished ones.
        stream: Whether it is streamed.
        equal: Values that some of the fields `EQUAL` must have.
        tags: Tags that it must have: each name with its value, or with None for any value.
    """

    key: str | None = None
    project: str | None = None
    user: str | None = None
    model: str | None = None
    provider: str | None = None
    route: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    within: frozenset[str] | None = None
    state: Literal["open", "settled"] | None = None
    stream: bool | None = None
    equal: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str | None] = field(default_factory=dict)


def get_request(engine: Engine, request_id: str, within: frozenset[str] | None = None) -> Request | None:
    """One request, finished, in flight or refused, if it is of one of those projects (by id; None for any)."""
    with engine.connect() as connection:
        # Holds first: a request that is settled in between is found among the finished ones.
        places = ((HOLDS, _open_request), (REQUESTS, _request), (HOLDS, _open_request), (REFUSALS, _refused_request))
        for table, read in places:
            conditions = [table.c.id == request_id, *_within(table.c.project_id, within)]
            if (row := connection.execute(select(table).where(*conditions)).one_or_none()) is not None:
                return read(row)
    return None


def requests_of_key(engine: Engine, key_id: str, key: str, ids: Sequence[str]) -> list[Request]:
    """Those of a key's requests that have one of these ids, finished, in flight or refused, newest first.

    Args:
        key: The key's name, by which requests are found that were refused before they got a row.
    """
    found: dict[str, Request] = {}
    with engine.connect() as connection:
        # Holds first: a request that is settled in between is then found among the finished ones.
        for table, read in ((HOLDS, _open_request), (REQUESTS, _request)):
            query = select(table).where(table.c.id.in_(ids), table.c.key_id == key_id)
            found |= {row.id: read(row) for row in connection.execute(query)}
        refused = map(_refused_request, connection.execute(select(REFUSALS).where(REFUSALS.c.id.in_(ids))))
        found |= {row.id: row for row in refused if row.key == key}
    return sorted(found.values(), key=lambda row: (row.time, row.id), reverse=True)


def list_requests(
    engine: Engine, which: Filter, *, cursor: str | None = None, limit: int = 100, sort: str | None = None
) -> RequestPage:
    """Requests, finished and in flight, newest first.

    Args:
        cursor: The `next_cursor` of the page before.
        limit: How many at most.
        sort: One of `SORTED` instead of the time; `-` in front puts the largest first.

    Raises:
        BadOrder: There is no such field, or the cursor belongs to another list.
    """
    limit = max(1, min(limit, MAX_PAGE))
    order = Order.read(sort, cursor, SORTED)
    with engine.connect() as connection:
        # Holds first: a request that is settled in between is then found twice, and shown as finished.
        opened = _page(connection, HOLDS, which, order, limit + 1)
        finished = _page(connection, REQUESTS, which, order, limit + 1)
    settled = {row.id for row in finished}
    rows = order.merged([*(row for row in opened if row.id not in settled), *finished])
    more = len(rows) > limit
    rows = rows[:limit]
    items = [_request(row) if row.id in settled else _open_request(row) for row in rows]
    return RequestPage(items=items, next_cursor=order.cursor(rows[-1]) if more else None)


def _page(connection: Connection, table: Table, which: Filter, order: Order, limit: int) -> Sequence[Row[Any]]:
    if which.state is not None and (which.state == "open") != (table is HOLDS):
        return []
    query = select(table).where(*row_conditions(connection, which, table)).limit(limit)
    query = order.of(query, _value(table, order.field), table.c.time, table.c.id, connection.dialect)
    return connection.execute(query).all()


def _value(table: Table, name: str) -> ColumnElement[Any] | None:
    """A field of the requests in a table; None where they have none there."""
    if name.endswith("_tokens"):
        return None if table is HOLDS else table.c.usage[name].as_integer()
    if name in table.c:
        return table.c[name]
    return table.c.request[name].as_string() if table is HOLDS and name in _HELD else None


class Finished(NamedTuple):
    """A finished request, its place in the ledger's tail, and the id of its project, empty for none."""

    finished_at: int
    request: Request
    project_id: str


def finished_since(engine: Engine, finished_at: int, request_id: str, *, limit: int = 200) -> list[Finished]:
    """The ledger's tail: rows that were finished after a place in it, in order.

    `finished_at` is stamped in the order of commits whatever the node, so a reader that remembers the last place it saw
    misses nothing.

    Args:
        finished_at: The place, as a row's `finished_at` has it.
        request_id: The id of the row at that place.
        limit: How many at most.
    """
    after = tuple_(REQUESTS.c.finished_at, REQUESTS.c.id) > (finished_at, request_id)
    query = select(REQUESTS).where(after).order_by(REQUESTS.c.finished_at, REQUESTS.c.id).limit(limit)
    with engine.connect() as connection:
        return [Finished(row.finished_at, _request(row), row.project_id) for row in connection.execute(query)]


def last_finished(engine: Engine) -> tuple[int, str]:
    """The tail's end: the place of the row finished last, `(0, "")` where there is none."""
    query = (
        select(REQUESTS.c.finished_at, REQUESTS.c.id)
        .order_by(REQUESTS.c.finished_at.desc(), REQUESTS.c.id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return (row[0], row[1]) if row else (0, "")


def finished_of_node(engine: Engine, node_id: str, since: int, *, swept: bool = False) -> list[Row[Any]]:
    """Rows of the requests that a node served and that were finished after a moment.

    Args:
        since: Milliseconds since the epoch.
        swept: Only those that were charged at their ceiling because the node died.
    """
    query = select(REQUESTS).where(REQUESTS.c.finished_at > since, REQUESTS.c.node == node_id)
    if swept:
        query = query.where(REQUESTS.c.error == SWEPT_ERROR)
    with engine.connect() as connection:
        return list(connection.execute(query))


# Totals


def usage(
    engine: Engine, by: Sequence[str], which: Filter, sort: str | None = None, limit: int | None = None
) -> UsageReport:
    """Totals by group, the most expensive first, or in order of time if grouped by time.

    Args:
        by: Any of `GROUPS`, or `tag:NAME`; none for one total. Tags, sessions and agents are read from the rows, and
            so reach as far back as those are kept.
        which: Which requests; `status` is not kept in totals.
        sort: A group or a sum to sort by; `-` in front puts the largest first.
        limit: How many groups at most; the total is of all.

    Raises:
        BadQuery: The group does not exist.
        BadOrder: There is nothing such to sort by.
    """
    groups = _groups(by)
    if which.status is not None:
        raise BadQuery("Totals are not kept by status: list the requests instead.")
    with engine.connect() as connection:
        names = owner_names(connection)
        found: dict[tuple[Any, ...], dict[str, int]] = {}
        for query in _spans(connection, which, groups):
            for row in connection.execute(query):
                _add(found.setdefault(tuple(row[: len(groups)]), dict.fromkeys((*SUMS, _EXTRA), 0)), row._mapping)
        for row in connection.execute(_beside_charges(connection, which, groups)):
            if (sums := found.get(tuple(row[: len(groups)]))) is not None:
                sums[_EXTRA] += int(row._mapping[_EXTRA] or 0)
    items = [
        _total({name: _shown(name, value, names) for name, value in zip(by, place, strict=True)}, sums)
        for place, sums in found.items()
    ]
    timed = [name for name in by if name in ("day", "hour")]
    items.sort(key=lambda item: (*[item.group[name] or "" for name in timed], -float(item.cost), str(item.group)))
    if sort is not None:
        _sort(items, sort, by)
    everything = dict.fromkeys((*SUMS, _EXTRA), 0)
    for sums in found.values():
        _add(everything, sums)
        everything[_EXTRA] += sums[_EXTRA]
    return UsageReport(items=items[:limit], total=_total({}, everything))


def _sort(items: list[UsageTotal], sort: str, by: Sequence[str]) -> None:
    """Sort totals by a group or a sum; groups without a name come last."""
    name, down = sort.removeprefix("-"), sort.startswith("-")
    sums = [name for name in UsageTotal.model_fields if name != "group"]
    if name in by:
        items.sort(key=lambda item: item.group[name] or "", reverse=down)
        items.sort(key=lambda item: item.group[name] is None)
    elif name in sums:
        items.sort(key=lambda item: Decimal(getattr(item, name)), reverse=down)
    else:
        raise BadOrder("sort", name)


def _groups(by: Sequence[str]) -> list[str]:
    unknown = [name for name in by if name not in GROUPS and not name.startswith("tag:")]
    if unknown:
        raise BadQuery(f"There is no group '{unknown[0]}': use {', '.join(GROUPS)} or tag:NAME.")
    if len(set(by)) != len(by):
        raise BadQuery("A group is named twice.")
    return list(by)


def _column(table: Table, group: str) -> ColumnElement[Any]:
    if group.startswith("tag:"):
        return func.coalesce(table.c.tags[group[4:]].as_string(), "")
    match group:
        case "hour" | "day":
            time = table.c.start if "start" in table.c else table.c.time
            step = _HOUR_MS if group == "hour" else _DAY_MS
            return time - time % step
        case "key" | "project" | "user":
            return table.c[f"{group}_id"]
        case "provider" | "session" | "agent":
            return func.coalesce(table.c[group], "")
        case _:
            return table.c[group]


def _spans(connection: Connection, which: Filter, groups: Sequence[str]) -> Iterable[Select[Any]]:
    """The span's whole steps from the rollups, its edges from the rows."""
    start = milliseconds(which.since) if which.since else None
    end = milliseconds(which.until) if which.until else None
    first = -(-start // STEP_MS) * STEP_MS if start is not None else None
    last = end // STEP_MS * STEP_MS if end is not None else None
    tagged = any(group.startswith("tag:") or group in OF_ROWS for group in groups)
    if tagged or (first is not None and last is not None and first > last):
        yield _from_rows(connection, which, groups, start, end)
        return
    conditions = _conditions(connection, ROLLUPS, which)
    if first is not None:
        conditions.append(ROLLUPS.c.start >= first)
    if last is not None:
        conditions.append(ROLLUPS.c.start < last)
    keys = [_column(ROLLUPS, group) for group in groups]
    sums = [func.sum(ROLLUPS.c[name]).label(name) for name in SUMS]
    yield select(*keys, *sums).where(*conditions).group_by(*keys).having(func.count() > 0)
    if start != first:
        yield _from_rows(connection, which, groups, start, first)
    if end != last:
        yield _from_rows(connection, which, groups, last, end)


def _from_rows(
    connection: Connection, which: Filter, groups: Sequence[str], start: int | None, end: int | None
) -> Select[Any]:
    conditions = _conditions(connection, REQUESTS, which)
    if start is not None:
        conditions.append(REQUESTS.c.time >= start)
    if end is not None:
        conditions.append(REQUESTS.c.time < end)
    keys = [_column(REQUESTS, group).label(f"group_{number}") for number, group in enumerate(groups)]
    return select(*keys, *row_sums()).where(*conditions).group_by(*keys).having(func.count() > 0)


def row_sums() -> list[ColumnElement[Any]]:
    """The sums of a rollup, from rows."""
    failed = case((or_(REQUESTS.c.status >= 400, REQUESTS.c.error.is_not(None)), 1), else_=0)
    tokens = [
        func.coalesce(func.sum(REQUESTS.c.usage[name].as_integer()), 0).label(name)
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    ]
    counted: list[ColumnElement[Any]] = [func.count().label("requests"), func.sum(failed).label("errors")]
    return [*counted, *tokens, func.sum(REQUESTS.c.cost).label("cost")]


def _beside_charges(connection: Connection, which: Filter, groups: Sequence[str]) -> Select[Any]:
    """The difference between list prices and the providers' own charges, from the rows that are kept."""
    conditions = [REQUESTS.c.list_price.is_not(None), *row_conditions(connection, which)]
    keys = [_column(REQUESTS, group).label(f"group_{number}") for number, group in enumerate(groups)]
    extra = func.sum(REQUESTS.c.list_price - REQUESTS.c.cost).label(_EXTRA)
    return select(*keys, extra).where(*conditions).group_by(*keys).having(func.count() > 0)


def _add(into: dict[str, int], sums: Mapping[Any, Any]) -> None:
    for name in SUMS:
        into[name] += int(sums[name] or 0)


def _total(group: Mapping[str, str | None], sums: Mapping[str, int]) -> UsageTotal:
    counts = {name: sums[name] for name in SUMS if name != "cost"}
    return UsageTotal(
        group=dict(group),
        cost=dollars(sums["cost"]),
        list_cost=dollars(sums["cost"] + sums[_EXTRA]),
        difference=dollars(-sums[_EXTRA]),
        **counts,
    )


def owner_names(connection: Connection) -> dict[str, dict[str, str]]:
    """Names of keys, projects and users by id: rollups have only ids."""
    return {
        kind: {row.id: row.name for row in connection.execute(select(TABLES[table].c.id, TABLES[table].c.name))}
        for kind, table in _OWNED.items()
    }


def _shown(group: str, value: Any, names: Mapping[str, Mapping[str, str]]) -> str | None:
    if group in names:
        return names[group].get(value, value) or None
    if group == "day":
        return moment(value).strftime("%Y-%m-%d")
    if group == "hour":
        return moment(value).strftime("%Y-%m-%dT%H:00:00Z")
    return str(value) if value else None


# Rows


def _conditions(connection: Connection, table: Table, which: Filter) -> list[ColumnElement[bool]]:
    """Conditions that rows and rollups share."""
    found = _within(table.c.project_id, which.within)
    for kind, owners in _OWNED.items():
        if (named := getattr(which, kind)) is not None:
            # Looked up first: an index can be used only with a known id.
            owner = TABLES[owners].c
            ids = set(connection.execute(select(owner.id).where(or_(owner.name == named, owner.id == named))).scalars())
            column = table.c[f"{kind}_id"]
            found.append(column.in_(sorted(ids)) if len(ids) > 1 else column == next(iter(ids), named))
    for name in ("model", "provider", "route"):
        if (value := getattr(which, name)) is not None:
            found.append(_is(table, name, value))
    return found


def _is(table: Table, name: str, wanted: str) -> ColumnElement[bool]:
    value = _value(table, name)
    return false() if value is None else value == wanted


def _within(project_id: ColumnElement[str], within: frozenset[str] | None) -> list[ColumnElement[bool]]:
    return [] if within is None else [project_id.in_(within)]


def row_conditions(connection: Connection, which: Filter, table: Table = REQUESTS) -> list[ColumnElement[bool]]:
    """The conditions on a request, in the table of finished ones or of holds."""
    found = _conditions(connection, table, which)
    if which.status is not None:
        found.append(table.c.status == which.status if table is not HOLDS else false())
    found += [_is(table, name, value) for name, value in which.equal.items()]
    for name, wanted in which.tags.items():
        tag = table.c.request[("tags", name)].as_string() if table is HOLDS else table.c.tags[name].as_string()
        found.append(tag.is_not(None) if wanted is None else tag == wanted)
    if which.stream is not None:
        streams = table.c.request["stream"].as_boolean() if table is HOLDS else table.c.stream
        found.append(func.coalesce(streams, false()) == which.stream)
    if which.since is not None:
        found.append(table.c.time >= milliseconds(which.since))
    if which.until is not None:
        found.append(table.c.time < milliseconds(which.until))
    return found


_PLAIN = {
    *("id", "status", "key", "project", "user", "route", "provider", "model", "format", "stream", "usage"),
    *("raw_usage", "certainty", "certainty_reason", "cost_source", "price", "run", "session", "trace_id", "error"),
    *("agent", "agent_parent", "agent_name"),
    *("refusal", "ms_total", "ms_first_byte", "ms_gateway"),
}


def _request(row: Row[Any]) -> Request:
    return Request(
        **{name: getattr(row, name) for name in _PLAIN},
        state="settled",
        time=moment(row.time).astimezone(UTC),
        cost=dollars(row.cost or 0),
        reserved=dollars(row.reserved),
        attempts=[Attempt.model_validate(attempt) for attempt in row.attempts or ()],
        tags=row.tags or {},
        list_price=dollars(row.list_price) if row.list_price is not None else None,
    )


def _open_request(row: Row[Any]) -> Request:
    return Request(
        **{
            **dict.fromkeys(_PLAIN),
            **{"stream": False, "tags": {}, "attempts": [], "id": row.id, "state": "open", "cost": "0"},
            **row.request,
            **{"time": moment(row.time).astimezone(UTC), "reserved": dollars(row.reserved)},
        }
    )


def _refused_request(row: Row[Any]) -> Request:
    """A request that was refused before it got a row."""
    known = {**dict.fromkeys(_PLAIN), "stream": False, "tags": {}, "attempts": [], "model": "", **row.request}
    time = moment(row.time).astimezone(UTC)
    return Request(**{**known, "id": row.id, "state": "settled", "cost": "0", "reserved": "0", "time": time})


@dataclass(frozen=True, slots=True)
class Charged:
    """A finished request that was priced.

    Attributes:
        sent_model: The model's name as it was sent to the provider.
        price: The identity of the price that it was charged at.
        cost: Nanodollars.
    """

    time: datetime
    provider: str
    model: str
    sent_model: str
    price: str
    usage: dict[str, int | float] | None
    cost: int
    certainty: str
    cost_source: str | None = None


def charged_requests(engine: Engine, which: Filter) -> Iterator[Charged]:
    """Finished requests that were priced, read a thousand at a time."""
    names = ("id", "time", "provider", "model", "price", "usage", "cost", "certainty", "cost_source", "attempts")
    query = select(*(REQUESTS.c[name] for name in names)).where(REQUESTS.c.price.is_not(None))
    with engine.connect() as connection:
        query = query.where(*row_conditions(connection, which))
        for row in connection.execution_options(yield_per=1000).execute(query):
            attempts: Sequence[Mapping[str, Any]] = row.attempts or ()
            sent = str(attempts[-1].get("model") or row.model) if attempts else row.model
            yield Charged(
                moment(row.time), row.provider or "", row.model, sent, row.price, row.usage, row.cost, row.certainty,
                row.cost_source,
            )  # fmt: skip


def holder_of(engine: Engine, work_id: str) -> tuple[str, str | None] | None:
    """The provider, and the id of the credential that it was asked with; None where the ledger has no such answer.

    Raises:
        SQLAlchemyError: The database cannot be read.
    """
    query = (
        select(col(RequestRow.provider), col(RequestRow.attempts))
        .where(col(RequestRow.work_id) == text(work_id), col(RequestRow.provider).is_not(None))
        .order_by(col(RequestRow.time))
        .limit(1)
    )
    with engine.connect() as connection:
        found = connection.execute(query).first()
    if found is None:
        return None
    provider, attempts = found
    credential = attempts[-1].get("credential") if attempts else None
    return provider, credential if isinstance(credential, str) else None
