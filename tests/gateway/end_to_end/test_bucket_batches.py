"""Batches of Vertex AI and Bedrock: requests and results are in buckets, which the gateway reads itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import boto3
import httpx2
import pytest
from anyio import to_thread
from botocore.config import Config
from google import genai
from google.genai import types as gemini
from google.oauth2.credentials import Credentials

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import PriceSpec, ProviderSpec
from paig_gateway.proxy import batches
from paig_gateway.simulator import bucket_batches
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import Time, World, running_world
from tests.gateway.end_to_end.test_batches import Client, client_of, jsonl
from tests.gateway.end_to_end.test_uploads import resident
from tests.gateway.end_to_end.test_upstream_auth import service_account
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

Provider = tuple[Simulator, World, Time]
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
JOBS = "/v1/projects/p/locations/us-central1/batchPredictionJobs"
GEMINI = "publishers/google/models/gemini-2.5-flash"
CLAUDE = "publishers/anthropic/models/claude-sonnet-4-5"
NOVA = "amazon.nova-lite-v1:0"


def providers(base: str) -> dict[str, ProviderSpec]:
    """The simulator's Vertex AI and Bedrock, with accounts that can read its buckets."""
    return {
        "google-vertex": ProviderSpec(
            kind="google-vertex", base_url=f"{base}/vertex", credential=f"value:{service_account(base)}", project="p",
            location="us-central1", token_url=f"{base}/vertex/token", storage_url=f"{base}/storage",
        ),
        "bedrock": ProviderSpec(
            kind="bedrock", base_url=f"{base}/bedrock", credential=f"value:AKIAIOSFODNN7EXAMPLE:{SECRET}",
            storage_url=f"{base}/s3",
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
async def provider(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    """The simulator's Vertex AI, Bedrock and buckets, and a gateway whose clock can be put forward."""
    simulator, time = Simulator(aws_secrets={"AKIAIOSFODNN7EXAMPLE": SECRET}), Time()
    async with running_simulator(simulator) as base:
        by_key = ProviderSpec(
            kind="bedrock", base_url=f"{base}/bedrock", credential="value:an-api-key", storage_url=f"{base}/s3"
        )
        specs = {**providers(base), "bedrock-key": by_key, "bedrock-flat": by_key}
        async with running_world(tmp_path_factory.mktemp("home"), specs, time=time) as running:
            yield simulator, running, time


def asked(prompt: str = "Hi", **more: object) -> dict[str, Any]:
    """A line for Gemini at Vertex AI."""
    contents = [{"role": "user", "parts": [{"text": prompt}]}]
    return {"request": {"contents": contents, "generationConfig": {"maxOutputTokens": 50}}, **more}


def vertex_job(uri: str, model: str = GEMINI, destination: str = "gs://results/out") -> dict[str, Any]:
    """The body that makes a job."""
    return {
        "displayName": "nightly",
        "model": model,
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [uri]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": destination}},
    }


async def vertex(provider: Provider, name: str, lines: Sequence[object], **more: object) -> tuple[Client, str]:
    """A client and the URI of an object with those lines."""
    simulator, world, _ = provider
    uri = f"gs://requests/{name}.jsonl"
    simulator.buckets.put(uri, jsonl(lines))
    return await client_of(world, name, "/proxy/google-vertex", **more), uri


async def finished(client: Client, path: str, ends: Sequence[str]) -> dict[str, Any]:
    """Poll a job until it has ended."""
    for _ in range(20):
        found: dict[str, Any] = (await client.get(path)).json()
        if found.get("state", found.get("status")) in ends:
            return found
    raise AssertionError(f"the job did not end: {found}")


async def test_vertex_holds_once_and_charges_each_line(provider: Provider) -> None:
    """Failures cost nothing; answers cost half; a second look adds nothing."""
    simulator, world, _ = provider
    lines = [asked("Hi [sim:status=400]" if number % 5 == 0 else f"Hi {number}") for number in range(20)]
    client, uri = await vertex(provider, "v-lines", lines)
    made = await client.post(JOBS, json=vertex_job(uri))
    assert made.status_code == 200, made.text
    held = await client.limit()
    assert Decimal(held.held) > 0 == Decimal(held.spent)
    open_row = await world.admin.request(made.headers["x-paig-request-id"])
    assert (open_row.state, open_row.model, open_row.format) == ("open", "gemini-2.5-flash", "vertex-batch")
    path = f"{JOBS}/{made.json()['name'].rpartition('/')[2]}"
    await finished(client, path, ["JOB_STATE_SUCCEEDED"])
    rows = await client.charged()
    await client.get(path)
    assert len(await client.charged()) == len(rows) == 20
    assert sorted(int(row.tags["custom_id"]) for row in rows) == list(range(20))
    assert Counter((row.certainty, row.error) for row in rows) == {("exact", None): 16, ("exact", "Bad Request"): 4}
    answered = next(row for row in rows if not row.error)
    assert answered.usage is not None
    assert (answered.price or "").startswith("google/gemini-2.5-flash;")
    assert "processing=batch" in (answered.price or "")
    assert all(Decimal(row.cost) == 0 for row in rows if row.error)
    assert 0 < sum(Decimal(row.cost) for row in rows) < Decimal(held.held)
    own = await world.admin.request(made.headers["x-paig-request-id"])
    assert (own.state, Decimal(own.cost), own.certainty) == ("settled", 0, "exact")
    storage = [one for one in simulator.requests if one.path.startswith("/storage/")]
    assert all((one.header("authorization") or "").startswith("Bearer ya29.") for one in storage)


async def test_google_genai_at_vertex(provider: Provider) -> None:
    """The SDK makes a batch of an object, and finds where its results are."""
    _, world, _ = provider
    client, uri = await vertex(provider, "v-sdk", [asked("Hi", key="first"), asked("Ho", key="second")])
    login = Credentials(token=client.headers["authorization"].removeprefix("Bearer "))  # type: ignore[no-untyped-call]
    options = gemini.HttpOptions(base_url=f"{world.origin}/proxy/google-vertex")
    sdk = genai.Client(vertexai=True, project="p", location="us-central1", credentials=login, http_options=options)
    try:
        config = gemini.CreateBatchJobConfig(dest="gs://results/sdk")
        batch = await sdk.aio.batches.create(model="gemini-2.5-flash", src=uri, config=config)
        assert batch.name is not None
        while batch.state != gemini.JobState.JOB_STATE_SUCCEEDED:
            batch = await sdk.aio.batches.get(name=batch.name or "")
    finally:
        await sdk.aio.aclose()
        sdk.close()
    rows = await client.charged()
    assert {(row.tags["custom_id"], row.certainty) for row in rows} == {("first", "exact"), ("second", "exact")}
    assert all(Decimal(row.cost) > 0 for row in rows)


async def test_claude_at_vertex(provider: Provider) -> None:
    """Lines have Anthropic's shape, and are told by their `custom_id`."""
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 50}
    lines = [
        {"custom_id": id, "request": {**body, "messages": [{"role": "user", "content": prompt}]}}
        for id, prompt in (("good", "Hi"), ("bad", "Hi [sim:status=400]"))
    ]
    client, uri = await vertex(provider, "v-claude", lines)
    made = await client.post(JOBS, json=vertex_job(uri, CLAUDE))
    assert made.status_code == 200, made.text
    await finished(client, f"{JOBS}/{made.json()['name'].rpartition('/')[2]}", ["JOB_STATE_SUCCEEDED"])
    rows = {row.tags["custom_id"]: row for row in await client.charged()}
    assert (Decimal(rows["bad"].cost), rows["bad"].status) == (0, 400)
    assert (rows["good"].format, rows["good"].certainty) == ("anthropic", "exact")
    assert "processing=batch" in (rows["good"].price or "")


@pytest.mark.parametrize("way", ["expire", "cancel"])
async def test_what_vertex_did_not_do_costs_nothing(provider: Provider, way: str) -> None:
    """Of a job that expired or was cancelled, what was done is charged."""
    late = "Hi [batch:expire]" if way == "expire" else "Hi [batch:looks=9]"
    client, uri = await vertex(provider, f"v-{way}", [asked("Hi"), asked("Ho"), asked(late), asked(late)])
    made = await client.post(JOBS, json=vertex_job(uri))
    path = f"{JOBS}/{made.json()['name'].rpartition('/')[2]}"
    if way == "cancel":
        assert (await client.post(f"{path}:cancel")).status_code == 200
    await finished(client, path, ["JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED"])
    rows = await client.charged()
    assert Counter(Decimal(row.cost) > 0 for row in rows) == {True: 2, False: 2}


async def test_nobody_polls_vertex(provider: Provider) -> None:
    """The gateway looks itself, and reads the results."""
    _, _, time = provider
    client, uri = await vertex(provider, "v-silent", [asked("Hi [batch:looks=0]")])
    assert (await client.post(JOBS, json=vertex_job(uri))).status_code == 200
    time.later(301)
    assert [row.certainty for row in await client.charged()] == ["exact"]


@pytest.mark.parametrize(("kind", "lines"), [("vertex", 2), ("bedrock", 2)])
async def test_results_that_cannot_be_read_cost_the_most_that_they_could(
    provider: Provider, kind: str, lines: int
) -> None:
    """The results were deleted from the bucket: after the provider's lifetime each line is at its ceiling."""
    simulator, world, time = provider
    name = f"lost-{kind}"
    if kind == "vertex":
        client, uri = await vertex(provider, name, [asked("Hi")] * lines)
        made = await client.post(JOBS, json=vertex_job(uri, destination="gs://results/lost"))
    else:
        client, uri = await bedrock(provider, name, [record(str(number)) for number in range(lines)])
        made = await client.post("/model-invocation-job", json=bedrock_job(uri, destination="s3://results/lost"))
    held = Decimal((await client.limit()).held)
    assert made.status_code == 200, made.text
    # The provider's own clients see it end, and somebody clears the bucket before the gateway has looked.
    await end_elsewhere(provider, kind, made.json())
    for found in simulator.buckets.names("gs://results/lost") + simulator.buckets.names("s3://results/lost"):
        simulator.buckets.remove(found)
    time.later(15 * 86_400)
    await until_settled(world, made)
    rows = [row for row in await client.rows() if "custom_id" in row.tags]
    assert [(row.certainty, row.error) for row in rows] == [("ceiling", "no-result")] * lines
    assert sum(Decimal(row.cost) for row in rows) == held


async def until_settled(world: World, made: httpx2.Response) -> None:
    """Wait until the batch that an answer names is settled."""

    async def settled() -> bool:
        return (await world.admin.request(made.headers["x-paig-request-id"])).state == "settled"

    await until(settled)


async def end_elsewhere(provider: Provider, kind: str, made: dict[str, Any]) -> None:
    """Poll a job past the gateway until it has ended."""
    _, world, _ = provider
    base = (await world.admin.providers.get("google-vertex" if kind == "vertex" else "bedrock-key")).base_url
    path = f"{JOBS}/{made['name'].rpartition('/')[2]}" if kind == "vertex" else arn_path(made)
    async with httpx2.AsyncClient(headers={"authorization": "Bearer any"}) as direct:
        for _ in range(3):
            found = (await direct.get(f"{base}{path}")).json()
    assert found.get("state", found.get("status")) in ("JOB_STATE_SUCCEEDED", "Completed", "Stopped")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"uri": "gs://forbidden-bucket/in.jsonl"}, "storage.objects.get"),
        ({"uri": "gs://requests/nothing-there.jsonl"}, "404"),
        ({"uri": "gs://requests/../in.jsonl"}, "not the name of an object"),
        ({"uri": "s3://requests/in.jsonl"}, "gs://BUCKET/NAME"),
        ({"uri": "gs://REQUESTS#@host/in.jsonl"}, "gs://BUCKET/NAME"),
        ({"destination": "gs://forbidden-results/out"}, "forbidden-results"),
        ({"bigquery": True}, "names no JSONL in a bucket"),
    ],
)
async def test_a_source_that_cannot_be_read_refuses_the_job(
    provider: Provider, change: dict[str, Any], says: str
) -> None:
    """The refusal says what is needed, and nothing is sent."""
    simulator, world, _ = provider
    client, uri = await vertex(provider, f"v-no-{abs(hash(str(change)))}", [asked()])
    body = vertex_job(**{"uri": uri, **{name: value for name, value in change.items() if name != "bigquery"}})
    if "bigquery" in change:
        body["inputConfig"] = {"instancesFormat": "bigquery", "bigquerySource": {"inputUri": "bq://p.d.t"}}
    before = len(simulator.requests)
    refused = await client.post(JOBS, json=body)
    assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "no-price"), refused.text
    message = refused.json()["error"]["message"]
    assert says in message
    assert "allow_unmetered = true" in message
    assert 'model = "POST /batchPredictionJobs"' in message
    assert not any(one.path.endswith("batchPredictionJobs") for one in simulator.requests[before:])
    assert Decimal((await client.limit()).held) == 0
    assert world.key not in message


