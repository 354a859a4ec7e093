"""What becomes of every endpoint of today's SDKs, and the tables of docs/endpoints.md.

Run as `python scripts/surface.py` to see how many endpoints of each API are in which class, with `--list CLASS` to see
which; with `--write` to rewrite the page. The lists of endpoints in tests/gateway/providers/surface were taken from the
providers' SDKs in November 2026: openai 3.57 and (npm) 7.59, anthropic 2.14 and (npm) 1.14, google-genai 3.6.1,
mistralai 3.7, cohere 7.3, groq 1.7, xai-sdk 1.21, openrouter 1.3, botocore 1.44.8 (bedrock, bedrock-runtime,
bedrock-agent-runtime), together 3.1 and (npm) 0.52, fireworks-ai 1.2, perplexityai 0.46, zai-sdk 0.2.3, voyageai 0.5,
cerebras-cloud-sdk 1.91, huggingface-hub 2.4.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paig_gateway.formats.base import Format
from paig_gateway.providers.endpoints import Charging, Endpoint, detect, endpoints
from paig_gateway.providers.kinds import KINDS, base_url

ROOT = Path(__file__).parent.parent
LISTS = ROOT / "tests" / "gateway" / "providers" / "surface"
PAGE = ROOT / "docs" / "endpoints.md"
START, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
CLASSES: tuple[Charging, ...] = ("metered", "later", "free", "costly", "forbidden")


def surface() -> Iterator[tuple[str, str, str, Endpoint | None]]:
    """Each endpoint of the SDKs: the kind of provider, method and path, and its row."""
    for file in sorted(LISTS.glob("*.txt")):
        for line in file.read_text("utf-8").splitlines():
            method, path = line.split()
            found = detect(method, path.partition("?")[0], file.stem)
            served = found is not None and _is_served(file.stem, path.partition("?")[0], found.format)
            yield file.stem, method, path, found.endpoint if found and served else None


def _is_served(name: str, path: str, fmt: Format) -> bool:
    """Whether the kind of provider takes what stands in the path before the endpoint."""
    kind, claim = KINDS[name], fmt.path.search(path)
    base, settings = base_url(kind, "https://h" if kind.base_url is None else None, {}), kind.defaults or {}
    return claim is not None and kind.path.knows(base or "", path, claim.start(), settings, metered=fmt.metered)


def unlisted() -> list[str]:
    """The endpoints that are in no row, or whose paths their kind of provider does not take."""
    return [f"{api} {method} {path}" for api, method, path, found in surface() if found is None]


def table() -> str:
    """The tables of the page, in Markdown."""
    counted = Counter((api, found.charging) for api, _, _, found in surface() if found)
    lines = ["| API | " + " | ".join(CLASSES) + " |", "| --- |" + " ---: |" * len(CLASSES)]
    for api in sorted({api for api, _ in counted}):
        lines.append(f"| {api} | " + " | ".join(str(counted[api, one] or "–") for one in CLASSES) + " |")
    sections: dict[str, list[Endpoint]] = {}
    for row in endpoints():
        sections.setdefault(row.api, []).append(row)
    for api, rows in sections.items():
        lines += ["", f"### {api}", "", "| methods | path | class | format | stored object |", "|" + " --- |" * 5]
        for row in rows:
            methods = ", ".join(sorted(row.methods - {"HEAD"} if "GET" in row.methods else row.methods))
            lines.append(f"| {methods} | `{row.path}` | {row.charging} | `{row.format.name}` | {row.object or '–'} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Show or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", choices=CLASSES, help="show the endpoints of one class")
    parser.add_argument("--write", action="store_true", help="rewrite docs/endpoints.md")
    options = parser.parse_args()
    if options.write:
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(START)
        PAGE.write_text(before + START + "\n" + table() + "\n" + END + rest.partition(END)[2], "utf-8")
    elif options.list:
        for api, method, path, found in surface():
            if found and found.charging == options.list:
                print(api, method, path)
    else:
        print(table().partition("\n\n")[0])
    for line in unlisted():
        print(f"in no row: {line}", file=sys.stderr)
    return 1 if unlisted() else 0


if __name__ == "__main__":
    sys.exit(main())
