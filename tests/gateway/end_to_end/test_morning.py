"""The developer's morning on the key's own page: what did I spend, on what, how much is left, give me more."""

from __future__ import annotations

import re
from decimal import Decimal
from html import unescape

import pytest

from paig_client.api.resources import Me
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.agents import SESSION, play
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio


async def test_the_morning_on_the_page(simulated: World, simulator: Simulator) -> None:
    """Without an administrator: each figure of the page is the ledger's, and the ask waits for an answer."""
    secret = await simulated.make_key("morning", daily="0.06")
    assert {answer.status_code for answer in await play(simulated.http, secret)} <= {200, 402}
    own = {"sec-fetch-site": "same-origin"}
    entered = await simulated.http.post("/me", data={"key": secret}, headers=own, follow_redirects=False)
    own["cookie"] = entered.headers["set-cookie"].partition(";")[0]
    simulated.http.cookies.clear()
    html = (await simulated.http.get("/me", headers=own)).text
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
    me = Me.model_validate(
        (await simulated.http.get("/admin/v1/me", headers={"authorization": f"Bearer {secret}"})).json()
    )
    [cap] = me.limits

    # What did I spend, and how much is left?
    assert f"Spent today ${Decimal(me.spent_today):.4f}" in text
    assert f"Left ${Decimal(cap.left):.4f}" in text
    assert Decimal(cap.spent) == Decimal(me.spent_today)

    # On what?
    assert "claude-sonnet-4-5" in text
    assert "claude-haiku-4-5" in text
    assert SESSION in text
    assert "Explore" in text

    # Give me more.
    [proof] = {*re.findall(r'name="proof" value="(\w+)"', html)}
    form = {"to": "2", "window": "daily", "why": "the nightly job", "proof": proof}
    assert (await simulated.http.post("/me/ask", data=form, headers=own, follow_redirects=False)).status_code == 303
    [asked] = [one for one in await simulated.admin.limit_requests() if one.key == "morning"]
    assert (asked.amount, asked.why) == (Decimal(2), "the nightly job")
    assert "the nightly job" in (await simulated.http.get("/me", headers=own)).text
