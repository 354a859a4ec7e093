"""Routing: the mounts, each provider's base path, and the operation for each path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from . import (
    anthropic,
    batches,
    bedrock,
    bedrock_invoke,
    bucket_batches,
    buckets,
    cohere,
    embeddings,
    files,
    gemini,
    gemini_embed,
    gemini_files,
    openai_chat,
    openai_common,
    openai_responses,
    pictures,
    sound,
    videos,
    xai,
)
from .files import Files
from .gemini_live import play_live
from .operation import Operation, Shape, SimulatedRefusal, SimulatedRequest
from .realtime import ResponsesPlay, play_realtime
from .response_store import ResponseStore
from .sockets import Play

# A mount is named after its provider; a hyphen and a suffix tell accounts apart: groq, groq-2.
_FAMILIES = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "google": "google",
    "gemini": "google",
    "vertex": "google",
    "groq": "groq",
    "bedrock": "bedrock",
    "mistral": "mistral",
    "cohere": "cohere",
    "xai": "xai",
    "openrouter": "openrouter",
    "storage": "storage",
    "s3": "s3",
}
_SHAPES = {
    "anthropic": anthropic.SHAPE,
    "google": gemini.SHAPE,
    "bedrock": bedrock.SHAPE,
    "cohere": cohere.SHAPE,
    "storage": gemini.SHAPE,
    "s3": buckets.SHAPE,
}

# The base path before an operation of OpenAI's APIs. Where it is known, no other is accepted: a gateway that forgets or
# doubles a `/v1` has to fail here as it would at the provider.
_BASES = {
    "openai": r"/v1",
    "groq": r"/openai/v1",
    "mistral": r"/v1",
    "xai": r"/v1",
    "openrouter": r"/api/v1",
    "azure": r"/openai/(?:v1|deployments/(?P<deployment>[^/]+))",
}
_ANY_BASE = r"(?:/[\w.-]+)*?"

_OPENAI = (
    ("POST", r"/chat/completions", "chat"),
    ("POST", r"/responses", "create"),
    ("POST", r"/responses/input_tokens", "count"),
    ("GET", r"/responses/(?P<id>[^/]+)", "get"),
    ("DELETE", r"/responses/(?P<id>[^/]+)", "delete"),
    ("POST", r"/responses/(?P<id>[^/]+)/cancel", "cancel"),
    ("POST", r"/embeddings", "embeddings"),
    ("GET", r"/models(?:/(?P<id>.+))?", "models"),
    ("POST", r"/files", "upload"),
    ("GET", r"/files", "files"),
    ("GET", r"/files/(?P<id>[^/]+)", "file"),
    ("GET", r"/files/(?P<id>[^/]+)/content", "file-content"),
    ("DELETE", r"/files/(?P<id>[^/]+)", "delete-file"),
    ("POST", r"/audio/(?:transcriptions|translations)", "recording"),
    ("POST", r"/audio/speech", "speech"),
    ("POST", r"/images/(?:generations|edits|variations)", "images"),
    ("POST", r"/videos", "video-create"),
    ("GET", r"/videos", "videos"),
    ("GET", r"/videos/(?P<id>[^/]+)", "video"),
    ("GET", r"/videos/(?P<id>[^/]+)/content", "video-content"),
    ("DELETE", r"/videos/(?P<id>[^/]+)", "delete-video"),
    ("POST", r"/batches", "batch-create"),
    ("GET", r"/batches", "batches"),
    ("GET", r"/batches/(?P<id>[^/]+)", "batch"),
    ("POST", r"/batches/(?P<id>[^/]+)/cancel", "batch-cancel"),
    ("POST", r"/batch/jobs", "job-create"),
    ("GET", r"/batch/jobs/(?P<id>[^/]+)", "job"),
    ("POST", r"/batch/jobs/(?P<id>[^/]+)/cancel", "job-cancel"),
)
_COHERE = (
    ("POST", r"/v2/chat", "chat"),
    ("POST", r"/v2/embed", "embed"),
    ("POST", r"/v2/rerank", "rerank"),
    ("POST", r"/v1/tokenize", "tokenize"),
    ("GET", r"/v1/models(?:/(?P<id>.+))?", "models"),
)
_XAI = (
    ("POST", r"/v1/chat/completions", "chat"),
    ("GET", r"/v1/chat/deferred-completion/(?P<id>[^/]+)", "deferred"),
    ("POST", r"/v1/videos/generations", "video-make"),
    ("GET", r"/v1/videos/(?P<id>[^/]+)", "video-look"),
)
_BATCHES = (
    ("POST", r"/v1/messages/batches", "create"),
    ("GET", r"/v1/messages/batches", "batches"),
    ("GET", r"/v1/messages/batches/(?P<id>[^/]+)", "batch"),
    ("DELETE", r"/v1/messages/batches/(?P<id>[^/]+)", "delete"),
    ("GET", r"/v1/messages/batches/(?P<id>[^/]+)/results", "results"),
    ("POST", r"/v1/messages/batches/(?P<id>[^/]+)/cancel", "cancel"),
)
_GEMINI_BATCHES = (
    ("POST", r"/v1beta/models/(?P<model>[^/:]+)(?::|%3A)batchGenerateContent", "create"),
    ("GET", r"/v1beta/batches", "batches"),
    ("GET", r"/v1beta/batches/(?P<id>[^/:]+)", "batch"),
    ("DELETE", r"/v1beta/batches/(?P<id>[^/:]+)", "delete"),
    ("POST", r"/v1beta/batches/(?P<id>[^/:]+)(?::|%3A)cancel", "cancel"),
)
_VERTEX_JOBS = r"/v1(?:beta1)?/(?P<place>projects/[^/]+/locations/[^/]+)/batchPredictionJobs"
_VERTEX_BATCHES = (
    ("POST", _VERTEX_JOBS, "create"),
    ("GET", _VERTEX_JOBS, "batches"),
    ("GET", rf"{_VERTEX_JOBS}/(?P<id>[^/:]+)", "batch"),
    ("DELETE", rf"{_VERTEX_JOBS}/(?P<id>[^/:]+)", "delete"),
    ("POST", rf"{_VERTEX_JOBS}/(?P<id>[^/:]+)(?::|%3A)cancel", "cancel"),
)
_BEDROCK_BATCHES = (
    ("POST", r"/model-invocation-job", "create"),
    ("GET", r"/model-invocation-jobs", "batches"),
    ("GET", r"/model-invocation-job/(?P<id>[^/]+)", "batch"),
    ("POST", r"/model-invocation-job/(?P<id>[^/]+)/stop", "stop"),
)
_STORAGE = (
    ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o", "list"),
    ("GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)", "read"),
    ("POST", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o", "put"),
)
_S3 = (
    ("GET", r"/(?P<bucket>[^/]+)/?", "list"),
    ("GET", r"/(?P<bucket>[^/]+)/(?P<name>.+)", "read"),
    ("PUT", r"/(?P<bucket>[^/]+)/(?P<name>.+)", "put"),
)
_PUBLISHED = r"/v1(?:beta1)?(?P<project>/projects/[^/]+/locations/[^/]+)?/publishers/google"
_GEMINI_FILES = (
    ("POST", r"/upload/v1beta/files", "upload"),
    ("GET", r"/v1beta/files", "files"),
    ("GET", r"/v1beta/files/(?P<id>[^/:]+)", "file"),
    ("DELETE", r"/v1beta/files/(?P<id>[^/:]+)", "delete"),
)
_GOOGLE_VIDEOS = (
    ("POST", r"/v1beta/models/(?P<model>[^/:]+)(?::|%3A)predictLongRunning", "create"),
    ("GET", r"/v1beta/models/[^/]+/operations/(?P<id>[^/:]+)", "look"),
    ("GET", r"(?:/download)?/v1beta/files/(?P<id>[^/:]+)(?::|%3A)download", "download"),
    ("POST", rf"{_PUBLISHED}/models/(?P<model>[^/:]+)(?::|%3A)predictLongRunning", "create"),
    ("POST", rf"{_PUBLISHED}/models/(?P<model>[^/:]+)(?::|%3A)fetchPredictOperation", "fetch"),
)
_ANTHROPIC = (
    ("POST", r"/v1/messages", anthropic.OPERATION),
    ("POST", r"/v1/messages/count_tokens", anthropic.COUNT),
    ("GET", r"/v1/models(?:/(?P<id>.+))?", anthropic.MODELS),
)
_GEMINI = {
    "generateContent": gemini.OPERATION,
    "streamGenerateContent": gemini.OPERATION,
    "countTokens": gemini.COUNT,
    "embedContent": gemini_embed.OPERATION,
    "batchEmbedContents": gemini_embed.OPERATION,
    "predict": gemini_embed.OPERATION,
}
_GOOGLE = re.compile(
    rf"(?:/v1(?:alpha|beta)?|{_PUBLISHED})/models/(?P<model>[^/:]+)(?::|%3A)(?P<action>{'|'.join(_GEMINI)})"
)
_CLAUDE = re.compile(
    rf"{_PUBLISHED.removesuffix('google')}anthropic/models/(?P<model>[^/:]+)(?::|%3A)(?P<action>rawPredict|streamRawPredict)"
)
_GOOGLE_MODELS = re.compile(r"/v1(?:beta)?/models(?:/(?P<id>[^/:]+))?")
_BEDROCK = re.compile(
    r"/model/(?P<model>[^/]+)/(?P<action>converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)"
)


def family_of(mount: str) -> str:
    """The provider that a mount's name stands for; any other name is an OpenAI-compatible server."""
    return _FAMILIES.get(mount.partition("-")[0], "compatible")


