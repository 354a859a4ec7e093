"""How the gateway speaks for its providers: service accounts, AWS signatures, API keys; and what never gets out."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from paig_client.api.specs import ProviderSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import running_world

pytestmark = pytest.mark.anyio

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


def service_account(token_uri: str) -> str:
    """A service account's JSON, as Google's console hands it out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "1",
            "private_key": pem,
            "client_email": "robot@p.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": token_uri,
        }
    )


async def test_a_service_account_buys_tokens(environment: None, tmp_path: Path) -> None:
    """A Vertex request carries an access token bought with the account's key, once for many requests."""
    simulator = Simulator()
    async with running_simulator(simulator) as base:
        account = tmp_path / "account.json"
        # The account names Google's own token endpoint; the configuration another.
        account.write_text(service_account("https://oauth2.example.invalid/token"))
        spec = ProviderSpec(
            kind="google-vertex",
            base_url=f"{base}/vertex",
            credential=f"file:{account}",
            project="p",
            location="europe-west4",
            token_url=f"{base}/vertex/token",
        )
        async with running_world(tmp_path / "home", {"google-vertex": spec}) as world:
            for _ in range(3):
                response = await world.http.post(
                    "/proxy/gemini/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent",
                    headers={"authorization": f"Bearer {world.key}", "x-goog-api-key": world.key},
                    json=GEMINI,
                )
                assert response.status_code == 200, response.text
    paths = [request.path for request in simulator.requests]
    assert paths.count("/vertex/token") == 1
    assert paths[-1].startswith("/vertex/v1beta1/projects/p/locations/europe-west4/publishers/google/models/")
    assert all(world.key not in str(request.headers) for request in simulator.requests)


async def test_aws_credentials_sign(environment: None, tmp_path: Path) -> None:
    """A Bedrock request is signed with the provider's keys; the client's own signature is dropped."""
    simulator = Simulator(aws_secrets={"AKIAIOSFODNN7EXAMPLE": SECRET})
    async with running_simulator(simulator) as base:
        right = ProviderSpec(
            kind="bedrock", base_url=f"{base}/bedrock", credential=f"value:AKIAIOSFODNN7EXAMPLE:{SECRET}"
        )
        wrong = right.model_copy(update={"credential": "value:AKIAIOSFODNN7EXAMPLE:wrong"})
        async with running_world(tmp_path / "home", {"bedrock": right, "other": wrong}) as world:
            signed = {
                "authorization": f"AWS4-HMAC-SHA256 Credential={world.key}/20260101/us-east-1/bedrock/aws4_request"
            }
            for operation in ("converse", "converse-stream"):
                path = f"/proxy/bedrock/model/{CLAUDE}/{operation}"
                response = await world.http.post(path, headers=signed, json=CONVERSE)
                assert response.status_code == 200, response.text
            response = await world.http.post(f"/proxy/other/model/{CLAUDE}/converse", headers=signed, json=CONVERSE)
            assert response.status_code == 403
            assert "x-paig-error" not in response.headers


async def test_a_credential_that_cannot_be_had(
    environment: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway starts all the same; requests to that provider say whose fault it is, and no secret is logged."""
    caplog.set_level(logging.DEBUG)
    broken = service_account("http://127.0.0.1:9/token")
    specs = {
        "openai": ProviderSpec(kind="openai", base_url="http://127.0.0.1:9/v1", credential="env:NO_SUCH_VARIABLE"),
        "google-vertex": ProviderSpec(
            kind="google-vertex", base_url="http://127.0.0.1:9", credential=f"value:{broken}", project="p"
        ),
    }
    async with running_world(tmp_path / "home", specs) as world:
        headers = {"authorization": f"Bearer {world.key}"}
        chat = {"model": "gpt-5", "messages": []}
        response = await world.http.post("/proxy/openai/chat/completions", headers=headers, json=chat)
        assert (response.status_code, response.headers["x-paig-error"]) == (502, "upstream-unreachable")
        assert "NO_SUCH_VARIABLE" in response.text
        path = "/proxy/google-vertex/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
        response = await world.http.post(path, headers=headers, json=GEMINI)
        assert (response.status_code, response.headers["x-paig-error"]) == (502, "upstream-unreachable")
        told = caplog.text + response.text
        assert "PRIVATE KEY" not in told
        assert world.key not in told


async def test_background_work_is_charged_once(environment: None, tmp_path: Path) -> None:
    """What `background: true` asked for is charged when its usage first comes through, and never at a later look."""
    simulator = Simulator()
    async with running_simulator(simulator) as base:
        spec = ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential="value:k")
        async with running_world(tmp_path / "home", {"openai": spec}) as world:
            headers = {"authorization": f"Bearer {world.key}"}
            body = {"model": "gpt-4o", "input": "Hi", "background": True, "max_output_tokens": 50}
            asked = await world.http.post("/proxy/openai/v1/responses", headers=headers, json=body)
            assert asked.json()["status"] == "queued"
            [row] = (await world.admin.requests()).items
            assert (row.certainty, row.usage) == ("ceiling", None)
            usage = None
            for _ in range(50):
                look = await world.http.get(f"/proxy/openai/v1/responses/{asked.json()['id']}", headers=headers)
                assert look.status_code == 200, look.text
                usage = look.json()["usage"] or usage
            assert usage is not None
            report = await world.admin.usage()
            row = await world.admin.request(asked.headers["x-paig-request-id"])
    assert row.certainty == "exact"
    assert row.usage is not None
    assert row.usage["output_tokens"] == usage["output_tokens"]
    assert report.total.cost == row.cost
    assert report.total.output_tokens == usage["output_tokens"]
