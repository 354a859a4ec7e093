"""Videos, which are made after the answer: OpenAI's and xAI's jobs, and Google's long-running operations.

A video is at work at its first look and done from the second on. `[video:never]` in the prompt keeps it at work,
`[video:fail]` has it fail.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import gemini
from .files import form
from .openai_common import SHAPE, body, headers, wanted_model
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest, nothing
from .reply import Prompt, TokenCounts
from .wire import Document, inner, new_id, pretty

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64)
"""The head of a film: what every video is."""
MOST = 500


@dataclass
class Video:
    """One video at work.

    Attributes:
        looks: How often it is still found at work.
        samples: How many films it is.
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
        """Whether it ended without a film."""
        return self.done and "[video:fail]" in self.prompt


@dataclass
class Videos:
    """The videos of all mounts."""

    kept: dict[tuple[str, str], Video] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget them all."""
        self.kept.clear()

    def make(self, request: SimulatedRequest, prefix: str, prompt: Prompt) -> Video:
        """Begin one; the oldest makes room."""
        looks = 10**9 if "[video:never]" in prompt.ask else 1
        id = new_id(prefix, 24)
        video = Video(id, prompt.model, prompt.ask, request.now, request.body, looks, prompt.samples)
        self.kept[request.mount, id] = video
        if len(self.kept) > MOST:
            del self.kept[next(iter(self.kept))]
        return video

    def find(self, request: SimulatedRequest, id: str) -> Video:
        """One of the mount's.

        Raises:
            SimulatedRefusal: There is none: 404.
        """
        if (found := self.kept.get((request.mount, id))) is None:
            raise SimulatedRefusal(404, f"Video with id '{id}' not found.")
        return found

    def look(self, request: SimulatedRequest, id: str) -> Video:
        """The same, brought forward by this look."""
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
    """What can be done with OpenAI's videos."""

    def create(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        answer = body(request, _shown(videos.make(request, "video_", prompt)))
        answer.tokens = TokenCounts()
        return answer

    def look(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        return body(request, _shown(videos.look(request, request.params["id"])))

    def listed(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        mine = [_shown(video) for (mount, _), video in videos.kept.items() if mount == request.mount]
        return body(request, {"object": "list", "data": mine[::-1], "has_more": False})

    def content(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        video = videos.find(request, request.params["id"])
        if not video.done or video.failed:
            raise SimulatedRefusal(404, "Video is not ready yet, use GET /v1/videos/{video_id} to check status.")
        return SimulatedAnswer(b"video/mp4", MP4, headers=headers(request.family))

    def delete(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        id = videos.find(request, request.params["id"]).id
        del videos.kept[request.mount, id]
        return body(request, {"id": id, "object": "video.deleted", "deleted": True})

    def free(write: Callable[[SimulatedRequest, Prompt], SimulatedAnswer]) -> Operation:
        return Operation(nothing, write, SHAPE, free=True)

    return {
        "video-create": Operation(_read_openai, create, SHAPE, raw=True),
        "videos": free(listed),
        "video": free(look),
        "video-content": free(content),
        "delete-video": free(delete),
    }


def _read_veo(request: SimulatedRequest) -> Prompt:
    texts = [instance["prompt"] for instance in request.body["instances"]]
    samples = int(inner(request.body, "parameters").get("sampleCount", 1))
    prompt = Prompt(model=gemini.asked_model(request), texts=texts, samples=samples)
    prompt.user(texts)
    return prompt


def _operation(request: SimulatedRequest, video: Video) -> Document:
    """As either of Google's APIs says how the work stands."""
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
    """What can be done with Google's videos."""

    def answer(value: Document) -> SimulatedAnswer:
        return SimulatedAnswer(gemini.JSON, pretty(value), headers=gemini.headers())

    def create(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        video = videos.make(request, "", prompt)
        found = answer(_operation(request, video))
        found.tokens = TokenCounts()
        return found

    def look(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        return answer(_operation(request, videos.look(request, request.params["id"])))

    def fetch(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        return answer(_operation(request, videos.look(request, request.body["operationName"].rpartition("/")[2])))

    def download(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        videos.find(request, request.params["id"])
        return SimulatedAnswer(b"video/mp4", MP4, headers=gemini.headers())

    return {
        "create": Operation(_read_veo, create, gemini.SHAPE),
        "look": Operation(nothing, look, gemini.SHAPE, free=True),
        "fetch": Operation(nothing, fetch, gemini.SHAPE, free=True),
        "download": Operation(nothing, download, gemini.SHAPE, free=True),
    }