def shape_of(family: str) -> Shape:
    """The shape of the family's errors."""
    return _SHAPES.get(family, openai_common.SHAPE)


class RoutingTable:
    """The routing table.

    Args:
        store: The stored responses of the Responses API.
        of_files: The files of all mounts.
        of_batches: The batches of all mounts.
        of_videos: The videos of all mounts.
        of_gemini_files: The files of the Gemini API.
        of_deferred: xAI's completions that are fetched later.
        of_buckets: The buckets of all mounts.
    """

    def __init__(
        self,
        store: ResponseStore,
        of_files: Files,
        of_batches: batches.SimulatedBatches,
        of_videos: videos.Videos,
        of_gemini_files: gemini_files.GeminiFiles,
        of_deferred: xai.DeferredCompletions,
        of_buckets: buckets.Buckets,
    ) -> None:
        operations = {
            "chat": openai_chat.OPERATION,
            "count": openai_responses.COUNT,
            "embeddings": embeddings.OPERATION,
            "models": openai_common.MODELS,
            "recording": sound.RECORDING,
            "speech": sound.SPEECH,
            "images": pictures.OPERATION,
            **videos.openai_operations(of_videos),
            **openai_responses.operations(store),
            **files.operations(of_files),
            **batches.openai_operations(of_batches),
            **batches.mistral_operations(of_batches),
        }
        self._openai = {
            family: [(method, re.compile(base + tail), operations[name]) for method, tail, name in _OPENAI]
            for family, base in {**_BASES, "compatible": _ANY_BASE, "bedrock": _ANY_BASE}.items()
        }
        own = xai.operations(of_videos, of_deferred)
        self._openai["xai"] = [
            *((method, re.compile(path), own[name]) for method, path, name in _XAI),
            *self._openai["xai"],
        ]
        self._cohere = [(method, re.compile(path), cohere.OPERATIONS[name]) for method, path, name in _COHERE]
        self._responses_play = ResponsesPlay(operations["create"])
        made = batches.anthropic_operations(of_batches)
        rows = (*_ANTHROPIC, *((method, path, made[name]) for method, path, name in _BATCHES))
        self._anthropic = [(method, re.compile(path), operation) for method, path, operation in rows]
        google = (
            (_VERTEX_BATCHES, bucket_batches.vertex_operations(of_batches, of_buckets)),
            (_GEMINI_BATCHES, batches.gemini_operations(of_batches)),
            (_GEMINI_FILES, gemini_files.operations(of_gemini_files)),
            (_GOOGLE_VIDEOS, videos.google_operations(of_videos)),
        )
        self._gemini = [
            (method, re.compile(path), made[name]) for table, made in google for method, path, name in table
        ]

        self._stores = {
            "bedrock": _compiled(_BEDROCK_BATCHES, bucket_batches.bedrock_operations(of_batches, of_buckets)),
            "storage": _compiled(_STORAGE, buckets.google_operations(of_buckets)),
            "s3": _compiled(_S3, buckets.amazon_operations(of_buckets)),
        }

    def find_socket(self, family: str, path: str) -> Play | None:
        """The API that is played on a WebSocket at a path; None if there is none."""
        if family == "google":
            return play_live if _LIVE.fullmatch(path) else None
        base = {**_BASES, "compatible": _ANY_BASE}.get(family)
        if base is None:
            return None
        if re.fullmatch(f"(?:{base}|/openai)/realtime", path):
            return play_realtime
        return self._responses_play if re.fullmatch(f"{base}/responses", path) else None

    def find(self, request: SimulatedRequest) -> Operation:
        """The operation for the path; the path's parameters are put into `request.params`.

        Raises:
            SimulatedRefusal: 404: there is no such operation.
        """
        if request.family == "google":
            return _in(self._gemini, request) or _find_google(request)
        if request.family == "bedrock" and request.path.startswith("/model/"):
            return _find_bedrock(request)
        if (operation := _in(self._stores.get(request.family, []), request)) is not None:
            return operation
        own = {"anthropic": self._anthropic, "cohere": self._cohere}
        table = own.get(request.family) or self._openai.get(request.family, [])
        if (operation := _in(table, request)) is not None:
            return operation
        raise SimulatedRefusal(404, f"Invalid URL ({request.method} {request.path})")


