"""Lists of stored objects: which elements an answer has, and the answer without some of them.

The elements that stay keep their bytes. `first_id` and `last_id` name what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from paig_gateway.formats import reading
from paig_gateway.formats.references import last_name
from paig_gateway.formats.splice import locate, splice_member

_IDS = ("id", "invocationArn", "jobArn", "batch_id", "collection_id", "file_id", "name", "modelId")
_TOTALS = ("total", "total_count", "total_items", "totalCount", "totalItems", "totalSize", "total_size", "count")


@dataclass(frozen=True, slots=True)
class Listing:
    """A list in an answer.

    Attributes:
        member: The name of the array; None if the answer is nothing but the array.
        ids: The id of each element; None if it has none.
        spans: Where each element starts and ends in the answer.
        start: Where the array starts.
        end: Its end.
    """

    member: str | None
    ids: list[str | None]
    spans: list[tuple[int, int]]
    start: int
    end: int


def object_id(members: Mapping[str, msgspec.Raw]) -> str | None:
    """The id of a stored object in an API's own words."""
    for name in _IDS:
        if found := reading.string(members.get(name)):
            return last_name(found) if name == "name" else found
    return None


def listing(body: bytes) -> Listing | None:
    """The list in an answer; None if it is empty.

    Raises:
        ValueError: The answer is not JSON, or has several lists; the message says which.
    """
    text = body.lstrip()
    if not text:
        return None
    if not isinstance(reading.value(body), (dict, list)):
        raise ValueError("it is not JSON")
    if text[:1] == b"[":
        return _spans(body, None, len(body) - len(text), len(body.rstrip())) if reading.array(text) else None
    top = reading.members(body)
    names = [name for name, raw in top.items() if reading.array(raw)]
    if len(names) > 1:
        raise ValueError(f"it has several lists: {', '.join(names)}")
    for name, raw in top.items():
        if name not in names and any(_holds_more(inner) for inner in reading.members(raw).values()):
            raise ValueError(f"'{name}' may also name objects")
    span = locate(body, (names[0],)) if names else None
    return _spans(body, names[0], *span) if span is not None else None


def _holds_more(raw: msgspec.Raw) -> bool:
    """Whether a value is an array or an object that is not empty."""
    return bool(reading.array(raw) or reading.members(raw))


def _spans(body: bytes, member: str | None, start: int, end: int) -> Listing:
    spans: list[tuple[int, int]] = []
    ids: list[str | None] = []
    place = start + 1
    for raw in reading.array(msgspec.Raw(body[start:end])):
        element = bytes(raw)
        # Nothing but a comma and white space stands before an element, so its bytes are first found where it stands.
        at = body.find(element, place, end)
        if at < 0:
            raise ValueError("its elements cannot be found")
        spans.append((at, at + len(element)))
        id = reading.string(msgspec.Raw(element))
        ids.append(last_name(id) if id is not None else object_id(reading.members(element)))
        place = at + len(element)
    return Listing(member, ids, spans, start, end)


def without(body: bytes, found: Listing, kept: list[bool]) -> bytes | None:
    """The answer with some elements of its list.

    Args:
        kept: Of each element, whether it stays.

    Returns:
        The answer; None if a total would reveal the removed elements.
    """
    if all(kept):
        return body
    top = reading.members(body) if found.member is not None else {}
    for members in (top, *map(reading.members, top.values())):
        if any((reading.integer(members.get(name)) or 0) > sum(kept) for name in _TOTALS):
            return None
    pieces = [body[found.start + 1 : found.spans[0][0]]]
    left = [number for number, keeps in enumerate(kept) if keeps]
    for place, number in enumerate(left):
        start, end = found.spans[number]
        between = body[found.spans[number - 1][1] : start] if place else b""
        pieces.append(between + body[start:end])
    pieces.append(body[found.spans[-1][1] : found.end - 1])
    cut = body[: found.start + 1] + b"".join(pieces) + body[found.end - 1 :]
    for name, number in (("first_id", 0), ("last_id", -1)):
        if name in top and reading.present(top[name]):
            id = found.ids[left[number]] if left else None
            cut = splice_member(cut, (name,), msgspec.json.encode(id))
    return cut
