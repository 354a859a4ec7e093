"""Batches of Vertex AI and Bedrock, whose requests and results are objects in buckets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from . import bedrock, gemini
from .batches import Batch, SimulatedBatches, SimulatedLine, gemini_done
from .buckets import Buckets
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .wire import Document, encode

ReadLine = Callable[[Document], SimulatedLine]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lines(buckets: Buckets, uris: list[str], read: ReadLine) -> list[SimulatedLine]:
    found: list[SimulatedLine] = []
    for uri in uris:
        for number, raw in enumerate(buckets.get(uri).splitlines(), 1):
            if not raw.strip():
                continue
            try:
                found.append(read(msgspec.json.decode(raw, type=dict[str, Any])))
            except (msgspec.DecodeError, KeyError) as problem:
                raise SimulatedRefusal(400, f"Line {number} of {uri} is invalid: {problem}") from None
    return found


def _write(buckets: Buckets, batch: Batch, uri: str, result: Callable[[SimulatedLine], Document]) -> None:
    """Put the results of a batch that has ended into a bucket, once."""
    if batch.ended is None or batch.files != (None, None):
        return
    batch.files = (uri, None)
    done = [line for line in batch.lines if line.end in ("done", "failed")]
    if done:
        buckets.put(uri, b"".join(encode(result(line)) + b"\n" for line in done))


# Vertex AI

_STATES = {"work": "RUNNING", "cancelling": "CANCELLING", "completed": "SUCCEEDED"}


def _vertex_result(line: SimulatedLine) -> Document:
    if line.end == "done":
        return {**line.raw, "status": "", "response": line.answer}
    said = f"Bad Request: {encode(line.answer).decode()}"
    return {**line.raw, "status": said, "response": {}}


def _vertex_shown(batch: Batch) -> Document:
    asked, counts = batch.asked, batch.counts()
    shown: Document = {
        "name": f"{asked['place']}/batchPredictionJobs/{batch.id}",
        "displayName": asked.get("displayName", ""),
        "model": asked["model"],
        "inputConfig": asked["inputConfig"],
        "outputConfig": asked["outputConfig"],
        "state": f"JOB_STATE_{_STATES.get(batch.state, batch.state.upper())}",
        "createTime": _time(batch.made),
        "startTime": _time(batch.made),
        "updateTime": _time(batch.ended or batch.made),
    }
    if batch.ended is not None:
        shown["endTime"] = _time(batch.ended)
        shown["outputInfo"] = {"gcsOutputDirectory": _vertex_folder(batch)}
        done, failed = counts["done"], counts["failed"]
        stats = {"successfulCount": done, "failedCount": failed, "incompleteCount": len(batch.lines) - done - failed}
        shown["completionStats"] = {name: str(count) for name, count in stats.items() if count}
    return shown


def _vertex_folder(batch: Batch) -> str:
    prefix = str(batch.asked["outputConfig"]["gcsDestination"]["outputUriPrefix"]).rstrip("/")
    return f"{prefix}/prediction-model-{_time(batch.made)}-{batch.id}"


def vertex_operations(batches: SimulatedBatches, buckets: Buckets) -> dict[str, Operation]:
    """Create, poll, list, cancel and delete jobs of objects in Google Cloud Storage."""

    def create(request: SimulatedRequest) -> SimulatedAnswer:
        asked, place = request.body, request.params["place"]
        if "gcsSource" not in asked["inputConfig"] or "gcsDestination" not in asked["outputConfig"]:
            raise SimulatedRefusal(400, "The simulator takes requests from Cloud Storage alone.")
        model = asked["model"]

        def read(raw: Document) -> SimulatedLine:
            verb = "generateContent" if model.startswith("publishers/google/") else "rawPredict"
            return SimulatedLine(raw.get("custom_id", ""), f"/v1/{place}/{model}:{verb}", raw["request"], raw)

        lines = _lines(buckets, asked["inputConfig"]["gcsSource"]["uris"], read)
        asked["place"] = place
        batch = batches.make(request, "", lines)
        return gemini.whole(_vertex_shown(batch) | {"state": "JOB_STATE_PENDING"})

    def show(request: SimulatedRequest) -> SimulatedAnswer:
        batch = batches.look(request)
        _write(buckets, batch, f"{_vertex_folder(batch)}/predictions.jsonl", _vertex_result)
        return gemini.whole(_vertex_shown(batch))

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        return gemini.whole({"batchPredictionJobs": list(map(_vertex_shown, batches.all(request)))})

    return {
        "create": free(gemini.SHAPE, create, "model", "inputConfig", "outputConfig"),
        "batch": free(gemini.SHAPE, show),
        "batches": free(gemini.SHAPE, listed),
        "cancel": gemini_done(batches.cancel),
        "delete": gemini_done(batches.delete),
    }


# Bedrock

_STATUSES = {"work": "InProgress", "cancelling": "Stopping", "completed": "Completed", "cancelled": "Stopped"}


def _bedrock_result(line: SimulatedLine) -> Document:
    named = {"recordId": line.id, "modelInput": line.body}
    if line.end == "done":
        return {**named, "modelOutput": line.answer}
    return {**named, "error": {"errorCode": line.status, "errorMessage": str(line.answer.get("message", ""))}}


def _bedrock_shown(batch: Batch) -> Document:
    asked, counts = batch.asked, batch.counts()
    names = ("jobName", "modelId", "roleArn", "inputDataConfig", "outputDataConfig", "clientRequestToken")
    shown: Document = {
        "jobArn": batch.id,
        **{name: asked[name] for name in names if name in asked},
        "status": _STATUSES.get(batch.state, "Expired"),
        "submitTime": _time(batch.made),
        "lastModifiedTime": _time(batch.ended or batch.made),
        "modelInvocationType": asked.get("modelInvocationType", "InvokeModel"),
        "totalRecordCount": len(batch.lines),
        "processedRecordCount": counts["done"] + counts["failed"],
        "successRecordCount": counts["done"],
        "errorRecordCount": counts["failed"],
    }
    return shown | ({"endTime": _time(batch.ended)} if batch.ended is not None else {})


_ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"


def _by_arn(request: SimulatedRequest) -> SimulatedRequest:
    """A request that names a job by its short id, with the job's ARN instead."""
    id = request.params["id"]
    return request if id.startswith("arn:") else replace(request, params={**request.params, "id": f"{_ARN}{id}"})


