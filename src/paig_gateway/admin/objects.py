"""The objects of the catalogue: one set of endpoints, and a row for each kind of object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from inspect import Parameter, Signature, signature
from types import NoneType
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar, get_args, get_origin
from urllib.parse import unquote

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel

from paig_client.api.fields import Spec
from paig_client.api.resources import NamedLimit, NewKey, Owner, OwnPrice, Project, Provider, Resource, Route
from paig_client.api.specs import (
    NamedLimitSpec,
    OwnerSpec,
    PriceSpec,
    ProjectSpec,
    ProjectTelemetry,
    ProviderSpec,
    RouteSpec,
)
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.bodies import JsonObject, body_of, named
from paig_gateway.admin.problems import FieldProblem, ProblemError, invalid
from paig_gateway.admin.roles import AdminIdentity
from paig_gateway.admin.services import AdminServices
from paig_gateway.catalog import CatalogError
from paig_gateway.catalog.base import suggestion
from paig_gateway.catalog.idempotency import Repeat
from paig_gateway.providers.kinds import KINDS

S = TypeVar("S", bound=Spec)
S_contra = TypeVar("S_contra", bound=Spec, contravariant=True)
W = TypeVar("W", bound=Resource)
W_co = TypeVar("W_co", bound=Resource, covariant=True)
M = TypeVar("M", bound=Resource | NewKey)
M_co = TypeVar("M_co", bound=Resource | NewKey, covariant=True)
T = TypeVar("T")
P = TypeVar("P", bound="Page[Any]")

MAX_PAGE = 1000


class Objects(Protocol[S_contra, W_co, M_co]):
    """What the catalogue offers for one kind of object; `Collection` and `KeyCollection` do."""

    def list(self) -> Sequence[W_co]: ...

    def get(self, reference: str) -> W_co: ...

    def create(self, name: str, spec: S_contra, *, actor: str, repeat: Repeat[Any] | None = None) -> M_co: ...

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> W_co: ...

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None: ...


_TAG = {"ETag": {"description": "The object as it is now, for `If-Match`.", "schema": {"type": "string"}}}
LOCATION = {"description": "Where the object is.", "schema": {"type": "string"}}
"""The OpenAPI text about the header of a create's answer."""
TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": _TAG}}
"""The OpenAPI text about answers with a tag."""


class Page(BaseModel, Generic[W]):
    """Some objects by name, and where the next page begins."""

    items: list[W]
    next_cursor: str | None


class ProviderPage(Page[Provider]):
    """Some providers by name, and where the next page begins."""


class RoutePage(Page[Route]):
    """Some routes by name, and where the next page begins."""


class PricePage(Page[OwnPrice]):
    """Some prices by name, and where the next page begins."""


class ProjectPage(Page[Project]):
    """Some projects by name, and where the next page begins."""


class OwnerPage(Page[Owner]):
    """Some users by name, and where the next page begins."""


class NamedLimitPage(Page[NamedLimit]):
    """Some named limits, and where the next page begins."""


@dataclass(frozen=True)
class ObjectApi(Generic[S, W, M]):
    """A kind of object.

    Attributes:
        one: Its name, `provider`.
        many: Its collection's, `providers`.
        spec: What a person writes.
        model: What the gateway answers.
        made: What a create answers.
        page: What its list answers.
        objects: What the principal can do with objects of this kind.
    """

    one: str
    many: str
    spec: type[S]
    model: type[W]
    made: type[M]
    page: type[Page[W]]
    objects: Callable[[AdminServices, AdminIdentity], Objects[S, W, M]]


class Projects:
    """The catalogue's projects, as far as the principal may read them."""

    def __init__(self, services: AdminServices, principal: AdminIdentity) -> None:
        """Wrap the catalogue's projects."""
        self._projects = services.catalog.projects
        self._principal = principal
        self._within = principal.within("catalog:read")

    def list(self) -> Sequence[Project]:
        """Every project that the principal may see."""
        return [found for found in self._projects.list() if self._within is None or found.id in self._within]

    def get(self, reference: str) -> Project:
        found = self._projects.get(reference)
        if self._within is not None and found.id not in self._within:
            raise absent("project", reference)
        return found

    def create(self, name: str, spec: ProjectSpec, *, actor: str, repeat: Repeat[Project] | None = None) -> Project:
        self._check(spec.telemetry != ProjectTelemetry(), spec.stored)
        return self._projects.create(name, spec, actor=actor, repeat=repeat)

    def update(self, reference: str, changes: Mapping[str, Any], *, actor: str, version: int | None = None) -> Project:
        self._check("telemetry" in changes, changes.get("stored"))
        return self._projects.update(reference, changes, actor=actor, version=version)

    def delete(self, reference: str, *, actor: str, version: int | None = None) -> None:
        self._projects.delete(reference, actor=actor, version=version)

    def _check(self, sets_telemetry: bool, stored: object) -> None:
        """Refuse settings that need `routing:write`: `telemetry`, and `stored = "shared"`."""
        if sets_telemetry and not self._principal.may("routing:write"):
            raise ProblemError("forbidden", "telemetry: where a project's spans are sent needs routing:write.")
        if stored == "shared" and not self._principal.may("routing:write"):
            raise ProblemError(
                "forbidden", "stored: showing a project all of an account's objects needs routing:write."
            )


