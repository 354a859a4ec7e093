"""`POST providers/{name}/test`: a small free request, and what comes of it explained."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from paig_client.admin import NotFound
from paig_client.api.resources import ProviderCheck
from paig_client.api.specs import ProviderSpec
from paig_gateway.admin import provider_check
from paig_gateway.admin.provider_check import PROBES
from paig_gateway.providers.kinds import KINDS
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import SIMULATED, UPSTREAM_KEY, World, running_world, simulated_providers

pytestmark = pytest.mark.anyio

WRONG = "sk-wrong-9876543210"


class Answers:
    """A provider that gives every request the one answer that a test wants, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
        self.body = b'{"data":[{"id":"a"},{"id":"b"}]}'
        self.missing: tuple[str, ...] = ()
        self.asked: list[tuple[str, str, dict[bytes, bytes], bytes]] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        path = scope["raw_path"].decode()
        self.asked.append((scope["method"], path, dict(scope["headers"]), body))
        status = 404 if path in self.missing else self.status
        await send({"type": "http.response.start", "status": status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})

    def error(self, status: int, message: str) -> None:
        """Answer with an error in OpenAI's shape."""
        self.status, self.body = status, json.dumps({"error": {"message": message}}).encode()


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway in front of simulated providers that take one key alone, each also with a wrong one."""
    strict = Simulator(credentials=[UPSTREAM_KEY])
    async with running_simulator(strict) as base:
        good = simulated_providers(base)
        wrong = {
            f"wrong-{name}": spec.model_copy(update={"credential": f"value:{WRONG}"}) for name, spec in good.items()
        }
        async with running_world(tmp_path_factory.mktemp("home"), {**good, **wrong}) as running:
            yield running


@pytest.fixture
def answers() -> Answers:
    """What the provider answers."""
    return Answers()


@pytest.fixture
async def scripted(environment: None, answers: Answers, tmp_path: Path) -> AsyncIterator[tuple[World, str]]:
    """A gateway, and the address of a provider that does as it is told."""
    async with running_simulator(answers) as base, running_world(tmp_path, {}) as running:  # type: ignore[arg-type]
        yield running, base


async def tried(world: World, base: str, kind: str = "openai", **more: Any) -> ProviderCheck:
    """A provider at that address, tried out."""
    spec = ProviderSpec(kind=kind, base_url=base, **{"credential": f"value:{UPSTREAM_KEY}", **more})
    await world.admin.providers.create("p", spec)
    return await world.admin.providers.test("p")


@pytest.mark.parametrize("name", SIMULATED)
async def test_every_kind_that_is_simulated(world: World, name: str) -> None:
    """With its key it is taken; the provider takes no other; nothing is in the ledger of it."""
    found = await world.admin.providers.test(name)
    assert (found.outcome, found.ok) == ("ok", True), found
    assert found.ms > 0
    refused = await world.admin.providers.test(f"wrong-{name}")
    assert (refused.outcome, refused.ok, refused.status) == ("unauthorised", False, refused.status), refused
    assert "does not take the credential" in refused.message
    assert WRONG not in refused.model_dump_json()
    assert (await world.admin.usage()).total.requests == 0


async def test_models_are_counted(scripted: tuple[World, str], answers: Answers) -> None:
    """What was asked, and how many models there are, is said."""
    found = await tried(*scripted)
    assert (found.outcome, found.status, found.models) == ("ok", 200, 2)
    assert found.request == f"GET {scripted[1]}/v1/models"
    [(method, path, headers, _)] = answers.asked
    assert (method, path, headers[b"authorization"]) == ("GET", "/v1/models", f"Bearer {UPSTREAM_KEY}".encode())


async def test_where_there_is_no_list_a_request_that_cannot_cost_is_made(
    scripted: tuple[World, str], answers: Answers
) -> None:
    """A chat without a model must be refused; a provider that accepts the credential names the missing model."""
    answers.missing = ("/v1/models",)
    answers.error(400, "you must provide a model parameter")
    found = await tried(*scripted)
    assert found.ok, found
    assert [(method, path, body) for method, path, _, body in answers.asked][-1] == (
        "POST",
        "/v1/chat/completions",
        b"{}",
    )


@pytest.mark.parametrize(
    ("status", "said", "outcome", "words"),
    [
        (401, "Incorrect API key provided", "unauthorised", "not revoked"),
        (400, "API key not valid. Please pass a valid API key.", "unauthorised", "not revoked"),
        (403, "The security token included in the request is invalid.", "unauthorised", "not revoked"),
        (403, "You have no access to models", "forbidden", "permissions"),
        (404, "Not Found", "not-found", "https://api.openai.com/v1"),
        (402, "Insufficient balance", "no-means", "no credit"),
        (429, "You exceeded your current quota", "no-means", "used up"),
        (500, "oops", "failed", "problem of its own"),
        (418, "teapot", "failed", "HTTP 418"),
    ],
)
async def test_what_a_status_means(
    scripted: tuple[World, str], answers: Answers, status: int, said: str, outcome: str, words: str
) -> None:
    """Each is told apart, with the provider's own words."""
    answers.error(status, said)
    found = await tried(*scripted)
    assert (found.outcome, found.ok, found.status) == (outcome, False, status)
    assert words in found.message
    assert found.message.endswith(f"It says: {said}")


