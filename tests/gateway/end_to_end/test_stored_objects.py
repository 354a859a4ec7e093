"""Objects stored at providers have owners: two tenants, every endpoint, every operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import KeySpec, ProjectSpec, ProviderSpec
from paig_client.api.vocabulary import Stored
from paig_gateway.database.engine import utc_now
from paig_gateway.ledger.stored_objects import ProviderObject, save
from paig_gateway.providers.endpoints import Endpoint, detect, endpoints
from paig_gateway.providers.kinds import KINDS, base_url
from paig_gateway.proxy import stored
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.gateway.end_to_end.echo import Answer, Echo, as_json, running_echo

pytestmark = pytest.mark.anyio

VERSIONS = {"google": "/v1beta", "google-vertex": "/v1", "bedrock": "", "cohere": "/v1"}


def providers(base: str) -> dict[str, ProviderSpec]:
    """One provider of each kind that has stored objects."""
    found = {}
    for kind in sorted({next(iter(sorted(row.kinds))) for row in endpoints()} | {"openai", "google", "anthropic"}):
        own = base_url(KINDS[kind], None, {}) or ""
        path = "/" + own.split("://", 1)[-1].partition("/")[2] if "/" in own.split("://", 1)[-1] else ""
        settings = {"project": "p"} if kind == "google-vertex" else {}
        found[kind] = ProviderSpec(
            kind=kind, base_url=base + path, credential=f"value:{UPSTREAM_KEY}", require_price=False, **settings
        )
    return found


@dataclass
class Tenants:
    """A gateway, an echo and two tenants."""

    world: World
    echo: Echo
    mine: str
    theirs: str

    async def ask(self, key: str, method: str, path: str, body: object = None) -> httpx2.Response:
        """A request of one of them."""
        headers = {"authorization": f"Bearer {key}"}
        content = json.dumps({} if body is None else body).encode() if method in ("POST", "PUT", "PATCH") else None
        return await self.world.http.request(method, f"/proxy{path}", headers=headers, content=content)

    async def key(self, name: str, project: str | None = None, stored: Stored | None = None) -> str:
        """Another key."""
        spec = KeySpec(project=project, stored=stored, allow_unmetered=True)
        return (await self.world.admin.keys.create(name, spec)).key

    def owned(self, provider: str, id: str, name: str = "mine") -> None:
        """Give an object to a tenant's key."""
        key = next(one for one in self.world.store.catalog.keys.list() if one.name == name)
        save(self.world.store.engine, [ProviderObject(provider, id, "file", key.id, None)], utc_now())


@pytest.fixture(scope="module")
async def tenants(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tenants]:
    """Two keys without a project, at every kind of provider."""
    async with running_tenants(tmp_path_factory.mktemp("home")) as found:
        yield found


@asynccontextmanager
async def running_tenants(home: Path) -> AsyncIterator[Tenants]:
    """Two tenants of a gateway that looks an unknown object up again after a shorter time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "WAITS", (0.01,))
        async with running_echo() as echo, running_world(home, providers(echo.base)) as world:
            found = Tenants(world, echo, "", "")
            found.mine, found.theirs = await found.key("mine"), await found.key("theirs")
            yield found


@pytest.fixture(autouse=True)
def reset(request: pytest.FixtureRequest) -> None:
    """Each test sets its own answers."""
    if "tenants" in request.fixturenames:
        tenants: Tenants = request.getfixturevalue("tenants")
        tenants.echo.answer, tenants.echo.by = Answer(), lambda asked: None
        tenants.echo.seen.clear()


def kind_of(row: Endpoint) -> str:
    """A kind of provider that has the endpoint."""
    return row.api if row.api in row.kinds else min(row.kinds)


def path_of(row: Endpoint, id: str) -> str:
    """A request's path."""
    kind = kind_of(row)
    rest = row.path.replace("{id}", id).replace("{sub}", "s1").replace("{model}", "m").replace("/**", "")
    return f"/{kind}{VERSIONS.get(kind, '/v1')}/{rest}"


