"""Objects that nothing owns are given to a project: read from the account's lists, or named by their ids."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from paig_client.admin import Invalid, NotFound
from paig_client.api.specs import AdoptSpec, KeySpec, OwnerSpec, ProjectSpec, ProviderSpec, RouteSpec
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.gateway.end_to_end.echo import Answer, Asked, Echo, as_json, running_echo

pytestmark = pytest.mark.anyio


def account(asked: Asked) -> Answer:
    """The lists of an account, each API's in its own pages."""
    parts = urlsplit(asked.path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    match parts.path:
        case "/v1/files":
            first = "after" not in query
            page = [{"id": "file-1"}, {"id": "file-2"}] if first else [{"id": "file-3"}]
            return as_json({"object": "list", "data": page, "has_more": first, "last_id": page[-1]["id"]})
        case "/v1/batches":
            return as_json({"error": {"message": "not now"}}, 500)
        case "/v1/assistants":
            assert asked.headers["openai-beta"] == "assistants=v2"
            return as_json({"data": [{"id": "asst_1"}], "has_more": False})
        case "/v1beta/cachedContents":
            more = {} if "pageToken" in query else {"nextPageToken": "p2"}
            return as_json({"cachedContents": [{"name": f"cachedContents/c{len(query)}"}], **more})
        case _:
            return as_json({"error": {"message": "no such thing"}}, 404)


@pytest.fixture(scope="module")
async def shared(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Echo]]:
    """A gateway whose providers share an account that was used before."""
    async with running_echo() as echo:
        echo.by = account
        credential = f"value:{UPSTREAM_KEY}"
        providers = {
            "openai": ProviderSpec(kind="openai", base_url=f"{echo.base}/v1", credential=credential),
            "google": ProviderSpec(kind="google", base_url=echo.base, credential=credential),
        }
        async with running_world(tmp_path_factory.mktemp("home"), providers) as world:
            await world.admin.projects.create("old", OwnerSpec())
            await world.admin.routes.create("both", RouteSpec(members=[{"provider": "openai"}, {"provider": "google"}]))
            yield world, echo


async def statuses(world: World, key: str, *paths: str) -> list[int]:
    """What a key gets for some objects."""
    found = []
    for path in paths:
        answer = await world.http.get(f"/proxy/{path}", headers={"authorization": f"Bearer {key}"})
        found.append(403 if answer.headers.get("x-paig-error") else answer.status_code)
    return found


async def test_a_project_gets_what_nothing_owns(shared: tuple[World, Echo]) -> None:
    """Every page of every list; an owner keeps what it has; a list that cannot be read is named."""
    world, echo = shared
    other = (await world.admin.keys.create("other", KeySpec())).key
    made = await world.admin.keys.create("old", KeySpec(project="old"))
    echo.by = lambda asked: as_json({"id": "file-2"}) if asked.method == "POST" else account(asked)
    await world.http.post("/proxy/openai/v1/files", headers={"authorization": f"Bearer {other}"}, content=b"{}")
    echo.by = lambda asked: as_json({"id": "x"}) if "/file" in asked.path[9:] else account(asked)
    paths = [f"openai/v1/files/file-{number}" for number in (1, 2, 3, 4)]
    assert await statuses(world, made.key, *paths) == [403, 403, 403, 403]
    echo.by = account
    done = await world.admin.adopt_objects(AdoptSpec(route="both", project="old"))
    assert done.adopted == {"assistant": 1, "cached-content": 2, "file": 2}
    assert done.owned == 1
    assert done.problems == ["openai, batches: the provider answers with HTTP 500"]
    echo.by = lambda asked: as_json({"id": "x"})
    assert await statuses(world, made.key, *paths, "google/v1beta/cachedContents/c0") == [200, 403, 200, 403, 200]
    assert await statuses(world, other, *paths) == [403, 200, 403, 403]
    listed = await world.admin.stored_objects(project="old", kind="file")
    assert [(one.provider, one.id, one.key) for one in listed.items] == [
        ("openai", "file-1", None), ("openai", "file-3", None)
    ]  # fmt: skip
    [entry] = await world.admin.audit(action="adopt")
    assert (entry.kind, entry.name, entry.after) == ("project", "old", {"route": "both", "objects": 5})


async def test_objects_are_named_by_their_ids(shared: tuple[World, Echo]) -> None:
    """Of one provider; nothing is asked there."""
    world, echo = shared
    await world.admin.projects.create("named", ProjectSpec())
    key = (await world.admin.keys.create("named", KeySpec(project="named"))).key
    echo.seen.clear()
    done = await world.admin.adopt_objects(AdoptSpec(route="google", project="named", ids=["files/f9"]))
    assert (done.adopted, done.owned, echo.seen) == ({"object": 1}, 0, [])
    again = await world.admin.adopt_objects(AdoptSpec(route="google", project="named", ids=["f9"]))
    assert (again.adopted, again.owned) == ({}, 1)
    echo.by = lambda asked: as_json({"id": "x"})
    assert await statuses(world, key, "google/v1beta/files/f9") == [200]


async def test_what_does_not_fit_is_said(shared: tuple[World, Echo]) -> None:
    """An unknown route or project; ids at a route of several providers."""
    world, _ = shared
    with pytest.raises(Invalid, match="did you mean openai"):
        await world.admin.adopt_objects(AdoptSpec(route="opnai", project="old"))
    with pytest.raises(Invalid, match="several providers"):
        await world.admin.adopt_objects(AdoptSpec(route="both", project="old", ids=["x"]))
    with pytest.raises(NotFound, match="no project"):
        await world.admin.adopt_objects(AdoptSpec(route="openai", project="none", ids=["x"]))


async def test_the_list_has_pages_and_filters(shared: tuple[World, Echo]) -> None:
    """By provider and id, and only what matches."""
    world, _ = shared
    await world.admin.projects.create("pages", OwnerSpec())
    ids = [f"page-{number}" for number in range(5)]
    await world.admin.adopt_objects(AdoptSpec(route="openai", project="pages", ids=ids))
    found, cursor = [], None
    while True:
        page = await world.admin.stored_objects(project="pages", limit=2, cursor=cursor)
        found += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ids
    with pytest.raises(Invalid, match="there is no project 'pagse'; did you mean pages"):
        await world.admin.stored_objects(project="pagse")
    assert json.loads((await world.admin.stored_objects(provider="google", key="old")).model_dump_json())["items"] == []
