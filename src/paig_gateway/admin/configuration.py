"""The configuration as a whole: apply a `paig.toml`, export one, and the limits of the whole gateway."""

from __future__ import annotations

from fastapi import APIRouter, Response

from paig_client.api.fields import Spec
from paig_client.api.resources import AppliedConfig, Organisation, PlannedChange
from paig_client.api.specs import OrganisationSpec
from paig_gateway import config
from paig_gateway.admin.access import Guarded, Principal
from paig_gateway.admin.bodies import JsonObject, body_of, checked
from paig_gateway.admin.examples import EXAMPLES
from paig_gateway.admin.problems import FieldProblem, invalid
from paig_gateway.admin.services import AdminServices
from paig_gateway.database.columns import moment


class ApplySpec(Spec):
    """A configuration to apply."""

    config: str
    """The text of a `paig.toml`."""
    dry_run: bool = False
    """Show the changes, and make none."""
    prune: bool = False
    """Delete what the configuration does not name."""


class TomlResponse(Response):
    """An answer in TOML."""

    media_type = "application/toml"


def configuration_routes(services: AdminServices) -> APIRouter:
    """The endpoints `apply` and `export`."""
    router = APIRouter(tags=["configuration"], route_class=Guarded)

    @router.post(
        "/apply",
        operation_id="apply_config",
        summary="Apply a configuration file",
        description="Brings the catalogue to what the file says, in one transaction; a second time changes nothing. The"
        " sections that only a start of the gateway reads are listed as `ignored`. `dry_run` and `prune` are fields of"
        " the body.",
        response_model=AppliedConfig,
        openapi_extra=body_of("ApplySpec"),
    )
    def apply(principal: Principal, body: JsonObject) -> AppliedConfig:
        spec = checked(ApplySpec, body)
        catalog = services.catalog
        try:
            plan = config.plan(config.parse(spec.config), catalog, actor=principal.name, prune=spec.prune)
            made = [] if spec.dry_run else config.apply(plan, catalog, actor=principal.name)
        except config.ConfigError as error:
            raise invalid(
                [FieldProblem(f"config line {issue.line}", _issue(issue.path, issue.message)) for issue in error.issues]
            ) from None
        if not spec.dry_run:
            services.changed()
        return AppliedConfig(
            items=[PlannedChange.model_validate(dict(item)) for item in plan.items()],
            keys=made,
            drift=list(plan.drift),
            ignored=list(plan.config.process),
            warnings=[
                *plan.warnings(moment(catalog.now())),
                *plan.unreadable(catalog.secrets_for(principal.name).references),
            ],
        )

    @router.get(
        "/export",
        operation_id="export_config",
        summary="Export the configuration",
        description="A `paig.toml` that, applied to the same gateway, changes nothing. Secrets stand as references.",
        response_class=TomlResponse,
        responses={200: {"content": {TomlResponse.media_type: {"example": EXAMPLES["ApplySpec"][0]["config"]}}}},
    )
    def export() -> Response:
        return TomlResponse(config.export(services.catalog))

    return router


def organisation_routes(services: AdminServices) -> APIRouter:
    """The endpoints of `organisation`."""
    router = APIRouter(prefix="/organisation", tags=["configuration"], route_class=Guarded)

    @router.get(
        "",
        operation_id="get_organisation",
        summary="Show the settings and limits of the whole gateway",
        response_model=OrganisationSpec,
    )
    def get_organisation() -> OrganisationSpec:
        return services.catalog.organisation.get()

    @router.put(
        "",
        operation_id="put_organisation",
        summary="Set the settings and limits of the whole gateway",
        response_model=Organisation,
        openapi_extra=body_of("OrganisationSpec"),
    )
    def put_organisation(principal: Principal, body: JsonObject) -> Organisation:
        changed = services.catalog.organisation.put(checked(OrganisationSpec, body), actor=principal.name)
        services.changed()
        return changed

    @router.patch(
        "",
        operation_id="update_organisation",
        summary="Change settings and limits of the whole gateway",
        description="The body's fields take the place of those there are, inside `limits` too; null lifts a limit"
        " (RFC 7396). What is not named stays.",
        response_model=Organisation,
        openapi_extra=body_of("ChangeOrganisation"),
    )
    def update_organisation(principal: Principal, body: JsonObject) -> Organisation:
        changed = services.catalog.organisation.update(body, actor=principal.name)
        services.changed()
        return changed

    return router


def _issue(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message
