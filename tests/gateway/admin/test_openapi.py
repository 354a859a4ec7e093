"""The OpenAPI document: whole, with examples that fit, and a gateway that stands whatever is made from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from paig_client.api.specs import ProviderSpec
from paig_gateway.admin.access import OPERATIONS
from paig_gateway.database.engine import utc_now
from paig_gateway.sso.provider import IdentityProvider
from paig_gateway.sso.settings import SsoSpec
from tests.gateway.admin.harness import TOKEN, Gateway, running
from tests.gateway.sso.liar import running_liar

Json = dict[str, Any]
OPEN = ("healthz", "readyz", "start_device_login", "finish_device_login", "get_me")
CHECKS = [schemathesis.checks.not_a_server_error, response_schema_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with an identity provider."""
    spec = {"client_id": "paig", "groups": {"g": "viewer"}}
    with running_liar() as liar:
        sso = IdentityProvider(SsoSpec.model_validate({"issuer": liar.issuer, **spec}), None, now=utc_now)
        with running(tmp_path_factory.mktemp("gateway"), change=lambda services: replace(services, sso=sso)) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> Json:
    """The document as it is served, to everybody."""
    answer = httpx2.get(f"{gateway.url}/admin/openapi.json", trust_env=False, timeout=60)
    found: Json = answer.json()
    return found


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Every operation with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_document_has_every_operation(document: Json) -> None:
    """Each operation has an id, a summary, a tag and an answer for problems; those of the API need a token."""
    assert document["openapi"].startswith("3.1")
    guarded = set()
    for path, _, operation in operations(document):
        assert operation["summary"]
        assert operation["tags"]
        assert "default" in operation["responses"]
        if "x-permission" in operation:
            guarded.add(operation["operationId"])
            assert operation["security"]
            assert path.startswith("/admin/v1/")
    assert guarded == set(OPERATIONS)


def contents(operation: Json) -> Iterator[tuple[str, Json]]:
    """Every body that an operation takes or answers, by the status or as `body`."""
    described = {"body": operation.get("requestBody", {}), **operation["responses"]}
    for what, body in described.items():
        for content in body.get("content", {}).values():
            yield what, content


def test_every_body_and_parameter_is_explained(document: Json) -> None:
    """What each operation takes and answers has an example, and each parameter says what it is."""
    schemas = document["components"]["schemas"]
    for _, _, operation in operations(document):
        for what, content in contents(operation):
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            assert "example" in content or schemas[name].get("examples"), (operation["operationId"], what)
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (operation["operationId"], parameter["name"])


def test_examples_fit_their_schemas(document: Json) -> None:
    """Each example is valid for its schema."""
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        root = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for example in schema.get("examples", ()):
            jsonschema_rs.Draft202012Validator(root).validate(example)


def test_documentation_page_loads_nothing(gateway: Gateway, document: Json) -> None:
    """The page shows every operation, runs no script and takes nothing from elsewhere."""
    answer = httpx2.get(f"{gateway.url}/admin/docs", trust_env=False, timeout=60)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert "src=" not in answer.text
    for _, _, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in answer.text


@pytest.fixture(scope="module")
def api(gateway: Gateway) -> Any:
    """What schemathesis makes requests from."""
    gateway.client().providers.create("base", ProviderSpec(kind="openai"))
    return schemathesis.openapi.from_url(f"{gateway.url}/admin/openapi.json")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """A client that keeps its connection."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


# The stream of events never ends; tests of its own look at it.
@pytest.mark.parametrize("operation", sorted({*OPERATIONS, *OPEN} - {"stream_events"}))
def test_nothing_made_from_the_document_breaks_the_gateway(api: Any, session: requests.Session, operation: str) -> None:
    """Whatever the document allows, and much that it does not, is answered as the document says, never with a 5xx."""
    described = api.find_operation_by_id(operation)
    asked = described.as_strategy()
    if described.body or described.query or described.headers:
        asked = one_of(asked, described.as_strategy(generation_mode=GenerationMode.NEGATIVE))

    @settings(max_examples=40, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=asked)
    def check(case: Any) -> None:
        answer = case.call(headers={"authorization": f"Bearer {TOKEN}"}, session=session, timeout=20)
        case.validate_response(answer, checks=CHECKS)

    check()