async def test_nothing_of_another_owners_object_is_told(provider: Provider) -> None:
    """An object that is no batch is named, its content is not."""
    simulator, _, _ = provider
    client, _ = await vertex(provider, "v-secret", [])
    simulator.buckets.put("gs://requests/secret.jsonl", b'{"password": "hunter2", "custom_id": "hunter2"}\n')
    refused = await client.post(JOBS, json=vertex_job("gs://requests/secret.jsonl"))
    assert refused.headers["x-paig-error"] == "no-price"
    assert "hunter2" not in refused.text
    row = await provider[1].admin.request(refused.headers["x-paig-request-id"])
    assert "hunter2" not in row.model_dump_json()


async def test_a_line_cannot_name_another_model(provider: Provider) -> None:
    """The job's model is charged, so a line that names a cheaper one is not read."""
    line = asked()
    line["request"]["model"] = "publishers/google/models/gemini-2.5-flash-lite"
    client, uri = await vertex(provider, "v-model", [line])
    refused = await client.post(JOBS, json=vertex_job(uri))
    assert refused.headers["x-paig-error"] == "no-price"


@pytest.mark.parametrize("kind", ["vertex", "bedrock"])
async def test_a_cap_that_is_too_small_refuses_the_whole(provider: Provider, kind: str) -> None:
    """Nothing is dispatched; a key's models count too."""
    simulator, _, _ = provider
    poor = {"limits": LimitsSpec(daily=Decimal("0.0001"))}
    if kind == "vertex":
        client, uri = await vertex(provider, "v-poor", [asked()] * 20, **poor)
        other, _ = await vertex(provider, "v-other", [], models=["gemini-2.5-pro"])
        path, body = JOBS, vertex_job(uri)
    else:
        client, uri = await bedrock(provider, "b-poor", [record(str(number)) for number in range(200)], **poor)
        other, _ = await bedrock(provider, "b-other", [], models=["gemini-2.5-pro"])
        path, body = "/model-invocation-job", bedrock_job(uri)
    before = len(simulator.requests)
    refused = await client.post(path, json=body)
    assert refused.headers["x-paig-error"] == "limit-too-small", refused.text
    assert (await other.post(path, json=body)).headers["x-paig-error"] == "model-not-allowed"
    assert not any(one.method == "POST" and one.path.endswith(path) for one in simulator.requests[before:])


