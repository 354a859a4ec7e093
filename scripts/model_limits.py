"""Make the table of context windows and output maxima: src/paig_gateway/pricing/model_limits.json.

Run as `python scripts/model_limits.py --litellm WHEEL --pi-ai TGZ`, with the two archives that `SOURCES` pins. Which
models there are comes from the installed genai-prices. A value that differs from the one in the present file is
printed, and the file is left alone unless `--accept` is given: read what changed first, because caps rest on it.

For each bare model name (`gpt-5`, without a provider's prefix) the file has:

- `window`: the most tokens that the model reads, the largest number that any source states. Round numbers get 5 % on
  top, since `128,000` often stands for 131,072 and `1,000,000` for 1,048,576.
- `output`: the output maximum that the model's own vendor states. It is what a request may be told to keep to.
- `most`: the most tokens that one answer can have, wherever the model runs, or null where only the window bounds it.
  It is stated for models that their vendor alone controls (`CLOSED`); hosts of open models set maxima of their own.
- `at`: the providers of the price book where `output` is a bound too, although the model is open: its vendor's own API.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from genai_prices.data_snapshot import get_snapshot

from paig_gateway.pricing.model_limits import CLOSED, bare_name, rounded_up

TARGET = Path(__file__).parent.parent / "src/paig_gateway/pricing/model_limits.json"
DATE = "2026-11-30"
SOURCES = {
    "litellm": ("litellm 1.110.2 (MIT)", "9d94d1c7d524b6fd10c14f9c8c6c4f0ac31705f9964ac59dcfd8337c046d8917"),
    "pi_ai": ("@earendil-works/pi-ai 1.6.0 (MIT)", "d68312ec574bc959cb7fee26da4f4876d067aed9bbbe76e876359e60d2294747"),
}

# A model's vendor: the beginning of its name; whose rows are the vendor's own in litellm and in pi-ai; the provider of
# the price book.
VENDORS = (
    (CLOSED, {"openai", "azure", "anthropic", "bedrock", "bedrock_converse", "bedrock_mantle", "xai", "gemini"}, None),
    (CLOSED, {"vertex_ai-anthropic_models", "vertex_ai-language-models", "text-completion-openai"}, None),
    (CLOSED, {"google", "google-vertex", "amazon-bedrock"}, None),
    (re.compile(r"deepseek"), {"deepseek"}, "deepseek"),
    (re.compile(r"kimi|moonshot"), {"moonshot", "moonshotai"}, "moonshotai"),
    (re.compile(r"glm"), {"zai"}, "zai"),
    (re.compile(r"command|c4ai|aya"), {"cohere", "cohere_chat"}, "cohere"),
    (re.compile(r"mistral|ministral|magistral|codestral|devstral|pixtral|voxtral"), {"mistral"}, "mistral"),
    (re.compile(r"minimax"), {"minimax"}, "minimax"),
    (re.compile(r"sonar"), {"perplexity"}, "perplexity"),
)

# What the sources have wrong, or leave out, against the vendors' model pages.
CORRECTIONS: dict[str, dict[str, int | None]] = {
    "gpt-4": {"output": 8_192, "most": 8_192},
    "gpt-5-pro": {"output": 272_000, "most": 272_000},
    "gpt-6-sol": {"output": 128_000, "most": 128_000},
    "claude-sonnet-4-6": {"output": 128_000, "most": 128_000},
    "claude-opus-5": {"output": 128_000, "most": 128_000},
    "claude-fable-5-2": {"output": 128_000, "most": 128_000},
    "claude-haiku-4-5": {"output": 64_000, "most": 64_000},
    # A beta header (`output-128k-2025-02-19`) raises it.
    "claude-3-7-sonnet": {"output": 64_000, "most": 128_000},
    # The price book has a rate above 200,000 tokens: the window of a beta header.
    "claude-sonnet-4": {"window": 1_050_000},
    "claude-sonnet-4-5": {"window": 1_050_000},
    # "8k" in Perplexity's own words; the other Sonar models have no stated maximum.
    "sonar-pro": {"output": 8_192},
    # The sources contradict one another.
    "grok-4.3": {"output": None, "most": None},
    # One request writes 65,536 at most; a continuation is a request of its own.
    "gemini-4-argon": {"output": 65_536, "most": 65_536},
}
GENERATING = {"chat", "responses", "completion", "realtime", None}


class Found(NamedTuple):
    """What one source says of one model."""

    vendor: str
    name: str
    window: int | None
    output: int | None


@dataclass
class Limits:
    """A row in the making."""

    window: int
    output: int | None
    most: int | None
    at: list[str]


def read(path: Path, source: str) -> bytes:
    """The archive, after checking that it is the pinned one."""
    data = path.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SOURCES[source][1]:
        sys.exit(f"{path} is not {SOURCES[source][0]}: its sha256 is {digest}")
    return data


def litellm_rows(path: Path) -> Iterator[Found]:
    """The rows of litellm's price list that generate text."""
    read(path, "litellm")
    with zipfile.ZipFile(path) as wheel:
        table = json.loads(wheel.read("litellm/model_prices_and_context_window_backup.json"))
    for name, row in table.items():
        if row.get("mode") not in GENERATING or "litellm_provider" not in row:
            continue
        window, output = number(row.get("max_input_tokens")), number(row.get("max_output_tokens"))
        # The same number twice means that there is no maximum apart from the window.
        yield Found(row["litellm_provider"], bare_name(name), window, None if output == window else output)


