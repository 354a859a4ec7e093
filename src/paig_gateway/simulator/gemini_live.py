"""Gemini's Live API over a WebSocket.

A second of audio is 25 tokens, in either direction. Silence after speech ends the client's turn, and the model answers.
A turn that calls a function continues when the function's result arrives.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from .faults import Faults
from .reply import Prompt, Tool, count
from .reply import TokenCounts as Counts
from .sockets import Socket
from .wire import Document, new_id

RATE, TOKENS = 32_000, 25
WORD_SECONDS = 0.25


@dataclass(slots=True)
class Live:
    """One session."""

    socket: Socket
    model: str = ""
    spoken: bool = True
    listens: bool = True
    limit: int | None = None
    tools: list[Tool] = field(default_factory=list)
    text: int = 0
    audio: int = 0
    heard: bytearray = field(default_factory=bytearray)
    speaking: bool = False
    ask: str = ""
    resumes: bool = False
    called: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Play until the client leaves."""
        first = await self.socket.message()
        setup = first.get("setup")
        if setup is None:
            await self.socket.close(1007, "setup must be the first message and only the first")
        if not _is_of(self.socket.request.mount, self.socket.request.path, str((setup or {}).get("model"))):
            await self.socket.close(1008, "The model or the service is not found here.")
        self._set_up(setup or {})
        await self._send({"setupComplete": {}})
        while True:
            message = await self.socket.message()
            if "clientContent" in message or "client_content" in message:
                await self._content(message.get("clientContent") or message["client_content"])
            elif "realtimeInput" in message or "realtime_input" in message:
                await self._realtime(message.get("realtimeInput") or message["realtime_input"])
            elif "toolResponse" in message or "tool_response" in message:
                self.text += 10
                await self._answer()
            else:
                await self.socket.close(1007, "Invalid JSON payload received.")

    def _set_up(self, setup: Document) -> None:
        self.model = setup["model"].rpartition("/")[2]
        config = setup.get("generationConfig") or {}
        self.spoken = "TEXT" not in (config.get("responseModalities") or ["AUDIO"])
        self.limit = config.get("maxOutputTokens")
        detection = (setup.get("realtimeInputConfig") or {}).get("automaticActivityDetection") or {}
        self.listens = not detection.get("disabled")
        self.resumes = "sessionResumption" in setup
        for tool in setup.get("tools") or ():
            for declared in tool.get("functionDeclarations") or ():
                self.tools.append(Tool(declared["name"], declared.get("parameters") or {"type": "object"}))
        instruction = setup.get("systemInstruction") or {}
        self.text += count(Prompt(texts=[part.get("text", "") for part in instruction.get("parts") or ()])).input

    async def _content(self, content: Document) -> None:
        texts = [
            part["text"] for turn in content.get("turns") or () for part in turn.get("parts") or () if part.get("text")
        ]
        self._add_texts(texts)
        if content.get("turnComplete") or content.get("turn_complete"):
            await self._answer()

    def _add_texts(self, texts: list[str]) -> None:
        if texts:
            self.text += count(Prompt(texts=texts)).input
            self.ask, self.called = "\n".join(texts), []

    async def _realtime(self, given: Document) -> None:
        if given.get("text"):
            self._add_texts([given["text"]])
            await self._answer()
            return
        for blob in [given.get("audio"), *(given.get("mediaChunks") or given.get("media_chunks") or ())]:
            if not blob or not str(blob.get("mimeType") or blob.get("mime_type")).startswith("audio/"):
                continue
            audio = base64.urlsafe_b64decode(blob["data"].replace("+", "-").replace("/", "_"))
            loud = any(audio)
            self.heard += audio
            if loud:
                self.speaking = True
            elif self.speaking and self.listens:
                await self._end_speech()
        if "activityEnd" in given or "activity_end" in given:
            await self._end_speech()

    async def _end_speech(self) -> None:
        self.speaking = False
        self.audio += max(1, round(len(self.heard) / RATE * TOKENS))
        self.heard.clear()
        await self._answer()

    async def _answer(self) -> None:
        faults = self.socket.faults(f"{self.model}\n{self.ask}")
        request = self.socket.request
        request.faults = faults
        prompt = Prompt(model=self.model, ask=self.ask, limit=self.limit, tools=self.tools, called=self.called)
        reply = request.reply(prompt)
        request.faults = Faults()
        events: list[Document] = []
        usage = self._usage(reply.tokens.output, 0)
        if reply.calls:
            calls = [{"id": f"call_{call.name}", "name": call.name, "args": call.arguments} for call in reply.calls]
            self.called = [*self.called, *(call.name for call in reply.calls)]
            events.append({"toolCall": {"functionCalls": calls}, **({} if faults.no_usage else usage)})
        else:
            spoken = round(len(reply.text.split()) * WORD_SECONDS * TOKENS) if self.spoken else 0
            usage = self._usage(0 if self.spoken else reply.tokens.output, spoken)
            for piece in reply.pieces:
                part: Document = {"text": piece}
                if self.spoken:
                    sound = base64.b64encode(bytes(round(len(piece.split()) * WORD_SECONDS * 48_000))).decode()
                    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": sound}}
                events.append({"serverContent": {"modelTurn": {"parts": [part]}}})
            events.append({"serverContent": {"generationComplete": True}})
            end: Document = {"serverContent": {"turnComplete": True}}
            events.append(end if faults.no_usage else {**end, **usage})
        counted = usage["usageMetadata"]
        read, wrote = counted["promptTokenCount"], counted["totalTokenCount"] - counted["promptTokenCount"]
        tokens = Counts(input=read, output=wrote)
        if faults.error_event or faults.error_first:
            await self.socket.close(1011, "Internal error encountered.")
        await self.socket.deliver(events, tokens, faults, {}, binary=True)
        if self.resumes:
            await self._send({"sessionResumptionUpdate": {"newHandle": new_id("handle_", 40), "resumable": True}})
        for part in counted["candidatesTokensDetails" if self._at_vertex else "responseTokensDetails"]:
            if part["modality"] == "AUDIO":
                self.audio += part["tokenCount"]
            else:
                self.text += part["tokenCount"]

    def _usage(self, text: int, audio: int) -> Document:
        read = max(1, self.text)
        details: list[dict[str, Any]] = [{"modality": "TEXT", "tokenCount": read}]
        if self.audio:
            details.append({"modality": "AUDIO", "tokenCount": self.audio})
        written = [{"modality": "TEXT", "tokenCount": text}] if text else []
        written += [{"modality": "AUDIO", "tokenCount": audio}] if audio else []
        written_as = ("candidatesTokenCount", "candidatesTokensDetails") if self._at_vertex else _WRITTEN
        return {
            "usageMetadata": {
                "promptTokenCount": read + self.audio,
                written_as[0]: text + audio,
                "totalTokenCount": read + self.audio + text + audio,
                "promptTokensDetails": details,
                written_as[1]: written,
            }
        }

    @property
    def _at_vertex(self) -> bool:
        return self.socket.request.mount.partition("-")[0] == "vertex"

    async def _send(self, value: Document) -> None:
        await self.socket.send(value, binary=True)


_WRITTEN = ("responseTokenCount", "responseTokensDetails")
_VERTEX = re.compile(r"(projects/[^/]+/locations/[^/]+/)?publishers/google/models/[^/]+")


def _is_of(mount: str, path: str, model: str) -> bool:
    """Whether the service and the model's name belong to the mount: Vertex AI's differ from the Gemini API's."""
    if mount.partition("-")[0] == "vertex":
        return "LlmBidiService" in path and _VERTEX.fullmatch(model) is not None
    return "GenerativeService" in path and model.startswith("models/")


async def play_live(socket: Socket) -> None:
    """Play the Live API on a connection."""
    await Live(socket).run()
