"""`paig_client.errors`: the gateway's errors out of whatever an SDK raises."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import httpx2
import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import FallbackExceptionGroup
from pydantic_ai.models.fallback import FallbackModel

import paig_client
from paig_client import errors
from paig_client.api.errors import CODES, STATUS
from paig_client.errors import LimitExceeded, from_exception, from_response
from paig_gateway.domain.errors import GatewayError
from paig_gateway.formats.errors import error_body
from tests.client import calls
from tests.client.double import KEY, Double, limit_refusal

# google-genai subclasses aiohttp's session, which aiohttp warns of.
SUBCLASSED = "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(SUBCLASSED), pytest.mark.usefixtures("quiet_sockets")]

MODELS = ["openai:gpt-5", "openai-chat:gpt-5", "anthropic:claude-sonnet-4-6", "google-vertex:gemini-2.5-flash"]
MODELS += ["google-gla:gemini-2.5-flash", "groq:openai/gpt-oss-120b", "bedrock:amazon.nova-micro-v1:0"]
MODELS += ["mistral:mistral-small-latest", "azure:gpt-5", "huggingface:openai/gpt-oss-120b", "cohere:command-a-03-2025"]


def check_limit(error: object) -> None:
    """Every fact of the cap's refusal is there, typed."""
    assert isinstance(error, LimitExceeded)
    assert (error.code, error.owner_kind, error.owner) == ("limit-exceeded", "key", "ci")
    assert (error.unit, error.window) == ("usd", "daily")
    assert (error.amount, error.spent) == (Decimal("0.05"), Decimal("0.0465"))
    assert (error.held, error.needed) == (Decimal("0.001"), Decimal("0.004"))
    assert error.resets_at == datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize("call", [call for call, _, _ in calls.SYNC], ids=lambda call: call.__name__)
@pytest.mark.parametrize("left", ["both", "headers", "body"])
def test_sync_sdks(gateway: str, double: Double, call: Callable[..., object], left: str) -> None:
    """Each SDK's exception gives the typed error, from the headers or from the body alone."""
    if left == "body" and call in (calls.bedrock, calls.bedrock_invoke):
        pytest.skip("botocore keeps of a body only what the service's model names")
    double.refusal, double.bare_body, double.bare_headers = limit_refusal(), left == "headers", left == "body"
    with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever the SDK raises)
        call(api_key=KEY, base_url=gateway)
    error = from_exception(raised.value)
    check_limit(error)
    assert error is not None
    assert error.__cause__ is raised.value
    assert error.status == 402
    if left != "body":
        assert error.request_id == "req_1"
    if left != "headers":
        assert "daily limit of $0.05" in error.message


@pytest.mark.parametrize("call", [call for call, _, _ in calls.ASYNC], ids=lambda call: call.__name__)
async def test_async_sdks(gateway: str, double: Double, call: Callable[..., Awaitable[object]]) -> None:
    """And each async one."""
    double.refusal = limit_refusal()
    with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever the SDK raises)
        await call(api_key=KEY, base_url=gateway)
    check_limit(from_exception(raised.value))


@pytest.mark.parametrize("model", MODELS)
async def test_pydantic_ai(gateway: str, double: Double, model: str) -> None:
    """pydantic-ai wraps what the SDKs raise; the error is found in it."""
    double.refusal = limit_refusal()
    with paig_client.register(api_key=KEY, base_url=gateway):
        async with Agent(f"gateway/{model}") as agent:
            with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever pydantic-ai raises)
                await agent.run("Hello")
    check_limit(from_exception(raised.value))


async def test_groups_are_looked_into(gateway: str, double: Double) -> None:
    """A fallback that failed throughout holds the errors of its members."""
    double.refusal = limit_refusal()
    models = [paig_client.gateway_model(name, api_key=KEY, base_url=gateway) for name in MODELS[:2]]
    async with Agent(FallbackModel(*models)) as agent:
        with pytest.raises(FallbackExceptionGroup) as raised:
            await agent.run("Hello")
    check_limit(from_exception(raised.value))


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_httpx_responses(gateway: str, double: Double, module: object) -> None:
    """A program that speaks HTTP itself has `raise_for_status` or `from_response`."""
    double.refusal = limit_refusal()
    client = getattr(module, "Client")  # noqa: B009  (either library)
    with client(headers={"authorization": f"Bearer {KEY}"}) as http:
        answer = http.post(f"{gateway}/proxy/openai/responses", json={})
    check_limit(from_response(answer.status_code, answer.headers, answer.content))
    with pytest.raises(Exception) as raised:  # noqa: PT011  (of either library)
        answer.raise_for_status()
    check_limit(from_exception(raised.value))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", ["openai", "anthropic", "google", "bedrock"])
