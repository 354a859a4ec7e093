"""Writes the output maximum into a request: into each member that can state it.

The member that a provider heeds is a column of the table of provider kinds; here is how it gets into the bytes.
"""

from __future__ import annotations

from paig_gateway.formats import reading
from paig_gateway.formats.reading import Members
from paig_gateway.formats.splice import splice_member

FieldPath = tuple[str, ...]

_CONFIG = ("generationConfig", "generation_config")
_GEMINI: tuple[FieldPath, ...] = tuple(
    (outer, inner) for outer in _CONFIG for inner in ("maxOutputTokens", "max_output_tokens")
)

# Where a request of each format may state its maximum; what is there is replaced, whichever a server heeds.
PLACES: dict[str, tuple[FieldPath, ...]] = {
    "openai-chat": (("max_completion_tokens",), ("max_tokens",)),
    "openai-completions": (("max_tokens",),),
    "openai-responses": (("max_output_tokens",),),
    "anthropic": (("max_tokens",),),
    "gemini": _GEMINI,
    "bedrock-converse": (("inferenceConfig", "maxTokens"),),
    "cohere-chat": (("max_tokens",),),
    "cohere-chat-v1": (("max_tokens",),),
    "cohere-generate": (("max_tokens",),),
    "ollama-chat": (("options", "num_predict"),),
    "ollama-generate": (("options", "num_predict"),),
}


def set_maximum(
    body: bytes, format_name: str, field: str, most: int, *, alone: bool = False
) -> tuple[bytes, str] | None:
    """Set a request's output maximum.

    Args:
        body: The request, not encoded.
        field: The member to set if the request has none, with dots between levels.
        most: Tokens of each answer.
        alone: Whether the server heeds that member alone; otherwise those that the request has are set.

    Returns:
        The request with the maximum, and the members that now state it. None if that would not bound the output: the
        format has no such member, or another part of the request overrides it.
    """
    top = reading.members(body)
    if format_name == "bedrock-invoke":
        if (shape := _invoke_shape(top)) is None:
            return None
        places: tuple[FieldPath, ...] = (shape,)
        wanted = shape
    else:
        if format_name not in PLACES or _goes_around(top):
            return None
        places, wanted = PLACES[format_name], tuple(field.split("."))
        if format_name == "gemini":
            wanted = _spelt(top)
    present = [place for place in places if _stated(top, place)]
    if alone and wanted not in present:
        present = []
    number = str(most).encode()
    for place in present or [wanted]:
        body = _set(body, place, number)
    return body, ",".join(".".join(place) for place in present or [wanted])


def _set(body: bytes, place: FieldPath, number: bytes) -> bytes:
    changed = splice_member(body, place, number)
    if changed != body or len(place) == 1:
        return changed
    whole = b"{" + b'"%b":%b}' % (place[1].encode(), number)
    stated = reading.members(body).get(place[0])
    is_object = stated is not None and bytes(stated).startswith(b"{")
    return body if is_object else splice_member(body, place[:1], whole)


def _stated(top: Members, place: FieldPath) -> bool:
    inside = top if len(place) == 1 else reading.members(top.get(place[0]))
    return reading.present(inside.get(place[-1]))


def _spelt(top: Members) -> FieldPath:
    """Gemini's member, in the spelling that the request uses."""
    outer = next((name for name in _CONFIG if name in top), None)
    snake = any("_" in name for name in (reading.members(top.get(outer)) if outer else top))
    return outer or _CONFIG[snake], "max_output_tokens" if snake else "maxOutputTokens"


def _goes_around(top: Members) -> bool:
    """Whether a Converse request sets the maximum in the model family's own words."""
    extra = reading.members(top.get("additionalModelRequestFields"))
    return any(
        name in extra for name in ("max_tokens", "maxTokens", "max_new_tokens", "max_gen_len", "inferenceConfig")
    )


def _invoke_shape(top: Members) -> FieldPath | None:
    """Where a model family of Bedrock's InvokeModel takes the maximum; None if the shape names no family."""
    if "anthropic_version" in top:
        return ("max_tokens",)
    if "inferenceConfig" in top or "schemaVersion" in top:
        nova = "max_new_tokens" in reading.members(top.get("inferenceConfig"))
        return ("inferenceConfig", "max_new_tokens" if nova else "maxTokens")
    return ("max_tokens",) if "messages" in top else None
