"""The most tokens that a request can put in: bounds, never estimates.

Text. A token stands for at least one byte of UTF-8, and JSON writes no byte of text in less than one. So the length of
the body, less the media in it, bounds the tokens of all its text: messages, names, schemas. What chat templates put
around a message (three to eight tokens) is less than what JSON puts around it (`{"role":"user","content":""}`: 28
bytes), so messages need no allowance of their own. What providers add unseen has one: `HIDDEN`, `TOOLS`, `TOOL`.

Media. Base64 is not text: its bytes are left out, and each image, sound and PDF document is bounded by what its own
bytes say of its size (`media`), by the rules of the model that reads it. Where nothing is known (links to sounds and
documents, video, stored files, a conversation kept at the provider), the bound is the model's context window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paig_gateway.formats.base import MalformedRequest
from paig_gateway.formats.media import HEAD, MAX_INFLATED, MediaItem, dimensions, image, is_jpeg, payload, pdf, sound
from paig_gateway.formats.reading import Members, Raw, members, size

HIDDEN = 64
"""Tokens that a chat template may add beyond what JSON puts around a request. A provider that adds a system prompt of
its own has an allowance in the table of provider kinds."""

_FIRST = 4 * 1024
"""Bytes of an image that are decoded first: only a JPEG may have its dimensions later."""

TOOLS = 1_024
"""Tokens of instructions that come with tools: Anthropic's up to 800, those of Llama's template about 500."""

TOOL = 64
"""Tokens that a template puts around a tool's definition, beyond its bytes in the request."""

BUILT_IN = 4_096
"""Tokens of the definition of a tool that the provider describes itself (computer use, text editor, shell)."""

LARGEST_PDF = 8 * 1024 * 1024
"""Bytes of a document that is looked into; larger ones are bounded by the context window."""

MOST_MEDIA = 5_000
"""Images, sounds and documents of one request; Gemini takes the most of them, 3,600."""

EMBEDDED_ITEM = 32
"""Tokens that an embedding model puts around each text, such as Voyage's prompts for queries and documents."""

GENERATED_IMAGE = 20_000
"""Output tokens of a generated image: 6,240 at gpt-image-1's highest quality and size; newer ones are larger."""


@dataclass(slots=True)
class Media:
    """The media in a request.

    Attributes:
        items: Images, sounds and documents whose tokens have a bound of their own.
        unknown: Whether there is media whose tokens only the context window bounds.
        skipped: Bytes of the body that are media, not text.
    """

    items: list[MediaItem] = field(default_factory=list)
    unknown: bool = False
    skipped: int = 0
    _inflated: int = 0

    @property
    def found(self) -> bool:
        """Whether there is some, or may be."""
        return self.unknown or bool(self.items)

    def image(self, raw: Raw | None, detail: str | None = None, inside: Members | None = None) -> None:
        """Count an image: base64 or a link, as a string, or in an object under the names that APIs give it.

        Args:
            raw: The image.
            detail: The requested resolution.
            inside: The members of `raw`, where they are known.
        """
        self.skipped += size(raw)
        content = _content(raw, inside)
        found = payload(content, most=_FIRST)
        if found is not None and len(found[0]) < found[1] and is_jpeg(found[0]) and dimensions(found[0]) is None:
            found = payload(content)
        self._add(image(found[0], found[1], detail) if found else MediaItem("image", detail=detail))

    def image_bytes(self, content: bytes) -> None:
        """Count an image that stands in the body as it is."""
        self.skipped += len(content)
        self._add(image(content[:HEAD], len(content)))

    def audio(self, raw: Raw | None) -> None:
        """Count a sound in base64; a link or anything else is bounded by the context window alone."""
        found = sound(_content(raw))
        if found is None:
            self.unbounded()
            return
        self.skipped += size(raw)
        self._add(found)

    def document(self, raw: Raw | None) -> None:
        """Count a document in base64: a PDF by its pages and its text, others by the context window."""
        if self.unknown:  # the context window bounds the request already, so nothing is inflated
            return
        found = payload(_content(raw), most=LARGEST_PDF)
        item = pdf(found[0]) if found and found[0][:1024].find(b"%PDF-") >= 0 and found[1] <= LARGEST_PDF else None
        if item is None or item.pages is None:
            self.unbounded()
            return
        self._inflated += item.text or 0
        if self._inflated > MAX_INFLATED:  # more than any context window holds
            self.unbounded()
        self.skipped += size(raw)
        self._add(item)

    def _add(self, item: MediaItem) -> None:
        """Note media with a bound of its own.

        Raises:
            MalformedRequest: There is too much of it.
        """
        if len(self.items) == MOST_MEDIA:
            raise MalformedRequest(f"The request has more than {MOST_MEDIA} images, sounds and documents.")
        self.items.append(item)

    def unbounded(self) -> None:
        """Note media whose tokens only the context window bounds."""
        self.unknown = True


# The members that hold the base64 or the link of media.
_CONTENTS = ("url", "data", "bytes", "file_data", "image_url", "b64_json", "result")


def _content(raw: Raw | None, inside: Members | None = None) -> memoryview:
    """The string that holds the media: the value itself, or a member of it, at most three levels down."""
    for _ in range(3):
        if raw is None or bytes(memoryview(raw)[:1]) != b"{":
            break
        found, inside = inside or members(raw), None
        raw = next((found[name] for name in (*_CONTENTS, "source") if name in found), None)
    view = memoryview(raw or b"")
    return view if bytes(view[:1]) == b'"' else view[:0]


def bound(body: bytes, media: Media, *, hidden: int = HIDDEN, tools: int = 0, built_in: int = 0) -> int:
    """The most tokens of text that a request can put in.

    Args:
        media: What of it is not text.
        hidden: What the chat template may add.
        tools: How many tools the request defines.
        built_in: How many of them the provider describes itself.
    """
    return len(body) - media.skipped + hidden + (TOOLS if tools else 0) + TOOL * tools + BUILT_IN * built_in
