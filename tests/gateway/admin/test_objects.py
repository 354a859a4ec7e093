"""Objects of every kind over HTTP: made, shown, changed, deleted, listed; versions and repeated creates."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from paig_client.admin import AdminClient, Conflict, Invalid, NotFound
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, OwnerSpec, ProviderSpec, RouteSpec
from tests.gateway.admin.harness import Gateway

BODIES: Mapping[str, Mapping[str, Any]] = {
    "providers": {"kind": "openai"},
    "routes": {"members": [{"provider": "base"}]},
    "projects": {},
    "users": {},
    "keys": {},
}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "providers": {"inject_cost": False},
    "routes": {"members": [{"provider": "base", "weight": 7}]},
    "projects": {"limits": {"daily": "3"}},
    "users": {"limits": {"daily": "3"}},
    "keys": {"models": ["gpt-5*"]},
}
COLLECTIONS = tuple(BODIES)


@pytest.fixture(autouse=True, scope="module")
def base(admin: AdminClient) -> None:
    """A provider for routes to name."""
    admin.providers.create("base", ProviderSpec(kind="openai"))


def test_objects_of_every_kind_live_and_die(admin: AdminClient) -> None:
    """The typed client makes, shows, changes, lists and deletes one of each kind."""
    provider = admin.providers.create("acme", ProviderSpec(kind="openai", credential="env:ACME"))
    assert (provider.name, provider.kind, provider.credential) == ("acme", "openai", "env:ACME")
    assert admin.providers.update("acme", {"region": None, "inject_cost": False}).options["inject_cost"] is False
    route = admin.routes.create("quick", RouteSpec(members=[MemberSpec(provider="acme", weight=3)]))
    assert route.members[0].weight == 3
    assert admin.routes.get(route.id) == route
    project = admin.projects.create("research", OwnerSpec(limits=LimitsSpec(daily=Decimal(10))))
    assert admin.projects.get("research") == project
    user = admin.users.create("ada", OwnerSpec())
    made = admin.keys.create("ci", KeySpec(project="research", user="ada", routes=["quick"]))
    key = admin.keys.get("ci")
    assert (key.id, key.project, key.user, key.routes, key.status) == (made.id, "research", "ada", ["quick"], "active")
    assert made.key.startswith(key.hint)
    assert [item.name for item in admin.users.list()] == [user.name]
    admin.keys.delete(made.id)
    for gone in (admin.routes, admin.providers):
        gone.delete("quick" if gone is admin.routes else "acme")
    admin.projects.delete("research")
    admin.users.delete("ada")
    with pytest.raises(NotFound):
        admin.keys.get("ci")


@pytest.mark.parametrize("name", ["a/b", "100%", "%2F", "ü ☃", "a?b#c", "x/rotate", "..x", "a+b&c=d", '"quoted"'])
def test_names_of_any_spelling_are_addressed(admin: AdminClient, name: str) -> None:
    """A name with slashes, percent signs or other letters is found under its percent-encoded spelling."""
    made = admin.keys.create(name, KeySpec())
    assert admin.keys.get(name).id == made.id
    assert admin.keys.disable(name).status == "disabled"
    assert admin.keys.update(name, {"models": ["m"]}).models == ["m"]
    admin.keys.delete(name)


def test_url_of_a_name_may_be_encoded_more_than_needed(http: httpx2.Client) -> None:
    """Whether letters are percent-encoded makes no difference."""
    assert http.post("/projects", json={"name": "plain"}).status_code == 201
    assert http.get("/%70rojects/%70l%61in").json()["name"] == "plain"


def test_names_of_an_object_are_taken_once(admin: AdminClient) -> None:
    """A second create of the same name is a conflict, and what is named elsewhere cannot be deleted."""
    admin.projects.create("taken", OwnerSpec())
    with pytest.raises(Conflict) as twice:
        admin.projects.create("taken", OwnerSpec())
    assert twice.value.problem.code == "conflict"
    admin.keys.create("of-taken", KeySpec(project="taken"))
    with pytest.raises(Conflict) as used:
        admin.projects.delete("taken")
    assert used.value.problem.code == "in-use"
    assert "of-taken" in used.value.problem.detail


def test_reference_to_nothing_names_the_field(admin: AdminClient) -> None:
    """A key of a project that there is not is refused, and the problem says which field is wrong."""
    with pytest.raises(Invalid, match=r"^project: there is no project 'nowhere': make it first$"):
        admin.keys.create("lost", KeySpec(project="nowhere"))


def test_change_merges(admin: AdminClient) -> None:
    """A change touches only what it names; null takes a field back to its default."""
    admin.users.create("merge", OwnerSpec(limits=LimitsSpec(daily=Decimal(1), weekly=Decimal(5))))
    changed = admin.users.update("merge", {"limits": {"daily": None, "monthly": "9.5"}})
    assert changed.limits == LimitsSpec(weekly=Decimal(5), monthly=Decimal("9.5"))


def test_literal_credential_never_comes_back(gateway: Gateway, http: httpx2.Client) -> None:
    """A provider's literal credential is in no answer: not the create's, the list's, the audit log's, the export's."""
    secret = "sk-live-1234567890"
    made = http.post("/providers", json={"name": "vault", "kind": "openai", "credential": f"value:{secret}"})
    assert made.json()["credential"] == "value:<stored>"
    changed = http.patch("/providers/vault", json={"credential": f"value:{secret}-2"})
    assert changed.status_code == 200
    refused = http.post("/providers", json={"name": "vault 2", "kind": "openai", "credential": secret})
    assert refused.status_code == 422
    pages = [http.get(path) for path in ("/providers", "/providers/vault", "/audit", "/export")]
    answers = [made, changed, refused, *pages]
    assert [answer.status_code for answer in pages] == [200] * 4
    assert not [answer.url for answer in answers if secret in answer.text]


