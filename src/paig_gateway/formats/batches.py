"""Batch APIs: how a batch is created, how its state is read, and how its results are returned.

OpenAI's API (also Groq's and Azure's) makes batches of the lines of a file, Mistral's of a file or of requests in the
body, Anthropic's of requests in the body, Gemini's of either; Vertex AI and Bedrock of objects in a bucket. What a line
asks is read by the format of its own endpoint; which one that is, is only named here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from paig_gateway.formats import reading
from paig_gateway.formats.ambiguity import read_once
from paig_gateway.formats.base import Call, ErrorShape, Format, Json, MalformedRequest
from paig_gateway.formats.folding import dig, each, mapping
from paig_gateway.formats.reading import Members
from paig_gateway.formats.references import last_name

LONGEST_ID = 256
"""Characters of what a batch calls one of its lines; OpenAI and Anthropic take 64."""

_NOWHERE = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a batch.

    Attributes:
        id: What the batch calls it; empty if it has no name of its own.
        path: The path that it would be sent to alone; {model} stands for a model that only the batch names.
        body: Its body.
    """

    id: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class BatchContent:
    """The content of a request that creates a batch.

    Attributes:
        lines: Its requests, if they are in its body.
        files: The ids of the files with its requests, if they are not in its body.
        path: The path of all its requests, if the batch states it; below the API's version prefix, if they are in a
            bucket.
        model: The model of all its requests, if the batch states it.
        sources: The URIs of the objects, or of the folders of objects, with its requests.
        destination: The URI of the folder for its results.
    """

    lines: Iterable[BatchRequest] | None = None
    files: tuple[str, ...] = ()
    path: str | None = None
    model: str | None = None
    sources: tuple[str, ...] = ()
    destination: str | None = None


@dataclass(frozen=True, slots=True)
class LineResult:
    """The result of one request of a batch.

    Attributes:
        id: What the batch calls it; empty if it has no name of its own.
        status: The status that it would have had alone.
        body: The answer, or None.
        error: What the provider calls the error, or None.
    """

    id: str
    status: int | None
    body: Json | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    Attributes:
        name: The provider's word for it.
        ended: Whether all of its results are there.
        results: Paths of the results, after the API's version prefix, with their query; or the URI of their folder in a
            bucket.
        inline: The results, if they are in the batch itself.
        usage: The usage of the whole batch, if the provider states it.
        model: The requested model, if it is stated.
        answered: The number of answered requests, if the provider states it or it never began.
    """

    name: str
    ended: bool
    results: tuple[str, ...] = ()
    inline: tuple[LineResult, ...] | None = None
    usage: Json | None = None
    model: str | None = None
    answered: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it came to its own end, so that each of its requests has a result."""
        return self.ended and self.name not in BROKEN_OFF


BROKEN_OFF = frozenset({"failed", "expired", "cancelled", "timeout_exceeded", "stopped", "partiallycompleted"})
"""What the APIs call batches whose requests are not all done: what has no result was not done, and costs nothing."""


@dataclass(frozen=True, slots=True)
class BatchApi:
    """An API's batches.

    Attributes:
        format: The format of the request that makes one.
        read_content: Reads that request: its body, and the model that its path names. Raises MalformedRequest.
        line: Reads a line of a file: its bytes, and what the batch says of all lines. Raises MalformedRequest.
        id: The batch's id in an answer about it, or None.
        at: The path of a batch: that of the request that made it, and the batch's id.
        state: Reads an answer about it.
        result: Reads a line of its results; None if it is not one.
        lifetime: After how long nothing can be had any more: the longest window and how long results are kept.
        in_bucket: Whether its requests and results are in a bucket.
    """

    format: Format
    read_content: Callable[[bytes, str | None], BatchContent]
    line: Callable[[bytes, BatchContent], BatchRequest]
    id: Callable[[Json], str | None]
    at: Callable[[str, str], str]
    state: Callable[[Json], BatchState]
    result: Callable[[Json], LineResult | None]
    lifetime: timedelta
    in_bucket: bool = False


def _format(name: str, errors: ErrorShape, read: Callable[[str | None, bytes], Call], title: str = "") -> Format:
    return Format(name=name, path=_NOWHERE, read=read, errors=errors, batch=True, title=title)


