"""Two tenants: neither a key nor an administrator of one project is told a name of another, whatever is asked."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paig_client.api.specs import AdminSpec, GrantSpec, KeySpec, NamedLimitSpec, OwnerSpec, ProjectSpec, TokenSpec
from paig_client.api.vocabulary import Role
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.config import Config
from paig_gateway.secrets.references import SecuritySpec
from paig_gateway.server import running_gateway
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import ADMIN, World, running_simulator, running_world, simulated_providers
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

HIDDEN = "obsidian"
"""Stands in every name that the other tenant has given."""

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"[sim:tokens=5] {HIDDEN}"}]}


@dataclass
class Tenants:
    """A gateway with a tenant who has done things, and one who looks.

    Attributes:
        theirs: The other tenant's key.
        mine: The key of the one who looks.
        request: The id of a request of the other one.
        tokens: Admin tokens for the project of the one who looks, by role.
    """

    world: World
    theirs: str
    mine: str
    request: str
    tokens: dict[Role, str]

    async def ask(self, key: str, method: str, path: str, **more: Any) -> httpx2.Response:
        """A request with a key or a token."""
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        return await self.world.http.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
async def tenants(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tenants]:
    """The other one has a project, a user, keys, a session, tags, a run, limits, a raise and a wish for more."""
    simulator = Simulator()
    async with (
        running_simulator(simulator) as base,
        running_world(tmp_path_factory.mktemp("home"), simulated_providers(base)) as world,
    ):
        admin, name = world.admin, f"{HIDDEN}-1"
        for project in (name, "mine"):
            await admin.projects.create(project, ProjectSpec.model_validate({"limits": {"monthly": 50}}))
        await admin.users.create(name, OwnerSpec())
        spec = {"project": name, "user": name, "limits": {"daily": 5}, "routes": ["openai"]}
        theirs = (await admin.keys.create(name, KeySpec.model_validate(spec))).key
        mine = (await admin.keys.create("mine", KeySpec.model_validate({"project": "mine", "routes": ["openai"]}))).key
        limit = {"match": {"project": name}, "per": "tag:customer", "daily": 4}
        await admin.named_limits.create(name, NamedLimitSpec.model_validate(limit))
        tokens: dict[Role, str] = {}
        for role in ("viewer", "editor", "admin"):
            grant = GrantSpec(role=role, project="mine")
            made = await admin.admins.create(f"mine-{role}", AdminSpec(grants=[grant]))
            tokens[role] = world.store.catalog.tokens.create(role, made.id, TokenSpec(), actor="test").token
        found = Tenants(world, theirs, mine, "", tokens)
        sent = {
            "x-paig-session": name, "x-paig-tags": f"customer={name},{name}=x", "x-paig-run": name,
            "x-paig-run-budget": "1",
        }  # fmt: skip
        answer = await found.ask(theirs, "POST", "/proxy/openai/v1/chat/completions", json=CHAT, headers=sent)
        assert answer.status_code == 200, answer.text
        found.request = answer.headers["x-paig-request-id"]
        wish = {"window": "daily", "to": "10", "why": name}
        assert (await found.ask(theirs, "POST", "/admin/v1/me/limit-requests", json=wish)).status_code < 300
        await settled(world, found.request)
        yield found


FILTERS = {"key", "project", "user", "session", "owner", "run", "tag", "name", "model", "provider", "route", "actor"}

GUESSES = (HIDDEN, f"{HIDDEN}-", f"{HIDDEN}-1", f"{HIDDEN}-2")


async def test_a_key_is_told_nothing(tenants: Tenants) -> None:
    """Routes, models, sessions, runs, requests, limits: what exists elsewhere and what does not get one answer."""
    me = "/admin/v1/me"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/models", {}), ("GET", "/v1beta/models", {}), ("GET", "/proxy/openai/v1/models", {}),
        ("GET", "/v1/models", {"headers": {"anthropic-version": "2023-06-01"}}),
        ("GET", me, {}), ("GET", f"{me}/requests", {}), ("GET", f"{me}/limit-requests", {}),
        ("GET", f"{me}/requests/{tenants.request}", {}),
    ]  # fmt: skip
    for guess in GUESSES:
        asked += [
            ("POST", f"/proxy/{guess}/v1/chat/completions", {"json": CHAT}),
            ("POST", "/v1/chat/completions", {"json": {**CHAT, "model": "gpt-5o"}, "headers": {"x-paig-run": guess}}),
            ("GET", me, {"params": {"session": guess}}),
            ("GET", f"{me}/requests", {"params": {"session": guess}}),
            ("GET", f"{me}/requests/{guess}", {}),
        ]
    for method, path, more in asked:
        answer = await tenants.ask(tenants.mine, method, path, **more)
        told = answer.text.replace(path, "")  # what was asked may come back, but no more of it
        for given in GUESSES:
            told = told.replace(f"'{given}'", "") if given in path + str(more) else told
        assert HIDDEN not in told, (method, path, more, answer.text)
        assert tenants.request not in told, (method, path, more, answer.text)


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
async def test_a_projects_administrator_is_told_nothing(tenants: Tenants, role: Role) -> None:
    """Every reading endpoint, plain, with the other tenant's names as its filters, and by its ids."""
    token, schema = tenants.tokens[role], (await tenants.world.http.get("/admin/openapi.json")).json()
    ids = [f"{HIDDEN}-1", tenants.request, (await tenants.world.admin.keys.get(f"{HIDDEN}-1")).id]
    told: list[str] = []
    seen = 0
    for path, operations in schema["paths"].items():
        endless = path.endswith(("/events", "/callback", "/login"))
        if "get" not in operations or endless or not path.startswith("/admin"):
            continue
        names = [one["name"] for one in operations["get"].get("parameters", []) if one["in"] == "query"]
        places = [re.sub(r"\{\w+\}", id, path) for id in ids] if "{" in path else [path]
        filters: list[dict[str, str]] = [{}]
        for name, guess in itertools.product(FILTERS & set(names), GUESSES):
            filters.append({name: f"customer={guess}" if name == "tag" else guess})
        for place, params in itertools.product(places, filters):
            answer = await tenants.ask(token, "GET", place, params=params)
            seen += 1
            body = answer.text
            for given in (*params.values(), *(ids if place != path else ())):
                body = body.replace(f"'{given}'", "")
            body = body.replace(place, "")
            if HIDDEN in body or tenants.request in body:
                told.append(f"{place} {params}: {answer.status_code} {body[:300]}")
    assert told == []
    assert seen > 60


