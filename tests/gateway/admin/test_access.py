"""Who may do what: every operation for every role, in the whole gateway and in one project; tokens and their ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from paig_client.admin import AdminClient, Conflict, Invalid, NotAuthorised, NotFound
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, OwnerSpec, ProviderSpec, TokenSpec
from paig_client.api.vocabulary import Role
from paig_gateway.database.engine import utc_now
from tests.gateway.admin.harness import Gateway, running

ROLES: Mapping[str, Role] = {"o": "owner", "a": "admin", "e": "editor", "v": "viewer"}

# Each operation: the roles that may use it in the whole gateway, and those that may in a project alone.
MATRIX: Mapping[str, tuple[str, str]] = {
    "list_providers": ("oaev", ""),
    "get_provider": ("oaev", ""),
    "create_provider": ("oa", ""),
    "update_provider": ("oa", ""),
    "delete_provider": ("oa", ""),
    "test_provider": ("oa", ""),
    "list_routes": ("oaev", "oaev"),
    "get_route": ("oaev", "oaev"),
    "create_route": ("oa", ""),
    "update_route": ("oa", ""),
    "delete_route": ("oa", ""),
    "list_prices": ("oaev", ""),
    "get_price": ("oaev", ""),
    "create_price": ("oa", ""),
    "update_price": ("oa", ""),
    "delete_price": ("oa", ""),
    "list_projects": ("oaev", "oaev"),
    "get_project": ("oaev", "oaev"),
    "create_project": ("oae", ""),
    "update_project": ("oae", ""),
    "delete_project": ("oae", ""),
    "list_users": ("oaev", ""),
    "get_user": ("oaev", ""),
    "create_user": ("oae", ""),
    "update_user": ("oae", ""),
    "delete_user": ("oae", ""),
    "list_keys": ("oaev", "oaev"),
    "get_key": ("oaev", "oaev"),
    "create_key": ("oae", "oae"),
    "update_key": ("oae", "oae"),
    "delete_key": ("oae", "oae"),
    "rotate_key": ("oae", "oae"),
    "disable_key": ("oae", "oae"),
    "block_key": ("oae", ""),
    "enable_key": ("oae", "oae"),
    "record_spent": ("oa", ""),
    "get_organisation": ("oaev", ""),
    "put_organisation": ("oa", ""),
    "update_organisation": ("oa", ""),
    "list_limits": ("oaev", "oaev"),
    "list_raises": ("oaev", ""),
    "create_raise": ("oa", ""),
    "end_raise": ("oa", ""),
    "list_limit_requests": ("oaev", ""),
    "approve_limit_request": ("oa", ""),
    "decline_limit_request": ("oa", ""),
    "list_named_limits": ("oaev", ""),
    "get_named_limit": ("oaev", ""),
    "create_named_limit": ("oa", ""),
    "update_named_limit": ("oa", ""),
    "delete_named_limit": ("oa", ""),
    "list_requests": ("oaev", "oaev"),
    "get_request": ("oaev", "oaev"),
    "get_usage": ("oaev", "oaev"),
    "get_repricing": ("oaev", "oaev"),
    "prune_usage": ("oa", ""),
    "list_stored_objects": ("oaev", "oaev"),
    "adopt_stored_objects": ("oa", ""),
    "list_sessions": ("oaev", "oaev"),
    "get_session": ("oaev", "oaev"),
    "stop_session": ("oae", "oae"),
    "resume_session": ("oae", "oae"),
    "stream_events": ("oaev", "oaev"),
    "list_audit": ("oaev", "oaev"),
    "verify_audit": ("oaev", ""),
    "get_health": ("oaev", "oaev"),
    "list_provider_health": ("oaev", ""),
    "apply_config": ("oa", ""),
    "export_config": ("oaev", ""),
    "list_admins": ("oa", ""),
    "get_admin": ("oa", ""),
    "create_admin": ("oa", ""),
    "update_admin": ("oa", ""),
    "delete_admin": ("oa", ""),
    "list_tokens": ("oaev", "oaev"),
    "get_token": ("oaev", "oaev"),
    "create_token": ("oaev", "oaev"),
    "revoke_token": ("oaev", "oaev"),
    "whoami": ("oaev", "oaev"),
    "logout": ("oaev", "oaev"),
}
# What makes a request of each whole, so that who may send it has it carried out.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "create_provider": {"kind": "openai"},
    "create_route": {"members": [{"provider": "openai"}]},
    "create_price": {"input_mtok": "1"},
    "create_project": {"limits": {"daily": "1"}},
    "create_user": {},
    "create_key": {"project": "red"},
    "create_admin": {"grants": [{"role": "viewer"}]},
    "create_named_limit": {"daily": "5"},
    "create_raise": {
        "owner_kind": "project",
        "owner": "red",
        "window": "daily",
        "to": "2",
        "why": "a test",
        "until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    },
    "create_token": {},
    "put_organisation": {},
    "update_organisation": {},
    "prune_usage": {"before": "2020-01-01T00:00:00Z"},
    "apply_config": {"config": "", "dry_run": True},
}
OPEN = {
    "healthz",
    "readyz",
    "start_device_login",
    "finish_device_login",
    "renew_personal_key",
    "end_personal_key",
    "get_me",
    "list_my_requests",
    "ask_for_more",
}
"""What needs no admin token."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with two projects, keys in each and in neither, requests of all, and an admin for each role."""
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        admin = gateway.client()
        admin.providers.create("openai", ProviderSpec(kind="openai"))
        admin.users.create("ada", OwnerSpec(limits=LimitsSpec(daily=Decimal(9))))
        for project in ("red", "blue"):
            admin.projects.create(project, OwnerSpec(limits=LimitsSpec(daily=Decimal(1))))
            admin.keys.create(f"{project}-key", KeySpec(project=project, limits=LimitsSpec(daily=Decimal(1))))
        admin.keys.create("free-key", KeySpec(user="ada"))
        for key in ("red-key", "blue-key", "free-key"):
            gateway.finish(key, cost=1_000_000)
        for role in ROLES.values():
            admin.admins.create(f"org-{role}", AdminSpec(grants=[GrantSpec(role=role)]))
            admin.admins.create(f"red-{role}", AdminSpec(grants=[GrantSpec(role=role, project="red")]))
        yield gateway


