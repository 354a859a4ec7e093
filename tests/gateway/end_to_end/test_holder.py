"""The page of a key's holder, as a program without a browser sees it."""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser

import httpx2
import pytest

from paig_client.api.specs import AnswerSpec, KeySpec, MatchSpec, NamedLimitSpec
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.agents import SESSION, STEPS, play
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio


class Outline(HTMLParser):
    """What a page consists of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


async def enter(world: World, key: str, **headers: str) -> httpx2.Response:
    """Show the key in the form, as a browser sends it."""
    return await world.http.post(
        "/me", data={"key": key}, headers={"sec-fetch-site": "same-origin", **headers}, follow_redirects=False
    )


async def page_of(world: World, key: str) -> str:
    """The page of a key."""
    answer = await enter(world, key)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].partition(";")[0]
    world.http.cookies.clear()
    return (await world.http.get("/me", headers={"cookie": cookie})).text


async def test_the_page_shows_limits_costs_sessions_and_refusals(simulated: World, simulator: Simulator) -> None:
    key = await simulated.make_key("dev", daily=5, monthly="0.05")
    assert [answer.status_code for answer in await play(simulated.http, key)][:4] == [200] * 4
    await simulated.http.post(
        "/proxy/openai/chat/completions",
        headers={"authorization": f"Bearer {key}", "x-paig-fit": "off"},
        json={"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 100_000},
    )
    html = await page_of(simulated, key)
    outline = Outline(html)
    assert outline.open == []
    assert not outline.all("script")
    assert not [name for _, attributes in outline.tags for name in attributes if name.startswith(("on", "style"))]
    assert not [name for _, attributes in outline.tags for name in ("src",) if name in attributes]
    text = re.sub(r"<[^>]+>", " ", html)
    for words in ("dev", "Spent today", "of $5.00", "of $0.05", "left", "Explore", SESSION, "claude-haiku-4-5"):
        assert words in text
    assert "This request can never fit the monthly limit of $0.05 on key" in text
    assert "export ANTHROPIC_AUTH_TOKEN=&quot;$PAIG_API_KEY&quot;" in html
    assert f"{simulated.origin}/proxy/anthropic" in html
    assert key not in html


async def test_it_is_built_for_screen_readers(simulated: World, simulator: Simulator) -> None:
    """One heading of the first rank, sections with names, a label for the field, words for each picture."""
    key = await simulated.make_key("listener", daily=1)
    for html in ((await simulated.http.get("/me")).text, await page_of(simulated, key)):
        outline = Outline(html)
        assert len(outline.all("h1")) == 1
        assert outline.all("html")[0]["lang"] == "en"
        ids = {attributes.get("id") for _, attributes in outline.tags}
        assert {one["for"] for one in outline.all("label")} == {
            one["id"] for tag in ("input", "select") for one in outline.all(tag) if one.get("type") != "hidden"
        }
        for section in outline.all("section"):
            assert (
                section.get("aria-label") or section.get("aria-labelledby") in ids or len(outline.all("section")) == 1
            )
        for picture in outline.all("svg"):
            named = (picture.get("aria-labelledby") or "").split()
            assert picture.get("aria-hidden") or (picture["role"] == "img" and named and {*named} <= ids)
        assert all(one["scope"] == "col" for one in outline.all("th"))
        assert "#main" in [one["href"] for one in outline.all("a")]


async def test_nothing_but_its_own_style_is_let_in(simulated: World) -> None:
    """The policy names the style sheet by its hash; the page is not kept, and not framed."""
    answer = await simulated.http.get("/me")
    policy = answer.headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_cookie_is_sealed_and_no_script_reads_it(simulated: World) -> None:
    key = await simulated.make_key("sealed")
    answer = await enter(simulated, key)
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= attributes
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert key not in cookie
    assert sha256(key.encode()).hexdigest() not in cookie
    simulated.http.cookies.clear()
    for forged in ("paig_key=x", f"paig_key={sha256(key.encode()).hexdigest()}", cookie[:-4] + "AAAA"):
        assert "Gateway key" in (await simulated.http.get("/me", headers={"cookie": forged})).text


@pytest.mark.parametrize("change", ["rotate", "disable", "delete"])
async def test_the_page_ends_with_the_key(simulated: World, change: str) -> None:
    name = f"ends-by-{change}"
    cookie = (await enter(simulated, await simulated.make_key(name))).headers["set-cookie"].partition(";")[0]
    simulated.http.cookies.clear()
    assert name in (await simulated.http.get("/me", headers={"cookie": cookie})).text
    await getattr(simulated.admin.keys, change)(name)
    text = (await simulated.http.get("/me", headers={"cookie": cookie})).text
    assert "Gateway key" in text
    assert name not in text


async def test_other_sites_cannot_log_a_browser_in(simulated: World) -> None:
    """A form of another site is refused, and so is one that says nothing of its origin."""
    key = await simulated.make_key("elsewhere")
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        answer = await enter(simulated, key, **headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    own = {"origin": simulated.origin}
    for plain, status in (({}, 403), ({"origin": "http://evil.example"}, 403), (own, 303)):
        answer = await simulated.http.post("/me", data={"key": key}, headers=plain, follow_redirects=False)
        assert answer.status_code == status
    simulated.http.cookies.clear()


async def test_wrong_keys_are_refused_and_counted(simulated: World) -> None:
    for wrong in ("", "paig_unknown", "x" * 5000, "\ud800"):
        answer = await simulated.http.post(
            "/me",
            content=f"key={wrong}".encode("utf-8", "surrogatepass"),
            headers={"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 403
        assert 'role="alert"' in answer.text
    last = 0
    for _ in range(30):
        last = (await enter(simulated, "guess")).status_code
    assert last == 429
    assert (await enter(simulated, simulated.key)).status_code == 303  # what cannot be guessed passes all the same
    simulated.http.cookies.clear()


async def test_names_are_nothing_but_text(simulated: World, simulator: Simulator) -> None:
    """Of keys, models and sessions: none of them becomes a tag."""
    name = '<script>alert("x")</script>'
    key = (await simulated.admin.keys.create(name, KeySpec())).key
    await simulated.http.post(
        "/proxy/openai/chat/completions",
        headers={"authorization": f"Bearer {key}", "x-session-id": "<b>s</b>"},
        json={"model": "<img src=x onerror=alert(1)>", "messages": []},
    )
    html = await page_of(simulated, key)
    assert not {"script", "img", "b"} & {tag for tag, _ in Outline(html).tags}
    assert "&lt;script&gt;" in html


async def test_more_is_asked_for_on_the_page(simulated: World, simulator: Simulator) -> None:
    """What was asked, and the answer, stand there; a wrong amount says what is wrong, and asks nothing."""
    cookie = (await enter(simulated, await simulated.make_key("asker", daily="0.5"))).headers["set-cookie"]
    simulated.http.cookies.clear()
    own = {"sec-fetch-site": "same-origin", "cookie": cookie.partition(";")[0]}

    [proof] = {*re.findall(r'name="proof" value="(\w+)"', (await simulated.http.get("/me", headers=own)).text)}

    async def ask(**fields: str) -> httpx2.Response:
        given = {"proof": proof, **fields}
        return await simulated.http.post("/me/ask", data=given, headers=own, follow_redirects=False)

    for wrong, words in (
        ({"to": "ten", "why": "w"}, "The amount must be an amount of US dollars"),
        ({"to": "5", "window": "daily"}, "The reason is missing"),
        ({"to": "5", "window": "weekly", "why": "w"}, "no weekly limit binds this key"),
        ({"to": "0.1", "window": "daily", "why": "w"}, "The request was not sent"),
    ):
        answer = await ask(**wrong)
        assert answer.status_code in (409, 422)
        assert words in answer.text
    assert (await ask(to="5", window="daily", why="a <long> refactoring")).status_code == 303
    shown = (await simulated.http.get("/me", headers=own)).text
    assert "daily: $5.00" in shown
    assert "a &lt;long&gt; refactoring" in shown
    [asked] = [one for one in await simulated.admin.limit_requests() if one.key == "asker"]
    await simulated.admin.approve_limit_request(asked.id, AnswerSpec(answer="until midnight"))
    shown = (await simulated.http.get("/me", headers=own)).text
    assert "approved: until midnight" in shown
    assert "of $5.00" in shown
    foreign = {**own, "sec-fetch-site": "cross-site"}
    evil = {"to": "9", "why": "evil"}
    for headers, fields in ((foreign, {**evil, "proof": proof}), (own, evil), (own, {**evil, "proof": proof[::-1]})):
        await simulated.http.post("/me/ask", data=fields, headers=headers, follow_redirects=False)
    assert not [one for one in await simulated.admin.limit_requests() if one.key == "asker"]


async def test_a_budget_stops_a_session_and_no_other(simulated: World, simulator: Simulator) -> None:
    """All agents of a session share it; the page, and the API that CLI and terminal UI show, say where it ended."""
    spec = NamedLimitSpec(match=MatchSpec(key="budgeted"), per="session", total=Decimal("0.035"))
    key = await simulated.make_key("budgeted")
    await simulated.admin.named_limits.create("agents", spec)
    statuses = [answer.status_code for answer in await play(simulated.http, key, "dear-session")]
    assert statuses[:2] == [200, 200]
    assert statuses[-1] == 402
    assert [answer.status_code for answer in await play(simulated.http, key, "other-session", STEPS[:2])] == [200, 200]
    found = await simulated.admin.session("dear-session")
    assert Decimal(found.cost) <= Decimal("0.035")
    assert found.errors == statuses.count(402)
    [counter] = [
        one for one in await simulated.admin.limits() if one.owner == "agents" and "dear" in (one.member or "")
    ]
    assert (counter.spent, counter.held) == (found.cost, Decimal(0))
    text = re.sub(r"<[^>]+>", " ", await page_of(simulated, key))
    assert "dear-session" in text
    assert "total limit 'agents'" in unescape(text)
    await simulated.admin.named_limits.delete("agents")


def cookie_of(answer: httpx2.Response) -> str:
    """The cookie that an answer sets."""
    return answer.headers["set-cookie"].partition(";")[0]


async def test_several_keys_are_seen_one_at_a_time_and_together(simulated: World, simulator: Simulator) -> None:
    """A second key is added to the first; all of them have one page; without the page's proof nothing is added."""
    first, second = await simulated.make_key("mine-1", daily=1), await simulated.make_key("mine-2", daily=2)
    await play(simulated.http, first, "session-of-1", STEPS[:2])
    await play(simulated.http, second, "session-of-2", STEPS[:1])
    cookie = cookie_of(await enter(simulated, first))
    simulated.http.cookies.clear()
    shown = (await simulated.http.get("/me", headers={"cookie": cookie})).text
    assert "All keys" not in shown
    [proof] = {*re.findall(r'name="proof" value="(\w+)"', shown)}

    async def add(given: str) -> str:
        own = {"sec-fetch-site": "same-origin", "cookie": cookie}
        answer = await simulated.http.post(
            "/me", data={"key": second, "proof": given}, headers=own, follow_redirects=False
        )
        simulated.http.cookies.clear()
        return cookie_of(answer)

    alone = (await simulated.http.get("/me", headers={"cookie": await add(proof[::-1])})).text
    assert "mine-1" not in alone
    both = {"cookie": await add(proof)}
    page = (await simulated.http.get("/me", headers=both)).text
    assert "<h1>mine-2</h1>" in page
    assert "<h1>mine-1</h1>" in (await simulated.http.get("/me?key=mine-1", headers=both)).text
    whole = (await simulated.http.get("/me?show=all", headers=both)).text
    assert Outline(whole).open == []
    for words in ("All your keys", "By key", "session-of-1", "session-of-2", "of $1.00", "of $2.00"):
        assert words in whole
    assert "Ask for more" not in whole
    today = [Decimal(re.findall(r"Spent today</dt><dd>\$([\d.]+)", text)[0]) for text in (page, whole)]
    costs = [Decimal((await simulated.admin.session(name)).cost) for name in ("session-of-2", "session-of-1")]
    assert today == [pytest.approx(costs[0], abs=Decimal("0.0001")), pytest.approx(sum(costs), abs=Decimal("0.0001"))]
    await simulated.admin.keys.disable("mine-2")
    left = (await simulated.http.get("/me?show=all", headers=both)).text
    assert "<h1>mine-1</h1>" in left


