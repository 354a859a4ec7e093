"""WebSockets at Azure, xAI, Vertex AI and the Gemini API, over TLS too: paths, keys, models' names, stored objects."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
import trustme
from google import genai
from google.genai import types
from pydantic_ai import Agent
from pydantic_ai.providers.azure import AzureProvider
from pydantic_ai.providers.xai import XaiProvider
from pydantic_ai.realtime import RealtimeTurnCompleteEvent, infer_realtime_model
from pydantic_ai.realtime.azure import AzureRealtimeModel
from pydantic_ai.realtime.xai import XaiRealtimeModel
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from paig_client.api.specs import KeySpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.config import ServerSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import UPSTREAM_KEY, World, running_world
from tests.gateway.end_to_end.test_frames import Provider
from tests.gateway.end_to_end.test_realtime import rows_of, say, url
from tests.gateway.end_to_end.test_sockets import ask, socket, until_type

pytestmark = pytest.mark.anyio

GEMINI = "ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX = "ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
MODEL = "gemini-3.1-flash-live-preview"


def providers(base: str) -> dict[str, ProviderSpec]:
    """A simulated provider of each kind that speaks over WebSockets."""
    own: dict[str, Any] = {"credential": f"value:{UPSTREAM_KEY}"}
    return {
        "openai": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", **own),
        "azure": ProviderSpec(kind="azure", base_url=f"{base}/azure", aliases={"voice": "gpt-realtime"}, **own),
        "xai": ProviderSpec(kind="xai", base_url=f"{base}/xai/v1", **own),
        "google": ProviderSpec(kind="google", base_url=f"{base}/google", **own),
        "google-vertex": ProviderSpec(
            kind="google-vertex", base_url=f"{base}/vertex", project="p", location="us-central1", **own
        ),
    }


@pytest.fixture(scope="module")
async def world(
    environment: None, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A gateway with TLS in front of all of them, and a route that gives models other names."""
    folder = tmp_path_factory.mktemp("tls")
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    server = ServerSpec(tls_cert=str(folder / "cert.pem"), tls_key=str(folder / "key.pem"))
    async with (
        running_simulator(simulator) as base,
        running_world(tmp_path_factory.mktemp("home"), providers(base), server) as world,
    ):
        names = {"talk": "gpt-realtime", "think": "gpt-5", "live": MODEL}
        for route, provider in (("named", "openai"), ("named-live", "google-vertex")):
            spec = RouteSpec.model_validate({"members": [{"provider": provider, "models": names}]})
            await world.admin.routes.create(route, spec)
        yield world


UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


def secure(world: World, path: str, key: str = "", **options: Any) -> Any:
    """A plain WebSocket to the gateway, over TLS."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    headers |= options.pop("headers", {})
    return connect(url(world, path), additional_headers=headers, ssl=UNCHECKED, proxy=None, max_size=None, **options)


async def speak(connection: Any, text: str = "Hello", **response: Any) -> dict[str, Any]:
    """Say something over a plain WebSocket of the Realtime API, and have it answered."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await connection.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await connection.send(json.dumps({"type": "response.create", "response": response}))
    event = await until_type(connection, "response.done", "error")
    assert event["type"] == "response.done", event
    return event


