"""The OpenAPI 3.1 document: the framework's description of the endpoints, completed.

Bodies are checked by `bodies` and by the catalogue rather than by the framework, so their schemas are put in here, made
from the same Specs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from paig_client.api.fields import Spec
from paig_client.api.resources import Problem
from paig_client.api.specs import (
    AdminSpec,
    AdoptSpec,
    AnswerSpec,
    AskSpec,
    KeySpec,
    NamedLimitSpec,
    OrganisationSpec,
    OwnerSpec,
    PriceSpec,
    ProjectSpec,
    ProviderSpec,
    RaiseSpec,
    RouteSpec,
    TokenSpec,
)
from paig_gateway.admin.access import OPERATIONS
from paig_gateway.admin.configuration import ApplySpec
from paig_gateway.admin.examples import EXAMPLES
from paig_gateway.admin.login import FinishDeviceSpec, PersonalKeySpec
from paig_gateway.admin.problem_codes import MEDIA_TYPE, PROBLEMS
from paig_gateway.admin.reports import PruneSpec
from paig_gateway.admin.spent import SpentSpec

OpenApi = dict[str, Any]

PREFIX = "/admin/v1"

_REF = "#/components/schemas/{model}"
_SPECS: Mapping[str, type[Spec]] = {
    "Provider": ProviderSpec,
    "Route": RouteSpec,
    "OwnPrice": PriceSpec,
    "Project": ProjectSpec,
    "Owner": OwnerSpec,
    "NamedLimit": NamedLimitSpec,
    "Organisation": OrganisationSpec,
    "Key": KeySpec,
    "Admin": AdminSpec,
    "Token": TokenSpec,
}
RESPONSES: dict[int | str, OpenApi] = {
    "default": {
        "description": "A problem.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
}
"""What every operation may answer."""

_DESCRIPTION = """\
Everything about a running paig gateway but the requests themselves: providers, routes, projects, users, keys and their
limits; the ledger and its sums; events as they happen.

Send the admin token as `Authorization: Bearer TOKEN`. Money is decimal strings of US dollars, a time is ISO 8601 in
UTC, an object is addressed by its name or id. Every error is a problem (RFC 9457) whose `code` says what is wrong."""


def document(app: FastAPI, version: str) -> OpenApi:
    """The OpenAPI document of the app."""
    found = get_openapi(
        title="paig admin API",
        version=version,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    components: OpenApi = found.setdefault("components", {})
    components["securitySchemes"] = {
        "adminToken": {"type": "http", "scheme": "bearer"},
        "gatewayKey": {"type": "http", "scheme": "bearer"},
    }
    schemas = {**components.get("schemas", {}), **_bodies(), "Problem": _problem()}
    for name, examples in EXAMPLES.items():
        schemas[name] = {**schemas[name], "examples": examples}
    for schema in schemas.values():
        if (item := _listed(schema)) in EXAMPLES:
            more = {"next_cursor": None} if "next_cursor" in schema["properties"] else {}
            schema.setdefault("examples", [{"items": EXAMPLES[item][:1], **more}])
    components["schemas"] = dict(sorted(schemas.items()))
    for operations in found["paths"].values():
        for operation in operations.values():
            needs = OPERATIONS.get(operation["operationId"])
            if needs is not None:
                operation["security"] = [{"adminToken": []}]
                operation["x-permission"] = needs.permission
                operation["x-in-project"] = needs.in_project
            elif operation["operationId"] in ("get_me", "list_my_requests", "ask_for_more"):
                operation["security"] = [{"gatewayKey": []}]
    return found


def _listed(schema: OpenApi) -> str:
    """The name of the schema of a list's items; empty if it is not a list."""
    properties = schema.get("properties", {})
    if set(properties) not in ({"items"}, {"items", "next_cursor"}):
        return ""
    return str(properties["items"]["items"]["$ref"]).rpartition("/")[2]


def _bodies() -> OpenApi:
    """The schemas of request bodies: every Spec, and what creates and changes make of it."""
    specs: list[type[Spec]] = [*_SPECS.values(), ApplySpec, FinishDeviceSpec, PersonalKeySpec, PruneSpec]
    specs += [SpentSpec, RaiseSpec, AskSpec, AnswerSpec, AdoptSpec]
    _, made = models_json_schema([(spec, "validation") for spec in specs], ref_template=_REF)
    schemas: OpenApi = made["$defs"]
    for name, spec in _SPECS.items():
        schema = schemas[spec.__name__]
        properties, required = schema.get("properties", {}), schema.get("required", [])
        rest = {key: value for key, value in schema.items() if key not in ("title", "properties", "required")}
        schemas[f"Create{name}"] = {
            "title": f"Create{name}",
            **rest,
            "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 100}, **properties},
            "required": ["name", *required],
        }
        if name == "Token":
            continue  # revoked, never changed
        schemas[f"Change{name}"] = {
            "title": f"Change{name}",
            **rest,
            "properties": {field: {"anyOf": [value, {"type": "null"}]} for field, value in properties.items()},
        }
    return schemas


def _problem() -> OpenApi:
    schema = Problem.model_json_schema(ref_template=_REF)
    field = {
        "type": "object",
        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
        "required": ["field", "message"],
    }
    schema["properties"]["code"]["enum"] = list(PROBLEMS)
    schema["properties"]["errors"] = {
        "type": "array", "items": field, "description": "The fields at fault, where there are such.",
    }  # fmt: skip
    return schema