async def test_leaving_needs_the_pages_proof(simulated: World) -> None:
    """The button forgets the cookie; a form of another site, or one without the proof, does not."""
    cookie = cookie_of(await enter(simulated, await simulated.make_key("leaver")))
    simulated.http.cookies.clear()
    own = {"sec-fetch-site": "same-origin", "cookie": cookie}
    page = (await simulated.http.get("/me", headers=own)).text
    [form] = re.findall(r'<form method="post" action="/me/leave">(.*?)</form>', page)
    [proof] = re.findall(r'name="proof" value="(\w+)"', form)

    async def leave(headers: dict[str, str], **fields: str) -> bool:
        answer = await simulated.http.post("/me/leave", data=fields, headers=headers, follow_redirects=False)
        simulated.http.cookies.clear()
        assert (answer.status_code, answer.headers["location"]) == (303, "/me")
        return "max-age=0" in answer.headers.get("set-cookie", "").lower()

    assert not await leave({**own, "sec-fetch-site": "cross-site"}, proof=proof)
    assert not await leave({"cookie": cookie}, proof=proof)
    assert not await leave(own)
    assert not await leave(own, proof=proof[::-1])
    assert await leave(own, proof=proof)
    assert await leave({"sec-fetch-site": "same-origin"})  # without a cookie that is of use there is nothing to protect


async def test_each_refusal_says_what_to_do_once(simulated: World, simulator: Simulator) -> None:
    """The next step stands at the first of equal errors; what another provider had to do is told."""
    key = await simulated.make_key("told", daily="0.00001")
    for _ in range(3):
        await simulated.http.post(
            "/proxy/openai/chat/completions",
            headers={"authorization": f"Bearer {key}"},
            json={"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 9000},
        )
    page = unescape(await page_of(simulated, key))
    assert page.count("can never fit the daily limit") == 1
    assert "3 times, first at" in page
    assert page.count("or ask for a larger limit: paig limits ask.") == 1
