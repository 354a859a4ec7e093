"""Metrics over OTLP of a real gateway, as a minimal receiver gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from paig_client.api.specs import ProviderSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.telemetry.metrics import genai
from paig_gateway.telemetry.metrics.families import FAMILIES, Family
from tests.gateway.telemetry.conftest import scrape, value
from tests.gateway.telemetry.otlp import Receiver, attributes, over_grpc, over_http, until
from tests.gateway.telemetry.test_traces import ask, traced

pytestmark = pytest.mark.anyio


def to(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """Settings that push metrics there."""
    return {"export_metrics": {"endpoint": receiver.url, **more}}


def shown(metric: Metric) -> list[str]:
    """What a metric is, then a line for each point, without what differs from run to run."""
    kind = metric.WhichOneof("data") or ""
    data = getattr(metric, kind)
    if kind != "gauge":
        assert data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    lines = [f"{kind} in {metric.unit or '1'}{', rising' if kind == 'sum' and data.is_monotonic else ''}"]
    for point in data.data_points:
        assert point.time_unix_nano > point.start_time_unix_nano
        assert (point.start_time_unix_nano == 0) == (kind == "gauge")
        named = " ".join(f"{key}={value}" for key, value in attributes(point).items() if key != "server.port")
        if kind == "histogram":
            assert sum(point.bucket_counts) == point.count
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
            amount = f"{point.count} of {'some time' if metric.unit == 's' else f'{point.sum:g}'}"
        else:
            amount = f"{getattr(point, point.WhichOneof('value')):g}"
        lines.append(f"{named}: {amount}".removeprefix(": "))
    return [lines[0], *sorted(lines[1:])]


async def test_the_metrics_of_a_request(environment: None, tmp_path: Path) -> None:
    """One streamed request, by the gateway's own names and by those of the conventions, in the last push of all."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            assert (await ask(world, stream=True)).status_code == 200
    found = {name: shown(metric) for name, metric in receiver.latest.items()}
    assert receiver.headers[0]["path"] == "/v1/metrics"
    assert found.pop("paig.price_book_age")[0] == "gauge in s"  # its value is of the moment
    assert {name: lines for name, lines in found.items() if not name.startswith("gen_ai")} == snapshot(
        {
            "paig.requests": [
                "sum in 1, rising",
                "route=openai provider=openai model=gpt-5 format=openai-chat status=200: 1",
            ],
            "paig.security_refusals": [
                "sum in 1, rising",
                *("kind=action: 0", "kind=key: 0", "kind=read: 0", "kind=token: 0"),
            ],
            "paig.attempts": ["sum in 1, rising", "provider=openai outcome=200: 1"],
            "paig.request": ["histogram in s", "provider=openai model=gpt-5: 1 of some time"],
            "paig.first_byte": ["histogram in s", "provider=openai model=gpt-5: 1 of some time"],
            "paig.gateway": ["histogram in s", "1 of some time"],
            "paig.tokens": [
                "sum in 1, rising",
                "provider=openai model=gpt-5 kind=input: 1",
                "provider=openai model=gpt-5 kind=output: 23",
            ],
            "paig.cost_dollars": ["sum in 1, rising", "provider=openai model=gpt-5 certainty=exact: 0.00023125"],
            "paig.project_cost_dollars": ["sum in 1, rising", "0.00023125"],
            "paig.requests_in_flight": ["sum in 1", "0"],
            "paig.reserved_dollars": ["sum in 1", "0"],
            "paig.retries_refused": ["sum in 1, rising", "route=openai: 0"],
            "paig.breaker_open": ["gauge in 1", "provider=anthropic: 0", "provider=down: 0", "provider=openai: 0"],
            "paig.ledger_up": ["gauge in 1", "1"],
            "paig.ledger_queue_depth": ["sum in 1", "0"],
            "paig.ledger_waiting": ["sum in 1", "0"],
            "paig.ledger_lag": ["gauge in s", "0"],
            "paig.ledger_dropped": ["sum in 1, rising", "0"],
            "paig.ledger_set_aside": ["sum in 1, rising", "0"],
            "paig.listener_dropped": ["sum in 1, rising", "0"],
            "paig.telemetry_queue_depth": ["sum in 1", "destination=metrics: 0"],
            "paig.telemetry_exported": ["sum in 1, rising", "destination=metrics: 0"],
            "paig.telemetry_dropped": [
                "sum in 1, rising",
                "destination=metrics reason=export: 0",
                "destination=metrics reason=queue: 0",
            ],
            "paig.info": ["gauge in 1", "version=0.2.0: 1"],
            "paig.workers": ["sum in 1", "1"],
        }
    )
    call = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-5"
    who = f"{call} gen_ai.response.model=gpt-5-2025-08-07"
    conventional = {
        name: [line.replace(f"{who} server.address=127.0.0.1", "CALLED").replace(who, "CALL") for line in lines]
        for name, lines in found.items()
        if name.startswith("gen_ai")
    }
    assert conventional == snapshot(
        {
            "gen_ai.client.inference.duration": ["histogram in s", "CALLED: 1 of some time"],
            "gen_ai.client.inference.time_to_first_chunk": ["histogram in s", "CALLED: 1 of some time"],
            "gen_ai.client.inference.usage.input_tokens": [
                "sum in {token}, rising",
                "CALLED gen_ai.token.modality=unknown: 1",
            ],
            "gen_ai.client.inference.usage.output_tokens": [
                "sum in {token}, rising",
                "CALLED gen_ai.token.modality=unknown: 23",
            ],
            "gen_ai.client.inference.usage.reasoning.output_tokens": [
                "sum in {token}, rising",
                "CALLED gen_ai.token.modality=unknown: 16",
            ],
            "gen_ai.client.inference.operation.input_tokens": ["histogram in {token}", "CALLED: 1 of 1"],
            "gen_ai.client.inference.operation.output_tokens": ["histogram in {token}", "CALLED: 1 of 23"],
            "gen_ai.server.request.duration": ["histogram in s", "CALL: 1 of some time"],
            "gen_ai.server.time_to_first_token": ["histogram in s", "CALL: 1 of some time"],
            "gen_ai.server.time_per_output_token": ["histogram in s", "CALL: 1 of some time"],
            "gen_ai.client.operation.duration": ["histogram in s", "CALLED: 1 of some time"],
            "gen_ai.client.operation.time_to_first_chunk": ["histogram in s", "CALLED: 1 of some time"],
            "gen_ai.client.token.usage": [
                "histogram in {token}",
                "CALLED gen_ai.token.type=input: 1 of 1",
                "CALLED gen_ai.token.type=output: 1 of 23",
            ],
        }
    )
    point = receiver.latest["gen_ai.client.inference.duration"].histogram.data_points[0]
    assert isinstance(attributes(point)["server.port"], int)
    assert [*point.explicit_bounds] == [
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    ]


