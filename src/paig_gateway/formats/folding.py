"""Functions that the folds of all formats share.

A fold takes events into a body of the shape that the call without a stream would have returned, as far as it matters to
money. The usage object goes where the extractor looks only when it is final. Until then it is kept under
`partial_usage`: what a stream that is cut short is known to have used at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import cast

from paig_gateway.formats import reading
from paig_gateway.formats.base import EVENT_ERROR, Json, Marker, StreamEvent
from paig_gateway.formats.reading import Members, Raw

PARTIAL = "partial_usage"

END = "stream_end"
"""Set in the body of a stream that ended normally: a finish reason, a stop event, `[DONE]`."""

TEXT_SIZE = "text_size"
"""The bytes of text in an output item that ended: what a stream that is cut short has at least."""

USAGE_OR_ERROR = Marker(rb'"usage"\s*:\s*\{', rb'"error"\s*:\s*[{"]', EVENT_ERROR)
"""Matches in an event that has a usage object or an error."""


def keep(body: dict[str, object], top: Members, names: Iterable[str]) -> None:
    """Copy members with a value into the body."""
    for name in names:
        found = reading.value(top.get(name))
        if found is not None and found != "":
            body[name] = found


MOST_ITEMS = 1_000
"""Output items, tool calls or searches of one answer that are kept. More are left out: a stream may have no end."""


def appended(known: object, new: Iterable[object]) -> list[object]:
    """A folded list with new elements; a full one stays as it is."""
    kept = each(known)
    return kept if len(kept) >= MOST_ITEMS else [*kept, *islice(new, MOST_ITEMS - len(kept))]


def usage_in(raw: Raw | None) -> dict[str, object]:
    """A usage object's members except nulls; empty if there is none."""
    return {name: value for name, value in mapping(reading.value(raw)).items() if value is not None}


MOST_MEMBERS, LONGEST_VALUE = 200, 1000
"""Members of a stream's usage object, on each level, that are kept; and the characters or elements of one of them."""


def note_usage(body: dict[str, object], usage: Mapping[str, object], *, final: bool) -> None:
    """Take a cumulative usage object in; see `updated`. Counts are never added up."""
    if not usage:
        return
    known = mapping(body.pop(PARTIAL, None) or body.get("usage"))
    body["usage" if final or "usage" in body else PARTIAL] = updated(known, usage)


def updated(known: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """A usage object after a later one: later counts replace earlier ones, but a zero or an empty value never does.

    Some servers repeat every member in the last event and fill in only those that are new. Long texts, and names
    beyond a maximum, are left out, so that the usage of an endless stream stays small.
    """
    merged = dict(known)
    for name, value in new.items():
        old = merged.get(name)
        if (name not in merged and len(merged) >= MOST_MEMBERS) or _is_long(value):
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[name] = updated(mapping(old), mapping(value))
        elif value or isinstance(value, bool) or not old:
            merged[name] = updated({}, mapping(value)) if isinstance(value, Mapping) else value
    return merged


def _is_long(value: object) -> bool:
    return isinstance(value, (str, list)) and len(value) > LONGEST_VALUE


def finish(body: dict[str, object]) -> None:
    """Note the end of the answer: the usage known so far is final."""
    body[END] = True
    if PARTIAL in body:
        body["usage"] = body.pop(PARTIAL)


def note_error(body: dict[str, object], error: object) -> None:
    """Keep the error that a provider reports in a stream."""
    if error is not None and error != "":
        body["error"] = error


def error_of(event: StreamEvent, top: Members) -> object:
    """The error in an event: its `error` member, or all of an event that is named so."""
    if reading.present(top.get("error")):
        return reading.value(top["error"])
    if event.name == "error" or event.is_exception:
        error = reading.value(event.data)
        return error if error is not None else {"message": event.data.decode("utf-8", "replace")}
    return None


def provisional(body: Json) -> Json:
    """The body of a stream that was cut short, with what is known of its usage in the place of the final usage.

    Its input counts are the provider's own; its output count is a lower bound.
    """
    partial = mapping(body.get(PARTIAL))
    if not partial:
        return body
    place = "usageMetadata" if any(name.endswith("TokenCount") for name in partial) else "usage"
    return {**body, place: partial}


def mapping(found: object) -> Json:
    """An object's members; empty if it is not an object."""
    return cast(Json, found) if type(found) is dict or isinstance(found, Mapping) else {}


def dig(found: object, *steps: str) -> object:
    """The value below nested objects, or None."""
    for step in steps:
        if type(found) is not dict and not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def each(found: object) -> list[object]:
    """An array's elements; empty if it is not an array."""
    return cast("list[object]", found) if isinstance(found, list) else []


def joined(*pieces: object) -> str:
    """The strings among `pieces`, joined."""
    return "".join(piece for piece in pieces if isinstance(piece, str))


def text_size(found: object) -> int:
    """The length of a string; 0 for anything else."""
    return len(found) if isinstance(found, str) else 0


def in_base64(length: int) -> int:
    """The number of bytes in base64 text of this length."""
    return length * 3 // 4


_TRAFFIC = {"ON_DEMAND": "standard", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}


def traffic_type(found: object) -> dict[str, str]:
    """Google's kind of traffic as a service tier: the one that served, which may be lower than the one asked for.

    A kind that is not known, such as provisioned throughput, stays as it is.
    """
    if not isinstance(found, str) or found in ("", "TRAFFIC_TYPE_UNSPECIFIED"):
        return {}
    return {"service_tier": _TRAFFIC.get(found, found.lower())}


def whole(found: object) -> int | None:
    """A count, or None if it is not one."""
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None
