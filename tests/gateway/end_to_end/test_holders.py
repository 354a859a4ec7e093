"""What a provider stores, one account of it has: later requests reach that account, whichever process they come to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.app import Gateway
from paig_gateway.config import ServerSpec
from paig_gateway.config.model import RetriesSpec
from paig_gateway.server import running_gateway
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.delivery import Receive, Scope, Send
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.conftest import World, running_world
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

KEYS = ("sk-1", "sk-2", "sk-3")


class Accounts:
    """A provider with an account for each key: what one of them stores the others do not know."""

    def __init__(self) -> None:
        self.by_key = {key: Simulator() for key in KEYS}
        self.asked: list[str] = []
        self.down: dict[str, tuple[int, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = dict(scope.get("headers", [])).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if scope["type"] == "http":
            self.asked.append(key)
        if key in self.down:
            status, body = self.down[key]
            await send({"type": "http.response.start", "status": status, "headers": []})
            return await send({"type": "http.response.body", "body": body})
        await self.by_key.get(key, self.by_key[KEYS[0]])(scope, receive, send)


@pytest.fixture
async def world(environment: None, tmp_path: Path) -> AsyncIterator[tuple[World, Accounts]]:
    """A route over a provider with two keys and one with a third."""
    accounts = Accounts()
    async with running_simulator(accounts) as base:  # type: ignore[arg-type]
        specs = {
            "two": ProviderSpec(
                kind="openai", base_url=f"{base}/openai/v1", credentials=[f"value:{key}" for key in KEYS[:2]]
            ),
            "one": ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credential=f"value:{KEYS[2]}"),
        }
        async with running_world(tmp_path, specs, stored="shared") as running:
            members = [MemberSpec(provider="two", weight=2), MemberSpec(provider="one")]
            await running.admin.routes.create("both", RouteSpec(members=members))
            yield running, accounts


def client(world: World, origin: str | None = None) -> openai.AsyncOpenAI:
    """The SDK, aimed at the route."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(
        base_url=f"{origin or world.origin}/proxy/both", api_key=world.key, max_retries=0, http_client=http
    )


async def create(sdk: openai.AsyncOpenAI, **more: Any) -> Any:
    """One response."""
    return await sdk.responses.create(model="gpt-4o-mini", input="Hi", max_output_tokens=16, **more)


async def test_a_conversation_goes_on_where_it_began(world: tuple[World, Accounts]) -> None:
    """Each turn goes straight to the account that has the turn before it."""
    running, accounts = world
    async with client(running) as sdk:
        for _ in range(6):
            first = await create(sdk)
            home = accounts.asked[-1]
            accounts.asked.clear()
            second = await create(sdk, previous_response_id=first.id)
            await create(sdk, previous_response_id=second.id)
            assert accounts.asked == [home, home]


async def test_work_in_the_background_is_looked_at_where_it_is_done(world: tuple[World, Accounts]) -> None:
    """Looks, cancelling and deleting reach the account that works; its usage is charged once."""
    running, accounts = world
    async with client(running) as sdk:
        for _ in range(4):
            started = await create(sdk, background=True)
            home = accounts.asked[-1]
            accounts.asked.clear()
            assert (await sdk.responses.retrieve(started.id)).status == "in_progress"
            done = await sdk.responses.retrieve(started.id)
            assert done.status == "completed"
            await sdk.responses.delete(started.id)
            assert set(accounts.asked) == {home}
            with pytest.raises(openai.NotFoundError):
                await sdk.responses.retrieve(started.id)
    rows = [row for row in (await running.admin.requests()).items if row.format == "openai-responses"]
    assert len(rows) == 4
    for row in rows:
        assert (await settled(running, row.id)).certainty == "exact"


async def test_another_process_finds_it_in_the_ledger(world: tuple[World, Accounts]) -> None:
    """What another node relayed, or this one before a restart, reaches its account at the first go."""
    running, accounts = world
    async with AsyncExitStack() as stack:
        sdk = await stack.enter_async_context(client(running))
        other = await stack.enter_async_context(running_gateway(Gateway(running.store)))
        elsewhere = await stack.enter_async_context(client(running, other))
        for _ in range(6):
            first = await create(sdk)
            home = accounts.asked[-1]
            accounts.asked.clear()
            await running.admin.requests(limit=1)  # shows what was handed over before, so it is recorded now
            await create(elsewhere, previous_response_id=first.id)
            assert accounts.asked == [home]


