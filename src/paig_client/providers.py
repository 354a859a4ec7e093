"""pydantic-ai's providers, aimed at the gateway: which model class, which route, how each is built."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from pydantic_ai.exceptions import UserError
from pydantic_ai.providers import Provider, gateway, infer_provider_class

from paig_client.attribution import headers
from paig_client.charges import AsyncResponseHook, GatewayAccess, ResponseHook
from paig_client.sdks import forget_azure_token

BuildProvider = Callable[[str, str, Any], Provider[Any]]
"""`(target, key, http_client) -> provider`; `target` is the gateway's route, `…/proxy/mistral`."""

KINDS: Mapping[str, str] = {
    "chat": "openai-chat",
    "responses": "openai-responses",
    "converse": "bedrock",
    "google": "google-cloud",  # as pydantic-ai has it: its gateway models of Google's are Vertex AI's
    "google-vertex": "google-cloud",
    "vertex": "google-cloud",
    "gemini": "google-cloud",
    "google-gla": "google",
    "xai": "openai-chat",  # pydantic-ai's own is gRPC
}
"""By what people write after `gateway/`: pydantic-ai's name of the model class and profile, where that differs."""

ROUTES: Mapping[str, str] = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "chat": "openai",
    "responses": "openai",
    "converse": "bedrock",
    "google": "google-vertex",
    "google-cloud": "google-vertex",
    "vertex": "google-vertex",
    "gemini": "google-vertex",
    "google-gla": "google",
    "azure-responses": "azure",
}
"""By what people write after `gateway/`: the gateway's route, where that differs."""

BUILT_IN = frozenset({"openai", "openai-chat", "openai-responses", "anthropic", "google-cloud", "groq"})
"""What pydantic-ai's own gateway provider is used for."""

_own: Callable[..., Provider[Any]] = gateway.gateway_provider


def kind(name: str) -> str:
    """pydantic-ai's name of the model class and profile; any name that it does not know is OpenAI chat completions."""
    name = name.removeprefix("gateway/")
    found = KINDS.get(name, name)
    return found if _class(found) is not None else "openai-chat"


def route(name: str) -> str:
    """The gateway's route."""
    return ROUTES.get(name, name)


def build(name: str, target: str, key: str, http_client: Any | None) -> Provider[Any]:
    """A provider of pydantic-ai's, aimed at `target`.

    Raises:
        UserError: What pydantic-ai has under that name cannot be aimed elsewhere.
        ImportError: The provider's SDK is not installed.
    """
    if (builder := BUILDERS.get(name)) is not None:
        return builder(target, key, http_client)
    if KINDS.get(name, name) in BUILT_IN:
        base, _, route = target.rpartition("/")
        return _own(KINDS.get(name, name), route=route, api_key=key, base_url=base, http_client=http_client)
    return _openai_like(name, target, key, http_client)


def _class(name: str) -> object | None:
    """pydantic-ai's provider class of a name; True if its SDK is missing, None if there is no such class."""
    try:
        return infer_provider_class(name)
    except ValueError:
        return None
    except ImportError:
        return True


def _openai_like(name: str, target: str, key: str, http_client: Any | None) -> Provider[Any]:
    """A provider that speaks OpenAI's API: pydantic-ai's own class for its profile, else one for any service."""
    try:
        make = infer_provider_class(name)
    except ValueError:
        return _compatible(name, target, key, http_client)
    parameters = inspect.signature(make).parameters
    wanted = {"api_key": key, "token": key, "base_url": target, "http_client": http_client}
    given = {label: value for label, value in wanted.items() if label in parameters and value is not None}
    provider: Provider[Any] = make(**given)
    _openai_client(name, provider).base_url = target
    return provider


def _openai_client(name: str, provider: Provider[Any]) -> Any:
    from openai import AsyncOpenAI

    if not isinstance(provider.client, AsyncOpenAI):
        raise UserError(f"the models of {name!r} cannot go through a gateway")
    return provider.client


def _compatible(name: str, target: str, key: str, http_client: Any | None) -> Provider[Any]:
    """Any service that speaks OpenAI's API, under its own name where this pydantic-ai can."""
    try:
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
    except ImportError:
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIProvider(base_url=target, api_key=key, http_client=http_client)
    return OpenAICompatibleProvider(name, base_url=target, api_key=key, http_client=http_client)


