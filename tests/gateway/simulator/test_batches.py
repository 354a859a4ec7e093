"""Batches and files at the simulator: they take their time, fail where they are told to, and are billed once."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from paig_gateway.simulator import Simulator

pytestmark = pytest.mark.anyio


def line(id: str, prompt: str = "Hi") -> bytes:
    """A line of a file for OpenAI's batches."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}
    one = {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(one).encode() + b"\n"


async def made(http: httpx2.AsyncClient, content: bytes) -> dict[str, Any]:
    """A batch of a file."""
    files = {"file": ("in.jsonl", content)}
    file = (await http.post("/openai/v1/files", data={"purpose": "batch"}, files=files)).json()
    body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    found: dict[str, Any] = (await http.post("/openai/v1/batches", json=body)).json()
    return found


async def test_a_batch_with_a_failing_line(http: httpx2.AsyncClient, simulator: Simulator) -> None:
    """It is at work at first; its results are two files; what was answered is billed once."""
    batch = await made(http, line("a") + line("b", "Hi [sim:status=500]"))
    path = f"/openai/v1/batches/{batch['id']}"
    states = [(await http.get(path)).json()["status"] for _ in range(3)]
    assert [batch["status"], *states] == ["validating", "in_progress", "completed", "completed"]
    found = (await http.get(path)).json()
    assert found["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    output = await http.get(f"/openai/v1/files/{found['output_file_id']}/content")
    errors = await http.get(f"/openai/v1/files/{found['error_file_id']}/content")
    assert json.loads(output.text)["response"]["status_code"] == 200
    assert json.loads(errors.text)["response"]["status_code"] == 500
    assert (simulator.served["openai"].completed, simulator.served["openai"].failed) == (1, 1)
    assert (await http.get("/openai/v1/batches")).json()["data"][0]["id"] == batch["id"]


async def test_cancelled_and_expired_batches(http: httpx2.AsyncClient) -> None:
    """A cancelled one has done half of its lines; an expired one what was not to expire."""
    batch = await made(http, line("a") + line("b") + line("c", "[batch:looks=9]"))
    path = f"/openai/v1/batches/{batch['id']}"
    assert (await http.post(f"{path}/cancel")).json()["status"] == "cancelling"
    found = (await http.get(path)).json()
    assert (found["status"], found["request_counts"]["completed"]) == ("cancelled", 1)
    batch = await made(http, line("a") + line("b", "[batch:expire][batch:looks=0]"))
    found = (await http.get(f"/openai/v1/batches/{batch['id']}")).json()
    assert (found["status"], found["request_counts"]) == ("expired", {"total": 2, "completed": 1, "failed": 1})


async def test_files_and_batches_that_are_not_there(http: httpx2.AsyncClient) -> None:
    """They are 404, in the provider's shape."""
    assert (await http.get("/openai/v1/files/none/content")).status_code == 404
    assert (await http.get("/anthropic/v1/messages/batches/none")).json()["error"]["type"] == "not_found_error"
    assert (await http.get("/google/v1beta/batches/none")).json()["error"]["status"] == "NOT_FOUND"
    assert (await http.post("/openai/v1/files", json={})).status_code == 400


async def test_gemini_and_anthropic_cancel(http: httpx2.AsyncClient) -> None:
    """What was cancelled ends at the next look."""
    request = {"request": {"contents": [{"parts": [{"text": "Hi [batch:never]"}]}]}}
    body = {"batch": {"inputConfig": {"requests": {"requests": [request]}}}}
    batch = (await http.post("/google/v1beta/models/gemini-2.5-flash:batchGenerateContent", json=body)).json()
    path = f"/google/v1beta/{batch['name']}"
    assert (await http.get(path)).json()["metadata"]["state"] == "BATCH_STATE_RUNNING"
    assert (await http.post(f"{path}:cancel")).status_code == 200
    assert (await http.get(path)).json()["metadata"]["state"] == "BATCH_STATE_CANCELLED"
    assert (await http.delete(path)).status_code == 200
    params = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    asked = {"requests": [{"custom_id": name, "params": params} for name in "ab"]}
    claude = (await http.post("/anthropic/v1/messages/batches", json=asked)).json()
    path = f"/anthropic/v1/messages/batches/{claude['id']}"
    assert (await http.get(f"{path}/results")).status_code == 400
    assert (await http.post(f"{path}/cancel")).json()["processing_status"] == "canceling"
    results = [json.loads(one) for one in (await http.get(f"{path}/results")).text.splitlines()]
    assert [one["result"]["type"] for one in results] == ["succeeded", "canceled"]