async def test_a_flat_price_for_what_cannot_be_read(provider: Provider) -> None:
    """A job whose objects cannot be read is charged at the operator's price."""
    simulator, world, _ = provider
    title = "POST /model-invocation-job"
    flat = {"model": title, "provider": "bedrock-flat", "requests_kcount": "500"}
    await world.admin.prices.create(f"bedrock-flat {title}", PriceSpec.model_validate(flat))
    simulator.buckets.put("s3://requests/b-flat.jsonl", jsonl([record("a")]))
    client = await client_of(world, "b-flat", "/proxy/bedrock-flat")
    made = await client.post("/model-invocation-job", json=bedrock_job("s3://requests/b-flat.jsonl"))
    assert made.status_code == 200, made.text
    await until_settled(world, made)
    row = await world.admin.request(made.headers["x-paig-request-id"])
    assert (Decimal(row.cost), row.certainty) == (Decimal("0.5"), "exact")
    assert (await client.get(arn_path(made.json()))).status_code == 200


async def test_a_repeated_token_at_a_flat_price(provider: Provider) -> None:
    """The provider makes no second job, so the price is charged once, also if both requests come at once."""
    simulator, world, _ = provider
    title = "POST /model-invocation-job"
    flat = {"model": title, "provider": "bedrock-twice", "requests_kcount": "500"}
    await world.admin.providers.create("bedrock-twice", (await spec_of(world, "bedrock-flat")))
    await world.admin.prices.create(f"bedrock-twice {title}", PriceSpec.model_validate(flat))
    simulator.buckets.put("s3://requests/b-twice.jsonl", jsonl([record("a")]))
    client = await client_of(world, "b-twice", "/proxy/bedrock-twice")
    job = {**bedrock_job("s3://requests/b-twice.jsonl"), "clientRequestToken": "token-b-twice"}
    made = await asyncio.gather(*(client.post("/model-invocation-job", json=job) for _ in range(3)))
    made.append(await client.post("/model-invocation-job", json=job))
    assert len({one.json()["jobArn"] for one in made}) == 1

    async def settled() -> bool:
        return Decimal((await client.limit()).held) == 0 < Decimal((await client.limit()).spent)

    await until(settled)
    costs = [Decimal((await world.admin.request(one.headers["x-paig-request-id"])).cost) for one in made]
    assert sorted(costs) == [0, 0, 0, Decimal("0.5")]
    assert Decimal((await client.limit()).spent) == Decimal("0.5")