def pi_rows(path: Path) -> Iterator[Found]:
    """The rows of pi-ai's model lists."""
    read(path, "pi_ai")
    with tarfile.open(path) as archive:
        for entry in archive:
            match = re.fullmatch(r"package/dist/providers/data/([a-z0-9-]+)\.json", entry.name)
            if match is None or (file := archive.extractfile(entry)) is None:
                continue
            for models in json.loads(file.read()).values():
                for row in models.values() if isinstance(models, dict) else []:
                    if not isinstance(row, dict) or "id" not in row:
                        continue
                    window, output = number(row.get("contextWindow")), number(row.get("maxTokens"))
                    yield Found(match[1], bare_name(row["id"]), window, None if output == window else output)


def number(value: object) -> int | None:
    """A count above zero, else None."""
    return value if isinstance(value, int) and value > 0 else None


def book() -> dict[str, int]:
    """The bare names in the price book, with the largest context window that it states, or 0."""
    names: dict[str, int] = {}
    for provider in get_snapshot().providers:
        for model in provider.models:
            name = bare_name(model.id)
            names[name] = max(names.get(name, 0), model.context_window or 0)
    return names


def limits(name: str, stated: int, rows: list[Found]) -> Limits | None:
    """One row of the table; None where no source knows the model."""
    windows = [row.window for row in rows if row.window]
    if stated:
        windows.append(stated)
    if not windows:
        return None
    window = max(map(rounded_up, windows))
    own: list[int] = []
    at: list[str] = []
    for pattern, vendors, provider in VENDORS:
        if pattern.match(name):
            own += [row.output for row in rows if row.output and row.vendor in vendors]
            at += [provider] if provider else []
    closed = bool(CLOSED.match(name))
    first = [row.output for row in rows if row.output and row.vendor in ("openai", "anthropic", "gemini", "xai")]
    output = next(iter(first or own), None)
    row = Limits(window, output, max(own) if closed and own else None, at if output else [])
    for field, value in CORRECTIONS.get(name, {}).items():
        setattr(row, field, value)
    return row


def main() -> int:
    """Make the table, or say what would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", type=Path, required=True)
    parser.add_argument("--pi-ai", type=Path, required=True)
    parser.add_argument("--accept", action="store_true", help="write the file although known values changed")
    given = parser.parse_args()
    found: dict[str, list[Found]] = {}
    for one in (*litellm_rows(given.litellm), *pi_rows(given.pi_ai)):
        found.setdefault(one.name, []).append(one)
    names = book() | {name: 0 for name in CORRECTIONS if name not in book()}
    # What vendors list themselves counts too: the price book matches newer names by pattern.
    own = {name for name in found if CLOSED.match(name)}
    models: dict[str, list[object]] = {}
    for name in sorted({*names, *own}):
        row = limits(name, names.get(name, 0), found.get(name, []))
        # Variants of closed models (`…-fast`) whose maximum nobody states are looked up by their family instead.
        if row is not None and (row.most or not CLOSED.match(name) or name.startswith("grok")):
            models[name] = [row.window, row.output, row.most, *row.at]
    before = json.loads(TARGET.read_text())["models"] if TARGET.exists() else {}
    changed = [name for name in before if before[name] != models.get(name)]
    for name in changed:
        print(f"{name}: {before[name]} -> {models.get(name)}")
    if changed and not given.accept:
        print(f"{len(changed)} known values differ; read them, then run again with --accept")
        return 1
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in models.items())
    sources = json.dumps([name for name, _ in SOURCES.values()] + ["genai-prices", "corrections in the script"])
    TARGET.write_text(f'{{"date": "{DATE}",\n "sources": {sources},\n "models": {{\n{lines}\n }}}}\n')
    print(
        f"{len(models)} models, {sum(row[2] is not None for row in models.values())} with an output maximum everywhere"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
