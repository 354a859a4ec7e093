"""Take docs/images/: tui.svg, the terminal UI after an hour of requests, and demo.svg, which moves.

Run as `make screenshot`. The providers are simulated, and the gateway's clock is put forward between requests, so that
an hour takes seconds; all else is as it is: keys with caps, requests over HTTP, prices, ledger, admin API, app. In
demo.svg, `paig demo` runs before that.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2

from paig_client.admin import AsyncAdminClient
from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, OrganisationSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.app import Gateway, OpenDatabase
from paig_gateway.server import running_gateway
from paig_gateway.simulator.serve import running_simulator
from paig_tui.app import PaigApp

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE = (120, 34)
ADMIN = "screenshot-admin-token"
PROVIDERS = {"anthropic": "/anthropic", "google": "/google", "groq": "/groq/openai/v1", "openai": "/openai/v1"}
# Name, project, daily and monthly cap in dollars, route, model, share of the requests.
KEYS = (
    ("alice-dev", "research", "1", "20", "anthropic", "claude-sonnet-4-5", 3),
    ("bob-notebook", "research", "0.6", None, "openai", "gpt-5", 4),
    ("ci-bot", "platform", "2", "40", "fast", "gpt-5-mini", 6),
    ("eval-batch", "research", "0.3", None, "openai", "gpt-5", 3),
    ("support-chat", "product", "5", "90", "anthropic", "claude-haiku-4-5", 7),
    ("translator", "product", "0.5", None, "google", "gemini-2.5-flash", 5),
)
MINUTES = 58
SECTIONS = (("2", "eval-batch"), ("3", "claude-haiku-4-5"))
"""Keys that lead to further sections, and what is to be seen there."""
RECT = re.compile(r'<rect fill="(\S+)" x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)" shape-rendering="crispEdges"/>')


def tidy(svg: str) -> str:
    """A screenshot of Textual's, smaller, without what differs from one to the next and without outside addresses."""
    svg = re.sub(r"<!--.*?-->|@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"terminal-\d+", "t", svg)
    svg = re.sub(r'<clipPath id="t-line-\d+">.*?</clipPath>| clip-path="url\(#t-line-\d+\)"', "", svg, flags=re.DOTALL)
    svg = re.sub(r"<text [^>]*>\n</text>", "", svg)
    svg = re.sub(rf"(?:{RECT.pattern})+", _joined, svg)
    svg = svg.replace("&#160;", "\N{NO-BREAK SPACE}").replace("</text><text", "</text>\n<text")
    return re.sub(r"\s*\n\s*", "\n", svg).strip() + "\n"


def _joined(found: re.Match[str]) -> str:
    """The backgrounds, those of one colour beside one another as one."""
    joined: list[tuple[str, float, str, float, str]] = []
    for fill, x, y, width, height in RECT.findall(found[0]):
        left, wide = float(x), float(width)
        if joined and (joined[-1][0], joined[-1][2]) == (fill, y) and abs(sum(joined[-1][1:4:2]) - left) < 0.1:
            left, wide = joined[-1][1], joined[-1][3] + wide
            joined.pop()
        joined.append((fill, left, y, wide, height))
    rects = (f'<rect fill="{f}" x="{x:g}" y="{y}" width="{w:g}" height="{h}"/>' for f, x, y, w, h in joined)
    return '<g shape-rendering="crispEdges">\n' + "\n".join(rects) + "\n</g>\n"


class Clock:
    """The gateway's clocks, put forward at will; it begins at eleven o'clock of today."""

    def __init__(self) -> None:
        real = datetime.now(UTC)
        self._ahead = real.replace(hour=11, minute=5, second=20) - real

    def __call__(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self._ahead.total_seconds()

    def now(self) -> datetime:
        """The present, in UTC."""
        return datetime.now(UTC) + self._ahead

    def later(self, seconds: float) -> None:
        """So much later."""
        self._ahead += timedelta(seconds=seconds)


def question(model: str, say: str, most: int, route: str) -> tuple[str, dict[str, object]]:
    """Path and body of a request in the format of its route."""
    messages = [{"role": "user", "content": say}]
    if route == "anthropic":
        return "v1/messages", {"model": model, "messages": messages, "max_tokens": most}
    if route == "google":
        contents = [{"role": "user", "parts": [{"text": say}]}]
        body: dict[str, object] = {"contents": contents, "generationConfig": {"maxOutputTokens": most}}
        return f"v1beta/models/{model}:generateContent", body
    return "chat/completions", {"model": model, "messages": messages, "max_completion_tokens": most}


async def ask(http: httpx2.AsyncClient, key: str, route: str, model: str, chance: random.Random) -> None:
    """One request; some answers take long, some providers fail first."""
    tokens = chance.randrange(60, 1800)
    fault = chance.choices(("", "[sim@groq:status=429]", "[sim:status=503]"), (30, 6, 1))[0]
    say = f"[sim:tokens={tokens}] [sim:delay={chance.uniform(0.02, 0.25):.3f}] {fault} " + "word " * tokens
    path, body = question(model, say, tokens + 200, route)
    await http.post(f"/proxy/{route}/{path}", headers={"authorization": f"Bearer {key}"}, json=body)


async def hour(http: httpx2.AsyncClient, secrets: dict[str, str], clock: Clock) -> None:
    """An hour of requests, more and fewer by turns."""
    chance = random.Random(7)
    shares = [share for *_, share in KEYS]
    for minute in range(MINUTES):
        some = 2 + round(4 * abs(minute % 24 - 12) / 12 + chance.random() * 3)
        keys = chance.choices(KEYS, shares, k=some)
        await asyncio.gather(*(ask(http, secrets[name], route, model, chance) for name, *_, route, model, _ in keys))
        clock.later(60)


async def set_up(admin: AsyncAdminClient, simulator: str) -> dict[str, str]:
    """Providers, a route, projects, and keys with caps; the keys' secrets by name."""
    for name, path in PROVIDERS.items():
        spec = ProviderSpec(kind=name, base_url=simulator + path, credential="value:simulated")
        await admin.providers.create(name, spec)
    members = [
        MemberSpec(provider="groq", priority=10, models={"gpt-5-mini": "llama-3.3-70b-versatile"}),
        MemberSpec(provider="openai"),
    ]
    await admin.routes.create("fast", RouteSpec(members=members))
    for project in ("platform", "product", "research"):
        await admin.projects.create(project, ProjectSpec())
    await admin.set_organisation(OrganisationSpec(limits=LimitsSpec.model_validate({"monthly": "2000"})))
    secrets = {}
    for name, project, daily, monthly, *_ in KEYS:
        limits = LimitsSpec.model_validate({"daily": daily, "monthly": monthly})
        secrets[name] = (await admin.keys.create(name, KeySpec(project=project, limits=limits))).key
    return secrets


async def shown(app: PaigApp, *words: str) -> None:
    """Wait until all of it is on the screen."""
    async with asyncio.timeout(20):
        while not all(word in app.export_screenshot().replace("&#160;", " ") for word in words):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def take(home: Path) -> list[str]:
    """Pictures of the dashboard, before and after a few more requests, of the keys and of the usage."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running_simulator())
        gateway = Gateway(OpenDatabase.open(home))
        gateway.now, gateway.clock = clock.now, clock
        origin = await stack.enter_async_context(running_gateway(gateway))
        admin = await stack.enter_async_context(AsyncAdminClient(origin, token=ADMIN))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=30))
        secrets = await set_up(admin, simulator)
        await hour(http, secrets, clock)
        app = PaigApp(AsyncAdminClient(origin, token=ADMIN), profile="prod", clock=clock.now)
        pictures = []

        async def picture(*words: str) -> None:
            await shown(app, *words)
            pictures.append(tidy(app.export_screenshot(title="paig tui")))

        async with app.run_test(size=SIZE) as pilot:
            await picture("● live", "● 200")
            await hour_goes_on(http, secrets)
            await asyncio.sleep(2)
            await picture("● live", "● 200")
            for section, *words in SECTIONS:
                await pilot.press(section)
                await picture(*words)
        if app.failures:
            raise RuntimeError("\n".join(app.failures))
        return pictures


async def hour_goes_on(http: httpx2.AsyncClient, secrets: dict[str, str]) -> None:
    """A few more requests, which the app hears of."""
    chance = random.Random(8)
    for name, *_, route, model, _ in itertools.islice(itertools.cycle(KEYS), 9):
        await ask(http, secrets[name], route, model, chance)


def main() -> int:
    """Take them and write them."""
    from moving_picture import picture, record  # beside this file, which the tests import from elsewhere

    os.environ |= {"PAIG_SECRET_KEY": "screenshot", "PAIG_ADMIN_TOKEN": ADMIN, "PAIG_THEME": "dark"}
    os.environ.pop("NO_COLOR", None)
    os.environ.pop("PAIG_DATABASE_URL", None)
    with tempfile.TemporaryDirectory() as home:
        pictures = asyncio.run(take(Path(home)))
    moving = picture(record(), pictures)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, svg in (("tui.svg", pictures[1]), ("demo.svg", moving)):
        (IMAGES / name).write_text(svg, "utf-8")
        print(f"{name}: {len(svg) // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
