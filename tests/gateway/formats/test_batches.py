"""How each API is given batches, says how far they are, and returns their results."""

from __future__ import annotations

import json

import pytest

from paig_gateway.formats.base import Json, MalformedRequest
from paig_gateway.formats.batches import (
    ANTHROPIC,
    BEDROCK,
    GEMINI,
    MISTRAL,
    OPENAI,
    VERTEX,
    BatchApi,
    BatchContent,
    BatchRequest,
    LineResult,
    own_results_url,
    path_of_answer,
    place_of,
    result_objects,
    segment,
)


def test_what_a_batch_is_made_of() -> None:
    """A file's id, or the requests themselves."""
    assert OPENAI.read_content(b'{"input_file_id":"file-1","endpoint":"/v1/responses"}', None).files == ("file-1",)
    message = b'{"requests":[{"custom_id":"a","params":{"model":"claude-sonnet-4-5","max_tokens":5}}]}'
    assert ANTHROPIC.read_content(message, None).lines == [
        BatchRequest("a", "/v1/messages", b'{"model":"claude-sonnet-4-5","max_tokens":5}')
    ]
    inline = (
        b'{"batch":{"inputConfig":{"requests":{"requests":[{"request":{"contents":[]}},{"request":{"content":{}}}]}}}}'
    )
    paths = [line.path for line in GEMINI.read_content(inline, "gemini-2.5-flash").lines or ()]
    assert paths == ["/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:embedContent"]
    named = GEMINI.read_content(b'{"batch":{"input_config":{"file_name":"files/abc"}}}', "gemini-2.5-flash")
    assert (named.files, named.lines) == (("abc",), None)


def test_mistral_names_model_and_endpoint_once() -> None:
    """Its lines say neither, whether they stand in the body or in a file."""
    job = {"endpoint": "/v1/chat/completions", "model": "mistral-small-latest", "timeout_hours": 24}
    content = MISTRAL.read_content(json.dumps({**job, "input_files": ["f-1", {"file_id": "f-2"}]}).encode(), None)
    assert content == BatchContent(None, ("f-1", "f-2"), "/v1/chat/completions", "mistral-small-latest")
    line = MISTRAL.line(b'{"custom_id":"0","body":{"messages":[]}}', content)
    assert json.loads(line.body) == {"model": "mistral-small-latest", "messages": []}
    empty = MISTRAL.line(b'{"custom_id":"0","body":{}}', content)
    assert json.loads(empty.body) == {"model": "mistral-small-latest"}
    own = MISTRAL.line(b'{"custom_id":"0","body":{"model":"mistral-small-latest"}}', content)
    assert json.loads(own.body) == {"model": "mistral-small-latest"}
    with pytest.raises(MalformedRequest, match="another model"):
        MISTRAL.line(b'{"custom_id":"0","body":{"model":"other"}}', content)
    inline = {**job, "requests": [{"custom_id": "1", "body": {"messages": []}}]}
    [found] = MISTRAL.read_content(json.dumps(inline).encode(), None).lines or ()
    assert (found.id, found.path) == ("1", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("api", "line"),
    [
        (OPENAI, b"[]"),
        (OPENAI, b'{"url":"/v1/responses","body":{}}'),
        (OPENAI, b'{"custom_id":"a","body":{}}'),
        (OPENAI, b'{"custom_id":"a","url":"/v1/responses","body":[]}'),
        (OPENAI, b'{"custom_id":"%b","url":"/v1/responses","body":{}}' % (b"a" * 257)),
        (MISTRAL, b'{"custom_id":"a","body":{}}'),
        (GEMINI, b'{"request":{}}'),
        (ANTHROPIC, b'{"custom_id":"a","params":{}}'),
        (OPENAI, b'{"custom_id":"a","url":"/v1/responses","body":{},"body":{"n":9}}'),
        (OPENAI, b'{"custom_id":"a","url":"/v1/responses","Url":"/v1/completions","body":{}}'),
        (GEMINI, b'{"key":"a","request":{},"request":{"contents":[]}}'),
    ],
)
def test_lines_that_are_no_requests(api: BatchApi, line: bytes) -> None:
    """Each is refused in words."""
    with pytest.raises(MalformedRequest):
        api.line(line, BatchContent())


INLINE = b'"requests":{"requests":[{"request":{"contents":[]}}]}'


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (GEMINI, b'{"batch":{"inputConfig":{%b},"input_config":{"file_name":"files/dear"}}}' % INLINE),
        (GEMINI, b'{"batch":{"inputConfig":{%b,"fileName":"files/dear"}}}' % INLINE),
        (GEMINI, b'{"batch":{"inputConfig":{"fileName":"files/a","file_name":"files/b"}}}'),
        (GEMINI, b'{"batch":{"inputConfig":{"fileName":"files/a"},"inputConfig":{"fileName":"files/b"}}}'),
        (MISTRAL, b'{"endpoint":"/v1/x","input_files":["f"],"requests":[{"custom_id":"a","body":{}}]}'),
        (ANTHROPIC, b'{"requests":[{"custom_id":"a","params":{},"params":{"max_tokens":9}}]}'),
    ],
)
def test_batches_with_two_readings(api: BatchApi, body: bytes) -> None:
    """A provider may take the lines that the gateway did not hold for."""
    with pytest.raises(MalformedRequest):
        api.read_content(body, "m")


