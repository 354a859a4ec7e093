"""Batches: create, poll, cancel, expire, fetch results; those of Vertex AI and Bedrock are in `bucket_batches`.

The first poll finds a batch in progress, the second finds it done. Directives in the text of a line change that:
`[batch:looks=5]` keeps it in progress for five polls, `[batch:never]` for ever; `[batch:expire]` makes the batch expire
before that line is done. The simulator's other directives hold for each line: `[sim:status=500]` fails it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from . import anthropic, gemini
from . import faults as fault_directives
from .files import Files
from .object_store import ObjectStore
from .openai_common import SHAPE, body
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .traffic import Served
from .wire import Document, encode, new_id, objects

_DIRECTIVE = re.compile(rb"\[batch:(?:looks=(\d+)|(never)|(expire))\]")

LineEnd = Literal["done", "failed", "expired", "cancelled"]
FindOperation = Callable[[SimulatedRequest], Operation]
Bill = Callable[[str], Served]


@dataclass
class SimulatedLine:
    """One request of a batch and its result.

    Attributes:
        raw: The line as it was given, if the result repeats it.
    """

    id: str
    path: str
    body: Document
    raw: Document = field(default_factory=dict[str, Any])
    expires: bool = False
    end: LineEnd | None = None
    answer: Document = field(default_factory=dict[str, Any])
    status: int = 200


@dataclass
class Batch:
    """A batch of one mount.

    Attributes:
        looks: How many more polls find it in progress.
        state: `work`, `cancelling`, then how it ended: `completed`, `expired` or `cancelled`.
    """

    id: str
    family: str
    lines: list[SimulatedLine]
    asked: Document
    made: float
    looks: int
    state: str = "work"
    ended: float | None = None
    files: tuple[str | None, str | None] = (None, None)

    def counts(self) -> dict[LineEnd, int]:
        """How many lines ended in each way."""
        ends: tuple[LineEnd, ...] = ("done", "failed", "expired", "cancelled")
        return {end: sum(line.end == end for line in self.lines) for end in ends}


class SimulatedBatches(ObjectStore[Batch]):
    """The batches of all mounts."""

    def __init__(self, files: Files, operation_of: FindOperation, bill: Bill) -> None:
        """Make an empty store.

        Args:
            files: The files with the input and the results.
            operation_of: Finds the operation for a line's path.
            bill: Finds the counters of a mount.
        """
        super().__init__("No batch found with id '{id}'.")
        self.files, self._operation_of, self._bill = files, operation_of, bill

    def make(self, request: SimulatedRequest, prefix: str, lines: list[SimulatedLine], length: int = 24) -> Batch:
        if not lines:
            raise SimulatedRefusal(400, "The batch has no requests.")
        text = b"".join(encode(line.body) for line in lines)
        looks = 1
        for found in _DIRECTIVE.finditer(text):
            looks = int(found[1]) if found[1] else 10**9 if found[2] else looks
        for line in lines:
            line.expires = b"[batch:expire]" in encode(line.body)
        batch = Batch(new_id(prefix, length), request.family, lines, request.body, request.now, looks)
        return self.add(request, batch.id, batch)

    def look(self, request: SimulatedRequest) -> Batch:
        """Poll a batch; each poll advances it.

        Raises:
            SimulatedRefusal: 404: there is no such batch.
        """
        batch = self.find(request)
        if batch.ended is None:
            if batch.looks > 0 and batch.state == "work":
                batch.looks -= 1
            else:
                self._end(request, batch)
        return batch

    def cancel(self, request: SimulatedRequest) -> Batch:
        """Cancel a batch: the first half of its lines is still done. Raises as `look` does."""
        batch = self.find(request)
        if batch.ended is None:
            batch.state = "cancelling"
        return batch

    def delete(self, request: SimulatedRequest) -> Batch:
        """Delete a batch that has ended.

        Raises:
            SimulatedRefusal: There is no such batch, or it is in progress.
        """
        batch = self.find(request)
        if batch.ended is None:
            raise SimulatedRefusal(400, "A batch in progress cannot be deleted: cancel it first.")
        return self.remove(request)

    def _end(self, request: SimulatedRequest, batch: Batch) -> None:
        cancelled = batch.state == "cancelling"
        half = len(batch.lines) // 2
        for number, line in enumerate(batch.lines):
            if cancelled and number >= half:
                line.end = "cancelled"
            elif line.expires:
                line.end = "expired"
            else:
                self._do(request, line)
        expired = any(line.end == "expired" for line in batch.lines)
        batch.state = "cancelled" if cancelled else "expired" if expired else "completed"
        batch.ended = request.now

    def _do(self, request: SimulatedRequest, line: SimulatedLine) -> None:
        """Run one line as if it had been sent alone."""
        # Groq's lines name paths of OpenAI's API, which Groq serves under /openai.
        path = f"/openai{line.path}" if request.family == "groq" else line.path
        one = replace(request, method="POST", path=path, query={}, body=line.body, params={})
        served = self._bill(request.mount)
        served.started += 1
        shape = SHAPE
        try:
            operation = self._operation_of(one)
            shape = operation.shape
            prompt = operation.read(one)
            one.faults = fault_directives.parse(f"{prompt.model}\n{prompt.ask}", request.mount)
            if one.faults.status is not None:
                raise SimulatedRefusal(one.faults.status, "")
            answer = operation.write(one, prompt)
        except SimulatedRefusal as refusal:
            answer = shape.error(request.family, refusal.status, refusal.message or None)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            answer = shape.error(request.family, 400, f"Invalid request body: {problem}.")
        line.status, line.answer = answer.status, msgspec.json.decode(answer.body)
        line.end = "done" if answer.status < 400 else "failed"
        if answer.tokens is not None and line.end == "done":
            served.complete(answer.tokens)
        else:
            served.failed += 1


def _jsonl(lines: list[Document]) -> bytes:
    return b"".join(encode(line) + b"\n" for line in lines)


# OpenAI and compatible servers

_OPENAI_STATES = {"work": "in_progress", "cancelling": "cancelling"}


def _openai_lines(content: bytes) -> list[SimulatedLine]:
    found = []
    for number, raw in enumerate(content.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            one = msgspec.json.decode(raw, type=dict[str, Any])
            found.append(SimulatedLine(one["custom_id"], one["url"], one["body"]))
        except (msgspec.DecodeError, KeyError) as problem:
            raise SimulatedRefusal(400, f"Line {number} of the input file is invalid: {problem}") from None
    return found


def _openai_shown(request: SimulatedRequest, batch: Batch) -> Document:
    counts, ended = batch.counts(), None if batch.ended is None else int(batch.ended)
    output, errors = batch.files
    done = [line.answer.get("usage") or {} for line in batch.lines if line.end == "done"]
    sent = sum(one.get("input_tokens", one.get("prompt_tokens", 0)) for one in done)
    received = sum(one.get("output_tokens", one.get("completion_tokens", 0)) for one in done)
    usage: Document = {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.asked.get("endpoint"),
        "errors": None,
        "input_file_id": batch.asked.get("input_file_id"),
        "completion_window": batch.asked.get("completion_window", "24h"),
        "status": _OPENAI_STATES.get(batch.state, batch.state),
        "output_file_id": output,
        "error_file_id": errors,
        "created_at": int(batch.made),
        "in_progress_at": int(batch.made),
        "expires_at": int(batch.made) + 86_400,
        "completed_at": ended if batch.state == "completed" else None,
        "expired_at": ended if batch.state == "expired" else None,
        "cancelled_at": ended if batch.state == "cancelled" else None,
        "request_counts": {
            "total": len(batch.lines),
            "completed": counts["done"],
            "failed": counts["failed"] + counts["expired"],
        },
        "metadata": batch.asked.get("metadata"),
        **({"usage": usage} if ended is not None and request.family == "openai" else {}),
    }


def _openai_result(line: SimulatedLine) -> Document:
    error = None
    if line.end == "expired":
        error = {"code": "batch_expired", "message": "This request could not be executed before the batch expired."}
    elif line.end == "cancelled":
        error = {"code": "batch_cancelled", "message": "This request was cancelled."}
    response = {"status_code": line.status, "request_id": new_id("", 32), "body": line.answer}
    made = {"id": new_id("batch_req_", 24), "custom_id": line.id}
    return {**made, "response": None if error else response, "error": error}


def _keep_results(batches: SimulatedBatches, request: SimulatedRequest, batch: Batch) -> None:
    """Create the result files of a batch that has ended."""
    if batch.ended is None or batch.files != (None, None):
        return
    done = [_openai_result(line) for line in batch.lines if line.end == "done"]
    undone = [_openai_result(line) for line in batch.lines if line.end in ("failed", "expired")]
    names = (f"{batch.id}_output.jsonl", f"{batch.id}_error.jsonl")
    made = [
        batches.files.make(request, _jsonl(lines), "batch_output", name)["id"] if lines else None
        for lines, name in zip((done, undone), names, strict=True)
    ]
    batch.files = (made[0], made[1])


def openai_operations(batches: SimulatedBatches) -> dict[str, Operation]:
    """Create, poll, list and cancel batches of files."""

    def create(request: SimulatedRequest) -> SimulatedAnswer:
        lines = _openai_lines(batches.files.find(request, request.body["input_file_id"])[1])
        return body(request, _openai_shown(request, batches.make(request, "batch_", lines)) | {"status": "validating"})

    def show(request: SimulatedRequest) -> SimulatedAnswer:
        batch = batches.look(request)
        _keep_results(batches, request, batch)
        return body(request, _openai_shown(request, batch))

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        data = [_openai_shown(request, batch) for batch in batches.all(request)]
        return body(request, {"object": "list", "data": data, "has_more": False})

    return {
        "batch-create": free(SHAPE, create, "input_file_id", "endpoint"),
        "batch": free(SHAPE, show),
        "batch-cancel": free(SHAPE, lambda request: body(request, _openai_shown(request, batches.cancel(request)))),
        "batches": free(SHAPE, listed),
    }


# Mistral

_MISTRAL_STATES = {"work": "RUNNING", "cancelling": "CANCELLATION_REQUESTED", "completed": "SUCCESS"}


def _mistral_shown(batch: Batch) -> Document:
    counts, (output, errors) = batch.counts(), batch.files
    return {
        "id": batch.id,
        "object": "batch",
        "input_files": batch.asked.get("input_files", []),
        "metadata": batch.asked.get("metadata"),
        "endpoint": batch.asked["endpoint"],
        "model": batch.asked.get("model"),
        "output_file": output,
        "error_file": errors,
        "errors": [],
        "outputs": None,
        "status": _MISTRAL_STATES.get(batch.state, "TIMEOUT_EXCEEDED" if batch.state == "expired" else "CANCELLED"),
        "created_at": int(batch.made),
        "total_requests": len(batch.lines),
        "completed_requests": counts["done"] + counts["failed"],
        "succeeded_requests": counts["done"],
        "failed_requests": counts["failed"],
    }


def mistral_operations(batches: SimulatedBatches) -> dict[str, Operation]:
    """Create, poll and cancel jobs; their requests are in files or in the body."""

    def create(request: SimulatedRequest) -> SimulatedAnswer:
        asked = request.body
        raws = [*objects(asked.get("requests"))]
        for file in asked.get("input_files") or ():
            content = batches.files.find(request, file)[1]
            raws += [msgspec.json.decode(raw, type=dict[str, Any]) for raw in content.splitlines() if raw.strip()]
        named = {"model": asked["model"]} if asked.get("model") else {}
        lines = [SimulatedLine(raw["custom_id"], asked["endpoint"], {**named, **raw["body"]}) for raw in raws]
        return body(request, _mistral_shown(batches.make(request, "", lines)) | {"status": "QUEUED"})

    def show(request: SimulatedRequest) -> SimulatedAnswer:
        batch = batches.look(request)
        _keep_results(batches, request, batch)
        return body(request, _mistral_shown(batch))

    return {
        "job-create": free(SHAPE, create, "endpoint"),
        "job": free(SHAPE, show),
        "job-cancel": free(SHAPE, lambda request: body(request, _mistral_shown(batches.cancel(request)))),
    }


# Anthropic


def _anthropic_shown(request: SimulatedRequest, batch: Batch) -> Document:
    counts = batch.counts()
    ended = batch.ended is not None
    host = request.headers.get(b"host", b"127.0.0.1").decode("latin-1")
    results = f"http://{host}/{request.mount}/v1/messages/batches/{batch.id}/results"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "canceling" if batch.state == "cancelling" else "in_progress",
        "request_counts": {
            "processing": 0 if ended else len(batch.lines),
            "succeeded": counts["done"],
            "errored": counts["failed"],
            "expired": counts["expired"],
            "canceled": counts["cancelled"],
        },
        "created_at": _time(batch.made),
        "expires_at": _time(batch.made + 86_400),
        "ended_at": _time(batch.ended) if batch.ended is not None else None,
        "archived_at": None,
        "cancel_initiated_at": _time(batch.made) if batch.state in ("cancelling", "cancelled") else None,
        "results_url": results if ended else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _anthropic_result(line: SimulatedLine) -> Document:
    result: Document = {"type": "canceled" if line.end == "cancelled" else "expired"}
    if line.end == "done":
        message = {**line.answer, "usage": {**line.answer["usage"], "service_tier": "batch"}}
        result = {"type": "succeeded", "message": message}
    elif line.end == "failed":
        result = {"type": "errored", "error": line.answer}
    return {"custom_id": line.id, "result": result}


def anthropic_operations(batches: SimulatedBatches) -> dict[str, Operation]:
    """Create, poll, list, cancel and delete batches of messages, and fetch their results."""

    def create(request: SimulatedRequest) -> SimulatedAnswer:
        lines = [SimulatedLine(one["custom_id"], "/v1/messages", one["params"]) for one in request.body["requests"]]
        return anthropic.whole(_anthropic_shown(request, batches.make(request, "msgbatch_01", lines)))

    def results(request: SimulatedRequest) -> SimulatedAnswer:
        batch = batches.look(request)
        if batch.ended is None:
            raise SimulatedRefusal(400, "The batch has not finished processing.")
        return SimulatedAnswer(b"application/x-jsonl", _jsonl([_anthropic_result(line) for line in batch.lines]))

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        data = [_anthropic_shown(request, batch) for batch in batches.all(request)]
        ids = [one["id"] for one in data] or [None]
        return anthropic.whole({"data": data, "has_more": False, "first_id": ids[0], "last_id": ids[-1]})

    def delete(request: SimulatedRequest) -> SimulatedAnswer:
        return anthropic.whole({"id": batches.delete(request).id, "type": "message_batch_deleted"})

    def over(act: Callable[[SimulatedRequest], Batch]) -> Operation:
        return free(anthropic.SHAPE, lambda request: anthropic.whole(_anthropic_shown(request, act(request))))

    return {
        "create": free(anthropic.SHAPE, create, "requests"),
        "batch": over(batches.look),
        "cancel": over(batches.cancel),
        "results": free(anthropic.SHAPE, results),
        "batches": free(anthropic.SHAPE, listed),
        "delete": free(anthropic.SHAPE, delete),
    }


# Gemini

_GEMINI_STATES = {"work": "RUNNING", "cancelling": "RUNNING", "completed": "SUCCEEDED"}


def _gemini_shown(batch: Batch) -> Document:
    state = f"BATCH_STATE_{_GEMINI_STATES.get(batch.state, batch.state.upper())}"
    counts = batch.counts()
    asked = batch.asked.get("batch") or {}
    metadata: Document = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{batch.asked['model']}",
        "displayName": asked.get("displayName") or "",
        "createTime": _time(batch.made),
        "updateTime": _time(batch.ended or batch.made),
        "batchStats": {
            "requestCount": str(len(batch.lines)),
            "successfulRequestCount": str(counts["done"]),
            "failedRequestCount": str(counts["failed"]),
        },
        "state": state,
        "name": f"batches/{batch.id}",
    }
    shown: Document = {"name": f"batches/{batch.id}", "metadata": metadata}
    if batch.ended is not None:
        metadata["endTime"] = _time(batch.ended)
        shown["done"] = True
    if batch.state == "completed":
        output = {"inlinedResponses": {"inlinedResponses": [_gemini_result(line) for line in batch.lines]}}
        metadata["output"] = output
        shown["response"] = output
    return shown


def _gemini_result(line: SimulatedLine) -> Document:
    if line.end == "failed":
        error = line.answer.get("error") or {}
        return {"error": {"code": line.status, "message": error.get("message", "")}}
    return {"response": line.answer}


def gemini_done(act: Callable[[SimulatedRequest], Batch]) -> Operation:
    """The operation that answers with nothing but that it was done."""

    def answer(request: SimulatedRequest) -> SimulatedAnswer:
        act(request)
        return gemini.whole({})

    return free(gemini.SHAPE, answer)


def gemini_operations(batches: SimulatedBatches) -> dict[str, Operation]:
    """Create, poll, list, cancel and delete batches of requests in the body."""

    def create(request: SimulatedRequest) -> SimulatedAnswer:
        model = request.params["model"]
        asked = request.body["batch"].get("inputConfig") or request.body["batch"].get("input_config")
        if "requests" not in asked:
            raise SimulatedRefusal(400, "The simulator takes requests in the body alone.")
        path = f"/v1beta/models/{model}:generateContent"
        lines = [
            SimulatedLine(str(number), path, {name: value for name, value in one["request"].items() if name != "model"})
            for number, one in enumerate(asked["requests"]["requests"])
        ]
        request.body["model"] = model
        return gemini.whole(_gemini_shown(batches.make(request, "", lines)))

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        return gemini.whole({"operations": list(map(_gemini_shown, batches.all(request)))})

    return {
        "create": free(gemini.SHAPE, create, "batch"),
        "batch": free(gemini.SHAPE, lambda request: gemini.whole(_gemini_shown(batches.look(request)))),
        "batches": free(gemini.SHAPE, listed),
        "cancel": gemini_done(batches.cancel),
        "delete": gemini_done(batches.delete),
    }
