"""Several credentials of one provider: requests are spread over them, and one that will not do is passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import keyring
import keyring.backend
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as UpgradeRequest
from websockets.http11 import Response as UpgradeResponse

from paig_client.api.resources import Request
from paig_client.api.specs import MemberSpec, ProviderSpec, RouteSpec
from paig_gateway.simulator.app import Simulator
from paig_gateway.simulator.delivery import Receive, Scope, Send
from paig_gateway.simulator.faults import Faults
from paig_gateway.simulator.serve import running_simulator
from paig_gateway.simulator.traffic import Received
from tests.gateway.end_to_end.conftest import NO_BREAKER, World, running_world
from tests.gateway.end_to_end.test_refusals import settled

pytestmark = pytest.mark.anyio

KEYS = ("sk-first-1", "sk-second-2", "sk-third-3")


class Account:
    """Simulated providers, which fare otherwise with each key.

    Attributes:
        faults: What the simulator does to a key's requests.
        refusals: The status and body that a key's requests are answered with instead.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Faults] = {}
        self.refusals: dict[str, tuple[int, bytes]] = {}
        self.simulator = Simulator(faults=self._fault)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = dict(scope.get("headers", [])).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if key not in self.refusals:
            return await self.simulator(scope, receive, send)
        status, body = self.refusals[key]
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _fault(self, received: Received) -> Faults | None:
        return self.faults.get(key_of(received))

    @property
    def asked(self) -> list[str]:
        """The keys that came, in order."""
        return [key_of(received) for received in self.simulator.requests]


def key_of(received: Received) -> str:
    """The key that a request brought."""
    return dict(received.headers)[b"authorization"].decode().removeprefix("Bearer ")


@pytest.fixture(scope="module")
async def module_world(
    environment: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Account]]:
    """A gateway with a provider of three keys, one whose second key is not to be had, and another to go on to."""
    account = Account()
    async with running_simulator(account) as base:
        three = ProviderSpec(kind="openai", base_url=f"{base}/openai/v1", credentials=[f"value:{key}" for key in KEYS])
        specs = {
            "three": three,
            "lame": three.model_copy(update={"credentials": [f"value:{KEYS[0]}", "env:TEST_NOT_SET"]}),
            "other": ProviderSpec(kind="openai", base_url=f"{base}/openai-other/v1", credential="value:sk-other"),
        }
        async with running_world(tmp_path_factory.mktemp("home"), specs, NO_BREAKER) as running:
            members = [MemberSpec(provider="three", priority=1), MemberSpec(provider="other")]
            await running.admin.routes.create("both", RouteSpec(members=members))
            yield running, account


@pytest.fixture
def world(module_world: tuple[World, Account]) -> tuple[World, Account]:
    """The same, without faults, and with nothing asked yet."""
    running, account = module_world
    account.faults, account.refusals = {}, {}
    account.simulator.reset()
    return running, account


