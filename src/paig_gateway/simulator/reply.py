"""The simulated model: its text, its tool calls and their tokens.

The reply follows from the request by rules that a test can compute:

- Input tokens: a quarter of the characters of all texts in the prompt (tool definitions count as compact JSON), rounded
  up, and 256 for each image, audio, video or document.
- Output tokens: one for each word of the text; for a tool call, 1 and a quarter of the characters of its JSON
  arguments, rounded up; for reasoning, a fixed number for each effort.
- Cache with marks: everything before the last mark is written, and read by later requests with the same beginning.
- Automatic cache: leading blocks of 4,096 characters (1,024 tokens) that an earlier prompt had too.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field

from .faults import Faults, strip
from .schema import instance
from .wire import Document, encode

MEDIA_TOKENS = 256
BLOCK = 4096
EFFORT = {"none": 0, "minimal": 4, "low": 8, "medium": 16, "high": 32, "xhigh": 64, "max": 64}

_REASONERS = ("gpt-5", "o1", "o3", "o4", "gpt-oss", "gemini-2.5", "gemini-3", "magistral", "deepseek-r")
# With automatic caching, only the newest models bill cache writes.
_BILLS_WRITES = ("gpt-5.6",)
_ECHO = 32
_REMEMBERED = 50_000
_FILLER = (
    "amber birch cedar delta ember fjord grove heath inlet juniper kelp larch meadow north oak pine quartz river slate "
    "thicket upland valley willow xylem yarrow zephyr brook cliff dune field glade harbour"
)
_WORDS = _FILLER.split()


@dataclass(slots=True)
class Tool:
    """A tool that the client offers."""

    name: str
    schema: Document


@dataclass(slots=True)
class ToolCall:
    """A tool call; `json` is its arguments as text."""

    name: str
    arguments: Document
    json: str


@dataclass(slots=True)
class TokenCounts:
    """Token counts.

    `cached`, `written` and `media` (by kind) are parts of `input`, `reasoning` and `made` (by kind) of `output`.
    """

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0
    reasoning: int = 0
    media: dict[str, int] = field(default_factory=dict[str, int])
    made: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output

    @property
    def plain(self) -> int:
        """The input outside the cache, which Anthropic and Bedrock call input."""
        return self.input - self.cached - self.written


@dataclass(slots=True)
class Prompt:
    """A request as the model sees it, independent of the API.

    Attributes:
        texts: Every text in order; tokens are counted from them.
        media: The number of parts of each kind: IMAGE, AUDIO, VIDEO, DOCUMENT.
        ask: The last user message.
        choice: `auto`, `none`, `required`, or the name of the tool to call.
        called, results: The tools that have answered since the last user message, and their results.
        limit: The most output tokens allowed.
        schema: The JSON schema of the text, if one is required.
        reasoning: The number of reasoning tokens.
        marks: The number of texts before each cache mark; None if caching is automatic.
        ttl: The cache lifetime at the last mark; empty if none is given.
        carried: Input tokens of the stored conversation that this request continues.
        samples: The number of answers.
    """

    model: str = ""
    stream: bool = False
    texts: list[str] = field(default_factory=list[str])
    media: dict[str, int] = field(default_factory=dict[str, int])
    ask: str = ""
    tools: list[Tool] = field(default_factory=list[Tool])
    choice: str = "auto"
    called: list[str] = field(default_factory=list[str])
    results: list[str] = field(default_factory=list[str])
    limit: int | None = None
    schema: Document | None = None
    reasoning: int = 0
    marks: list[int] | None = None
    ttl: str = ""
    carried: int = 0
    samples: int = 1

    def user(self, texts: list[str]) -> None:
        """Take a user message as the one to answer."""
        if texts:
            self.ask = "\n".join(texts)
            self.called, self.results = [], []

    def attach(self, kind: str) -> None:
        """Count a part that is not text."""
        self.media[kind] = self.media.get(kind, 0) + 1

    def offer(self, definitions: object, tools: list[Tool]) -> None:
        """Add the client's tools; their definitions count as text."""
        if definitions:
            self.texts.append(encode(definitions).decode())
            self.tools += tools

    def answered(self, name: str, texts: list[str]) -> None:
        """Note a tool's result; its texts are in the prompt already."""
        self.called.append(name)
        self.results.append(" ".join(texts))


@dataclass(slots=True)
class Reply:
    """The model's reply.

    Attributes:
        model: The model's name without directives.
        text, pieces: The text, whole and in pieces for streaming; empty if tools are called.
        thought: A text with one word for each reasoning token.
        finish: `stop`, `length` or `tool`.
    """

    model: str
    text: str
    pieces: list[str]
    thought: str
    calls: list[ToolCall]
    finish: str
    tokens: TokenCounts


