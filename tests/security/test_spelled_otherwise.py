"""Requests without a row in the table of endpoints reach no other tenant's objects, however their paths are spelled."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from paig_client.api.specs import KeySpec
from tests.gateway.end_to_end.echo import Answer, as_json
from tests.gateway.end_to_end.test_stored_objects import STORED, Tenants, kind_of, path_of, running_tenants

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def tenants(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tenants]:
    """Two keys that may use endpoints that cannot be metered, and all kinds of provider."""
    async with running_tenants(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_seen(tenants: Tenants) -> None:
    """What earlier tests sent is forgotten."""
    tenants.echo.seen.clear()


PLACES = {
    "openai": "/v1/files/ID/content", "anthropic": "/v1/files/ID/content", "google": "/v1beta/files/ID",
    "google-vertex": "/v1/projects/p/locations/l/cachedContents/ID", "mistral": "/v1/libraries/ID",
    "xai": "/v1/files/ID", "cohere": "/v1/datasets/ID", "bedrock": "/async-invoke/ID",
}  # fmt: skip


def spelled(path: str) -> list[str]:
    """Ways of writing a path that some server takes for the plain one."""
    collection = next(
        word for word in ("files", "cachedContents", "libraries", "datasets", "async-invoke") if word in path
    )
    first = f"%{ord(collection[0]):02x}{collection[1:]}"
    return [
        path, path + "/", path.replace(collection, first), path.replace(collection, collection.title()),
        path.replace(collection, collection.upper()), path.replace(collection, collection + ";a=b"),
        path.replace("/ID", "%ef%bc%8fID"), path.replace("/ID", "%c0%afID"), path.replace("/ID", "%2fID"),
        path.replace("/ID", "/%e2%80%8bID"), path.replace(collection, f"{collection}%e2%80%8b"),
        path.replace("ID", "ID;v=1"), path.replace("ID", "ID:verb"), path.replace("ID", "ID%20"), path + "/anything",
        path.replace(collection, first.replace("%", "%25")), path.replace("ID", "-"), path.replace("ID", "*"),
        "/x" + path, "/v1" + path, path.replace(collection, collection[:-1] + "%CC%81" + collection[-1]),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", PLACES)
async def test_no_spelling_reaches_anothers_object(tenants: Tenants, kind: str) -> None:
    """With every method; what reaches the provider names no collection of stored objects. The owner's requests pass."""
    id = "Victim-1"
    tenants.owned(kind, id)
    for number, path in enumerate(spelled(PLACES[kind])):
        for method in ("GET", "HEAD", "DELETE", "PUT", "PATCH", "POST"):
            tenants.echo.seen.clear()
            answer = await tenants.ask(tenants.theirs, method, f"/{kind}{path.replace('ID', id)}")
            passed = [asked.path for asked in tenants.echo.seen]
            # A letter with an accent is another word for every server.
            assert passed == [] or "%CC%81" in path, (number, method, passed)
            assert answer.status_code >= 400 or passed
    tenants.echo.seen.clear()
    for path in (PLACES[kind], f"{PLACES[kind]}/anything"):
        answer = await tenants.ask(tenants.mine, "PUT", f"/{kind}{path.replace('ID', id)}")
        assert answer.status_code == 200, answer.text
    assert len(tenants.echo.seen) == 2


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "DEBUG", "PROPFIND", "CONNECT"])
async def test_methods_that_show_a_request_never_pass(tenants: Tenants, method: str) -> None:
    """A server's answer to them would hold the provider's credential."""
    answer = await tenants.ask(tenants.mine, method, "/openai/v1/models")
    assert answer.status_code >= 400
    assert tenants.echo.seen == []


@pytest.mark.parametrize(
    "path", ["/v1/%6frganization/users", "/v1/Organization/x", "/v1/organization;a=b/x", "/v1/organi%E2%80%8Bzation/x"]
)
async def test_the_account_is_never_managed(tenants: Tenants, path: str) -> None:
    """However the path is spelled, and with any method."""
    for method in ("GET", "POST", "DELETE", "PUT"):
        assert (await tenants.ask(tenants.mine, method, f"/openai{path}")).status_code in (400, 403)
    assert tenants.echo.seen == []


