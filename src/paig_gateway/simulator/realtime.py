"""OpenAI's Realtime API and Responses API over a WebSocket.

Realtime: a second of audio is 10 tokens from the client and 20 from the model. Sound begins the client's speech, and
silence ends it; with turn detection on, the model then answers by itself. The input of a response is cached for the
next one. A model whose name begins with `grok-voice` is billed by the second, as at xAI. A connection with `call_id`
joins a call in which the model is about to speak.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .faults import Faults, strip
from .openai_common import error_object
from .operation import Operation, SimulatedRefusal
from .reply import Prompt, TokenCounts, count
from .sockets import Socket
from .wire import Document, new_id

PCM = 48_000
HEARD, SPOKEN = 10, 20
"""Tokens of a second of audio from the client, and from the model."""
WORD_SECONDS = 0.25


@dataclass(slots=True)
class Conversation:
    """The conversation so far, in tokens."""

    text: int = 0
    audio: int = 0
    cached_text: int = 0
    cached_audio: int = 0


@dataclass(slots=True)
class Realtime:
    """One session."""

    socket: Socket
    model: str
    session: Document
    heard: bytearray = field(default_factory=bytearray)
    speaking: bool = False
    ask: str = ""
    so_far: Conversation = field(default_factory=Conversation)
    active: str | None = None
    billed: int = 0

    @property
    def _audio_in(self) -> Document:
        found: Document = self.session["audio"]["input"]
        return found

    async def run(self) -> None:
        """Play until the client leaves."""
        await self._emit("session.created", session=self.session)
        if "call_id" in self.socket.request.query:
            await self._respond({})  # what is said in the call
        while True:
            message = await self.socket.message()
            await self._take(message)

    async def _take(self, message: Document) -> None:
        kind = message.get("type")
        if kind == "session.update":
            self._merge(self.session, message.get("session") or {})
            await self._emit("session.updated", session=self.session)
        elif kind == "conversation.item.create":
            await self._item(message["item"])
        elif kind == "response.create":
            await self._respond(message.get("response") or {})
        elif kind == "input_audio_buffer.append":
            await self._hear(base64.b64decode(message["audio"]))
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            self.heard.clear()
            await self._emit("input_audio_buffer.cleared")
        elif kind in ("response.cancel", "conversation.item.delete", "conversation.item.truncate"):
            return
        else:
            await self._error(f"Invalid value: '{kind}'.", message.get("event_id"))

    def _merge(self, known: Document, new: Mapping[str, Any]) -> None:
        for name, value in new.items():
            if isinstance(value, dict) and isinstance(known.get(name), dict):
                self._merge(known[name], value)
            else:
                known[name] = value

    async def _item(self, item: Document) -> None:
        item = {"id": new_id("item_", 20), "object": "realtime.item", "status": "completed", **item}
        texts = [part["text"] for part in item.get("content") or () if part.get("text")]
        texts += [str(item[name]) for name in ("output", "arguments") if item.get(name)]
        self.so_far.text += count(Prompt(texts=texts)).input
        if item.get("role") == "user" and texts:
            self.ask = "\n".join(texts)
        await self._emit("conversation.item.added", item=item, previous_item_id=None)
        await self._emit("conversation.item.done", item=item, previous_item_id=None)

    async def _hear(self, audio: bytes) -> None:
        listens = self._audio_in.get("turn_detection") is not None
        loud = any(audio)
        if listens and loud and not self.speaking:
            self.speaking = True
            await self._emit("input_audio_buffer.speech_started", audio_start_ms=0, item_id=new_id("item_", 20))
        self.heard += audio
        if listens and self.speaking and not loud:
            self.speaking = False
            await self._emit("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id=new_id("item_", 20))
            await self._commit()
            if self._audio_in["turn_detection"].get("create_response") is not False:
                await self._respond({})

    async def _commit(self) -> None:
        seconds = len(self.heard) / PCM
        self.heard.clear()
        item_id = new_id("item_", 20)
        await self._emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        self.so_far.audio += max(1, round(seconds * HEARD))
        item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        await self._emit("conversation.item.added", item=item, previous_item_id=None)
        model = (self._audio_in.get("transcription") or {}).get("model")
        if model is None:
            return
        usage: Document = {"type": "duration", "seconds": seconds}
        if not model.startswith("whisper"):
            heard = max(1, round(seconds * HEARD))
            usage = {
                "type": "tokens", "input_tokens": heard, "output_tokens": 5, "total_tokens": heard + 5,
                "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
            }  # fmt: skip
        await self._emit(
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id, content_index=0, transcript="what was said", usage=usage,
        )  # fmt: skip

    async def _respond(self, own: Document) -> None:
        faults = self.socket.faults(f"{self.model}\n{self.ask}")
        settings = {**self.session, **own}
        prompt = Prompt(model=self.model, ask=self.ask)
        limit = settings.get("max_output_tokens")
        prompt.limit = limit if isinstance(limit, int) else None
        request = self.socket.request
        request.faults = faults
        reply = request.reply(prompt)
        request.faults = Faults()
        spoken = "audio" in (settings.get("output_modalities") or ["audio"])
        words = len(reply.text.split())
        audio = round(words * WORD_SECONDS * SPOKEN) if spoken else 0
        if prompt.limit is not None:
            audio = min(audio, max(0, prompt.limit - reply.tokens.output))
        usage = self._usage(reply.tokens.output, audio)
        response_id = new_id("resp_", 24)
        base: Document = {
            "id": response_id, "object": "realtime.response", "status": "in_progress", "status_details": None,
            "output": [], "conversation_id": "conv_1", "usage": None,
            "output_modalities": ["audio" if spoken else "text"],
        }  # fmt: skip
        place: Document = {
            "response_id": response_id,
            "item_id": new_id("item_", 20),
            "output_index": 0,
            "content_index": 0,
        }
        pieces = (event for piece in reply.pieces for event in self._piece(piece, place, spoken))
        events: list[Document] = [self._event("response.created", response=base), *pieces]
        part = (
            {"type": "output_audio", "transcript": reply.text}
            if spoken
            else {"type": "output_text", "text": reply.text}
        )
        item = {
            "id": place["item_id"], "type": "message", "role": "assistant", "status": "completed", "content": [part],
        }  # fmt: skip
        done: Document = {**base, "status": "incomplete" if reply.finish == "length" else "completed", "output": [item]}
        last = self._event("response.done", response=done)
        if not faults.no_usage:
            if self.model.startswith("grok-voice"):
                last["usage"] = usage
                done["usage"] = {}
            else:
                done["usage"] = usage
        events.append(last)
        tokens = TokenCounts(input=usage["input_tokens"], output=usage["output_tokens"])
        tokens.cached = usage["input_token_details"]["cached_tokens"]
        failed = {**base, "status": "failed", "status_details": {"type": "failed", "error": _server_error()}}
        await self.socket.deliver(events, tokens, faults, self._event("response.done", response=failed))
        so_far = self.so_far
        so_far.cached_text, so_far.cached_audio = so_far.text, so_far.audio
        so_far.text += usage["output_token_details"]["text_tokens"]
        so_far.audio += audio

    def _piece(self, piece: str, place: Document, spoken: bool) -> list[Document]:
        if not spoken:
            return [self._event("response.output_text.delta", **place, delta=piece)]
        sound = base64.b64encode(bytes(round(len(piece.split()) * WORD_SECONDS * PCM))).decode()
        return [
            self._event("response.output_audio_transcript.delta", **place, delta=piece),
            self._event("response.output_audio.delta", **place, delta=sound),
        ]

    def _usage(self, text: int, audio: int) -> Document:
        so_far = self.so_far
        read, heard = max(so_far.text, 1), so_far.audio
        usage: Document = {
            "total_tokens": read + heard + text + audio,
            "input_tokens": read + heard,
            "output_tokens": text + audio,
            "input_token_details": {
                "text_tokens": read, "audio_tokens": heard, "image_tokens": 0,
                "cached_tokens": so_far.cached_text + so_far.cached_audio,
                "cached_tokens_details": {
                    "text_tokens": so_far.cached_text, "audio_tokens": so_far.cached_audio, "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": text, "audio_tokens": audio},
        }  # fmt: skip
        if self.model.startswith("grok-voice"):
            self.billed += 1 + audio // SPOKEN
            usage["billable_audio_seconds"] = self.billed
        return usage

    def _event(self, kind: str, **fields: Any) -> Document:
        return {"type": kind, "event_id": new_id("event_", 20), **fields}

    async def _emit(self, kind: str, **fields: Any) -> None:
        await self.socket.send(self._event(kind, **fields))

    async def _error(self, message: str, event_id: str | None) -> None:
        error = {"type": "invalid_request_error", "code": "invalid_value", "message": message, "param": "type"}
        await self._emit("error", error={**error, "event_id": event_id})


def _server_error() -> Document:
    return {"type": "server_error", "code": "server_error", "message": "The server had an error."}


async def play_realtime(socket: Socket) -> None:
    """Play the Realtime API on a connection."""
    query = socket.request.query
    model = strip(query.get("model") or query.get("deployment") or "gpt-realtime")
    session: Document = {
        "type": "realtime", "object": "realtime.session", "id": new_id("sess_", 20), "model": model,
        "output_modalities": ["audio"], "instructions": "", "tools": [], "tool_choice": "auto",
        "max_output_tokens": "inf", "tracing": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000}, "transcription": None, "noise_reduction": None,
                "turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
    }  # fmt: skip
    await Realtime(socket, model, session).run()


@dataclass(frozen=True, slots=True)
class ResponsesPlay:
    """Plays the Responses API on a connection: each message is one request to the HTTP operation."""

    create: Operation

    async def __call__(self, socket: Socket) -> None:
        """Play until the client leaves."""
        while True:
            message = await socket.message()
            if message.get("type") != "response.create":
                await socket.send(_error(400, f"Unknown message type: {message.get('type')}"))
                continue
            await self._answer(socket, message)

    async def _answer(self, socket: Socket, message: Document) -> None:
        request = socket.request
        request.body = {**message, "stream": True}
        try:
            prompt = self.create.read(request)
            faults = request.faults = socket.faults(f"{prompt.model}\n{prompt.ask}")
            if faults.status is not None:
                raise SimulatedRefusal(faults.status, "")
            answer = self.create.write(request, prompt)
        except SimulatedRefusal as refusal:
            socket.served.started += 1
            socket.served.failed += 1
            await socket.send(_error(refusal.status, refusal.message))
            return
        except (KeyError, ValueError, TypeError) as problem:
            await socket.send(_error(400, f"Invalid request: {problem}"))
            return
        events = [_plain(event) for event in answer.events or ()]
        lane = {"stream_id": message["stream_id"]} if "stream_id" in message else {}
        await socket.deliver(
            [{**event, **lane} for event in events], answer.tokens or TokenCounts(), faults, {**_error(500, ""), **lane}
        )


def _plain(event: bytes) -> Document:
    line = next(line for line in event.splitlines() if line.startswith(b"data: "))
    found: Document = json.loads(line.removeprefix(b"data: "))
    return found


def _error(status: int, message: str) -> Document:
    return {"type": "error", "status": status, "error": error_object("openai", status, message or None)["error"]}
