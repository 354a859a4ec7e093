"""Keys that people get by logging in: one line from login to first request, under the caps of their group."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from paig_client.admin import Refused
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, OwnerSpec
from paig_gateway.catalog.logins import Login, PersonalKey
from paig_gateway.catalog.people import MAX_KEYS
from paig_gateway.config import apply, export, parse, plan
from paig_gateway.database.engine import utc_now
from paig_gateway.sso.provider import IdentityProvider
from paig_gateway.sso.settings import SsoSpec
from tests.gateway.admin.harness import Gateway, running
from tests.gateway.sso.browser import browser, walk
from tests.gateway.sso.conftest import CLIENT_ID, CLIENT_SECRET, new_key, running_provider

SETTINGS = {
    "client_id": CLIENT_ID,
    "scopes": ["openid", "profile", "email", "groups", "offline_access"],
    "groups": {"paig-admins": "admin"},
    "keys": {
        "team-research": {"project": "research", "limits": {"daily": 5}},
        "staff": {"limits": {"daily": 1}, "models": ["gpt-5-mini"]},
    },
}
PAIG = [sys.executable, "-c", "from paig_client.cli import main; main()"]


@pytest.fixture(scope="module")
def keys() -> list[dict[str, Any]]:
    """The identity provider's keys."""
    return [new_key("first")]


GROUPS = {"bob": ["team-research", "staff"], "eve": ["staff"], "ada": ["paig-admins", "staff"], "joe": []}


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """The file with everybody's groups, as the identity provider reads it."""
    file = tmp_path / "groups.json"
    file.write_text(json.dumps(GROUPS), "utf-8")
    return file