def test_every_code_has_a_type_in_every_shape(code: str, shape: str) -> None:
    """The gateway's own table of codes, in each provider's error body, without help from headers."""
    found = next(known for known in CODES if known == code)
    body, _ = error_body(shape, STATUS[found], found, "the message", {"routes": "openai"})  # type: ignore[arg-type]
    error = from_response(STATUS[found], {}, body)
    assert type(error) is errors.TYPES[code]
    assert error is not None
    assert (error.code, error.message, error.details) == (code, "the message", {"routes": "openai"})


def test_codes_and_types_are_the_same_set() -> None:
    """No code of the gateway lacks a type, and no type a code."""
    assert set(errors.TYPES) == set(CODES)


def test_rate_limits_say_when_to_come_back(gateway: str, double: Double) -> None:
    """`retry_after` is the header's."""
    details = {"owner_kind": "key", "owner": "ci", "unit": "requests", "window": "minute", "amount": "60"}
    double.refusal = GatewayError("rate-limited", "Too many requests.", details=details, retry_after=12)
    with pytest.raises(Exception) as raised:  # noqa: PT011  (the SDK's)
        calls.openai_chat(api_key=KEY, base_url=gateway)
    error = from_exception(raised.value)
    assert isinstance(error, paig_client.RateLimited)
    assert (error.retry_after, error.unit, error.amount, error.resets_at) == (12, "requests", Decimal(60), None)


def test_a_rejected_key(gateway: str) -> None:
    """A key that the gateway does not know is `KeyRejected`, its code says so."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  (the SDK's)
        calls.anthropic(api_key="paig_wrong", base_url=gateway)
    error = from_exception(raised.value)
    assert isinstance(error, paig_client.KeyRejected)
    assert (error.code, error.status) == ("unknown-key", 401)


@pytest.mark.parametrize("call", [call for call, _, _ in calls.SYNC], ids=lambda call: call.__name__)
def test_a_providers_own_error_is_not_the_gateways(gateway: str, double: Double, call: Callable[..., object]) -> None:
    """What the provider says passes, and is not a PaigError."""
    double.upstream_status = 400
    with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever the SDK raises)
        call(api_key=KEY, base_url=gateway)
    assert from_exception(raised.value) is None


def test_other_exceptions_are_not_the_gateways() -> None:
    """Nor is what has nothing to do with it, whatever it was raised while handling."""
    assert from_exception(ValueError("x")) is None
    bug = KeyError("a bug")
    bug.__context__ = errors.Overloaded("overloaded", "later")
    assert from_exception(bug) is None


def test_a_typed_error_is_itself() -> None:
    """Asking twice changes nothing."""
    error = errors.NoPrice("no-price", "no price")
    assert from_exception(error) is error
    assert error.__cause__ is None


@pytest.mark.parametrize(
    "details", ["", "[]", "{", '{"amount": "NaN", "resets_at": 5}', '{"amount": [], "resets_at": "x"}']
)
def test_odd_details_are_no_new_error(details: str) -> None:
    """A gateway of another version may say less, or otherwise: what cannot be read is None."""
    error = from_response(402, {"X-Paig-Error": "limit-exceeded", "X-Paig-Error-Details": details})
    assert isinstance(error, LimitExceeded)
    assert (error.amount, error.spent, error.owner, error.resets_at) == (None, None, None, None)


def test_an_unknown_code_is_a_plain_error() -> None:
    """A newer gateway's code is not lost on an older client."""
    body = json.dumps({"error": {"message": "no", "code": "new-thing", "paig": {}}})
    error = from_response(418, {}, body)
    assert type(error) is paig_client.PaigError
    assert (error.code, error.message, error.status) == ("new-thing", "no", 418)
