"""Forms (`multipart/form-data`): their fields, and the rule that every parser must read the same fields.

`check` comes first: what passes it has one reading. `fields` then reads by the first line, which is the boundary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from paig_gateway.formats.ambiguity import check_names, decides, is_plain_value
from paig_gateway.formats.base import MalformedRequest

MOST_PARTS = 1_000

_FIELD = re.compile(rb'content-disposition:[^\r\n]*?;\s*name="?([^";\r\n]*)"?', re.IGNORECASE)

_CONTENT_TYPE = re.compile(
    rb"multipart/form-data[ \t]*;[ \t]*(?:charset=\"?utf-8\"?[ \t]*;[ \t]*)?"
    rb"boundary=(?:\"([\w'()+,./:=? -]{1,70})\"|([\w'+./:=?-]{1,70}))[ \t]*(?:;[ \t]*charset=\"?utf-8\"?[ \t]*)?",
    re.IGNORECASE,
)
_DISPOSITION = re.compile(
    rb"content-disposition:[ \t]*form-data((?:;[ \t]*[^;\"\r\n]+=(?:\"[^\"\\]*\"|[^\s;\"]+))+)", re.I
)
_PARAMETER = re.compile(rb";[ \t]*([^;\"\r\n=]+)=(\"[^\"\\]*\"|[^\s;\"]+)")
_OTHER_HEADER = re.compile(
    rb"(?:content-type:(?![ \t]*multipart/)|content-length:|content-transfer-encoding:)[^\r\n]*", re.IGNORECASE
)
_ENCODED = re.compile(rb"content-transfer-encoding:(?![ \t]*(?:binary|8bit|7bit)[ \t]*$)", re.IGNORECASE)
# Fields that are lists; all others are given once.
_LIST = re.compile(r"(?:.*\[\w*\]|images?|masks?|files?|include|timestamp_granularities)$")


def is_form(body: bytes) -> bool:
    """Whether a body is a form rather than JSON."""
    return body.lstrip(b"\r\n").startswith(b"--")


def check(body: bytes, content_type: bytes) -> None:
    """Check that a form can be read in one way only: plain parts, each with a plain name, and nothing around them.

    Args:
        body: The decoded body.
        content_type: The request's `content-type`.

    Raises:
        MalformedRequest: Two parsers could find different fields in it, or its content type and its bytes disagree.
    """
    if b"multipart/" not in content_type.lower():
        if is_form(body):
            raise MalformedRequest("The body is a form, and the content-type does not say so.")
        return
    boundary = b"--" + boundary_of(content_type)
    if body.startswith(b"\r\n"):
        body = body[2:]
    if not body.startswith(boundary):
        raise MalformedRequest("The form must begin with the boundary that its content-type names.")
    start = len(boundary)
    names: list[str] = []
    while body[start : start + 2] == b"\r\n":
        end = body.find(b"\r\n" + boundary, start + 2)
        blank = body.find(b"\r\n\r\n", start)
        if end < 0 or not start < blank < end:
            raise MalformedRequest(
                "The form is cut short: each part needs headers, a blank line and a boundary at its end."
            )
        names.append(part_name(body[start + 2 : blank])[0])
        check_number(names)
        start = end + 2 + len(boundary)
    if body[start:] not in (b"--", b"--\r\n"):
        raise MalformedRequest("The form must end with its closing boundary, and nothing may come after it.")
    if body.count(boundary) > len(names) + 1:
        raise MalformedRequest("The form's boundary is inside one of its parts: choose another one.")
    check_repeated(names)
    check_names(dict.fromkeys(names))


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a content type names.

    Raises:
        MalformedRequest: It names none, or in a way that parsers read differently.
    """
    named = _CONTENT_TYPE.fullmatch(content_type.strip())
    if named is None:
        raise MalformedRequest("The content-type of a form must be 'multipart/form-data; boundary=…' and nothing else.")
    return named[1] or named[2]


