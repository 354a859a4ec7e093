"""The environment variables that point programs at the gateway.

A value of None means that the variable must not be set: a provider's own credential beside the gateway's address would
be sent there, or win over the gateway key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from paig_client.addresses import root

Variables = Mapping[str, str | None]


def gateway(base_url: str, key: str) -> Variables:
    """What pydantic-ai's `gateway/…` models and `paig_client` read."""
    return {
        "PYDANTIC_AI_GATEWAY_BASE_URL": base_url,
        "PYDANTIC_AI_GATEWAY_API_KEY": key,
        "PAIG_BASE_URL": base_url,
        "PAIG_API_KEY": key,
    }


def _openai(base: str, key: str) -> Variables:
    return {"OPENAI_BASE_URL": f"{base}/openai/v1", "OPENAI_API_KEY": key}


def _litellm(base: str, key: str) -> Variables:
    return {
        "OPENAI_API_BASE": f"{base}/openai/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_API_BASE": f"{base}/anthropic",
        "ANTHROPIC_API_KEY": key,
    }


def _anthropic(base: str, key: str) -> Variables:
    return {"ANTHROPIC_BASE_URL": f"{base}/anthropic", "ANTHROPIC_AUTH_TOKEN": key, "ANTHROPIC_API_KEY": None}


def _google(base: str, key: str) -> Variables:
    return {
        "GOOGLE_GEMINI_BASE_URL": f"{base}/google",
        "GEMINI_API_KEY": key,
        "GOOGLE_API_KEY": None,
        "GOOGLE_GENAI_USE_VERTEXAI": None,
    }


def _google_vertex(base: str, key: str) -> Variables:
    return {
        "GOOGLE_VERTEX_BASE_URL": f"{base}/google-vertex",
        "GOOGLE_API_KEY": key,
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": None,
        "GOOGLE_CLOUD_LOCATION": None,
    }


def _groq(base: str, key: str) -> Variables:
    return {"GROQ_BASE_URL": f"{base}/groq", "GROQ_API_KEY": key}


def _cohere(base: str, key: str) -> Variables:
    return {"CO_API_URL": f"{base}/cohere", "CO_API_KEY": key}


def _azure(base: str, key: str) -> Variables:
    return {"AZURE_OPENAI_ENDPOINT": f"{base}/azure", "AZURE_OPENAI_API_KEY": key, "AZURE_OPENAI_AD_TOKEN": None}


def _bedrock(base: str, key: str) -> Variables:
    # The gateway takes its key as the access key id, and drops the signature: this works over http as well.
    return {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"{base}/bedrock",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "unused",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_SESSION_TOKEN": None,
        "AWS_PROFILE": None,
        "AWS_BEARER_TOKEN_BEDROCK": None,
    }


CLIENTS: Mapping[str, Callable[[str, str], Variables]] = {
    "openai": _openai,
    "codex": _openai,
    "anthropic": _anthropic,
    "claude-code": _anthropic,
    "google": _google,
    "gemini-cli": _google,
    "google-vertex": _google_vertex,
    "groq": _groq,
    "cohere": _cohere,
    "azure": _azure,
    "bedrock": _bedrock,
    "litellm": _litellm,
    "aider": _litellm,
}
"""By client: an SDK, or a tool that reads the same variables."""


TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""What programs read the certificates from that they trust."""


def variables(base_url: str, key: str, clients: tuple[str, ...] = ()) -> dict[str, str | None]:
    """The gateway's own variables and those of each of `clients`; None stands for one to unset.

    Raises:
        KeyError: An unknown client.
        ValueError: The address cannot be a gateway's.
    """
    base = root(base_url) + "/proxy"
    found = dict(gateway(base, key))
    for client in clients:
        found |= CLIENTS[client](base, key)
    return found