TEXT = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
CORPUS = "projects/p/locations/l/ragCorpora/ID"
VERTEX = "/google-vertex/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent"
NAMING = [
    (VERTEX, {**TEXT, "tools": [{"retrieval": {"vertexRagStore": {"ragResources": [{"ragCorpus": CORPUS}]}}}]}),
    (VERTEX, {**TEXT, "tools": [{"retrieval": {"vertexRagStore": {"rag_corpora": [CORPUS]}}}]}),
    ("/google/v1beta/models/aqa:generateAnswer", {"contents": [], "semanticRetriever": {"source": "corpora/ID"}}),
    ("/anthropic/v1/messages",
     {"model": "claude-sonnet-4-5", "max_tokens": 9, "user_profile_id": "ID",
      "messages": [{"role": "user", "content": "hi"}]}),
    ("/openai/v1/vector_stores", {"upload_id": "ID"}),
    ("/cohere/v1/chat", {"model": "command-r", "message": "x", "connectors": [{"id": "ID"}]}),
    ("/openai/v1/evals", {"data_source_config": {"type": "stored_completions"}, "testing_criteria": []}),
    ("/openai/v1/evals/EVAL/runs", {"data_source": {"type": "responses", "source": {"type": "responses"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), NAMING)
async def test_what_a_body_names_is_its_owners(tenants: Tenants, path: str, body: object) -> None:
    """A corpus, a profile, an upload, a connector; and sources that are all of the account."""
    tenants.owned("openai", "EVAL", "theirs")
    content = json.dumps(body).replace("ID", "victim-2")
    headers = {"authorization": f"Bearer {tenants.theirs}"}
    answer = await tenants.world.http.post(f"/proxy{path}", headers=headers, content=content)
    assert answer.headers["x-paig-error"] == "not-found", answer.text
    assert tenants.echo.seen == []


async def test_well_known_connectors_pass(tenants: Tenants) -> None:
    """They are the provider's own."""
    bodies = [
        ("/cohere/v1/chat", {"model": "command-r", "message": "x", "connectors": [{"id": "web-search"}]}),
        ("/openai/v1/responses",
         {"model": "gpt-5", "input": "x",
          "tools": [{"type": "mcp", "server_label": "x", "connector_id": "connector_gmail"}]}),
    ]  # fmt: skip
    for path, body in bodies:
        answer = await tenants.ask(tenants.mine, "POST", path, body)
        assert answer.headers.get("x-paig-error") != "not-found", answer.text


async def test_a_key_shows_itself_within_its_networks_alone(tenants: Tenants) -> None:
    """A stolen key tells nothing elsewhere, whatever `X-Forwarded-For` says."""
    spec = KeySpec.model_validate({"networks": ["10.0.0.0/8"]})
    key = (await tenants.world.admin.keys.create("elsewhere", spec)).key
    headers = {"authorization": f"Bearer {key}", "x-forwarded-for": "10.0.0.1"}
    for path in ("/admin/v1/me", "/admin/v1/me/requests?id=x"):
        answer = await tenants.world.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    page = await tenants.world.http.post("/me", data={"key": key}, headers={"origin": tenants.world.origin})
    assert page.status_code == 403


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("openai", "GET", "/v1/%66iles"), ("openai", "GET", "/v1/Files"), ("openai", "GET", "/v1/files;a=b"),
        ("openai", "GET", "/v1/%E2%80%8Bfiles"), ("openai", "GET", "/v1/chat/%63ompletions"),
        ("openai", "POST", "/v1/chat/%63ompletions"), ("openai", "POST", "/v1/Chat/Completions"),
        ("anthropic", "POST", "/v1/%6dessages"), ("anthropic", "GET", "/v1/messages/%62atches"),
        ("google", "POST", "/v1beta/models/gemini-2.5-flash:generate%43ontent"),
        ("google", "GET", "/v1beta/%63achedContents"), ("bedrock", "POST", "/model/amazon.nova-lite-v1/%63onverse"),
        ("bedrock", "GET", "/Tags/x"), ("deepseek", "GET", "/%75ser/balance"), ("xai", "GET", "/v1/%66iles"),
        ("fireworks", "GET", "/v1/%61ccounts/x/secrets"), ("together", "GET", "/v1/%64eployments/secrets"),
        ("together", "GET", "/v1/queue%2Fstatus?request_id=victim"), ("together", "GET", "/v1/Queue/Status"),
    ],
)  # fmt: skip
async def test_no_spelling_escapes_the_table(tenants: Tenants, kind: str, method: str, path: str) -> None:
    """What a lenient server would list, bill or manage is not passed as an unknown endpoint."""
    answer = await tenants.ask(tenants.theirs, method, f"/{kind}{path}", {} if method == "POST" else None)
    assert answer.status_code in (400, 403, 404), answer.text
    assert tenants.echo.seen == []


async def test_unknown_endpoints_and_methods_still_pass(tenants: Tenants) -> None:
    """Paths that resemble no row, and methods that a row does not have."""
    for method, path in (("PUT", "/openai/v1/files"), ("GET", "/openai/v1/new%20things"), ("POST", "/xai/v1/novelty")):
        answer = await tenants.ask(tenants.mine, method, path, {} if method == "POST" else None)
        assert answer.status_code == 200, answer.text


def test_every_kind_of_object_is_covered() -> None:
    """Each kind in the table has a request by id, so that the tests of owners reach it."""
    kinds = {row.object for _, row in STORED}
    by_id = {row.object for method, row in STORED if row.operation(method) in ("read", "change", "delete")}
    assert kinds - by_id == {"queue-job"}  # its requests name it in the query or the body: the test below
    assert len(kinds) > 50
    for method, row in STORED:
        if "{id}" in row.path:
            found = row.format.stored(path_of(row, "an-id").removeprefix(f"/{kind_of(row)}"))
            assert found == "an-id", (method, row.path)


async def test_a_job_of_a_queue_is_its_owners(tenants: Tenants) -> None:
    """By query or body, in any spelling, and never without an id."""
    tenants.owned("together", "job-1")
    tenants.owned("together", "job-0", "theirs")
    for method, path, body in (
        ("GET", "status?request_id=job-1", None), ("GET", "status?model=x&request%5Fid=job-1", None),
        ("GET", "status?requestId=job-1", None), ("GET", "status", None),
        ("POST", "cancel", {"request_id": "job-1"}), ("POST", "cancel", {"requestId": "job-1"}),
        ("POST", "cancel?request_id=job-1", {}), ("POST", "cancel", {}), ("POST", "cancel", ["job-1"]),
        ("POST", "cancel", 5), ("POST", "cancel?request_id=job-0", {"request_id": "job-1"}),
    ):  # fmt: skip
        refused = await tenants.ask(tenants.theirs, method, f"/together/v1/queue/{path}", body)
        assert refused.headers.get("x-paig-error") in ("not-found", "bad-request"), (path, body, refused.text)
        assert tenants.echo.seen == []
    long = b'{"n": %b, "request_id": "job-1"}' % (b"1" * 5_000)  # more digits than Python's reader takes
    headers = {"authorization": f"Bearer {tenants.theirs}"}
    hidden = await tenants.world.http.post(
        "/proxy/together/v1/queue/cancel?request_id=job-0", headers=headers, content=long
    )
    assert hidden.headers.get("x-paig-error") == "not-found", hidden.text
    assert tenants.echo.seen == []
    for method, path, body in (("GET", "status?request_id=job-1", None), ("POST", "cancel", {"request_id": "job-1"})):
        allowed = await tenants.ask(tenants.mine, method, f"/together/v1/queue/{path}", body)
        assert allowed.status_code == 200, allowed.text
    tenants.echo.answer = as_json({"requestId": "job-2"})
    submitted = await tenants.ask(tenants.mine, "POST", "/together/v1/queue/submit", {"model": "x", "payload": {}})
    assert submitted.status_code == 200, submitted.text
    tenants.echo.answer = Answer()
    assert (await tenants.ask(tenants.mine, "GET", "/together/v1/queue/status?request_id=job-2")).status_code == 200
