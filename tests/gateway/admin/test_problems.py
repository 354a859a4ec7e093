"""Errors of the admin API: each bad request has its problem, which says what is wrong and never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, text

from paig_gateway.admin.problem_codes import PROBLEMS
from paig_gateway.database.engine import open_engine
from tests.gateway.admin.harness import TOKEN, Gateway, running
from tests.gateway.databases import Postgres

JSON = {"content-type": "application/json"}
BAD: Mapping[str, tuple[str, str, dict[str, Any], str, str]] = {
    # method, path, the rest of the request, code, what the detail says
    "not JSON": ("POST", "/keys", {"content": b"{nope", "headers": JSON}, "bad-request", "line 1, column 2"),
    "not UTF-8": ("POST", "/keys", {"content": b'{"name":"\xff"}', "headers": JSON}, "bad-request", "not JSON"),
    "nested": ("POST", "/keys", {"content": b"[" * 100_000, "headers": JSON}, "bad-request", "not JSON"),
    "NaN": ("POST", "/keys", {"content": b'{"name": NaN}', "headers": JSON}, "bad-request", "not JSON"),
    "no object": ("POST", "/keys", {"json": ["ci"]}, "invalid", "must be a JSON object"),
    "no JSON type": ("POST", "/keys", {"content": b"name=ci"}, "unsupported-media-type", "Content-Type"),
    "too large": ("POST", "/keys", {"content": b" " * 5_000_001, "headers": JSON}, "body-too-large", "5000000 bytes"),
    "no name": ("POST", "/keys", {"json": {}}, "invalid", "name: is needed"),
    "a number for a name": ("POST", "/keys", {"json": {"name": 7}}, "invalid", "name: must be a valid string"),
    "a name with a line break": ("POST", "/users", {"json": {"name": "a\nb"}}, "invalid", "name: "),
    "a name like an id": ("POST", "/users", {"json": {"name": "user_" + "0" * 16}}, "invalid", "looks like an id"),
    "a name unfit for URLs": ("POST", "/providers", {"json": {"name": "a/b", "kind": "openai"}}, "invalid", "name: "),
    "unknown field": (
        "POST",
        "/keys",
        {"json": {"name": "x", "colour": 1}},
        "invalid",
        "colour: is not a field of this object",
    ),
    "unknown inner": (
        "POST",
        "/keys",
        {"json": {"name": "x", "limits": {"dayly": 1}}},
        "invalid",
        "limits.dayly",
    ),
    "negative cap": ("POST", "/keys", {"json": {"name": "x", "limits": {"daily": -1}}}, "invalid", "limits.daily"),
    "nanodollar": (
        "POST",
        "/users",
        {"json": {"name": "x", "limits": {"daily": "1e-10"}}},
        "invalid",
        "nanodollar",
    ),
    "unknown kind": ("POST", "/providers", {"json": {"name": "x", "kind": "opneai"}}, "invalid", "openai"),
    "bare credential": (
        *("POST", "/providers", {"json": {"name": "x", "kind": "openai", "credential": "sk-live"}}, "invalid"),
        "credential",
    ),
    "dangling route": ("POST", "/keys", {"json": {"name": "x", "routes": ["nowhere"]}}, "invalid", "routes.0"),
    "no members": ("POST", "/routes", {"json": {"name": "x", "members": []}}, "invalid", "members"),
    "bad filter": ("GET", "/requests?status=9000", {}, "invalid", "status"),
    "bad time": ("GET", "/requests?since=yesterday", {}, "invalid", "since"),
    "bad cursor": ("GET", "/requests?cursor=x", {}, "invalid", "cursor"),
    "bad page": ("GET", "/keys?limit=0", {}, "invalid", "limit"),
    "bad state": ("GET", "/keys?status=lost", {}, "invalid", "status"),
    "bad group": ("GET", "/usage?by=colour", {}, "invalid", "by: "),
    "group twice": ("GET", "/usage?by=key&by=key", {}, "invalid", "by: "),
    "bad event": ("GET", "/events", {"headers": {"last-event-id": "1.a~b c"}}, "invalid", "Last-Event-ID"),
    "empty idempotency key": (
        *("POST", "/keys", {"json": {"name": "x"}, "headers": {"idempotency-key": ""}}, "invalid"),
        "idempotency-key",
    ),
    "bad TOML": ("POST", "/apply", {"json": {"config": "[keys"}}, "invalid", "config line 1"),
    "misspelt TOML": ("POST", "/apply", {"json": {"config": "[keys.a]\nlimit = {}"}}, "invalid", "config line 2"),
    "no config": ("POST", "/apply", {"json": {}}, "invalid", "config: is needed"),
    "no such key": ("GET", "/keys/nobody", {}, "not-found", "paig keys list"),
    "no such request": ("GET", "/requests/req_0", {}, "not-found", "req_0"),
    "no such path": ("GET", "/colours", {}, "not-found", "/admin/docs"),
    "no such method": ("PUT", "/keys", {}, "method-not-allowed", "Allow"),
    "nothing to rotate": ("POST", "/keys/nobody/rotate", {}, "not-found", "nobody"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_explained(http: httpx2.Client, case: str) -> None:
    """Each kind of bad input is a problem with its code and status, and a detail that names what is wrong."""
    method, path, rest, code, says = BAD[case]
    answer = http.request(method, path, **rest)
    problem = answer.json()
    status, title = PROBLEMS[code]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["code"], problem["title"]) == (status, status, code, title)
    assert says in problem["detail"]
    assert problem["type"] == f"/admin/docs#{code}"


def test_all_fields_at_fault_are_named(http: httpx2.Client) -> None:
    """A problem lists every wrong field, so that they can be fixed together."""
    body = {"limits": {"daily": "much", "weekly": -1}, "models": "gpt-5"}
    errors = http.post("/keys", json=body).json()["errors"]
    assert {error["field"] for error in errors} == {"name", "limits.daily", "limits.weekly", "models"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing-token"),
        ("Basic dTpw", "missing-token"),
        ("Bearer", "missing-token"),
        ("Bearer wrong", "unknown-token"),
        (f"Bearer {TOKEN}x", "unknown-token"),
    ],
)
def test_strangers_learn_nothing(gateway: Gateway, header: str | None, code: str) -> None:
    """Without the token every answer is 401 before anything else of the request is looked at."""
    with gateway.http(None) as http:
        headers = {"authorization": header} if header else {}
        for method, path in (("GET", "/keys"), ("POST", "/keys"), ("GET", "/keys/nobody"), ("GET", "/events")):
            answer = http.request(method, path, headers=headers, content=b"{nope" if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["www-authenticate"].startswith('Bearer realm="paig admin"')


def test_refused_secret_is_not_repeated(http: httpx2.Client) -> None:
    """A credential that is refused is not in the answer that refuses it."""
    for body in (
        {"name": "x", "kind": "openai", "credential": "sk-live-0123456789"},
        {"name": "x", "kind": "opneai", "credential": "value:sk-live-0123456789"},
        {"name": "x", "kind": "openai", "credential": ["sk-live-0123456789"]},
    ):
        answer = http.post("/providers", json=body)
        assert answer.status_code == 422
        assert "sk-live" not in answer.text


def test_every_answer_is_sealed(http: httpx2.Client) -> None:
    """No answer may be stored by a cache or taken for another type, a problem included."""
    for path in ("/keys", "/nowhere", "/export"):
        headers = http.get(path).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """Where the database fails, the answer is 503 with Retry-After, and says nothing of how the gateway works."""
    gone = open_engine("postgresql://nobody@127.0.0.1:1/nothing")
    with running(tmp_path, change=lambda services: replace(services, engine=gone)) as gateway, gateway.http() as http:
        answer = http.get("/limits")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "127.0.0.1" not in answer.text
        ready = http.get(f"{gateway.url}/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
        assert http.get(f"{gateway.url}/healthz").status_code == 200


def test_a_read_only_database_is_one_line_in_the_log(
    postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A write is answered 503, and the log has one line of it instead of a traceback for each request."""
    url = postgres.fresh_database()
    with running(tmp_path, url=url) as gateway:
        name = gateway.engine.url.database
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        )

        def end_sessions(connection: Connection) -> None:
            """Have every session begin again, with the new setting."""
            connection.execute(text(others), {"name": name})
            connection.commit()
            connection.invalidate()

        with gateway.engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            connection.commit()
            end_sessions(connection)
        try:
            with gateway.http() as http:
                answer = http.post("projects", json={"name": "p"})
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            [record] = [record for record in caplog.records if record.name == "paig_gateway.admin.problems"]
            assert record.exc_info is None
            assert "cannot execute INSERT in a read-only transaction" in record.getMessage()
            assert "\n" not in record.getMessage()
        finally:
            with gateway.engine.connect() as connection:
                connection.execute(text("SET TRANSACTION READ WRITE"))
                connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
                connection.commit()
                end_sessions(connection)
