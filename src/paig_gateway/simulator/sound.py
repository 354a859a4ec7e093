"""OpenAI-shaped sound: transcription and translation of a recording in a form, and speech from text.

A WAV file is as long as its header says, anything else a second for each 8,000 bytes. A second is 10 tokens heard
and 20 tokens spoken, as over WebSockets; speech takes a second for 16 characters.
"""

from __future__ import annotations

import base64
import math
import struct

from .files import form
from .openai_common import SHAPE, body, headers, stream, wanted_model
from .operation import Operation, SimulatedAnswer, SimulatedRefusal, SimulatedRequest
from .reply import Prompt, TokenCounts, quarter
from .wire import Document, sse

HEARD, SPOKEN = 10, 20
"""Tokens a second."""
RATE = 24_000
_BY_THE_SECOND = ("whisper", "gpt-transcribe", "voxtral")
_KINDS = {"mp3": b"audio/mpeg", "opus": b"audio/opus", "aac": b"audio/aac", "flac": b"audio/flac", "wav": b"audio/wav"}
_PLAIN = ("text", "srt", "vtt")


def seconds(content: bytes) -> float:
    """How long a recording is."""
    at = content.find(b"data", 12, 200)
    if content[:4] == b"RIFF" and at > 0:
        rate: int = struct.unpack_from("<I", content, 28)[0]
        return (len(content) - at - 8) / max(1, rate)
    return len(content) / 8_000


def wav(length: float) -> bytes:
    """A number of seconds of silence: 16 bits at 24 kHz."""
    samples = bytes(2 * int(RATE * length))
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2,
                       16, b"data", len(samples))  # fmt: skip
    return head + samples


def _read_recording(request: SimulatedRequest) -> Prompt:
    fields = form(request)
    if "file" not in fields:
        raise SimulatedRefusal(400, "'file' is a required property")
    said = {name: content.decode("utf-8", "replace") for name, (_, content) in fields.items() if name != "file"}
    request.body = {**said, "seconds": seconds(fields["file"][1])}
    prompt = Prompt(model=wanted_model(request), stream=said.get("stream") == "true")
    if said.get("prompt"):
        prompt.texts = [said["prompt"]]
        prompt.user(prompt.texts)
    return prompt


def _write_recording(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    reply, length = request.reply(prompt), request.body["seconds"]
    heard, written = math.ceil(length * HEARD), quarter(len(prompt.ask))
    tokens = TokenCounts(input=heard + written, output=reply.tokens.output)
    by_second = prompt.model.startswith(_BY_THE_SECOND)
    usage: Document = (
        {"type": "duration", "seconds": math.ceil(length)}
        if by_second
        else {
            "type": "tokens",
            "input_tokens": tokens.input,
            "input_token_details": {"text_tokens": written, "audio_tokens": heard},
            "output_tokens": tokens.output,
            "total_tokens": tokens.total,
        }
    )
    usage_part = {} if request.faults.no_usage else {"usage": usage}
    wanted = request.body.get("response_format", "json")
    if wanted in _PLAIN:
        text = reply.text if wanted == "text" else f"1\n00:00:00,000 --> 00:00:01,000\n{reply.text}"
        answer = SimulatedAnswer(b"text/plain; charset=utf-8", text.encode() + b"\n", headers=headers(request.family))
    elif prompt.stream and not by_second:
        pieces: list[Document] = [{"type": "transcript.text.delta", "delta": piece} for piece in reply.pieces]
        end = {"type": "transcript.text.done", "text": reply.text, **usage_part}
        answer = stream(request, [sse(event, None) for event in (*pieces, end)])
    else:
        value: Document = {"text": reply.text, **usage_part}
        if wanted == "verbose_json":
            translates = request.path.endswith("translations")
            value = {"task": "translate" if translates else "transcribe", "language": "english", "duration": length,
                     **value, "segments": []}  # fmt: skip
        answer = body(request, value)
    answer.tokens = tokens
    return answer


def _read_speech(request: SimulatedRequest) -> Prompt:
    text = request.body["input"]
    if not isinstance(text, str) or not isinstance(request.body.get("voice", ""), (str, dict)):
        raise SimulatedRefusal(400, "'input' and 'voice' are required properties")
    prompt = Prompt(model=wanted_model(request), stream=request.body.get("stream_format") == "sse", texts=[text])
    prompt.user([text])
    return prompt


def _write_speech(request: SimulatedRequest, prompt: Prompt) -> SimulatedAnswer:
    length = max(0.5, len(prompt.ask) / 16)
    sound = wav(length)
    tokens = TokenCounts(input=quarter(len(prompt.ask)), output=math.ceil(length * SPOKEN))
    if prompt.stream:
        parts = sound[: len(sound) // 2], sound[len(sound) // 2 :]
        events: list[Document] = [
            {"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()} for part in parts
        ]
        usage = {"input_tokens": tokens.input, "output_tokens": tokens.output, "total_tokens": tokens.total}
        events.append({"type": "speech.audio.done", **({} if request.faults.no_usage else {"usage": usage})})
        answer = stream(request, [sse(event, None) for event in events])
    else:
        kind = str(request.body.get("response_format", "mp3"))
        content = sound if kind == "wav" else sound[44:] if kind == "pcm" else bytes(int(length * 8_000))
        answer = SimulatedAnswer(_KINDS.get(kind, b"audio/pcm"), content, headers=headers(request.family))
    answer.tokens = tokens
    return answer


RECORDING = Operation(_read_recording, _write_recording, SHAPE, raw=True)
"""Transcription and translation."""
SPEECH = Operation(_read_speech, _write_speech, SHAPE)