async def spec_of(world: World, name: str) -> ProviderSpec:
    """The settings of a provider, with its credential."""
    base = (await world.admin.providers.get(name)).base_url
    return ProviderSpec(kind="bedrock", base_url=base, credential="value:an-api-key")


@pytest.mark.parametrize("statistics", ["none", "never began"])
async def test_a_cancelled_vertex_job_without_statistics(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, statistics: str
) -> None:
    """Without counts and results, each line may have cost; not so if the job never ran."""
    simulator, world, time = provider
    shown = bucket_batches._vertex_shown
    hidden = {"completionStats"} | ({"startTime"} if statistics == "never began" else set())
    monkeypatch.setattr(
        bucket_batches,
        "_vertex_shown",
        lambda batch: {name: value for name, value in shown(batch).items() if name not in hidden},
    )
    folder = f"gs://results/{statistics.replace(' ', '-')}"
    client, uri = await vertex(provider, f"v-{statistics[-5:]}", [asked("Hi [batch:looks=9]")] * 4)
    made = await client.post(JOBS, json=vertex_job(uri, destination=folder))
    held = Decimal((await client.limit()).held)
    base = (await world.admin.providers.get("google-vertex")).base_url
    path = f"{base}{JOBS}/{made.json()['name'].rpartition('/')[2]}"
    async with httpx2.AsyncClient(headers={"authorization": "Bearer any"}) as direct:
        await direct.post(f"{path}:cancel")
        assert (await direct.get(path)).json()["state"] == "JOB_STATE_CANCELLED"
    for found in simulator.buckets.names(folder):
        simulator.buckets.remove(found)
    time.later(15 * 86_400)
    await until_settled(world, made)
    rows = [row for row in await client.rows() if "custom_id" in row.tags]
    certainty, cost = ("ceiling", held) if statistics == "none" else ("exact", Decimal(0))
    assert [row.certainty for row in rows] == [certainty] * 4
    assert sum(Decimal(row.cost) for row in rows) == cost


