"""Claude Code's `/login` at the gateway, as its protocol has it, with a real identity provider behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_client.api.specs import OwnerSpec
from paig_gateway.admin.login import DEVICE_STARTS
from paig_gateway.database.engine import utc_now
from paig_gateway.sso.provider import DEVICE_GRANT, IdentityProvider
from paig_gateway.sso.settings import SsoSpec
from tests.gateway.admin.harness import Gateway, running
from tests.gateway.sso.browser import browser, walk
from tests.gateway.sso.conftest import CLIENT_ID, CLIENT_SECRET, new_key, running_provider

MANAGED = {"env": {"CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1"}, "availableModels": ["claude-sonnet-4-6"]}
SETTINGS = {
    "client_id": CLIENT_ID,
    "scopes": ["openid", "profile", "email", "groups", "offline_access"],
    "groups": {"paig-admins": "admin"},
    "keys": {"team-research": {"project": "research", "limits": {"daily": 5}}, "staff": {"limits": {"daily": 1}}},
    "claude_settings": MANAGED,
}


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with everybody's groups, as the identity provider reads it."""
    return tmp_path_factory.mktemp("groups") / "groups.json"


@pytest.fixture(scope="module")
def gateway(node: Path, groups: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose people log in at a real identity provider."""
    groups.write_text(json.dumps({"bob": ["team-research"], "ada": ["paig-admins", "staff"], "joe": []}), "utf-8")
    with running_provider(node, [new_key("first")], groups=groups) as issuer:
        sso = IdentityProvider(SsoSpec.model_validate({**SETTINGS, "issuer": issuer}), CLIENT_SECRET, now=utc_now)
        home = tmp_path_factory.mktemp("gateway")
        with running(home, change=lambda services: replace(services, sso=sso)) as gateway:
            gateway.client().projects.create("research", OwnerSpec())
            yield gateway


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[httpx2.Client]:
    """What Claude Code asks with: no client id, no credentials, and nothing is followed."""
    agent = {"user-agent": "claude-code/2.1.332"}
    with httpx2.Client(base_url=gateway.url, headers=agent, trust_env=False, timeout=20) as client:
        yield client


def endpoint(claude: httpx2.Client, name: str) -> str:
    """An address that discovery names, which Claude Code takes only from the gateway itself."""
    found: str = claude.get("/.well-known/oauth-authorization-server").json()[name]
    assert found.startswith(str(claude.base_url))
    return found


def asked(claude: httpx2.Client, **form: str) -> httpx2.Response:
    """What the token endpoint answers."""
    return claude.post(endpoint(claude, "token_endpoint"), data=form)


def log_in(claude: httpx2.Client, login: str) -> httpx2.Response:
    """The whole of `/login`, with the person confirming the code in a browser; the last answer."""
    begun = claude.post(endpoint(claude, "device_authorization_endpoint"), data={"surface": "claude_code"}).json()
    form = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
    waiting = asked(claude, **form)
    assert (waiting.status_code, waiting.json()["error"]) == (400, "authorization_pending")
    with browser() as person:
        walk(person, begun["verification_uri_complete"], login, user_code=begun["user_code"])
    return asked(claude, **form)


def bearer(given: dict[str, Any]) -> dict[str, str]:
    """The header that every later request has."""
    return {"authorization": f"{given['token_type']} {given['access_token']}"}


def test_login_gives_the_persons_key(gateway: Gateway, claude: httpx2.Client) -> None:
    """It is the key of the person's group, and stands for the person in the ledger; the code works once."""
    answer = log_in(claude, "bob")
    given = answer.json()
    assert (answer.status_code, given["email"], answer.headers["cache-control"]) == (200, "bob@example.com", "no-store")
    assert 0 < given["expires_in"] <= 8 * 3600
    me = claude.get("/admin/v1/me", headers=bearer(given)).json()
    assert (me["user"], me["project"]) == ("bob@example.com", "research")


def test_an_administrator_gets_no_admin_token(gateway: Gateway, claude: httpx2.Client) -> None:
    """Claude Code stores a capped key on disk, for every person, and it gives no access to the admin API."""
    given = log_in(claude, "ada").json()
    assert claude.get("/admin/v1/keys", headers=bearer(given)).status_code == 401
    assert [token.admin for token in gateway.client().tokens.list() if token.admin.startswith("ada")] == []


def test_without_a_group_the_login_ends(claude: httpx2.Client) -> None:
    """A person without a key is told so, and Claude Code stops asking."""
    answer = log_in(claude, "joe")
    assert (answer.status_code, answer.json()["error"]) == (400, "access_denied")
    assert "has no key here" in answer.json()["error_description"]


def test_refresh_lasts_until_the_person_leaves(claude: httpx2.Client, groups: Path) -> None:
    """The same key goes on, with a new refresh token; a person who left the group has to log in again, and cannot."""
    first = log_in(claude, "bob").json()
    second = asked(claude, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert second.status_code == 200
    assert second.json()["access_token"] == first["access_token"]
    before = groups.read_text("utf-8")
    groups.write_text(json.dumps({"bob": []}), "utf-8")
    try:
        third = asked(claude, grant_type="refresh_token", refresh_token=second.json()["refresh_token"])
    finally:
        groups.write_text(before, "utf-8")
    assert (third.status_code, third.json()["error"]) == (401, "invalid_grant")
    assert claude.get("/admin/v1/me", headers=bearer(first)).status_code == 401


def test_logout_ends_the_key(claude: httpx2.Client) -> None:
    """`/logout` sends both tokens; the refresh token says which key ends, and anything else is answered alike."""
    given = log_in(claude, "bob").json()
    for token in ("nonsense", given["access_token"], given["refresh_token"]):
        assert claude.post(endpoint(claude, "revocation_endpoint"), data={"token": token}).status_code == 200
    assert claude.get("/admin/v1/me", headers=bearer(given)).status_code == 401


def test_managed_settings(claude: httpx2.Client) -> None:
    """They come wrapped, with the checksum that Claude Code computes; asking again with that brings nothing new."""
    given = log_in(claude, "bob").json()
    answer = claude.get("/managed/settings", headers=bearer(given))
    text = json.dumps(MANAGED, sort_keys=True, separators=(",", ":"))
    checksum = f"sha256:{sha256(text.encode()).hexdigest()}"
    assert answer.json() == {"uuid": checksum, "checksum": checksum, "settings": MANAGED}
    again = claude.get("/managed/settings", headers={**bearer(given), "if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    stranger = claude.get("/managed/settings", headers={"authorization": "Bearer paig_nobody"})
    assert (stranger.status_code, stranger.json()["error"]["type"]) == (401, "authentication_error")
    assert stranger.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "unsupported_grant_type"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": DEVICE_GRANT}, 400, "expired_token"),
        ({"grant_type": DEVICE_GRANT, "device_code": "forged"}, 400, "expired_token"),
        ({"grant_type": "refresh_token", "refresh_token": "forged"}, 401, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 70_000}, 400, "unsupported_grant_type"),
    ],
    ids=["empty", "password", "no-code", "forged-code", "forged-refresh", "too-large"],
)
def test_what_is_not_a_login(claude: httpx2.Client, form: dict[str, str], status: int, error: str) -> None:
    """Errors are OAuth's own; what is made up by the client opens nothing."""
    answer = asked(claude, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_code_does_not_pass_for_a_refresh_token(claude: httpx2.Client) -> None:
    """What is sealed for one step is of no use in another."""
    begun = claude.post(endpoint(claude, "device_authorization_endpoint")).json()
    answer = asked(claude, grant_type="refresh_token", refresh_token=begun["device_code"])
    assert answer.json()["error"] == "invalid_grant"


def test_a_gateway_without_single_sign_on(tmp_path: Path) -> None:
    """Discovery says that there is no login here, and what sets it up."""
    with running(tmp_path) as gateway, httpx2.Client(base_url=gateway.url, trust_env=False, timeout=60) as client:
        answer = client.get("/.well-known/oauth-authorization-server")
        assert (answer.status_code, "[sso.keys.GROUP]" in answer.text) == (404, True)
        assert client.post("/oauth/device_authorization").json()["error"] == "access_denied"


def test_logins_are_limited(tmp_path: Path) -> None:
    """One address cannot begin logins without end; Claude Code is told to slow down, and in words why."""
    spec = SsoSpec.model_validate({**SETTINGS, "issuer": "http://127.0.0.1:9"})
    sso = IdentityProvider(spec, CLIENT_SECRET, now=utc_now)
    with (
        running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway,
        httpx2.Client(base_url=gateway.url, trust_env=False, timeout=60) as client,
    ):
        answers = [client.post("/oauth/device_authorization") for _ in range(DEVICE_STARTS + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {503}
    assert (answers[-1].status_code, answers[-1].json()["error"]) == (429, "slow_down")
    assert "Too many logins" in answers[-1].json()["error_description"]
