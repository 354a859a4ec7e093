"""What goes out over OTLP is called what the semantic conventions call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes

from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.metrics.families import FAMILIES
from paig_gateway.telemetry.otlp.conventions import OPERATIONS, PROVIDERS, USAGE
from paig_gateway.telemetry.settings import TelemetrySpec
from tests.gateway.end_to_end.conftest import running_world, simulated_providers
from tests.gateway.telemetry.otlp import attributes, over_http
from tests.gateway.telemetry.test_secrets import requests

pytestmark = pytest.mark.anyio

SINCE = {
    "gen_ai.client.inference.duration",
    "gen_ai.client.inference.time_to_first_chunk",
    "gen_ai.client.inference.usage.input_tokens",
    "gen_ai.client.inference.usage.output_tokens",
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "gen_ai.client.inference.usage.cache_write.input_tokens",
    "gen_ai.client.inference.usage.reasoning.output_tokens",
    "gen_ai.client.inference.operation.input_tokens",
    "gen_ai.client.inference.operation.output_tokens",
    "gen_ai.client.embeddings.duration",
    "gen_ai.client.embeddings.operation.input_tokens",
    "gen_ai.token.modality",
    "gen_ai.usage.cache_write.input_tokens",
    *(
        f"gen_ai.usage.{kind}.{part}"
        for kind in ("text", "image", "audio")
        for part in ("input_tokens", "output_tokens", "cache_read.input_tokens")
    ),
}
"""Names of the conventions' release 0.1.0 for generative AI, which the installed package is too old to know."""


_MODULES = (gen_ai_attributes, gen_ai_metrics, error_attributes, http_attributes, server_attributes, url_attributes)
KNOWN = SINCE | {value for module in _MODULES for value in vars(module).values() if isinstance(value, str)}


def test_conventional_names_are_the_conventions() -> None:
    """Every `gen_ai.*` name of a metric, its labels and a span's usage is in the conventions, and so is every value."""
    families = [family for family in FAMILIES.values() if not family.scraped]
    used = {name for family in families for name in (family.name, *family.labels)}
    used |= {name for names in USAGE.values() for name in names}
    assert used - KNOWN == set()
    operations = {value.value for value in gen_ai_attributes.GenAiOperationNameValues} | {"fetch_response"}
    assert set(OPERATIONS.values()) <= operations
    assert set(PROVIDERS.values()) <= {v.value for v in gen_ai_attributes.GenAiProviderNameValues} | {"moonshot_ai"}


OWN = {
    *("paig.request_id", "paig.route", "paig.format", "paig.key", "paig.project", "paig.user", "paig.run"),
    *("paig.cost", "paig.certainty", "paig.attempts", "paig.gateway_seconds"),
    *("paig.provider", "paig.attempt", "paig.credential", "operation.cost"),
}
"""What the conventions have no name for."""


async def test_spans_are_the_conventions(environment: None, tmp_path: Path) -> None:
    """Over many formats, good and failing: no name of its own making, and all that the conventions require."""
    with over_http() as receiver:
        telemetry = TelemetrySpec.model_validate({"export": {"endpoint": receiver.url}, "content": True})
        async with (
            running_simulator() as base,
            running_world(tmp_path, simulated_providers(base), telemetry=telemetry) as world,
        ):
            for path, body in requests():
                if "sim:reset" not in json.dumps(body) and "sim:disconnect" not in json.dumps(body):
                    headers = {"authorization": f"Bearer {world.key}"}
                    await world.http.post(f"/proxy{path}", headers=headers, json=body)
    operations, providers = set(), set()
    for span in receiver.spans:
        found = attributes(span)
        assert set(found) - KNOWN - OWN == set()
        if span.kind == Span.SPAN_KIND_SERVER:
            assert {"http.request.method", "url.path", "url.scheme", "http.route"} <= set(found)
            continue
        assert span.name == f"{found['gen_ai.operation.name']} {found.get('gen_ai.request.model', '')}".rstrip()
        assert ("server.address" in found) == ("server.port" in found)
        assert ("error.type" in found) == (found.get("http.response.status_code", 500) >= 400)
        operations.add(found["gen_ai.operation.name"])
        providers.add(found["gen_ai.provider.name"])
        for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
            for message in json.loads(found.get(name, "[]")):
                assert set(message) == {"role", "parts"}
                assert all(part["content"] for part in message["parts"] if part["type"] == "text")
    assert operations == {"chat", "embeddings", "generate_content"}
    assert providers >= {"openai", "anthropic", "gcp.gemini", "gcp.vertex_ai", "groq", "aws.bedrock", "mistral_ai"}
