"""The console attacked in a real browser, with its operator logged in: from a relayed page, a port, another site."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from paig_client.admin import AsyncAdminClient
from paig_client.api.specs import KeySpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config
from paig_gateway.server import running_gateway
from paig_gateway.sso.settings import SsoSpec
from tests.gateway.end_to_end.conftest import ADMIN, replayed_providers
from tests.security.web import Answer, Asked, Server, agreeing_provider, serving
from tests.tui.web.chromium import BROWSER, Chromium, Page, chromium

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="NO BROWSER: the console was not attacked in one"),
]

TAKE_OVER = """(async () => {
  const out = [], base = BASE, json = {"content-type": "application/json"};
  const attempt = async (name, work) => {
    try { out.push(name + " " + await work()) } catch (error) { out.push(name + " failed") }
  };
  const own = {credentials: "include"};
  await attempt("read", async () => (await (await fetch(base + "/admin/v1/whoami", own)).text()).slice(0, 80));
  for (const mode of ["cors", "no-cors"]) {
    for (const headers of [json, {"content-type": "text/plain"}, {...json, "X-Paig-Csrf": "0"}]) {
      const body = JSON.stringify({name: "evil", grants: [{role: "admin"}]});
      const ask = {...own, mode, method: "POST", headers, body};
      await attempt("admin", async () => (await fetch(base + "/admin/v1/admins", ask)).status);
    }
  }
  await attempt("events", async () => {
    const source = new EventSource(base + "/admin/v1/events", {withCredentials: true});
    return await new Promise((done) => { source.onopen = () => done("OPEN"); source.onerror = () => done("refused") });
  });
  await attempt("socket", async () => {
    const socket = new WebSocket(base.replace("http", "ws") + "/admin/v1/events");
    return await new Promise((done) => { socket.onopen = () => done("OPEN"); socket.onerror = () => done("refused") });
  });
  await attempt("worker", async () => {
    await navigator.serviceWorker.register(base + RELAYED, {scope: "/"}); return "REGISTERED";
  });
  await attempt("script", async () => await new Promise((done) => {
    const script = document.createElement("script");
    script.src = base + RELAYED; script.onload = () => done("LOADED"); script.onerror = () => done("refused");
    document.head.append(script);
  }));
  const form = document.createElement("form"), frame = document.createElement("iframe");
  frame.name = "frame"; form.target = "frame"; form.method = "POST"; form.enctype = "text/plain";
  form.action = base + "/admin/v1/admins"; form.innerHTML = `<input name='{"name":"evil","x":"' value='"}'>`;
  document.body.append(frame, form); form.submit();
  for (const path of ["/admin/v1/logout", "/me/leave", "/me/ask", "/admin/v1/keys/mallory/rotate"]) {
    navigator.sendBeacon(base + path, new URLSearchParams({to: "9", why: "x", proof: "0"}));
    const plain = document.createElement("form"), inner = document.createElement("iframe");
    inner.name = plain.target = "frame" + path; plain.method = "POST"; plain.action = base + path;
    document.body.append(inner, plain); plain.submit();
  }
  for (const method of ["PUT", "PATCH", "DELETE"]) {
    await attempt(method, async () => (await fetch(base + "/admin/v1/keys/mallory", {...own, method})).status);
  }
  for (const path of ["/admin/docs", "/me", "/admin/v1/whoami", RELAYED]) {
    const inner = document.createElement("iframe");
    inner.src = base + path; document.body.append(inner);
    await new Promise((done) => { inner.onload = done; setTimeout(done, 1500) });
    await attempt("frame", async () => inner.contentDocument ? "READ" : "closed");
    const popup = window.open(base + path, "popup" + path);
    await new Promise((done) => setTimeout(done, 300));
    await attempt("popup", async () => popup && !popup.closed && popup.document.body ? "READ" : "closed");
    if (popup) popup.close();
  }
  for (const tag of ["img", "link", "object", "embed", "video"]) {
    const made = document.createElement(tag), place = {link: "href", object: "data"}[tag] || "src";
    made.rel = "stylesheet"; made[place] = base + RELAYED; document.body.append(made);
  }
  const refresh = document.createElement("iframe");
  refresh.srcdoc = `<meta http-equiv="refresh" content="0; url=${base}/admin/sso/login?next=${RELAYED}">`;
  document.body.append(refresh);
  document.cookie = "paig_login=x; path=/";
  await new Promise((done) => { frame.onload = done; setTimeout(done, 3000) });
  document.title = "over"; document.body.innerText = "DONE " + out.join(" | ");
})()"""
"""All that a page may try; whatever succeeds is written in capitals."""


@dataclass
class Scene:
    """An operator's browser and what is around it."""

    gateway: str
    store: OpenDatabase
    relayed: str
    """The path of an answer that is an attacker's page, with a good gateway key."""
    page: Page
    admin: AsyncAdminClient

    def attack(self) -> bytes:
        """A page that tries everything."""
        script = TAKE_OVER.replace("BASE", f"'{self.gateway}'").replace("RELAYED", f"'{self.relayed}'")
        return f"<!doctype html><body>start<script>{script}</script></body>".encode()

    async def is_whole(self) -> None:
        """Nothing was changed since the operator logged in; what was tried with the session is in the audit log."""
        assert {found.name for found in await self.admin.admins.list()} == {"ada@example.com"}
        entries = await self.admin.audit(limit=100)
        kinds = {(entry.actor, entry.kind) for entry in entries if entry.action != "refuse"}
        assert kinds == {("sso", "admin"), ("admin:ada@example.com", "session"), ("test", "provider"), ("test", "key")}


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    """A browser."""
    async with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
