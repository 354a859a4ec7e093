"""The log of a gateway: a line for each request where it is wished for, in text or JSON, without secrets."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
from pathlib import Path

import httpx2
import pytest

from paig_gateway.simulator.serve import running_simulator
from paig_gateway.telemetry.logs import Aside, Lines, LogWriter
from paig_gateway.telemetry.redaction import Redactor
from tests.gateway.telemetry.conftest import serving

pytestmark = pytest.mark.anyio

CONFIG = """
[telemetry]
log = "{form}"
log_requests = true

[providers.openai]
kind = "openai"
base_url = "{base}/openai/v1"
credential = "value:sk-upstream-credential-0123456789"

[keys.ci]
secret = "env:CI_KEY"
project = "research"
limits = {{ daily = 5 }}

[projects.research]
"""
SECRET = "a-secret-of-the-tests-0123456789"
KEY = "a-key-that-looks-like-nothing-else"
BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 50}


async def run(home: Path) -> tuple[str, list[str]]:
    """A good request, one with a wrong key, one for a route that there is not; the log and the requests' ids."""
    secrets = {
        "PAIG_SECRET_KEY": "logs-secret-key-0123456789",
        "PAIG_ADMIN_TOKEN": "logs-admin-token-0123456789",
        "CI_KEY": KEY,
    }
    ids = []
    async with running_simulator() as base:
        config = CONFIG.format(base=base, form="json")
        async with (
            serving(home, config, **secrets) as served,
            httpx2.AsyncClient(base_url=served.origin, trust_env=False, verify=False, timeout=30) as http,
        ):
            for route, key in (("openai", KEY), ("openai", "paig_wrong"), ("no%0Asuch", KEY)):
                headers = {"authorization": f"Bearer {key}"}
                answer = await http.post(f"/proxy/{route}/chat/completions", headers=headers, json=BODY)
                ids.append(answer.headers["x-paig-request-id"])
    return served.log, ids


async def test_each_request_is_a_line_of_json(tmp_path: Path) -> None:
    """With `log = "json"` and `log_requests` every line is an object with the request's id, and says what it cost."""
    log, (good, wrong, nowhere) = await run(tmp_path)
    lines = [json.loads(line) for line in log.splitlines()]
    by_id = {line.get("request_id"): line for line in lines if "code" not in line}
    row = by_id[good]
    assert row["message"] == "request"
    assert (row["status"], row["key"], row["project"], row["model"]) == (200, "ci", "research", "gpt-5")
    assert float(row["cost"]) > 0
    assert {"time", "level", "logger", "ms_total", "ms_gateway", "input_tokens"} <= set(row)
    refused = {line["request_id"]: line["code"] for line in lines if "code" in line}
    assert refused == {wrong: "unknown-key", nowhere: "route-not-found"}
    assert KEY not in log


def line(message: str, *, as_json: bool, **more: object) -> str:
    """One record as a line, by a redactor that knows one secret."""
    redact = Redactor()
    redact.know(lambda: ["hunter2hunter2", "USER:the-second-half", '{"private_key": "inside a document"}'])
    record = logging.makeLogRecord({"msg": message, "levelname": "WARNING", "name": "x", "created": 0.0, **more})
    return Lines(redact, as_json=as_json).format(record)


@pytest.mark.parametrize(
    "secret",
    [
        *("hunter2hunter2", "the-second-half", "inside a document"),
        *("paig_abcdefghijklmnopqrstuvwxyz", "sk-proj-abcdefghijklmnop", "AKIAABCDEFGHIJKLMNOP"),
        *("pylf_v1_us_abcdefghijklmnopqrst", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_blacked_out(secret: str, as_json: bool) -> None:
    """What the process knows as a secret, and what looks like one, is in no line."""
    written = line(f"it said {secret}, and no more", as_json=as_json, fields={"error": secret})
    assert "it said [hidden], and no more" in written
    assert secret not in written


def test_a_password_in_a_url_and_a_bearer_token_are_blacked_out() -> None:
    """Only the secret part goes."""
    assert "postgresql://[hidden]@db/paig" in line("at postgresql://paig:pw@db/paig", as_json=True)
    assert "Bearer [hidden]," in line("Authorization: Bearer abcdef123456, and so on", as_json=True)


def test_an_exception_is_written_without_secrets() -> None:
    """A traceback goes through the same redactor."""
    try:
        raise RuntimeError("hunter2hunter2")
    except RuntimeError as error:
        told = (RuntimeError, error, error.__traceback__)
        written = json.loads(line("failed", as_json=True, exc_info=told))["exception"]
    assert written.splitlines()[-1] == "RuntimeError: [hidden]"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes have a size of their own here")
async def test_an_unread_log_delays_no_request(tmp_path: Path) -> None:
    """With a standard error that is full, requests are answered and the process ends when told to.

    What it had room for is lines of text: what a client writes into a path forges none.
    """
    secrets = {
        "PAIG_SECRET_KEY": "logs-secret-key-0123456789",
        "PAIG_ADMIN_TOKEN": "logs-admin-token-0123456789",
        "CI_KEY": KEY,
    }
    unread, full = os.pipe()
    fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096)
    async with running_simulator() as base:
        config = CONFIG.format(base=base, form="text")
        async with (
            serving(tmp_path, config, stderr=full, **secrets) as served,
            httpx2.AsyncClient(base_url=served.origin, trust_env=False, verify=False, timeout=30) as http,
        ):
            for route in ("no%0Asuch", *["openai"] * 30):
                headers = {"authorization": f"Bearer {KEY}"}
                answer = await http.post(f"/proxy/{route}/chat/completions", headers=headers, json=BODY)
                assert answer.status_code == (404 if route != "openai" else 200)
    assert served.process.returncode == 0
    os.close(full)
    os.set_blocking(unread, False)
    log = os.read(unread, 10_000).decode()
    os.close(unread)
    assert len(log) > 3000, "it was full"
    lines = log.splitlines()[:-1]  # the last has found no room
    assert [(line.split()[1], line.count("request_id=")) for line in lines] == [("INFO", 1)] * len(lines)


def test_a_line_that_cannot_be_made_is_told_of(tmp_path: Path) -> None:
    """A mistake in one line neither ends the log nor is passed over."""
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue()
    for args in (("one",), ("one", "too", "many"), ("two",)):
        lines.put(logging.makeLogRecord({"msg": "it said %s", "args": args, "name": "x", "levelname": "INFO"}))
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(lines, Lines(Redactor(), as_json=False), file.fileno())
        writer.start()
        writer.close()
    told = [line.partition(" x: ")[2] for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    assert told == ["it said one", "", "it said two"]
    assert "a line of x cannot be written: TypeError" in (tmp_path / "log").read_text("utf-8")


def test_a_stuck_log_drops_lines_and_counts_them() -> None:
    """If the log is not read, logging does not wait."""
    aside = Aside(queue.Queue(2))
    for _ in range(5):
        aside.handle(logging.makeLogRecord({"msg": "x"}))
    assert aside.dropped == 3
