"""The Gemini API and Vertex AI understand each other's paths, so that a key of either serves the clients of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials
from pydantic_ai import Agent

import paig_client
from paig_client.api.specs import ProviderSpec, RouteSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.faults import Faults
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, running_world

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet_sockets")]


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """An account of each kind under another name, and a route over both, of which the one named first is broken."""

    def faults(received: object) -> Faults | None:
        return Faults(status=503) if "/google-broken/" in f"{getattr(received, 'path', '')}/" else None

    async with running_simulator(Simulator(faults=faults)) as base:
        specs = {
            "studio": ProviderSpec(kind="google", base_url=f"{base}/google", credential="value:a"),
            "cloud": ProviderSpec(kind="google-vertex", base_url=f"{base}/vertex", credential="value:b", project="p"),
            "broken": ProviderSpec(kind="google", base_url=f"{base}/google-broken", credential="value:c"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs) as running:
            both = {"members": [{"provider": "broken", "priority": 9}, {"provider": "cloud"}]}
            await running.admin.routes.create("both", RouteSpec.model_validate(both))
            yield running


def client(world: World, route: str, *, vertex: bool) -> genai.Client:
    """google-genai, aimed at a route, in one of its two modes."""
    options = types.HttpOptions(base_url=f"{world.origin}/proxy/{route}")
    if not vertex:
        return genai.Client(api_key=world.key, http_options=options)
    login = Credentials(token=world.key)  # type: ignore[no-untyped-call]
    return genai.Client(vertexai=True, project="p", location="us-east1", credentials=login, http_options=options)


@pytest.mark.parametrize("vertex", [False, True])
@pytest.mark.parametrize(("route", "provider"), [("studio", "studio"), ("cloud", "cloud"), ("both", "cloud")])
async def test_google_genai_in_both_modes(world: World, route: str, provider: str, vertex: bool) -> None:
    """Each mode at each kind, whole and streamed, and over a route that fails over from one kind to the other."""
    google = client(world, route, vertex=vertex)
    try:
        answer = await google.aio.models.generate_content(model="gemini-2.5-flash", contents="Hi")
        assert answer.text
        stream = await google.aio.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi")
        assert "".join([chunk.text or "" async for chunk in stream])
        assert (await google.aio.models.count_tokens(model="gemini-2.5-flash", contents="Hi")).total_tokens
    finally:
        await google.aio.aclose()
    rows = [row for row in (await world.admin.requests(limit=3)).items if row.format == "gemini"]
    assert {(row.provider, row.certainty, row.status) for row in rows} == {(provider, "exact", 200)}


@pytest.mark.parametrize("kind", ["google", "google-vertex"])
async def test_pydantic_ai_needs_one_of_the_two(environment: None, tmp_path: Path, kind: str) -> None:
    """`gateway/google:` works with a Gemini API key alone, and so does each other spelling with either account."""
    async with running_simulator(Simulator()) as base:
        spec = ProviderSpec(kind=kind, base_url=base + "/google", credential="value:a")
        if kind == "google-vertex":
            spec = ProviderSpec(kind=kind, base_url=base + "/vertex", credential="value:a", project="p")
        async with running_world(tmp_path, {kind: spec}) as world:
            with paig_client.register(api_key=world.key, base_url=f"{world.origin}/proxy"):
                for spelled in ("google", "google-vertex", "google-cloud"):
                    async with Agent(f"gateway/{spelled}:gemini-2.5-flash") as agent:
                        assert (await agent.run("Hello")).output
            rows = (await world.admin.requests(limit=3)).items
            assert {(row.provider, row.route, row.certainty) for row in rows} == {(kind, kind, "exact")}


async def test_another_publishers_models_are_not_geminis(world: World) -> None:
    """Claude on Vertex has no place at the Gemini API."""
    answer = await world.http.post(
        "/proxy/studio/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-5:rawPredict",
        json={"anthropic_version": "vertex-2023-10-16", "max_tokens": 5, "messages": []},
        headers={"x-goog-api-key": world.key},
    )
    assert (answer.status_code, answer.headers["x-paig-error"]) == (400, "no-price")
