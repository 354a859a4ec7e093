"""The one address: the APIs' own paths without `/proxy/ROUTE`, as SDKs use them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from paig_client.admin import AdminError
from paig_client.api.specs import KeySpec, ProviderSpec, RouteSpec
from paig_gateway import config
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.waiting import until

pytestmark = pytest.mark.anyio

HI = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "gpt-5-mini", "messages": HI, "max_completion_tokens": 50}
MESSAGE = {"model": "claude-sonnet-4-5", "messages": HI, "max_tokens": 50}
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One provider of each of three APIs, and a second account at OpenAI that only some keys may use."""
    async with running_simulator(Simulator()) as base:
        specs = {
            "openai": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:a"),
            "second": ProviderSpec(kind="openai", base_url=f"{base}/openai-2/v1", credential="value:b"),
            "anthropic": ProviderSpec(kind="anthropic", base_url=f"{base}/anthropic", credential="value:c"),
            "google": ProviderSpec(kind="google", base_url=f"{base}/google", credential="value:d"),
            "bedrock": ProviderSpec(kind="bedrock", base_url=f"{base}/bedrock", credential="value:e"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs) as running:
            yield running


async def key_for(world: World, name: str, *routes: str, **more: object) -> str:
    """A key that may use some routes."""
    return (await world.admin.keys.create(name, KeySpec.model_validate({"routes": list(routes), **more}))).key


async def serving(world: World, request_id: str) -> tuple[str, str | None, int | None]:
    """Which route and provider a request went to, and its status."""
    row = await world.admin.request(request_id)
    return row.route, row.provider, row.status


async def test_sdks_need_nothing_but_the_address(world: World) -> None:
    """OpenAI's and Anthropic's SDKs, with the addresses that people give them; each finds its own provider."""
    key = await key_for(world, "sdks", "openai", "anthropic")
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{world.origin}/v1") as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": "Hi"}], max_completion_tokens=50
        )
    assert answer.parse().choices[0].message.content
    assert await serving(world, answer.headers["x-paig-request-id"]) == ("openai", "openai", 200)
    async with anthropic.AsyncAnthropic(auth_token=key, base_url=world.origin) as claude:
        message = await claude.messages.with_raw_response.create(
            model="claude-sonnet-4-5", max_tokens=50, messages=[{"role": "user", "content": "Hi"}]
        )
    assert message.headers["x-paig-request-id"]
    assert await serving(world, message.headers["x-paig-request-id"]) == ("anthropic", "anthropic", 200)


async def test_claude_in_openais_format_goes_where_the_model_is_known(world: World) -> None:
    """Of two providers that speak the format, the one that knows the model."""
    key = await key_for(world, "known", "openai", "anthropic")
    body = {"model": "claude-sonnet-4-5", "messages": HI, "max_tokens": 50}
    answer = await world.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    assert await serving(world, answer.headers["x-paig-request-id"]) == ("anthropic", "anthropic", answer.status_code)


@pytest.mark.parametrize(
    ("path", "body", "provider"),
    [
        ("/v1/responses", {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 50}, "openai"),
        ("//v1//chat/completions", CHAT, "openai"),
        ("/openai/v1/chat/completions", CHAT, "openai"),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
            "google",
        ),
        (
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
            {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 50}},
            "bedrock",
        ),
    ],
)
async def test_each_api_has_its_own_paths(world: World, path: str, body: object, provider: str) -> None:
    """Whatever the API's paths begin with."""
    key = await key_for(world, f"paths {path}", "openai", "google", "bedrock")
    answer = await world.http.post(world.origin + path, json=body, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    assert await serving(world, answer.headers["x-paig-request-id"]) == (provider, provider, 200)


async def test_several_candidates_are_named_until_models_decides(world: World) -> None:
    """400 with the candidates and the line to add; an entry of `[models]` decides, the longest pattern first."""
    key = await key_for(world, "several", "openai", "second")
    headers = {"authorization": f"Bearer {key}"}
    refused = await world.http.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "ambiguous-request")
    error = refused.json()["error"]
    assert error["paig"] == {"routes": "openai, second", "model": "gpt-5-mini"}
    assert '"gpt-5-mini" = "openai"' in error["message"]
    assert "/proxy/openai/v1/chat/completions" in error["message"]
    await world.admin.update_organisation({"models": {"gpt-*": "openai", "gpt-5*": "second"}})
    try:

        async def decided() -> bool:
            answer = await world.http.post("/v1/chat/completions", json=CHAT, headers=headers)
            return answer.status_code == 200 and (
                await serving(world, answer.headers["x-paig-request-id"]) == ("second", "second", 200)
            )

        await until(decided)
        confined = await key_for(world, "confined", "openai")
        answer = await world.http.post(
            "/v1/chat/completions", json=CHAT, headers={"authorization": f"Bearer {confined}"}
        )
        assert (answer.status_code, answer.headers["x-paig-error"]) == (404, "route-not-found")
        assert "Routes it may use: openai." in answer.text
    finally:
        await world.admin.update_organisation({"models": None})