def _checked_id(id: str | None, place: str) -> str:
    if not id:
        raise MalformedRequest(f"{place} needs an id of its own, as a string.")
    if len(id) > LONGEST_ID:
        raise MalformedRequest(f"{place} has an id of more than {LONGEST_ID} characters.")
    return id


def _object(top: Members, name: str, id: str) -> bytes:
    raw = top.get(name)
    if raw is None or bytes(memoryview(raw)[:1]) != b"{":
        raise MalformedRequest(f"The request '{id}' of the batch has no \"{name}\" that is a JSON object.")
    return bytes(raw)


# OpenAI, Azure, Groq and servers like them


def _read_openai(model: str | None, body: bytes) -> Call:
    top = reading.request(body)
    return Call(model="", background=True, stored=reading.string(top.get("input_file_id")))


def _openai_content(body: bytes, model: str | None) -> BatchContent:
    file = reading.string(reading.request(body).get("input_file_id"))
    return BatchContent(files=(file,) if file else ())


def _openai_line(line: bytes, content: BatchContent) -> BatchRequest:
    top = read_once(line, "the line")
    id = _checked_id(reading.string(top.get("custom_id")), "Each line")
    path = reading.string(top.get("url"))
    if not path:
        raise MalformedRequest(f"The line '{id}' names no \"url\", such as /v1/chat/completions.")
    return BatchRequest(id, path, _object(top, "body", id))


def _text_id(body: Json) -> str | None:
    found = body.get("id")
    return found if isinstance(found, str) and found else None


def segment(id: str) -> str:
    """An id as one segment of a path, whatever is in it."""
    return quote(id, safe="") if id.strip(".") else "-"


def _below(path: str, id: str) -> str:
    plain, mark, query = path.partition("?")
    return f"{plain.rstrip('/')}/{segment(id)}{mark}{query}"


_OPENAI_ENDS = frozenset({"completed", "failed", "expired", "cancelled"})