def absent(kind: str, reference: str) -> CatalogError:
    """The error for an object that the principal may not read: the same as for one that does not exist."""
    return CatalogError("not-found", f"There is no {kind} '{reference}': `paig {kind}s list` shows all.")


PROVIDERS: ObjectApi[ProviderSpec, Provider, Provider] = ObjectApi(
    "provider",
    "providers",
    ProviderSpec,
    Provider,
    Provider,
    ProviderPage,
    lambda services, principal: services.catalog.providers,
)
ROUTES: ObjectApi[RouteSpec, Route, Route] = ObjectApi(
    "route", "routes", RouteSpec, Route, Route, RoutePage, lambda services, principal: services.catalog.routes
)
PRICES: ObjectApi[PriceSpec, OwnPrice, OwnPrice] = ObjectApi(
    "price", "prices", PriceSpec, OwnPrice, OwnPrice, PricePage, lambda services, principal: services.catalog.prices
)
PROJECTS: ObjectApi[ProjectSpec, Project, Project] = ObjectApi(
    "project", "projects", ProjectSpec, Project, Project, ProjectPage, Projects
)
USERS: ObjectApi[OwnerSpec, Owner, Owner] = ObjectApi(
    "user", "users", OwnerSpec, Owner, Owner, OwnerPage, lambda services, principal: services.catalog.users
)
NAMED_LIMITS: ObjectApi[NamedLimitSpec, NamedLimit, NamedLimit] = ObjectApi(
    "named_limit", "named-limits", NamedLimitSpec, NamedLimit, NamedLimit, NamedLimitPage,
    lambda services, principal: services.catalog.named_limits,
)  # fmt: skip
LISTED: tuple[ObjectApi[Any, Any, Any], ...] = (PROVIDERS, ROUTES, PRICES, PROJECTS, USERS, NAMED_LIMITS)
"""The kinds whose list needs only the catalogue."""

Reference = Annotated[str, Path(description="Name or id, percent-encoded."), AfterValidator(unquote)]
Limit = Annotated[int | None, Query(ge=1, le=MAX_PAGE, description="How many items to answer at most.")]
Cursor = Annotated[str | None, Query(description="The previous page's `next_cursor`.")]
Sort = Annotated[
    str | None, Query(description="A field to sort by; `-` in front puts the largest first.", examples=["-created_at"])
]
IfMatch = Annotated[
    str | None, Header(description="Change the object only if this is still its `ETag`.", examples=['"key_5f2c.3"'])
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=255,
        description="Any value of your choice: the same request with the same value is carried out once, and answered "
        "the same for a day.",
    ),
]  # fmt: skip


def page(
    model: type[P], items: Iterable[Resource], limit: int | None, cursor: str | None, sort: str | None = None
) -> P:
    """Those of the objects that follow the one named `cursor`; all of them without a limit.

    Raises:
        ProblemError: `invalid`; there is no such field, or no such object any more.
    """
    found = sorted(items, key=lambda item: item.name)
    found, following = part(found, lambda item: item.name, limit, cursor, sort, by_name=True)
    return model(items=found, next_cursor=following)


ItemT = TypeVar("ItemT", bound=BaseModel)


def part(
    items: Sequence[ItemT],
    identity: Callable[[ItemT], str],
    limit: int | None,
    cursor: str | None,
    sort: str | None,
    *,
    by_name: bool = False,
) -> tuple[list[ItemT], str | None]:
    """A part of a list, and where the next one begins.

    Args:
        items: All of them, in their usual order.
        identity: Identifies an item.
        limit: How many to answer at most.
        cursor: The identity of the last one already seen.
        sort: A field to sort by, with `-` in front for the largest first.
        by_name: Whether the usual order is that of the identities.

    Raises:
        ProblemError: `invalid`; there is no such field, or no such item any more.
    """
    found = list(items)
    if sort is not None:
        field, down = sort.removeprefix("-"), sort.startswith("-")
        if found and field not in type(found[0]).model_fields:
            raise unknown_sort(field, type(found[0]).model_fields)
        found.sort(key=lambda item: _order(field, getattr(item, field)), reverse=down)
        found.sort(key=lambda item: getattr(item, field) is None)
    if cursor is not None:
        place = next((number for number, item in enumerate(found) if identity(item) == cursor), None)
        if place is not None:
            found = found[place + 1 :]
        elif sort is None and by_name:  # deleted since, but its place in the alphabet is still known
            found = [item for item in found if identity(item) > cursor]
        else:
            raise invalid([FieldProblem("cursor", "what it names is gone: begin again without it")])
    more = limit is not None and len(found) > limit
    found = found[:limit]
    return found, identity(found[-1]) if more else None