def test_states() -> None:
    """Which words mean that all results are there, and where they are."""
    done = OPENAI.state({"status": "completed", "output_file_id": "o", "error_file_id": "e"})
    assert (done.ended, done.is_complete, done.results) == (True, True, ("files/o/content", "files/e/content"))
    expired = OPENAI.state({"status": "expired", "output_file_id": "o", "request_counts": {"completed": 3}})
    assert (expired.ended, expired.is_complete, expired.answered) == (True, False, 3)
    assert not any(OPENAI.state({"status": word}).ended for word in ("validating", "in_progress", "cancelling", ""))
    assert MISTRAL.state({"status": "TIMEOUT_EXCEEDED", "output_file": "o"}).results == ("files/o/content",)
    assert ANTHROPIC.state({"id": "b", "processing_status": "ended"}).results == ("messages/batches/b/results",)
    assert not ANTHROPIC.state({"processing_status": "canceling"}).ended
    assert not GEMINI.state({"metadata": {"state": "BATCH_STATE_RUNNING"}}).ended
    file = GEMINI.state({"metadata": {"state": "JOB_STATE_SUCCEEDED", "output": {"responsesFile": "files/x"}}})
    assert file.results == ("files/x:download?alt=media",)
    answers = [{"response": {"usageMetadata": {}}}, {"error": {"code": 3, "message": "no"}}]
    inline = GEMINI.state({"done": True, "response": {"inlinedResponses": {"inlinedResponses": answers}}})
    assert inline.inline == (LineResult("0", 200, {"usageMetadata": {}}), LineResult("1", 400, None, "3"))


def test_results() -> None:
    """What each API says of a line."""
    good = {"custom_id": "a", "response": {"status_code": 200, "body": {"usage": {}}}, "error": None}
    assert OPENAI.result(good) == LineResult("a", 200, {"usage": {}})
    bad = {"custom_id": "a", "response": {"status_code": 429, "body": {"error": {}}}, "error": {"code": "slow"}}
    assert OPENAI.result(bad) == LineResult("a", 429, None, "slow")
    late = {"custom_id": "a", "response": None, "error": {"code": "batch_expired"}}
    assert OPENAI.result(late) == LineResult("a", None, None, "batch_expired")
    assert OPENAI.result({"id": "no custom id"}) is None
    answered = {"custom_id": "a", "result": {"type": "succeeded", "message": {"usage": {}}}}
    assert ANTHROPIC.result(answered) == LineResult("a", 200, {"usage": {}})
    assert ANTHROPIC.result({"custom_id": "a", "result": {"type": "canceled"}}) == LineResult(
        "a", None, None, "canceled"
    )
    wrong = {"type": "errored", "error": {"type": "error", "error": {"type": "invalid_request_error"}}}
    assert ANTHROPIC.result({"custom_id": "a", "result": wrong}) == LineResult("a", 400, None, "invalid_request_error")
    assert GEMINI.result({"key": "k", "response": {"a": 1}}) == LineResult("k", 200, {"a": 1})


def test_paths_of_batches() -> None:
    """A batch is below the request that made it; Gemini's are not."""
    assert OPENAI.at("/openai/v1/batches?api-version=2024", "b") == "/openai/v1/batches/b?api-version=2024"
    assert ANTHROPIC.at("/v1/messages/batches/", "b") == "/v1/messages/batches/b"
    assert GEMINI.at("/v1beta/models/gemini-2.5-flash:batchGenerateContent", "b") == "/v1beta/batches/b"
    assert GEMINI.at("models/gemini-2.5-flash:batchGenerateContent", "b") == "/batches/b"
    assert GEMINI.id({"name": "batches/b"}) == "b"


def test_places_beside_a_batch() -> None:
    """They have the prefix and the version of the request that made the batch; an id stays one segment."""
    assert place_of("/openai/v1/batches?api-version=2", "files/f/content") == "/openai/v1/files/f/content?api-version=2"
    assert place_of("/v1/batch/jobs", "files/f/content") == "/v1/files/f/content"
    assert place_of("/v1/messages/batches/", "messages/batches/b/results") == "/v1/messages/batches/b/results"
    assert place_of("/v1beta/models/m:batchGenerateContent", "files/f:download?alt=media") == (
        "/v1beta/files/f:download?alt=media"
    )
    assert [segment(id) for id in ("file-1", "../x", "..", "a?b#c", "")] == ["file-1", "..%2Fx", "-", "a%3Fb%23c", "-"]


def test_results_url_stays_at_the_gateway() -> None:
    """Only the address of results is made relative, and no other byte changes."""
    body = b'{"id":"b", "results_url" : "https://api.anthropic.com/v1/messages/batches/b/results", "x":"https://a/v1"}'
    assert own_results_url(body) == (
        b'{"id":"b", "results_url" : "/v1/messages/batches/b/results", "x":"https://a/v1"}'
    )
    assert own_results_url(b'{"results_url":null}') == b'{"results_url":null}'