@pytest.mark.parametrize("form", ["deployment", "model"])
async def test_realtime_at_azure(world: World, simulator: Simulator, form: str, monkeypatch: Any) -> None:
    """Azure's own client in the older form, OpenAI's at `/openai/v1`; a deployment is priced as what it stands for."""
    key = await world.make_key(f"azure-{form}", daily=20)
    monkeypatch.setattr("ssl.create_default_context", lambda *_, **__: UNCHECKED)
    host = world.origin.partition("://")[2]
    client: openai.AsyncOpenAI
    if form == "deployment":
        client = openai.AsyncAzureOpenAI(
            api_key=key, azure_endpoint=f"https://{host}/proxy/azure", api_version="2025-04-01-preview",
            websocket_base_url=f"wss://{host}/proxy/azure/openai",
        )  # fmt: skip
    else:
        client = openai.AsyncOpenAI(api_key=key, base_url=f"https://{host}/proxy/azure/openai/v1")
    async with client, client.realtime.connect(model="voice") as connection:
        response = await say(connection, "Hello", output_modalities=["text"], max_output_tokens=100)
    [row] = await rows_of(world, f"azure-{form}", 1)
    assert (row.status, row.certainty, row.provider, row.model) == (101, "exact", "azure", "voice")
    assert row.usage["output_tokens"] == response.usage.output_tokens
    assert Decimal(row.cost) > 0
    received = simulator.requests[-1]
    sent = {
        "deployment": ("/azure/openai/realtime", "api-version=2025-04-01-preview&deployment=voice"),
        "model": ("/azure/openai/v1/realtime", "model=voice"),
    }
    assert (received.path, received.query) == sent[form]
    assert received.header("api-key") == UPSTREAM_KEY
    assert received.header("authorization") is None


async def test_responses_at_azure(world: World, simulator: Simulator) -> None:
    """Each message is a request, as at OpenAI."""
    key = await world.make_key("azure-responses", daily=5)
    async with secure(world, "/proxy/azure/openai/v1/responses", headers={"api-key": key}) as connection:
        await connection.send(ask("Hello"))
        done = await until_type(connection, "response.completed", "error")
    [row] = await rows_of(world, "azure-responses", 1)
    assert (row.provider, row.certainty, row.format) == ("azure", "exact", "openai-responses")
    assert row.usage["output_tokens"] == done["response"]["usage"]["output_tokens"]
    assert simulator.requests[-1].path == "/azure/openai/v1/responses"
    assert simulator.requests[-1].header("api-key") == UPSTREAM_KEY


async def test_realtime_at_xai(world: World, simulator: Simulator) -> None:
    """Billed by the second; the hold is extended while the model goes on speaking; the running total counts once."""
    key = await world.make_key("xai", daily=20)
    async with secure(world, "/proxy/xai/v1/realtime?model=grok-voice-latest", key) as connection:
        await speak(connection, "Hello")
        first = (await speak(connection, "Again"))["usage"]["billable_audio_seconds"]
        long = await speak(connection, "Tell me [sim:tokens=600] [sim:chunk_delay=0.1]")
    one, two, three = await rows_of(world, "xai", 3)
    assert [row.certainty_reason for row in (one, two, three)] == [None] * 3
    seconds = long["usage"]["billable_audio_seconds"] - first
    assert seconds > 60
    assert Decimal(three.reserved) > Decimal(two.reserved)
    assert Decimal(one.cost) < Decimal(three.cost) <= Decimal(three.reserved)
    assert simulator.requests[-1].path == "/xai/v1/realtime"
    assert simulator.requests[-1].header("authorization") == f"Bearer {UPSTREAM_KEY}"


async def test_responses_at_xai(world: World, simulator: Simulator) -> None:
    """The same messages as at OpenAI, priced as Grok."""
    key = await world.make_key("xai-responses", daily=5)
    async with secure(world, "/proxy/xai/responses", key) as connection:
        await connection.send(ask("Hello", model="grok-4"))
        assert (await until_type(connection, "response.completed", "error"))["type"] == "response.completed"
    [row] = await rows_of(world, "xai-responses", 1)
    assert (row.provider, row.model, row.certainty) == ("xai", "grok-4", "exact")
    assert simulator.requests[-1].path == "/xai/v1/responses"