def quarter(characters: int) -> int:
    """The tokens of a number of characters."""
    return -(-characters // 4)


def effort(model: str, asked: object) -> int:
    """Reasoning tokens for the requested effort; by default `medium` for models that reason, else none."""
    if isinstance(asked, str):
        return EFFORT.get(asked, EFFORT["medium"])
    name = model.rpartition("/")[2]
    return EFFORT["medium"] if name.startswith(_REASONERS) and "-chat" not in name else 0


def count(prompt: Prompt) -> TokenCounts:
    """The input tokens, caching not considered."""
    media = {kind: parts * MEDIA_TOKENS for kind, parts in prompt.media.items()}
    text = quarter(sum(map(len, prompt.texts)))
    return TokenCounts(input=max(1, text + sum(media.values()) + prompt.carried), media=media)


class SimulatedModel:
    """The model and its prompt caches.

    Args:
        chunks: The number of text deltas in a stream, unless the request sets it.
    """

    def __init__(self, chunks: int = 8) -> None:
        self.chunks = chunks
        self._seen: set[int] = set()

    def forget(self) -> None:
        self._seen.clear()

    def reply(self, prompt: Prompt, faults: Faults, account: str) -> Reply:
        """Answer a prompt. Each account has a cache for each model."""
        model = strip(prompt.model)
        tokens = count(prompt)
        self._cache(prompt, tokens, hash((account, model)))
        reasoning, limit = prompt.reasoning, math.inf if prompt.limit is None else max(prompt.limit, 1)
        seed = zlib.crc32(prompt.ask.encode())
        calls = [_call(tool) for tool in _chosen(prompt, faults)] if faults.tokens is None else []
        price = sum(1 + quarter(len(call.json)) for call in calls)
        words: list[str] = []
        if calls and price <= limit:
            finish, reasoning = "tool", int(min(reasoning, limit - price))
            tokens.output = price
        else:
            calls, finish = [], "stop"
            words = _reply_text(prompt, model).split(" ")
            if faults.tokens is not None:
                reasoning = min(reasoning, faults.tokens)
                visible = faults.tokens - reasoning
                words = words[:visible] + _filler(seed, visible - len(words))
            if reasoning + len(words) > limit:
                finish, reasoning = "length", int(min(reasoning, limit))
                words = words[: int(limit) - reasoning]
            tokens.output = len(words)
        tokens.reasoning = reasoning * prompt.samples
        tokens.output = (tokens.output + reasoning) * prompt.samples
        pieces = _cut(words, faults.chunks or self.chunks)
        return Reply(model, "".join(pieces), pieces, " ".join(_filler(seed, reasoning)), calls, finish, tokens)

    def _cache(self, prompt: Prompt, tokens: TokenCounts, link: int) -> None:
        """Count the prompt's cached and written tokens, and cache its prefixes."""
        length = 0
        links: list[tuple[int, int]] = []
        if prompt.marks is None:
            whole = "".join(prompt.texts) if tokens.input >= BLOCK // 4 else ""
            for end in range(BLOCK, len(whole) + 1, BLOCK):
                link = hash((link, whole[end - BLOCK : end]))
                links.append((link, end))
        elif prompt.marks:
            for text in prompt.texts[: prompt.marks[-1]]:
                link, length = hash((link, text)), length + len(text)
                links.append((link, length))
        if links:
            tokens.cached = quarter(next((end for link, end in reversed(links) if link in self._seen), 0))
            if prompt.marks is not None or prompt.model.startswith(_BILLS_WRITES):
                tokens.written = quarter(links[-1][1]) - tokens.cached
            if len(self._seen) > _REMEMBERED:
                self._seen.clear()
            kept = range(len(links)) if prompt.marks is None else [mark - 1 for mark in prompt.marks if mark]
            self._seen.update(links[index][0] for index in kept)


def _chosen(prompt: Prompt, faults: Faults) -> list[Tool]:
    """The tools to call now.

    The tool that the client requires; else the tools that a directive or the last user message names and that have not
    answered yet; else the one that ends a run (`final_result`); else, if a call is required, one not called yet.
    """
    if not prompt.tools or prompt.choice == "none":
        return []
    if prompt.choice not in ("auto", "required"):
        return [tool for tool in prompt.tools if tool.name == prompt.choice] or prompt.tools[:1]
    waiting = [tool for tool in prompt.tools if tool.name not in prompt.called]
    if faults.tools:
        wanted = {name or prompt.tools[0].name for name in faults.tools}
        named = [tool for tool in waiting if tool.name in wanted]
    else:
        ask = prompt.ask
        named = [tool for tool in waiting if tool.name in ask or tool.name.replace("_", " ") in ask]
    last = [tool for tool in waiting if tool.name.startswith("final_result")][:1]
    if named or last or prompt.choice == "auto":
        return named or last
    return (waiting or prompt.tools)[:1]


def _call(tool: Tool) -> ToolCall:
    arguments = instance(tool.schema)
    return ToolCall(tool.name, arguments, encode(arguments).decode())


def _reply_text(prompt: Prompt, model: str) -> str:
    if prompt.schema is not None:
        return json.dumps(instance(prompt.schema), ensure_ascii=False)
    hello = f"Hello from {model} (simulated)."
    if prompt.results:
        results = zip(prompt.called, prompt.results, strict=True)
        return " ".join((hello, *(f"{name} says: {_echo(result)}" for name, result in results)))
    asked = _echo(prompt.ask)
    return f"{hello} You said: {asked}" if asked else hello


def _echo(text: str) -> str:
    return " ".join(strip(text).split()[:_ECHO])


def _filler(seed: int, words: int) -> list[str]:
    return [_WORDS[(seed + index) % len(_WORDS)] for index in range(words)]


def _cut(words: list[str], chunks: int) -> list[str]:
    if not words:
        return []
    size = -(-len(words) // max(chunks, 1))
    pieces = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
    return [pieces[0], *(" " + piece for piece in pieces[1:])]