STORED = [(method, row) for row in endpoints() if row.object for method in sorted(row.methods - {"HEAD"})]
BY_ID = [one for one in STORED if one[1].operation(one[0]) in ("read", "change", "delete")]
LISTS = [one for one in STORED if one[1].operation(one[0]) == "list"]


def is_metered(method: str, row: Endpoint) -> bool:
    """Whether the kind of provider that is asked has a row of its own for the path, and it is metered."""
    kind = kind_of(row)
    found = detect(method, path_of(row, "").removeprefix(f"/{kind}"), kind)
    return found is not None and found.format.metered


MADE = [one for one in STORED if one[1].operation(one[0]) == "create" and not is_metered(*one)]


def named(one: tuple[str, Endpoint]) -> str:
    """A test's name."""
    return f"{one[1].api}-{one[0]}-{one[1].path}"


@pytest.mark.parametrize("one", BY_ID, ids=named)
async def test_only_its_owner_reads_changes_or_deletes(tenants: Tenants, one: tuple[str, Endpoint]) -> None:
    """Another tenant gets the answer for an unknown id, and the provider sees nothing of it."""
    method, row = one
    id = f"x{abs(hash(named(one)))}"
    tenants.owned(kind_of(row), id)
    refused = await tenants.ask(tenants.theirs, method, path_of(row, id))
    unknown = await tenants.ask(tenants.theirs, method, path_of(row, f"y{id[1:]}"))
    assert refused.headers.get("x-paig-error") == "not-found", refused.text
    assert refused.status_code == unknown.status_code in (403, 404)
    assert refused.text.replace(id, "ID") == unknown.text.replace(f"y{id[1:]}", "ID")
    assert tenants.echo.seen == []
    allowed = await tenants.ask(tenants.mine, method, path_of(row, id))
    assert allowed.status_code == 200, allowed.text
    assert len(tenants.echo.seen) == 1


@pytest.mark.parametrize("one", LISTS, ids=named)
async def test_a_list_shows_its_owners_objects(tenants: Tenants, one: tuple[str, Endpoint]) -> None:
    """Elements of others are cut out; the rest keep their bytes."""
    method, row = one
    id = f"l{abs(hash(named(one)))}"
    tenants.owned(kind_of(row), id)
    before, after = b'{"object": "list",  "data": [ ', b'"has_more":true}'
    element = b'{"id":"%b", "x": 1.0}' % id.encode()
    tenants.echo.answer = Answer(
        before + b'{"id":"other"}, ' + element + b' ,{"id":"more"}], "first_id":"other", "last_id": "more",' + after
    )
    mine = await tenants.ask(tenants.mine, method, path_of(row, ""))
    left = b'], "first_id":"%b", "last_id": "%b",' % (id.encode(), id.encode())
    assert mine.content == before + element + left + after
    theirs = (await tenants.ask(tenants.theirs, method, path_of(row, ""))).json()
    assert (theirs["data"], theirs["first_id"], theirs["has_more"]) == ([], None, True)


@pytest.mark.parametrize("one", MADE, ids=named)
async def test_what_a_request_made_is_its_keys(tenants: Tenants, one: tuple[str, Endpoint]) -> None:
    """The id in the answer is known before the client has it."""
    method, row = one
    id = f"m{abs(hash(named(one)))}"
    tenants.echo.answer = as_json({"id": id})
    made = await tenants.ask(tenants.mine, method, path_of(row, ""))
    assert made.status_code == 200, made.text
    found = tenants.world.store.engine
    from paig_gateway.ledger.stored_objects import find

    assert [(one.provider, one.kind) for one in find(found, [id])] == [(kind_of(row), row.object)]


