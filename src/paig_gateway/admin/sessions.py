"""Sessions of coding agents: listed, shown as trees of agents, stopped."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from paig_client.api.resources import Session, SessionTree
from paig_client.api.vocabulary import Permission
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.names import check_names
from paig_gateway.admin.objects import Reference
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.reports import ByModel, Named, PageLimit, Since, Until
from paig_gateway.admin.roles import AdminIdentity
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog import stops
from paig_gateway.ledger.reports import Filter
from paig_gateway.ledger.sessions import keys_of, list_sessions, session_tree


class SessionList(BaseModel):
    """Sessions, the one with the latest request first."""

    items: list[Session]


OfKey = Annotated[
    str | None, Query(max_length=300, description="The key, by name or id, where several have a session of that id.")
]


def session_routes(services: AdminServices) -> APIRouter:
    """The endpoints below `sessions`."""
    router = APIRouter(
        prefix="/sessions", route_class=Guarded, dependencies=[Depends(services.write_pending)], tags=["ledger"]
    )
    engine = services.engine

    @router.get("", operation_id="list_sessions", summary="List sessions of coding agents, the latest first")
    def get_sessions(
        principal: Principal,
        key: Named = None,
        project: Named = None,
        user: Named = None,
        model: ByModel = None,
        since: Since = None,
        until: Until = None,
        limit: PageLimit = 100,
    ) -> SessionList:
        check_names(services, principal, key=key, project=project, user=user, model=model)
        which = Filter(
            key=key, project=project, user=user, model=model, since=since, until=until,
            within=principal.within("ledger:read"),
        )  # fmt: skip
        return SessionList(items=list_sessions(engine, which, services.directory.snapshot.stopped, limit=limit))

    @router.get("/{session}", operation_id="get_session", summary="Show a session as the tree of its agents")
    def get_session(principal: Principal, session: Reference, key: OfKey = None) -> SessionTree:
        return _tree(services, _key_of(services, principal, "ledger:read", session, key), session)

    @router.post(
        "/{session}/stop",
        operation_id="stop_session",
        summary="Refuse a session's requests from now on (`loop-stopped`)",
    )
    def stop_session(principal: Principal, session: Reference, key: OfKey = None) -> SessionTree:
        key_id = _key_of(services, principal, "keys:write", session, key)
        stops.stop(services.catalog, key_id, session, actor=principal.name)
        services.changed()
        return _tree(services, key_id, session)

    @router.post("/{session}/resume", operation_id="resume_session", summary="Let a stopped session go on")
    def resume_session(principal: Principal, session: Reference, key: OfKey = None) -> SessionTree:
        key_id = _key_of(services, principal, "keys:write", session, key)
        stops.resume(services.catalog, key_id, session, actor=principal.name)
        services.changed()
        return _tree(services, key_id, session)

    return router


def _key_of(
    services: AdminServices, principal: AdminIdentity, needed: Permission, session: str, key: str | None
) -> str:
    """The id of the session's key.

    Raises:
        ProblemError: `not-found`; `invalid` where several keys have such a session.
    """
    check_names(services, principal, key=key)
    found = keys_of(services.engine, session, Filter(key=key, within=principal.within(needed)))
    if not found:
        raise ProblemError("not-found", f"The ledger has no session '{session}': `paig sessions list` shows all.")
    if len(found) > 1:
        names = " and ".join(f"'{name}'" for _, name, _ in found)
        raise invalid([FieldProblem("key", f"several keys have a session of that id, {names} among them: say which")])
    return found[0][0]


def _tree(services: AdminServices, key_id: str, session: str) -> SessionTree:
    found = session_tree(services.engine, key_id, session, services.directory.snapshot.stopped)
    if found is None:  # its rows were removed meanwhile
        raise ProblemError("not-found", f"The ledger has no session '{session}': `paig sessions list` shows all.")
    return found
