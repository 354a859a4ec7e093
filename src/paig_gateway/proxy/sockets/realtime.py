"""OpenAI's Realtime API and compatible ones.

A turn is a response, with the transcription of what the client said before it. It begins with `response.create`, or,
while the provider itself listens for the end of speech, at any time after audio was sent. So the first audio needs
a hold, and so does each turn's end, for the turn that may follow.

What a turn reads is bounded by what the last response read and wrote, by the provider's own count, and by what was
added since: a byte of text is a token at most, and audio is counted by its seconds. What it writes is bounded by the
output maximum that the session or the request states, else by the model's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from paig_gateway.formats import reading
from paig_gateway.formats.base import Call, Format, MalformedRequest, ModelCall
from paig_gateway.formats.folding import dig, each, in_base64, mapping, whole
from paig_gateway.formats.media import MediaItem
from paig_gateway.formats.openai_realtime import BILLED_BEFORE, REALTIME, TRANSCRIBED, TRANSCRIPTION_MODEL
from paig_gateway.formats.text import TOOL, TOOLS, Media
from paig_gateway.proxy.sockets.turns import OVERHEAD, Effect, Need, Saw, Size, Turn, TurnOver, check_inside

AHEAD_SECONDS = 30.0
"""Seconds of audio that are held in advance, so that not every piece needs a write."""

AHEAD_BYTES = 4096
"""Bytes of text that are held in the same way."""

OUTPUT_SECONDS = 60.0
"""Seconds of the provider's speech that are held at a time, where a model is billed by the second."""

PCM, G711 = 48_000.0, 8_000.0
"""Bytes a second of audio: 24,000 samples of 16 bits, and telephones' 8,000 of 8."""

MOST_ITEMS = 10_000
"""Items of a conversation that are remembered."""

LONGEST_ITEM = 256
"""Characters of an item's id that is remembered."""

TOKENS_PER_SECOND = 32
"""Tokens by which `media_tokens` bounds a second of audio."""

