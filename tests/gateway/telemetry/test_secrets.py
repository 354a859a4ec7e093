"""A full run over many formats, failures included: no secret is in any log, span, metric, error or admin answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import SIMULATED
from tests.gateway.telemetry.conftest import Served, serving
from tests.gateway.telemetry.otlp import over_http

pytestmark = pytest.mark.anyio

SECRETS = {
    "PAIG_SECRET_KEY": "secret-of-the-vault-0001",
    "PAIG_ADMIN_TOKEN": "secret-of-the-admin-0002",
    "GOOD_KEY": "secret-of-a-client-0003",
    "POOR_KEY": "paig_secret_of_a_poor_client_0004",
    "SCRAPER": "secret-of-the-scraper-0005",
    "OTLP_TOKEN": "secret-of-the-backend-0006",
    **{f"{name.upper().replace('-', '_')}_CREDENTIAL": f"secret-of-{name}-0007" for name in SIMULATED},
}
LITERAL = "secret-literal-credential-0008"
CONFIG = """
[telemetry]
log = "json"
log_level = "debug"
log_requests = true
metrics_token = "env:SCRAPER"
export = {{ endpoint = "{receiver}", token = "env:OTLP_TOKEN" }}
content = true

[providers.down]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
credential = "value:{literal}"

[keys.good]
secret = "env:GOOD_KEY"

