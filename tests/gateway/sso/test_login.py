"""Logging in at a real identity provider: with a browser, and with `paig login --sso`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from sqlmodel import select
from starlette.requests import HTTPConnection

from paig_client.admin import AdminClient, NotAuthorised
from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, OwnerSpec, TokenSpec
from paig_client.cli.sso import sign_on
from paig_gateway.admin.login import DEVICE_STARTS
from paig_gateway.admin.problems import ProblemError
from paig_gateway.admin.roles import AdminIdentity
from paig_gateway.database.engine import utc_now
from paig_gateway.database.tables import AdminRow
from paig_gateway.sso.provider import IdentityProvider
from paig_gateway.sso.settings import SsoSpec
from tests.gateway.admin.harness import Gateway, running
from tests.gateway.sso.browser import browser, walk
from tests.gateway.sso.conftest import CLIENT_ID, CLIENT_SECRET, new_key, running_provider
from tests.gateway.sso.liar import running_liar

MAPPING = {"paig-admins": "admin", "team-research": {"role": "editor", "project": "research"}}


def settings(issuer: str, **more: Any) -> SsoSpec:
    """What an operator would write."""
    return SsoSpec.model_validate({"issuer": issuer, "client_id": CLIENT_ID, "groups": MAPPING, **more})


@pytest.fixture(scope="module")
def keys() -> list[dict[str, Any]]:
    """The identity provider's keys."""
    return [new_key("first")]


@pytest.fixture(scope="module")
def issuer(node: Path, keys: list[dict[str, Any]]) -> Iterator[str]:
    """The identity provider."""
    with running_provider(node, keys) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def gateway(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose administrators log in there."""
    sso = IdentityProvider(settings(issuer), CLIENT_SECRET, now=utc_now)
    folder = tmp_path_factory.mktemp("gateway")
    with running(folder, change=lambda services: replace(services, sso=sso)) as gateway:
        for project in ("research", "sales"):
            gateway.client().projects.create(project, OwnerSpec())
            gateway.client().keys.create(f"{project}-key", KeySpec(project=project))
        yield gateway


def come_in(gateway: Gateway, client: httpx2.Client, login: str, path: str = "/admin/v1/whoami") -> httpx2.Response:
    """Log in with a browser, and end up at a page of the gateway."""
    return walk(client, f"{gateway.url}/admin/sso/login?next={path}", login)


def test_a_browser_logs_in_and_out(gateway: Gateway) -> None:
    """Through the provider's own pages and back; the session is a cookie that no script reads, and ends at logout."""
    with browser() as client:
        begin = f"{gateway.url}/admin/sso/login?next=/admin/v1/keys"
        back = walk(client, begin, "ada", until=f"{gateway.url}/admin/v1")
        cookies = back.headers.get_list("set-cookie")
        session = next(cookie for cookie in cookies if cookie.startswith("paig_session="))
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in session.split(";")}
        me = client.get(f"{gateway.url}/admin/v1/whoami").json()
        assert me["name"] == "admin:ada@example.com"
        assert "routing:write" in me["permissions"]
        assert back.status_code == 200
        assert client.post(f"{gateway.url}/admin/v1/logout", headers=own_page(gateway, client)).status_code == 204
        client.cookies.set("paig_session", session.split(";")[0].partition("=")[2], domain="127.0.0.1")
        assert client.get(f"{gateway.url}/admin/v1/whoami").json()["code"] == "unknown-token"


def test_groups_decide_what_one_may_do(gateway: Gateway) -> None:
    """A group's role holds where the settings say; without a group that has one, there is no way in."""
    with browser() as client:
        me = come_in(gateway, client, "bob").json()
        assert (me["permissions"], list(me["projects"])) == ([], ["research"])
        keys = client.get(f"{gateway.url}/admin/v1/keys").json()["items"]
        assert [key["name"] for key in keys] == ["research-key"]
    with browser() as client:
        refused = come_in(gateway, client, "eve")
        assert (refused.status_code, refused.json()["code"]) == (403, "login-refused")
        assert "staff" in refused.json()["detail"]
        assert client.get(f"{gateway.url}/admin/v1/keys").status_code == 401
    assert "eve@example.com" not in {admin.name for admin in gateway.client().admins.list()}