async def test_a_model_that_no_route_knows(world: World) -> None:
    """400 with the routes that speak the format."""
    key = await key_for(world, "unknown model", "openai", "google")
    answer = await world.http.post(
        "/v1/chat/completions", json={**CHAT, "model": "no-such-model"}, headers={"authorization": f"Bearer {key}"}
    )
    assert (answer.status_code, answer.headers["x-paig-error"]) == (400, "ambiguous-request")
    assert "No route is known to serve the model 'no-such-model'" in answer.text
    assert answer.json()["error"]["paig"]["routes"] == "google, openai"


async def test_without_a_model_the_header_decides(world: World) -> None:
    """`anthropic-version` means Anthropic's; without it the request is refused where several may be meant."""
    key = await key_for(world, "no model", "openai", "second", "anthropic")
    headers = {"authorization": f"Bearer {key}"}
    there = await world.http.get("/v1/files", headers={**headers, **VERSION})
    assert await serving(world, there.headers["x-paig-request-id"]) == ("anthropic", "anthropic", there.status_code)
    refused = await world.http.get("/v1/files", headers=headers)
    assert (refused.status_code, refused.headers["x-paig-error"]) == (400, "ambiguous-request")
    assert refused.json()["error"]["paig"]["routes"] == "openai, second"
    assert "names no model" in refused.text


async def test_a_stored_object_is_asked_for_where_it_is(world: World) -> None:
    """A response that was made at the second account is read back from there, by its id alone."""
    key = await key_for(world, "stored", "openai", "second")
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "gpt-5-mini", "input": "Hi", "max_output_tokens": 50}
    made = await world.http.post("/proxy/second/v1/responses", json=body, headers=headers)

    async def there() -> bool:
        found = await world.http.get(f"/v1/responses/{made.json()['id']}", headers=headers)
        return found.status_code == 200 and found.json()["id"] == made.json()["id"]

    await until(there)