_FREE = frozenset(
    {
        *("input_audio_buffer.clear", "output_audio_buffer.clear", "response.cancel", "session.close"),
        *("conversation.item.delete", "conversation.item.truncate", "conversation.item.retrieve"),
    }
)
_UPDATES = frozenset({"session.update", "transcription_session.update"})
_TOLD = frozenset(
    {"session.created", "session.updated", "transcription_session.created", "transcription_session.updated"}
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What of a session's settings decides money.

    Attributes:
        listens: Whether the provider itself finds the end of speech and answers.
        times_out: Whether it also speaks after a silence.
        transcribes: The model that transcribes the client's speech, or None.
        transcription_only: Whether nothing is answered, only transcribed.
        text_only: Whether answers are text alone.
        max_output: The output maximum of an answer, or None.
        rate: Bytes a second of the client's audio.
        at_provider: Whether tools run at the provider, which may then continue by itself.
        stored: Whether a stored prompt of unknown size is used.
    """

    listens: bool = True
    times_out: bool = False
    transcribes: str | None = None
    transcription_only: bool = False
    text_only: bool = False
    max_output: int | None = None
    rate: float = PCM
    at_provider: bool = False
    stored: bool = False


@dataclass(slots=True)
class RealtimeSession:
    """The machine of a session; see `turns.SocketSession`.

    Attributes:
        model: The session's model; what a client named in its query, else what the provider says.
        by_seconds: Whether the model is billed by the seconds of audio.
        joins: Whether the session joins a call, whose audio goes past the gateway: the provider may begin a turn at any
            time, and how much was said is not known.
    """

    model: str = ""
    by_seconds: bool = False
    joins: bool = False
    _settings: Settings = field(default_factory=Settings)
    _armed: Turn | None = None
    _requested: deque[Turn] = field(default_factory=deque)
    _active: dict[str, Turn] = field(default_factory=dict)
    _transcribing: dict[str, Turn] = field(default_factory=dict)
    _ended: list[Turn] = field(default_factory=list)
    """Turns whose response is done, but not the transcription of the speech before it."""
    _base: Size = field(default_factory=Size)
    _text: int = 0
    _seconds: float = 0.0
    _media: list[MediaItem] = field(default_factory=list)
    _unbounded: bool = False
    _covers: dict[Turn, tuple[int, float, int]] = field(default_factory=dict)
    _held_text: int = 0
    _held_seconds: float = 0.0
    _spoken: dict[Turn, float] = field(default_factory=dict)
    _billed: int = 0
    _messages: int = 0
    _heard: bool = False
    """Whether there was any audio: without it the provider begins no turn by itself."""
    _items: dict[str, None] = field(default_factory=dict)
    """Ids of the conversation's items, the oldest first."""

    @property
    def fmt(self) -> Format:
        return REALTIME

    @property
    def ready(self) -> bool:
        return bool(self.model)

    def has(self, id: str) -> bool:
        """Whether an item is of this session; in a call, items from before the gateway joined it may be too."""
        return id in self._items or (self.joins and id.startswith("item_"))

    def _note_item(self, id: str | None) -> None:
        if id is not None and len(id) <= LONGEST_ITEM:
            self._items[id] = None
            if len(self._items) > MOST_ITEMS:
                del self._items[next(iter(self._items))]

    # The client's messages

    def client(self, message: bytes) -> list[Turn]:
        top = reading.request(message)
        kind = reading.string(top.get("type"))
        if kind == "input_audio_buffer.append":
            self._seconds += in_base64(reading.size(top.get("audio"))) / self._settings.rate
            self._heard = True
            return self._audio()
        if kind in _FREE:
            return []
        if kind == "input_audio_buffer.commit":
            return [self._arm()] if self._settings.transcribes and self._armed is None else []
        if kind in _UPDATES:
            session = reading.members(top.get("session"))
            check_inside(top.get("session"), reading.members(session.get("audio")).get("input"))
            self._check_model(session)
            self._settings = self._merge(top.get("session"), told=False)
            self._text += len(message) + TOOLS
            return self._grown([self._arm()] if self._settings.times_out and self._armed is None else [])
        if kind == "conversation.item.create":
            self._item(message, top.get("item"))
            return self._grown([])
        if kind == "response.create":
            check_inside(top.get("response"))
            return [self._create(message, top.get("response"))]
        raise MalformedRequest(f"The gateway does not know what a message of type {kind!r} costs, so it refuses it.")

    def _check_model(self, session: reading.Members) -> None:
        named = reading.string(session.get("model"))
        if named is not None and self.model and named != self.model:
            raise MalformedRequest(
                f"The session's model is '{self.model}' from its beginning: leave \"model\" out, or connect again."
            )

    def _audio(self) -> list[Turn]:
        if self._settings.listens or self._settings.transcription_only:
            if self._armed is None:
                return [self._arm()]
            return self._grown([])
        return self._grown([]) if self._armed is not None else []

    def _grown(self, turns: list[Turn]) -> list[Turn]:
        """The armed turn, too, where what it will read has outgrown what was held for it."""
        armed = self._armed
        if armed is None or armed in turns:
            return turns
        if self._text <= self._held_text and self._seconds <= self._held_seconds and not self._unbounded:
            return turns
        armed.call = self._call()
        self._cover(armed)
        return [*turns, armed]

    def _arm(self) -> Turn:
        """A turn that the provider may begin by itself."""
        turn = self._armed = Turn(self._call(), facts=self._facts())
        self._cover(turn)
        return turn

    def _create(self, message: bytes, response: reading.Raw | None) -> Turn:
        call = self._call(self._merge(response, told=False), len(message))
        # What was armed is of no use beside an answer that was asked for: it becomes that answer's.
        turn, self._armed = self._armed or Turn(call, facts=self._facts()), None
        turn.call, turn.frame, turn.begun = call, message, True
        self._cover(turn)
        self._requested.append(turn)
        return turn

    def _item(self, message: bytes, raw: reading.Raw | None) -> None:
        item = reading.members(raw)
        self._note_item(reading.string(item.get("id")))
        skipped = 0
        for part in reading.objects(item.get("content")):
            kind = reading.string(part.get("type"))
            if "audio" in part:
                skipped += reading.size(part["audio"])
                self._seconds += in_base64(reading.size(part["audio"])) / self._settings.rate
            elif kind == "input_image":
                media = Media()
                media.image(part.get("image_url"), reading.string(part.get("detail")))
                skipped += media.skipped
                self._media += media.items
            elif kind == "item_reference":
                self._unbounded = True
        self._text += len(message) - skipped + OVERHEAD
        self._messages += 1

    # The provider's messages

    def provider(self, message: bytes) -> list[Effect]:
        top = reading.members(message)
        kind = reading.string(top.get("type")) or ""
        if kind.endswith(".delta"):
            return self._delta(kind, top) if self.by_seconds else []
        if "item" in top or "item_id" in top:
            self._note_item(reading.string(top.get("item_id")))
            self._note_item(reading.string(reading.members(top.get("item")).get("id")))
        if kind in _TOLD:
            session = reading.members(top.get("session"))
            self.model = self.model or reading.string(session.get("model")) or ""
            self._settings = self._merge(top.get("session"), told=True)
            if self._settings.transcription_only and self._settings.transcribes:
                self.model = self.model or self._settings.transcribes
            if self.joins and self._armed is None and not self._active:
                return [Need(self._arm())]
        elif kind == "input_audio_buffer.committed":
            self._committed(reading.string(top.get("item_id")))
        elif kind == "response.created":
            return self._created(reading.string(reading.members(top.get("response")).get("id")) or "")
        elif kind == "response.done":
            return self._done(top)
        elif kind.startswith("conversation.item.input_audio_transcription."):
            return self._transcribed(reading.string(top.get("item_id")) or "", completed=kind == TRANSCRIBED)
        elif kind == "error":
            return self._refused(mapping(reading.value(top.get("error"))))
        return []

    def _delta(self, kind: str, top: reading.Members) -> list[Effect]:
        """More speech than was held for: hold for more."""
        turn = self._active.get(reading.string(top.get("response_id")) or "")
        if turn is None or not kind.endswith("audio.delta"):
            return []
        spoken = self._spoken[turn] = self._spoken.get(turn, 0.0) + in_base64(reading.size(top.get("delta"))) / PCM
        seconds = sum(item.seconds or 0.0 for item in turn.call.media if item.kind == "audio")
        if spoken + self._seconds + OUTPUT_SECONDS / 2 < seconds:
            return []
        turn.call = replace(turn.call, media=(*turn.call.media, _sound(OUTPUT_SECONDS)))
        return [Need(turn)]

    def _committed(self, item: str | None) -> None:
        turn = self._armed or (self._requested[-1] if self._requested else None)
        if turn is None:
            return
        self._cover(turn)
        if self._settings.listens and not self._settings.transcription_only:
            turn.begun = True
        if self._settings.transcribes and item is not None:
            turn.begun = True
            self._transcribing[item] = turn

    def _created(self, response: str) -> list[Effect]:
        if self._requested:
            turn, fresh = self._requested.popleft(), False
        elif self._armed is not None:
            turn, fresh, self._armed = self._armed, False, None
        else:
            turn, fresh = Turn(self._call(), facts=self._facts()), True
            self._cover(turn)
        turn.begun = True
        self._active[response] = turn
        return [*([Need(turn)] if fresh else []), Saw(turn)]

    def _done(self, top: reading.Members) -> list[Effect]:
        response = reading.members(top.get("response"))
        turn = self._active.pop(reading.string(response.get("id")) or "", None)
        if turn is None:
            return []
        found: list[Effect] = [Saw(turn)]
        usage = mapping(reading.value(response.get("usage"))) or mapping(reading.value(top.get("usage")))
        self._learn(turn, usage, apart=_is_apart(response))
        if turn in self._transcribing.values():
            self._ended.append(turn)
        else:
            found.append(self._end(turn))
        settings = self._settings
        goes_on = settings.at_provider or settings.times_out or (settings.listens and (self._heard or self.joins))
        if goes_on and self._armed is None and not self._requested:
            found.append(Need(self._arm()))
        return found

    def _learn(self, turn: Turn, usage: Mapping[str, object], *, apart: bool) -> None:
        """What the conversation is now, by the provider's own count."""
        billed = whole(usage.get("billable_audio_seconds"))
        self._billed, self._messages = max(self._billed, billed or 0), 0
        total = whole(usage.get("total_tokens"))
        if total is None or apart:
            return
        heard = [dig(usage, f"{side}_token_details", f"{kind}_tokens") for side in _SIDES for kind in _DEAR]
        audio = sum(whole(number) or 0 for number in heard)
        known = usage.get("input_token_details") is not None
        self._base = Size(max(0, total - audio), audio) if known else Size(0, total)
        text, seconds, media = self._covers.get(turn, (0, 0.0, 0))
        self._text, self._seconds = max(0, self._text - text), max(0.0, self._seconds - seconds)
        del self._media[:media]
        for other, covered in list(self._covers.items()):
            self._covers[other] = (
                max(0, covered[0] - text),
                max(0.0, covered[1] - seconds),
                max(0, covered[2] - media),
            )
        self._held_text = max(0, self._held_text - text)
        self._held_seconds = max(0.0, self._held_seconds - seconds)

    def _transcribed(self, item: str, *, completed: bool) -> list[Effect]:
        turn = self._transcribing.get(item)
        if turn is None:
            return []
        if not completed:  # a delta, or a segment; what failed costs nothing
            return []
        del self._transcribing[item]
        found: list[Effect] = [Saw(turn)]
        if turn in self._transcribing.values():
            return found
        if turn in self._ended:
            self._ended.remove(turn)
            found.append(self._end(turn))
        elif self._settings.transcription_only or (turn is self._armed and not self._settings.listens):
            if turn is self._armed:
                self._armed = None
            self._seconds = 0.0
            found.append(self._end(turn))
            if self._settings.listens:
                found.append(Need(self._arm()))
        return found

    def _refused(self, error: Mapping[str, object]) -> list[Effect]:
        """An error: of the message that it names, or of the one that was sent last where it can be no other."""
        named = error.get("event_id")
        for turn in self._requested:
            own = reading.string(reading.members(turn.frame).get("event_id"))
            if own == named or (named is None and error.get("code") == "conversation_already_has_active_response"):
                self._requested.remove(turn)
                turn.over = True
                self._forget(turn)
                return [Saw(turn), TurnOver(turn, "refused")]
        return []

    def open(self) -> Iterable[Turn]:
        seen = [*self._active.values(), *self._requested, *self._ended, *self._transcribing.values()]
        return dict.fromkeys([*seen, *([self._armed] if self._armed else [])])

    # Bounds

    def _end(self, turn: Turn) -> TurnOver:
        turn.over = True
        self._forget(turn)
        return TurnOver(turn, "ended")

    def _forget(self, turn: Turn) -> None:
        self._covers.pop(turn, None)
        self._spoken.pop(turn, None)

    def _cover(self, turn: Turn) -> None:
        """The turn will read all that was sent so far."""
        self._covers[turn] = self._text, self._seconds, len(self._media)

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"model": self.model, BILLED_BEFORE: self._billed}
        if self._settings.transcribes:
            facts[TRANSCRIPTION_MODEL] = self._settings.transcribes
        return facts

    def _merge(self, raw: reading.Raw | None, *, told: bool) -> Settings:
        """The settings after an update. A session that is billed by the second has its transcription included."""
        found = _merged(self._settings, raw, told=told)
        return replace(found, transcribes=None) if self.by_seconds else found

    def _call(self, settings: Settings | None = None, more: int = 0) -> Call:
        """The worst case of the next turn."""
        settings = settings or self._settings
        self._held_text, self._held_seconds = self._text + AHEAD_BYTES, self._seconds + AHEAD_SECONDS
        output = OUTPUT_SECONDS if self.by_seconds else 0.0
        media = [_sound(self._held_seconds + output), *self._media]
        if self._base.audio:
            media.append(_sound(self._base.audio / TOKENS_PER_SECOND))
        transcribes = settings.transcribes
        return Call(
            model=self.model,
            stream=True,
            input_tokens=self._base.text + self._held_text + more + TOOLS + TOOL,
            output_tokens=settings.max_output,
            media_in=True,
            media=tuple(media),
            unbounded_input=self._unbounded or settings.stored or self.joins,
            media_out=not settings.text_only,
            unbounded_tools=settings.at_provider,
            units={"input_text_messages": self._messages + 1} if self.by_seconds else {},
            also=(ModelCall(transcribes),) if transcribes and transcribes != self.model else (),
            asks_usage=True,
        )