async def ask(world: World, route: str = "three", **more: Any) -> httpx2.Response:
    """One chat completion."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 20}
    headers = {"authorization": f"Bearer {world.key}"}
    return await world.http.post(f"/proxy/{route}/chat/completions", headers=headers, json={**body, **more})


async def row_of(world: World, response: httpx2.Response) -> Request:
    """Its row in the ledger."""
    return await settled(world, response.headers["x-paig-request-id"])


async def ids(world: World) -> dict[str, str]:
    """What each key is called."""
    shown = (await world.admin.providers.get("three")).credentials
    return dict(zip(KEYS, (one.id for one in shown), strict=True))


async def test_requests_are_spread_over_all(world: tuple[World, Account]) -> None:
    """Each key is used as often as any other, and the row says which, without telling it."""
    running, account = world
    called = await ids(running)
    rows = [await row_of(running, await ask(running)) for _ in range(12)]
    assert Counter(account.asked) == dict.fromkeys(KEYS, 4)
    assert [row.attempts[0].credential for row in rows] == [called[key] for key in account.asked]
    shown = (await running.admin.providers.get("three")).model_dump_json() + rows[0].model_dump_json()
    assert "sk-" not in shown


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":{"message":"Incorrect API key provided"}}'),
        (402, b'{"error":{"message":"Insufficient Balance"}}'),
        (403, b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}'),
        (403, b'{"message":"The security token is not valid","__type":"UnrecognizedClientException"}'),
        (400, b'{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}'),
        (429, b'{"error":{"message":"Rate limit reached"}}'),
    ],
)
async def test_a_key_that_will_not_do_is_passed_over(world: tuple[World, Account], status: int, body: bytes) -> None:
    """What speaks of the key alone is made good by the next one, before another member is asked."""
    running, account = world
    account.refusals = {KEYS[0]: (status, body), KEYS[2]: (status, body)}
    called = await ids(running)
    for _ in range(3):
        response = await ask(running, "both")
        assert response.status_code == 200, response.text
        row = await row_of(running, response)
        assert (row.provider, row.attempts[-1].credential) == ("three", called[KEYS[1]])
        assert all((a.provider, a.status, a.cost) == ("three", status, Decimal(0)) for a in row.attempts[:-1])
        assert Decimal(row.attempts[-1].cost) == Decimal(row.cost)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_what_speaks_of_the_request_is_the_clients(world: tuple[World, Account], status: int) -> None:
    """A refusal that another key would meet with as well passes, byte for byte, and no other member is asked."""
    running, account = world
    body = b'{"error":{"message":"This model is not for your country"}}'
    account.refusals = dict.fromkeys(KEYS, (status, body))
    response = await ask(running, "both")
    assert (response.status_code, response.content) == (status, body)
    assert len((await row_of(running, response)).attempts) == 1


async def test_when_all_keys_are_used_up_the_next_member_is_asked(world: tuple[World, Account]) -> None:
    """Each key is tried once; then the client gets the other member's answer, or, alone, the last refusal."""
    running, account = world
    account.faults = dict.fromkeys(KEYS, Faults(status=429))
    response = await ask(running, "both")
    assert response.status_code == 200
    row = await row_of(running, response)
    assert [(a.provider, a.status) for a in row.attempts] == [("three", 429)] * 3 + [("other", 200)]
    assert len({a.credential for a in row.attempts}) == 4
    alone = await ask(running)
    assert (alone.status_code, alone.headers.get("x-paig-error")) == (429, None)
    assert [a.status for a in (await row_of(running, alone)).attempts] == [429] * 3


@pytest.mark.parametrize("fault", [Faults(status=500), Faults(reset=True), Faults(error_first=True)])
async def test_what_the_provider_fails_at_is_not_tried_with_its_other_keys(
    world: tuple[World, Account], fault: Faults
) -> None:
    """A failure that has nothing to do with the key is the member's: the next member is asked, or there is no other."""
    running, account = world
    account.faults = dict.fromkeys(KEYS, fault)
    response = await ask(running, "both", stream=True)
    assert response.status_code == 200
    assert [a.provider for a in (await row_of(running, response)).attempts] == ["three", "other"]
    alone = await ask(running)
    assert alone.status_code in (500, 502)
    assert len((await row_of(running, alone)).attempts) == 1
    assert len(account.asked) == 3


async def test_one_that_cannot_be_had_stops_nothing(world: tuple[World, Account]) -> None:
    """The provider works with the others, and trying it out says which is missing and why."""
    running, account = world
    for _ in range(3):
        assert (await ask(running, "lame")).status_code == 200
    assert account.asked == [KEYS[0]] * 3
    found = await running.admin.providers.test("lame")
    assert (found.ok, found.outcome) == (False, "credential")
    missing = (await running.admin.providers.get("lame")).credentials[1].id
    assert found.message.startswith(f"Cannot read the credential {missing} of the provider 'lame': the environment")


async def test_each_of_several_is_tried_out(world: tuple[World, Account]) -> None:
    """Trying a provider out says which of its keys it does not take."""
    running, account = world
    found = await running.admin.providers.test("three")
    assert (found.ok, account.asked) == (True, list(KEYS))
    assert found.message.endswith("The same holds for all of its 3 credentials.")
    account.faults = {KEYS[1]: Faults(status=401)}
    found = await running.admin.providers.test("three")
    assert (found.ok, found.outcome, found.status) == (False, "unauthorised", 401)
    wrong = (await ids(running))[KEYS[1]]
    assert found.message.startswith(f"1 of 3 credentials failed ({wrong}: unauthorised). It does not take")


