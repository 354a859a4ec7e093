"""An administrator of providers cannot become the owner by naming the gateway's own secrets."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, ProjectSpec, TokenSpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.server import running_gateway
from tests.gateway.end_to_end.conftest import ADMIN

pytestmark = pytest.mark.anyio

EVIL = "http://127.0.0.1:9"


def token(store: OpenDatabase, role: str) -> str:
    """A new admin's token with that role in the whole gateway."""
    admin = store.catalog.admins.create(f"{role}s", AdminSpec(grants=[GrantSpec(role=role)]), actor="test")  # type: ignore[arg-type]
    return store.catalog.tokens.create("t", admin.id, TokenSpec(), actor="test").token


async def test_gateways_own_secrets_are_refused_wherever_a_reference_stands(environment: None, tmp_path: Path) -> None:
    """As a provider's credential, among several, as a key's value, in a project's telemetry and in a file."""
    (tmp_path / "admin.token").write_text(f"{ADMIN}\n", "utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "admin.token")
    store = OpenDatabase.open(tmp_path)
    mine = {"authorization": f"Bearer {token(store, 'admin')}"}
    own = [f"file:{tmp_path}/admin.token", f"file:{tmp_path}/link", "env:PAIG_ADMIN_TOKEN", "env:PAIG_SECRET_KEY"]
    async with (
        running_gateway(Gateway(store)) as origin,
        httpx2.AsyncClient(base_url=f"{origin}/admin/v1", headers=mine, trust_env=False, timeout=30) as http,
    ):
        for reference in (*own, "keyring:paig/secret.key", "file:/proc/self/environ"):
            provider = {"name": "evil", "kind": "openai-compatible", "base_url": EVIL}
            export = {"endpoint": EVIL, "token": reference}
            tried = [
                await http.post("/providers", json={**provider, "credential": reference}),
                await http.post("/providers", json={**provider, "credentials": ["env:OTHER", reference]}),
                await http.post("/keys", json={"name": "evil", "secret": reference}),
                await http.post("/projects", json={"name": "evil", "telemetry": {"export": export}}),
                await http.post("/apply", json={"config": f'[keys.evil]\nsecret = "{reference}"\n'}),
            ]
            assert [answer.status_code for answer in tried] == [422] * 5, (reference, [one.text for one in tried])
            assert ADMIN not in "".join(answer.text for answer in tried)
        source = {"file": str(tmp_path / "secret.key"), "url": f"{EVIL}/"}
        account = {"type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": EVIL}
        literal = "value:" + json.dumps({**account, "credential_source": source})
        vertex = {"name": "evil", "kind": "google-vertex", "base_url": EVIL}
        for one in ({"credential": literal}, {"credentials": ["env:OTHER", literal]}):
            answer = await http.post("/providers", json={**vertex, **one})
            assert answer.status_code == 422
            assert "credential_source" in answer.text
        for url in ("http://169.254.169.254/latest", "http://metadata.google.internal/", "http://0xa9fea9fe/"):
            answer = await http.post("/providers", json={"name": "m", "kind": "openai-compatible", "base_url": url})
            assert answer.status_code == 422
    store.engine.dispose()


async def test_a_409_names_nothing_of_others(environment: None, tmp_path: Path) -> None:
    """A key value that another project's key has is refused without that key's name."""
    store = OpenDatabase.open(tmp_path)
    for project in ("mine", "theirs"):
        store.catalog.projects.create(project, ProjectSpec(), actor="test")
    store.catalog.keys.create(
        "their-secret-project", KeySpec(project="theirs", secret="value:the-same-value-that-is-long-enough"), actor="t"
    )
    editor = store.catalog.admins.create(
        "ed", AdminSpec(grants=[GrantSpec(role="editor", project="mine")]), actor="test"
    )
    mine = store.catalog.tokens.create("t", editor.id, TokenSpec(), actor="test").token
    headers = {"authorization": f"Bearer {mine}"}
    async with (
        running_gateway(Gateway(store)) as origin,
        httpx2.AsyncClient(base_url=f"{origin}/admin/v1", headers=headers, trust_env=False, timeout=30) as http,
    ):
        body = {"name": "x", "project": "mine", "secret": "value:the-same-value-that-is-long-enough"}
        answer = await http.post("/keys", json=body)
        assert answer.status_code == 409
        assert "their-secret-project" not in answer.text
        taken = await http.post("/keys", json={"name": "their-secret-project", "project": "mine"})
        assert (taken.status_code, taken.json()["detail"]) == (409, "name: this name is not free: choose another")
        audit = await http.get("/audit", headers={"authorization": f"Bearer {ADMIN}"}, params={"action": "refuse"})
        assert [entry["name"] for entry in audit.json()["items"]] == ["create_key"]
        hidden = await http.get("/requests", params={"key": "their-secret-project"})
        absent = await http.get("/requests", params={"key": "there-is-none-at-all"})
        assert (hidden.status_code, absent.status_code) == (422, 422)
        assert "did you mean" not in hidden.text
    store.engine.dispose()