async def live_turn(connection: Any, model: str, **setup: Any) -> list[dict[str, Any]]:
    """Set a session of the Live API up and have one message answered: what came."""
    await connection.send(json.dumps({"setup": {"model": model, **setup}}))
    assert "setupComplete" in json.loads(await connection.recv())
    turns = [{"role": "user", "parts": [{"text": "Hello"}]}]
    await connection.send(json.dumps({"clientContent": {"turns": turns, "turnComplete": True}}))
    found: list[dict[str, Any]] = []
    while not found or "turnComplete" not in found[-1].get("serverContent", {}):
        found.append(json.loads(await connection.recv()))
    return found


@pytest.mark.parametrize(
    ("route", "path", "model"),
    [
        ("google-vertex", VERTEX, f"projects/p/locations/us-central1/publishers/google/models/{MODEL}"),
        ("google-vertex", VERTEX, f"publishers/google/models/{MODEL}"),
        ("google-vertex", GEMINI, f"models/{MODEL}"),
        ("named-live", VERTEX, "publishers/google/models/live"),
        ("google", VERTEX, f"publishers/google/models/{MODEL}"),
        ("google", GEMINI, f"models/{MODEL}"),
    ],
)
async def test_live_at_both_of_googles(world: World, simulator: Simulator, route: str, path: str, model: str) -> None:
    """Either spelling works at either kind: the service, the project and the location are the provider's."""
    name = f"live-{route}-{len(model)}-{'v' if path == VERTEX else 'g'}"
    key = await world.make_key(name, daily=20)
    async with secure(world, f"/proxy/{route}/{path}?key={key}") as connection:
        await live_turn(connection, model)
    [row] = await rows_of(world, name, 1)
    assert (row.certainty, row.format) == ("exact", "gemini-live")
    assert Decimal(row.cost) > 0
    received = simulator.requests[-1]
    assert received.path == ("/google/" + GEMINI if route == "google" else "/vertex/" + VERTEX)
    assert (received.query, received.header("x-goog-api-key")) == ("", UPSTREAM_KEY)


@pytest.mark.parametrize("route", ["google-vertex", "google"])
async def test_another_vertex_project_is_refused(world: World, route: str) -> None:
    """As it is over HTTP: the reason stands in the close frame, and nothing reaches the provider."""
    async with secure(world, f"/proxy/{route}/{VERTEX}", world.key) as connection:
        other = f"projects/other/locations/us-central1/publishers/google/models/{MODEL}"
        await connection.send(json.dumps({"setup": {"model": other}}))
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert "project" in closed.value.rcvd.reason


async def test_googles_sdk_over_tls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK speaks TLS alone; for Vertex AI it names project and location itself."""
    key = await world.make_key("sdk-live", daily=20)
    options = types.HttpOptions(base_url=f"{world.origin}/proxy/google-vertex", api_version="v1beta1")
    client = genai.Client(vertexai=True, api_key=key, http_options=options)
    monkeypatch.setattr(client._api_client, "_websocket_ssl_ctx", {"ssl": UNCHECKED}, raising=False)
    config = types.LiveConnectConfig(response_modalities=[types.Modality.TEXT])
    usages = []
    async with client.aio.live.connect(model=MODEL, config=config) as session:
        turn = types.Content(role="user", parts=[types.Part(text="Hello")])
        await session.send_client_content(turns=turn, turn_complete=True)
        async for message in session.receive():
            if message.usage_metadata is not None:
                usages.append(message.usage_metadata)
    await client.aio.aclose()
    [row], [usage] = await rows_of(world, "sdk-live", 1), usages
    assert (row.provider, row.model, row.certainty) == ("google-vertex", MODEL, "exact")
    assert row.usage["output_tokens"] == usage.response_token_count


async def talk(model: Any, turns: int = 2) -> int:
    """Talk to a realtime model of pydantic-ai: how many output tokens it counted."""
    done = 0
    async with Agent(instructions="Be brief.").realtime(model).session() as session:
        await session.send("Hello")
        async for event in session:
            if isinstance(event, RealtimeTurnCompleteEvent):
                done += 1
                if done == turns:
                    break
                await session.send("And again")
        return session.usage.output_tokens


async def test_pydantic_ais_gemini_live(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its own gateway models; it speaks TLS alone."""
    key = await world.make_key("pydantic-live", daily=20)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_API_KEY", key)
    monkeypatch.setenv("PYDANTIC_AI_GATEWAY_BASE_URL", f"{world.origin}/proxy")
    model: Any = infer_realtime_model(f"gateway/google:{MODEL}")
    monkeypatch.setattr(model._provider.client._api_client, "_websocket_ssl_ctx", {"ssl": UNCHECKED}, raising=False)
    counted = await talk(model)
    rows = [row for row in await rows_of(world, "pydantic-live", 2) if row.certainty]
    assert [(row.provider, row.model, row.certainty) for row in rows] == [("google-vertex", MODEL, "exact")] * 2
    assert sum((row.usage or {})["output_tokens"] for row in rows) == counted