async def test_a_credential_that_was_rotated_in_its_file_is_used_at_once(
    world: tuple[World, Account], tmp_path: Path
) -> None:
    """The request that meets the old one's refusal goes out again with the new one, once."""
    running, account = world
    file = tmp_path / "openai.key"
    file.write_text("sk-before")
    base = (await running.admin.providers.get("three")).base_url
    await running.admin.providers.create(
        "rotated", ProviderSpec(kind="openai", base_url=base, credential=f"file:{file}")
    )
    refusal = (401, b'{"error":{"message":"Incorrect API key provided"}}')
    try:
        assert (await ask(running, "rotated")).status_code == 200
        for streams in (False, True):
            account.simulator.reset()
            before, after = file.read_text(), f"sk-after-{streams}"
            account.refusals[before] = refusal
            file.write_text(after)
            response = await ask(running, "rotated", stream=streams)
            assert response.status_code == 200, response.text
            assert account.asked == [after]
            row = await row_of(running, response)
            assert [(attempt.provider, attempt.status) for attempt in row.attempts] == [("rotated", 200)]
        account.refusals[after] = refusal  # the file says nothing new: one refusal is the answer
        assert (await ask(running, "rotated")).status_code == 401
        file.write_text("sk-wrong-too")
        account.refusals["sk-wrong-too"] = refusal
        assert (await ask(running, "rotated")).status_code in (401, 502, 503)
    finally:
        await running.admin.providers.delete("rotated")


class Ring(keyring.backend.KeyringBackend):
    """A keyring with one password."""

    priority = 5  # type: ignore[assignment]
    password = "sk-in-the-ring-1"

    def get_password(self, service: str, username: str) -> str | None:
        return self.password

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


@pytest.fixture
def ring() -> Iterator[Ring]:
    """In the place of the machine's."""
    before, found = keyring.get_keyring(), Ring()
    keyring.set_keyring(found)
    yield found
    keyring.set_keyring(before)


async def test_a_credential_that_was_rotated_in_its_keyring_is_used_at_once(
    world: tuple[World, Account], ring: Ring
) -> None:
    """As with a file; a keyring that has nothing new is not asked for each refused request."""
    running, account = world
    base = (await running.admin.providers.get("three")).base_url
    spec = ProviderSpec(kind="openai", base_url=base, credential="keyring:openai/ada")
    await running.admin.providers.create("ringed", spec)
    try:
        assert (await ask(running, "ringed")).status_code == 200
        account.simulator.reset()
        account.refusals[ring.password] = (401, b'{"error":{"message":"Incorrect API key provided"}}')
        ring.password = "sk-in-the-ring-2"
        assert (await ask(running, "ringed")).status_code == 200
        assert account.asked == ["sk-in-the-ring-2"]
    finally:
        await running.admin.providers.delete("ringed")


async def test_a_websocket_is_connected_with_the_rotated_credential(environment: None, tmp_path: Path) -> None:
    """The upgrade that meets the old one's refusal goes out again with the new one."""
    file, tried = tmp_path / "openai.key", list[str | None]()
    file.write_text("sk-before")

    def upgrade(connection: ServerConnection, request: UpgradeRequest) -> UpgradeResponse | None:
        tried.append(request.headers.get("authorization"))
        refuses = tried[-1] != "Bearer sk-after"
        return connection.respond(401, '{"error":{"message":"Incorrect API key provided"}}') if refuses else None

    async def greet(connection: ServerConnection) -> None:
        await connection.send('{"type":"session.created","session":{"turn_detection":null}}')
        await connection.wait_closed()

    async with serve(greet, "127.0.0.1", 0, process_request=upgrade) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        spec = ProviderSpec(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", credential=f"file:{file}")
        async with running_world(tmp_path / "home", {"openai": spec}, NO_BREAKER) as running:
            file.write_text("sk-after")
            place = f"{running.origin.replace('http', 'ws')}/proxy/openai/realtime?model=gpt-realtime"
            sent = {"authorization": f"Bearer {running.key}"}
            async with connect(place, additional_headers=sent, proxy=None) as socket:
                assert '"session.created"' in str(await socket.recv())
    assert tried[-2:] == ["Bearer sk-before", "Bearer sk-after"]
