"""Forms (`multipart/form-data`), read by their first line, which is the boundary."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FIELD = re.compile(rb'content-disposition:[^\r\n]*?;\s*name="?([^";\r\n]*)"?', re.IGNORECASE)


def is_form(body: bytes) -> bool:
    """Whether a body is a form rather than JSON."""
    return body.lstrip(b"\r\n").startswith(b"--")


def fields(body: bytes) -> Iterator[tuple[str, int, int]]:
    """The fields of a form: each one's name, and where its content starts and ends."""
    boundary = body.lstrip(b"\r\n").partition(b"\r\n")[0]
    start = body.find(boundary) if boundary else -1
    while start >= 0:
        start += len(boundary)
        after = body.find(boundary, start)
        end = len(body) if after < 0 else after
        blank = body.find(b"\r\n\r\n", start, end)
        if (named := _FIELD.search(body, start, end if blank < 0 else blank)) is not None:
            content = end if blank < 0 else blank + 4
            last = end - 2 if end - 2 >= content and body[end - 2 : end] == b"\r\n" else end
            yield named[1].decode("utf-8", "replace"), content, last
        start = after


def splice_field(body: bytes, name: str, content: bytes) -> bytes:
    """Set a form's field that is there; no other byte changes."""
    for found, start, end in fields(body):
        if found == name:
            return body[:start] + content + body[end:]
    return body