_Table = list[tuple[str, re.Pattern[str], Operation]]


def _compiled(rows: Iterable[tuple[str, str, str]], operations: Mapping[str, Operation]) -> _Table:
    return [(method, re.compile(path), operations[name]) for method, path, name in rows]


def _in(table: _Table, request: SimulatedRequest) -> Operation | None:
    for method, path, operation in table:
        if method == request.method and (match := path.fullmatch(request.path)):
            request.params = _params(match)
            return operation
    return None


_LIVE = re.compile(
    r"/ws/google\.(?:ai\.generativelanguage\.v1\w*\.GenerativeService\.|cloud\.aiplatform\.v1\w*\.LlmBidiService/)"
    r"BidiGenerateContent"
)


def _params(match: re.Match[str]) -> dict[str, str]:
    return {name: unquote(value) for name, value in match.groupdict().items() if value is not None}


def _find_google(request: SimulatedRequest) -> Operation:
    if request.method == "POST" and (match := _GOOGLE.fullmatch(request.path)):
        request.params = _params(match)
        # With an access token, the path must name the project.
        token = b"authorization" in request.headers and b"x-goog-api-key" not in request.headers
        if "/publishers/" not in request.path or match["project"] or not token:
            is_imagen = match["action"] == "predict" and match["model"].startswith("imagen")
            return pictures.IMAGEN if is_imagen else _GEMINI[match["action"]]
    elif request.method == "POST" and (match := _CLAUDE.fullmatch(request.path)):
        request.params = _params(match)
        if match["project"]:
            return anthropic.VERTEX
    elif request.method == "GET" and (match := _GOOGLE_MODELS.fullmatch(request.path)):
        request.params = _params(match)
        return gemini.MODELS
    raise SimulatedRefusal(404, f"The requested URL {request.path} was not found on this server.")


def _find_bedrock(request: SimulatedRequest) -> Operation:
    match = _BEDROCK.fullmatch(request.path)
    if match is None or request.method != "POST":
        raise SimulatedRefusal(404, "UnknownOperationException")
    request.params = _params(match)
    action = match["action"]
    if action == "count-tokens":
        return bedrock.COUNT
    return bedrock.OPERATION if action.startswith("converse") else bedrock_invoke.OPERATION
