"""A full run over many formats, failures included: no secret is in anything that comes out of the gateway."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx2
import pytest

from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.client.cli.conftest import Paig, paig
from tests.gateway.alerts.test_alerts import listening
from tests.gateway.end_to_end.conftest import SIMULATED
from tests.gateway.telemetry.conftest import serving
from tests.gateway.telemetry.otlp import over_http, until

__all__ = ["paig"]
pytestmark = pytest.mark.anyio

SECRETS = {
    "PAIG_SECRET_KEY": "secret-of-the-vault-0001",
    "PAIG_ADMIN_TOKEN": "secret-of-the-admin-0002",
    "GOOD_KEY": "secret-of-a-client-0003-which-is-long",
    "POOR_KEY": "paig_secret_of_a_poor_client_0004",
    "SCRAPER": "secret-of-the-scraper-0005",
    "ODD_KEY": "secret+of/an=odd~client&0009",
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
export_metrics = {{ endpoint = "{receiver}", headers = {{ x-team = "env:OTLP_TOKEN" }} }}
export_metrics_seconds = 1
content = true

[alerts]
webhook = "env:WEBHOOK"

[providers.down]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
credential = "value:{literal}"

[keys.good]
secret = "env:GOOD_KEY"

[keys.poor]
secret = "env:POOR_KEY"
limits = {{ daily = 0 }}

[keys.odd]
secret = "env:ODD_KEY"
limits = {{ total = 0.0000001, soft = true }}
"""
PROVIDER = """
[providers.{name}]
kind = "{name}"
base_url = "{base}{path}"
credential = "env:{credential}"
{more}
"""


def config(base: str, receiver: str) -> str:
    """All simulated providers, and one that is down."""
    found = CONFIG.format(receiver=receiver, literal=LITERAL)
    for name, path in SIMULATED.items():
        more = 'project = "p"' if name == "google-vertex" else ""
        found += PROVIDER.format(name=name, base=base, path=path, credential=credential(name), more=more)
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


def spellings() -> list[dict[str, str]]:
    """Every way in which a client says its key, right or wrong."""
    good, poor, odd = (SECRETS[name] for name in ("GOOD_KEY", "POOR_KEY", "ODD_KEY"))
    signed = f"Credential={good}/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0"
    basic = base64.b64encode(f"user:{good}".encode()).decode()
    return [
        {"authorization": f"Bearer {good}"},
        {"x-api-key": good},
        {"x-goog-api-key": good},
        {"authorization": f"AWS4-HMAC-SHA256 {signed}"},
        {"authorization": f"Bearer {poor}"},
        {"AUTHORIZATION": f"BEARER   {good}"},
        {"Api-Key": odd},
        {"X-Api-Key": good, "Authorization": f"bearer {good}", "X-Goog-Api-Key": good, "cookie": f"key={good}"},
        {"authorization": f"Basic {basic}"},
        {"authorization": good},
        {"proxy-authorization": f"Bearer {good}"},
        {"authorization": f"Bearer {good} "},
    ]


def queries() -> list[str]:
    """Every query in which a client may send a key."""
    good, odd = SECRETS["GOOD_KEY"], SECRETS["ODD_KEY"]
    presigned = quote(f"{good}/20261123/us-east-1/bedrock/aws4_request", safe="")
    return [
        f"key={good}",
        f"alt=sse&KEY={quote(odd, safe='')}",
        f"k%65y={quote_plus(odd)}",
        f"api_key={good}",
        f"access_token={good}",
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={presigned}&X-Amz-Signature=0",
    ]


async def traffic(http: httpx2.AsyncClient) -> AsyncIterator[str]:
    """Every answer to every request, headers included."""
    ways = spellings()
    tracing = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}
    asked = [(path, body, headers) for path, body in requests() for headers in ways[:4:3]]
    asked += [("/openai/chat/completions", chat("Hi"), headers) for headers in ways]
    for path, body, headers in asked:
        try:
            answer = await http.post(f"/proxy{path}", headers=headers | tracing, json=body)
        except httpx2.TransportError:
            continue  # broken off on purpose
        yield f"{answer.status_code} {dict(answer.headers)} {answer.text}"
    turn = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 50}}
    for query in queries():
        answer = await http.post(f"/proxy/google/v1beta/models/gemini-2.5-flash:generateContent?{query}", json=turn)
        yield f"{answer.status_code} {dict(answer.headers)} {answer.text}"


