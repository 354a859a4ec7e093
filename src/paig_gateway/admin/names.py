"""Names in filters: an unknown name is an error, which suggests a similar one."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlmodel import Session, SQLModel, col

from paig_gateway.admin.problems import FieldProblem, invalid
from paig_gateway.admin.roles import AdminIdentity
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog.base import is_id, suggestion
from paig_gateway.database.tables import KeyRow, ProjectRow, RollupRow, UserRow

_OWNERS: dict[str, type[SQLModel]] = {"key": KeyRow, "project": ProjectRow, "user": UserRow}


def check_names(services: AdminServices, principal: AdminIdentity, **given: str | None) -> None:
    """Refuse names that no object has: of a `key`, `project`, `user`, `provider`, `route` or `model`.

    Ids are taken as they are, because the ledger also knows objects that were deleted. A principal that may
    read some projects only is not told of other projects' keys, users and models, not even that they exist.

    Raises:
        ProblemError: `invalid`, with the nearest name.
    """
    wrong = []
    with Session(services.engine) as session:
        for kind, name in given.items():
            if name is None or is_id(name):
                continue
            known = _known(services, session, principal, kind, name)
            if known is not None:
                wrong.append(FieldProblem(kind, f"there is no {kind} '{name}'{suggestion(name, known)}"))
    if wrong:
        raise invalid(wrong)


def _known(
    services: AdminServices, session: Session, principal: AdminIdentity, kind: str, name: str
) -> list[str] | None:
    """The names that there are, or None if `name` is one of them."""
    within = _within(principal)
    if kind in _OWNERS:
        return _owners(session, within, kind, name)
    if kind in ("provider", "route"):
        snapshot = services.directory.snapshot
        names = [*(snapshot.providers if kind == "provider" else snapshot.routes)]
        if name in names:
            return None
    else:
        names = []
    column = col(getattr(RollupRow, kind))
    theirs = select(column) if within is None else select(column).where(col(RollupRow.project_id).in_(within))
    if session.exec(theirs.where(column == name).limit(1)).first() is not None:  # type: ignore[call-overload]
        return None
    seen = session.exec(theirs.distinct().limit(1000)).scalars()  # type: ignore[call-overload]
    return [*names, *(text for text in seen if text)]


def _within(principal: AdminIdentity) -> frozenset[str] | None:
    """The ids of the projects of which a principal may be told names; None where it has a say in the whole gateway."""
    return None if principal.everywhere else frozenset(principal.projects)


def _owners(session: Session, within: frozenset[str] | None, kind: str, name: str) -> list[str] | None:
    table = _OWNERS[kind]
    columns = table.__table__.c  # type: ignore[attr-defined]
    query = select(columns.name)
    if within is not None and kind == "project":
        query = query.where(columns.id.in_(within))
    elif within is not None and kind == "key":
        query = query.where(columns.project_id.in_(within))
    elif within is not None:
        of_keys = select(col(KeyRow.user_id)).where(col(KeyRow.project_id).in_(within))
        of_requests = select(col(RollupRow.user_id)).where(col(RollupRow.project_id).in_(within))
        query = query.where(or_(columns.id.in_(of_keys), columns.id.in_(of_requests)))
    connection = session.connection()
    if connection.execute(query.where(or_(columns.name == name, columns.id == name)).limit(1)).first() is not None:
        return None
    return list(connection.execute(query.limit(10_000)).scalars())
