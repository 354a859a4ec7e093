"""`events`: what happens on any node, in order, once, and on from where a reader was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count, islice
from pathlib import Path

import httpx2
import pytest

from paig_client.admin import AdminClient, Event
from paig_client.api.resources import Request
from paig_client.api.specs import KeySpec, OwnerSpec
from tests.gateway.admin.harness import TOKEN, Gateway, running

_numbers = count(1)


@pytest.fixture(scope="module")
def other(gateway: Gateway) -> Iterator[Gateway]:
    """Another node on the same database."""
    with running(gateway.folder, url=gateway.database) as other:
        yield other


@pytest.fixture(scope="module", autouse=True)
def keys(admin: AdminClient, other: Gateway) -> None:
    """A key for requests, known to both nodes."""
    admin.keys.create("ci", KeySpec())
    other.services.directory.refresh()


@contextmanager
def following(gateway: Gateway, token: str = TOKEN) -> Iterator[Iterator[dict[str, str]]]:
    """The events from now on, as their fields; the stream is open when the context begins."""
    with gateway.http(token) as http, http.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(":")

        def events() -> Iterator[dict[str, str]]:
            found: dict[str, str] = {}
            for line in lines:
                name, _, value = line.partition(": ")
                if name:
                    found[name] = value
                elif "event" in found:
                    yield found
                    found = {}

        yield events()


def begun(gateway: Gateway) -> str:
    """The id of an event that is the last one at present."""
    with following(gateway) as events:
        gateway.client().users.create(f"begin {next(_numbers)}", OwnerSpec())
        return next(events)["id"]


def since(admin: AdminClient, place: str, count: int) -> list[Event]:
    """That many events after a place."""
    with closing(admin.events(last_event_id=place)) as events:
        return list(islice(events, count))


def test_events_of_every_node_reach_every_reader(gateway: Gateway, other: Gateway, admin: AdminClient) -> None:
    """Requests that two nodes finish, and changes made on either, come on both nodes' streams, each once."""
    place = begun(gateway)
    ids = [node.finish("ci") for node in (gateway, other, gateway, other)]
    other.client().keys.create("made-elsewhere", KeySpec())
    for node in (gateway, other):
        events = since(node.client(), place, 5)
        assert sorted(event.request.id for event in events if event.request) == sorted(ids)
        assert [event.change.name for event in events if event.change] == ["made-elsewhere"]


def test_a_reader_goes_on_where_it_was(gateway: Gateway, other: Gateway, admin: AdminClient) -> None:
    """From each event's id, on whichever node, what follows is exactly the rest."""
    place = begun(gateway)
    for node in (gateway, other, gateway):
        node.finish("ci")
    whole = since(admin, place, 3)
    for number, event in enumerate(whole[:-1]):
        for node in (gateway, other):
            rest = since(node.client(), event.id, len(whole) - number - 1)
            assert [later.data for later in rest] == [later.data for later in whole[number + 1 :]]


def test_what_comes_while_one_reads_is_seen(gateway: Gateway, admin: AdminClient) -> None:
    """An open stream shows a request right after it is finished, with its row as the ledger has it."""
    with following(gateway) as events:
        request_id = gateway.finish("ci")
        event = next(events)
    assert event["event"] == "request"
    assert Request.model_validate_json(event["data"]) == admin.request(request_id)


def test_many_missed_events_all_come(gateway: Gateway, admin: AdminClient) -> None:
    """A reader that was away for more than a page of the tail gets all of it, in order."""
    place = begun(gateway)
    ids = [gateway.finish("ci") for _ in range(250)]
    assert [event.request.id for event in since(admin, place, 250) if event.request] == ids


def test_a_change_tells_no_secret(gateway: Gateway, admin: AdminClient, http: httpx2.Client) -> None:
    """A change in the stream is the audit log's entry: a rotated key's secret is not in it."""
    place = begun(gateway)
    made = admin.keys.rotate("ci")
    http.post("/providers", json={"name": "p", "kind": "openai", "credential": "value:sk-live-123"})
    events = since(admin, place, 2)
    assert [event.change.action for event in events if event.change] == ["rotate", "create"]
    assert not [event for event in events if made.key in event.data or "sk-live-123" in event.data]


def test_streams_end_with_the_gateway(tmp_path: Path) -> None:
    """A gateway that shuts down ends the streams rather than waiting for their readers."""
    with running(tmp_path) as gateway, gateway.http() as http, http.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(":")
        gateway.loop.call_soon_threadsafe(gateway.app.state.events.close)
        assert "".join(lines) == ""