@pytest.fixture(scope="module")
def tokens(gateway: Gateway) -> Mapping[str, str]:
    """A token of each of those admins, by their name."""
    owner = gateway.client()
    return {found.name: owner.tokens.create("t", TokenSpec(admin=found.name)).token for found in owner.admins.list()}


def as_(gateway: Gateway, tokens: Mapping[str, str], name: str) -> AdminClient:
    """A client of one of the admins."""
    return gateway.client(tokens[name])


def described(gateway: Gateway) -> dict[str, tuple[str, str]]:
    """Method and path of every operation that the gateway says it has."""
    document = httpx2.get(f"{gateway.url}/admin/openapi.json", trust_env=False, timeout=60).json()
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_matrix_has_every_operation(gateway: Gateway) -> None:
    """An operation that is added must be put into the matrix, by hand."""
    assert set(MATRIX) == set(described(gateway)) - OPEN


@pytest.mark.parametrize("place", ["org", "red"])
@pytest.mark.parametrize("letter", ROLES)
def test_the_matrix_holds(gateway: Gateway, place: str, letter: str) -> None:
    """Each role is refused exactly what the matrix does not give it, and is let through to everything else."""
    refused = set()
    own = gateway.client().tokens.create("matrix", TokenSpec(admin=f"{place}-{ROLES[letter]}")).token
    found = described(gateway)
    for operation in ("get_me", "list_my_requests", "ask_for_more"):  # a gateway key alone may use them
        del found[operation]
    found["logout"] = found.pop("logout")  # the last: after it the token is no more
    with gateway.http(own) as http:
        for operation, (method, path) in found.items():
            where = path.removeprefix("/admin/v1").replace("{", "none-").replace("}", "")
            body = {"json": _body(operation, f"{place}-{letter}")} if method in ("POST", "PUT", "PATCH") else {}
            with http.stream(method, where if operation not in OPEN else gateway.url + path, **body) as answer:
                assert answer.status_code != 401
                if answer.status_code == 403:
                    assert "forbidden" in b"".join(answer.iter_bytes()).decode()
                    refused.add(operation)
                else:
                    assert answer.status_code < (300 if operation in BODIES else 500), (operation, answer.read())
    for key in gateway.client().keys.list():
        if key.name.startswith("create_key"):
            gateway.client().keys.delete(key.id)
    column = 0 if place == "org" else 1
    assert refused == {operation for operation, roles in MATRIX.items() if letter not in roles[column]}


