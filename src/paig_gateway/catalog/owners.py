"""Projects and users: names that keys belong to, and their limits."""

from __future__ import annotations

from collections.abc import Iterable

from paig_client.api import resources
from paig_client.api.specs import OwnerSpec, ProjectSpec
from paig_gateway.catalog import limits
from paig_gateway.catalog.base import Edit, Secrets, check_free_name, suggestion
from paig_gateway.catalog.objects import ObjectType, Problem
from paig_gateway.catalog.references import check_no_grants, check_owner_unused, check_unlimited
from paig_gateway.database.tables import ProjectRow, UserRow
from paig_gateway.formats.registry import FORMATS
from paig_gateway.secrets.errors import SecretReferenceError
from paig_gateway.secrets.references import References


def _normal_project(secrets: Secrets, row: ProjectRow | None, spec: OwnerSpec) -> ProjectSpec:
    return ProjectSpec.model_validate({**dict(spec), "limits": limits.normal(spec.limits)})


def telemetry_problems(references: References, spec: ProjectSpec) -> Iterable[Problem]:
    """The errors in a project's own telemetry; its secrets are resolved like those of providers."""
    export = spec.telemetry.export
    if export is None:
        return
    named = {"token": export.token, **{f"headers.{name}": text for name, text in export.headers.items()}}
    for place, text in named.items():
        try:
            if text is not None:
                references.check(text)
        except SecretReferenceError as error:
            yield f"telemetry.export.{place}", str(error)
    try:
        if export.endpoint is not None:
            references.check_upstream(export.endpoint)
    except SecretReferenceError as error:
        yield "telemetry.export.endpoint", str(error)


_FORMATS = frozenset(format.name for format in FORMATS)


def format_problems(formats: Iterable[str] | None) -> Iterable[Problem]:
    """The error in a list of API formats."""
    for number, name in enumerate(formats or ()):
        if name not in _FORMATS:
            close = suggestion(name, _FORMATS) or f"; known are {', '.join(sorted(_FORMATS))}"
            yield f"formats.{number}", f"there is no API format '{name}'{close}"


def _problems(edit: Edit, spec: ProjectSpec) -> Iterable[Problem]:
    yield from telemetry_problems(edit.secrets.references, spec)
    yield from format_problems(spec.formats)


def _unlink_project(edit: Edit, row: ProjectRow) -> None:
    check_owner_unused(edit.session, "project", row.id, row.name)
    check_no_grants(edit.session, row.name)
    check_unlimited(edit.session, "project", row.name)


def _unlink_user(edit: Edit, row: UserRow) -> None:
    check_owner_unused(edit.session, "user", row.id, row.name)
    check_unlimited(edit.session, "user", row.name)


PROJECTS: ObjectType[ProjectRow, ProjectSpec, resources.Project] = ObjectType(
    kind="project",
    prefix="proj",
    row=ProjectRow,
    spec=ProjectSpec,
    resource=resources.Project,
    check_name=check_free_name,
    limited=True,
    normal=_normal_project,
    problems=_problems,
    unlink=_unlink_project,
)
USERS: ObjectType[UserRow, OwnerSpec, resources.Owner] = ObjectType(
    kind="user",
    prefix="user",
    row=UserRow,
    spec=OwnerSpec,
    resource=resources.Owner,
    check_name=check_free_name,
    limited=True,
    normal=lambda secrets, row, spec: OwnerSpec(limits=limits.normal(spec.limits)),
    unlink=_unlink_user,
)
