"""The admin API takes nothing that it does not know: query parameters, names in filters, fields to sort by."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from paig_client.api.limits import LimitsSpec
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
        ("limits?key=x", "key", "it takes"),
        ("limits?sort=ammount", "sort", "did you mean amount?"),
        ("requests?sort=costs", "sort", "did you mean cost?"),
        ("requests?cursor=nonsense", "cursor", "begin again"),
        ("usage?sort=costs", "sort", "did you mean cost?"),
        ("usage?by=modle", "by", "did you mean model?"),
        ("objects?provder=x", "provder", "did you mean provider?"),
        ("objects?provider=nobody", "provider", "there is no provider"),
        ("audit?sort=actr", "sort", "did you mean actor?"),
        ("providers?kind=opnai", "kind", "did you mean openai?"),
        ("health/providers?provider=nobody", "provider", "there is no provider"),
        ("audit?who=x", "who", "is not a query parameter"),
        ("keys?limit=1&limit=2", "limit", "more than once"),
        ("keys?sort=naem", "sort", "did you mean name?"),
        ("requests?since=2026-11-30T12:00:00Z&until=2026-11-30T12:00:00%2B01:00", "until", "later than since"),
        ("usage?since=2026-11-30T12:00:00Z&until=2026-11-30T12:00:00Z", "until", "later than since"),
        ("audit?since=2026-11-30&until=2026-11-29", "until", "later than since"),
        ("export?x=1", "x", "is not a query parameter"),
    ],
)
def test_unknown_and_repeated_parameters_are_errors(gateway: Gateway, path: str, field: str, says: str) -> None:
    """The answer names the parameter, and one that is similar."""
    gateway.catalog.keys.create(f"k{abs(hash(path))}", KeySpec(limits=LimitsSpec(daily=1)), actor=ME)
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


def test_limits_are_paged_sorted_and_filtered(gateway: Gateway) -> None:
    """Amounts by value, not by text; page by page; an unknown owner is answered with the nearest."""
    for name, daily in (("paged-a", 9), ("paged-b", 100), ("paged-c", 20)):
        gateway.catalog.keys.create(name, KeySpec(limits=LimitsSpec(daily=daily)), actor=ME)
    with gateway.http() as http:
        found, cursor = [], ""
        while cursor is not None:
            page = http.get(f"limits?sort=-amount&limit=2{cursor and f'&cursor={quote(cursor)}'}").json()
            found += [item["owner"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert [name for name in found if name.startswith("paged-")] == ["paged-b", "paged-c", "paged-a"]
        assert len(found) == len(set(found)) == len(http.get("limits?limit=200").json()["items"])
        [one] = http.get("limits?owner=paged-b").json()["items"]
        assert one["amount"] == "100"
        answer = http.get("limits?owner=paged-bb")
        assert "did you mean paged-" in answer.json()["detail"]


def test_requests_are_sorted_and_filtered_by_what_they_show(gateway: Gateway) -> None:
    """Page by page, requests in flight among them; those without a value come last."""
    key = "sorted-requests"
    gateway.catalog.keys.create(key, KeySpec(), actor=ME)
    gateway.services.directory.refresh()
    costs = {gateway.finish(key, cost=cost, error=error): cost for cost, error in ((5, None), (900, "x"), (40, None))}
    opened = gateway.reserve(key).id
    with gateway.http() as http:
        for sort, down in (("-cost", True), ("cost", False)):
            found, cursor = [], ""
            while cursor is not None:
                page = http.get(f"requests?key={key}&sort={sort}&limit=1{cursor and f'&cursor={cursor}'}").json()
                found += [item["id"] for item in page["items"]]
                cursor = page["next_cursor"]
            assert found == [*sorted(costs, key=costs.__getitem__, reverse=down), opened]
        for sort in ("model", "-status", "ms_total", "-input_tokens", "error", "-time", "time", "user"):
            assert len(http.get(f"requests?key={key}&sort={sort}").json()["items"]) == 4
        for query, count in (
            ("state=open", 1), ("state=settled", 3), ("error=x", 1), ("certainty=exact", 3), ("format=openai-chat", 4),
            ("stream=false", 4), ("stream=true", 0), ("tag=customer", 0), ("run=nightly", 0),
        ):  # fmt: skip
            assert len(http.get(f"requests?key={key}&{query}").json()["items"]) == count, query
        usage = http.get(f"usage?by=key&by=model&sort=-requests&limit=1&key={key}").json()
        assert len(usage["items"]) == 1


def test_the_audit_log_is_sorted_and_its_filters_suggest(gateway: Gateway) -> None:
    """By its fields, page by page; of a name that no change has, the nearest."""
    for name in ("audited-b", "audited-c", "audited-a"):
        gateway.catalog.projects.create(name, ProjectSpec(), actor="token:sorter")
    with gateway.http() as http:
        found, cursor = [], ""
        while cursor is not None:
            page = http.get(f"audit?actor=token:sorter&sort=name&limit=2{cursor and f'&cursor={cursor}'}").json()
            found += [item["name"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert found == ["audited-a", "audited-b", "audited-c"]
        for query, says in (
            ("name=audited-d", "did you mean audited-"),
            ("actor=token:sortr", "did you mean token:sorter?"),
            ("kind=projekt", "did you mean project?"),
            ("action=creat", "did you mean create?"),
        ):
            answer = http.get(f"audit?{query}")
            assert (answer.status_code, says in answer.json()["detail"]) == (422, True), answer.text
        tokens = http.get("tokens?sort=-created_at&limit=1")
        assert tokens.json()["next_cursor"] is None
        assert http.get("health/providers?sort=provider&state=open").json()["items"] == []
