"""Keys that are restricted to formats, methods and networks."""

from __future__ import annotations

import pytest

from paig_client.api.specs import KeySpec, ProjectSpec
from paig_gateway.catalog.key_uses import KeyUses
from tests.gateway.end_to_end.conftest import World
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (KeySpec(formats=["anthropic"]), "may not use the API format openai-chat"),
        (KeySpec(methods=["GET"]), "may not use POST"),
        (KeySpec(networks=["10.0.0.0/8"]), "may not be used from 127.0.0.1"),
    ],
)
async def test_what_is_outside_is_refused(simulated: World, spec: KeySpec, says: str) -> None:
    """With `not-allowed`, before anything is held or sent."""
    key = (await simulated.admin.keys.create(f"restricted-{says[-4:]}", spec)).key
    answer = await simulated.http.post(
        "/proxy/openai/chat/completions", json=CHAT, headers={"authorization": f"Bearer {key}"}
    )
    assert (answer.status_code, answer.headers["x-paig-error"]) == (403, "not-allowed")
    assert says in answer.text


async def test_what_is_inside_passes(simulated: World) -> None:
    """A key with all three restrictions, used as they allow."""
    spec = KeySpec(formats=["openai-chat"], methods=["POST"], networks=["127.0.0.0/8", "::1"])
    key = (await simulated.admin.keys.create("inside", spec)).key
    headers = {"authorization": f"Bearer {key}"}
    answer = await simulated.http.post("/proxy/openai/chat/completions", json=CHAT, headers=headers)
    assert answer.status_code == 200
    refused = await simulated.http.post(
        "/proxy/openai/responses", json={"model": "gpt-5-mini", "input": "Hi"}, headers=headers
    )
    assert refused.headers["x-paig-error"] == "not-allowed"


@pytest.mark.parametrize(
    ("project", "key", "says"),
    [
        (ProjectSpec(formats=["anthropic"]), KeySpec(), "may not use the API format openai-chat"),
        (ProjectSpec(methods=["GET"]), KeySpec(methods=["GET", "POST"]), "may not use POST"),
        (ProjectSpec(methods=["POST"]), KeySpec(methods=["GET"]), "may not use POST: it is restricted to none"),
        (ProjectSpec(networks=["10.0.0.0/8"]), KeySpec(networks=["127.0.0.0/8"]), "may not be used from 127.0.0.1"),
        (ProjectSpec(networks=["127.0.0.0/8"]), KeySpec(networks=["10.0.0.0/8"]), "may not be used from 127.0.0.1"),
    ],
)
async def test_a_project_restricts_its_keys(simulated: World, project: ProjectSpec, key: KeySpec, says: str) -> None:
    """What both allow passes; a key of its project cannot widen what the project allows."""
    name = f"p{abs(hash((project.model_dump_json(), key.model_dump_json())))}"
    await simulated.admin.projects.create(name, project)
    made = await simulated.admin.keys.create(name, key.model_copy(update={"project": name}))
    answer = await simulated.http.post(
        "/proxy/openai/chat/completions", json=CHAT, headers={"authorization": f"Bearer {made.key}"}
    )
    assert (answer.status_code, answer.headers["x-paig-error"]) == (403, "not-allowed")
    assert says in answer.text
    await simulated.admin.projects.update(name, {"formats": None, "methods": None, "networks": None})
    await simulated.admin.keys.update(name, {"methods": None, "networks": None})
    answer = await simulated.http.post(
        "/proxy/openai/chat/completions", json=CHAT, headers={"authorization": f"Bearer {made.key}"}
    )
    assert answer.status_code == 200


async def test_when_and_from_where_a_key_was_last_used(simulated: World) -> None:
    """At once where it was used; in the database, for other nodes, before the process ends."""
    made = await simulated.admin.keys.create("last-used", KeySpec())
    before = await simulated.admin.keys.get("last-used")
    assert (before.last_used_at, before.last_used_from) == (None, None)
    headers = {"authorization": f"Bearer {made.key}"}
    await simulated.http.post("/proxy/openai/chat/completions", json=CHAT, headers=headers)
    found = await simulated.admin.keys.get("last-used")
    assert found.last_used_at is not None
    assert found.last_used_at >= before.created_at
    assert found.last_used_from == "127.0.0.1"
    other = KeyUses()  # another node
    await until(lambda: made.id in other.latest(simulated.store.engine))
    await simulated.admin.keys.delete("last-used")
    assert made.id not in other.latest(simulated.store.engine)


async def test_a_refused_use_is_none(simulated: World) -> None:
    """A key that may not be used from there was not used."""
    made = await simulated.admin.keys.create("unused", KeySpec(networks=["10.0.0.0/8"]))
    headers = {"authorization": f"Bearer {made.key}"}
    await simulated.http.post("/proxy/openai/chat/completions", json=CHAT, headers=headers)
    assert (await simulated.admin.keys.get("unused")).last_used_at is None
