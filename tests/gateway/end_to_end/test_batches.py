"""Batches: one hold when a batch is created, and one row for each line when its results arrive."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types as gemini

from paig_client.api.limits import LimitsSpec
from paig_client.api.resources import LimitStatus, Request
from paig_client.api.specs import KeySpec, ProviderSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import Time, World, running_world
from tests.gateway.end_to_end.processes import every_row
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

Provider = tuple[Simulator, World, Time]


@pytest.fixture(scope="module")
async def provider(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    """The simulator's OpenAI, Anthropic and Gemini, and a gateway whose clock can be put forward."""
    simulator, time = Simulator(), Time()
    async with running_simulator(simulator) as base:
        specs = {
            "openai": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:a"),
            "anthropic": ProviderSpec(kind="anthropic", base_url=f"{base}/anthropic", credential="value:b"),
            "google": ProviderSpec(kind="google", base_url=f"{base}/google", credential="value:c"),
            "groq": ProviderSpec(kind="groq", base_url=f"{base}/groq/openai/v1", credential="value:d"),
            "mistral": ProviderSpec(kind="mistral", base_url=f"{base}/mistral", credential="value:e"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, time=time) as running:
            yield simulator, running, time


def line(id: str, prompt: str = "Hi", *, model: str = "gpt-5-mini", most: int | None = 50) -> dict[str, Any]:
    """A line of a file for OpenAI's batches."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if most is not None:
        body["max_completion_tokens"] = most
    return {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def jsonl(lines: Sequence[object]) -> bytes:
    """Lines of JSON."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


class Client:
    """Requests to OpenAI's API through the gateway, with a key of one limit."""

    def __init__(self, world: World, name: str, key: str, path: str = "/proxy/openai") -> None:
        self.world, self.name, self.path = world, name, path
        self.headers = {"authorization": f"Bearer {key}"}

    async def post(self, path: str, **more: Any) -> httpx2.Response:
        """A POST."""
        return await self.world.http.post(f"{self.path}{path}", headers=self.headers, **more)

    async def get(self, path: str) -> httpx2.Response:
        """A GET."""
        return await self.world.http.get(f"{self.path}{path}", headers=self.headers)

    async def upload(self, lines: Sequence[object] | bytes) -> str:
        """Upload a file for a batch; its id."""
        content = lines if isinstance(lines, bytes) else jsonl(lines)
        form = {"purpose": "batch"}
        sent = await self.post("/files", data=form, files={"file": ("in.jsonl", content)})
        assert sent.status_code == 200, sent.text
        return str(sent.json()["id"])

    async def make(self, lines: Sequence[object] | bytes, **more: object) -> httpx2.Response:
        """Make a batch of lines."""
        file = await self.upload(lines)
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
        return await self.post("/batches", json=body)

    async def limit(self) -> LimitStatus:
        """The key's limit."""
        [found] = [one for one in await self.world.admin.limits() if one.owner == self.name]
        return found

    async def rows(self) -> list[Request]:
        """All rows of the key."""
        return await every_row(self.world.admin, key=self.name)

    async def charged(self) -> list[Request]:
        """The rows of lines, once all of the batch is charged and nothing is held."""

        async def done() -> bool:
            return Decimal((await self.limit()).held) == 0

        await until(done)
        rows = await self.rows()
        limit = await self.limit()
        assert sum(Decimal(row.cost) for row in rows) == Decimal(limit.spent)
        return [row for row in rows if "custom_id" in row.tags]


async def client_of(world: World, name: str, path: str = "/proxy/openai", **more: object) -> Client:
    """A client whose key may spend ten dollars a day."""
    spec = {"limits": LimitsSpec(daily=Decimal(10)), **more}
    key = (await world.admin.keys.create(name, KeySpec.model_validate(spec))).key
    return Client(world, name, key, path)


async def ended(client: Client, id: str, path: str = "/batches") -> dict[str, Any]:
    """Poll a batch until it has ended."""
    for _ in range(20):
        found: dict[str, Any] = (await client.get(f"{path}/{id}")).json()
        if found.get("status") in ("completed", "failed", "expired", "cancelled"):
            return found
        if found.get("processing_status") == "ended":
            return found
    raise AssertionError(f"the batch did not end: {found}")


async def test_one_hold_and_a_row_for_each_line(provider: Provider) -> None:
    """Planted failures cost nothing; answers cost half of what they would alone; a second fetch adds nothing."""
    _, world, _ = provider
    client = await client_of(world, "lines")
    lines = [line(f"r-{number}", "Hi [sim:status=500]" if number % 5 == 0 else f"Hi {number}") for number in range(40)]
    made = await client.make(lines, metadata={"job": "nightly"})
    assert made.status_code == 200, made.text
    batch = made.json()
    held = await client.limit()
    assert Decimal(held.held) > 0
    assert Decimal(held.spent) == 0
    open_row = await world.admin.request(made.headers["x-paig-request-id"])
    assert (open_row.state, open_row.model, open_row.format) == ("open", "gpt-5-mini", "openai-batch")
    found = await ended(client, batch["id"])
    output = await client.get(f"/files/{found['output_file_id']}/content")
    assert len(output.text.splitlines()) == 32
    rows = await client.charged()
    await client.get(f"/files/{found['output_file_id']}/content")
    await client.get(f"/files/{found['error_file_id']}/content")
    await ended(client, batch["id"])
    assert len(await client.charged()) == len(rows) == 40
    assert {row.tags["batch"] for row in rows} == {batch["id"]}
    assert Counter(row.certainty for row in rows) == {"exact": 40}
    failed = [row for row in rows if row.error]
    assert {row.tags["custom_id"] for row in failed} == {f"r-{number}" for number in range(0, 40, 5)}
    assert all((row.status, Decimal(row.cost)) == (500, 0) for row in failed)
    answered = next(row for row in rows if row.tags["custom_id"] == "r-7")
    assert answered.usage is not None
    assert answered.price == "openai/gpt-5-mini;processing=batch"
    # Half of $0.25 and $2 for a million tokens.
    cost = answered.usage["input_tokens"] * Decimal("0.125") + answered.usage["output_tokens"] * Decimal(1)
    assert Decimal(answered.cost) == cost / 1_000_000
    assert sum(Decimal(row.cost) for row in rows) < Decimal(held.held)
    assert (await world.admin.request(answered.id)).tags == answered.tags
    own = await world.admin.request(made.headers["x-paig-request-id"])
    assert (own.state, Decimal(own.cost), own.certainty) == ("settled", 0, "exact")
    usage = (await world.admin.usage(by=["key"], key="lines")).items
    assert sum(Decimal(one.cost) for one in usage) == sum(Decimal(row.cost) for row in rows)


async def test_a_cap_that_does_not_carry_it_refuses_the_whole(provider: Provider) -> None:
    """The refusal comes before anything is sent, and says how much is needed."""
    simulator, world, _ = provider
    client = await client_of(world, "poor", limits=LimitsSpec(daily=Decimal("0.001")))
    before = len(simulator.requests)
    refused = await client.make([line(f"r-{number}", most=1000) for number in range(10)])
    assert refused.status_code == 400
    assert refused.headers["x-paig-error"] == "limit-too-small"
    assert "0.001" in refused.json()["error"]["message"]
    assert not any(one.path.endswith("/batches") for one in simulator.requests[before:])
    assert Decimal((await client.limit()).held) == 0


async def test_a_batch_that_the_provider_refuses_holds_nothing(provider: Provider) -> None:
    """Its error passes, and the row cost nothing."""
    _, world, _ = provider
    client = await client_of(world, "refused")
    refused = await client.post("/batches", json={"input_file_id": await client.upload([line("a")])})
    assert (refused.status_code, refused.headers.get("x-paig-error")) == (400, None)
    assert await client.charged() == []
    assert (await world.admin.request(refused.headers["x-paig-request-id"])).cost == Decimal(0)


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        ([line("a", model="gpt-5")], "model-not-allowed", "'gpt-5'"),
        (b'{"custom_id": "a"\n', "bad-request", "Line 1"),
        (jsonl([line("a")]) + b'{"custom_id":"b","url":"/v1/chat/completions"}\n', "bad-request", "'b'"),
        ([{**line("a"), "url": "/v1/fine_tuning/jobs"}], "no-price", "/v1/fine_tuning/jobs"),
        (b"\n", "bad-request", "no requests"),
    ],
)
async def test_what_no_key_may_ask_in_a_line(
    provider: Provider, lines: Sequence[object] | bytes, code: str, says: str
) -> None:
    """Each line is read as if it had come alone, and the refusal names it."""
    _, world, _ = provider
    name = f"checked-{abs(hash(str(lines)))}"
    client = await client_of(world, name, models=["gpt-5-mini"])
    refused = await client.make(lines)
    assert (refused.status_code // 100, refused.headers["x-paig-error"]) == (4, code)
    assert says in refused.json()["error"]["message"]


async def test_a_file_that_was_uploaded_elsewhere_is_read_at_the_provider(provider: Provider) -> None:
    """The gateway reads the file with the provider's credential before it holds anything."""
    _, world, _ = provider
    provider_url = (await world.admin.providers.get("openai")).base_url
    form = {"purpose": "batch"}
    sent = await world.http.post(
        f"{provider_url}/files", data=form, files={"file": ("in.jsonl", jsonl([line("far")]))},
        headers={"authorization": "Bearer a"},
    )  # fmt: skip
    client = await client_of(world, "elsewhere", stored="shared")
    body = {"input_file_id": sent.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = await client.post("/batches", json=body)
    assert made.status_code == 200, made.text
    await ended(client, made.json()["id"])
    [row] = await client.charged()
    assert row.tags["custom_id"] == "far"
    gone = await client.post("/batches", json={**body, "input_file_id": "file-unknown"})
    assert gone.headers["x-paig-error"] == "no-price"
    assert "file-unknown" in gone.json()["error"]["message"]


@pytest.mark.parametrize("way", ["expire", "cancel"])
async def test_what_is_not_done_costs_nothing(provider: Provider, way: str) -> None:
    """Of a batch that expired or was cancelled, what was done is charged."""
    _, world, _ = provider
    client = await client_of(world, way)
    late = "Hi [batch:expire]" if way == "expire" else "Hi [batch:looks=9]"
    batch = (await client.make([line(f"r-{number}", "Hi" if number < 3 else late) for number in range(6)])).json()
    if way == "cancel":
        assert (await client.post(f"/batches/{batch['id']}/cancel")).json()["status"] == "cancelling"
    found = await ended(client, batch["id"])
    assert found["status"] == ("expired" if way == "expire" else "cancelled")
    rows = {row.tags["custom_id"]: row for row in await client.charged()}
    assert sorted(rows) == [f"r-{number}" for number in range(6)]
    assert all(Decimal(rows[f"r-{number}"].cost) > 0 for number in range(3))
    assert all(
        (Decimal(rows[f"r-{number}"].cost), bool(rows[f"r-{number}"].error)) == (0, True) for number in (3, 4, 5)
    )


async def test_results_of_what_was_done_that_are_gone_cost_the_most_that_they_could(provider: Provider) -> None:
    """Of a batch that expired, and whose results were deleted at the provider, what was done is not free."""
    _, world, time = provider
    client = await client_of(world, "gone", "/proxy/groq/openai/v1")
    asked = [line("short"), line("long", most=500), line("late", "Hi [batch:expire]")]
    made = await client.make([{**one, "body": {**one["body"], "model": "openai/gpt-oss-120b"}} for one in asked])
    base = (await world.admin.providers.get("groq")).base_url
    async with httpx2.AsyncClient(headers={"authorization": "Bearer d"}) as direct:
        for _ in range(20):
            found = (await direct.get(f"{base}/batches/{made.json()['id']}")).json()
            if found["status"] == "expired":
                break
        assert (await direct.delete(f"{base}/files/{found['output_file_id']}")).status_code == 200
        assert found["request_counts"]["completed"] == 2
    time.later(39 * 86_400)

    async def charged() -> bool:
        return (await world.admin.request(made.headers["x-paig-request-id"])).state == "settled"

    await until(charged)
    rows = {row.tags["custom_id"]: row for row in await client.rows() if "custom_id" in row.tags}
    assert [rows[name].certainty for name in ("short", "long", "late")] == ["ceiling", "ceiling", "exact"]
    assert (Decimal(rows["late"].cost), bool(rows["late"].error)) == (0, True)


async def test_deleting_the_results_charges_them_first(provider: Provider) -> None:
    """What is deleted at the provider has been charged before."""
    _, world, _ = provider
    client = await client_of(world, "deleter", "/proxy/anthropic")
    body = {"requests": [message("a"), message("b")]}
    batch = (await client.post("/v1/messages/batches", json=body)).json()
    path = f"/proxy/anthropic/v1/messages/batches/{batch['id']}"
    # The gateway's look before each deletion brings the simulator's batch forward.
    deleted = [(await world.http.delete(path, headers=client.headers)).status_code for _ in range(2)]
    assert deleted == [400, 200]
    rows = await client.charged()
    assert len(rows) == 2
    assert all(Decimal(row.cost) > 0 for row in rows)


def message(id: str, prompt: str = "Hi", most: int = 50) -> dict[str, Any]:
    """A request of one of Anthropic's batches."""
    params = {"model": "claude-sonnet-4-5", "max_tokens": most, "messages": [{"role": "user", "content": prompt}]}
    return {"custom_id": id, "params": params}


async def test_nobody_fetches(provider: Provider) -> None:
    """The gateway looks itself, seldom, and charges what it finds."""
    simulator, world, time = provider
    client = await client_of(world, "silent")
    made = await client.make([line("a"), line("b", "Hi [batch:looks=0]")])
    time.later(301)
    rows = await client.charged()
    assert sorted(row.tags["custom_id"] for row in rows) == ["a", "b"]
    looked = [one for one in simulator.requests if one.path.endswith(made.json()["id"])]
    assert len(looked) == 1
    assert looked[0].header("authorization") == "Bearer a"


async def test_results_that_never_come_cost_the_most_that_they_could(provider: Provider) -> None:
    """After the provider's documented lifetime each line is charged at its ceiling."""
    _, world, time = provider
    client = await client_of(world, "never")
    made = await client.make([line("a", "Hi [batch:never]"), line("b")])
    held = Decimal((await client.limit()).held)
    time.later(39 * 86_400)
    rows = await every_row(world.admin, key="never")

    async def charged() -> bool:
        return (await world.admin.request(made.headers["x-paig-request-id"])).state == "settled"

    await until(charged)
    rows = [row for row in await client.rows() if "custom_id" in row.tags]
    assert [(row.certainty, row.error) for row in rows] == [("ceiling", "no-result")] * 2
    assert sum(Decimal(row.cost) for row in rows) == held


async def test_anthropics_batch_with_its_sdk(provider: Provider) -> None:
    """The SDK finds the results at the gateway, and no key of the gateway's goes to the provider."""
    simulator, world, _ = provider
    client = await client_of(world, "claude", "/proxy/anthropic")
    key = client.headers["authorization"].removeprefix("Bearer ")
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=f"{world.origin}/proxy/anthropic") as sdk:
        params: Any = [message("good"), message("bad", "Hi [sim:status=400]")]
        batch = await sdk.messages.batches.create(requests=params)
        while batch.processing_status != "ended":
            batch = await sdk.messages.batches.retrieve(batch.id)
        found = {one.custom_id: one.result.type async for one in await sdk.messages.batches.results(batch.id)}
    assert found == {"good": "succeeded", "bad": "errored"}
    rows = {row.tags["custom_id"]: row for row in await client.charged()}
    assert Decimal(rows["bad"].cost) == 0
    assert rows["good"].price == "anthropic/claude-sonnet-4-5;processing=batch"
    assert rows["good"].certainty == "exact"
    assert rows["good"].format == "anthropic"
    assert not any(key in str(one.headers) for one in simulator.requests)


async def test_a_batch_at_the_one_address_goes_where_its_file_is(provider: Provider) -> None:
    """Of several routes that have batches, the one whose provider has the file."""
    _, world, _ = provider
    client = await client_of(world, "one-address")
    file = await client.upload([line("a")])
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = await world.http.post("/v1/batches", headers=client.headers, json=body)
    assert made.status_code == 200, made.text
    assert (await world.admin.request(made.headers["x-paig-request-id"])).route == "openai"
    for _ in range(2):
        looked = await world.http.get(f"/v1/batches/{made.json()['id']}", headers=client.headers)
    assert looked.json()["status"] == "completed"
    assert len(await client.charged()) == 1


async def test_openais_batch_with_its_sdk(provider: Provider) -> None:
    """Files, batch and results."""
    _, world, _ = provider
    client = await client_of(world, "sdk")
    key = client.headers["authorization"].removeprefix("Bearer ")
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{world.origin}/proxy/openai/v1") as sdk:
        responses = {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 50}
        lines = [{"custom_id": "one", "method": "POST", "url": "/v1/responses", "body": responses}]
        file = await sdk.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
        batch = await sdk.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
        while batch.status != "completed":
            batch = await sdk.batches.retrieve(batch.id)
        assert batch.output_file_id is not None
        text = (await sdk.files.content(batch.output_file_id)).text
    assert json.loads(text)["custom_id"] == "one"
    [row] = await client.charged()
    assert (row.format, row.certainty) == ("openai-responses", "exact")


async def test_geminis_batch_with_its_sdk(provider: Provider) -> None:
    """Requests in the body and results in the batch itself; lines are told by their place."""
    _, world, _ = provider
    client = await client_of(world, "gemini", "/proxy/google")
    key = client.headers["authorization"].removeprefix("Bearer ")
    options = gemini.HttpOptions(base_url=f"{world.origin}/proxy/google")
    sdk = genai.Client(api_key=key, http_options=options)
    src = [
        {"contents": [{"parts": [{"text": prompt}], "role": "user"}], "config": {"max_output_tokens": 50}}
        for prompt in ("Hi", "Hi [sim:status=400]")
    ]
    batch = await sdk.aio.batches.create(model="gemini-2.5-flash", src=src)
    assert batch.name is not None
    while batch.state != gemini.JobState.JOB_STATE_SUCCEEDED:
        batch = await sdk.aio.batches.get(name=batch.name)
    await sdk.aio.aclose()
    assert batch.dest is not None
    answers = batch.dest.inlined_responses or []
    assert [bool(one.response) for one in answers] == [True, False]
    rows = {row.tags["custom_id"]: row for row in await client.charged()}
    assert Decimal(rows["1"].cost) == 0
    assert Decimal(rows["0"].cost) > 0
    assert rows["0"].price == "google/gemini-2.5-flash;processing=batch"
    assert rows["0"].certainty == "exact"


async def test_groq(provider: Provider) -> None:
    """OpenAI's batches at another provider, at its own rates."""
    _, world, _ = provider
    client = await client_of(world, "groq", "/proxy/groq/openai/v1")
    made = await client.make([line("a", model="openai/gpt-oss-120b"), line("b", "Hi [sim:status=500]")])
    assert made.headers["x-paig-error"] == "no-price"  # Groq has no gpt-5-mini
    made = await client.make([line(id, model="openai/gpt-oss-120b") for id in "ab"])
    assert made.status_code == 200, made.text
    assert (await ended(client, made.json()["id"]))["status"] == "completed"
    rows = await client.charged()
    assert sorted((row.tags["custom_id"], row.certainty) for row in rows) == [("a", "exact"), ("b", "exact")]
    assert {row.price for row in rows} == {"groq/openai/gpt-oss-120b;processing=batch"}


@pytest.mark.parametrize("inline", [False, True])
async def test_mistral(provider: Provider, inline: bool) -> None:
    """Its jobs name model and endpoint once, and are made of files or of requests in the body."""
    _, world, _ = provider
    client = await client_of(world, f"mistral-{inline}", "/proxy/mistral/v1")
    prompts = ("Hi", "Hi [sim:status=500]")
    requests = [
        {"custom_id": str(number), "body": {"max_tokens": 50, "messages": [{"role": "user", "content": prompt}]}}
        for number, prompt in enumerate(prompts)
    ]
    source = {"requests": requests} if inline else {"input_files": [await client.upload(requests)]}
    job = {"model": "mistral-small-latest", "endpoint": "/v1/chat/completions", **source}
    made = await client.post("/batch/jobs", json=job)
    assert made.status_code == 200, made.text
    assert Decimal((await client.limit()).held) > 0
    states = [(await client.get(f"/batch/jobs/{made.json()['id']}")).json()["status"] for _ in range(2)]
    assert states == ["RUNNING", "SUCCESS"]
    rows = {row.tags["custom_id"]: row for row in await client.charged()}
    assert (Decimal(rows["1"].cost), rows["1"].status) == (0, 500)
    assert rows["0"].certainty == "exact"
    assert (rows["0"].price or "").startswith("mistral/mistral-small")
    assert (rows["0"].price or "").endswith(";processing=batch")


async def test_a_key_under_no_cap_may_make_what_nobody_can_read(provider: Provider) -> None:
    """With allow_unmetered an unreadable batch passes, and its results are charged as far as they show."""
    _, world, _ = provider
    provider_url = (await world.admin.providers.get("openai")).base_url
    form = {"purpose": "fine-tune"}
    sent = await world.http.post(
        f"{provider_url}/files", data=form, files={"file": ("in.jsonl", jsonl([{**line("x"), "url": "/v1/odd"}]))},
        headers={"authorization": "Bearer a"},
    )  # fmt: skip
    client = await client_of(world, "open", stored="shared", allow_unmetered=True)
    body = {"input_file_id": sent.json()["id"], "endpoint": "/v1/odd", "completion_window": "24h"}
    made = await client.post("/batches", json=body)
    assert made.status_code == 200, made.text
    assert Decimal((await client.limit()).held) == 0
    await ended(client, made.json()["id"])

    async def settled() -> bool:
        return (await world.admin.request(made.headers["x-paig-request-id"])).state == "settled"

    await until(settled)


async def test_two_tenants(provider: Provider) -> None:
    """Another key's batch, its file and its results are not there."""
    _, world, _ = provider
    mine, other = await client_of(world, "mine"), await client_of(world, "other")
    batch = (await mine.make([line("a")])).json()
    assert (await other.get(f"/batches/{batch['id']}")).status_code == 404
    stolen = {"input_file_id": batch["input_file_id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    assert (await other.post("/batches", json=stolen)).status_code in (400, 404)
    found = await ended(mine, batch["id"])
    assert (await other.get(f"/files/{found['output_file_id']}/content")).status_code == 404
    await mine.charged()


async def test_what_lines_name_belongs_to_the_key(provider: Provider) -> None:
    """A line that names another owner's object refuses the batch; the owner's own is no such thing."""
    _, world, _ = provider
    mine, other = await client_of(world, "names"), await client_of(world, "names-other")
    asked = line("a")
    asked["body"]["messages"][0]["content"] = [{"type": "file", "file": {"file_id": await mine.upload([line("b")])}}]
    refused = await other.make([line("c"), asked])
    assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "not-found"), refused.text
    assert (await mine.make([asked])).headers.get("x-paig-error") != "not-found"
