"""What xAI's API has of its own: videos, and completions that are fetched later (`deferred`).

A video costs seven cents a second, which its result states. Videos and deferred completions are in progress at the
first poll, and done from the second on; `[video:never]` and `[video:fail]` work as with other videos.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import openai_chat
from .object_store import ObjectStore
from .openai_common import SHAPE, body, headers, wanted_model
from .operation import Operation, SimulatedAnswer, SimulatedRequest, free
from .reply import Prompt, TokenCounts
from .videos import Videos
from .wire import Document, new_id

TICKS = 7 * 10**8
"""What a second of video costs, in ticks: 10,000,000,000 are a dollar."""
LENGTH = 8
"""Seconds of a video, if the request names none."""


@dataclass
class Deferred:
    """A completion that its client fetches later.

    Attributes:
        looks: How many more polls find it in progress.
    """

    answer: SimulatedAnswer
    looks: int = 1


class DeferredCompletions(ObjectStore[Deferred]):
    """The deferred completions of all mounts."""

    def __init__(self) -> None:
        super().__init__("Deferred completion '{id}' not found.")


def _read_video(request: SimulatedRequest) -> Prompt:
    text = request.body["prompt"]
    prompt = Prompt(model=wanted_model(request), texts=[text])
    prompt.user([text])
    return prompt


def operations(videos: Videos, deferred: DeferredCompletions) -> dict[str, Operation]:
    """XAI's own operations, over its stores."""

    def chat(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        later = request.body.get("deferred") is True and not prompt.stream
        answer = openai_chat.OPERATION.write(request, prompt)
        if not later:
            return answer
        id = new_id("", 32)
        deferred.add(request, id, Deferred(answer))
        made = body(request, {"request_id": id})
        made.tokens = answer.tokens
        return made

    def completion(request: SimulatedRequest) -> SimulatedAnswer:
        found = deferred.find(request)
        found.looks -= 1
        if found.looks >= 0:
            return SimulatedAnswer(b"application/json", b"", status=202, headers=headers(request.family))
        return SimulatedAnswer(found.answer.content_type, found.answer.body, headers=found.answer.headers)

    def create(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
        answer = body(request, {"request_id": videos.make(request, "", prompt).id})
        answer.tokens = TokenCounts()
        return answer

    def look(request: SimulatedRequest) -> SimulatedAnswer:
        video = videos.look(request)
        if video.failed:
            return body(request, {"status": "failed", "error": {"code": "moderation", "message": "It was refused."}})
        if not video.done:
            return body(request, {"status": "pending", "progress": 50})
        seconds = int(video.said.get("duration") or LENGTH)
        film: Document = {"url": f"https://vidgen.x.ai/{video.id}.mp4", "duration": seconds}
        usage = {"cost_in_usd_ticks": TICKS * seconds}
        return body(request, {"status": "done", "video": film, "model": video.model, "usage": usage})

    return {
        "chat": Operation(openai_chat.OPERATION.read, chat, SHAPE),
        "deferred": free(SHAPE, completion),
        "video-make": Operation(_read_video, create, SHAPE),
        "video-look": free(SHAPE, look),
    }
