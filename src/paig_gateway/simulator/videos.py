"""Videos, which are made in the background: OpenAI's and xAI's jobs, and Google's long-running operations.

The first poll finds a video in progress, the second finds it done. `[video:never]` in the prompt keeps it in
progress, `[video:fail]` makes it fail.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

from . import gemini
from .files import form
from .object_store import ObjectStore
from .openai_common import SHAPE, body, headers, wanted_model
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, free
from .reply import Prompt, TokenCounts
from .wire import Document, inner, new_id

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64)
"""The content of every video: the head of an MP4 file."""


@dataclass
class Video:
    """One video.

    Attributes:
        looks: How many more polls find it in progress.
        samples: How many videos it consists of.
    """

    id: str
    model: str
    prompt: str
    made: float
    said: Document
    looks: int = 1
    samples: int = 1

    @property
    def done(self) -> bool:
        return self.looks < 0

    @property
    def failed(self) -> bool:
        """Whether it ended without a video."""
        return self.done and "[video:fail]" in self.prompt


class Videos(ObjectStore[Video]):
    """The videos of all mounts."""

    def __init__(self) -> None:
        super().__init__("Video with id '{id}' not found.")

    def make(self, request: SimulatedRequest, prefix: str, prompt: Prompt) -> Video:
        looks = 10**9 if "[video:never]" in prompt.ask else 1
        id = new_id(prefix, 24)
        video = Video(id, prompt.model, prompt.ask, request.now, request.body, looks, prompt.samples)
        return self.add(request, id, video)

    def look(self, request: SimulatedRequest, id: str | None = None) -> Video:
        """Poll a video; each poll advances it."""
        video = self.find(request, id)
        video.looks -= 1
        return video


def _read_openai(request: SimulatedRequest) -> Prompt:
    kind = request.headers.get(b"content-type", b"")
    if kind.startswith(b"multipart/form-data"):
        request.body = {name: content.decode("utf-8", "replace") for name, (_, content) in form(request).items()}
    else:
        request.body = request.json()
    request.body.setdefault("model", "sora-2")
    text = request.body["prompt"]
    prompt = Prompt(model=wanted_model(request), texts=[text])
    prompt.user([text])
    return prompt


def _shown(video: Video) -> Document:
    status = "failed" if video.failed else "completed" if video.done else "in_progress" if video.looks < 1 else "queued"
    return {
        "id": video.id,
        "object": "video",
        "created_at": int(video.made),
        "completed_at": int(video.made) if status == "completed" else None,
        "error": {"code": "moderation_blocked", "message": "The prompt was refused."} if video.failed else None,
        "model": video.model,
        "progress": 100 if video.done else 0,
        "prompt": video.prompt,
        "seconds": str(video.said.get("seconds", "4")),
        "size": video.said.get("size", "720x1280"),
        "status": status,
    }


def openai_operations(videos: Videos) -> dict[str, Operation]:
    """The operations on OpenAI's videos, over one store."""

    def create(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        answer = body(request, _shown(videos.make(request, "video_", prompt)))
        answer.tokens = TokenCounts()
        return answer

    def listed(request: SimulatedRequest) -> SimulatedAnswer:
        return body(request, {"object": "list", "data": list(map(_shown, videos.all(request))), "has_more": False})

    def content(request: SimulatedRequest) -> SimulatedAnswer:
        video = videos.find(request)
        if not video.done or video.failed:
            raise SimulatedRefusal(404, "Video is not ready yet, use GET /v1/videos/{video_id} to check status.")
        return SimulatedAnswer(b"video/mp4", MP4, headers=headers(request.family))

    def delete(request: SimulatedRequest) -> SimulatedAnswer:
        return body(request, {"id": videos.remove(request).id, "object": "video.deleted", "deleted": True})

    return {
        "video-create": Operation(_read_openai, create, SHAPE, raw=True),
        "videos": free(SHAPE, listed),
        "video": free(SHAPE, lambda request: body(request, _shown(videos.look(request)))),
        "video-content": free(SHAPE, content),
        "delete-video": free(SHAPE, delete),
    }


def _read_veo(request: SimulatedRequest) -> Prompt:
    texts = [instance["prompt"] for instance in request.body["instances"]]
    samples = int(inner(request.body, "parameters").get("sampleCount", 1))
    prompt = Prompt(model=gemini.asked_model(request), texts=texts, samples=samples)
    prompt.user(texts)
    return prompt


def _operation(request: SimulatedRequest, video: Video) -> Document:
    """The state of a video in the shape of either of Google's APIs."""
    vertex = gemini.on_vertex(request)
    place = re.sub(r"^/v1\w*/|:\w+$|/operations/.*$", "", request.path.replace("%3A", ":")) if vertex else ""
    name = f"{place or f'models/{video.model}'}/operations/{video.id}"
    if not video.done:
        return {"name": name}
    if video.failed:
        return {"name": name, "done": True, "error": {"code": 3, "message": "The prompt was refused."}}
    if vertex:
        film = {"bytesBase64Encoded": base64.b64encode(MP4).decode(), "mimeType": "video/mp4"}
        kind = "type.googleapis.com/cloud.ai.large_models.vision.GenerateVideoResponse"
        made: Document = {"@type": kind, "raiMediaFilteredCount": 0, "videos": [film] * video.samples}
    else:
        uri = f"https://generativelanguage.googleapis.com/v1beta/files/{video.id}:download?alt=media"
        kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse"
        samples: list[Any] = [{"video": {"uri": uri}}] * video.samples
        made = {"@type": kind, "generateVideoResponse": {"generatedSamples": samples}}
    return {"name": name, "done": True, "response": made}


def google_operations(videos: Videos) -> dict[str, Operation]:
    """The operations on Google's videos, over one store."""

    def create(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        answer = gemini.whole(_operation(request, videos.make(request, "", prompt)))
        answer.tokens = TokenCounts()
        return answer

    def look(request: SimulatedRequest) -> SimulatedAnswer:
        return gemini.whole(_operation(request, videos.look(request)))

    def fetch(request: SimulatedRequest) -> SimulatedAnswer:
        name = request.body["operationName"].rpartition("/")[2]
        return gemini.whole(_operation(request, videos.look(request, name)))

    def download(request: SimulatedRequest) -> SimulatedAnswer:
        videos.find(request)
        return SimulatedAnswer(b"video/mp4", MP4, headers=gemini.headers())

    return {
        "create": Operation(_read_veo, create, gemini.SHAPE),
        "look": free(gemini.SHAPE, look),
        "fetch": free(gemini.SHAPE, fetch),
        "download": free(gemini.SHAPE, download),
    }