async def scene(environment: None, tmp_path: Path, browser: Chromium) -> AsyncIterator[Scene]:
    """A gateway whose operator has just logged in, and an upstream that an attacker has a file at."""
    pages: list[bytes] = []

    def upstream(asked: Asked) -> Answer:
        steering = (("service-worker-allowed", "/"), ("access-control-allow-origin", "*"))
        script = "sw" in asked.target
        return Answer(
            b"window.TAKEN = 1" if script else pages[0], "text/javascript" if script else "text/html", 200, steering
        )

    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(serving(upstream))
        issuer = await stack.enter_async_context(agreeing_provider("platform"))
        store = OpenDatabase.open(tmp_path)
        store.catalog.providers.create("openai", replayed_providers(provider.origin)["openai"], actor="test")
        key = store.catalog.keys.create("mallory", KeySpec(), actor="test").key
        sso = SsoSpec.model_validate({"issuer": issuer, "client_id": "paig", "groups": {"platform": "admin"}})
        origin = await stack.enter_async_context(running_gateway(Gateway(store, Config(sso=sso))))
        admin = await stack.enter_async_context(AsyncAdminClient(origin, token=ADMIN))
        page = await browser.page(await browser.context())
        await page.go(f"{origin}/admin/sso/login?next=/admin/v1/whoami")
        await page.sees("admin:ada@example.com")
        found = Scene(origin, store, f"/proxy/openai/v1/files/file-sw/content?key={key}", page, admin)
        pages.append(found.attack())
        yield found
        await found.is_whole()
        store.engine.dispose()


async def test_a_relayed_page_never_opens(scene: Scene) -> None:
    """Neither by its address, nor through the login's `next`, nor in a frame of the console's own page."""
    evil = scene.relayed.replace("file-sw", "file-evil")
    await scene.page.go(scene.gateway + evil)
    await scene.page.sees("not-allowed")
    await scene.page.go(f"{scene.gateway}/admin/sso/login?next={quote(evil, safe='')}")
    await scene.page.sees("must be a path of the console")
    await scene.page.go(f"{scene.gateway}/admin/sso/login?next={quote('/admin/..' + evil, safe='')}")
    await scene.page.sees("must be a path of the console")


async def test_a_service_worker_is_not_taken_from_an_answer(scene: Scene) -> None:
    """Not even by a script that runs on the console's own origin with every policy of the page switched off."""
    await scene.page.call("Page.setBypassCSP", enabled=True)
    await scene.page.go(f"{scene.gateway}/admin/docs")
    await scene.page.sees("paig admin API")
    for script in (scene.relayed, scene.relayed.partition("?")[0]):
        said = await scene.page.run(
            f"navigator.serviceWorker.register('{script}', {{scope: '/'}}).then(() => 'REGISTERED', () => 'refused')"
        )
        assert said == "refused"
        ran = await scene.page.run(
            "new Promise((done) => { const made = document.createElement('script'); made.src = "
            f"'{script}'; made.onload = () => done(window.TAKEN || 'loaded'); made.onerror = () => done('refused');"
            " document.head.append(made) })"
        )
        assert ran == "refused"


@pytest.mark.parametrize("where", ["another port", "another site"])
async def test_a_foreign_page_gets_nowhere(scene: Scene, where: str) -> None:
    """A page at another port of the host has the session's cookie sent along; one at another site does not."""
    async with serving(lambda asked: Answer(scene.attack())) as attacker:
        await scene.page.go(_address(attacker, where))
        told = await scene.page.reads("DONE .*")
    for word in ("OPEN", "REGISTERED", "LOADED", "READ", "200", "201", "admin:ada"):
        assert word not in told
    if where == "another site":
        assert not [asked for asked in attacker.seen if "paig_session" in asked.headers.get("cookie", "")]
    await scene.page.go(f"{scene.gateway}/admin/v1/whoami")
    await scene.page.sees("admin:ada@example.com")  # nobody has logged her out


def _address(attacker: Server, where: str) -> str:
    return attacker.origin if where == "another port" else attacker.other_site
