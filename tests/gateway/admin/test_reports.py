"""The ledger over HTTP: rows, pages, filters, totals, limits; the audit log; the gateway's state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import httpx2
import pytest

from paig_client.admin import AdminClient, NotFound
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, OwnerSpec
from paig_gateway.database.engine import utc_now
from tests.gateway.admin.harness import Gateway, running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose ledger has five requests of three keys, and one in flight."""
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        admin = gateway.client()
        admin.projects.create("research", OwnerSpec(limits=LimitsSpec(daily=Decimal(1))))
        admin.users.create("ada", OwnerSpec())
        admin.keys.create("ci", KeySpec(project="research", limits=LimitsSpec(daily=Decimal("0.001"))))
        admin.keys.create("dev", KeySpec(project="research", user="ada"))
        admin.keys.create("free", KeySpec())
        gateway.finish("ci", cost=400_000)
        gateway.finish("ci", model="gpt-5-mini", cost=100_000)
        gateway.finish("dev", cost=2_000_000)
        gateway.finish("dev", status=500, error="upstream-unreachable", cost=0)
        gateway.finish("free", cost=1)
        gateway.reserve("ci", ceiling=250_000)
        yield gateway


@pytest.mark.parametrize(
    ("which", "count"),
    [
        ({}, 6),
        ({"key": "ci"}, 3),
        ({"project": "research"}, 5),
        ({"user": "ada"}, 2),
        ({"model": "gpt-5-mini"}, 1),
        ({"provider": "openai"}, 6),
        ({"route": "openai"}, 6),
        ({"status": 500}, 1),
        ({"key": "ci", "model": "gpt-5-mini"}, 1),
    ],
)
def test_requests_are_filtered(admin: AdminClient, which: dict[str, str], count: int) -> None:
    """Each filter shows those it means and no others; filters add up."""
    assert len(admin.requests(**which).items) == count  # type: ignore[arg-type]


def test_requests_are_filtered_by_id_and_time(admin: AdminClient) -> None:
    """Owners may be named by id; since takes the moment in, until leaves it out."""
    project = admin.projects.get("research")
    assert len(admin.requests(project=project.id).items) == 5
    now = utc_now()
    assert len(admin.requests(since=now - timedelta(hours=1), until=now + timedelta(hours=1)).items) == 6
    assert admin.requests(since=now + timedelta(hours=1)).items == []
    row = admin.requests(limit=1).items[0]
    assert row.id in {item.id for item in admin.requests(since=row.time).items}
    assert row.id not in {item.id for item in admin.requests(until=row.time).items}


