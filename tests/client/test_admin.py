"""`paig_client.admin` against a real HTTP server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from paig_client.admin import (
    AdminClient,
    AsyncAdminClient,
    Conflict,
    GatewayUnreachable,
    Invalid,
    NotAuthorised,
    NotFound,
    NotTheAdminApi,
)
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, OwnerSpec, ProviderSpec, RouteSpec
from tests.client.double import TOKEN, Double, limit_row, request_row


@pytest.fixture
def admin(gateway: str) -> Iterator[AdminClient]:
    """A client of the double."""
    with AdminClient(gateway, token=TOKEN) as client:
        yield client


@pytest.fixture
def stranger(gateway: str) -> Iterator[AdminClient]:
    """A client whose token the double does not know."""
    with AdminClient(gateway, token="wrong") as client:
        yield client


def test_objects_of_every_kind_can_be_made_read_changed_and_removed(admin: AdminClient) -> None:
    """Each collection has list, get, create, update and delete, in the wire's own models."""
    assert admin.providers.create("openai", ProviderSpec(kind="openai", credential="env:K")).kind == "openai"
    assert admin.routes.create("fast", RouteSpec(members=[MemberSpec(provider="openai")])).name == "fast"
    project = admin.projects.create("research", OwnerSpec(limits=LimitsSpec(daily=Decimal(10))))
    assert project.limits.daily == 10
    assert admin.users.create("ada", OwnerSpec()).name == "ada"
    made = admin.keys.create("ci", KeySpec(project="research"))
    assert (made.name, made.key) == ("ci", "paig_ci_secret")
    assert [key.name for key in admin.keys.list()] == ["ci"]
    assert admin.keys.get(made.id).project == "research"
    assert admin.projects.update("research", {"limits": {"daily": "20"}}).limits.daily == 20
    admin.users.delete("ada")
    assert admin.users.list() == []


def test_create_sends_only_what_was_said(admin: AdminClient, double: Double) -> None:
    """Fields of a Spec that were not set are left to the gateway's defaults."""
    admin.keys.create("ci", KeySpec(limits=LimitsSpec(daily=Decimal("0.05"))))
    row = double.objects["keys"]["ci"]
    assert row["limits"] == {"daily": "0.05"}
    admin.keys.update("ci", {"limits": {"daily": None}})
    assert row["patched"] == {"limits": {"daily": None}}


def test_keys_can_be_rotated_disabled_and_enabled(admin: AdminClient) -> None:
    """What only keys can do answers with the new secret, or with the key's state."""
    admin.keys.create("ci", KeySpec())
    assert admin.keys.rotate("ci").key == "paig_rotated"
    assert admin.keys.disable("ci").status == "disabled"
    assert admin.keys.block("ci").status == "blocked"
    assert admin.keys.enable("ci").status == "active"


def test_names_are_encoded_in_paths(admin: AdminClient) -> None:
    """A name with a slash, a question mark or a space reaches the gateway whole."""
    for name in ("a/b", "what? now", "ü[/b]"):
        admin.keys.create(name, KeySpec())
        assert admin.keys.get(name).name == name


def test_reports_are_read_and_filters_sent(admin: AdminClient, double: Double) -> None:
    """The ledger, its sums, the limits, the audit log and the gateway's state come as models."""
    double.ledger = [request_row("req_1"), request_row("req_2", status=402, error="limit-exceeded")]
    zero = {"requests": 2, "errors": 1, "input_tokens": 16, "output_tokens": 4}
    total = {**zero, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost": "0.00006", "group": {}}
    double.usage = {"items": [{**total, "group": {"model": "gpt-5", "key": None}}], "total": total}
    double.limits = [limit_row()]
    page = admin.requests(key="ci", status=402, limit=1, since=datetime(2026, 11, 23, tzinfo=UTC))
    assert [row.id for row in page.items] == ["req_1"]
    assert page.next_cursor == "1"
    assert admin.requests(limit=1, cursor="1").items[0].error == "limit-exceeded"
    assert admin.request("req_2").status == 402
    assert admin.usage(by=["model", "key"]).items[0].group == {"model": "gpt-5", "key": None}
    assert admin.limits()[0].left == Decimal("0.0035")
    assert admin.audit() == []
    assert admin.health().database == "sqlite"
    sent = dict(double.queries)
    assert sent["/admin/v1/usage"] == {"by": ["model", "key"]}
    first = next(query for path, query in double.queries if path == "/admin/v1/requests")
    assert first == {"key": ["ci"], "status": ["402"], "limit": ["1"], "since": ["2026-11-23T00:00:00Z"]}


def test_times_are_sent_in_utc(admin: AdminClient, double: Double) -> None:
    """A time in another zone means the same moment to the gateway."""
    admin.requests(since=datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2))))
    assert double.queries[-1][1]["since"] == ["2026-11-22T23:00:00Z"]