def unknown_sort(field: str, known: Iterable[str]) -> ProblemError:
    """The error for a list that cannot be sorted by a field."""
    names = list(known)
    close = suggestion(field, names)
    return invalid([FieldProblem("sort", f"there is no field '{field}'{close or ': use ' + ', '.join(sorted(names))}")])


_AMOUNTS = frozenset({"amount", "spent", "held", "left", "cost", "list_price", "reserved"})
"""Fields whose values are numbers as text."""


def _order(field: str, value: object) -> tuple[int, Any]:
    """What sorts values of one field; null ones are put last afterwards."""
    match value:
        case None:
            return 0, 0
        case datetime():
            return 1, value.timestamp()
        case bool() | int() | float():
            return 1, value
        case _:
            return (1, Decimal(str(value))) if field in _AMOUNTS else (2, str(value))


def filterable(model: type[BaseModel]) -> dict[str, type[Any] | Any]:
    """The fields of an object that its list can be filtered by: those with a single plain value."""
    plain: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        parts = {field.annotation} if get_origin(field.annotation) is Literal else set(get_args(field.annotation))
        plainly = (parts or {field.annotation}) <= {str, bool, int, float, NoneType}
        if name not in ("id", "version") and (plainly or get_origin(field.annotation) is Literal):
            plain[name] = field.annotation
    return plain


def filtered(items: Iterable[ItemT], wanted: Mapping[str, object]) -> list[ItemT]:
    """The items whose fields have the wanted values; None means any.

    Raises:
        ProblemError: `invalid`; nothing has that name.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    found = list(items)
    for field in ("name", "owner"):
        if field in given and (known := {getattr(item, field) for item in found}) and given[field] not in known:
            close = suggestion(str(given[field]), known)
            raise invalid([FieldProblem(field, f"nothing has the {field} '{given[field]}'{close}")])
    return [item for item in found if all(getattr(item, name) == value for name, value in given.items())]


def etag(item: Resource) -> str:
    """The tag of an object as it is now: another object of the same name has another one."""
    return f'"{item.id}.{item.version}"'


def conditional(
    match: str | None, get: Callable[[str], Resource], reference: str, change: Callable[[str, int | None], T]
) -> T:
    """Make a change, where `If-Match` is given only on the version that it names.

    Args:
        get: Finds the object.
        reference: Its name or id.
        change: Makes the change, given the object's name or id and the version that it must have.

    Raises:
        ProblemError: `changed`.
        CatalogError: Whatever `get` or `change` raises.
    """
    if match is None:
        return change(reference, None)
    current = get(reference)
    if match.strip() == "*":
        return change(current.id, None)
    # A proxy that compresses an answer makes its tag weak; for this comparison, that is the same tag.
    if etag(current) in {tag.strip().removeprefix("W/") for tag in match.split(",")}:
        try:
            return change(current.id, current.version)
        except CatalogError as error:
            if error.code != "changed":
                raise
            current = get(current.id)  # another change came first
    raise ProblemError(
        "changed",
        f"'{current.name}' is at {etag(current)} by now: read it again and repeat the change.",
        headers={"etag": etag(current)},
    )


def tagged(response: Response, item: T) -> T:
    """The same object, with its tag in the answer's `ETag` where it has one."""
    if isinstance(item, Resource):
        response.headers["etag"] = etag(item)
    return item


def object_routes(services: AdminServices, kind: ObjectApi[S, W, M]) -> APIRouter:
    """The endpoints of one kind of object, but for its list."""
    router = APIRouter(prefix=f"/{kind.many}", tags=[kind.many], route_class=Guarded)
    one = f"{'an' if kind.one[0] in 'aeio' else 'a'} {kind.one.replace('_', ' ')}"
    _add_create(router, services, kind, one)
    _add_get(router, services, kind, one)
    _add_update(router, services, kind, one)
    _add_delete(router, services, kind, one)
    return router


