"""The content of requests and answers, in the shape of the GenAI semantic conventions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from paig_gateway.formats.base import Json
from paig_gateway.telemetry.redaction import HIDDEN
from paig_gateway.telemetry.traces.record import Content

MOST_ASKED = 256 * 1024
"""Bytes of a request of which the content is captured; of a larger one it is not."""
MOST_SHOWN = 64 * 1024
"""Characters of each attribute."""


def attributes(content: Content, redact: Callable[[str], str]) -> dict[str, str]:
    """The content as attributes of a span, without secrets and without what the project has blacked out."""
    asked = _decoded(content.asked)
    body: Json = content.body or {}
    messages = [message for message in _answers(body) if message["parts"]]
    if not messages and content.text is not None and (text := content.text()):
        messages = [_message("assistant", text)]
    found = {
        "gen_ai.system_instructions": list(_parts(asked.get("system") or asked.get("systemInstruction"))),
        "gen_ai.input.messages": list(_request_messages(asked)),
        "gen_ai.output.messages": messages,
    }
    own = [re.compile(pattern) for pattern in content.redact]

    def clean(text: str) -> str:
        for pattern in own:
            text = pattern.sub(HIDDEN, text)
        return redact(text)

    return {name: _shown(_cleaned(value, clean)) for name, value in found.items() if value}


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def _cleaned(value: object, clean: Callable[[str], str]) -> object:
    match value:
        case str():
            return clean(value)
        case list():
            return [_cleaned(item, clean) for item in value]
        case dict():
            return {name: _cleaned(item, clean) for name, item in value.items()}
        case _:
            return value


def _request_messages(body: Json) -> Iterator[dict[str, object]]:
    for name in ("messages", "contents", "input", "prompt"):
        listed = body.get(name)
        if isinstance(listed, str):
            yield _message("user", listed)
        for message in listed if isinstance(listed, list) else ():
            if isinstance(message, str):
                yield _message("user", message)
            elif isinstance(message, Mapping):
                yield _message(message.get("role"), message)


def _answers(body: Json) -> Iterator[dict[str, object]]:
    """The messages of an answer of any format."""
    for choice in _maps(body.get("choices")):
        yield _message("assistant", choice.get("message") or choice.get("text"))
    for candidate in _maps(body.get("candidates")):
        yield _message("assistant", candidate.get("content"))
    for item in _maps(body.get("output")):
        yield _message("assistant", item)
    output = body.get("output")
    if isinstance(output, Mapping):
        yield _message("assistant", output.get("message"))
    if isinstance(body.get("content"), list):
        yield _message("assistant", body)


def _message(role: object, value: object) -> dict[str, object]:
    shown = "assistant" if role == "model" else role if isinstance(role, str) else "user"
    return {"role": shown, "parts": list(_parts(value))}


def _parts(value: object) -> Iterator[dict[str, object]]:
    """Text as text; of other parts only their type and name."""
    if isinstance(value, str):
        yield {"type": "text", "content": value}
    elif isinstance(value, list):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, Mapping):
        inner = [value[name] for name in ("content", "parts", "tool_calls") if value.get(name)]
        text = value.get("text")
        if isinstance(text, str):
            yield {"type": "text", "content": text}
        elif inner:
            for item in inner:
                yield from _parts(item)
        elif (kind := value.get("type") or next(iter(value), None)) is not None and kind not in ("role", "content"):
            called = value.get("name") or _name(value.get("function")) or _name(value.get(str(kind)))
            yield {"type": str(kind), **({"name": called} if isinstance(called, str) else {})}


def _name(value: object) -> object:
    return value.get("name") if isinstance(value, Mapping) else None


def _maps(value: object) -> Iterable[Json]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _decoded(raw: bytes) -> Json:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