async def test_a_repeated_credential_is_blacked_out(scripted: tuple[World, str], answers: Answers) -> None:
    """Some providers quote the key that they refuse."""
    answers.error(401, f"no such key: {UPSTREAM_KEY}")
    assert (await tried(*scripted)).message.endswith("It says: no such key: …")


async def test_a_path_that_is_not_an_api_is_reported(scripted: tuple[World, str], answers: Answers) -> None:
    """A website, or a redirection to one."""
    answers.body = b"<!doctype html><title>Welcome</title>"
    found = await tried(*scripted)
    assert (found.outcome, found.status) == ("not-the-api", 200)
    assert "no JSON" in found.message
    answers.status, answers.headers = 308, [(b"location", b"https://www.example.com/login?next=secret")]
    found = await scripted[0].admin.providers.test("p")
    assert found.outcome == "not-the-api"
    assert "https://www.example.com/login." in found.message


async def test_without_a_credential(scripted: tuple[World, str], answers: Answers) -> None:
    """One that wants none is fine; one that does says so."""
    assert (await tried(*scripted, kind="openai-compatible", credential=None)).message == "It answers."
    answers.error(401, "key, please")
    found = await scripted[0].admin.providers.test("p")
    assert "wants a credential, and has none" in found.message


async def test_an_open_list_says_nothing_of_the_credential(scripted: tuple[World, str]) -> None:
    """And it is not claimed to."""
    found = await tried(*scripted, kind="huggingface")
    assert found.ok
    assert "not known" in found.message


async def test_a_credential_that_cannot_be_had(scripted: tuple[World, str], answers: Answers) -> None:
    """The reference is named, and nothing is sent."""
    found = await tried(*scripted, credential="env:TEST_NOT_SET")
    assert (found.outcome, found.request) == ("credential", "none was sent")
    assert "TEST_NOT_SET" in found.message
    await scripted[0].admin.providers.update("p", {"credential": "value:schlüssel"})
    found = await scripted[0].admin.providers.test("p")
    assert found.outcome == "credential"
    assert "not allowed in a header" in found.message
    assert answers.asked == []


async def test_a_name_that_does_not_resolve(scripted: tuple[World, str]) -> None:
    """DNS is named as what failed."""
    found = await tried(scripted[0], "http://no-such-host.invalid")
    assert (found.outcome, found.status) == ("dns", None)
    assert "no-such-host.invalid does not resolve" in found.message


async def test_nothing_listens(scripted: tuple[World, str]) -> None:
    """Host and port are named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = await tried(scripted[0], f"http://127.0.0.1:{port}")
    assert found.outcome == "unreachable"
    assert f"127.0.0.1 port {port}" in found.message


async def test_a_certificate_that_is_not_trusted(scripted: tuple[World, str]) -> None:
    """TLS is named as what failed, whether the certificate or the talk itself is wrong."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        found = await tried(scripted[0], f"https://localhost:{server.sockets[0].getsockname()[1]}")
    assert found.outcome == "tls", found
    assert "SSL_CERT_FILE" in found.message
    await scripted[0].admin.providers.update(
        "p", {"base_url": scripted[1].replace("http:", "https:"), "credential": "value:sk-up"}
    )
    assert (await scripted[0].admin.providers.test("p")).outcome == "tls"


async def test_one_that_never_answers(scripted: tuple[World, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up."""
    monkeypatch.setattr(provider_check, "SECONDS", 0.3)
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    async with server:
        found = await tried(scripted[0], f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for writer in held:
            writer.close()
    assert found.outcome == "timeout"


async def test_one_that_is_not_there(world: World) -> None:
    """As of any object."""
    with pytest.raises(NotFound):
        await world.admin.providers.test("nobody")


def test_probes_are_of_kinds_that_there_are() -> None:
    """No row is for a kind that is no more."""
    assert {*PROBES, *provider_check.PUBLIC} <= set(KINDS)
