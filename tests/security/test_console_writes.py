"""Every write of the console, from a page that is not the gateway's own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from paig_client.admin import AsyncAdminClient
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config
from paig_gateway.server import running_gateway
from paig_gateway.sso.settings import SsoSpec
from tests.gateway.end_to_end.conftest import ADMIN
from tests.security.web import agreeing_provider

pytestmark = pytest.mark.anyio

WITHOUT_SESSION = ("/admin/v1/sso/", "/admin/v1/me")
"""These take a handle or a gateway key, and no session."""


@dataclass
class Scene:
    """An operator's browser that is logged in."""

    browser: httpx2.AsyncClient
    admin: AsyncAdminClient


@pytest.fixture
async def scene(environment: None, tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway, and an operator who has just logged in by single sign-on."""
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(agreeing_provider("platform"))
        store = OpenDatabase.open(tmp_path)
        stack.callback(store.engine.dispose)
        sso = SsoSpec.model_validate({"issuer": issuer, "client_id": "paig", "groups": {"platform": "admin"}})
        origin = await stack.enter_async_context(running_gateway(Gateway(store, Config(sso=sso))))
        browser = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=origin, trust_env=False, follow_redirects=True, timeout=30)
        )
        admin = await stack.enter_async_context(AsyncAdminClient(origin, token=ADMIN))
        assert (await browser.get("/admin/sso/login")).status_code == 200
        assert (await browser.get("/admin/v1/whoami")).json()["name"] == "admin:ada@example.com"
        yield Scene(browser, admin)


async def test_no_write_is_done_with_the_cookie_alone(scene: Scene) -> None:
    """A form of another site sends the cookie along, and nothing else that a page of the gateway's own sends."""
    before = {entry.id for entry in await scene.admin.audit(limit=100)}
    document = (await scene.browser.get("/admin/openapi.json")).json()
    foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "content-type": "text/plain"}
    tried = 0
    for path, operations in document["paths"].items():
        for method in {"post", "put", "patch", "delete"} & operations.keys():
            if path.startswith(WITHOUT_SESSION):
                continue
            address = re.sub(r"\{\w+\}", "x", path)
            answer = await scene.browser.request(method, address, headers=foreign, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
            tried += 1
    assert tried > 30
    assert {entry.action for entry in await scene.admin.audit(limit=1000) if entry.id not in before} <= {"refuse"}


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_no_form_of_another_site_reaches_a_key_s_page(scene: Scene, site: str) -> None:
    """It would put an attacker's key into the browser."""
    headers = {"origin": "https://evil.example", "sec-fetch-site": site}
    answer = await scene.browser.post("/me", headers=headers, data={"key": "paig_x"})
    assert answer.status_code == 403