@pytest.fixture
def gateway(node: Path, keys: list[dict[str, Any]], groups: Path, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose people log in at a real identity provider."""
    with running_provider(node, keys, groups=groups) as issuer:
        spec = SsoSpec.model_validate({**SETTINGS, "issuer": issuer})
        sso = IdentityProvider(spec, CLIENT_SECRET, now=utc_now)
        with running(tmp_path / "gateway", change=lambda services: replace(services, sso=sso)) as gateway:
            gateway.client().projects.create("research", OwnerSpec())
            yield gateway


@pytest.fixture
def paig(tmp_path: Path) -> Callable[..., str]:
    """Runs the command with a home folder of its own; its output."""

    def run(*arguments: str, fails: bool = False) -> str:
        environment = {**os.environ, "PAIG_HOME": str(tmp_path / "client")}
        for name in ("PAIG_ADMIN_TOKEN", "PAIG_API_KEY", "PYDANTIC_AI_GATEWAY_API_KEY"):
            environment.pop(name, None)
        done = subprocess.run([*PAIG, *arguments], env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


def log_in(gateway: Gateway, login: str, home: Path) -> str:
    """`paig login --sso`, with the person confirming the code in a browser; what it says."""
    environment = {**os.environ, "PAIG_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    environment.pop("PAIG_ADMIN_TOKEN", None)
    command = [*PAIG, "login", gateway.url, "--sso", "--store", "file"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process, browser() as client:
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        url, code = re.search(r"Open (\S+)", said), re.search(r"code (\S+)\.", said)
        assert url is not None
        assert code is not None
        walk(client, url[1], login, user_code=code[1])
        _, rest = process.communicate(timeout=60)
    return f"{process.returncode} {rest}"


def test_a_person_without_a_role_gets_a_key_and_no_rights(
    gateway: Gateway, paig: Callable[..., str], tmp_path: Path
) -> None:
    """From login to a program with the key in two steps; the key is the person's, in the group's project and caps."""
    assert "Stored your key" in log_in(gateway, "bob", tmp_path / "client")
    printed = paig("run", "--", sys.executable, "-c", "import os; print(os.environ['PAIG_API_KEY'])")
    assert re.fullmatch(r"paig_[\w-]{43}\n", printed)
    owner = gateway.client()
    [key] = owner.keys.list()
    assert (key.project, key.user, key.hint) == ("research", "bob@example.com", printed[:9])
    assert owner.users.get("bob@example.com").limits.daily == 5
    assert "bob@example.com" not in {admin.name for admin in owner.admins.list()}
    assert "There is no admin token" in paig("keys", "list", "--url", gateway.url, fails=True)


def test_the_first_group_in_the_file_counts(gateway: Gateway, tmp_path: Path) -> None:
    """And a person with a role gets both a token and a key."""
    assert "Stored your key" in log_in(gateway, "eve", tmp_path / "eve")
    assert "Stored an admin token and your key" in log_in(gateway, "ada", tmp_path / "ada")
    found = {key.user: key for key in gateway.client().keys.list()}
    assert found["eve@example.com"].models == found["ada@example.com"].models == ["gpt-5-mini"]
    assert found["eve@example.com"].project is None


def test_without_a_group_there_is_no_way_in(gateway: Gateway, tmp_path: Path) -> None:
    """The message names the groups that the provider told of."""
    assert "has no role and no key here" in log_in(gateway, "joe", tmp_path / "joe")
    assert gateway.client().users.list() == []


def test_each_run_renews_the_key(gateway: Gateway, paig: Callable[..., str], tmp_path: Path) -> None:
    """The same key lasts `key_hours` from then on; `paig logout` ends it."""
    log_in(gateway, "bob", tmp_path / "client")
    owner = gateway.client()
    [before] = owner.keys.list()
    first = paig("env")
    [after] = owner.keys.list()
    assert before.expires_at is not None
    assert after.expires_at is not None
    assert (after.id, after.expires_at > before.expires_at) == (before.id, True)
    assert paig("env") == first
    paig("logout")
    assert owner.keys.list() == []


def test_the_key_ends_with_the_group(gateway: Gateway, groups: Path, paig: Callable[..., str], tmp_path: Path) -> None:
    """Each renewal asks the identity provider; a person without a group loses the key."""
    log_in(gateway, "bob", tmp_path / "client")
    groups.write_text(json.dumps({"bob": ["staff"]}), "utf-8")
    paig("env")
    owner = gateway.client()
    assert [(key.project, key.models) for key in owner.keys.list()] == [(None, ["gpt-5-mini"])]
    assert owner.users.get("bob@example.com").limits.daily == 1
    groups.write_text("{}", "utf-8")
    assert "The personal key has ended" in paig("env", fails=True)
    assert owner.keys.list() == []


def test_a_blocked_person_gets_no_key(gateway: Gateway, paig: Callable[..., str], tmp_path: Path) -> None:
    """Neither by a login nor by a renewal: an inactive admin, and a person one of whose keys was disabled."""
    log_in(gateway, "ada", tmp_path / "client")
    owner = gateway.client()
    owner.admins.update("ada@example.com", {"active": False})
    assert "has ended" in paig("env", fails=True)
    assert "was made inactive" in log_in(gateway, "ada", tmp_path / "again")
    log_in(gateway, "eve", tmp_path / "eve")
    [key] = owner.keys.list()
    owner.keys.disable(key.id)
    assert "has no role and no key here" in log_in(gateway, "eve", tmp_path / "eve")


def test_a_damaged_or_foreign_handle_is_refused(gateway: Gateway) -> None:
    """It says how to log in again."""
    with pytest.raises(Refused, match="paig login --sso"):
        gateway.client().renew_key("gAAAA")


def test_more_logins_give_no_more_to_spend(gateway: Gateway, tmp_path: Path) -> None:
    """All keys of a person belong to one user; a login beyond the tenth ends the oldest key."""
    catalog = gateway.services.catalog
    given = PersonalKey(KeySpec(), LimitsSpec.model_validate({"daily": 1}), utc_now() + timedelta(hours=1))
    made = [catalog.people.log_in(Login("issuer kim", "kim", [], utc_now(), given)) for _ in range(MAX_KEYS + 2)]
    found = {key.id for key in catalog.keys.list()}
    assert [one is not None and one.key is not None and one.key.id in found for one in made] == (
        [False] * 2 + [True] * MAX_KEYS
    )
    assert [(user.name, user.limits.daily) for user in catalog.users.list()] == [("kim", 1)]
    other = catalog.people.log_in(Login("issuer other", "kim", [], utc_now(), given))
    assert other is not None
    assert other.name.startswith("kim (")  # a name is no proof


def test_a_configuration_file_leaves_them_alone(gateway: Gateway) -> None:
    """Neither exported, nor deleted by `--prune`, nor told of as changed by hand."""
    catalog = gateway.services.catalog
    apply(plan(parse(export(catalog)), catalog), catalog, actor="test")
    given = PersonalKey(KeySpec(), LimitsSpec.model_validate({"daily": 1}), utc_now() + timedelta(hours=1))
    catalog.people.log_in(Login("issuer kim", "kim", [], utc_now(), given))
    assert "kim" not in export(catalog)
    again = plan(parse(export(catalog)), catalog, prune=True)
    assert (again.changes, again.drift) == ((), [])


def test_a_person_sees_the_page_of_their_keys_without_a_role(gateway: Gateway, tmp_path: Path) -> None:
    """The login gives no session of the console; the cookie is strict; a change needs the page's proof."""
    log_in(gateway, "bob", tmp_path / "client")
    owner = gateway.client()
    [key] = [one for one in owner.keys.list() if one.user == "bob@example.com"]
    begin = f"{gateway.url}/admin/sso/login?next=/me"
    with browser() as client:
        assert 'href="/admin/sso/login?next=/me"' in client.get(f"{gateway.url}/me").text
        back = walk(client, begin, "bob", until=f"{gateway.url}/me")
        [cookie] = [one for one in back.headers.get_list("set-cookie") if one.startswith("paig_key=")]
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
        assert "paig_session" not in client.cookies
        assert client.get(f"{gateway.url}/admin/v1/keys").status_code == 401
        page = client.get(f"{gateway.url}/me?key=sales-key").text
        assert f"<h1>{key.name}</h1>" in page
        assert "of $5.00" in page
        [action] = re.findall(r'action="(/me/ask[^"]*)"', page)
        [proof] = {*re.findall(r'name="proof" value="(\w+)"', page)}
        asked = {"to": "50", "window": "daily", "why": "a release"}
        own = {"sec-fetch-site": "same-origin"}
        client.post(gateway.url + unescape(action), data=asked, headers=own)
        assert owner.limit_requests() == []
        client.post(gateway.url + unescape(action), data={**asked, "proof": proof}, headers=own)
        assert [(one.key, one.amount, one.owner_kind) for one in owner.limit_requests()] == [
            (key.name, Decimal(50), "user")
        ]
        owner.keys.disable(key.id)
        assert "You have no key that works" in client.get(f"{gateway.url}/me").text
    with browser() as client:
        refused = walk(client, begin, "joe")
        assert (refused.status_code, refused.json()["code"]) == (403, "login-refused")
        assert "paig login --sso" in refused.json()["detail"]