class XaiAtTheGateway(XaiProvider):
    """pydantic-ai derives its WebSocket from this address, and has no setting for it."""

    origin = ""

    @property
    def base_url(self) -> str:
        """The gateway's route."""
        return f"{self.origin}/proxy/xai/v1"


async def test_pydantic_ais_grok_voice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a provider whose address is the gateway's; billed by the second."""
    key = await world.make_key("pydantic-xai", daily=20)
    monkeypatch.setattr("ssl.create_default_context", lambda *_, **__: UNCHECKED)
    monkeypatch.setattr(XaiAtTheGateway, "origin", world.origin)
    await talk(XaiRealtimeModel("grok-voice-latest", provider=XaiAtTheGateway(api_key=key)))
    rows = [row for row in await rows_of(world, "pydantic-xai", 2) if row.certainty]
    assert [(row.provider, row.model, row.certainty) for row in rows] == [("xai", "grok-voice-latest", "exact")] * 2
    assert all(row.cost > 0 for row in rows)


async def test_pydantic_ais_azure_voice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks at the host's own `/openai/v1/realtime`, so at the gateway's one address."""
    key = await world.make_key("pydantic-azure", daily=20)
    monkeypatch.setattr("ssl.create_default_context", lambda *_, **__: UNCHECKED)
    provider = AzureProvider.for_realtime(azure_endpoint=world.origin, api_key=key)
    counted = await talk(AzureRealtimeModel("voice", provider=provider))
    rows = [row for row in await rows_of(world, "pydantic-azure", 2) if row.certainty]
    assert [(row.provider, row.model, row.certainty) for row in rows] == [("azure", "voice", "exact")] * 2
    assert sum((row.usage or {})["output_tokens"] for row in rows) == counted


async def test_models_have_other_names_at_a_member(world: World) -> None:
    """In the query and in messages; rows and the key's `models` know the client's name."""
    spec = KeySpec.model_validate({"models": ["talk", "think"], "limits": {"daily": 20}})
    key = (await world.admin.keys.create("renamed", spec)).key
    async with secure(world, "/proxy/named/realtime?model=talk", key) as connection:
        created = await until_type(connection, "session.created")
        await connection.send(json.dumps({"type": "session.update", "session": {"model": "talk"}}))
        updated = await until_type(connection, "session.updated")
        assert created["session"]["model"] == updated["session"]["model"] == "gpt-realtime"
        await connection.send(json.dumps({"type": "session.update", "session": {"model": "gpt-realtime-mini"}}))
        assert "from its beginning" in (await until_type(connection, "error"))["error"]["message"]
        await speak(connection, output_modalities=["text"])
    async with secure(world, "/proxy/named/responses", key) as connection:
        await connection.send(ask("Hello", model="think"))
        done = await until_type(connection, "response.completed", "error")
        assert done["response"]["model"].startswith("gpt-5")
        await connection.send(ask("Hello", model="gpt-5"))
        assert (await until_type(connection, "error"))["error"]["code"] == "model-not-allowed"
    talk, think, refused = await rows_of(world, "renamed", 3)
    assert (talk.model, talk.certainty, talk.attempts[-1].model) == ("talk", "exact", "gpt-realtime")
    assert (think.model, think.certainty, think.attempts[-1].model) == ("think", "exact", "gpt-5")
    assert refused.error == "model-not-allowed"


async def test_another_owners_objects_are_not_there(world: World) -> None:
    """What a message names must be the key's or its project's; the refusal is an event, and the session goes on."""
    for project in ("north", "south"):
        await world.admin.projects.create(project, ProjectSpec())
    keys = [
        (await world.admin.keys.create(name, KeySpec(project=project))).key
        for name, project in (("mine", "north"), ("colleague", "north"), ("stranger", "south"))
    ]
    async with secure(world, "/proxy/openai/responses", keys[0]) as connection:
        await connection.send(ask("Hello"))
        before = (await until_type(connection, "response.completed"))["response"]["id"]
        await connection.send(ask("Again", previous_response_id=before))
        await until_type(connection, "response.completed")
    async with secure(world, "/proxy/openai/responses", keys[1]) as connection:
        await connection.send(ask("Again", previous_response_id=before))
        assert (await until_type(connection, "response.completed", "error"))["type"] == "response.completed"
    async with secure(world, "/proxy/openai/responses", keys[2]) as connection:
        for named in ({"previous_response_id": before}, {"conversation": "conv_1"}, {"previous_response_id": "no"}):
            await connection.send(ask("Again", event_id="mine", **named))
            refused = await until_type(connection, "response.completed", "error")
            assert (refused["error"]["code"], refused["status"]) == ("not-found", 400)
        await connection.send(ask("Hello"))
        assert (await until_type(connection, "response.completed", "error"))["type"] == "response.completed"
    # In the Realtime API this says where an answer belongs, and names no stored object.
    async with secure(world, "/proxy/openai/realtime?model=gpt-realtime", keys[2]) as connection:
        await speak(connection, conversation="none")


async def test_a_live_session_is_resumed_by_its_owner_alone(world: World) -> None:
    """The handle that the provider gave to one key is of no use to another."""
    mine, stranger = await world.make_key("resumes"), await world.make_key("steals")
    path = f"/proxy/google/{GEMINI}"
    async with secure(world, path, mine) as connection:
        await live_turn(connection, f"models/{MODEL}", sessionResumption={})
        handle = json.loads(await connection.recv())["sessionResumptionUpdate"]["newHandle"]
    async with secure(world, path, mine) as connection:
        await live_turn(connection, f"models/{MODEL}", sessionResumption={"handle": handle})
    async with secure(world, path, stranger) as connection:
        setup = {"model": f"models/{MODEL}", "session_resumption": {"handle": handle}}
        await connection.send(json.dumps({"setup": setup}))
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_what_two_parsers_could_read_differently_is_refused(world: World) -> None:
    """A type or a model given twice could start a turn that the gateway does not see."""
    key = await world.make_key("twice")
    async with secure(world, "/proxy/openai/realtime?model=gpt-realtime", key) as connection:
        for message in (
            '{"type":"response.create","type":"response.cancel"}',
            '{"type":"session.update","session":{"max_output_tokens":9,"max_output_tokens":4096}}',
            '{"type":"response.create","response":{"tools":[],"Tools":[]}}',
        ):
            await connection.send(message)
            assert (await until_type(connection, "error"))["error"]["code"] == "bad-request"


async def test_a_key_in_the_query_is_neither_forwarded_nor_logged(
    world: World, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Browsers and Google's clients put it there; a subprotocol of xAI's carries one too."""
    caplog.set_level(logging.DEBUG)
    key = await world.make_key("in-query")
    async with secure(world, f"/proxy/google/{GEMINI}?key={key}"):
        assert key not in simulator.requests[-1].query + str(simulator.requests[-1].headers)
    async with secure(
        world, "/proxy/xai/realtime?model=grok-voice-latest", subprotocols=["realtime", f"xai-client-secret.{key}"]
    ):
        assert key not in simulator.requests[-1].query + str(simulator.requests[-1].headers)
    said = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not [line for line in said if key in line]


