"""Objects stored at providers: their owners, and giving objects without an owner to a project."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query

from paig_client.api.resources import Adopted, StoredObject, StoredObjectPage
from paig_client.api.specs import AdoptSpec
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.account_objects import AccountObjects, account_objects
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.names import check_names
from paig_gateway.admin.objects import MAX_PAGE
from paig_gateway.admin.problems import FieldProblem, invalid
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog.base import suggestion
from paig_gateway.database.columns import moment
from paig_gateway.database.engine import in_thread
from paig_gateway.domain.route import ActiveProvider
from paig_gateway.formats.references import last_name
from paig_gateway.ledger import stored_objects
from paig_gateway.ledger.stored_objects import Owned, StoredObjectFilter

_AT_ONCE = 500


def stored_object_routes(services: AdminServices) -> APIRouter:
    """The endpoints below `objects`."""
    router = APIRouter(prefix="/objects", tags=["ledger"], route_class=Guarded)

    @router.get(
        "",
        operation_id="list_stored_objects",
        summary="List objects that providers store, with their owners",
        description="By provider and id. A response that the ledger has a row for belongs to the row's key, and is not "
        "listed.",
    )
    def list_stored_objects(
        principal: Principal,
        provider: Annotated[str | None, Query(max_length=300, description="Only this provider's.")] = None,
        kind: Annotated[str | None, Query(max_length=100, description="Only this kind, such as `file`.")] = None,
        key: Annotated[str | None, Query(max_length=300, description="Only what this key made.")] = None,
        project: Annotated[str | None, Query(max_length=300, description="Only this project's.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many items to answer at most.")] = 100,
        cursor: Annotated[str | None, Query(max_length=900, description="The previous page's `next_cursor`.")] = None,
    ) -> StoredObjectPage:
        check_names(services, principal, provider=provider, key=key, project=project)
        after = None
        if cursor is not None:
            name, parted, id = cursor.partition("/")
            if not parted:
                raise invalid([FieldProblem("cursor", "is not a cursor of this list: begin again without it")])
            after = (name, id)
        wanted = StoredObjectFilter(provider, kind, key, project, principal.within("catalog:read"))
        found = stored_objects.owned(services.engine, wanted, limit + 1, after)
        shown = found[:limit]
        last = shown[-1].object if len(found) > limit else None
        return StoredObjectPage(
            items=[_shown(one) for one in shown], next_cursor=None if last is None else f"{last.provider}/{last.id}"
        )

    @router.post(
        "/adopt",
        operation_id="adopt_stored_objects",
        summary="Give a project the objects in an account that nothing owns",
        description="The gateway reads the lists of files, batches, vector stores and so on that the route's providers "
        "have. What has an owner keeps it.",
        openapi_extra=body_of("AdoptSpec"),
    )
    async def adopt(principal: Principal, body: JsonObject) -> Adopted:
        spec = checked(AdoptSpec, body)
        providers = _providers(services, spec)
        if spec.ids:
            if len(providers) > 1:
                names = ", ".join(provider.name for provider in providers)
                raise invalid(
                    [FieldProblem("route", f"has several providers ({names}): name the one that stores these objects")]
                )
            places = {(providers[0].name, last_name(id)): "object" for id in spec.ids}
            account = AccountObjects(found=places)
        else:
            account = await account_objects(providers, services.client)
        return await in_thread(_give, services, spec, account, principal.name)

    return router


def _shown(one: Owned) -> StoredObject:
    found = one.object
    return StoredObject(
        provider=found.provider, id=found.id, kind=found.kind, key=one.key, project=one.project,
        created_at=moment(one.at),
    )  # fmt: skip


def _providers(services: AdminServices, spec: AdoptSpec) -> list[ActiveProvider]:
    """The providers of the route.

    Raises:
        ProblemError: `invalid`; there is no such route.
    """
    routes = services.directory.snapshot.routes
    route = routes.get(spec.route)
    if route is None:
        close = suggestion(spec.route, routes)
        raise invalid([FieldProblem("route", f"there is no route '{spec.route}'{close}")])
    return list({member.provider.name: member.provider for member in route.members}.values())


def _give(services: AdminServices, spec: AdoptSpec, account: AccountObjects, actor: str) -> Adopted:
    """Give a project what has no owner.

    Raises:
        CatalogError: `not-found`; there is no such project.
    """
    project = services.catalog.projects.get(spec.project)
    places = list(account.found)
    known = {(one.provider, one.id) for one in stored_objects.find(services.engine, [id for _, id in places])}
    new = [
        stored_objects.ProviderObject(provider, id, account.found[provider, id], "", project.id)
        for provider, id in places
        if (provider, id) not in known
    ]
    given = 0
    for start in range(0, len(new), _AT_ONCE):
        given += stored_objects.save(services.engine, new[start : start + _AT_ONCE], services.clock())
    with services.catalog.edit(actor) as edit:
        after = {"route": spec.route, "objects": given}
        edit.record("adopt", "project", project.name, None, after, project_id=project.id)
    return Adopted(
        route=spec.route,
        project=project.name,
        adopted=dict(sorted(Counter(one.kind for one in new).items())),
        owned=len(places) - given,
        problems=account.problems,
    )
