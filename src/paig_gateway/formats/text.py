"""The most tokens that a request can put in: bounds, never estimates.

Text. A token stands for at least one byte of UTF-8, and JSON writes no byte of text in less than one. So the length of
the body, less the media in it, bounds the tokens of all its text: messages, names, schemas. What chat templates put
around a message (three to eight tokens) is less than what JSON puts around it (`{"role":"user","content":""}`: 28
bytes), so messages need no allowance of their own. What providers add unseen has one: `HIDDEN`, `TOOLS`, `TOOL`.

Media. Base64 is not text: its bytes are left out, and each item has a bound of its own where the provider's documented
sizes give one (images). Where none is known (documents, audio, video, stored files, a conversation kept at the
provider), the bound is the model's context window: `Media.tokens` is None.
"""

from __future__ import annotations

from dataclasses import dataclass

from paig_gateway.formats.reading import Raw, size

HIDDEN = 64
"""Tokens that a chat template may add beyond what JSON puts around a request. A provider that adds a system prompt of
its own has an allowance in the table of provider kinds."""

TOOLS = 1_024
"""Tokens of instructions that come with tools: Anthropic's up to 800, those of Llama's template about 500."""

TOOL = 64
"""Tokens that a template puts around a tool's definition, beyond its bytes in the request."""

BUILT_IN = 4_096
"""Tokens of the definition of a tool that the provider describes itself (computer use, text editor, shell)."""

EMBEDDED_ITEM = 32
"""Tokens that an embedding model puts around each text, such as Voyage's prompts for queries and documents."""

OPENAI_IMAGE = 50_000
"""Tokens of an image: gpt-4o-mini's eight tiles are the most (48,169); other servers of this format stay below."""

ANTHROPIC_IMAGE = 5_000
"""Tokens of an image: 4,784 at the highest resolution."""

GEMINI_IMAGE = 5_000
"""Tokens of an image: sixteen tiles of 258 are the most (4,128)."""

BEDROCK_IMAGE = 20_000
"""Tokens of an image over all model families: Qwen3-VL's 16,384 are the most."""

GENERATED_IMAGE = 20_000
"""Output tokens of a generated image: 6,240 at gpt-image-1's highest quality and size; newer ones are larger."""


@dataclass(slots=True)
class Media:
    """The media in a request.

    Attributes:
        found: There is some, or may be.
        tokens: Upper bound of its tokens; None where none is known.
        skipped: Bytes of the body that are media, not text.
    """

    found: bool = False
    tokens: int | None = 0
    skipped: int = 0

    def image(self, raw: Raw | None, tokens: int) -> None:
        """Count an image, inline or by link, of at most `tokens`."""
        self.found = True
        self.skipped += size(raw)
        if self.tokens is not None:
            self.tokens += tokens

    def unbounded(self) -> None:
        """Count something whose tokens only the context window bounds."""
        self.found = True
        self.tokens = None


def bound(body: bytes, media: Media, *, hidden: int = HIDDEN, tools: int = 0, built_in: int = 0) -> int:
    """The most tokens of text that a request can put in.

    Args:
        body: The request.
        media: What of it is not text.
        hidden: What the chat template may add.
        tools: How many tools the request defines.
        built_in: How many of them the provider describes itself.
    """
    return len(body) - media.skipped + hidden + (TOOLS if tools else 0) + TOOL * tools + BUILT_IN * built_in
