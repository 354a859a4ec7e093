"""Gemini's Live API: `setup` names the model, then audio, text and results of functions come, and turns go back.

A turn may begin with any message that brings input, and ends with `turnComplete`. While the model finds the end of
speech by itself, the next turn is held as soon as one ends, once audio was sent. Each result of a function sets off
another generation, which reads all that came before once more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format, MalformedRequest
from paig_gateway.formats.folding import dig, each, in_base64, mapping, text_size, whole
from paig_gateway.formats.gemini_live import LIVE, camel_case, either, in_camel_case, usage_of
from paig_gateway.formats.media import MediaItem
from paig_gateway.formats.text import BUILT_IN, TOOL, TOOLS
from paig_gateway.proxy.sockets.turns import OVERHEAD, Effect, Made, Need, Saw, Size, Turn, TurnOver, check_inside

AHEAD_SECONDS = 30.0
"""Seconds of audio that are held in advance."""

AHEAD_BYTES = 4096
"""Bytes of text that are held in the same way."""

TOKENS_PER_SECOND = 32
"""Of audio: 25 as documented, bounded as `media_tokens` does."""

FRAME_TOKENS = 2_240
"""Tokens of a picture: the most of any resolution."""

SEARCHES = 10
"""Queries of a turn that may be billed, where a tool of Google's searches."""


def resumed(handle: str) -> str:
    """The id under which a session that can be resumed is kept: the handle itself is as good as a key."""
    return f"session-{hashlib.sha256(handle.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


_RATE = re.compile(r"rate=(\d{4,6})")
_DETAILS = ("promptTokensDetails", "responseTokensDetails", "candidatesTokensDetails")
"""Where usage tells the parts of what was read and written; the last is Vertex AI's name for the second."""
_BRINGS = frozenset({"clientContent", "realtimeInput", "toolResponse"})
_CLIENT_TOOLS = frozenset({"functionDeclarations"})


