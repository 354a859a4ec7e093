"""Named limits at a whole gateway: what they match, whom they count apart, and what happens at a failover."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from paig_client.admin import AsyncAdminClient, Conflict, Invalid
from paig_client.api.resources import LimitStatus, Me
from paig_client.api.specs import (
    AnswerSpec,
    AskSpec,
    KeySpec,
    LimitsSpec,
    MatchSpec,
    MemberSpec,
    NamedLimitSpec,
    OwnerSpec,
    ProviderSpec,
    RaiseSpec,
    RouteSpec,
)
from paig_gateway.database.engine import utc_now
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import NO_BREAKER, World, running_world

pytestmark = pytest.mark.anyio
MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
async def world(environment: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two providers, and a route that tries them one after the other."""
    async with running_simulator(Simulator()) as base:
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/openai-{name}/v1", credential="value:k")
            for name in ("first", "second")
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, NO_BREAKER) as world:
            members = [MemberSpec(provider="first", priority=1), MemberSpec(provider="second")]
            await world.admin.routes.create("both", RouteSpec(members=members))
            yield world


async def ask(
    world: World, key: str, prompt: str = "[sim:tokens=100]", route: str = "both", **headers: str
) -> httpx2.Response:
    body: dict[str, Any] = {
        "model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}],
    }  # fmt: skip
    given = {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await world.http.post(f"/proxy/{route}/v1/chat/completions", headers=given, json=body)


async def found(world: World, name: str) -> dict[str | None, LimitStatus]:
    """The counters of a named limit, by member."""
    return {limit.member: limit for limit in await world.admin.limits() if limit.owner == name}


async def test_each_customer_has_a_counter(world: World) -> None:
    """The tag's values count apart, a request without the tag counts in the empty member, and rows equal counters."""
    spec = NamedLimitSpec(match=MatchSpec(model="gpt-4o*"), per="tag:customer", daily=Decimal("0.0007"))
    await world.admin.named_limits.create("customers", spec)
    key = await world.make_key("seller")
    assert (await ask(world, key, x_paig_tags="customer=acme")).status_code == 200
    refused = await ask(world, key, "[sim:tokens=900]", x_paig_tags="customer=acme")
    refused = await ask(world, key, x_paig_tags="customer=acme") if refused.status_code == 200 else refused
    assert (refused.status_code, refused.headers["x-paig-error"]) == (402, "limit-exceeded")
    assert "daily limit 'customers'" in refused.text
    assert "'acme'" in refused.text
    assert (await ask(world, key, x_paig_tags="customer=other")).status_code == 200
    assert (await ask(world, key)).status_code == 200
    counters = await found(world, "customers")
    assert set(counters) == {"acme", "other", ""}
    rows = (await world.admin.requests(key="seller", status=200)).items
    spent = sum(Decimal(row.cost) for row in rows if row.tags.get("customer") == "acme")
    assert Decimal(counters["acme"].spent) == spent > 0
    row = await world.admin.request(refused.headers["x-paig-request-id"])
    assert row.refusal is not None
    assert row.refusal["member"] == "acme"
    await world.admin.named_limits.delete("customers")


async def test_a_failover_exchanges_the_limits_of_providers(world: World) -> None:
    for name in ("first", "second"):
        spec = NamedLimitSpec(match=MatchSpec(provider=name), daily=Decimal(1))
        await world.admin.named_limits.create(f"at-{name}", spec)
    [before] = (await found(world, "at-first")).values()  # a new limit knows what was spent before
    [elsewhere] = (await found(world, "at-second")).values()
    key = await world.make_key("wanderer")
    answer = await ask(world, key, "[sim@openai-first:status=500] [sim:tokens=100]")
    assert answer.status_code == 200
    row = await world.admin.request(answer.headers["x-paig-request-id"])
    assert [attempt.provider for attempt in row.attempts] == ["first", "second"]
    [first], [second] = [list((await found(world, f"at-{name}")).values()) for name in ("first", "second")]
    assert (first.spent, first.held) == (before.spent, Decimal(0))
    assert Decimal(second.spent) == Decimal(elsewhere.spent) + Decimal(row.cost)
    assert second.held == Decimal(0)
    for name in ("first", "second"):
        await world.admin.named_limits.delete(f"at-{name}")


async def test_a_member_whose_limit_is_used_up_is_passed_over(world: World) -> None:
    """A request goes to the next member; where there is none, the refusal names the limit."""
    await world.admin.named_limits.create(
        "none-at-first", NamedLimitSpec(match=MatchSpec(provider="first"), daily=Decimal(0))
    )
    key = await world.make_key("avoider")
    answer = await ask(world, key)
    assert answer.status_code == 200
    row = await world.admin.request(answer.headers["x-paig-request-id"])
    assert [attempt.provider for attempt in row.attempts] == ["second"]
    assert row.refusal is not None
    assert "none-at-first" in row.refusal["not_tried"]["first"]
    refused = await ask(world, key, route="first")
    assert refused.headers["x-paig-error"] in ("limit-exceeded", "limit-too-small")
    assert "none-at-first" in refused.text
    # The second fails, and the first has no room: its error is the client's.
    failed = await ask(world, key, "[sim@openai-second:status=500]")
    assert failed.status_code == 500
    row = await world.admin.request(failed.headers["x-paig-request-id"])
    assert row.refusal is not None
    assert set(row.refusal["not_tried"]) == {"first"}
    await world.admin.named_limits.delete("none-at-first")


async def test_a_new_limit_knows_what_was_spent_before(world: World) -> None:
    await world.admin.projects.create("lab", OwnerSpec())
    secret = (await world.admin.keys.create("lab-key", KeySpec(project="lab"))).key
    answer = await ask(world, secret)
    row = await world.admin.request(answer.headers["x-paig-request-id"])
    spec = NamedLimitSpec(match=MatchSpec(project="lab", model="gpt-4o-*"), per="key", monthly=Decimal(1))
    await world.admin.named_limits.create("lab-models", spec)
    counters = await found(world, "lab-models")
    assert {member: limit.spent for member, limit in counters.items()} == {"lab-key": row.cost}
    me = Me.model_validate((await world.http.get("/admin/v1/me", headers={"authorization": f"Bearer {secret}"})).json())
    assert [(limit.owner, limit.member, limit.spent) for limit in me.limits] == [("lab-models", "lab-key", row.cost)]
    await world.admin.keys.delete("lab-key")
    with pytest.raises(Conflict, match="named by the limits 'lab-models'"):
        await world.admin.projects.delete("lab")
    await world.admin.named_limits.delete("lab-models")


@pytest.mark.parametrize("match", [{"project": "nowhere"}, {"provider": "frist"}, {"key": "nobody"}])
async def test_a_limit_names_only_what_there_is(world: World, match: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=r"match\..*there is no"):
        await world.admin.named_limits.create("wrong", NamedLimitSpec(match=MatchSpec(**match), daily=Decimal(1)))


async def test_a_limit_is_raised_and_falls_back(world: World) -> None:
    """While it is raised a request passes that is refused before and after; the audit log has actor and reason."""
    secret = await world.make_key("hasty", daily="0.0001")
    assert (await ask(world, secret)).headers["x-paig-error"] == "limit-too-small"
    until = utc_now() + timedelta(hours=1)
    spec = RaiseSpec(owner_kind="key", owner="hasty", to=Decimal(1), until=until, why="release day")
    made = await world.admin.raise_limit(spec)
    assert (await ask(world, secret)).status_code == 200
    [limit] = [one for one in await world.admin.limits() if one.owner == "hasty"]
    assert (limit.amount, limit.raised_until) == (Decimal(1), made.until)
    [entry] = await world.admin.audit(action="raise")
    assert entry.after is not None
    assert (entry.name, entry.after["why"]) == ("key hasty daily", "release day")
    await world.admin.end_raise(made.id)
    assert (await ask(world, secret)).status_code in (400, 402)
    assert await world.admin.raises() == []


async def test_rates_are_raised_and_asked_for(world: World) -> None:
    """Requests and tokens a minute, each by itself, in whole numbers; the holder of a key asks for more of either."""
    secret = await world.make_key("paced", tokens_per_minute=20, requests_per_minute=1000)
    assert (await ask(world, secret)).headers["x-paig-error"] == "limit-too-small"
    until = utc_now() + timedelta(hours=1)
    rate = RaiseSpec(owner_kind="key", owner="paced", window="minute", to=Decimal(2000), until=until, why="load")
    assert (await world.admin.raise_limit(rate)).unit == "requests"
    assert (await ask(world, secret)).headers["x-paig-error"] == "limit-too-small"
    with pytest.raises(Invalid, match="whole number of tokens"):
        await world.admin.raise_limit(rate.model_copy(update={"unit": "tokens", "to": Decimal("99.5")}))
    async with AsyncAdminClient(world.origin, token=secret) as own:
        asked = await own.ask_for_more(AskSpec(to=Decimal(500_000), unit="tokens", why="load"))
        assert (asked.unit, asked.window, asked.amount) == ("tokens", "minute", Decimal(500000))
        with pytest.raises(Invalid, match="no spending limit"):
            await own.ask_for_more(AskSpec(to=Decimal(5), why="money"))
    await world.admin.approve_limit_request(asked.id, AnswerSpec(until=until))
    assert (await ask(world, secret)).status_code == 200
    for one in await world.admin.raises():
        await world.admin.end_raise(one.id)


async def test_a_holder_asks_and_an_admin_approves(world: World) -> None:
    secret = await world.make_key("modest", daily="0.0001", monthly=5)
    async with AsyncAdminClient(world.origin, token=secret) as own:
        asked = await own.ask_for_more(AskSpec(to=Decimal(2), why="a long refactoring"))
        assert (asked.window, asked.amount, asked.state) == ("daily", Decimal(2), "open")
        with pytest.raises(Invalid, match="must be more than the limit"):
            await own.ask_for_more(AskSpec(to=Decimal("0.00001"), why="less"))
        second = await own.ask_for_more(AskSpec(to=Decimal(9), window="monthly", why="more of it"))
    assert [one.key for one in await world.admin.limit_requests()] == ["modest", "modest"]
    approved = await world.admin.approve_limit_request(asked.id, AnswerSpec())
    assert approved.state == "approved"
    assert (await ask(world, secret)).status_code == 200
    await world.admin.decline_limit_request(second.id, AnswerSpec(answer="not this month"))
    with pytest.raises(Conflict, match="is declined already"):
        await world.admin.approve_limit_request(second.id, AnswerSpec())
    [raised] = [one for one in await world.admin.raises() if one.owner == "modest"]
    await world.admin.end_raise(raised.id)


async def test_requests_for_more_are_bounded(world: World) -> None:
    secret = (await world.admin.keys.create("eager", KeySpec(limits=LimitsSpec(daily=Decimal(1))))).key
    async with AsyncAdminClient(world.origin, token=secret) as own:
        for _ in range(5):
            await own.ask_for_more(AskSpec(to=Decimal(2), why="please"))
        with pytest.raises(Conflict, match="waiting for an answer"):
            await own.ask_for_more(AskSpec(to=Decimal(2), why="please"))


async def test_when_tight_is_the_organisations_where_nothing_else_says(world: World) -> None:
    await world.admin.update_organisation({"when_tight": "refuse"})
    secret = (await world.admin.keys.create("follower", KeySpec(limits=LimitsSpec(daily=Decimal(1))))).key
    me = Me.model_validate((await world.http.get("/admin/v1/me", headers={"authorization": f"Bearer {secret}"})).json())
    assert me.when_tight == "refuse"
    await world.admin.update_organisation({"when_tight": None})