def test_logins_are_in_the_audit_log(gateway: Gateway) -> None:
    """Who came, with which roles, and each session; never its token."""
    with browser() as client:
        come_in(gateway, client, "ada")
        token = client.cookies["paig_session"]
        headers = own_page(gateway, client)
        made = client.post(f"{gateway.url}/admin/v1/users", json={"name": "by-ada"}, headers=headers)
        assert made.status_code == 201
    owner = gateway.client()
    assert owner.audit(kind="admin", name="ada@example.com")[-1].actor == "sso"
    assert owner.audit(name="by-ada")[0].actor == "admin:ada@example.com"
    sessions = owner.audit(kind="session", actor="admin:ada@example.com")
    assert sessions[0].name.startswith("ada@example.com/session ")
    assert not [entry for entry in owner.audit(limit=1000) if token in entry.model_dump_json()]
    assert [found.sso for found in owner.admins.list() if found.name == "ada@example.com"] == [True]


def test_another_site_s_page_changes_nothing(gateway: Gateway) -> None:
    """The cookie is not enough for a change, nor with it a page of another port, or a page without the proof."""
    with browser() as client, browser() as other:
        come_in(gateway, client, "ada")
        come_in(gateway, other, "ada")
        proof, theirs = (own_page(gateway, one)["x-paig-csrf"] for one in (client, other))
        for headers in (
            {},
            {"x-paig-csrf": proof},
            {"x-paig-csrf": proof, "origin": gateway.url},
            {"x-paig-csrf": proof, "sec-fetch-site": "same-site"},
            {"x-paig-csrf": proof, "sec-fetch-site": "none"},
            {"sec-fetch-site": "same-origin"},
            {"x-paig-csrf": "", "sec-fetch-site": "same-origin"},
            {"x-paig-csrf": theirs, "sec-fetch-site": "same-origin"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": ""},
            {"origin": gateway.url.replace("http://", "https://")},
            {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
            {"sec-fetch-site": "same-site", "origin": f"{gateway.url}0"},
        ):
            answer = client.post(f"{gateway.url}/admin/v1/users", json={"name": "forged"}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "forged" not in {user.name for user in gateway.client().users.list()}
        for headers in ({}, {"sec-fetch-site": "same-origin"}, {"x-paig-csrf": proof}):
            assert client.get(f"{gateway.url}/admin/v1/events", headers=headers).status_code == 403
        with client.stream("GET", f"{gateway.url}/admin/v1/events", headers=own_page(gateway, client)) as events:
            assert events.status_code == 200
        assert client.get(f"{gateway.url}/admin/v1/whoami").json()["csrf"] is None  # no other page reads the proof


def own_page(gateway: Gateway, client: httpx2.Client) -> dict[str, str]:
    """What a page of the gateway's own sends with a change."""
    site = {"sec-fetch-site": "same-origin"}
    return {**site, "x-paig-csrf": client.get(f"{gateway.url}/admin/v1/whoami", headers=site).json()["csrf"]}


def test_a_browser_session_is_not_a_bearer_token(gateway: Gateway) -> None:
    """Nor is a token of another making a session."""
    with browser() as client, browser() as forged:
        come_in(gateway, client, "ada")
        session = client.cookies["paig_session"]
        assert session.startswith("paig_session_")
        with gateway.http(session) as http:
            assert http.get("/whoami").json()["code"] == "unknown-token"
        token = gateway.client().tokens.create("t", TokenSpec(admin="ada@example.com")).token
        for value in (token, session.replace("paig_session_", "paig_admin_")):
            forged.cookies.set("paig_session", value, domain="127.0.0.1")
            assert forged.get(f"{gateway.url}/admin/v1/whoami").json()["code"] == "unknown-token"


def test_every_answer_of_the_console_says_what_pages_may(gateway: Gateway) -> None:
    """No frame, no script, nothing for other origins."""
    with browser() as client:
        for path in ("/admin/docs", "/admin/openapi.json", "/admin/v1/whoami", "/admin/none"):
            headers = client.get(f"{gateway.url}{path}").headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"


def test_a_login_is_its_browser_s_own(gateway: Gateway) -> None:
    """A callback without this browser's own state, or with another's, does not log in; nor does a refusal."""
    with browser() as mine, browser() as theirs, browser() as fresh:
        back = walk(mine, f"{gateway.url}/admin/sso/login", "ada", until=f"{gateway.url}/admin/sso/callback")
        stolen = back.headers["location"]
        theirs.get(f"{gateway.url}/admin/sso/login")
        for client, url in (
            (theirs, stolen),
            (fresh, stolen),
            (mine, re.sub(r"state=[^&]+", "state=x", stolen)),
            (mine, re.sub(r"code=[^&]+", "error=access_denied", stolen)),
            (mine, re.sub(r"code=[^&]+", "code=forged", stolen)),
        ):
            refused = client.get(url)
            assert (refused.status_code, refused.json()["code"]) == (403, "login-refused")
            assert "paig_session" not in client.cookies
            assert "paig_login" not in client.cookies  # each is for one try


def test_a_login_is_used_once(gateway: Gateway) -> None:
    """Its cookie and its address, replayed by another program, give no second session."""
    with browser() as client:
        back = walk(client, f"{gateway.url}/admin/sso/login", "ada", until=f"{gateway.url}/admin/sso/callback")
        address, cookie = back.headers["location"], client.cookies["paig_login"]
        assert client.get(address).status_code == 200
        again = httpx2.get(address, headers={"cookie": f"paig_login={cookie}"}, trust_env=False, timeout=60)
        assert (again.status_code, again.json()["code"]) == (403, "login-refused")
        assert "used already" in again.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/%252f/evil.example",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "@evil.example",
        "/@evil.example",
        ":@evil.example/admin/",
        "javascript:alert(1)//admin/",
        "/admin/%0d%0aX:",
        "/admin/%00",
        "/admin/%5c%5cevil.example",
        "%20/admin/docs",
        "/\\evil.example",
        "evil",
        "/a%0d%0aX:",
        "/%09/evil.example",
        "",
        "/",
        "/proxy/openai/v1/files/evil/content?key=k",
        "/admin/../proxy/openai/v1/files/evil/content",
        "/admin/%252e%252e/proxy/openai",
        "/admin/.%252e/proxy/openai",
        "/admin/..%253b/proxy/openai",
        "/admin/..%3b/proxy/openai",
        "/admin/..%252f..%252fproxy/openai",
        "/admin/..\\\\proxy",
        "/admin//evil",
        "/admin%23/../proxy",
        "/administrator",
        "/admin",
        "/me/../proxy/x",
        "/meat",
        f"/{'ä' * 900}",
    ],
)
def test_a_login_leads_to_no_other_site(gateway: Gateway, path: str) -> None:
    """Where to go after the login must be a page of the console, and no longer than a cookie can hold."""
    with browser() as client:
        assert client.get(f"{gateway.url}/admin/sso/login?next={path}").status_code == 422


def test_paig_login_sso(gateway: Gateway, tmp_path: Path) -> None:
    """The command shows an address and a code, and has a token once the person has confirmed it in a browser."""
    environment = {**os.environ, "PAIG_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    environment.pop("PAIG_ADMIN_TOKEN", None)
    paig = [sys.executable, "-c", "from paig_client.cli import main; main()"]
    login = [*paig, "login", gateway.url, "--sso", "--store", "file"]
    with subprocess.Popen(login, env=environment, stderr=subprocess.PIPE, text=True) as process, browser() as client:
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        url, code = re.search(r"Open (\S+)", said), re.search(r"code (\S+)\.", said)
        assert url is not None
        assert code is not None
        walk(client, url[1], "bob", user_code=code[1])
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Logged in as bob@example.com" in rest
    listed = subprocess.run(
        [*paig, "keys", "list", "--json"], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert '"research-key"' in listed.stdout
    assert '"sales-key"' not in listed.stdout
    mine = {token.id for token in gateway.client().tokens.list() if token.session and token.admin == "bob@example.com"}
    subprocess.run([*paig, "logout"], env=environment, capture_output=True, check=True, timeout=60)
    left = {token.id for token in gateway.client().tokens.list()}
    assert len(mine - left) == 1


def test_the_command_is_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the provider fails, or wants to be asked less often, `paig login --sso` waits longer, and goes on."""
    with running_liar() as liar:
        liar.now = utc_now()
        liar.say(nonce=None)
        away = (503, {"error": "temporarily_unavailable"})
        liar.first = [away, (400, {"error": "slow_down"}), (400, {"error": "authorization_pending"})]
        spec = settings(liar.issuer, groups={"g": "viewer"})
        sso = IdentityProvider(spec, None, now=utc_now)
        waits: list[float] = []
        monkeypatch.setattr("paig_client.cli.sso.time", SimpleNamespace(monotonic=lambda: 0.0, sleep=waits.append))
        with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway:
            token = sign_on(gateway.url).token
            assert token is not None
            assert gateway.client(token).whoami().session
    assert waits == [5, 10, 15, 15]


def test_a_login_of_one_kind_is_none_of_another(gateway: Gateway) -> None:
    """What a device's login remembers does not serve as a browser's, nor the other way round."""
    handle = gateway.client("").start_login().handle
    with browser() as client:
        answer = client.get(
            f"{gateway.url}/admin/sso/callback?state=&code=x", headers={"cookie": f"paig_login={handle}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "login-refused")
        client.get(f"{gateway.url}/admin/sso/login")
        with gateway.http(None) as http:
            answer = http.post("/sso/device/token", json={"handle": client.cookies["paig_login"]})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_over_https_cookies_are_this_host_s_own(issuer: str, tmp_path: Path) -> None:
    """Behind https the cookies go nowhere else, and one that a neighbouring host may have set is not looked at."""
    sso = IdentityProvider(settings(issuer, public_url="https://gateway.example/"), CLIENT_SECRET, now=utc_now)
    with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway, browser() as client:
        begun = client.get(f"{gateway.url}/admin/sso/login")
        ours = begun.headers["set-cookie"]
        assert ours.startswith("__Host-paig_login=")
        assert "secure" in ours.lower()
        back = walk(client, begun.headers["location"], "ada", until="https://gateway.example/admin/sso/callback?")
        come = back.headers["location"].replace("https://gateway.example", gateway.url)
        done = client.get(come, headers={"cookie": ours.partition(";")[0]})
        session = next(cookie for cookie in done.headers.get_list("set-cookie") if "paig_session" in cookie)
        assert session.startswith("__Host-paig_session=")
        assert {"secure", "httponly", "path=/", "samesite=strict"} <= {
            part.strip().lower() for part in session.split(";")
        }
        value = session.partition(";")[0]

        def asked(cookie: str, **headers: str) -> int:
            url = f"{gateway.url}/admin/v1/users"
            return client.post(url, json={"name": "u"}, headers={"cookie": cookie, **headers}).status_code

        site = {"sec-fetch-site": "same-origin"}
        whoami = client.get(f"{gateway.url}/admin/v1/whoami", headers={"cookie": value, **site})
        own = {**site, "x-paig-csrf": whoami.json()["csrf"]}
        assert asked(value.removeprefix("__Host-"), **own) == 401
        assert asked(value, origin="https://gateway.example") == 403
        assert asked(value, **own) == 201


def test_a_browser_s_session_opens_no_websocket(gateway: Gateway) -> None:
    """Browsers let any page open a WebSocket anywhere, cookies and all, and it can send no proof."""
    with browser() as client:
        come_in(gateway, client, "ada")
        cookie = f"paig_session={client.cookies['paig_session']}"
    host = gateway.url.removeprefix("http://")
    scope = {"type": "websocket", "scheme": "ws", "path": "/", "query_string": b""}

    def identity(origin: str) -> str:
        given = {"cookie": cookie, "host": host, "origin": origin}
        headers = [(name.encode(), value.encode()) for name, value in given.items()]
        found: AdminIdentity = gateway.app.state.authenticate(HTTPConnection({**scope, "headers": headers}))
        return found.name

    for origin in (gateway.url, "https://evil.example", "null", ""):
        with pytest.raises(ProblemError, match="cannot open a WebSocket"):
            identity(origin)


def test_a_device_login_waits_and_is_used_once(gateway: Gateway) -> None:
    """Nothing comes before it is confirmed; a handle of another making, or one that was used, gives nothing."""
    stranger = gateway.client("")
    begun = stranger.start_login()
    assert stranger.finish_login(begun.handle).token is None
    with browser() as client:
        walk(client, begun.verification_uri, "ada", user_code=begun.user_code)
    state = stranger.finish_login(begun.handle)
    assert state.admin == "ada@example.com"
    assert state.token is not None
    assert state.expires_at is not None
    assert timedelta(hours=11) < state.expires_at - utc_now() < timedelta(hours=13)
    assert gateway.client(state.token).whoami().name == "admin:ada@example.com"
    with pytest.raises(NotAuthorised):
        stranger.finish_login(begun.handle)
    with gateway.http(None) as http:
        assert http.post("/sso/device/token", json={"handle": "forged"}).json()["errors"][0]["field"] == "handle"


def test_a_session_makes_no_token_that_outlives_it(gateway: Gateway) -> None:
    """Whoever leaves the organisation cannot keep a way in: without `access:write` a token ends with the session."""
    session = by_device(gateway, "bob")
    with pytest.raises(NotAuthorised, match="expires_at"):
        session.tokens.create("forever", TokenSpec())


def by_device(gateway: Gateway, login: str) -> AdminClient:
    """A client with a session of a person."""
    stranger = gateway.client("")
    begun = stranger.start_login()
    with browser() as client:
        walk(client, begun.verification_uri, login, user_code=begun.user_code)
    token = stranger.finish_login(begun.handle).token
    assert token is not None
    return gateway.client(token)


def test_a_name_never_leads_to_another_account(gateway: Gateway) -> None:
    """Somebody whom the provider calls as an admin is called here gets an account of their own."""
    owner = gateway.client()
    by_device(gateway, "ada")
    with gateway.services.catalog.edit("test") as edit:
        row = edit.session.exec(select(AdminRow).where(AdminRow.name == "ada@example.com")).one()
        row.subject = f"{row.subject} of old"  # as if another person had had the address before
        edit.session.add(row)
        edit.record("update", "admin", row.name, None, None)
    name = by_device(gateway, "ada").whoami().name
    assert re.fullmatch(r"admin:ada@example\.com \([0-9a-f]{8}\)", name)
    assert {found.name for found in owner.admins.list()} > {"ada@example.com", name.removeprefix("admin:")}


def test_an_inactive_admin_cannot_log_in(gateway: Gateway) -> None:
    """An operator's no holds, whatever the provider says, and what roles were changed by hand are the groups' again."""
    owner = gateway.client()
    bob = by_device(gateway, "bob")
    owner.admins.update("bob@example.com", {"grants": [{"role": "owner"}]})
    assert bob.whoami().permissions
    bob = by_device(gateway, "bob")
    assert bob.whoami().permissions == []
    owner.admins.update("bob@example.com", {"active": False})
    with browser() as client:
        assert come_in(gateway, client, "bob").json()["code"] == "login-refused"
    owner.admins.update("bob@example.com", AdminSpec(active=True, grants=[GrantSpec(role="viewer")]))


def test_leaving_a_group_loses_its_role(tmp_path: Path) -> None:
    """Changed groups apply at the next login, to older sessions too; a person without groups has no role."""
    with running_liar() as liar:
        spec = settings(liar.issuer, groups={"staff": "viewer", "bosses": "admin"})
        sso = IdentityProvider(spec, None, now=utc_now)
        with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway:
            liar.now = utc_now()

            def come(groups: list[str] | None) -> AdminClient:
                liar.say(nonce=None, groups=groups)
                stranger = gateway.client("")
                return gateway.client(stranger.finish_login(stranger.start_login().handle).token or "")

            boss = come(["staff", "bosses"])
            assert "routing:write" in boss.whoami().permissions
            staff = come(["staff"])
            assert staff.whoami().permissions == boss.whoami().permissions
            assert "routing:write" not in staff.whoami().permissions
            for groups in (None, ["others"]):
                with pytest.raises(NotAuthorised, match="no role"):
                    come(groups)
                assert staff.whoami().permissions == []
                with pytest.raises(NotAuthorised):
                    boss.keys.list()
                assert come(["staff"]).keys.list() == []


def test_keys_of_the_provider_are_rotated(node: Path, keys: list[dict[str, Any]], tmp_path: Path) -> None:
    """A token signed with a key that the provider made since is taken, once its list has been read again."""
    with running_provider(node, keys) as issuer:
        port = int(issuer.rpartition(":")[2])
        sso = IdentityProvider(settings(issuer), CLIENT_SECRET, now=utc_now)
        with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway:
            gateway.client().projects.create("research", OwnerSpec())
            by_device(gateway, "ada")
    with running_provider(node, [new_key("second")], port=port) as again:
        assert again == issuer
        with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway:
            assert by_device(gateway, "ada").whoami().permissions


def test_groups_may_come_from_userinfo(node: Path, keys: list[dict[str, Any]], tmp_path: Path) -> None:
    """A provider that tells of groups only beside the ID token is asked there."""
    with running_provider(node, keys, only_userinfo=True) as issuer:
        sso = IdentityProvider(settings(issuer), CLIENT_SECRET, now=utc_now)
        with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway:
            assert by_device(gateway, "ada").whoami().permissions


def test_a_wrong_client_secret_refuses_every_login(gateway: Gateway, issuer: str, tmp_path: Path) -> None:
    """The provider's refusal is told, without the secret."""
    sso = IdentityProvider(settings(issuer), "a wrong one", now=utc_now)
    with running(tmp_path, change=lambda services: replace(services, sso=sso)) as other, other.http(None) as http:
        answer = http.post("/sso/device")
        assert (answer.status_code, answer.json()["code"]) == (403, "login-refused")
        assert "a wrong one" not in answer.text


def test_device_logins_are_limited_and_can_be_switched_off(tmp_path: Path) -> None:
    """One address begins so many; with `device_login = false` none, and browsers log in all the same."""
    with running_liar() as liar:
        for spec, statuses in (
            (settings(liar.issuer), [*[200] * DEVICE_STARTS, 429, 429]),
            (settings(liar.issuer, device_login=False), [404] * 2),
        ):
            sso = IdentityProvider(spec, None, now=utc_now)
            folder = tmp_path / str(len(statuses))
            folder.mkdir()
            with (
                running(folder, change=lambda services, sso=sso: replace(services, sso=sso)) as gateway,  # type: ignore[misc]
                gateway.http(None) as http,
            ):
                assert [http.post("/sso/device").status_code for _ in statuses] == statuses
                assert http.get(f"{gateway.url}/admin/sso/login").status_code == 303


def test_without_sso_there_is_none(tmp_path: Path) -> None:
    """A gateway that has not set it up says so."""
    with running(tmp_path) as gateway, gateway.http(None) as http:
        for answer in (http.post("/sso/device"), http.get(f"{gateway.url}/admin/sso/login")):
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
            assert "[sso]" in answer.json()["detail"]


def test_a_provider_that_is_away_is_told_of(tmp_path: Path) -> None:
    """If the issuer does not answer, the login gets 503, and tokens still work."""
    sso = IdentityProvider(settings("http://127.0.0.1:1"), None, now=utc_now)
    with running(tmp_path, change=lambda services: replace(services, sso=sso)) as gateway, gateway.http() as http:
        answer = http.post("/sso/device")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert http.get("/keys").status_code == 200
