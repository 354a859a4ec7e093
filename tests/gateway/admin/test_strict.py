"""The admin API takes nothing that it does not know: query parameters, names in filters, fields to sort by."""

from __future__ import annotations

import pytest

from paig_client.api.specs import KeySpec, ProjectSpec
from paig_gateway.catalog.keys import digest
from tests.gateway.admin.harness import Gateway

ME = "token:test"


@pytest.mark.parametrize(
    ("path", "field", "says"),
    [
        ("requests?keys=x", "keys", "did you mean key?"),
        ("requests?project_id=x", "project_id", "is not a query parameter"),
        ("usage?by=key&user_name=x", "user_name", "is not a query parameter"),
        ("limits?key=x", "key", "it takes none"),
        ("audit?who=x", "who", "is not a query parameter"),
        ("keys?limit=1&limit=2", "limit", "more than once"),
        ("keys?sort=naem", "sort", "did you mean name?"),
        ("export?x=1", "x", "is not a query parameter"),
    ],
)
def test_unknown_and_repeated_parameters_are_errors(gateway: Gateway, path: str, field: str, says: str) -> None:
    """The answer names the parameter, and one that is similar."""
    gateway.catalog.keys.create(f"k{abs(hash(path))}", KeySpec(), actor=ME)
    with gateway.http() as http:
        answer = http.get(path)
    assert answer.status_code == 422
    [wrong] = answer.json()["errors"]
    assert wrong["field"] == field
    assert says in wrong["message"]


def test_a_parameter_that_takes_several_values_may_be_repeated(gateway: Gateway) -> None:
    """Groups are such."""
    with gateway.http() as http:
        assert http.get("usage?by=key&by=model").status_code == 200


def test_a_dry_run_in_the_query_applies_nothing(gateway: Gateway) -> None:
    """Its place is the body; in the query it is refused, and nothing is changed."""
    with gateway.http() as http:
        answer = http.post("apply?dry_run=true", json={"config": "[projects.surprise]\n"})
        assert answer.status_code == 422
        assert "body" in answer.json()["detail"]
        assert http.get("projects/surprise").status_code == 404


def test_unknown_names_in_filters_suggest_the_nearest(gateway: Gateway) -> None:
    """Of keys, projects and users; an id is taken as it is, because its object may be deleted."""
    gateway.catalog.projects.create("research-strict", ProjectSpec(), actor=ME)
    gateway.catalog.keys.create("laptop-strict", KeySpec(project="research-strict"), actor=ME)
    gateway.services.directory.refresh()
    with gateway.http() as http:
        for path, says in (
            ("requests?key=laptop-strict-x", "there is no key 'laptop-strict-x'; did you mean laptop-strict?"),
            ("usage?project=reserch-strict", "there is no project 'reserch-strict'; did you mean research-strict?"),
            ("keys?project=reserch-strict", "did you mean research-strict?"),
            ("requests?user=nobody-strict", "there is no user 'nobody-strict'"),
            ("requests?model=unheard-of", "there is no model 'unheard-of'"),
            ("requests?provider=unheard-of", "there is no provider 'unheard-of'"),
        ):
            answer = http.get(path)
            assert (answer.status_code, says in answer.json()["detail"]) == (422, True), (path, answer.text)
        for path in ("requests?key=laptop-strict", "requests?key=key_0123456789abcdef", "keys?project=research-strict"):
            assert http.get(path).status_code == 200


def test_weak_tags_match(gateway: Gateway) -> None:
    """A proxy that compresses answers makes tags weak; a change with such a tag is made, with a stale one it is not."""
    gateway.catalog.keys.create("tagged", KeySpec(), actor=ME)
    with gateway.http() as http:
        tag = http.get("keys/tagged").headers["etag"]
        changed = http.patch("keys/tagged", json={"limits": {"daily": "6"}}, headers={"if-match": f"W/{tag}"})
        assert changed.status_code == 200
        again = http.patch("keys/tagged", json={"limits": {"daily": "7"}}, headers={"if-match": f"W/{tag}"})
        assert again.status_code == 412


def test_lists_are_sorted_and_filtered_by_what_they_show(gateway: Gateway) -> None:
    """By any field with one value, page by page; the largest first with `-`."""
    for name in ("s-one", "s-two", "s-three"):
        gateway.catalog.projects.create(name, ProjectSpec(), actor=ME)
    gateway.catalog.projects.update("s-two", {"limits": {"daily": 1}}, actor=ME)
    with gateway.http() as http:
        newest = http.get("projects?sort=-updated_at&limit=1").json()
        assert [item["name"] for item in newest["items"]] == ["s-two"]
        following = http.get(f"projects?sort=-updated_at&limit=1&cursor={newest['next_cursor']}").json()
        assert [item["name"] for item in following["items"]] == ["s-three"]
        assert [item["name"] for item in http.get("projects?name=s-one").json()["items"]] == ["s-one"]


def test_old_secret_overlaps_for_a_while(gateway: Gateway) -> None:
    """After a rotation with an overlap both secrets work; the key says until when."""
    before = gateway.catalog.keys.create("rolling", KeySpec(), actor=ME)
    with gateway.http() as http:
        made = http.post("keys/rolling/rotate?overlap=3600").json()
        shown = http.get("keys/rolling").json()
        assert http.post("keys/rolling/rotate?overlap=99999999").status_code == 422
    assert shown["old_secret_until"] is not None

    for secret in (before.key, made["key"]):
        caller = gateway.services.directory.caller_by_hash(digest(secret))
        assert caller is not None
        assert caller.key == "rolling"
    with gateway.http() as http:
        http.post("keys/rolling/rotate")
    assert gateway.services.directory.caller_by_hash(digest(made["key"])) is None
