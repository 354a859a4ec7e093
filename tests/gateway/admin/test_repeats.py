"""`Idempotency-Key`: what is sent twice is done once, on whichever of several nodes, and on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from paig_gateway.database.engine import utc_now
from tests.gateway.admin.harness import Gateway, running
from tests.gateway.catalogs import sqlite_url
from tests.gateway.databases import Postgres


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, ...]]:
    """Two gateways on one database."""
    folder: Path = tmp_path_factory.mktemp("nodes")
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database()
    else:
        url = sqlite_url(folder)
    with running(folder, url=url) as first, running(folder, url=url) as second:
        yield first, second


def test_a_create_repeated_on_another_node_is_done_once(nodes: tuple[Gateway, ...]) -> None:
    """The second node answers what the first one did, a key's secret included."""
    answers = []
    for node in nodes:
        with node.http() as http:
            answers.append(http.post("/keys", json={"name": "once"}, headers={"idempotency-key": "a"}))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["key"].startswith("paig_")
    with nodes[1].http() as http:
        other = http.post("/projects", json={"name": "once"}, headers={"idempotency-key": "a"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")


def test_the_same_create_at_once_on_two_nodes_makes_one(nodes: tuple[Gateway, ...]) -> None:
    """Eight creates at the same moment, four on each node, make one key; all are told the same secret."""
    answers: list[dict[str, str]] = []
    start = threading.Barrier(8)

    def create(node: Gateway) -> None:
        with node.http() as http:
            start.wait(20)
            answers.append(http.post("/keys", json={"name": "storm"}, headers={"idempotency-key": "s"}).json())

    threads = [threading.Thread(target=create, args=(nodes[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
    with nodes[0].http() as http:
        audit = http.get("/audit", params={"limit": 1000}).json()["items"]
    assert [entry["action"] for entry in audit if entry["name"] == "storm"] == ["create"]


def test_the_kept_answer_is_unreadable_in_the_database(nodes: tuple[Gateway, ...]) -> None:
    """A new key's secret lies in the database only encrypted."""
    with nodes[0].http() as http:
        secret = http.post("/keys", json={"name": "hidden"}, headers={"idempotency-key": "h"}).json()["key"]
    with nodes[0].engine.connect() as connection:
        kept = [bytes(row[0]) for row in connection.exec_driver_sql("SELECT answer FROM repeats")]
    assert kept
    assert not [answer for answer in kept if secret.encode() in answer]


def test_an_answer_is_kept_for_a_day(tmp_path: Path) -> None:
    """After a day the value is free for something else, and the old answer is gone from the database."""
    late = timedelta()
    with running(tmp_path, clock=lambda: utc_now() + late) as gateway, gateway.http() as http:
        headers = {"idempotency-key": "daily"}
        http.post("/projects", json={"name": "first"}, headers=headers)
        late = timedelta(hours=23, minutes=59)
        assert http.post("/projects", json={"name": "second"}, headers=headers).status_code == 422
        late = timedelta(hours=24, minutes=1)
        assert http.post("/projects", json={"name": "second"}, headers=headers).status_code == 201
        with gateway.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM repeats").scalar() == 1