def test_pages_of_requests(admin: AdminClient) -> None:
    """Pages hold every row once, newest first, and the cursor keeps its place when rows are added meanwhile."""
    whole = admin.requests()
    assert whole.next_cursor is None
    seen: list[str] = []
    cursor = None
    while True:
        page = admin.requests(limit=2, cursor=cursor)
        seen += [row.id for row in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == [row.id for row in whole.items]
    times = [row.time for row in whole.items]
    assert times == sorted(times, reverse=True)


def test_one_request_is_shown(admin: AdminClient, http: httpx2.Client) -> None:
    """A row is found by its id, with its cost as a decimal string; another id is not found."""
    row = next(row for row in admin.requests(key="dev").items if row.status == 200)
    found = admin.request(row.id)
    assert found == row
    assert (found.cost, found.certainty, found.project, found.user) == (Decimal("0.002"), "exact", "research", "ada")
    assert http.get(f"/requests/{row.id}").json()["cost"] == "0.002"
    with pytest.raises(NotFound):
        admin.request("req_nothing")


def test_usage_is_added_up(admin: AdminClient) -> None:
    """Totals by any groups agree with the rows; what is in flight is not in them."""
    report = admin.usage(by=["key"])
    assert {item.group["key"]: (item.requests, item.errors, item.cost) for item in report.items} == {
        "ci": (2, 0, Decimal("0.0005")),
        "dev": (2, 1, Decimal("0.002")),
        "free": (1, 0, Decimal("0.000000001")),
    }
    assert [item.group["key"] for item in report.items] == ["dev", "ci", "free"]
    assert (report.total.requests, report.total.cost) == (5, Decimal("0.002500001"))
    assert admin.usage(by=["project", "model"], key="ci").total.cost == Decimal("0.0005")
    assert admin.usage().items[0].requests == 5


def test_limits_say_where_they_stand(admin: AdminClient) -> None:
    """A limit shows what is spent, held and left in its window, and when that ends."""
    found = {(limit.owner_kind, limit.owner): limit for limit in admin.limits()}
    cap = found["key", "ci"]
    assert (cap.amount, cap.spent, cap.held, cap.left) == (
        Decimal("0.001"),
        Decimal("0.0005"),
        Decimal("0.00025"),
        Decimal("0.00025"),
    )
    assert cap.resets_at is not None
    assert cap.resets_at > utc_now()
    assert found["project", "research"].spent == Decimal("0.0025")


def test_key_whose_cap_is_spent_says_so(gateway: Gateway, admin: AdminClient) -> None:
    """A key that its own cap, or its owner's, keeps from spending has the status `limit-exceeded`."""
    admin.projects.create("small", OwnerSpec(limits=LimitsSpec(total=Decimal("0.001"))))
    admin.keys.create("spent", KeySpec(project="small"))
    gateway.finish("spent", cost=1_000_000)
    assert admin.keys.get("spent").status == "limit-exceeded"
    assert [key.name for key in admin.keys.list() if key.status == "limit-exceeded"] == ["spent"]


def test_audit_tells_who_did_what(admin: AdminClient, http: httpx2.Client) -> None:
    """Every change is listed, newest first, with actor, object, before and after; a refused one is not."""
    admin.users.create("audited", OwnerSpec())
    admin.users.update("audited", {"limits": {"daily": "3"}})
    http.post("/users", json={"name": "audited"})
    admin.users.delete("audited")
    found = [entry for entry in admin.audit() if entry.name == "audited"]
    assert [(entry.actor, entry.action, entry.kind) for entry in found] == [
        ("token:admin", "delete", "user"),
        ("token:admin", "update", "user"),
        ("token:admin", "create", "user"),
    ]
    assert (found[1].before, found[1].after) == ({}, {"limits": {"daily": "3"}})
    assert (found[2].before, found[0].after) == (None, None)


def test_audit_has_no_secret(admin: AdminClient, http: httpx2.Client) -> None:
    """Neither a key's secret nor a provider's credential is in the audit log, whatever is done with them."""
    made = admin.keys.create("secretive", KeySpec())
    rotated = admin.keys.rotate("secretive")
    http.patch("/keys/secretive", json={"secret": "value:chosen-elsewhere-and-long-enough-123"})
    http.post("/providers", json={"name": "p", "kind": "openai", "credential": "value:sk-first-123"})
    http.patch("/providers/p", json={"credential": "value:sk-second-123"})
    text = http.get("/audit", params={"limit": 1000}).text
    assert '"rotate"' in text
    secrets = (made.key, rotated.key, "chosen-elsewhere-and-long-enough-123", "sk-first-123", "sk-second-123")
    assert not [secret for secret in secrets if secret in text]


def test_pages_of_the_audit_log(admin: AdminClient, http: httpx2.Client) -> None:
    """Pages hold every entry once."""
    whole = [entry.id for entry in admin.audit(limit=1000)]
    seen: list[str] = []
    cursor = None
    while True:
        page = http.get("/audit", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [entry["id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole


def test_health_counts_the_nodes(gateway: Gateway, admin: AdminClient) -> None:
    """The state names this node and the database, and how many nodes live."""
    health = admin.health()
    assert (health.status, health.database, health.node, health.nodes) == ("ok", "sqlite", gateway.services.node_id, 1)
    with running(gateway.folder, url=gateway.database) as other:
        assert admin.health().nodes == 2
        assert other.client().health().node != health.node


@pytest.mark.parametrize("path", ["requests", "usage", "usage/reprice", "audit"])
def test_a_time_that_utc_does_not_have_is_refused(gateway: Gateway, path: str) -> None:
    """A time whose zone takes it out of the calendar is the principal's mistake, and is said to be."""
    with gateway.http() as http:
        answer = http.get(f"/{path}", params={"since": "0001-01-01T00:01:01+00:06"})
    assert answer.status_code == 422
    assert "between the years 1 and 9999" in answer.text
