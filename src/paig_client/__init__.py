"""paig's client: what applications and operators import.

Every public name is imported when it is first used. `own_gateway` decides whether the admin token may be sent.

Never true: `import paig_client` loads an SDK, an HTTP client or a keyring; a gateway key is sent anywhere but to its
gateway.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paig_client.admin import AdminClient as AdminClient
    from paig_client.admin import AsyncAdminClient as AsyncAdminClient
    from paig_client.attribution import agent as agent
    from paig_client.attribution import budget as budget
    from paig_client.attribution import session as session
    from paig_client.attribution import tags as tags
    from paig_client.charges import Charge as Charge
    from paig_client.charges import Fitted as Fitted
    from paig_client.charges import Spend as Spend
    from paig_client.charges import async_spend_of as async_spend_of
    from paig_client.charges import spend_of as spend_of
    from paig_client.charges import spending as spending
    from paig_client.credentials import CredentialError as CredentialError
    from paig_client.errors import BadRequest as BadRequest
    from paig_client.errors import BodyTooLarge as BodyTooLarge
    from paig_client.errors import KeyRejected as KeyRejected
    from paig_client.errors import LimitExceeded as LimitExceeded
    from paig_client.errors import LimitTooSmall as LimitTooSmall
    from paig_client.errors import ModelNotAllowed as ModelNotAllowed
    from paig_client.errors import NoPrice as NoPrice
    from paig_client.errors import ObjectNotFound as ObjectNotFound
    from paig_client.errors import Overloaded as Overloaded
    from paig_client.errors import PaigError as PaigError
    from paig_client.errors import RateLimited as RateLimited
    from paig_client.errors import RouteNotFound as RouteNotFound
    from paig_client.errors import UpstreamFailed as UpstreamFailed
    from paig_client.errors import from_exception as from_exception
    from paig_client.pydantic_ai import PaigGateway as PaigGateway
    from paig_client.pydantic_ai import gateway_model as gateway_model
    from paig_client.pydantic_ai import gateway_provider as gateway_provider
    from paig_client.pydantic_ai import register as register
    from paig_client.pydantic_ai import unregister as unregister
    from paig_client.sdks import anthropic as anthropic
    from paig_client.sdks import async_anthropic as async_anthropic
    from paig_client.sdks import async_azure_openai as async_azure_openai
    from paig_client.sdks import async_groq as async_groq
    from paig_client.sdks import async_openai as async_openai
    from paig_client.sdks import async_vertex_anthropic as async_vertex_anthropic
    from paig_client.sdks import azure_openai as azure_openai
    from paig_client.sdks import bedrock as bedrock
    from paig_client.sdks import google as google
    from paig_client.sdks import groq as groq
    from paig_client.sdks import mistral as mistral
    from paig_client.sdks import openai as openai
    from paig_client.sdks import vertex_anthropic as vertex_anthropic

_HOMES = {
    "admin": ("AdminClient", "AsyncAdminClient"),
    "attribution": ("agent", "budget", "session", "tags"),
    "credentials": ("CredentialError",),
    "errors": (
        "BadRequest",
        "BodyTooLarge",
        "KeyRejected",
        "LimitExceeded",
        "LimitTooSmall",
        "ModelNotAllowed",
        "NoPrice",
        "ObjectNotFound",
        "Overloaded",
        "PaigError",
        "RateLimited",
        "RouteNotFound",
        "UpstreamFailed",
        "from_exception",
    ),
    "pydantic_ai": ("PaigGateway", "gateway_model", "gateway_provider", "register", "unregister"),
    "sdks": (
        "anthropic",
        "async_anthropic",
        "async_azure_openai",
        "async_groq",
        "async_openai",
        "async_vertex_anthropic",
        "azure_openai",
        "bedrock",
        "google",
        "groq",
        "mistral",
        "openai",
        "vertex_anthropic",
    ),
    "charges": ("Charge", "Fitted", "Spend", "async_spend_of", "spend_of", "spending"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pydantic_ai":
            raise
        message = f'paig_client.{name} needs pydantic-ai, which is not installed: pip install "paig[pydantic-ai]"'
        raise ImportError(message, name=error.name) from None


def __dir__() -> list[str]:
    return [*globals(), *__all__]
