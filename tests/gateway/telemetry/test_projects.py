"""Projects with telemetry of their own: where their spans go, and what of their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paig_client.api.specs import ExportSpec, KeySpec, ProjectSpec, ProjectTelemetry
from paig_gateway import config
from paig_gateway.simulator.app import Simulator
from tests.gateway.catalogs import ME, open_catalog, sqlite_url
from tests.gateway.end_to_end.conftest import World
from tests.gateway.telemetry.otlp import Receiver, attributes, over_http
from tests.gateway.telemetry.test_traces import ask, to, traced

pytestmark = pytest.mark.anyio


def said(receiver: Receiver) -> list[str]:
    """The prompts that a backend has seen."""
    found = [attributes(span).get("gen_ai.input.messages") for span in receiver.spans]
    return [prompt for prompt in found if prompt]


async def key_of(world: World, project: str, telemetry: dict[str, Any]) -> str:
    """A key of a new project with that telemetry."""
    spec = ProjectSpec(telemetry=ProjectTelemetry.model_validate(telemetry))
    await world.admin.projects.create(project, spec)
    return (await world.admin.keys.create(f"key of {project}", KeySpec(project=project))).key


async def test_a_projects_spans_go_to_its_own_backend_too(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway's backend has all spans and no word of the content; the project's has its own spans, with it."""
    monkeypatch.setenv("OWN_TOKEN", "the-projects-token")
    with over_http() as all_spans, over_http() as own:
        async with traced(tmp_path, Simulator(), **to(all_spans)) as world:
            export = {"endpoint": own.url, "token": "env:OWN_TOKEN"}
            key = await key_of(world, "research", {"export": export, "content": True, "redact": ["blue"]})
            assert (await ask(world, prompt="Of the project: blue", key=key)).status_code == 200
            assert (await ask(world, prompt="Of nobody")).status_code == 200
            await all_spans.wait(4)
            await own.wait(2)
    assert len(own.spans) == 2
    assert {attributes(span).get("paig.project") for span in own.spans} == {"research", None}
    assert said(all_spans) == []
    assert [prompt.count("Of the project: [hidden]") for prompt in said(own)] == [1]
    assert own.headers[0]["authorization"] == "Bearer the-projects-token"


async def test_a_change_counts_without_a_restart(environment: None, tmp_path: Path) -> None:
    """A gateway that exports nothing begins when a project asks for it, goes elsewhere when told, and ends."""
    with over_http() as first, over_http() as second:
        async with traced(tmp_path, Simulator()) as world:
            key = await key_of(world, "research", {"export": {"endpoint": first.url}})
            await ask(world, key=key)
            await first.wait(2)
            await world.admin.projects.update("research", {"telemetry": {"export": {"endpoint": second.url}}})
            await ask(world, key=key)
            await second.wait(2)
            await world.admin.projects.update("research", {"telemetry": None})
            assert (await world.admin.projects.get("research")).telemetry == ProjectTelemetry()
            await ask(world, key=key)
    assert (len(first.spans), len(second.spans)) == (2, 2)


async def test_content_without_a_backend_of_its_own_goes_to_the_gateways(environment: None, tmp_path: Path) -> None:
    """A project that asks for its content to be recorded, and names no backend, finds it at the gateway's."""
    with over_http() as receiver:
        async with traced(tmp_path, Simulator(), **to(receiver)) as world:
            key = await key_of(world, "research", {"content": True})
            await ask(world, prompt="Of the project", key=key)
            await ask(world, prompt="Of nobody")
            await receiver.wait(4)
    assert len(said(receiver)) == 1


async def test_a_backend_whose_token_is_missing_loses_spans_and_no_request(
    environment: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what cannot be read, and for which project."""
    async with traced(tmp_path, Simulator()) as world:
        export = {"endpoint": "http://127.0.0.1:9", "token": "env:NO_SUCH_TOKEN"}
        key = await key_of(world, "research", {"export": export})
        assert [(await ask(world, key=key)).status_code for _ in range(3)] == [200] * 3
    told = [record.getMessage() for record in caplog.records if record.name == "paig_gateway.telemetry.otlp.exporter"]
    assert len(told) == 1
    assert told[0].startswith("traces cannot be exported to 'project research': the environment variable NO_SUCH_TOKEN")


def test_a_file_keeps_it(tmp_path: Path) -> None:
    """What `paig.toml` says of a project's telemetry is applied, shown by an export, and the same the second time."""
    text = (
        "[projects.research]\n"
        'telemetry = { export = { to = "logfire", token = "env:TOKEN" }, content = true, redact = ["[0-9]+"] }\n'
    )
    with open_catalog(sqlite_url(tmp_path)) as catalog:
        config.apply(config.plan(config.parse(text), catalog), catalog, actor=ME)
        assert config.export(catalog) == text
        assert config.plan(config.parse(text), catalog).changes == ()
        kept = catalog.projects.get("research").telemetry
    assert kept.export == ExportSpec(to="logfire", token="env:TOKEN")


def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path) -> None:
    """A misspelt field inside a project's telemetry is an error that says where it stands."""
    with pytest.raises(config.ConfigError) as caught:
        config.parse('[projects.research]\ntelemetry = { contents = true, export = { to = "logfire" } }\n')
    told = str(caught.value)
    assert "paig.toml:2: projects.research.telemetry.contents: unknown field" in told
    assert "paig.toml:2: projects.research.telemetry.export: logfire needs its write token" in told
