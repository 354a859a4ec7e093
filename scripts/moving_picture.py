"""One SVG that moves: a real run of `paig demo`, line by line as it was printed, then the terminal UI.

`make screenshot` calls it with pictures of the terminal UI. It moves by CSS alone, so it plays wherever an image may be
shown, and needs no script and no other file. Who asks for less motion sees the last picture, at rest.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS, ROWS = 120, 34
WIDTH, HEIGHT = 1482, 879.6
"""Of Textual's picture of a terminal of that size."""
LINE = 24.4
PAUSES = (0.12, 1.3)
"""Seconds between two lines, at least and at most: longer waits of the demo are cut short."""
BEFORE, AFTER, EACH = 1.2, 3.0, 3.0
"""Seconds before the first line, after the last, and for each picture of the terminal UI."""
BLACK, WHITE = (14, 17, 22), (216, 222, 233)
RED, GREEN, YELLOW, BLUE = (254, 107, 107), (95, 211, 141), (241, 184, 75), (91, 157, 249)
MAGENTA, CYAN = (200, 130, 220), (127, 180, 202)
THEME = TerminalTheme(BLACK, WHITE, [BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE])
_TEXT = re.compile(r'<text class="(t-r\d+)" x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+"[^>]*>([^<]*)</text>')


def record() -> list[tuple[float, str]]:
    """Run the demo: its lines, with their colours, and when each was printed, in seconds."""
    foreign = ("PAIG_", "PYDANTIC_AI_", "OPENAI_", "ANTHROPIC_", "NO_COLOR")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with tempfile.TemporaryDirectory() as home:
        environment = {**clean, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1", "HOME": home}
        command = [sys.executable, "-c", "from paig_client.cli import main; main()", "demo"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [(time.monotonic(), line.rstrip("\n")) for line in process.stdout]
    if process.returncode:
        raise RuntimeError(f"the demo ended with {process.returncode}: {lines}")
    return lines


def moments(lines: Iterable[tuple[float, str]]) -> list[float]:
    """When each line appears in the picture."""
    found, last, at = [], None, BEFORE
    for printed, _ in lines:
        if last is not None:
            at += min(max(printed - last, PAUSES[0]), PAUSES[1])
        last = printed
        found.append(round(at, 2))
    return found


def drawn(lines: Sequence[str]) -> tuple[str, dict[int, str]]:
    """The lines as SVG: the rules of their colours, and the elements by the line's number."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True, crop=True)
    svg = console.export_svg(title="", theme=THEME, unique_id="t")
    rules = "\n".join(re.findall(r"\.t-r\d+ \{[^}]*\}", svg))
    elements: dict[int, str] = {}
    for kind, x, y, text in _TEXT.findall(svg):
        if text.replace("&#160;", " ").strip():
            spaced = text.replace("&#160;", "\N{NO-BREAK SPACE}")
            number = round((float(y) - 20) / LINE)
            elements[number] = elements.get(number, "") + f'<text class="{kind}" x="{x}" y="{y}">{spaced}</text>'
    return rules, elements


def picture(lines: Sequence[tuple[float, str]], screens: Sequence[str]) -> str:
    """The whole picture.

    Args:
        lines: What the demo printed, and when.
        screens: Tidied pictures of the terminal UI, as SVG.
    """
    at = moments(lines)
    turn = at[-1] + AFTER
    whole = turn + EACH * len(screens)
    rules, elements = drawn(["\x1b[1m$ paig demo\x1b[0m", *(line for _, line in lines)])
    at = [0.0, *at]
    css = [_named(rules, "demo")]
    css += _appearing(elements, at, whole)
    css += _steps("scroll", [(moment, _up(number)) for number, moment in enumerate(at)], whole, "transform")
    css += _steps("demo", [(0, "1"), (turn, "0")], whole, "opacity")
    scenes = []
    for number, screen in enumerate(screens):
        begins = turn + EACH * number
        css += _steps(f"screen{number}", [(0, "0"), (begins, "1"), (begins + EACH, "0")], whole, "opacity")
        inner = _named(re.sub(r"^<svg[^>]*>|</svg>\s*$", "", screen), f"s{number}")
        last = " last" if number == len(screens) - 1 else ""
        scenes.append(f'<g class="scene screen{number}{last}">{inner}</g>')
    texts = "\n".join(f'<g class="line{number}">{_named(text, "demo")}</g>' for number, text in elements.items())
    return f"""<svg viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg">
<title>paig demo: agents and SDKs ask, a cap holds; then paig tui</title>
<style>
.demo text {{ font-family: Fira Code, monospace; font-size: 20px; white-space: pre }}
.scene {{ opacity: 0 }}
.last {{ opacity: 1 }}
{chr(10).join(css)}
@media (prefers-reduced-motion: reduce) {{ * {{ animation: none !important }} }}
</style>
<defs><clipPath id="screen"><rect x="0" y="0" width="{WIDTH - 20}" height="{LINE * ROWS:.1f}"/></clipPath></defs>
<g class="scene demo">
<rect fill="#0e1116" stroke="#40444a" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="8"/>
<g transform="translate(26,22)">
<circle r="7" fill="#ff5f57"/><circle cx="22" r="7" fill="#febc2e"/><circle cx="44" r="7" fill="#28c840"/>
</g>
<g transform="translate(15,41)" clip-path="url(#screen)"><g class="scroll">
{texts}
</g></g>
</g>
{chr(10).join(scenes)}
</svg>
"""


def _named(svg: str, name: str) -> str:
    """The SVG with classes and ids of its own, so that several stand in one file."""
    return re.sub(
        r'(?<=class=")t-|(?<=id=")t-|(?<=url\(#)t-|^\.t-', lambda found: f"{found[0][:-2]}{name}-", svg, flags=re.M
    )


def _appearing(elements: Iterable[int], at: Sequence[float], whole: float) -> Iterator[str]:
    for number in elements:
        yield from _steps(f"line{number}", [(0, "hidden"), (at[number], "visible")], whole, "visibility")


def _up(number: int) -> str:
    """How far the lines are moved up while that one is the last."""
    return f"translateY({-LINE * max(0, number + 1 - ROWS):g}px)"


def _steps(name: str, steps: Sequence[tuple[float, str]], whole: float, what: str) -> Iterator[str]:
    """A property that changes at some moments and not between them."""
    at: dict[str, str] = {}
    for moment, value in steps:
        at[f"{100 * moment / whole:.4g}%"] = value
    changes, last = [], None
    for place, value in at.items():
        if value != last:
            changes.append(f"{place} {{ {what}: {value} }}")
        last = value
    yield f"@keyframes {name} {{ {' '.join(changes)} }}"
    yield f".{name} {{ animation: {name} {whole:g}s step-end infinite }}"