CHAT = {"model": "gpt-5", "input": "hi"}
NAMING = [
    ("openai", "/v1/responses", {**CHAT, "previous_response_id": "ID"}),
    ("openai", "/v1/responses", {**CHAT, "conversation": {"id": "ID"}}),
    ("openai", "/v1/responses",
     {**CHAT, "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "ID"}]}]}),
    ("openai", "/v1/responses", {**CHAT, "tools": [{"type": "file_search", "vector_store_ids": ["ID"]}]}),
    ("openai", "/v1/responses", {**CHAT, "tools": [{"type": "code_interpreter", "container": "ID"}]}),
    ("openai", "/v1/responses",
     {**CHAT, "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["ID"]}}]}),
    ("openai", "/v1/batches", {"input_file_id": "ID", "endpoint": "/v1/responses"}),
    ("openai", "/v1/fine_tuning/jobs", {"model": "gpt-4o", "training_file": "ID"}),
    ("anthropic", "/v1/messages",
     {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [
         {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "ID"}}]}]}),
    ("anthropic", "/v1/messages",
     {"model": "claude-sonnet-4-5", "max_tokens": 9, "container": "ID", "messages": []}),
    ("google", "/v1beta/models/gemini-2.5-flash:generateContent",
     {"contents": [], "cachedContent": "cachedContents/ID"}),
    ("google", "/v1beta/models/gemini-2.5-flash:generateContent",
     {"contents": [{"parts": [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/ID"}}]}]}),
    ("google", "/v1beta/interactions",
     {"model": "gemini-2.5-flash", "input": "hi", "previous_interaction_id": "ID"}),
    ("mistral", "/v1/batch/jobs", {"input_files": ["ID"], "model": "m", "endpoint": "/v1/chat/completions"}),
    ("openai", "/v1/responses", {**CHAT, "input": [{"type": "item_reference", "id": "ID"}]}),
    ("openai", "/v1/responses", {**CHAT, "input": [{"id": "ID"}]}),
    ("openai", "/v1/responses", {**CHAT, "input": [{"type": None, "id": "ID"}]}),
    ("openai", "/v1/responses", {**CHAT, "input": [{"type": "reasoning", "id": "ID", "summary": []}]}),
    ("openai", "/v1/responses", {**CHAT, "input": [{"type": "image_generation_call", "id": "ID"}]}),
    ("openai", "/v1/responses/input_tokens", {**CHAT, "input": [{"id": "ID"}]}),
    ("openai", "/v1/conversations", {"items": [{"type": "item_reference", "id": "ID"}]}),
    ("openai", "/v1/evals", {"data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "ID"}}}),
    ("openai", "/v1/chat/completions",
     {"model": "gpt-audio", "messages": [{"role": "assistant", "audio": {"id": "ID"}}]}),
    ("openai", "/v1/videos/edits", {"prompt": "x", "video": {"id": "ID"}}),
    ("openai", "/v1/vector_stores", {"FileIds": ["ID"]}),
    ("google", "/v1beta/interactions",
     {"model": "gemini-2.5-flash", "input": [
         {"type": "document", "uri": "https://generativelanguage.googleapis.com/v1beta/%66iles/ID"}]}),
    ("google", "/v1beta/models/gemini-2.5-flash:generateContent",
     {"contents": [{"parts": [{"fileData": {"fileUri": "files/ID"}}]}]}),
    ("anthropic", "/v1/sessions", {"agent": {"type": "agent", "id": "agent_ID", "version": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "body"), NAMING)
@pytest.mark.parametrize("escaped", [False, True])
async def test_ids_in_bodies_count(tenants: Tenants, kind: str, path: str, body: object, escaped: bool) -> None:
    """Whatever names an object, also where its letters are escaped."""
    id = f"b{abs(hash(json.dumps(body)))}"
    tenants.owned(kind, f"agent_{id}" if "agent_ID" in json.dumps(body) else id)
    content = json.dumps(body).replace("ID", id)
    if escaped:
        for name in ("previous_response_id", "conversation", "file_id", "vector_store_ids", "container", "fileUri"):
            content = content.replace(f'"{name}"', f'"\\u00{ord(name[0]):02x}{name[1:]}"')
    tenants.echo.answer = as_json({"id": "r", "output": [], "status": "completed", "model": "gpt-5"})
    headers = {"authorization": f"Bearer {tenants.theirs}"}
    refused = await tenants.world.http.post(f"/proxy/{kind}{path}", headers=headers, content=content)
    assert refused.headers.get("x-paig-error") in ("not-found", "bad-request"), refused.text
    assert tenants.echo.seen == []
    headers = {"authorization": f"Bearer {tenants.mine}"}
    allowed = await tenants.world.http.post(f"/proxy/{kind}{path}", headers=headers, content=content)
    assert allowed.status_code == (200 if refused.headers["x-paig-error"] == "not-found" else 400), allowed.text


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/v1/vector_stores", {"x-goog-upload-command": "upload, finalize"}, b'{"file_ids":["ID"]}'),
        ("/v1/vector_stores", {"content-type": "multipart/mixed; boundary=x"}, b'{"file_ids":["ID"]}'),
        ("/v1/vector_stores", {"content-type": "multipart/form-data; boundary=x"}, b'{"file_ids":["ID"]}'),
        ("/v1/vector_stores", {"content-type": "application/x-www-form-urlencoded"}, b"file_ids[]=ID"),
        ("/v1/vector_stores", {}, '{"file_ids":["ID"]}'.encode("utf-16")),
        ("/v1/vector_stores", {}, '{"file_ids":["ID"]}'.encode("utf-16-be")),
        ("/v1/vector_stores", {"content-type": "application/json; charset=utf-16"}, b'{"file_ids":["ID"]}'),
        ("/v1/vector_stores", {}, b'{"file_ids":["ID"],"x":NaN}'),
        ("/v1/vector_stores", {}, b'{"file_ids":["ID"],"file_ids":[]}'),
        ("/v1/vector_stores", {}, b'{"file\xff_ids":["ID"]}'),
        ("/v1/vector_stores/vs/files", {}, b'\xef\xbb\xbf{"file_id":"ID"}'),
        ("/v1/assistants", {}, b'{"tool_resources":{"a":{"file_ids":["ID"],"file_ids":["x"]}}}'),
        ("/v1/assistants", {}, b'{"type":"a_tool_use","name":"x","input":{"file_id":"ID"}}'),
        ("/v1/assistants", {}, b'{"name":"x","response":{"file_id":"ID"}}'),
        ("/v1/assistants", {"content-type": "text/plain"}, b' {"file_ids":["ID"]}'),
        ("/v1/assistants", {}, b'{"a":' * 5_000 + b'{"file_id":"ID"}' + b"}" * 5_000),
        ("/v1/containers/c/files", {"content-type": "multipart/form-data; boundary=x"},
         b'--x\r\nContent-Disposition: form-data; name="file[file_id]"\r\n\r\nID\r\n--x--\r\n'),
        ("/v1/containers/c/files", {"content-type": "multipart/form-data; boundary=x"},
         b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n{"file_id":"ID"}\r\n--x--\r\n'),
    ],
    ids=lambda value: f"{len(value)}",
)  # fmt: skip
async def test_however_a_body_is_written(tenants: Tenants, path: str, headers: dict[str, str], body: bytes) -> None:
    """What another parser finds in a body counts, or the body is refused; the provider never has it whole."""
    tenants.owned("openai", "file-hidden")
    for id in ("vs", "c"):
        tenants.owned("openai", id, "theirs")
    sent = {"content-type": "application/json", "authorization": f"Bearer {tenants.theirs}", **headers}
    content = body.replace(b"ID", b"file-hidden").replace("ID".encode("utf-16-le"), "file-hidden".encode("utf-16-le"))
    content = content.replace("ID".encode("utf-16-be"), "file-hidden".encode("utf-16-be"))
    refused = await tenants.world.http.post(f"/proxy/openai{path}", headers=sent, content=content)
    assert refused.headers.get("x-paig-error") in ("not-found", "bad-request"), refused.text
    assert tenants.echo.seen == []


async def test_items_of_answers_are_their_keys(tenants: Tenants) -> None:
    """A response's items may be named by the key that made it, also those of a stream and of a later look."""
    items = [{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "message", "id": "msg_1", "content": []}]
    done = {"id": "resp_items", "model": "gpt-5", "output": items, "status": "completed"}
    done["usage"] = {"input_tokens": 1, "output_tokens": 1}
    tenants.echo.answer = as_json(done)
    await tenants.ask(tenants.mine, "POST", "/openai/v1/responses", CHAT)
    events = [
        {"type": "response.output_item.done", "item": {"type": "message", "id": "msg_2", "content": []}},
        {"type": "response.completed", "response": {**done, "id": "resp_s", "output": []}},
    ]
    lines = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    tenants.echo.answer = Answer(lines.encode(), content_type="text/event-stream")
    await tenants.ask(tenants.mine, "POST", "/openai/v1/responses", {**CHAT, "stream": True})
    tenants.echo.answer = as_json({**done, "output": [{"type": "message", "id": "msg_3", "content": []}]})
    await tenants.ask(tenants.mine, "GET", "/openai/v1/responses/resp_items")
    tenants.echo.answer = as_json({"data": [{"type": "message", "id": "msg_4", "content": []}]})
    await tenants.ask(tenants.mine, "GET", "/openai/v1/responses/resp_items/input_items")
    tenants.echo.answer = as_json(done)
    for id in ("rs_1", "msg_1", "msg_2", "msg_3", "msg_4"):
        body = {**CHAT, "input": [{"type": "item_reference", "id": id}]}
        assert (await tenants.ask(tenants.mine, "POST", "/openai/v1/responses", body)).status_code == 200, id
        refused = await tenants.ask(tenants.theirs, "POST", "/openai/v1/responses", body)
        assert refused.headers.get("x-paig-error") == "not-found", id
    whole = [{"type": "reasoning", "id": "rs_x", "encrypted_content": "x", "summary": []},
             {"type": "message", "id": "msg_x", "role": "assistant", "content": []},
             {"type": "function_call", "id": "fc_x", "call_id": "c", "name": "f", "arguments": "{}"}]  # fmt: skip
    told = await tenants.ask(tenants.theirs, "POST", "/openai/v1/responses", {**CHAT, "input": whole})
    assert told.status_code == 200, told.text


@pytest.mark.parametrize("stream", [False, True])
async def test_spoken_answers_are_their_keys(tenants: Tenants, stream: bool) -> None:
    """A later request may name an answer's audio instead of sending it; another key's may not."""
    id = f"audio_{stream}"
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    said = {"audio": {"id": id, "data": "AAAA", "transcript": "hi"}}
    whole = {"id": "c", "model": "gpt-audio", "usage": usage, "choices": [{"index": 0, "message": said}]}
    chunks = [
        {"id": "c", "choices": [{"index": 0, "delta": said}]},
        {"id": "c", "choices": [{"index": 0, "delta": {"audio": {"data": "AAAA"}}}]},
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"id": "c", "choices": [], "usage": usage},
    ]
    lines = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
    tenants.echo.answer = Answer(lines.encode(), content_type="text/event-stream") if stream else as_json(whole)
    body = {
        "model": "gpt-audio", "stream": stream, "audio": {"voice": "alloy", "format": "wav"},
        "messages": [{"role": "user", "content": "Hello"}],
    }  # fmt: skip
    path = "/openai/v1/chat/completions"
    assert (await tenants.ask(tenants.mine, "POST", path, body)).status_code == 200
    after = {**body, "messages": [{"role": "assistant", "audio": {"id": id}}]}
    assert (await tenants.ask(tenants.mine, "POST", path, after)).status_code == 200
    assert (await tenants.ask(tenants.theirs, "POST", path, after)).headers.get("x-paig-error") == "not-found"


@pytest.mark.parametrize("stream", [False, True])
async def test_files_that_code_made_are_their_keys(tenants: Tenants, stream: bool) -> None:
    """The next message of a conversation carries the answer that names them; they can be fetched, too."""
    id = f"file_code_{stream}"
    output = {"type": "bash_code_execution_output", "file_id": id}
    result = {"type": "bash_code_execution_result", "stdout": "", "return_code": 0, "content": [output]}
    block = {"type": "bash_code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": result}
    start = {"id": "msg", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    events = [
        {"type": "message_start", "message": {**start, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    lines = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    whole = as_json({**start, "content": [block], "stop_reason": "end_turn", "usage": usage})
    tenants.echo.answer = Answer(lines.encode(), content_type="text/event-stream") if stream else whole
    asked = {"role": "user", "content": "Plot it"}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": stream, "messages": [asked]}
    path = "/anthropic/v1/messages"
    assert (await tenants.ask(tenants.mine, "POST", path, body)).status_code == 200
    after = {**body, "messages": [asked, {"role": "assistant", "content": [block]}, asked]}
    fetched = f"/anthropic/v1/files/{id}/content"
    for method, place, sent in (("POST", path, after), ("GET", fetched, None)):
        assert (await tenants.ask(tenants.mine, method, place, sent)).status_code == 200, place
        refused = await tenants.ask(tenants.theirs, method, place, sent)
        assert refused.headers.get("x-paig-error") == "not-found", place


async def test_an_answer_that_names_anothers_item_gives_it_to_nobody_else(tenants: Tenants) -> None:
    """The first owner stays the owner, in this process too."""
    item = {"type": "message", "id": "msg_first", "content": []}
    done = {"id": "resp_f", "model": "gpt-5", "status": "completed", "output": [item]}
    done["usage"] = {"input_tokens": 1, "output_tokens": 1}
    tenants.echo.answer = as_json(done)
    await tenants.ask(tenants.mine, "POST", "/openai/v1/responses", CHAT)
    tenants.echo.answer = as_json({**done, "id": "resp_g"})
    await tenants.ask(tenants.theirs, "POST", "/openai/v1/responses", CHAT)
    body = {**CHAT, "input": [{"type": "item_reference", "id": "msg_first"}]}
    assert (await tenants.ask(tenants.mine, "POST", "/openai/v1/responses", body)).status_code == 200
    refused = await tenants.ask(tenants.theirs, "POST", "/openai/v1/responses", body)
    assert refused.headers.get("x-paig-error") == "not-found"


async def test_items_are_forgotten_after_a_month(tenants: Tenants) -> None:
    """Their owners take room in the database only as long as a provider keeps them."""
    from datetime import timedelta

    from paig_gateway.ledger.stored_objects import find, passing, remove

    engine, now = tenants.world.store.engine, utc_now()
    for days in (40, 1):
        made = ProviderObject("openai", f"msg_{days}_days", "item", "k", None)
        save(
            engine, [made, ProviderObject("openai", f"file_{days}_days", "file", "k", None)], now - timedelta(days=days)
        )
    old = passing(engine, now - timedelta(days=31), 10)
    assert old == [("openai", "msg_40_days")]
    with engine.begin() as connection:
        remove(connection, old)
    left = find(engine, [f"{kind}_{days}_days" for kind in ("msg", "file") for days in (40, 1)])
    assert {one.id for one in left} == {"msg_1_days", "file_40_days", "file_1_days"}


async def test_a_clients_own_words_are_no_references(tenants: Tenants) -> None:
    """Schemas, arguments and metadata may have members of the same names."""
    body = {
        "model": "claude-sonnet-4-5", "max_tokens": 9, "metadata": {"user_id": "u", "file_id": "unknown"},
        "tools": [{"name": "t", "input_schema": {"properties": {"file_id": {"type": "string", "default": "nope"}}}}],
        "messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "t", "input": {"file_id": "unknown", "container": "x"}}]}],
    }  # fmt: skip
    assert (await tenants.ask(tenants.theirs, "POST", "/anthropic/v1/messages", body)).status_code == 200


async def test_projects_and_widths(tenants: Tenants) -> None:
    """A project's keys share; `own`, `off` and `shared` narrow and widen; the narrowest of key and project counts."""
    admin = tenants.world.admin
    await admin.projects.create("red", ProjectSpec())
    await admin.projects.create("narrow", ProjectSpec(stored="own"))
    red, mate = await tenants.key("red1", "red"), await tenants.key("red2", "red")
    lone, off = await tenants.key("red3", "red", "own"), await tenants.key("red4", "red", "off")
    wide, cut = await tenants.key("wide", None, "shared"), await tenants.key("cut", "narrow", "shared")
    tenants.echo.answer = as_json({"id": "file-red"})
    assert (await tenants.ask(red, "POST", "/openai/v1/files")).status_code == 200
    asked = {key: (await tenants.ask(key, "GET", "/openai/v1/files/file-red")).status_code for key in
             (red, mate, lone, off, wide, cut, tenants.mine)}  # fmt: skip
    assert list(asked.values()) == [200, 200, 404, 404, 200, 404, 404]
    assert (await tenants.ask(off, "POST", "/openai/v1/files")).status_code == 200
    tenants.echo.answer = as_json({"data": [{"id": "file-red"}]})
    assert (await tenants.ask(off, "GET", "/openai/v1/files")).json() == {"data": []}


async def test_responses_are_known_at_once_and_from_the_ledger(tenants: Tenants) -> None:
    """A stored response belongs to the key of its row."""
    done = {"id": "resp_1", "model": "gpt-5", "output": [], "status": "completed"}
    tenants.echo.answer = as_json({**done, "usage": {"input_tokens": 1, "output_tokens": 1}})
    assert (await tenants.ask(tenants.mine, "POST", "/openai/v1/responses", CHAT)).status_code == 200
    for method, path in (
        ("GET", "resp_1"),
        ("GET", "resp_1/input_items"),
        ("POST", "resp_1/cancel"),
        ("DELETE", "resp_1"),
    ):
        refused = await tenants.ask(tenants.theirs, method, f"/openai/v1/responses/{path}")
        assert (refused.status_code, refused.headers["x-paig-error"]) == (404, "not-found"), path
        assert (await tenants.ask(tenants.mine, method, f"/openai/v1/responses/{path}")).status_code == 200, path


async def test_two_tenants_on_postgresql(
    environment: None, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole table again: what is read, changed or deleted by its id, and what is listed, at every endpoint."""
    monkeypatch.setenv("PAIG_DATABASE_URL", postgres.fresh_database())
    wrong: list[str] = []
    async with running_tenants(tmp_path) as tenants:
        for number, one in enumerate(BY_ID):
            tenants.owned(kind_of(one[1]), f"id{number}")

        async def by_id(number: int, method: str, row: Endpoint) -> None:
            path = path_of(row, f"id{number}")
            refused = await tenants.ask(tenants.theirs, method, path)
            allowed = await tenants.ask(tenants.mine, method, path)
            if refused.headers.get("x-paig-error") != "not-found" or allowed.status_code != 200:
                wrong.append(f"{method} {path}: {refused.status_code} {allowed.status_code}")

        for start in range(0, len(BY_ID), 24):
            some = list(enumerate(BY_ID))[start : start + 24]
            await asyncio.gather(*(by_id(number, *one) for number, one in some))
        tenants.echo.answer = Answer(b'{"data":[{"id":"other"},{"id":"listed"}]}')
        for method, row in LISTS:
            tenants.owned(kind_of(row), "listed")
            path = path_of(row, "")
            mine = await tenants.ask(tenants.mine, method, path)
            theirs = await tenants.ask(tenants.theirs, method, path)
            if (mine.json(), theirs.json()) != ({"data": [{"id": "listed"}]}, {"data": []}):
                wrong.append(f"{method} {path}: {mine.text} {theirs.text}")
    assert wrong == []
    assert len(BY_ID) > 200


async def test_what_an_objects_work_made_belongs_to_its_owner(tenants: Tenants) -> None:
    """Results of batches, completed uploads, containers that code ran in."""
    mine = tenants.mine
    tenants.echo.answer = as_json({"id": "batch_1", "status": "validating"})
    await tenants.ask(mine, "POST", "/openai/v1/batches", {})
    tenants.echo.answer = as_json({"id": "batch_1", "status": "completed", "output_file_id": "file-out"})
    await tenants.ask(mine, "GET", "/openai/v1/batches/batch_1")
    output = [{"type": "code_interpreter_call", "container_id": "cntr_1"}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    body = {"id": "resp_2", "model": "gpt-5", "output": output, "status": "completed", "usage": usage}
    tenants.echo.answer = as_json(body)
    await tenants.ask(mine, "POST", "/openai/v1/responses", CHAT)
    for path in ("files/file-out/content", "containers/cntr_1"):
        assert (await tenants.ask(mine, "GET", f"/openai/v1/{path}")).status_code == 200, path
        assert (await tenants.ask(tenants.theirs, "GET", f"/openai/v1/{path}")).status_code == 404, path


@pytest.mark.parametrize(
    "answer",
    [
        b'{"data":[{"id":"a"}],"total":7}',
        b'{"data":[{"id":"a"}],"pagination":{"total_items":7}}',
        b"not json",
        b'{"a":[{"id":"x"}],"b":[{"id":"y"}]}',
        b'{"a":[{"id":"x"}],"b":["y"]}',
        b'{"files":{"file-1":{"name":"x"}}}',
        b'{"result":{"data":[{"id":"x"}]}}',
    ],
)
async def test_a_list_that_would_disclose_others_is_refused(tenants: Tenants, answer: bytes) -> None:
    """A total counts what others have; what cannot be read may hold anything."""
    tenants.echo.answer = Answer(answer)
    refused = await tenants.ask(tenants.theirs, "GET", "/openai/v1/files")
    assert (refused.status_code, refused.headers["x-paig-error"]) == (403, "not-allowed")


async def test_a_list_of_nothing_but_ids(tenants: Tenants) -> None:
    """An element may be the id itself."""
    tenants.owned("openai", "file-plain")
    tenants.echo.answer = Answer(b'{"data":["file-plain", "file-of-others", 7, null]}')
    assert (await tenants.ask(tenants.mine, "GET", "/openai/v1/files")).json() == {"data": ["file-plain"]}
    assert (await tenants.ask(tenants.theirs, "GET", "/openai/v1/files")).json() == {"data": []}
    tenants.echo.answer = Answer(b'["file-of-others"]')
    assert (await tenants.ask(tenants.mine, "GET", "/openai/v1/files")).json() == []


async def test_requests_without_ids_read_nothing(tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owners are looked up only where something is named."""
    from paig_gateway.proxy.stored import StoredObjects

    asked: list[object] = []
    monkeypatch.setattr(StoredObjects, "_look_up", lambda self, ids: asked.append(ids))
    tenants.echo.answer = as_json(
        {"id": "c", "model": "gpt-5", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    )
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
    assert (await tenants.ask(tenants.mine, "POST", "/openai/v1/chat/completions", body)).status_code == 200
    assert asked == []