async def test_two_tenants_have_their_own_jobs(provider: Provider) -> None:
    """Another key's job is not there."""
    mine, uri = await vertex(provider, "v-mine", [asked()])
    other, _ = await vertex(provider, "v-theirs", [])
    made = await mine.post(JOBS, json=vertex_job(uri))
    path = f"{JOBS}/{made.json()['name'].rpartition('/')[2]}"
    assert (await other.get(path)).headers["x-paig-error"] == "not-found"
    await finished(mine, path, ["JOB_STATE_SUCCEEDED"])
    await mine.charged()


async def test_a_key_with_allow_unmetered_passes_what_cannot_be_read(provider: Provider) -> None:
    """Nothing is held; the provider itself judges the source."""
    client, _ = await vertex(provider, "v-open", [], allow_unmetered=True)
    refused = await client.post(JOBS, json=vertex_job("gs://forbidden-bucket/in.jsonl"))
    assert (refused.status_code, refused.headers.get("x-paig-error")) == (403, None)
    assert Decimal((await client.limit()).held) == 0


# Bedrock


def record(id: str, prompt: str = "Hi", **more: object) -> dict[str, Any]:
    """A line for Nova at Bedrock."""
    messages = [{"role": "user", "content": [{"text": prompt}]}]
    return {"recordId": id, "modelInput": {"messages": messages, "inferenceConfig": {"maxTokens": 50}}, **more}


