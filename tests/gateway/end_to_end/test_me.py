"""What the holder of a gateway key sees of itself, without an admin token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from paig_client.api.resources import Me
from paig_client.api.specs import MatchSpec, NamedLimitSpec
from paig_gateway.ledger.forecast import reached_at
from paig_gateway.simulator.app import Simulator
from tests.gateway.end_to_end.conftest import World

pytestmark = pytest.mark.anyio


async def test_a_key_sees_its_own_limits_and_requests(simulated: World, simulator: Simulator) -> None:
    key = await simulated.make_key("mine", daily=2, tokens_per_minute=200_000)
    given = {"authorization": f"Bearer {key}"}
    body = {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "[sim:tokens=50] Hello"}],
        "max_completion_tokens": 90,
    }
    answer = await simulated.http.post("/proxy/openai/v1/chat/completions", headers=given, json=body)
    assert answer.status_code == 200
    await simulated.http.post(
        "/proxy/openai/v1/chat/completions", headers={**given, "x-paig-fit": "off"}, json={**body, "n": 100_000}
    )
    [row] = (await simulated.admin.requests(key="mine", status=200)).items
    me = Me.model_validate((await simulated.http.get("/admin/v1/me", headers=given)).json())
    assert (me.key, me.when_tight, me.requests_today) == ("mine", "fit", 2)
    assert Decimal(me.spent_today) == Decimal(row.cost or 0) > 0
    [money] = [limit for limit in me.limits if limit.unit == "usd"]
    assert (money.amount, money.spent, money.held) == (Decimal(2), row.cost, Decimal(0))
    assert Decimal(money.left) == 2 - Decimal(money.spent)
    refused, served = me.requests
    assert (served.id, served.cost) == (answer.headers["x-paig-request-id"], row.cost)
    assert refused.refusal is not None
    assert refused.refusal["owner"] == "mine"


@pytest.mark.parametrize("token", ["", "paig_unknown", "test-admin-token"])
async def test_only_a_gateway_key_may_ask(simulated: World, simulator: Simulator, token: str) -> None:
    answer = await simulated.http.get("/admin/v1/me", headers={"authorization": f"Bearer {token}"} if token else {})
    assert answer.status_code == 401


async def test_limits_of_what_the_key_used_are_shown(simulated: World, simulator: Simulator) -> None:
    """Of limits by tag, session or model: those that the key's own requests count in, and no other customer's."""
    key, other = await simulated.make_key("tagger"), await simulated.make_key("other-tagger")
    limits = {
        "by-tag": NamedLimitSpec(per="tag:customer", daily=Decimal(5)),
        "by-session": NamedLimitSpec(per="session", total=Decimal(3)),
        "by-model": NamedLimitSpec(match=MatchSpec(model="gpt-5*"), per="model", daily=Decimal(9)),
        "one-tag": NamedLimitSpec(match=MatchSpec(tag="customer"), monthly=Decimal(7)),
    }
    for name, spec in limits.items():
        await simulated.admin.named_limits.create(name, spec)
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 90}
    for secret, customer, session in ((key, "acme", "s-own"), (other, "globex", "s-other")):
        headers = {
            "authorization": f"Bearer {secret}",
            "x-paig-tags": f"customer={customer}",
            "x-paig-session": session,
        }
        answer = await simulated.http.post("/proxy/openai/v1/chat/completions", headers=headers, json=body)
        assert answer.status_code == 200
    await simulated.admin.requests(key="tagger")
    answer = await simulated.http.get("/admin/v1/me", headers={"authorization": f"Bearer {key}"})
    found = {(one.owner, one.member): one for one in Me.model_validate(answer.json()).limits}
    assert set(found) == {("by-tag", "acme"), ("by-session", "s-own"), ("by-model", "gpt-5"), ("one-tag", None)}
    assert Decimal(found["by-session", "s-own"].spent) == Decimal(found["by-tag", "acme"].spent) > 0
    assert "globex" not in answer.text
    plain = {"authorization": f"Bearer {key}"}
    assert (await simulated.http.post("/proxy/openai/v1/chat/completions", headers=plain, json=body)).status_code == 200
    await simulated.admin.requests(key="tagger")
    answer = await simulated.http.get("/admin/v1/me", headers=plain)
    shared = {one.owner for one in Me.model_validate(answer.json()).limits if one.member == ""}
    assert shared == {"by-tag", "by-session"}, "a request without a session or tag counts too"
    for name in limits:
        await simulated.admin.named_limits.delete(name)


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spent", "today", "resets", "reached"),
    [
        (5, 5, None, NOON + timedelta(hours=12)),
        (5, 5, NOON + timedelta(hours=12), None),
        (8, 8, NOON + timedelta(hours=12), NOON + timedelta(hours=3)),
        (0, 0, None, None),
        (10, 1, None, NOON),
        (1, 10**-9, None, None),
    ],
)
async def test_a_forecast_goes_by_today_s_pace(
    spent: float, today: float, resets: datetime | None, reached: datetime | None
) -> None:
    assert reached_at("usd", 10**10 - int(spent * 10**9), int(today * 10**9), resets, NOON) == reached