[keys.poor]
secret = "env:POOR_KEY"
limits = {{ daily = 0 }}
"""
PROVIDER = """
[providers.{name}]
kind = "{name}"
base_url = "{base}{path}"
credential = "env:{credential}_CREDENTIAL"
{more}
"""


def config(base: str, receiver: str) -> str:
    """All simulated providers, and one that is down."""
    found = CONFIG.format(receiver=receiver, literal=LITERAL)
    for name, path in SIMULATED.items():
        more = 'project = "p"' if name == "google-vertex" else ""
        credential = name.upper().replace("-", "_")
        found += PROVIDER.format(name=name, base=base, path=path, credential=credential, more=more)
    return found


def chat(prompt: str, **more: Any) -> dict[str, Any]:
    """A chat completion's body."""
    return {"model": "gpt-5", "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 50, **more}


def requests() -> list[tuple[str, dict[str, Any]]]:
    """Paths and bodies of many formats, each good, and some that fail in every way."""
    turn = [{"role": "user", "parts": [{"text": "Hi"}]}]
    said = [{"role": "user", "content": [{"text": "Hi"}]}]
    claude = {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    gemini = {"contents": turn, "generationConfig": {"maxOutputTokens": 50}}
    converse = {"messages": said, "inferenceConfig": {"maxTokens": 50}}
    vertex = "/google-vertex/v1beta1/publishers/google/models/gemini-2.5-flash"
    good: list[tuple[str, dict[str, Any]]] = [
        ("/openai/chat/completions", chat("Hi")),
        ("/openai/chat/completions", chat("Hi", stream=True)),
        ("/openai/responses", {"model": "gpt-5", "input": "Hi", "max_output_tokens": 50}),
        ("/openai/embeddings", {"model": "text-embedding-3-small", "input": "Hi"}),
        ("/anthropic/v1/messages", claude),
        ("/anthropic/v1/messages", {**claude, "stream": True}),
        ("/google/v1beta/models/gemini-2.5-flash:generateContent", gemini),
        ("/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", gemini),
        (f"{vertex}:generateContent", gemini),
        ("/groq/openai/v1/chat/completions", chat("Hi", model="openai/gpt-oss-120b")),
        ("/bedrock/model/amazon.nova-micro-v1%3A0/converse", converse),
        ("/mistral/v1/chat/completions", chat("Hi", model="mistral-large-latest", max_tokens=50)),
    ]
    bad: list[tuple[str, dict[str, Any]]] = [
        ("/openai/chat/completions", chat("[sim:status=500]")),
        ("/openai/chat/completions", chat("[sim:reset]")),
        ("/openai/chat/completions", chat("[sim:disconnect=2] Hi", stream=True)),
        ("/anthropic/v1/messages", {**claude, "messages": [{"role": "user", "content": "[sim:status=529]"}]}),
        ("/openai/chat/completions", chat("Hi", model="no-such-model")),
        ("/openai/chat/completions", {"messages": 3}),
        ("/down/chat/completions", chat("Hi")),
        ("/nowhere/chat/completions", chat("Hi")),
        ("/openai/no/such/path", {}),
    ]
    return [*good, *bad]


async def traffic(http: httpx2.AsyncClient) -> AsyncIterator[str]:
    """Every answer to every request, headers included."""
    good, poor = SECRETS["GOOD_KEY"], SECRETS["POOR_KEY"]
    shown = [{"authorization": f"Bearer {good}"}, {"x-api-key": good}, {"x-goog-api-key": good}]
    sigv4 = f"AWS4-HMAC-SHA256 Credential={good}/20261123/us-east-1/bedrock/aws4_request, Signature=0"
    ways = [*shown, {"authorization": sigv4}, {"authorization": f"Bearer {poor}"}]
    for path, body in requests():
        for headers in ways[:: 2 if "[sim" in json.dumps(body) else 1]:
            try:
                answer = await http.post(f"/proxy{path}", headers=headers, json=body)
            except httpx2.TransportError:
                continue  # broken off on purpose
            yield f"{answer.status_code} {dict(answer.headers)} {answer.text}"
    answer = await http.post(f"/proxy/google/v1beta/models/gemini-2.5-flash:generateContent?key={good}", json={})
    yield f"{dict(answer.headers)} {answer.text}"


async def administration(http: httpx2.AsyncClient) -> AsyncIterator[str]:
    """Every listing of the admin API, some mistakes, and the metrics."""
    admin = {"authorization": f"Bearer {SECRETS['PAIG_ADMIN_TOKEN']}"}
    kinds = ("providers", "routes", "projects", "users", "keys", "requests", "usage?group=key", "limits", "audit")
    for path in (*kinds, "health", "providers/openai", "keys/good", "no-such-thing"):
        yield (await http.get(f"/admin/v1/{path}", headers=admin)).text
    wrong = {"kind": "openai", "credential": f"value:{LITERAL}", "no_such_field": 1}
    yield (await http.put("/admin/v1/providers/other", headers=admin, json=wrong)).text
    yield (await http.post("/admin/v1/providers", headers=admin, json={"name": "x", **wrong})).text
    yield (await http.get("/admin/v1/keys", headers={"authorization": f"Bearer {SECRETS['GOOD_KEY']}"})).text
    yield (await http.get("/metrics", headers={"authorization": f"Bearer {SECRETS['SCRAPER']}"})).text
    yield (await http.get("/metrics")).text


async def test_no_secret_is_told(tmp_path: Path) -> None:
    """Neither clients' keys nor credentials, tokens and the vault's key are in anything that comes out."""
    told: list[str] = []
    with over_http() as receiver:
        async with running_simulator() as base:
            served = await run(tmp_path, config(base, receiver.url), told)
        spans = [span for span in receiver.spans if span.attributes]
        told += [served.log, *map(str, receiver.traces)]
    names = {span.name.split()[0] for span in spans}
    assert {"POST", "chat", "generate_content", "embeddings"} <= names
    statuses = {answer[:3] for answer in told if answer[:3].isdigit()}
    assert {"200", "400", "402", "404", "500", "502", "529"} <= statuses
    assert served.log.count('"message": "request"') > 50
    everything = "\n".join(told)
    assert "paig_requests_total" in everything
    assert [name for name, secret in {**SECRETS, "LITERAL": LITERAL}.items() if secret in everything] == []


async def run(home: Path, text: str, told: list[str]) -> Served:
    """Serve, use, administer and stop a gateway; what it answered is in `told`."""
    async with (
        serving(home, text, **SECRETS) as served,
        httpx2.AsyncClient(base_url=served.origin, trust_env=False, timeout=60) as http,
    ):
        told.extend([answer async for answer in traffic(http)])
        told.extend([answer async for answer in administration(http)])
    return served