def _add_create(router: APIRouter, services: AdminServices, kind: ObjectApi[S, W, M], one: str) -> None:
    @router.post(
        "",
        operation_id=f"create_{kind.one}",
        summary=f"Make {one}",
        status_code=201,
        response_model=kind.made,
        response_description="It is made.",
        responses={201: {"headers": {"Location": LOCATION, **({} if kind.made is NewKey else _TAG)}}},
        openapi_extra=body_of(f"Create{kind.model.__name__}"),
    )
    def create(
        request: Request,
        response: Response,
        principal: Principal,
        body: JsonObject,
        idempotency_key: IdempotencyKey = None,
    ) -> M:
        name, spec = named(kind.spec, body)
        objects = kind.objects(services, principal)
        repeat = None
        if idempotency_key is not None:
            asked = f"{kind.one} {name!r} {spec.model_dump_json()}"
            repeat = Repeat.of(principal.id, idempotency_key, asked, kind.made)
        made = objects.create(name, spec, actor=principal.name, repeat=repeat)
        services.changed()
        response.headers["location"] = f"{request.url.path}/{made.id}"
        return tagged(response, made)


def _add_get(router: APIRouter, services: AdminServices, kind: ObjectApi[S, W, M], one: str) -> None:
    @router.get(
        "/{name_or_id}",
        operation_id=f"get_{kind.one}",
        summary=f"Show {one}",
        response_model=kind.model,
        responses=TAGGED,
    )
    def get(response: Response, principal: Principal, name_or_id: Reference) -> W:
        return tagged(response, kind.objects(services, principal).get(name_or_id))


def _add_update(router: APIRouter, services: AdminServices, kind: ObjectApi[S, W, M], one: str) -> None:
    @router.patch(
        "/{name_or_id}",
        operation_id=f"update_{kind.one}",
        summary=f"Change {one}",
        description="The body's fields take the place of the object's, inside `limits` too; null takes a field back to "
        "its default (RFC 7396). What is not named stays.",
        response_model=kind.model,
        responses=TAGGED,
        openapi_extra=body_of(f"Change{kind.model.__name__}"),
    )
    def update(
        response: Response, principal: Principal, name_or_id: Reference, body: JsonObject, if_match: IfMatch = None
    ) -> W:
        objects = kind.objects(services, principal)

        def change(reference: str, version: int | None) -> W:
            return objects.update(reference, body, actor=principal.name, version=version)

        changed = conditional(if_match, objects.get, name_or_id, change)
        services.changed()
        return tagged(response, changed)


def _add_delete(router: APIRouter, services: AdminServices, kind: ObjectApi[S, W, M], one: str) -> None:
    @router.delete(
        "/{name_or_id}",
        operation_id=f"delete_{kind.one}",
        summary=f"Delete {one}",
        description="Refused while something else names it. What it did stays in the ledger.",
        status_code=204,
        response_description="It is gone.",
    )
    def delete(principal: Principal, name_or_id: Reference, if_match: IfMatch = None) -> None:
        objects = kind.objects(services, principal)

        def remove(reference: str, version: int | None) -> None:
            objects.delete(reference, actor=principal.name, version=version)

        conditional(if_match, objects.get, name_or_id, remove)
        services.changed()


def with_fields(handler: Callable[..., Any], fields: Mapping[str, Any]) -> None:
    """Give a handler that takes any keyword a query parameter for each field, so that it is checked and documented."""
    own = [
        parameter
        for parameter in signature(handler, eval_str=True).parameters.values()
        if parameter.kind is not Parameter.VAR_KEYWORD
    ]
    more = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[annotation | None, Query(description=f"Only those with this `{name}`.")],
        )
        for name, annotation in fields.items()
        if name not in {parameter.name for parameter in own}
    ]
    handler.__signature__ = Signature([*own, *more])  # type: ignore[attr-defined]


def list_route(services: AdminServices, kind: ObjectApi[S, W, M]) -> APIRouter:
    """The list of one kind of object, by name."""
    router = APIRouter(prefix=f"/{kind.many}", tags=[kind.many], route_class=Guarded)

    fields = filterable(kind.model)

    def list_all(
        principal: Principal, limit: Limit = None, cursor: Cursor = None, sort: Sort = None, **wanted: Any
    ) -> Any:
        items = kind.objects(services, principal).list()
        if kind is PROVIDERS and (named := wanted.get("kind")) is not None and named not in KINDS:
            close = suggestion(str(named), KINDS)
            raise invalid([FieldProblem("kind", f"'{named}' is not a known provider kind{close}")])
        return page(kind.page, filtered(items, wanted), limit, cursor, sort)

    with_fields(list_all, fields)
    router.get("", operation_id=f"list_{kind.one}s", summary=f"List {kind.many}", response_model=kind.page)(list_all)
    return router