async def test_a_project_that_is_not_theirs_is_answered_like_none(tenants: Tenants) -> None:
    """An editor of one project cannot find out which other projects there are."""
    for method, path, body in (
        ("POST", "/admin/v1/keys", {"name": "probe", "project": "NAME"}),
        ("PATCH", "/admin/v1/keys/mine", {"project": "NAME"}),
        ("POST", "/admin/v1/keys/NAME/rotate", None),
        ("GET", "/admin/v1/keys/NAME", None),
        ("GET", "/admin/v1/projects/NAME", None),
        ("GET", "/admin/v1/sessions/NAME", None),
        ("POST", "/admin/v1/sessions/NAME/stop", None),
    ):
        told = []
        for name in (f"{HIDDEN}-1", "marble-22-1"):
            sent = None if body is None else {key: name if value == "NAME" else value for key, value in body.items()}
            answer = await tenants.ask(tenants.tokens["editor"], method, path.replace("NAME", name), json=sent)
            told.append((answer.status_code, answer.text.replace(name, "NAME")))
        assert told[0] == told[1], (method, path)
        assert told[0][0] >= 400


async def test_names_of_projects_can_be_kept_apart(environment: None, tmp_path: Path) -> None:
    """With `names_by_project` what a name is answered with depends on the asker's own project alone."""
    config = Config(security=SecuritySpec(names_by_project=True))
    store = OpenDatabase.open(tmp_path, config)
    for project in ("mine", "mine:too", "theirs"):
        store.catalog.projects.create(project, ProjectSpec(), actor="test")
    for name in ("obsidian", "mine-obsidian", "theirs:obsidian", "mine:too:obsidian"):
        store.catalog.keys.create(name, KeySpec(project="theirs"), actor="test")
    grant = GrantSpec(role="editor", project="mine")
    editor = store.catalog.admins.create("ed", AdminSpec(grants=[grant]), actor="test")
    token = store.catalog.tokens.create("t", editor.id, TokenSpec(), actor="test").token
    mine = {"authorization": f"Bearer {token}"}
    async with (
        running_gateway(Gateway(store, config)) as origin,
        httpx2.AsyncClient(base_url=f"{origin}/admin/v1", headers=mine, trust_env=False, timeout=60) as http,
    ):

        async def answers(name: str) -> tuple[int, str]:
            answer = await http.post("/keys", json={"name": name, "project": "mine"})
            return answer.status_code, answer.text.replace(name, "NAME")

        for taken, free in (
            ("obsidian", "marble"), ("mine-obsidian", "mine-marble"), ("theirs:obsidian", "theirs:marble"),
            ("mine:too:obsidian", "mine:too:marble"),
        ):  # fmt: skip
            told = await answers(taken)
            assert told == await answers(free)
            assert told[0] == 422
        assert (await answers("mine:obsidian"))[0] == 201
        assert (await answers("mine:obsidian"))[0] == 409  # it is their own
    owner = {"authorization": f"Bearer {ADMIN}"}
    async with (
        running_gateway(Gateway(store, config)) as origin,
        httpx2.AsyncClient(base_url=f"{origin}/admin/v1", headers=owner, trust_env=False, timeout=60) as http,
    ):
        assert (await http.post("/keys", json={"name": "any", "project": "mine"})).status_code == 201
    store.engine.dispose()