async def test_scraped_and_pushed_are_the_same(environment: None, tmp_path: Path) -> None:
    """What `/metrics` shows and what is pushed are one table's numbers, buckets and all, by Prometheus' names."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            for route in ("openai", "fast", "down"):
                await ask(world, route)
            scraped = await scrape(world)
            while value(scraped, "paig_requests_in_flight"):
                scraped = await scrape(world)
    pushed = {}
    for metric in receiver.latest.values():
        if metric.name.startswith("gen_ai."):
            continue
        name = prometheus_name(metric)
        data = getattr(metric, metric.WhichOneof("data") or "")
        for point in data.data_points:
            labels = frozenset((key, str(value)) for key, value in attributes(point).items())
            if isinstance(data, type(metric.histogram)):
                pushed[f"{name}_sum", labels] = point.sum
                pushed[f"{name}_count", labels] = point.count
                rising = 0
                for bound, count in zip([*map(repr, point.explicit_bounds), "+Inf"], point.bucket_counts, strict=True):
                    rising += count
                    pushed[f"{name}_bucket", labels | {("le", bound)}] = rising
            else:
                pushed[name, labels] = getattr(point, point.WhichOneof("value") or "")
    plain = {(name, frozenset(label for label in labels if label[1])): each for (name, labels), each in scraped.items()}
    for name in ("paig_ledger_lag_seconds", "paig_ledger_queue_depth", "paig_price_book_age_seconds"):  # of the moment
        del pushed[name, frozenset()], plain[name, frozenset()]
    assert pushed == pytest.approx(plain)
    assert len(pushed) > 80


def prometheus_name(metric: Metric) -> str:
    """The name that Prometheus gives a metric that it gets over OTLP, by its documented rules."""
    name = metric.name.replace(".", "_")
    unit = {"s": "seconds", "": ""}[metric.unit]
    parts = [name, *([unit] if unit and not name.endswith(unit) else [])]
    return "_".join([*parts, *(["total"] if metric.HasField("sum") and metric.sum.is_monotonic else [])])


async def test_grpc_brings_metrics_every_so_often(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTLP over gRPC, with the token and headers of the settings, while the gateway runs."""
    monkeypatch.setenv("OTLP_TOKEN", "the-otlp-token")
    monkeypatch.setenv("TEAM", "the-team-key")
    secrets = {"to": "otlp-grpc", "token": "env:OTLP_TOKEN", "headers": {"X-Team": "env:TEAM"}}
    with over_grpc() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver, **secrets), export_metrics_seconds=1) as world:
            assert (await ask(world)).status_code == 200
            await until(lambda: "paig.requests" in receiver.latest)
    assert len(receiver.metrics) > 1
    assert receiver.headers[0]["authorization"] == "Bearer the-otlp-token"
    assert receiver.headers[0]["x-team"] == "the-team-key"