def _body(operation: str, name: str) -> Mapping[str, Any]:
    named = {"name": f"{operation} {name}"} if operation.startswith("create_") else {}
    if operation == "create_raise":
        named = {}
    if operation in ("create_provider", "create_route"):
        named = {"name": f"{operation.replace('_', '-')}-{name}"}
    return {**named, **BODIES.get(operation, {})}


def test_without_a_token_there_is_nothing(gateway: Gateway) -> None:
    """Each operation but those that are open asks for one, whatever else is wrong with the request."""
    with gateway.http(None) as http:
        for operation, (method, path) in described(gateway).items():
            if operation not in OPEN:
                answer = http.request(method, path.removeprefix("/admin/v1").replace("{", "none-").replace("}", ""))
                assert (answer.status_code, answer.json()["code"]) == (401, "missing-token"), operation


def test_creating_projects_does_not_allow_setting_their_export(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """What is told of a project's requests, and to whom, needs the right to set providers."""
    editor = as_(gateway, tokens, "org-editor")
    editor.projects.create("edited", OwnerSpec())
    with pytest.raises(NotAuthorised, match="telemetry"):
        editor.projects.update("edited", {"telemetry": {"content": True}})
    with gateway.http(tokens["org-editor"]) as http:
        body = {"name": "told", "telemetry": {"export": {"endpoint": "https://elsewhere.example/v1/traces"}}}
        answer = http.post("/projects", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    gateway.client().projects.delete("edited")


def test_a_project_s_people_see_that_project_alone(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """Keys, projects, requests, usage, limits and the audit log hold the project's own and nothing else."""
    red, owner = as_(gateway, tokens, "red-viewer"), gateway.client()
    assert [key.name for key in red.keys.list()] == ["red-key"]
    assert [project.name for project in red.projects.list()] == ["red"]
    assert {row.key for row in red.requests().items} == {"red-key"}
    with pytest.raises(Invalid, match="there is no key 'blue-key'"):
        red.requests(key="blue-key")
    assert red.usage().total.requests == 1
    assert [item.group for item in red.usage(by=["project", "key"]).items] == [{"project": "red", "key": "red-key"}]
    assert {(limit.owner_kind, limit.owner) for limit in red.limits()} == {("project", "red"), ("key", "red-key")}
    seen = {(entry.kind, entry.name) for entry in red.audit() if not entry.name.startswith("create_key")}
    assert seen == {("project", "red"), ("key", "red-key")}
    with pytest.raises(Invalid, match="no change has the name 'blue-key'"):
        red.audit(name="blue-key")
    for request in owner.requests().items:
        if request.key == "red-key":
            assert red.request(request.id) == request
        else:
            with pytest.raises(NotFound):
                red.request(request.id)
    for hidden in ("blue-key", owner.keys.get("blue-key").id, "free-key"):
        with pytest.raises(NotFound):
            red.keys.get(hidden)
    with pytest.raises(NotFound):
        red.projects.get("blue")


def test_a_project_s_people_follow_that_project_alone(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """Events of other projects, and of none, do not come."""
    lines = []
    with gateway.http(tokens["red-viewer"]) as http, http.stream("GET", "/events") as stream:
        found = stream.iter_lines()
        assert next(found).startswith(":")
        for key in ("blue-key", "free-key"):
            gateway.finish(key)
        gateway.client().users.create("unseen", OwnerSpec())
        gateway.client().keys.update("blue-key", {"models": ["m"]})
        gateway.client().keys.update("red-key", {"models": ["m"]})
        seen = gateway.finish("red-key")
        for line in found:
            lines.append(line)
            if sum(line.startswith("event:") for line in lines) == 2 and line.startswith("data:"):
                break
    text = "\n".join(lines)
    assert seen in text
    assert '"name":"red-key"' in text
    assert not [hidden for hidden in ("blue", "free-key", "unseen") if hidden in text]


def test_a_project_s_editor_keeps_to_it(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """They make and change keys in their project; not elsewhere, not for a user, and they take none out of it."""
    red, owner = as_(gateway, tokens, "red-editor"), gateway.client()
    made = red.keys.create("red-new", KeySpec(project="red"))
    assert red.keys.update("red-new", {"limits": {"daily": "2"}}).limits.daily == 2
    assert red.keys.rotate("red-new").id == made.id
    assert red.keys.disable("red-new").status == "disabled"
    for spec in (KeySpec(), KeySpec(project="blue"), KeySpec(project="red", user="ada")):
        with pytest.raises(NotAuthorised):
            red.keys.create("x", spec)
    for changes in ({"project": "blue"}, {"project": None}, {"user": "ada"}, {"secret": "env:PAIG_SECRET_KEY"}):
        with pytest.raises(NotAuthorised):
            red.keys.update("red-new", changes)
    for act in (red.keys.delete, red.keys.rotate, red.keys.disable):
        with pytest.raises(NotFound):
            act("blue-key")  # type: ignore[operator]
    with pytest.raises(NotAuthorised):
        as_(gateway, tokens, "org-editor").keys.create("x", KeySpec(secret="file:/etc/hostname"))
    red.keys.delete("red-new")
    assert {entry.actor for entry in owner.audit(name="red-new")} == {"admin:red-editor/t"}


def test_a_blocked_key_is_enabled_for_the_whole_gateway_alone(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """Not by an administrator of its project, by no way: neither by enabling it nor by disabling it first."""
    red, owner = as_(gateway, tokens, "red-editor"), gateway.client()
    red.keys.create("stopped", KeySpec(project="red"))
    assert owner.keys.block("stopped").status == "blocked"
    for change in (red.keys.enable, red.keys.disable):
        with pytest.raises(NotAuthorised, match="blocked"):
            change("stopped")
    assert owner.keys.enable("stopped").status == "active"
    red.keys.delete("stopped")


def test_a_key_that_moves_is_told_in_both_projects(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """The audit log of the project that a key left says so, and that of the one it came to."""
    owner, red = gateway.client(), as_(gateway, tokens, "red-viewer")
    owner.keys.create("mover", KeySpec(project="red"))
    owner.keys.update("mover", {"project": "blue"})
    owner.keys.update("mover", {"models": ["m"]})
    assert [entry.action for entry in red.audit(name="mover")] == ["update", "create"]
    assert len(owner.audit(project="blue", name="mover")) == 2


def test_no_admin_grants_more_than_it_has(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """An admin cannot make an owner, nor make or revoke an owner's tokens; an editor can make no admin."""
    boss = as_(gateway, tokens, "org-admin")
    owner_token = next(token for token in boss.tokens.list() if token.admin == "org-owner")
    assert boss.admins.create("helper", AdminSpec(grants=[GrantSpec(role="editor")])).grants[0].role == "editor"
    for attempt in (
        lambda: boss.admins.create("x", AdminSpec(grants=[GrantSpec(role="owner")])),
        lambda: boss.admins.update("helper", {"grants": [{"role": "owner"}]}),
        lambda: boss.admins.update("org-owner", {"grants": []}),
        lambda: boss.admins.update("org-owner", {"active": False}),
        lambda: boss.admins.delete("org-owner"),
        lambda: boss.tokens.create("x", TokenSpec(admin="org-owner")),
        lambda: boss.tokens.revoke(owner_token.id),
        lambda: as_(gateway, tokens, "org-editor").tokens.create("x", TokenSpec(admin="org-viewer")),
        lambda: as_(gateway, tokens, "red-owner").tokens.create("x", TokenSpec(admin="red-viewer")),
    ):
        with pytest.raises(NotAuthorised):
            attempt()
    assert boss.tokens.create("one", TokenSpec(admin="helper")).token
    boss.admins.delete("helper")


def test_a_token_makes_none_that_is_worth_more(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """A confined token makes only tokens of the same scopes; one that ends makes none that ends later."""
    viewer = as_(gateway, tokens, "red-viewer")
    end = utc_now() + timedelta(hours=1)
    short = gateway.client(
        viewer.tokens.create("short", TokenSpec(scopes=["access:own", "catalog:read"], expires_at=end)).token
    )
    assert [key.name for key in short.keys.list()] == ["red-key"]
    with pytest.raises(NotAuthorised, match="ledger:read"):
        short.requests()
    for spec in (
        TokenSpec(),
        TokenSpec(scopes=["catalog:read"]),
        TokenSpec(scopes=["ledger:read"], expires_at=end),
        TokenSpec(scopes=["catalog:read"], expires_at=end + timedelta(seconds=1)),
    ):
        with pytest.raises(NotAuthorised):
            short.tokens.create("x", spec)
    made = short.tokens.create("shorter", TokenSpec(scopes=["catalog:read"], expires_at=end - timedelta(minutes=1)))
    assert gateway.client(made.token).whoami().projects == {"red": ["catalog:read"]}
    # A scope that the admin's roles do not hold gives nothing.
    wide = gateway.client(viewer.tokens.create("wide", TokenSpec(scopes=["keys:write"])).token)
    assert wide.whoami().projects == {"red": []}


def test_one_s_own_tokens(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """Everybody lists and revokes their own tokens and knows of no others; names are taken once per admin."""
    viewer, editor = as_(gateway, tokens, "org-viewer"), as_(gateway, tokens, "org-editor")
    made = viewer.tokens.create("laptop", TokenSpec())
    assert editor.tokens.create("laptop", TokenSpec()).name == "laptop"
    assert {token.admin for token in viewer.tokens.list()} == {"org-viewer"}
    with pytest.raises(Conflict):
        viewer.tokens.create("laptop", TokenSpec())
    for act in (editor.tokens.get, editor.tokens.revoke):
        with pytest.raises(NotFound):
            act(made.id)  # type: ignore[operator]
    assert {token.admin for token in gateway.client().tokens.list()} > {"org-viewer", "org-editor"}
    viewer.tokens.revoke(made.id)
    with pytest.raises(NotAuthorised):
        gateway.client(made.token).whoami()


def test_tokens_are_stored_hashed(gateway: Gateway, tokens: Mapping[str, str]) -> None:
    """Neither the database nor the audit log nor any list has a token, only the beginning to know it by."""
    with gateway.http() as http:
        answers = [http.get(path, params=more).text for path, more in (("/tokens", {}), ("/audit", {"limit": 1000}))]
    with gateway.engine.connect() as connection:
        rows = [str(row) for row in connection.exec_driver_sql("SELECT * FROM admin_tokens")]
        rows += [str(row) for row in connection.exec_driver_sql("SELECT * FROM audit")]
    for token in tokens.values():
        assert not [text for text in (*answers, *rows) if token in text]
        assert token[:15] in answers[0]


def test_an_end_is_an_end(tmp_path: Any) -> None:
    """A token is refused from its expiry on, and one that is past from the beginning is not made."""
    late = timedelta()
    with running(tmp_path, clock=lambda: datetime(2026, 11, 23, tzinfo=UTC) + late) as gateway:
        owner = gateway.client()
        owner.admins.create("ada", AdminSpec(grants=[GrantSpec(role="viewer")]))
        end = datetime(2026, 11, 24, tzinfo=UTC)
        ada = gateway.client(owner.tokens.create("day", TokenSpec(admin="ada", expires_at=end)).token)
        late = timedelta(hours=23, minutes=59)
        assert ada.whoami().expires_at == end
        late = timedelta(hours=24)
        with pytest.raises(NotAuthorised, match="has expired"):
            ada.whoami()
        with gateway.http() as http:
            body = {"name": "past", "admin": "ada", "expires_at": "2026-11-23T00:00:00Z"}
            assert http.post("/tokens", json=body).json()["detail"] == "expires_at: is in the past"


@pytest.mark.parametrize("how", ["revoked", "inactive", "deleted", "role taken"])
def test_what_is_taken_back_ends_on_every_node_within_a_second(gateway: Gateway, how: str) -> None:
    """A token revoked on one node is refused by another at once, and the stream that it reads there ends."""
    owner = gateway.client()
    name = f"leaver {how}"
    owner.admins.create(name, AdminSpec(grants=[GrantSpec(role="viewer")]))
    made = owner.tokens.create("t", TokenSpec(admin=name))
    with running(gateway.folder, url=gateway.database, refreshed=True) as other, ExitStack() as stack:
        client = other.client(made.token)
        assert client.keys.list()
        stream = stack.enter_context(stack.enter_context(other.http(made.token)).stream("GET", "/events"))
        lines = stream.iter_lines()
        assert next(lines).startswith(":")
        match how:
            case "revoked":
                owner.tokens.revoke(made.id)
            case "inactive":
                owner.admins.update(name, {"active": False})
            case "deleted":
                owner.admins.delete(name)
            case "role taken":
                owner.admins.update(name, {"grants": []})
        began = time.monotonic()
        while True:
            try:
                client.keys.list()
            except NotAuthorised:
                break
            # Far more than is promised, for a machine that has other things to do.
            assert time.monotonic() - began < 60
        gateway.finish("free-key")
        assert "free-key" not in "".join(lines)


def test_the_audit_log_is_filtered(gateway: Gateway) -> None:
    """Filters by actor, action, object, project and time combine, and pages keep to them."""
    owner = gateway.client()
    owner.admins.create("auditor", AdminSpec(grants=[GrantSpec(role="owner")]))
    first, second = (gateway.client(owner.tokens.create(n, TokenSpec(admin="auditor")).token) for n in ("one", "two"))
    first.projects.create("audited", OwnerSpec())
    second.keys.create("audited-key", KeySpec(project="audited"))
    second.keys.disable("audited-key")
    assert [entry.actor for entry in owner.audit(actor="admin:auditor")] == [
        *["admin:auditor/two"] * 2,
        "admin:auditor/one",
    ]
    assert len(owner.audit(actor="admin:auditor/one")) == 1
    with pytest.raises(Invalid, match="did you mean admin:auditor"):
        owner.audit(actor="admin:audito")
    assert [entry.action for entry in owner.audit(project="audited")] == ["disable", "create", "create"]
    assert [entry.kind for entry in owner.audit(project="audited", action="create", kind="key")] == ["key"]
    found = owner.audit(name="audited-key")
    assert (found[0].before, found[0].after) == ({"state": "active"}, {"state": "disabled"})
    assert owner.audit(name="audited-key", until=found[1].time) == []
    assert found[0] in owner.audit(name="audited-key", since=found[0].time)
    assert owner.audit(name="audited-key", since=utc_now() + timedelta(hours=1)) == []
    assert owner.audit(project="audited", limit=1, cursor=found[0].id) == found[1:]
    granted = owner.audit(kind="admin", name="auditor")[0]
    assert granted.after == {"grants": [{"role": "owner"}]}


def test_a_project_with_people_is_not_deleted(gateway: Gateway) -> None:
    """A project in which an admin has a role is in use; a role in an unknown project is refused."""
    owner = gateway.client()
    owner.projects.create("staffed", OwnerSpec())
    owner.admins.create("staff", AdminSpec(grants=[GrantSpec(role="viewer", project="staffed")]))
    with pytest.raises(Conflict, match="'staff'"):
        owner.projects.delete("staffed")
    owner.admins.delete("staff")
    owner.projects.delete("staffed")
    with gateway.http() as http:
        grants = [{"role": "viewer", "project": "nowhere"}]
        answer = http.post("/admins", json={"name": "lost", "grants": grants})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "grants.0.project")


def test_the_gateway_s_own_token_is_the_owner_s(gateway: Gateway) -> None:
    """PAIG_ADMIN_TOKEN may do everything, belongs to no admin, and so makes tokens only for others."""
    me = gateway.client().whoami()
    assert (me.name, me.projects, me.expires_at) == ("token:admin", {}, None)
    assert "access:owners" in me.permissions
    with gateway.http() as http:
        answer = http.post("/tokens", json={"name": "mine"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "admin")
