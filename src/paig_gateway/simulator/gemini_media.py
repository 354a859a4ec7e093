"""Images and speech that Gemini's models answer with (`responseModalities`).

An image is 1,290 tokens, speech 25 for each second; a second says 16 characters.
"""

from __future__ import annotations

import base64
import math

from .reply import Prompt, Reply
from .wire import Document

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One pixel: what every picture is."""
IMAGE_TOKENS = 1_290
RATE = 24_000
"""Samples of 16 bits in a second of speech."""
SPOKEN = 25
"""Tokens for each second of speech."""
CHARACTERS = 16
"""Characters that are spoken in a second."""
MOST_SECONDS = 60
"""The longest speech; the end of a longer text is not spoken."""


def generated(modalities: list[str], prompt: Prompt, reply: Reply) -> list[Document]:
    """The parts of an answer that are not text; adds their tokens to those of the reply.

    Args:
        modalities: The kinds of content that the client asks for, in upper case.
    """
    parts: list[Document] = []
    made = reply.tokens.made
    if "IMAGE" in modalities:
        parts.append(_inline("image/png", PNG))
        made["IMAGE"] = IMAGE_TOKENS
    if "AUDIO" in modalities:
        seconds = min(MOST_SECONDS, max(1, math.ceil(len(prompt.ask) / CHARACTERS)))
        parts.append(_inline(f"audio/L16;codec=pcm;rate={RATE}", bytes(2 * RATE * seconds)))
        made["AUDIO"] = SPOKEN * seconds
    if parts and "TEXT" not in modalities:
        reply.tokens.output = reply.tokens.reasoning
        reply.text, reply.pieces = "", []
    reply.tokens.output += sum(made.values())
    return parts


def _inline(kind: str, content: bytes) -> Document:
    return {"inlineData": {"mimeType": kind, "data": base64.b64encode(content).decode()}}