def _texts(*values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def _openai_state(body: Json) -> BatchState:
    name = str(body.get("status") or "").lower()
    files = _texts(body.get("output_file_id"), body.get("error_file_id"))
    usage, model = mapping(body.get("usage")), body.get("model")
    return BatchState(
        name,
        name in _OPENAI_ENDS,
        tuple(f"files/{segment(id)}/content" for id in files),
        usage=usage if usage.get("total_tokens") else None,
        model=model if isinstance(model, str) else None,
        answered=_status(dig(body, "request_counts", "completed")),
    )


def _status(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _openai_result(line: Json) -> LineResult | None:
    id = line.get("custom_id")
    if not isinstance(id, str):
        return None
    response = mapping(line.get("response"))
    status, body = _status(response.get("status_code")), mapping(response.get("body"))
    error = dig(line, "error", "code") or dig(body, "error", "type") or dig(body, "error", "code")
    if line.get("error") and not error:
        error = "error"
    answered = status is not None and status < 400 and not line.get("error")
    return LineResult(id, status, body if answered else None, str(error)[:100] if error else None)


# Mistral


def _read_mistral(model: str | None, body: bytes) -> Call:
    content = _mistral_content(body, model)
    return Call(model=content.model or "", background=True, stored=content.files[0] if content.files else None)


def _mistral_content(body: bytes, model: str | None) -> BatchContent:
    top = reading.request(body)
    named = [reading.string(raw) or reading.string(reading.members(raw).get("file_id")) for raw in _files(top)]
    path = reading.string(top.get("endpoint"))
    of_all = BatchContent(None, tuple(filter(None, named)), path, reading.string(top.get("model")))
    if not (requests := reading.array(top.get("requests"))):
        return of_all
    if of_all.files:
        raise MalformedRequest('The batch has both "requests" and "input_files": give one of them.')
    return BatchContent([_mistral_line(bytes(raw), of_all) for raw in requests], (), path, of_all.model)


def _files(top: Members) -> list[reading.Raw]:
    return list(reading.array(top.get("input_files")))


def _mistral_line(line: bytes, content: BatchContent) -> BatchRequest:
    top = read_once(line, "the line")
    id = _checked_id(reading.string(top.get("custom_id")), "Each request of the batch")
    if content.path is None:
        raise MalformedRequest('The batch names no "endpoint", such as /v1/chat/completions.')
    body = _object(top, "body", id)
    inner = reading.members(body)
    if content.model and "model" in inner and reading.string(inner["model"]) != content.model:
        raise MalformedRequest(f"The request '{id}' of the batch names another model than the batch: name one.")
    if content.model and "model" not in inner:
        body = b'{"model":' + json.dumps(content.model).encode() + (b"," if inner else b"") + body[1:]
    return BatchRequest(id, content.path, body)


_MISTRAL_ENDS = frozenset({"success", "failed", "timeout_exceeded", "cancelled"})


def _mistral_state(body: Json) -> BatchState:
    name = str(body.get("status") or "").lower()
    files = _texts(body.get("output_file"), body.get("error_file"))
    found = [one for each_one in each(body.get("outputs")) if (one := _openai_result(mapping(each_one))) is not None]
    return BatchState(
        name,
        name in _MISTRAL_ENDS,
        tuple(f"files/{segment(id)}/content" for id in files),
        tuple(found) if found else None,
        answered=_status(body.get("succeeded_requests")),
    )


# Anthropic


def _read_anthropic(model: str | None, body: bytes) -> Call:
    reading.request(body)
    return Call(model="", background=True)


def _anthropic_content(body: bytes, model: str | None) -> BatchContent:
    return BatchContent([_anthropic_line(top) for top in _requests(reading.request(body).get("requests"))])


def _requests(raw: reading.Raw | None) -> Iterator[Members]:
    for one in reading.array(raw):
        if not reading.members(one):
            raise MalformedRequest("Each request of the batch must be a JSON object.")
        yield read_once(bytes(one), "the request")


def _anthropic_line(top: Members) -> BatchRequest:
    id = _checked_id(reading.string(top.get("custom_id")), "Each request of the batch")
    return BatchRequest(id, "/v1/messages", _object(top, "params", id))


def _no_file(line: bytes, content: BatchContent) -> BatchRequest:
    raise MalformedRequest("Batches of this API are not made of files.")


def _anthropic_state(body: Json) -> BatchState:
    name = str(body.get("processing_status") or "")
    paths = (f"messages/batches/{segment(str(body.get('id')))}/results",)
    return BatchState(name, name == "ended", paths, answered=_status(dig(body, "request_counts", "succeeded")))


def _anthropic_result(line: Json) -> LineResult | None:
    id, result = line.get("custom_id"), mapping(line.get("result"))
    if not isinstance(id, str):
        return None
    kind = result.get("type")
    if kind == "succeeded":
        return LineResult(id, 200, mapping(result.get("message")))
    error = dig(result, "error", "error", "type") or dig(result, "error", "type") or kind or "error"
    return LineResult(id, 400 if kind == "errored" else None, None, str(error)[:100])


# Gemini


def _read_gemini(model: str | None, body: bytes) -> Call:
    config = _gemini_config(body)
    file = _both(config, "fileName", "file_name")
    return Call(model=model or "", background=True, stored=last_name(file) if file else None)


def _both(top: Members, camel: str, snake: str) -> str | None:
    return reading.string(top.get(camel)) or reading.string(top.get(snake))


def _gemini_config(body: bytes) -> Members:
    batch = reading.request(body).get("batch")
    if not reading.members(batch):
        return {}
    top = read_once(bytes(batch or b""), "batch")
    config = top.get("inputConfig") or top.get("input_config")
    return read_once(bytes(config), "batch.inputConfig") if config is not None and reading.members(config) else {}


def _gemini_content(body: bytes, model: str | None) -> BatchContent:
    config = _gemini_config(body)
    if file := _both(config, "fileName", "file_name"):
        if reading.present(config.get("requests")):
            raise MalformedRequest('The batch has both "requests" and a file: give one of them.')
        return BatchContent(None, (last_name(file),), model=model)
    lines = [
        BatchRequest(str(number), _gemini_path(top), _object(top, "request", str(number)))
        for number, top in enumerate(_requests(reading.members(config.get("requests")).get("requests")))
    ]
    return BatchContent(lines or None, model=model)


def _gemini_path(top: Members) -> str:
    """Where a line would be sent to: an embedding has one content, everything else a list of them."""
    embeds = "content" in reading.members(top.get("request"))
    return f"/v1beta/models/{{model}}:{'embedContent' if embeds else 'generateContent'}"


def _gemini_line(line: bytes, content: BatchContent) -> BatchRequest:
    top = read_once(line, "the line")
    id = _checked_id(reading.string(top.get("key")), "Each line")
    return BatchRequest(id, _gemini_path(top), _object(top, "request", id))


def _gemini_id(body: Json) -> str | None:
    name = body.get("name")
    return last_name(name) if isinstance(name, str) and name else None


_VERSION = re.compile(r"^(.*?)(?:^|/)models/")


def _gemini_at(path: str, id: str) -> str:
    found = _VERSION.match(path)
    return f"{found[1] if found else ''}/batches/{segment(id)}"


def _gemini_state(body: Json) -> BatchState:
    name = str(dig(body, "metadata", "state") or "").rpartition("STATE_")[2].lower()
    ended = name in ("succeeded", "failed", "cancelled", "expired", "partially_succeeded") or body.get("done") is True
    output = mapping(dig(body, "metadata", "output")) or mapping(body.get("response"))
    file = output.get("responsesFile")
    inline: tuple[LineResult, ...] | None = None
    for kind in ("inlinedResponses", "inlinedEmbedContentResponses"):
        if isinstance(found := dig(output, kind, "inlinedResponses"), list):
            inline = tuple(_gemini_answer(str(number), mapping(one)) for number, one in enumerate(found))
    paths = (f"files/{segment(last_name(file))}:download?alt=media",) if isinstance(file, str) and file else ()
    return BatchState(name, ended, paths, inline)


def _gemini_answer(id: str, one: Json) -> LineResult:
    error = mapping(one.get("error"))
    if error:
        status = error.get("status") or error.get("code") or "error"
        return LineResult(id, 400, None, str(status)[:100])
    return LineResult(id, 200, mapping(one.get("response")))


def _gemini_result(line: Json) -> LineResult | None:
    id = line.get("key")
    return _gemini_answer(id, line) if isinstance(id, str) else None


# Vertex AI


def _read_job(model: str | None, body: bytes) -> Call:
    reading.request(body)
    return Call(model="", background=True)


def _below_either(top: Members, camel: str, snake: str) -> Members:
    raw = top.get(camel) or top.get(snake)
    return read_once(bytes(raw), camel) if raw is not None and reading.members(raw) else {}


def _strings(raw: reading.Raw | None) -> tuple[str, ...]:
    listed = [reading.string(one) or "" for one in reading.array(raw)]
    return tuple(listed) if all(listed) else ()


def _vertex_content(body: bytes, model: str | None) -> BatchContent:
    top = read_once(body, "the batch")
    config, output = (_below_either(top, f"{one}Config", f"{one}_config") for one in ("input", "output"))
    source = _below_either(config, "gcsSource", "gcs_source")
    destination = _below_either(output, "gcsDestination", "gcs_destination")
    named = reading.string(top.get("model")) or ""
    is_jsonl = _both(config, "instancesFormat", "instances_format") == "jsonl"
    return BatchContent(
        path=_VERTEX_MODEL.sub("", named),
        model=last_name(named),
        sources=_strings(source.get("uris")) if is_jsonl else (),
        destination=_both(destination, "outputUriPrefix", "output_uri_prefix"),
    )


_VERTEX_MODEL = re.compile(r"^(?:projects/[^/]+/locations/[^/]+/|/)+")


def _own_model(raw: bytes, content: BatchContent) -> bytes:
    """A line's request, which may name no other model than the batch."""
    named = reading.members(raw).get("model")
    if reading.present(named) and last_name(reading.string(named) or "") != content.model:
        raise MalformedRequest("A request of the batch names another model than the batch.")
    return raw


def _vertex_line(line: bytes, content: BatchContent) -> BatchRequest:
    top = read_once(line, "the line")
    id = reading.string(top.get("custom_id")) or reading.string(top.get("key")) or ""
    id = _checked_id(id, "A line") if id else ""
    path = content.path or ""
    if "request" not in top and "content" in top:
        return BatchRequest(id, f"{path}:predict", b'{"instances":[' + line + b"]}")
    member = "request" if "request" in top else "body"
    raw = _own_model(_object(top, member, id), content)
    if "publishers/" in path and "publishers/google/" not in path:
        return BatchRequest(id, f"{path}:rawPredict", raw)
    return BatchRequest(id, f"{path}:{'embedContent' if 'content' in reading.members(raw) else 'generateContent'}", raw)


def _count(value: object) -> int | None:
    """A count, which Google's JSON writes as a string."""
    return int(value) if isinstance(value, str) and value.isdecimal() else _status(value)


def _vertex_state(body: Json) -> BatchState:
    name = str(body.get("state") or "").rpartition("STATE_")[2].lower()
    ended = name in ("succeeded", "failed", "cancelled", "expired", "partially_succeeded")
    folder = dig(body, "outputInfo", "gcsOutputDirectory")
    results, stats = _texts(folder), mapping(body.get("completionStats"))
    # Google leaves out what is zero, and `startTime` where a job never ran.
    answered = _count(stats.get("successfulCount", 0)) if stats or not body.get("startTime") else None
    return BatchState(name, ended, results, answered=answered)


def _vertex_result(line: Json) -> LineResult | None:
    if line.keys().isdisjoint(("response", "predictions", "status", "error")):
        return None
    id = next(iter(_texts(line.get("custom_id"), line.get("key"))), "")
    body = mapping(line.get("response"))
    if "status_code" in body:  # a model with OpenAI's API
        body = mapping(body.get("body"))
    if line.get("predictions"):
        body = {"predictions": line["predictions"]}
    if body and "error" not in body and not line.get("error"):
        return LineResult(id, 200, body)
    said = line.get("status") or dig(body, "error", "type") or dig(body, "error", "status") or "error"
    return LineResult(id, 400, None, str(said).partition(":")[0][:100])


# Bedrock


def _bedrock_content(body: bytes, model: str | None) -> BatchContent:
    top = read_once(body, "the batch")
    places = [
        reading.string(_below_either(_below_either(top, outer, outer), inner, inner).get("s3Uri"))
        for outer, inner in (("inputDataConfig", "s3InputDataConfig"), ("outputDataConfig", "s3OutputDataConfig"))
    ]
    named, kind = reading.string(top.get("modelId")) or "", reading.string(top.get("modelInvocationType"))
    return BatchContent(
        path=f"model/{segment(named)}/{'converse' if kind == 'Converse' else 'invoke'}",
        model=named,
        sources=(places[0],) if places[0] else (),
        destination=places[1],
    )


def _bedrock_line(line: bytes, content: BatchContent) -> BatchRequest:
    top = read_once(line, "the line")
    id = _checked_id(reading.string(top.get("recordId")), "Each line")
    return BatchRequest(id, content.path or "", _own_model(_object(top, "modelInput", id), content))


def _bedrock_id(body: Json) -> str | None:
    found = body.get("jobArn")
    return found if isinstance(found, str) and found else None


_BEDROCK_ENDS = frozenset({"completed", "partiallycompleted", "failed", "stopped", "expired"})


def _bedrock_state(body: Json) -> BatchState:
    name = str(body.get("status") or "").lower()
    folder, job = dig(body, "outputDataConfig", "s3OutputDataConfig", "s3Uri"), str(body.get("jobArn") or "")
    results = tuple(f"{one.rstrip('/')}/{job.rpartition('/')[2]}/" for one in _texts(folder))
    answered = _status(body.get("successRecordCount"))
    return BatchState(name, "jobArn" in body and name in _BEDROCK_ENDS, results, answered=answered)


def _bedrock_result(line: Json) -> LineResult | None:
    id, output = line.get("recordId"), mapping(line.get("modelOutput"))
    if not isinstance(id, str):
        return None
    if output and not line.get("error"):
        return LineResult(id, 200, output)
    code = dig(line, "error", "errorCode")
    return LineResult(id, _status(code), None, str(code or "error")[:100])


def result_objects(uris: Iterable[str]) -> list[str]:
    """The objects of a folder that have results, without the parts that Vertex AI writes while a batch runs."""
    found = [uri for uri in uris if uri.endswith((".jsonl", ".jsonl.out"))]
    whole = [uri for uri in found if not uri.rpartition("/")[2].startswith("incremental")]
    return whole or found


OPENAI = BatchApi(
    _format("openai-batch", "openai", _read_openai),
    _openai_content,
    _openai_line,
    _text_id,
    _below,
    _openai_state,
    _openai_result,
    # A day's window, and files are kept for thirty days (platform.openai.com/docs/guides/batch); Groq takes a week.
    timedelta(days=38),
)
MISTRAL = BatchApi(
    _format("mistral-batch", "openai", _read_mistral),
    _mistral_content,
    _mistral_line,
    _text_id,
    _below,
    _mistral_state,
    _openai_result,
    # A week at most (timeout_hours); how long files are kept is not documented.
    timedelta(days=15),
)
ANTHROPIC = BatchApi(
    _format("anthropic-batch", "anthropic", _read_anthropic),
    _anthropic_content,
    _no_file,
    _text_id,
    _below,
    _anthropic_state,
    _anthropic_result,
    # Results are kept for 29 days after the batch was made (docs.anthropic.com, message batches).
    timedelta(days=29),
)
GEMINI = BatchApi(
    _format("gemini-batch", "google", _read_gemini),
    _gemini_content,
    _gemini_line,
    _gemini_id,
    _gemini_at,
    _gemini_state,
    _gemini_result,
    # A batch expires after 48 hours (ai.google.dev/gemini-api/docs/batch-api), and files are kept for as long.
    timedelta(days=5),
)

VERTEX = BatchApi(
    _format("vertex-batch", "google", _read_job, "POST /batchPredictionJobs"),
    _vertex_content,
    _vertex_line,
    _gemini_id,
    _below,
    _vertex_state,
    _vertex_result,
    # It waits for three days at most and runs for one (cloud.google.com/vertex-ai, batch inference).
    timedelta(days=10),
    in_bucket=True,
)
BEDROCK = BatchApi(
    _format("bedrock-batch", "bedrock", _read_job, "POST /model-invocation-job"),
    _bedrock_content,
    _bedrock_line,
    _bedrock_id,
    _below,
    _bedrock_state,
    _bedrock_result,
    # A week at most (timeoutDurationInHours).
    timedelta(days=14),
    in_bucket=True,
)

APIS: Mapping[str, BatchApi] = {api.format.name: api for api in (OPENAI, MISTRAL, ANTHROPIC, GEMINI, VERTEX, BEDROCK)}
"""By the name of the format."""

_OBJECTS = {
    "chat.completion": "/v1/chat/completions",
    "response": "/v1/responses",
    "list": "/v1/embeddings",
    "text_completion": "/v1/completions",
    "message": "/v1/messages",
}


def path_of_answer(body: Json) -> str | None:
    """The path of the request that an answer belongs to, or None if it cannot be told."""
    kind = body.get("object") or body.get("type")
    if isinstance(kind, str) and kind in _OBJECTS:
        return _OBJECTS[kind]
    model = body.get("modelVersion")
    return f"/v1beta/models/{model}:generateContent" if isinstance(model, str) and model else None


def model_of_answer(body: Json) -> str:
    """The model in an answer; empty if there is none."""
    found = body.get("model") or body.get("modelVersion")
    return found if isinstance(found, str) else ""


def place_of(path: str, below: str) -> str:
    """The path of something beside a batch: what the request that made the batch, or a look at it, has before it.

    Args:
        path: The path of that request, with a query where it had one.
        below: The path below the version prefix, with a query where it needs one.
    """
    plain, mark, query = path.partition("?")
    before = _BATCHES.sub("", plain, count=1)
    return f"{before}/{below}" + (f"{mark}{query}" if "?" not in below else "")


_BATCHES = re.compile(
    r"/*(?:messages/batches|batch/jobs|batches|batchPredictionJobs|model-invocation-job)(?:/.*)?$|/*models/[^/]*$"
)

_RESULTS_URL = re.compile(rb'("results_url"\s*:\s*")https?://[^"\\/]+(?:/[^"\\]*?)?(/v1/messages/batches/[^"\\]+")')


def own_results_url(body: bytes) -> bytes:
    """An answer about Anthropic's batches, with the addresses of results relative.

    Clients send their key to that address, and the provider's host must not get a gateway's key.
    """
    return _RESULTS_URL.sub(rb"\1\2", body) if b'"results_url"' in body else body