def bedrock_operations(batches: SimulatedBatches, buckets: Buckets) -> dict[str, Operation]:
    """Create, poll, list and stop jobs of objects in Amazon S3."""

    def create(request: SimulatedRequest) -> SimulatedAnswer:
        asked = request.body
        token = asked.get("clientRequestToken")
        for batch in batches.all(request):
            if token is not None and batch.asked.get("clientRequestToken") == token:
                return _bedrock({"jobArn": batch.id})
        action = "converse" if asked.get("modelInvocationType") == "Converse" else "invoke"
        path = f"/model/{quote(asked['modelId'], safe='')}/{action}"
        source = asked["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        uris = [source] if source.endswith(".jsonl") else buckets.names(f"{source.rstrip('/')}/")
        lines = _lines(buckets, uris, lambda raw: SimulatedLine(raw["recordId"], path, raw["modelInput"], raw))
        return _bedrock({"jobArn": batches.make(request, _ARN, lines, 12).id})

    def show(request: SimulatedRequest) -> SimulatedAnswer:
        batch = batches.look(_by_arn(request))
        folder = batch.asked["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].rstrip("/")
        job = f"{folder}/{batch.id.rpartition('/')[2]}"
        source = str(batch.asked["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]).rstrip("/").rpartition("/")[2]
        _write(buckets, batch, f"{job}/{source.removesuffix('.jsonl')}.jsonl.out", _bedrock_result)
        if batch.ended is not None:
            shown = _bedrock_shown(batch)
            counted = {name: shown[name] for name in shown if name.endswith("RecordCount")}
            buckets.put(f"{job}/manifest.json.out", encode(counted))
        return _bedrock(_bedrock_shown(batch))

    def stop(request: SimulatedRequest) -> SimulatedAnswer:
        batches.cancel(_by_arn(request))
        return _bedrock({})

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        return _bedrock({"invocationJobSummaries": list(map(_bedrock_shown, batches.all(request)))})

    return {
        "create": free(bedrock.SHAPE, create, "modelId", "inputDataConfig", "outputDataConfig"),
        "batch": free(bedrock.SHAPE, show),
        "batches": free(bedrock.SHAPE, listed),
        "stop": free(bedrock.SHAPE, stop),
    }


def _bedrock(value: Document) -> SimulatedAnswer:
    return SimulatedAnswer(b"application/json", encode(value), headers=bedrock.headers())