def _xai(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from pydantic_ai.profiles.grok import grok_model_profile

    try:
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
    except ImportError:
        return _compatible("xai", target, key, http_client)
    return OpenAICompatibleProvider(
        "xai", base_url=target, api_key=key, http_client=http_client, profile=grok_model_profile
    )


def _google_gla(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from pydantic_ai.providers.google import GoogleProvider

    return GoogleProvider(api_key=key, base_url=target, http_client=http_client)


def _mistral(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from pydantic_ai.providers.mistral import MistralProvider

    return MistralProvider(api_key=key, base_url=target, http_client=http_client)


def _bedrock_mantle(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    try:
        from pydantic_ai.providers.bedrock_mantle import BedrockMantleProvider
    except ModuleNotFoundError as error:
        raise ImportError("bedrock-mantle needs a newer pydantic-ai: pip install -U pydantic-ai-slim") from error
    return BedrockMantleProvider(base_url=target, api_key=key, http_client=http_client)


def _azure(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    """Azure by its versionless API, or by the older one where `OPENAI_API_VERSION` asks for it."""
    from pydantic_ai.providers.azure import AzureProvider

    if version := os.environ.get("OPENAI_API_VERSION"):
        provider = AzureProvider(azure_endpoint=target, api_version=version, api_key=key, http_client=http_client)
        forget_azure_token(provider.client)
        return provider
    return AzureProvider(azure_endpoint=f"{target}/openai/v1", api_key=key, http_client=http_client)


def _cohere(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from cohere import AsyncClientV2
    from pydantic_ai.models import create_async_http_client
    from pydantic_ai.providers.cohere import CohereProvider

    own = None if http_client is not None else create_async_http_client()
    client = AsyncClientV2(api_key=key, base_url=target, httpx_client=http_client or own)
    provider = CohereProvider(cohere_client=client)
    if own is not None:
        provider._own_http_client, provider._http_client_factory = own, create_async_http_client
    return provider


def _huggingface(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from huggingface_hub import AsyncInferenceClient
    from pydantic_ai.providers.huggingface import HuggingFaceProvider

    if http_client is not None:
        raise UserError("huggingface_hub takes no HTTP client")

    noting = AsyncResponseHook(ResponseHook(GatewayAccess.of(target, key)))

    class Client(AsyncInferenceClient):
        """Its HTTP client is its own: what goes with each request is added to the headers that it reads."""

        async def _get_async_client(self) -> Any:
            http = await super()._get_async_client()  # type: ignore[no-untyped-call]
            hooks = http.event_hooks
            if noting not in hooks["response"]:
                http.event_hooks = {**hooks, "response": [*hooks["response"], noting]}
            return http

        @property
        def headers(self) -> dict[str, str]:
            return {**self._headers, **headers()}

        @headers.setter
        def headers(self, value: dict[str, str]) -> None:
            self._headers = value

    provider = HuggingFaceProvider(base_url=target, api_key=key)
    provider._client_factory = partial(Client, base_url=target, api_key=key)  # so that the provider also closes it
    provider._client = provider._client_factory()
    return provider


def _voyageai(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from pydantic_ai.providers.voyageai import VoyageAIProvider

    if http_client is not None:
        raise UserError("voyageai takes no HTTP client")
    client = import_module("voyageai.client_async").AsyncClient(api_key=key, base_url=f"{target}/v1")
    return VoyageAIProvider(voyageai_client=client)


def _bedrock(target: str, key: str, http_client: Any | None) -> Provider[Any]:
    from pydantic_ai.providers.bedrock import BedrockProvider

    from paig_client.aws import bedrock_client

    if http_client is not None:
        raise UserError("boto3 takes no HTTP client")
    return BedrockProvider(bedrock_client=bedrock_client(target, key))


BUILDERS: Mapping[str, BuildProvider] = {
    "xai": _xai,
    "google-gla": _google_gla,
    "mistral": _mistral,
    "azure": _azure,
    "azure-responses": _azure,
    "bedrock-mantle": _bedrock_mantle,
    "cohere": _cohere,
    "huggingface": _huggingface,
    "voyageai": _voyageai,
    "bedrock": _bedrock,
    "converse": _bedrock,
}
"""Those that take more than a key and an address."""