@dataclass(slots=True)
class LiveSession:
    """The machine of a session; see `turns.SocketSession`.

    Attributes:
        model: The model in the setup, without its path.
    """

    model: str = ""
    _listens: bool = True
    _text_only: bool = False
    _max_output: int | None = None
    _searches: bool = False
    _unbounded: bool = False
    _turn: Turn | None = None
    _used: bool = False
    """Whether the open turn has reported usage."""
    _late: Turn | None = None
    """A turn that is complete, but has not reported its usage."""
    _generations: int = 1
    _heard: bool = False
    _base: Size = field(default_factory=Size)
    _text: int = 0
    _seconds: float = 0.0
    _pictures: int = 0
    _covered: tuple[int, float, int] = (0, 0.0, 0)
    _held: tuple[int, float, int, int] = (0, 0.0, 0, 0)

    @property
    def fmt(self) -> Format:
        return LIVE

    @property
    def ready(self) -> bool:
        """The client's first message names the model."""
        return True

    def client(self, message: bytes) -> list[Turn]:
        top = reading.request(message)
        kinds = [camel_case(name) for name in top]
        if len(kinds) != 1:
            raise MalformedRequest("A message of the Live API has one member that says what it is.")
        [kind], [raw] = kinds, top.values()
        if kind == "setup":
            check_inside(raw)
            self._set_up(message, reading.value(raw))
            return []
        if kind not in _BRINGS:
            raise MalformedRequest(f"The gateway does not know what a message '{kind}' costs, so it refuses it.")
        if not self.model:
            raise MalformedRequest("The first message of the Live API is 'setup', which names the model.")
        content = mapping(in_camel_case(reading.value(raw)))
        begins = self._take_in(kind, content, len(message))
        turns = self._needed()
        if self._turn is not None:
            self._turn.begun = self._turn.begun or begins
        return turns

    def _set_up(self, message: bytes, raw: object) -> None:
        if self.model:
            raise MalformedRequest("The session is set up already.")
        setup = mapping(in_camel_case(raw))
        named = setup.get("model")
        if not isinstance(named, str) or not named or len(named) > reading.LONGEST_NAME:
            raise MalformedRequest("The message 'setup' names no model.")
        self.model = named.rpartition("/")[2]
        config = mapping(setup.get("generationConfig"))
        modalities = {str(one).upper() for one in each(config.get("responseModalities"))}
        self._text_only = modalities == {"TEXT"}
        self._max_output = whole(config.get("maxOutputTokens")) or None
        detection = mapping(dig(setup, "realtimeInputConfig", "automaticActivityDetection"))
        self._listens = detection.get("disabled") is not True
        tools = [name for tool in each(setup.get("tools")) for name in mapping(tool)]
        at_google = [name for name in tools if name not in _CLIENT_TOOLS]
        self._searches = bool(at_google)
        self._unbounded = bool(at_google) or dig(setup, "sessionResumption", "handle") is not None
        self._text += len(message) + TOOLS + (TOOL + BUILT_IN) * len(tools)

    def _take_in(self, kind: str, content: Mapping[str, object], size: int) -> bool:
        """Count what a message brings; whether the model answers it without more."""
        blobs: list[object] = []
        if kind == "realtimeInput":
            blobs = [content.get("audio"), content.get("video"), *each(content.get("mediaChunks"))]
            begins = "text" in content or "activityEnd" in content
        elif kind == "clientContent":
            parts = [part for turn in each(content.get("turns")) for part in each(dig(turn, "parts"))]
            blobs = [dig(part, "inlineData") for part in parts]
            self._unbounded = self._unbounded or any("fileData" in mapping(part) for part in parts)
            begins = content.get("turnComplete") is True
        else:
            answers = each(content.get("functionResponses"))
            blobs = [dig(part, "inlineData") for one in answers for part in each(dig(one, "parts"))]
            begins = True
            self._generations += 1
        skipped = 0
        for blob in filter(None, blobs):
            data = text_size(dig(blob, "data"))
            skipped += data
            kind_of = str(dig(blob, "mimeType") or "").lower()
            if kind_of.startswith("audio/"):
                rate = _RATE.search(kind_of)
                self._seconds += in_base64(data) / (2 * (int(rate[1]) if rate else 16_000))
                self._heard = True
            elif kind_of.startswith("image/"):
                self._pictures += 1
            else:
                self._unbounded = True
        self._text += size - skipped + OVERHEAD
        return begins

    def _needed(self) -> list[Turn]:
        """The open turn where it is new, or where what it will read has outgrown what was held for it."""
        if self._turn is None:
            return [self._arm()]
        text, seconds, pictures, generations = self._held
        grown = self._text > text or self._seconds > seconds or self._pictures > pictures
        if not (grown or self._generations > generations or self._unbounded):
            return []
        self._turn.call = self._call()
        return [self._turn]

    def _arm(self) -> Turn:
        self._turn, self._used = Turn(self._call(), facts={"model": self.model}), False
        return self._turn

    def provider(self, message: bytes) -> list[Effect]:
        top = reading.members(message)
        content = mapping(in_camel_case(reading.value(either(top, "serverContent", "server_content"))))
        usage = usage_of(top)
        found: list[Effect] = []
        update = mapping(
            in_camel_case(reading.value(either(top, "sessionResumptionUpdate", "session_resumption_update")))
        )
        if isinstance(handle := update.get("newHandle"), str) and handle:
            found.append(Made("session", resumed(handle)))
        if usage and self._late is not None:
            found += [Saw(self._late), self._end(self._late)]
            self._late = None
            self._learn(usage)
            return found
        called = either(top, "toolCall", "tool_call") is not None
        if not content and not usage and not called:
            return found
        turn = self._turn
        if turn is None:
            if not (content.get("modelTurn") or usage or called):
                return found
            # The provider began a turn by itself.
            turn = self._arm()
            found.append(Need(turn))
        turn.begun = turn.begun or bool(content.get("modelTurn")) or called or bool(usage)
        if usage or content.get("groundingMetadata") or content.get("turnComplete"):
            found.append(Saw(turn))
        if usage:
            self._used = True
            self._learn(usage)
        if content.get("turnComplete") is True:
            self._turn, self._generations = None, 1
            if self._used or not turn.begun:
                found.append(self._end(turn))
            else:
                self._late = turn
            if self._listens and self._heard:
                found.append(Need(self._arm()))
        return found

    def has(self, id: str) -> bool:
        """Nothing: what a message names is looked up."""
        return False

    def open(self) -> Iterable[Turn]:
        return [turn for turn in (self._turn, self._late) if turn is not None]

    def _end(self, turn: Turn) -> TurnOver:
        turn.over = True
        return TurnOver(turn, "ended")

    def _learn(self, usage: Mapping[str, object]) -> None:
        """What the session has read and written, by the provider's own count."""
        total = whole(usage.get("totalTokenCount"))
        if total is None:
            return
        parts = [part for details in _DETAILS for part in each(usage.get(details))]
        text = sum(whole(dig(part, "tokenCount")) or 0 for part in parts if dig(part, "modality") == "TEXT")
        self._base = Size(text, max(0, total - text)) if parts else Size(0, total)
        covered = self._covered
        self._text, self._pictures = max(0, self._text - covered[0]), max(0, self._pictures - covered[2])
        self._seconds = max(0.0, self._seconds - covered[1])
        # What came since the last report was read at the latest by the next one.
        self._covered = self._text, self._seconds, self._pictures
        self._held = (0, 0.0, 0, self._held[3])

    def _call(self) -> Call:
        self._held = (
            self._text + AHEAD_BYTES,
            self._seconds + AHEAD_SECONDS,
            self._pictures + 4,
            self._generations,
        )
        text, seconds, pictures, generations = self._held
        sounds = [MediaItem("audio", seconds=seconds)]
        rich = self._base.audio + pictures * FRAME_TOKENS
        if rich:
            sounds.append(MediaItem("audio", seconds=rich / TOKENS_PER_SECOND))
        return Call(
            model=self.model,
            stream=True,
            input_tokens=self._base.text + text,
            output_tokens=self._max_output,
            media_in=True,
            media=tuple(sounds),
            unbounded_input=self._unbounded,
            media_out=not self._text_only,
            searches=SEARCHES if self._searches else 0,
            repeats=generations,
            asks_usage=True,
        )