def bedrock_job(uri: str, model: str = NOVA, destination: str = "s3://results/out/") -> dict[str, Any]:
    """The body that makes a job."""
    return {
        "jobName": "nightly",
        "roleArn": "arn:aws:iam::123456789012:role/batch",
        "modelId": model,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": destination}},
    }


def arn_path(made: dict[str, Any]) -> str:
    """The path of a job."""
    return f"/model-invocation-job/{made['jobArn'].replace(':', '%3A').replace('/', '%2F')}"


async def bedrock(provider: Provider, name: str, lines: Sequence[object], **more: object) -> tuple[Client, str]:
    """A client and the URI of an object with those lines."""
    simulator, world, _ = provider
    uri = f"s3://requests/{name}.jsonl"
    simulator.buckets.put(uri, jsonl(lines))
    return await client_of(world, name, "/proxy/bedrock", **more), uri


@pytest.mark.parametrize("converse", [False, True])
async def test_boto3_at_bedrock(provider: Provider, converse: bool) -> None:
    """The SDK makes a job of a folder, waits for it; failures cost nothing, a second look adds nothing."""
    simulator, world, _ = provider
    name = f"b-sdk-{converse}"
    client, _ = await bedrock(provider, name, [])
    for part in (0, 1):
        lines = [record(f"r-{part}-{number}", "Hi [sim:status=400]" if number == 0 else "Hi") for number in range(4)]
        simulator.buckets.put(f"s3://requests/{name}/{part}.jsonl", jsonl(lines))
    sdk = boto3.client(
        "bedrock", region_name="us-east-1", endpoint_url=f"{world.origin}/proxy/bedrock",
        aws_access_key_id=client.headers["authorization"].removeprefix("Bearer "), aws_secret_access_key="unused",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    job: dict[str, Any] = {**bedrock_job(f"s3://requests/{name}/"), "clientRequestToken": f"token-{name}"}
    if converse:
        job["modelInvocationType"] = "Converse"
    try:
        made = await to_thread.run_sync(lambda: sdk.create_model_invocation_job(**job))
        again = await to_thread.run_sync(lambda: sdk.create_model_invocation_job(**job))
        assert made["jobArn"] == again["jobArn"]
        status = ""
        while status != "Completed":
            shown = await to_thread.run_sync(lambda: sdk.get_model_invocation_job(jobIdentifier=made["jobArn"]))
            status = shown["status"]
    finally:
        sdk.close()
    rows = await client.charged()
    await client.get(arn_path(made))
    assert len(await client.charged()) == len(rows) == 8
    assert Counter((row.certainty, row.error) for row in rows) == {("exact", None): 6, ("exact", "400"): 2}
    assert {row.format for row in rows} == {"bedrock-converse" if converse else "bedrock-invoke"}
    assert all((Decimal(row.cost) == 0) == bool(row.error) for row in rows)
    assert all("processing=batch" in (row.price or "") for row in rows if not row.error)
    assert any(one.path.startswith("/s3/requests") for one in simulator.requests)


async def test_a_job_that_was_stopped(provider: Provider) -> None:
    """What was done is charged."""
    client, uri = await bedrock(provider, "b-stop", [record(str(number), "Hi [batch:looks=9]") for number in range(4)])
    made = (await client.post("/model-invocation-job", json=bedrock_job(uri))).json()
    assert (await client.post(f"{arn_path(made)}/stop")).status_code == 200
    await finished(client, arn_path(made), ["Stopped"])
    rows = await client.charged()
    assert Counter(Decimal(row.cost) > 0 for row in rows) == {True: 2, False: 2}


async def test_a_job_by_its_short_id(provider: Provider) -> None:
    """Bedrock takes the end of a job's ARN for it; another key's job is not there by either name."""
    client, uri = await bedrock(provider, "b-short", [record("a", "Hi [batch:looks=0]")])
    other, _ = await bedrock(provider, "b-short-other", [])
    made = (await client.post("/model-invocation-job", json=bedrock_job(uri))).json()
    short = f"/model-invocation-job/{made['jobArn'].rpartition('/')[2]}"
    assert (await other.get(short)).headers["x-paig-error"] == "not-found"
    assert (await other.post(f"{short}/stop")).headers["x-paig-error"] == "not-found"
    assert (await finished(client, short, ["Completed"]))["jobArn"] == made["jobArn"]
    assert [row.tags["batch"] for row in await client.charged()] == [made["jobArn"]]


async def test_a_key_reads_few_batches_at_a_time(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its third one waits and another key's is read; what takes too long is refused, and who has left is not served."""
    _, world, _ = provider
    begun: asyncio.Queue[str] = asyncio.Queue()
    go_on = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        begun.put_nowait(head.decode().partition("%2F")[2].partition("&")[0].partition(" ")[0])
        await go_on.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        storage = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        base = (await world.admin.providers.get("google-vertex")).base_url.removesuffix("/vertex")
        spec = providers(base)["google-vertex"].model_copy(update={"storage_url": storage})
        await world.admin.providers.create("slow", spec)
        mine, other = [await client_of(world, f"v-slow-{name}", "/proxy/slow") for name in "ab"]

        def create(client: Client, name: str) -> asyncio.Task[httpx2.Response]:
            job = vertex_job("gs://requests/slow.jsonl", destination=f"gs://results/out/{name}")
            return asyncio.create_task(client.post(JOBS, json=job))

        reading = [create(mine, f"mine-{number}") for number in range(4)]
        first = {await begun.get(), await begun.get()}
        monkeypatch.setattr(batches, "READ_SECONDS", 0.01)
        late = await create(other, "other")
        assert late.headers["x-paig-error"] == "no-price", late.text
        assert "could not be read within" in late.text
        assert (await begun.get()).startswith("other")
        assert begun.empty()
        monkeypatch.undo()
        assert len(first) == 2
        go_on.set()
        assert {(await one).headers["x-paig-error"] for one in reading} == {"no-price"}


async def test_a_repeated_token_after_the_charge(provider: Provider) -> None:
    """The provider makes no second job, so nothing is held or charged again."""
    client, uri = await bedrock(provider, "b-again", [record("a", "Hi [batch:looks=0]")])
    job = {**bedrock_job(uri), "clientRequestToken": "token-b-again"}
    made = (await client.post("/model-invocation-job", json=job)).json()
    await finished(client, arn_path(made), ["Completed"])
    [row] = await client.charged()
    assert (await client.post("/model-invocation-job", json=job)).json() == made
    await client.get(arn_path(made))
    assert [again.id for again in await client.charged()] == [row.id]
    assert Decimal((await client.limit()).spent) == Decimal(row.cost)


async def test_a_stopped_job_with_lost_results(provider: Provider) -> None:
    """A result that the provider has counted and that is gone costs the most that it could; the rest was not done."""
    simulator, world, time = provider
    client, uri = await bedrock(provider, "b-lost", [record(str(number), "Hi [batch:looks=9]") for number in range(4)])
    made = await client.post("/model-invocation-job", json=bedrock_job(uri, destination="s3://results/part"))
    path = arn_path(made.json())
    assert (await client.post(f"{path}/stop")).status_code == 200
    await end_elsewhere(provider, "bedrock", made.json())
    [results] = [one for one in simulator.buckets.names("s3://results/part") if "manifest" not in one]
    simulator.buckets.put(results, simulator.buckets.get(results).splitlines()[0])
    time.later(15 * 86_400)
    await until_settled(world, made)
    rows = [row for row in await client.rows() if "custom_id" in row.tags]
    assert Counter((row.certainty, Decimal(row.cost) > 0) for row in rows) == {
        ("exact", True): 1, ("ceiling", True): 1, ("exact", False): 2,
    }  # fmt: skip


async def test_nobody_polls_bedrock(provider: Provider) -> None:
    """The gateway looks itself, and reads the results."""
    _, _, time = provider
    client, uri = await bedrock(provider, "b-silent", [record("a", "Hi [batch:looks=0]")])
    assert (await client.post("/model-invocation-job", json=bedrock_job(uri))).status_code == 200
    time.later(301)
    assert [row.tags["custom_id"] for row in await client.charged()] == ["a"]


@pytest.mark.parametrize(
    ("uri", "path", "says"),
    [
        ("s3://forbidden-bucket/in.jsonl", "/proxy/bedrock", "s3:GetObject"),
        ("s3://requests/b-no.jsonl", "/proxy/bedrock-key", "API key"),
    ],
)
async def test_a_source_that_bedrocks_account_cannot_read(provider: Provider, uri: str, path: str, says: str) -> None:
    """Without the right to read, or with an API key of Bedrock, the job is refused."""
    _, world, _ = provider
    await bedrock(provider, f"b-no-{path[-3:]}", [record("a")])
    client = await client_of(world, f"b-refused-{path[-3:]}", path)
    refused = await client.post("/model-invocation-job", json=bedrock_job(uri))
    assert refused.headers["x-paig-error"] == "no-price", refused.text
    assert says in refused.text


@asynccontextmanager
async def large_object(content: bytes, times: int) -> AsyncIterator[str]:
    """A storage with one object, which is written as fast as it is read, and with empty folders."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        piece, count = (content, times) if b"alt=media" in head else (b"{}", 1)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())


@pytest.mark.slow
async def test_a_large_object_is_read_with_flat_memory(provider: Provider) -> None:
    """An object of 300 MB, in lines of 1 MB: the gateway keeps a few of them."""
    _, world, _ = provider
    piece = jsonl([asked("word " * 200_000)])
    async with large_object(piece, 300) as storage:
        base = (await world.admin.providers.get("google-vertex")).base_url.removesuffix("/vertex")
        spec = providers(base)["google-vertex"].model_copy(update={"storage_url": storage})
        await world.admin.providers.create("large", spec)
        client = await client_of(world, "v-large", "/proxy/large", limits=LimitsSpec(daily=Decimal("0.01")))
        most, before = 0, resident()

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, resident())
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        try:
            # Far more than the cap: the object is read to its end, and nothing is sent.
            refused = await client.post(JOBS, json=vertex_job("gs://requests/large.jsonl"), timeout=120)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert refused.headers.get("x-paig-error") == "limit-too-small", refused.text
    assert most - before < 64 * 2**20