async def administration(http: httpx2.AsyncClient) -> AsyncIterator[str]:
    """Every listing of the admin API, some mistakes, and the metrics."""
    admin = {"authorization": f"Bearer {SECRETS['PAIG_ADMIN_TOKEN']}"}
    kinds = ("providers", "routes", "projects", "users", "keys", "requests", "usage?group=key", "limits", "audit")
    single = (
        "health",
        "providers/openai",
        "keys/good",
        "no-such-thing",
        "health/providers",
        "prices",
        "admins",
        "tokens",
    )
    for path in (*kinds, *single):
        yield (await http.get(f"/admin/v1/{path}", headers=admin)).text
    wrong = {"kind": "openai", "credential": f"value:{LITERAL}", "no_such_field": 1}
    yield (await http.put("/admin/v1/providers/other", headers=admin, json=wrong)).text
    yield (await http.post("/admin/v1/providers", headers=admin, json={"name": "x", **wrong})).text
    yield (await http.post("/admin/v1/providers", headers=admin, json={"name": LITERAL, "credential": LITERAL})).text
    yield (await http.post("/admin/v1/keys", headers=admin, json={"name": "x", "secret": SECRETS["GOOD_KEY"]})).text
    right = {"name": "late", "kind": "openai", "credential": f"value:{LITERAL}"}
    made = await http.post("/admin/v1/providers", headers=admin, json=right)
    assert made.status_code == 201
    yield made.text
    yield (await http.patch("/admin/v1/providers/late", headers=admin, json={"credential": "env:NO_SUCH"})).text
    for shown in (SECRETS["GOOD_KEY"], f"{SECRETS['PAIG_ADMIN_TOKEN']}x"):
        yield (await http.get("/admin/v1/keys", headers={"authorization": f"Bearer {shown}"})).text
    yield (await http.get("/metrics", headers={"authorization": f"Bearer {SECRETS['SCRAPER']}"})).text
    yield (await http.get("/metrics")).text
    yield (await http.get("/admin/v1/audit", headers=admin)).text


COMMANDS = ("providers list", "providers test down", "keys list", "tokens list", "usage", "audit", "status")


async def test_no_secret_is_told(tmp_path: Path, paig: Paig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, credentials, tokens, the vault's key: in no answer, log, span, metric, alert, nor in others' requests."""
    told: list[str] = []
    simulator = Simulator()
    with over_http() as receiver, listening() as webhook:
        async with running_simulator(simulator) as base:
            secrets = SECRETS | {"WEBHOOK": webhook.url}
            async with (
                serving(tmp_path, config(base, receiver.url), **secrets) as served,
                httpx2.AsyncClient(base_url=served.origin, trust_env=False, timeout=60) as http,
            ):
                told.extend([answer async for answer in traffic(http)])
                told.extend([answer async for answer in administration(http)])
                monkeypatch.setenv("PAIG_ADMIN_TOKEN", SECRETS["PAIG_ADMIN_TOKEN"])
                for command in COMMANDS:
                    ran = await asyncio.to_thread(paig, *command.split(), "--json", "--url", served.origin)
                    told += [ran.out, ran.err]
                    assert ran.code in (0, 1), ran.err
                ran = await asyncio.to_thread(paig, "export", "--url", served.origin)
                told += [ran.out, ran.err]
                await until(lambda: bool(webhook.told))
    told += [served.log, *map(str, receiver.traces), *map(str, receiver.metrics), *map(json.dumps, webhook.told)]
    spans = [span for span in receiver.spans if span.attributes]
    assert {"POST", "chat", "generate_content", "embeddings"} <= {span.name.split()[0] for span in spans}
    statuses = {answer[:3] for answer in told if answer[:3].isdigit()}
    assert {"200", "400", "401", "402", "404", "500", "502", "529"} <= statuses
    assert served.log.count('"message": "request"') > 40
    everything = "\n".join(told)
    for shown in ("paig_requests_total", "paig.requests", "gen_ai.client.token.usage", "has used up its total limit"):
        assert shown in everything
    hidden = {**SECRETS, "LITERAL": LITERAL, "WEBHOOK": webhook.url.partition("/services/")[2]}
    assert [name for name, secret in hidden.items() for form in forms(secret) if form in everything] == []
    assert {"a=1", None} == {received.header("tracestate") for received in simulator.requests}
    # To a provider goes its own credential, where that belongs, and nobody else's.
    for received in simulator.requests:
        shown = json.dumps(received.shown(), default=str)
        own = next((name for name, path in SIMULATED.items() if received.path.startswith(path)), "")
        others = {name: secret for name, secret in hidden.items() if secret != SECRETS.get(credential(own))}
        assert [name for name, secret in others.items() for form in forms(secret) if form in shown] == []
    # Exports carry the token that they are to carry.
    assert {headers.get("authorization", headers.get("x-team")) for headers in receiver.headers} == {
        f"Bearer {SECRETS['OTLP_TOKEN']}",
        SECRETS["OTLP_TOKEN"],
    }


def credential(provider: str) -> str:
    """The name of a provider's secret."""
    return f"{provider.upper().replace('-', '_')}_CREDENTIAL"


def forms(secret: str) -> set[str]:
    """A secret as it stands in text, in an address, in a form, and in the encoding of basic authentication."""
    plain = secret.encode()
    encoded = {base64.b64encode(prefix + plain).decode().rstrip("=")[4:-4] for prefix in (b"", b"user:", b"x:")}
    return {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], *encoded}