def test_change_takes_effect_at_once(gateway: Gateway, admin: AdminClient) -> None:
    """When a create, a change or a delete is answered, the directory of this node knows of it."""
    admin.keys.create("instant", KeySpec())
    assert gateway.caller("instant").state == "active"
    admin.keys.disable("instant")
    assert gateway.caller("instant").state == "disabled"
    admin.keys.update("instant", {"models": ["only"]})
    assert gateway.caller("instant").models == ("only",)
    admin.keys.delete("instant")
    assert "instant" not in {caller.key for caller in gateway.services.directory.snapshot.callers.values()}


@pytest.mark.parametrize("many", COLLECTIONS)
def test_old_tag_refuses_a_change(http: httpx2.Client, many: str) -> None:
    """`If-Match` lets a change or delete through on the tag that the object has, and no other."""
    name = f"tagged-{many}"
    assert http.post(f"/{many}", json={"name": name, **BODIES[many]}).status_code == 201
    first = http.get(f"/{many}/{name}").headers["etag"]
    second = http.patch(f"/{many}/{name}", json=CHANGES[many], headers={"if-match": first})
    assert second.status_code == 200
    assert second.headers["etag"] != first
    for refused in (
        http.patch(f"/{many}/{name}", json={}, headers={"if-match": first}),
        http.delete(f"/{many}/{name}", headers={"if-match": f'"other", {first}'}),
        http.delete(f"/{many}/{name}", headers={"if-match": f"W/{first}"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (412, "changed")
        assert refused.headers["etag"] == second.headers["etag"]
    assert http.get(f"/{many}/{name}").headers["etag"] == second.headers["etag"]
    both = f'"other", {second.headers["etag"]}'
    assert http.delete(f"/{many}/{name}", headers={"if-match": both}).status_code == 204
    missing = http.patch(f"/{many}/{name}", json={}, headers={"if-match": "*"})
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")


def test_tag_of_a_namesake_does_not_fit(http: httpx2.Client) -> None:
    """An object that took the name and version of a deleted one is not taken for it."""
    old = http.post("/projects", json={"name": "phoenix"}).headers["etag"]
    http.delete("/projects/phoenix")
    new = http.post("/projects", json={"name": "phoenix"}).headers["etag"]
    assert new != old
    assert http.delete("/projects/phoenix", headers={"if-match": old}).status_code == 412
    assert http.delete("/projects/phoenix", headers={"if-match": "*"}).status_code == 204


def test_only_one_of_many_changes_on_one_tag_goes_through(gateway: Gateway, http: httpx2.Client) -> None:
    """Of twenty changes at the same time on the same tag, one is made and the others are told that it has changed."""
    tag = http.post("/projects", json={"name": "contended"}).headers["etag"]
    statuses: list[int] = []

    def change(number: int) -> None:
        with gateway.http() as own:
            body = {"limits": {"daily": str(number)}}
            statuses.append(own.patch("/projects/contended", json=body, headers={"if-match": tag}).status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 19
    assert http.get("/projects/contended").json()["version"] == 2


def test_many_creates_at_once_all_succeed(http: httpx2.Client) -> None:
    """Thirty-two keys that are made at the same moment are all made."""
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: http.post("/keys", json={"name": f"crowd {number}"}), range(32)))
    assert [answer.status_code for answer in answers] == [201] * 32


def test_created_object_is_located(http: httpx2.Client) -> None:
    """A create's `Location` leads to the object, with the same tag."""
    made = http.post("/users", json={"name": "here/there"})
    assert made.status_code == 201
    found = http.get(str(http.base_url.copy_with(path=made.headers["location"])))
    assert found.json() == made.json()
    assert found.headers["etag"] == made.headers["etag"]


def test_pages_of_a_list(http: httpx2.Client) -> None:
    """Pages hold every object once, by name; without a limit there is one page."""
    names = [f"page-{number:02}" for number in range(7)]
    for name in reversed(names):
        http.post("/routes", json={"name": name, "members": [{"provider": "base"}]})
    seen: list[str] = []
    cursor = None
    while True:
        page = http.get("/routes", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        assert len(page["items"]) <= 3
        seen += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [name for name in seen if name.startswith("page-")] == names
    whole = http.get("/routes").json()
    assert [item["name"] for item in whole["items"]] == seen
    assert whole["next_cursor"] is None


def test_repeated_create_is_carried_out_once(http: httpx2.Client) -> None:
    """The same create with the same Idempotency-Key is answered the same, a key's secret included."""
    headers = {"idempotency-key": "first try"}
    first = http.post("/keys", json={"name": "once"}, headers=headers)
    again = http.post("/keys", json={"name": "once", "limits": {}}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["key"].startswith("paig_")
    assert http.post("/keys", json={"name": "once"}).status_code == 409
    other = http.post("/keys", json={"name": "another"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")
    assert http.get(f"/keys/{quote('another')}").status_code == 404


def test_failed_create_may_be_repeated_with_the_same_key(http: httpx2.Client) -> None:
    """An Idempotency-Key whose create was refused is free for the corrected one."""
    headers = {"idempotency-key": "second try"}
    assert http.post("/keys", json={"name": "fix", "project": "none"}, headers=headers).status_code == 422
    assert http.post("/keys", json={"name": "fix"}, headers=headers).status_code == 201


def test_simultaneous_repeats_make_one(gateway: Gateway) -> None:
    """Ten times the same create at the same time makes one key, and all ten are told its secret."""
    answers: list[dict[str, str]] = []

    def create() -> None:
        with gateway.http() as own:
            answer = own.post("/keys", json={"name": "storm"}, headers={"idempotency-key": "storm"})
            answers.append(answer.json())

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["name"] == "storm"
