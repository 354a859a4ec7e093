"""A first configuration from the provider keys in the environment, by the names of their variables."""

from __future__ import annotations

from collections.abc import Mapping

from paig_client.cli.importers.draft import Draft, Table

KEYS: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "azure": ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    "bedrock": ("AWS_BEARER_TOKEN_BEDROCK",),
    "cohere": ("CO_API_KEY", "COHERE_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "together": ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    "fireworks": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "perplexity": ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
    "moonshot": ("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
    "novita": ("NOVITA_API_KEY",),
    "zai": ("ZAI_API_KEY",),
    "voyageai": ("VOYAGE_API_KEY",),
    "ovhcloud": ("OVHCLOUD_API_KEY",),
    "crusoe": ("CRUSOE_API_KEY",),
    "snowflake": ("SNOWFLAKE_TOKEN",),
    "heroku": ("HEROKU_INFERENCE_KEY",),
}
"""The variables that hold a kind's key, the usual one first."""

ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "azure": ("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
    "snowflake": ("SNOWFLAKE_BASE_URL",),
}
"""The variables that hold the address of kinds where each account has its own."""

GATEWAY_KEY = "paig_"
"""The prefix of this gateway's own keys, which are not a provider's."""


def from_environment(environ: Mapping[str, str]) -> Draft:
    """Providers for the keys that are in the environment, as references to their variables.

    Of a key's value only two things matter: that there is one, and that it is not a key of this gateway. The draft gets
    no values of variables but addresses, regions and the names of files.
    """
    draft = Draft()
    for kind, names in KEYS.items():
        name = next((name for name in names if environ.get(name, "").strip()), None)
        if name is None:
            continue
        if environ[name].startswith(GATEWAY_KEY):
            draft.note(f"{name} holds a key of this gateway, not a provider's.")
            continue
        fields: Table = {"kind": kind, "credential": f"env:{name}"}
        if kind in ADDRESSES:
            address = next((environ[at] for at in ADDRESSES[kind] if environ.get(at)), None)
            if address is None:
                draft.note(f"{name} holds a key for {kind}, whose address is not known: set {ADDRESSES[kind][0]}.")
                continue
            fields["base_url"] = address
        if kind == "bedrock" and (region := _region(environ)):
            fields["region"] = region
        draft.providers[kind] = fields
    _cloud_accounts(draft, environ)
    return draft


def _cloud_accounts(draft: Draft, environ: Mapping[str, str]) -> None:
    """Accounts whose credential needs several variables."""
    if "bedrock" not in draft.providers and (environ.get("AWS_ACCESS_KEY_ID") or environ.get("AWS_PROFILE")):
        fields: Table = {"kind": "bedrock"}
        if region := _region(environ):
            fields["region"] = region
        draft.providers["bedrock"] = fields
        draft.note("bedrock has no credential here: the gateway signs with the AWS credentials of its own machine.")
    if file := environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        fields = {"kind": "google-vertex", "credential": f"file:{file}"}
        for setting, name in (("project", "GOOGLE_CLOUD_PROJECT"), ("location", "GOOGLE_CLOUD_LOCATION")):
            if value := environ.get(name):
                fields[setting] = value
        draft.providers["google-vertex"] = fields


def _region(environ: Mapping[str, str]) -> str | None:
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