async def test_an_object_of_unknown_place_is_asked_for_in_turn(world: tuple[World, Accounts]) -> None:
    """The client gets the account's answer that has it, else the last one's refusal; then it is known."""
    running, accounts = world
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        body = {"model": "gpt-4o-mini", "input": "Hi", "max_output_tokens": 16}
        base = (await running.admin.providers.get("one")).base_url
        headers = {"authorization": f"Bearer {KEYS[2]}"}
        stored = (await http.post(f"{base}/responses", headers=headers, json=body)).json()["id"]
    accounts.asked.clear()
    async with client(running) as sdk:
        await create(sdk, previous_response_id=stored)
        assert accounts.asked[-1] == KEYS[2]
        rows = (await running.admin.requests(limit=1)).items
        assert {attempt.status for attempt in rows[0].attempts[:-1]} <= {400}
        accounts.asked.clear()
        await create(sdk, previous_response_id=stored)
        assert accounts.asked == [KEYS[2]]
        accounts.asked.clear()
        with pytest.raises(openai.BadRequestError, match="not found"):
            await create(sdk, previous_response_id="resp_of_nobody")
        assert sorted(accounts.asked) == sorted(KEYS)
        row = (await running.admin.requests(limit=1)).items[0]
        assert ([attempt.status for attempt in row.attempts], row.cost) == ([400] * 3, Decimal(0))


async def test_not_found_is_not_said_while_the_provider_that_has_it_is_away(world: tuple[World, Accounts]) -> None:
    """That others do not know it is no answer: the client sees trouble, which may be over at the next try."""
    running, accounts = world
    accounts.down = {KEYS[2]: (500, b"{}")}
    members = [MemberSpec(provider="one", priority=1), MemberSpec(provider="two")]
    await running.admin.routes.update("both", {"members": [member.model_dump() for member in members]})
    async with client(running) as sdk:
        for number in range(3):
            with pytest.raises(openai.InternalServerError, match="try again") as caught:
                await create(sdk, previous_response_id=f"resp_of_the_third_{number}")
            assert caught.value.response.headers["x-paig-error"] == "upstream-unreachable"
    assert accounts.asked[::3] == [KEYS[2]] * 3
    assert (await running.admin.usage()).total.cost == Decimal(0)


async def test_not_found_is_not_said_while_the_provider_that_has_it_has_no_credential(
    world: tuple[World, Accounts],
) -> None:
    """Nor is it one where the account that may have it answers for lack of quota, whatever its status."""
    running, accounts = world
    accounts.down = {KEYS[2]: (403, b'{"error":{"message":"You exceeded your current quota"}}')}
    members = [MemberSpec(provider="one", priority=1), MemberSpec(provider="two")]
    await running.admin.routes.update("both", {"members": [member.model_dump() for member in members]})
    async with client(running) as sdk:
        with pytest.raises(openai.InternalServerError, match="try again"):
            await sdk.responses.retrieve("resp_of_the_third")
    assert accounts.asked[0] == KEYS[2]
    assert sorted(accounts.asked[1:]) == sorted(KEYS[:2])


async def test_no_other_member_is_asked_if_the_holder_fails(world: tuple[World, Accounts]) -> None:
    """The client sees the holder's own trouble, not that others do not know what it means."""
    running, accounts = world
    async with client(running) as sdk:
        first = await create(sdk)
        accounts.asked.clear()
        with pytest.raises(openai.InternalServerError):
            await sdk.responses.create(
                model="gpt-4o-mini", input="[sim:status=500] Hi", max_output_tokens=16, previous_response_id=first.id
            )
        assert len(accounts.asked) == 1


async def test_to_look_for_it_takes_no_retries(environment: None, tmp_path: Path) -> None:
    """Requests for unknown objects do not use up the route's retries."""
    accounts = Accounts()
    async with running_simulator(accounts) as base:  # type: ignore[arg-type]
        specs = {
            name: ProviderSpec(kind="openai", base_url=f"{base}/openai-{name}/v1", credential=f"value:{key}")
            for name, key in zip(("bad", "good"), KEYS, strict=False)
        }
        server = ServerSpec(retries=RetriesSpec(share=0.001, per_second=0, burst=1))
        async with running_world(tmp_path, specs, server, stored="shared") as running, client(running) as sdk:
            members = [MemberSpec(provider="bad", priority=1), MemberSpec(provider="good")]
            await running.admin.routes.create("both", RouteSpec(members=members))
            for number in range(3):
                with pytest.raises(openai.BadRequestError, match="not found"):
                    await create(sdk, previous_response_id=f"resp_of_nobody_{number}")
            assert accounts.asked == [*KEYS[:2]] * 3
            failing = {"model": "gpt-4o-mini", "max_output_tokens": 16, "input": "[sim@openai-bad:status=500] Hi"}
            assert (await sdk.responses.create(**failing)).status == "completed"
            with pytest.raises(openai.InternalServerError):  # that one was the only one
                await sdk.responses.create(**failing)