def test_answers_tell_what_was_asked() -> None:
    """For lines that were not read."""
    assert path_of_answer({"object": "chat.completion"}) == "/v1/chat/completions"
    assert path_of_answer({"type": "message"}) == "/v1/messages"
    assert path_of_answer({"modelVersion": "gemini-2.5-flash"}) == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert path_of_answer({"object": "moderation"}) is None


VERTEX_JOB = {
    "model": "publishers/google/models/gemini-2.5-flash",
    "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://b/in.jsonl"]}},
    "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://b/out"}},
}


@pytest.mark.parametrize(
    ("model", "line", "verb", "body"),
    [
        ("publishers/google/models/m", {"request": {"contents": []}}, ":generateContent", {"contents": []}),
        ("publishers/google/models/m", {"request": {"content": {}}}, ":embedContent", {"content": {}}),
        ("publishers/google/models/m", {"content": "x"}, ":predict", {"instances": [{"content": "x"}]}),
        ("publishers/anthropic/models/m", {"request": {"messages": []}}, ":rawPredict", {"messages": []}),
        ("publishers/meta/models/m", {"body": {"model": "meta/m"}}, ":rawPredict", {"model": "meta/m"}),
        ("models/7", {"request": {"contents": []}}, ":generateContent", {"contents": []}),
    ],
)
def test_what_a_line_asks_at_vertex(model: str, line: object, verb: str, body: object) -> None:
    """The job's model decides where a line would go alone."""
    named = f"projects/p/locations/l/{model}" if model.startswith("models/") else model
    content = VERTEX.read_content(json.dumps({**VERTEX_JOB, "model": named}).encode(), None)
    assert (content.sources, content.destination) == (("gs://b/in.jsonl",), "gs://b/out")
    assert content.model == model.rpartition("/")[2]
    found = VERTEX.line(json.dumps(line).encode(), content)
    assert (found.id, found.path, json.loads(found.body)) == ("", f"{model}{verb}", body)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ({"status": "", "response": {"usageMetadata": {}}, "key": "k"}, LineResult("k", 200, {"usageMetadata": {}})),
        ({"status": "Bad Request: no", "response": {}}, LineResult("", 400, None, "Bad Request")),
        (
            {"custom_id": "c", "response": {"type": "error", "error": {"type": "overloaded_error"}}},
            LineResult("c", 400, None, "overloaded_error"),
        ),
        (
            {"custom_id": "c", "response": {"status_code": 200, "body": {"usage": {}}}},
            LineResult("c", 200, {"usage": {}}),
        ),
        ({"instance": {}, "predictions": [{}], "status": ""}, LineResult("", 200, {"predictions": [{}]})),
        ({"odd": 1}, None),
    ],
)
def test_results_of_vertex(line: Json, found: LineResult | None) -> None:
    """An answer, an error, or no result at all."""
    assert VERTEX.result(line) == found


def test_jobs_of_bedrock() -> None:
    """Where its records and results are, and how far it is."""
    job = {
        "modelId": "us.amazon.nova-lite-v1:0",
        "modelInvocationType": "Converse",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://b/in/"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/out/"}},
    }
    content = BEDROCK.read_content(json.dumps(job).encode(), None)
    assert (content.sources, content.destination) == (("s3://b/in/",), "s3://b/out/")
    line = BEDROCK.line(b'{"recordId":"r","modelInput":{"messages":[]}}', content)
    assert line == BatchRequest("r", "model/us.amazon.nova-lite-v1%3A0/converse", b'{"messages":[]}')
    with pytest.raises(MalformedRequest, match="another model"):
        BEDROCK.line(b'{"recordId":"r","modelInput":{"model":"other"}}', content)
    with pytest.raises(MalformedRequest, match="id of its own"):
        BEDROCK.line(b'{"modelInput":{}}', content)
    arn = "arn:aws:bedrock:us-east-1:1:model-invocation-job/abc"
    state = BEDROCK.state({**job, "jobArn": arn, "status": "PartiallyCompleted", "successRecordCount": 3})
    assert (state.ended, state.is_complete, state.answered) == (True, False, 3)
    assert state.results == ("s3://b/out/abc/",)
    assert BEDROCK.at("/model-invocation-job", arn).endswith("model-invocation-job%2Fabc")
    failed = BEDROCK.result({"recordId": "r", "error": {"errorCode": 400, "errorMessage": "no"}})
    assert failed == LineResult("r", 400, None, "400")


def test_parts_of_results_are_left_out() -> None:
    """What Vertex AI writes while a job runs is in the whole results again."""
    whole = ["gs://b/o/predictions_00001.jsonl"]
    assert result_objects(["gs://b/o/incremental_predictions.jsonl", *whole, "gs://b/o/errors"]) == whole
    assert result_objects(["gs://b/o/incremental_predictions.jsonl"]) == ["gs://b/o/incremental_predictions.jsonl"]
    assert result_objects(["s3://b/j/in.jsonl.out", "s3://b/j/manifest.json.out"]) == ["s3://b/j/in.jsonl.out"]