_SIDES = ("input", "output")
_DEAR = ("audio", "image")


def _sound(seconds: float) -> MediaItem:
    return MediaItem("audio", seconds=seconds)


def _merged(known: Settings, raw: reading.Raw | None, *, told: bool) -> Settings:
    """Settings after an update; until the provider has confirmed it (`told`), the dearer of old and new settings count.

    The names are those of the API of 2025 and, below `audio`, of its later form.
    """
    new = mapping(reading.value(raw))
    audio_in = mapping(dig(new, "audio", "input"))
    found = known
    for place, name in ((new, "turn_detection"), (audio_in, "turn_detection")):
        if name in place:
            detection = place[name]
            listens = detection is not None and dig(detection, "create_response") is not False
            found = replace(
                found,
                listens=listens or (found.listens and not told),
                times_out=dig(detection, "idle_timeout_ms") is not None or (found.times_out and not told),
            )
    for place, name in ((new, "input_audio_transcription"), (audio_in, "transcription")):
        if name in place:
            model = dig(place[name], "model")
            found = replace(found, transcribes=model if isinstance(model, str) else None if told else found.transcribes)
    if new.get("type") == "transcription":
        found = replace(found, transcription_only=True)
    modalities = each(new.get("output_modalities") or new.get("modalities"))
    if modalities:
        text_only = "audio" not in modalities
        found = replace(found, text_only=text_only)
    for name in ("max_output_tokens", "max_response_output_tokens"):
        if name in new:
            found = replace(found, max_output=whole(new[name]) or None)
    written = new.get("input_audio_format") or audio_in.get("format")
    kind = written if isinstance(written, str) else dig(written, "type")
    if isinstance(kind, str):
        found = replace(found, rate=_rate(kind, dig(written, "rate")))
    tools = each(new.get("tools"))
    if "tools" in new:
        found = replace(found, at_provider=any(dig(tool, "type") not in ("function", None) for tool in tools))
    if new.get("prompt") is not None:
        found = replace(found, stored=True)
    return found


def _rate(kind: str, samples: object) -> float:
    """Bytes a second of an audio format; for an unknown one the lowest rate, which makes the most seconds."""
    if kind in ("pcm16", "audio/pcm"):
        return float(whole(samples) or 24_000) * 2
    return G711


def _is_apart(response: reading.Members) -> bool:
    """Whether a response is outside of the conversation, so that its usage does not count for it."""
    return "conversation_id" in response and reading.string(response["conversation_id"]) is None