async def test_a_call_is_joined_at_its_side_and_metered(world: World, simulator: Simulator) -> None:
    """What the model says in the call is a row; the call must be the key's own."""
    spec = KeySpec.model_validate({"stored": "shared", "limits": {"daily": 20}})
    key = (await world.admin.keys.create("joins", spec)).key
    async with secure(world, "/proxy/openai/realtime?call_id=rtc_1", key) as connection:
        done = await until_type(connection, "response.done", "error")
        assert done["type"] == "response.done", done
    rows = [row for row in await rows_of(world, "joins", 1) if row.certainty]
    assert simulator.requests[-1].query == "call_id=rtc_1"
    assert [(row.model, row.certainty) for row in rows] == [("gpt-realtime", "exact")]
    assert rows[0].usage["output_tokens"] == done["response"]["usage"]["output_tokens"]
    response = await world.http.get(
        "/proxy/openai/realtime?call_id=rtc_1",
        headers={
            "authorization": f"Bearer {await world.make_key('overhears')}", "connection": "upgrade",
            "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        },
    )  # fmt: skip
    assert (response.status_code, response.headers["x-paig-error"]) == (404, "not-found")


async def test_a_call_that_has_no_room_is_left(world: World) -> None:
    """The session ends with the reason, and nothing stays held."""
    spec = KeySpec.model_validate({"stored": "shared", "limits": {"daily": "0.01"}})
    key = (await world.admin.keys.create("joins-capped", spec)).key
    async with secure(world, "/proxy/openai/realtime?call_id=rtc_2", key) as connection:
        refused = await until_type(connection, "error")
        assert refused["error"]["code"] == "limit-too-small"
        with pytest.raises(ConnectionClosed):
            await until_type(connection, "never")
        assert connection.close_code == 1008
    await rows_of(world, "joins-capped", 1)
    [limit] = [limit for limit in await world.admin.limits() if limit.owner == "joins-capped"]
    assert Decimal(limit.held) == 0


@pytest.mark.parametrize("path", ["client_secrets", "calls"])
async def test_what_leads_past_the_gateway_is_refused_with_the_reason(world: World, path: str) -> None:
    """A client secret or a call over WebRTC costs where the gateway sees nothing."""
    response = await world.http.post(
        f"/proxy/openai/realtime/{path}", headers={"authorization": f"Bearer {world.key}"}, json={}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "no-price")
    message = response.json()["error"]["message"]
    assert "past the gateway" in message
    assert "allow_unmetered" in message


@asynccontextmanager
async def provider_with_tls(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A provider with a certificate of its own authority: its base URL, and the authority's file."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    async with serve(Provider(), "127.0.0.1", 0, ssl=context) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        yield f"https://127.0.0.1:{port}/v1", str(folder / "ca.pem")


async def test_a_provider_with_tls(environment: None, tmp_path: Path) -> None:
    """With its authority it is connected to, without it is not."""
    async with provider_with_tls(tmp_path) as (base, authority):
        own: dict[str, Any] = {"kind": "openai", "base_url": base, "credential": "value:x", "require_price": False}
        specs = {"openai": ProviderSpec(upstream_ca=authority, **own), "unknown": ProviderSpec(**own)}
        async with running_world(tmp_path / "home", specs) as world:
            async with socket(world, world.key, "/proxy/openai/realtime?model=gpt-realtime") as connection:
                assert "session.created" in str(await connection.recv())
            with pytest.raises(Exception, match="502"):
                async with socket(world, world.key, "/proxy/unknown/realtime?model=gpt-realtime"):
                    pass
