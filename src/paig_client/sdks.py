"""The providers' own SDK clients, aimed at the gateway.

Each function takes, all optional, the gateway's `route`, `api_key`, `base_url` and `profile`; every other keyword
argument goes to the SDK's client as it is. Tags and run budgets travel with each request. Each raises `CredentialError`
where there is no key, and ImportError where the SDK is missing.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from paig_client.attribution import AsyncRequestHook, RequestHook, headers
from paig_client.charges import AsyncResponseHook, GatewayAccess, ResponseHook, note
from paig_client.credentials import resolve

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from anthropic.lib.vertex import AnthropicVertex, AsyncAnthropicVertex
    from google.genai import Client as GoogleClient
    from groq import AsyncGroq, Groq
    from mistralai.client import Mistral
    from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

T = TypeVar("T")
Text = str | None

AZURE_API_VERSION = "2024-10-21"
"""What Azure's clients ask for where neither the call nor `OPENAI_API_VERSION` says."""


def openai(
    *, route: str = "openai", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> OpenAI:
    """`openai.OpenAI`."""
    with _extra("openai"):
        from openai import OpenAI
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(OpenAI(base_url=to.target, api_key=to.key, **options), to)


def async_openai(
    *, route: str = "openai", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AsyncOpenAI:
    """`openai.AsyncOpenAI`."""
    with _extra("openai"):
        from openai import AsyncOpenAI
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(AsyncOpenAI(base_url=to.target, api_key=to.key, **options), to)


def azure_openai(
    *, route: str = "azure", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AzureOpenAI:
    """`openai.AzureOpenAI`."""
    with _extra("openai"):
        from openai import AzureOpenAI
    to = _gateway(route, api_key, base_url, profile)
    options.setdefault("api_version", os.environ.get("OPENAI_API_VERSION") or AZURE_API_VERSION)
    client = AzureOpenAI(azure_endpoint=to.target, api_key=to.key, **options)
    forget_azure_token(client)
    return _attributed(client, to)


def async_azure_openai(
    *, route: str = "azure", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AsyncAzureOpenAI:
    """`openai.AsyncAzureOpenAI`."""
    with _extra("openai"):
        from openai import AsyncAzureOpenAI
    to = _gateway(route, api_key, base_url, profile)
    options.setdefault("api_version", os.environ.get("OPENAI_API_VERSION") or AZURE_API_VERSION)
    client = AsyncAzureOpenAI(azure_endpoint=to.target, api_key=to.key, **options)
    forget_azure_token(client)
    return _attributed(client, to)


def anthropic(
    *, route: str = "anthropic", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> Anthropic:
    """`anthropic.Anthropic`."""
    with _extra("anthropic"):
        from anthropic import Anthropic
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(Anthropic(base_url=to.target, auth_token=to.key, **options), to)


def async_anthropic(
    *, route: str = "anthropic", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AsyncAnthropic:
    """`anthropic.AsyncAnthropic`."""
    with _extra("anthropic"):
        from anthropic import AsyncAnthropic
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(AsyncAnthropic(base_url=to.target, auth_token=to.key, **options), to)


def vertex_anthropic(
    *, route: str = "google-vertex", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AnthropicVertex:
    """`anthropic.AnthropicVertex`; without `project_id` and `region` the gateway's own are used."""
    with _extra("anthropic"):
        from anthropic.lib.vertex import AnthropicVertex
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(AnthropicVertex(base_url=f"{to.target}/v1", access_token=to.key, **_located(options)), to)


def async_vertex_anthropic(
    *, route: str = "google-vertex", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AsyncAnthropicVertex:
    """`anthropic.AsyncAnthropicVertex`; without `project_id` and `region` the gateway's own are used."""
    with _extra("anthropic"):
        from anthropic.lib.vertex import AsyncAnthropicVertex
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(AsyncAnthropicVertex(base_url=f"{to.target}/v1", access_token=to.key, **_located(options)), to)


def groq(
    *, route: str = "groq", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> Groq:
    """`groq.Groq`."""
    with _extra("groq"):
        from groq import Groq
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(Groq(base_url=to.target, api_key=to.key, **options), to)


def async_groq(
    *, route: str = "groq", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> AsyncGroq:
    """`groq.AsyncGroq`."""
    with _extra("groq"):
        from groq import AsyncGroq
    to = _gateway(route, api_key, base_url, profile)
    return _attributed(AsyncGroq(base_url=to.target, api_key=to.key, **options), to)


def mistral(
    *, route: str = "mistral", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> Mistral:
    """`mistralai.client.Mistral`, for sync and async."""
    with _extra("mistral"):
        from mistralai.client import Mistral
    to = _gateway(route, api_key, base_url, profile)
    client = Mistral(server_url=to.target, api_key=to.key, **options)
    for http in (client.sdk_configuration.client, client.sdk_configuration.async_client):
        _hook(http, to)
    return client


def google(
    *,
    vertexai: bool = False,
    route: Text = None,
    api_key: Text = None,
    base_url: Text = None,
    profile: Text = None,
    **options: Any,
) -> GoogleClient:
    """`google.genai.Client`, for sync and async: of the Gemini API, or with `vertexai` of Vertex AI."""
    with _extra("google"):
        from google.genai import Client
        from google.genai.types import HttpOptions
    to = _gateway(route or ("google-vertex" if vertexai else "google"), api_key, base_url, profile)
    given = options.pop("http_options", None)
    http = given if isinstance(given, HttpOptions) else HttpOptions.model_validate(given or {})
    http = http.model_copy(update={"base_url": to.target})
    client = Client(vertexai=vertexai, api_key=to.key, http_options=http, **options)
    api = client._api_client
    build = api._build_request  # the one way to a request, whether httpx or aiohttp sends it

    def attribute(*args: Any, **kwargs: Any) -> Any:
        request = build(*args, **kwargs)
        request.headers.update(headers())
        return request

    setattr(api, "_build_request", attribute)  # noqa: B010  (a method of an instance, to type checkers)
    _note_google(api, GatewayAccess.of(to.target, to.key))
    return client


def _note_google(api: Any, gateway: GatewayAccess) -> None:
    """Note the answers that google-genai's HTTP clients bring, whether httpx or aiohttp."""
    send, async_send = api._request_once, api._async_request_once

    def noting(*args: Any, **kwargs: Any) -> Any:
        with _noted_failure(gateway):
            answer = send(*args, **kwargs)
        note(answer.headers, gateway)
        return answer

    async def async_noting(*args: Any, **kwargs: Any) -> Any:
        with _noted_failure(gateway):
            answer = await async_send(*args, **kwargs)
        note(answer.headers, gateway)
        return answer

    api._request_once, api._async_request_once = noting, async_noting


@contextmanager
def _noted_failure(gateway: GatewayAccess) -> Iterator[None]:
    """Note the answer that an exception of google-genai's carries."""
    try:
        yield
    except Exception as error:
        note(getattr(getattr(error, "response", None), "headers", None), gateway)
        raise


def bedrock(
    *, route: str = "bedrock", api_key: Text = None, base_url: Text = None, profile: Text = None, **options: Any
) -> Any:
    """boto3's `bedrock-runtime` client; further arguments are those of `boto3.Session.client`."""
    with _extra("bedrock"):
        import boto3  # noqa: F401  (what is missing is said here)
    from paig_client.aws import bedrock_client

    to = _gateway(route, api_key, base_url, profile)
    return bedrock_client(to.target, to.key, **options)


def forget_azure_token(client: Any) -> None:
    """Let only the gateway key go along: the SDK's older releases send `AZURE_OPENAI_AD_TOKEN` where there is one."""
    client._azure_ad_token = None


class _Gateway(NamedTuple):
    target: str
    key: str


def _gateway(route: str, api_key: str | None, base_url: str | None, profile: str | None) -> _Gateway:
    access = resolve(api_key=api_key, base_url=base_url, profile=profile)
    return _Gateway(f"{access.base_url}/{route}", access.secret.value)


def _located(options: dict[str, Any]) -> dict[str, Any]:
    """The SDK insists on a project and a region; the gateway puts its own in the place of `-`."""
    return {"project_id": "-", "region": "-", **options}


def _attributed(client: T, to: _Gateway) -> T:
    """The client, its requests carrying tags and budgets."""
    _hook(getattr(client, "_client", None), to)
    return client


def _hook(http: Any, to: _Gateway) -> None:
    """Add the hooks to an HTTP client of httpx's kind, once."""
    is_async = inspect.iscoroutinefunction(http.send)
    hook: Callable[..., object] = (AsyncRequestHook if is_async else RequestHook).for_gateway(to.target)
    noting = ResponseHook(GatewayAccess.of(to.target, to.key))
    add_hooks(http, hook, AsyncResponseHook(noting) if is_async else noting)


def add_hooks(http: Any, request: Callable[..., object], response: Callable[..., object]) -> None:
    """Add a hook for requests and one for answers to an HTTP client of httpx's kind, each once."""
    for name, hook in (("request", request), ("response", response)):
        hooks = http.event_hooks.setdefault(name, [])
        if hook not in hooks:
            hooks.append(hook)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Name the extra that installs a missing SDK."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f'this needs {error.name}: pip install "paig[{name}]"', name=error.name) from error
