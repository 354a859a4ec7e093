"""Whether what a provider sent is an answer of the model, judged from its first bytes.

Proxies and firewalls send HTML under status 200, servers put an error into a body or a stream that began well, and
redirects lead away from the API. None of that is an answer: nothing is charged for it, and the next member of the route
is tried. Only formats that name the members of an answer (`Format.answer`) are judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from paig_gateway.formats import reading
from paig_gateway.formats.base import Format, Framing, StreamEvent
from paig_gateway.formats.framing import FRAMINGS, sniffed

Judgement = Literal["answer", "not-answer", "cut", "more"]
"""`cut`: JSON that breaks off, so it may have been an answer. `more`: the bytes so far do not decide it."""

MOST = 64 * 1024
"""Bytes that are read: a body that is still undecided then counts as an answer."""

_PREAMBLES = frozenset(
    {
        *("ping", "message_start", "messageStart"),
        *("response.created", "response.queued", "response.in_progress", "keepalive"),
    }
)
"""Types of events that come before anything of the answer: an error after them is still an error at the start."""

_SHORTEST = 6
"""Bytes after which a text that is neither JSON nor events shows itself: `event:` is the longest first field."""


def judge(fmt: Format, status: int, head: bytes, complete: bool) -> Judgement:
    """Judge an answer with a status below 400.

    Args:
        fmt: The API format of the request.
        head: The first bytes of the body, without its content encoding.
        complete: Whether these are all.
    """
    if not fmt.answer:
        return "not-answer" if complete and is_error_page(fmt, head) else "answer"
    if not 200 <= status < 300 or status == 204:
        return "not-answer"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    undecided: Judgement = "not-answer" if complete else "more" if len(head) < MOST else "answer"
    if not text or (len(text) < _SHORTEST and not complete and text[:1] not in b"{["):
        return undecided
    framing = sniffed(head)
    if framing == "json":
        return _judge_json(fmt, text, undecided, complete=complete)
    if framing is None:
        return "not-answer"
    return _judge_events(framing, head, undecided, complete=complete)


def _judge_json(fmt: Format, text: bytes, undecided: Judgement, *, complete: bool) -> Judgement:
    if not complete:
        return undecided
    tops = reading.objects(text) if text.startswith(b"[") else [reading.members(text)]
    if any(_has_answer(fmt, top) for top in tops):
        return "answer"
    if not reading.is_whole(text):
        return "cut"
    # What is not JSON may have been meant to be an answer: some servers write NaN.
    names = any(b'"%s"' % name.encode() in text for name in fmt.answer)
    meant = names and not any(tops) and b'"error"' not in text
    return "answer" if meant else "not-answer"


def _has_answer(fmt: Format, top: reading.Members) -> bool:
    """Whether a body has one of its format's members, and more in it than an error."""
    found = [top[name] for name in fmt.answer if reading.present(top.get(name)) and _may_answer(name, top)]
    failed = reading.present(top.get("error"))
    if failed and "choices" in top and "usage" not in top and not _says_anything(top["choices"]):
        return False
    if not found or (failed and reading.string(top.get("status")) == "failed"):
        return False
    if any(bytes(raw).strip() not in (b"[]", b"{}", b'""') for raw in found):
        return True
    return not failed and ("choices" not in top or any(reading.present(top.get(name)) for name in _SHOWS_ANSWER))


def _may_answer(name: str, top: reading.Members) -> bool:
    """Whether a member may be the answer: a `message` that is text is of an error, and a `request_id` beside it too."""
    if name not in ("message", "request_id") or "message" not in top:
        return True
    return bytes(top["message"]).lstrip()[:1] == b"{"


def _says_anything(choices: reading.Raw) -> bool:
    """Whether a choice has text or a call of a tool."""
    for choice in reading.objects(choices):
        message = reading.members(choice.get("message"))
        texts = [choice.get("text"), *(raw for name, raw in message.items() if name != "role")]
        if any(map(reading.string, texts)):
            return True
        if reading.array(message.get("tool_calls")) or reading.array(message.get("content")):
            return True
    return False


_SHOWS_ANSWER = ("usage", "request_id")
"""Members that show that a chat without a choice is an answer."""

_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)


def is_error_page(fmt: Format, body: bytes) -> bool:
    """Whether the body of an answer that may be anything (a sound, plain text) is a web page or an error alone."""
    if fmt.later_look or fmt.batch or not fmt.metered:
        return False
    if _PAGE.match(body[:200]) is not None:
        return True
    top = reading.members(body) if body[:64].lstrip()[:1] == b"{" else {}
    return reading.present(top.get("error")) and not any(name in top for name in ("text", "data", "audio", "usage"))


def _judge_events(framing: Framing, head: bytes, undecided: Judgement, *, complete: bool) -> Judgement:
    make, parse = FRAMINGS[framing]
    splitter = make()
    try:
        raws = splitter.feed(head)
        if complete and (rest := splitter.rest()):
            raws = [*raws, rest]
        return judge_events(map(parse, raws)) or undecided
    except ValueError:
        return "answer"  # the client gets the bytes unchanged


def judge_events(events: Iterable[StreamEvent]) -> Literal["answer", "not-answer"] | None:
    """Judge a stream by its first events; None if they are all preamble."""
    for event in events:
        if (found := judge_event(event)) is not None:
            return found
    return None


def judge_event(event: StreamEvent) -> Literal["answer", "not-answer"] | None:
    """What an event at the start of a stream means, in whichever format; None if it is preamble.

    An error is an exception frame, an event named `error`, one with an `error` object (OpenAI, Gemini, Groq), or a
    response that failed before it said anything.
    """
    if event.is_exception or event.name == "error":
        return "not-answer"
    data = event.data.strip()
    if not data:
        return None  # a comment, to keep the connection alive
    if data == b"[DONE]":
        return None
    top = reading.members(data)
    kind = reading.string(top.get("type")) or event.name
    if kind in ("error", "response.failed") or reading.present(top.get("error")):
        return "not-answer"
    if kind in _PREAMBLES:
        return None
    return "answer" if data[:1] in (b"{", b"[") else "not-answer"