def test_apply_and_export_carry_toml(admin: AdminClient, double: Double) -> None:
    """A configuration goes up as text, the plan comes back, and the export is text again."""
    step = {"action": "change", "kind": "project", "name": "lab", "changes": {"limits.daily": [None, "1"]}}
    double.plan = [step]
    [change] = admin.apply("[projects.lab]", dry_run=True).items
    assert (change.action, change.name, change.changes) == ("change", "lab", {"limits.daily": (None, "1")})
    assert double.applied == [{"config": "[projects.lab]", "dry_run": True, "prune": False}]
    assert admin.export().startswith("[providers.openai]")


def test_refusals_are_typed_and_carry_the_problem(admin: AdminClient, stranger: AdminClient) -> None:
    """Each status is an exception of its own, in the gateway's words."""
    with pytest.raises(NotFound, match="There is no key 'nobody'") as missing:
        admin.keys.get("nobody")
    assert missing.value.problem.code == "not-found"
    admin.keys.create("ci", KeySpec())
    with pytest.raises(Conflict):
        admin.keys.create("ci", KeySpec())
    with pytest.raises(Invalid, match="there is no project"):
        admin.keys.create("other", KeySpec(project="missing"))
    with pytest.raises(NotAuthorised):
        stranger.health()


def test_no_gateway_is_unreachable() -> None:
    """A port without a listener gives `GatewayUnreachable`, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with (
        AdminClient(f"http://127.0.0.1:{port}", token=TOKEN) as admin,
        pytest.raises(GatewayUnreachable, match=f"127.0.0.1:{port}"),
    ):
        admin.health()


def test_an_answer_from_another_server_is_reported(admin: AdminClient, double: Double) -> None:
    """JSON of another shape is not taken for an empty answer."""
    double.usage = {"rows": []}
    with pytest.raises(NotTheAdminApi, match="GET /admin/v1/usage"):
        admin.usage()


def test_a_local_gateway_is_reached_past_a_proxy(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's HTTP proxy is not asked for a gateway on this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with AdminClient(gateway, token=TOKEN) as admin:
        assert admin.health().status == "ok"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_no_spelling_of_this_machine_asks_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at the address, and the proxy was not asked either."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with AdminClient(f"http://{host}:9", token=TOKEN) as admin, pytest.raises(GatewayUnreachable, match=":9"):
            admin.health()
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_events_are_read_and_resumed(admin: AdminClient, double: Double) -> None:
    """A broken stream raises; the last event's id goes on where it broke."""
    double.events = [json.dumps(request_row(f"req_{n}")) for n in (1, 2)]
    with closing(admin.events()) as events:
        first = next(events)
        assert (first.id, first.name, first.request and first.request.id) == ("1", "request", "req_1")
        with pytest.raises(GatewayUnreachable):
            next(events)
    with closing(admin.events(last_event_id="1")) as events:
        assert [event.request and event.request.id for event in events] == ["req_2"]
    assert double.event_requests == [None, "1"]


def test_events_are_refused_like_anything_else(stranger: AdminClient) -> None:
    """A stream that the token does not open raises before the first event."""
    with closing(stranger.events()) as events, pytest.raises(NotAuthorised):
        next(events)


@pytest.mark.anyio
async def test_the_async_client_has_the_same_methods(gateway: str, double: Double) -> None:
    """What is described once is there to be awaited, with the same models and errors."""
    double.ledger = [request_row("req_1")]
    double.events = [json.dumps(request_row("req_1"))]
    async with AsyncAdminClient(gateway, token=TOKEN) as admin:
        assert (await admin.keys.create("ci", KeySpec())).name == "ci"
        assert [key.name for key in await admin.keys.list()] == ["ci"]
        assert (await admin.keys.rotate("ci")).key == "paig_rotated"
        assert (await admin.requests()).items[0].id == "req_1"
        with pytest.raises(NotFound):
            await admin.keys.get("nobody")
        async with aclosing(admin.events()) as events:
            assert [event.request and event.request.id async for event in events] == ["req_1"]
    names = {name for name in dir(AdminClient) if not name.startswith("_")} - {"close"}
    assert names == {name for name in dir(AsyncAdminClient) if not name.startswith("_")} - {"aclose"}