def check_number(names: list[str]) -> None:
    """Refuse a form of too many parts.

    Raises:
        MalformedRequest: It has more than `MOST_PARTS`.
    """
    if len(names) > MOST_PARTS:
        raise MalformedRequest(f"The form has more than {MOST_PARTS} parts.")


def check_repeated(names: list[str]) -> None:
    """See that a form gives each field once, lists aside.

    Raises:
        MalformedRequest: It does not.
    """
    counted = Counter(names)
    repeated = next((name for name, times in counted.items() if times > 1 and not _LIST.match(name)), None)
    if repeated is not None:
        raise MalformedRequest(f'The form gives "{repeated}" more than once.')
    if "_charset_" in counted:
        raise MalformedRequest("Send the form as UTF-8, without a field that names a charset.")
    if listed := next((name for name in counted if "[" in name and decides(name.partition("[")[0])), None):
        raise MalformedRequest(f'Write "{listed.partition("[")[0]}" without brackets, which some servers leave away.')
    if both := next((name for name in counted if f"{name}[]" in counted), None):
        raise MalformedRequest(f'The form gives "{both}[]" beside "{both}": give one.')


def part_name(head: bytes) -> tuple[str, bool]:
    """A part's name, from headers that every parser reads alike, and whether it is a file.

    Raises:
        MalformedRequest: Parsers may read them differently.
    """
    dispositions = []
    for line in head.split(b"\r\n"):
        if _DISPOSITION.fullmatch(line):
            dispositions.append(line)
        elif not _OTHER_HEADER.fullmatch(line) or _ENCODED.match(line) or b"\n" in line or b"\r" in line:
            raise MalformedRequest(
                "A part of the form has a header that parsers read differently: send 'Content-Disposition: form-data; "
                'name="…"\', with quoted names, and at most a Content-Type beside it.'
            )
    values: dict[bytes, bytes] = {}
    for line in dispositions:
        for found in _PARAMETER.finditer(line):
            key = found[1].strip().lower()
            if key in values or (key in (b"name", b"filename")) != found[2].startswith(b'"') or key == b"name*":
                raise MalformedRequest(
                    'A part of the form must have name="…" and at most filename="…", quoted, each once.'
                )
            values[key] = found[2]
    if len(dispositions) != 1 or b"name" not in values or not values.keys() <= {b"name", b"filename", b"filename*"}:
        raise MalformedRequest('Each part of the form must have one name="…", and at most a filename besides.')
    read = _FIELD.search(head)
    if read is None or read[1] != values[b"name"][1:-1]:
        raise MalformedRequest("A part of the form has a filename that reads like a name: choose another one.")
    name, is_file = values[b"name"][1:-1].decode("utf-8", "replace"), len(values) > 1
    if is_file and is_plain_value(name):
        raise MalformedRequest(f'The form gives "{name}" as a file: send it without a filename.')
    return name, is_file


def fields(body: bytes) -> Iterator[tuple[str, int, int]]:
    """The fields of a form: each one's name, and where its content starts and ends."""
    boundary = body.lstrip(b"\r\n").partition(b"\r\n")[0]
    start = body.find(boundary) if boundary else -1
    while start >= 0:
        start += len(boundary)
        after = body.find(b"\r\n" + boundary, start)
        after = after + 2 if after >= 0 else -1
        end = len(body) if after < 0 else after
        blank = body.find(b"\r\n\r\n", start, end)
        if (named := _FIELD.search(body, start, end if blank < 0 else blank)) is not None:
            content = end if blank < 0 else blank + 4
            last = end - 2 if end - 2 >= content and body[end - 2 : end] == b"\r\n" else end
            yield named[1].decode("utf-8", "replace"), content, last
        start = after


def splice_field(body: bytes, name: str, content: bytes) -> bytes:
    """Set the content of a field of a form; no other byte changes. A form without that field stays as it is."""
    for found, start, end in fields(body):
        if found == name:
            return body[:start] + content + body[end:]
    return body