async def test_keys_count_as_they_do_elsewhere(world: World) -> None:
    """No key, and a model outside the key's own: refused in the API's shape."""
    answer = await world.http.post("/v1/messages", json=MESSAGE, headers=VERSION)
    assert (answer.status_code, answer.headers["x-paig-error"]) == (401, "missing-key")
    assert answer.json()["error"]["type"] == "authentication_error"
    key = await key_for(world, "narrow", "openai", models=["gpt-4o*"])
    answer = await world.http.post("/v1/chat/completions", json=CHAT, headers={"authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.headers["x-paig-error"]) == (403, "model-not-allowed")


async def test_a_path_that_no_route_has(world: World) -> None:
    """404, with the way to name a route."""
    answer = await world.http.post("/v1/no/such/thing", json={}, headers={"authorization": f"Bearer {world.key}"})
    assert (answer.status_code, answer.headers["x-paig-error"]) == (404, "route-not-found")
    assert "/proxy/ROUTE/v1/no/such/thing" in answer.text


async def test_a_forgotten_proxy_is_told(world: World) -> None:
    """What is no API's own path is not served, and the answer says where it would be."""
    answer = await world.http.post("/anthropic/v1/messages", json=MESSAGE)
    assert answer.status_code == 404
    assert "/proxy/anthropic/v1/messages" in answer.json()["detail"]
    assert "forgotten" not in (await world.http.get("/admin/v1/models")).text


@pytest.mark.parametrize(
    "path", ["/groq/openai/v1/chat/completions", "/anthropic/messages", "/bedrock/model/m/converse"]
)
async def test_a_forgotten_proxy_is_told_whatever_the_path(world: World, path: str) -> None:
    """Also where no version follows the route's name."""
    answer = await world.http.post(path, json={})
    assert answer.status_code == 404
    assert f"Send it to /proxy{path}" in answer.json()["detail"]


async def test_what_models_names_cannot_be_deleted(world: World) -> None:
    """Neither the route nor the provider that an entry of `[models]` leads to."""
    admin = world.admin
    await admin.providers.create("leaving", ProviderSpec(kind="openai", credential="value:x"))
    await admin.routes.create("way", RouteSpec.model_validate({"members": [{"provider": "leaving"}]}))
    await admin.update_organisation({"models": {"far-*": "way", "near-*": "leaving"}})
    with pytest.raises(AdminError, match=r"The route 'way' is named by the entries of \[models\] 'far-\*'"):
        await admin.routes.delete("way")
    await admin.update_organisation({"models": {"far-*": None}})
    await admin.routes.delete("way")
    with pytest.raises(AdminError, match=r"The provider 'leaving' is named by the entries of \[models\] 'near-\*'"):
        await admin.providers.delete("leaving")
    await admin.update_organisation({"models": None})
    await admin.providers.delete("leaving")


def socket(world: World, key: str, path: str) -> Any:
    """A WebSocket to the one address."""
    origin = world.origin.replace("http", "ws", 1)
    return connect(origin + path, additional_headers={"authorization": f"Bearer {key}"}, proxy=None)


@pytest.mark.parametrize(
    ("path", "routes", "message", "done"),
    [
        ("/v1/responses", ["openai", "google"],
         {"type": "response.create", "model": "gpt-5", "input": "Hi", "max_output_tokens": 50}, "response.completed"),
        ("/v1/realtime?model=gpt-realtime", ["openai", "google"], {"type": "response.create"}, "response.done"),
        ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", ["openai", "google"],
         {"setup": {"model": "models/gemini-2.5-flash"}}, "setupComplete"),
    ],
)  # fmt: skip
async def test_websockets(world: World, path: str, routes: list[str], message: dict[str, object], done: str) -> None:
    """The APIs' own paths find the only route that speaks them, or knows the model."""
    key = await key_for(world, f"socket {path}", *routes)
    async with socket(world, key, path) as connection:
        await connection.send(json.dumps(message))
        while done not in (said := str(await connection.recv())):
            assert '"type":"error"' not in said


async def test_websockets_that_may_mean_several_routes(world: World) -> None:
    """400 with the candidates; `[models]` decides where the query names a model; elsewhere 404."""
    key = await key_for(world, "several sockets", "openai", "second")
    with pytest.raises(InvalidStatus) as refused:
        await socket(world, key, "/v1/realtime?model=gpt-realtime").__aenter__()
    assert refused.value.response.status_code == 400
    assert refused.value.response.headers["x-paig-error"] == "ambiguous-request"
    assert b"openai, second" in (refused.value.response.body or b"")
    google = await key_for(world, "no such socket", "google")
    with pytest.raises(InvalidStatus) as none:
        await socket(world, google, "/v1/realtime?model=gpt-realtime").__aenter__()
    assert none.value.response.headers["x-paig-error"] == "route-not-found"
    with pytest.raises(InvalidStatus) as forgotten:
        await socket(world, key, "/second/v1/realtime?model=gpt-realtime").__aenter__()
    assert b"/proxy/second/v1/realtime" in (forgotten.value.response.body or b"")
    await world.admin.update_organisation({"models": {"gpt-realtime": "second"}})
    try:

        async def decided() -> bool:
            try:
                async with socket(world, key, "/v1/realtime?model=gpt-realtime"):
                    return True
            except InvalidStatus:
                return False

        await until(decided)
    finally:
        await world.admin.update_organisation({"models": None})


async def test_models_is_a_table_of_the_file(world: World) -> None:
    """`[models]` is applied, exported, left alone by files without it, and refused where it names no route."""
    catalog = world.store.catalog
    before = config.export(catalog)
    text = '[providers.a]\nkind = "openai"\n\n[models]\n"gpt-5*" = "a"\no3 = "a"\n'
    parsed = config.parse(text)
    config.apply(config.plan(parsed, catalog), catalog, actor="test")
    assert '[models]\n"gpt-5*" = "a"\no3 = "a"\n' in config.export(catalog)
    assert not config.plan(config.parse(config.export(catalog)), catalog).changes
    alone = config.plan(config.parse("[organisation]\nlimits = { daily = 5 }\n"), catalog)
    assert [change.changes.get("models") for change in alone.changes] == [None]
    config.apply(config.plan(config.parse(before), catalog, prune=True), catalog, actor="test")
    assert config.export(catalog) == before
    with pytest.raises(config.ConfigError, match=r"paig.toml:5: models.x: there is no route or provider .b."):
        config.parse('[providers.a]\nkind = "openai"\n\n[models]\nx = "b"\n')
    with pytest.raises(config.ConfigError, match=r"write \[models\]"):
        config.parse('[organisation]\nmodels = { x = "a" }\n')