async def test_logfire_gets_metrics_by_its_write_token(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logfire wants the write token bare; `/metrics` need not be on for it."""
    monkeypatch.setenv("LOGFIRE_TOKEN", "pylf_v1_us_0123456789abcdefghij")
    with over_http() as receiver:
        settings = to(receiver, to="logfire", token="env:LOGFIRE_TOKEN")
        async with traced(tmp_path, Simulator(), **settings, metrics=False) as world:
            assert (await ask(world)).status_code == 200
            assert (await world.http.get("/metrics")).status_code == 404
    assert receiver.headers[0]["authorization"] == "pylf_v1_us_0123456789abcdefghij"
    assert "paig.requests" in receiver.latest


async def test_tries_embeddings_and_parts_of_tokens(environment: None, tmp_path: Path) -> None:
    """A try that failed has its error; embeddings are no inference; what a provider tells apart is told apart."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            assert (await ask(world, "fast")).status_code == 200
            assert (await ask(world, "openai", "[sim:status=429]")).status_code == 429
            headers = {"authorization": f"Bearer {world.key}"}
            body = {"model": "text-embedding-3-small", "input": "Hi"}
            assert (await world.http.post("/proxy/openai/embeddings", headers=headers, json=body)).status_code == 200
    tries = [
        (point.count, found.get("error.type"), found["gen_ai.operation.name"])
        for point in receiver.latest["gen_ai.client.operation.duration"].histogram.data_points
        for found in [attributes(point)]
    ]
    assert sorted(tries, key=str) == snapshot(
        [(1, "429", "chat"), (1, "upstream-unreachable", "chat"), (1, None, "chat"), (1, None, "embeddings")]
    )
    counted = {
        name: sum(point.count for point in metric.histogram.data_points)
        for name, metric in receiver.latest.items()
        if name.startswith("gen_ai.") and metric.HasField("histogram")
    }
    assert counted == snapshot(
        {
            "gen_ai.client.inference.duration": 3,
            "gen_ai.client.inference.operation.input_tokens": 1,
            "gen_ai.client.inference.operation.output_tokens": 1,
            "gen_ai.client.embeddings.duration": 1,
            "gen_ai.client.embeddings.operation.input_tokens": 1,
            "gen_ai.server.request.duration": 3,
            "gen_ai.client.operation.duration": 4,
            "gen_ai.client.token.usage": 3,
        }
    )


async def test_clients_cannot_invent_series(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of models, asked for and answering, there are so many at most; what comes later is `other`."""
    monkeypatch.setattr(genai, "MOST_MODELS", 3)
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            base = (await world.admin.providers.get("openai")).base_url or ""
            local = ProviderSpec(
                kind="openai-compatible", base_url=base.replace("openai", "compatible"), credential="value:c"
            )
            await world.admin.providers.create("local", local)
            for number in range(6):
                assert (await ask(world, "local", model=f"made-up-{number}")).status_code == 200
    points = receiver.latest["gen_ai.client.operation.duration"].histogram.data_points
    asked = {attributes(point).get("gen_ai.request.model") for point in points}
    assert asked == {"made-up-0", "made-up-1", "made-up-2", "other"}
    assert sum(point.count for point in points) == 6
    assert len({attributes(point).get("gen_ai.response.model") for point in points}) <= 5


async def test_the_environment_names_the_service(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` mean here what they mean everywhere."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-eu")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod, team=a%20b,nonsense")
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), export={"endpoint": receiver.url}, **to(receiver)) as world:
            assert (await ask(world)).status_code == 200
    for resource in (receiver.metrics[0].resource_metrics[0].resource, receiver.traces[0].resource_spans[0].resource):
        named = {attribute.key: attribute.value.string_value for attribute in resource.attributes}
        del named["service.version"], named["service.instance.id"]
        assert named == {"service.name": "gateway-eu", "deployment.environment.name": "prod", "team": "a b"}


@pytest.mark.parametrize("family", [family for family in FAMILIES.values() if family.scraped], ids=lambda f: f.name)
def test_prometheus_makes_the_scraped_name_of_the_pushed(family: Family) -> None:
    """A dashboard works alike with a Prometheus that scrapes and with one that is pushed to."""
    name, unit = family.over_otlp
    metric = Metric(name=name, unit=unit)
    if family.kind == "counter":
        metric.sum.is_monotonic = True
    assert prometheus_name(metric) == family.name
