"""`paig_client.sdks`: the real SDKs through a double of the gateway to the provider simulator."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import google.genai
import groq
import httpx
import httpx2
import mistralai.client
import openai
import pytest
from google.genai.types import HttpOptions

import paig_client
from paig_client import CredentialError, sdks
from tests.client import calls
from tests.client.double import KEY, Double
from tests.client.test_pydantic_ai import PROVIDER_SECRETS, credentials_sent

# google-genai subclasses aiohttp's session, which aiohttp warns of.
SUBCLASSED = "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(SUBCLASSED)]


@pytest.fixture(autouse=True)
def provider_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment holds the providers' own credentials, none of which may go anywhere."""
    for name, value in PROVIDER_SECRETS.items():
        monkeypatch.setenv(name, value)


def check(double: Double, route: str, path: str, run: str) -> None:
    """The last request went to the right place, with the gateway key, the tags and no provider's credential."""
    seen = double.seen[-1]
    assert (seen.route, seen.path) == (route, path)
    assert KEY in credentials_sent(seen)
    assert "real" not in credentials_sent(seen)
    assert seen.headers["x-paig-tags"].encode("latin-1").decode() == "customer=acmé"
    assert (seen.headers["x-paig-run"], seen.headers["x-paig-run-budget"]) == (run, "1.25")


@pytest.mark.parametrize(
    ("call", "route", "path"), calls.SYNC + calls.STREAMED, ids=lambda value: getattr(value, "__name__", None)
)
def test_sync_clients(gateway: str, double: Double, call: Callable[..., object], route: str, path: str) -> None:
    """Each SDK's own client works as it is, with attribution on its requests."""
    with paig_client.tags(customer="acmé"), paig_client.budget("1.25") as run:
        assert "Hello" in str(call(api_key=KEY, base_url=gateway))
    check(double, route, path, run)


@pytest.mark.parametrize(("call", "route", "path"), calls.ASYNC, ids=lambda value: getattr(value, "__name__", None))
async def test_async_clients(
    gateway: str, double: Double, call: Callable[..., Awaitable[object]], route: str, path: str
) -> None:
    """And each async one, google-genai's with aiohttp installed too."""
    with paig_client.tags(customer="acmé"), paig_client.budget("1.25") as run:
        assert "Hello" in str(await call(api_key=KEY, base_url=gateway))
    check(double, route, path, run)


def test_clients_are_the_sdks_own_types(gateway: str) -> None:
    """What is returned is what the SDK's documentation describes."""
    to: dict[str, Any] = {"api_key": KEY, "base_url": gateway}
    with (
        sdks.openai(**to) as first,
        sdks.anthropic(**to) as second,
        sdks.groq(**to) as third,
        sdks.mistral(**to) as fourth,
        sdks.google(**to) as fifth,
        sdks.azure_openai(**to) as sixth,
    ):
        kinds = [openai.OpenAI, anthropic.Anthropic, groq.Groq, mistralai.client.Mistral, google.genai.Client]
        assert [type(client) for client in (first, second, third, fourth, fifth)] == kinds
        assert isinstance(sixth, openai.AzureOpenAI)


def test_claude_on_vertex(gateway: str, double: Double) -> None:
    """Anthropic's Vertex client speaks through the google-vertex route; the project is the gateway's unless named."""
    double.canned["google-vertex"] = {
        **{"id": "msg_1", "type": "message", "role": "assistant", "model": calls.SONNET, "stop_reason": "end_turn"},
        **{"content": [{"type": "text", "text": "Hello"}], "usage": {"input_tokens": 8, "output_tokens": 2}},
    }
    options: list[dict[str, str]] = [{}, {"project_id": "lab", "region": "europe-west1"}]
    for given, place in zip(options, ("projects/-/locations/-", "projects/lab/locations/europe-west1"), strict=True):
        with sdks.vertex_anthropic(api_key=KEY, base_url=gateway, **given) as client:
            client.messages.create(model=calls.SONNET, max_tokens=64, messages=calls.CHAT)
        assert double.seen[-1].path == f"/v1/{place}/publishers/anthropic/models/{calls.SONNET}:rawPredict"
        assert double.seen[-1].headers["authorization"] == f"Bearer {KEY}"


def test_arguments_pass_through(gateway: str, double: Double) -> None:
    """Whatever else the SDK takes goes to it; an HTTP client of one's own is used, with attribution."""
    with (
        httpx2.Client(headers={"x-mine": "1"}) as http,
        sdks.openai(api_key=KEY, base_url=gateway, route="fast", timeout=7, http_client=http) as client,
        paig_client.tags(customer="acme"),
    ):
        client.chat.completions.create(model="gpt-5", messages=calls.CHAT)
        assert client.timeout == 7
        client.with_options(max_retries=1).chat.completions.create(model="gpt-5", messages=calls.CHAT)
    assert [seen.route for seen in double.seen] == ["fast", "fast"]
    assert all(seen.headers["x-mine"] == "1" and "x-paig-tags" in seen.headers for seen in double.seen)


def test_google_options_are_merged(gateway: str, double: Double) -> None:
    """`http_options` keep what they say besides the address."""
    with httpx.Client() as http:
        options = HttpOptions(headers={"x-mine": "1"}, api_version="v1", httpx_client=http)
        client = sdks.google(api_key=KEY, base_url=gateway, http_options=options)
        client.models.generate_content(model=calls.GEMINI, contents="Hello")
    assert double.seen[-1].path.startswith("/v1/models/")
    assert double.seen[-1].headers["x-mine"] == "1"


def test_credentials_come_from_the_environment(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With key and address in the environment nothing need be said; without a key it is said what to do."""
    with pytest.raises(CredentialError, match="paig login"):
        sdks.openai()
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    monkeypatch.setenv("PAIG_BASE_URL", gateway)
    assert "Hello" in str(calls.openai_chat())


@pytest.mark.parametrize(
    ("shim", "package", "extra"),
    [
        (sdks.openai, "openai", "openai"),
        (sdks.async_azure_openai, "openai", "openai"),
        (sdks.anthropic, "anthropic", "anthropic"),
        (sdks.vertex_anthropic, "anthropic", "anthropic"),
        (sdks.google, "google.genai", "google"),
        (sdks.groq, "groq", "groq"),
        (sdks.mistral, "mistralai", "mistral"),
        (sdks.bedrock, "boto3", "bedrock"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_missing_sdk_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, shim: Callable[[], object], package: str, extra: str
) -> None:
    """The ImportError says what to install."""
    for name in list(sys.modules):
        if name == package or name.startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "paig\[{extra}\]"'):
        shim()
