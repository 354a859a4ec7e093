"""How clients are pointed at the gateway: variables, arguments and files, one row of `CLIENTS` for each client.

A variable that is None must be unset: otherwise a provider's own credential would be sent to the gateway beside the
gateway key, or in its place. No row may give the key to a program that sends it anywhere else than to the gateway;
`make clients` runs every client against a network that records where it connects.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paig_client.addresses import PROXY, root
from paig_client.litellm_keys import LITELLM_KEYS, UNUSED

Variables = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class File:
    """A file that a client reads, written for it below the home folder.

    Attributes:
        name: Its name.
        text: Makes its content from the gateway's `…/proxy` address. Never the key.
        variable: The variable with its path, for the client.
        option: The option with its path, for the client.
    """

    name: str
    text: Callable[[str], str]
    variable: str = ""
    option: str = ""


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """How one client is pointed at the gateway.

    Attributes:
        title: Its name, as its makers write it.
        variables: Makes its environment from the `…/proxy` address and the key.
        programs: The commands by which `paig run` recognises it.
        arguments: Makes the arguments before its own from the `…/proxy` address. Never the key.
        file: A file that it reads.
        agent: Whether it is a coding agent: long requests, many in a row, high output maximum.
        other_keys: Variables of other providers' keys, for which it would take the gateway key if they are missing.
    """

    title: str
    variables: Callable[[str, str], Variables]
    programs: tuple[str, ...] = ()
    arguments: Callable[[str], Sequence[str]] = lambda base: ()
    file: File | None = None
    agent: bool = False
    other_keys: tuple[str, ...] = ()


def gateway(base_url: str, key: str) -> Variables:
    """What pydantic-ai's `gateway/…` models and `paig_client` read."""
    return {
        "PYDANTIC_AI_GATEWAY_BASE_URL": base_url,
        "PYDANTIC_AI_GATEWAY_API_KEY": key,
        "PAIG_BASE_URL": base_url,
        "PAIG_API_KEY": key,
    }


def _openai(base: str, key: str) -> Variables:
    return {
        "OPENAI_BASE_URL": f"{base}/openai/v1",
        "OPENAI_API_BASE": f"{base}/openai/v1",  # LangChain and LlamaIndex
        "OPENAI_API_KEY": key,
        "OPENAI_AGENTS_DISABLE_TRACING": "1",  # the Agents SDK sends its traces to OpenAI, with the key
        "OPENAI_ORG_ID": None,
        "OPENAI_PROJECT_ID": None,
    }


def _anthropic(base: str, key: str) -> Variables:
    return {"ANTHROPIC_BASE_URL": f"{base}/anthropic", "ANTHROPIC_AUTH_TOKEN": key, "ANTHROPIC_API_KEY": None}


def _anthropic_key(base: str, key: str) -> Variables:
    """For clients that read only `ANTHROPIC_API_KEY`."""
    return {
        "ANTHROPIC_BASE_URL": f"{base}/anthropic",
        "ANTHROPIC_API_URL": f"{base}/anthropic",  # LangChain
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_AUTH_TOKEN": None,
    }


def _openai_and_anthropic(base: str, key: str) -> Variables:
    return {**_openai(base, key), **_anthropic_key(base, key)}


def _litellm(base: str, key: str) -> Variables:
    return {
        **_openai_and_anthropic(base, key),
        **{"ANTHROPIC_API_BASE": f"{base}/anthropic", "GEMINI_API_BASE": f"{base}/google", "GEMINI_API_KEY": key},
        **{"GOOGLE_API_KEY": None, "AZURE_API_BASE": f"{base}/azure", "AZURE_API_KEY": key},
        **_bedrock(base, key),
        **{"AWS_BEDROCK_RUNTIME_ENDPOINT": f"{base}/bedrock"},
        # LiteLLM makes SageMaker's host from the region, and would sign with the key: no host has this one.
        **dict.fromkeys(("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"), "paig"),
        **{"BEDROCK_MANTLE_API_BASE": f"{base}/bedrock-mantle/v1", "BEDROCK_MANTLE_API_KEY": key},
    }


def _google(base: str, key: str) -> Variables:
    return {
        "GOOGLE_GEMINI_BASE_URL": f"{base}/google",
        "GEMINI_API_KEY": key,
        "GOOGLE_API_KEY": None,
        "GOOGLE_GENAI_USE_VERTEXAI": None,
        "GOOGLE_GENAI_USE_GCA": None,
    }


def _google_vertex(base: str, key: str) -> Variables:
    return {
        "GOOGLE_VERTEX_BASE_URL": f"{base}/google-vertex",
        "GOOGLE_GEMINI_BASE_URL": f"{base}/google-vertex",  # google-genai for Python reads this one in Vertex mode too
        "GOOGLE_API_KEY": key,
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GEMINI_API_KEY": None,
        "GOOGLE_GENAI_USE_GCA": None,
        "GOOGLE_CLOUD_PROJECT": None,
        "GOOGLE_CLOUD_LOCATION": None,
    }


def _azure(base: str, key: str) -> Variables:
    return {"AZURE_OPENAI_ENDPOINT": f"{base}/azure", "AZURE_OPENAI_API_KEY": key, "AZURE_OPENAI_AD_TOKEN": None}


REGION = "us-east-1"
"""Part of a signature that the gateway drops; the provider's own region counts."""


def _bedrock(base: str, key: str) -> Variables:
    """The gateway takes its key as the access key id and drops the signature, so this works over http too.

    A request to any other AWS service would carry the key in its signature, so all of them go to the gateway.
    """
    return {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"{base}/bedrock",
        "AWS_ENDPOINT_URL": f"{base}/bedrock",
        "ANTHROPIC_BEDROCK_BASE_URL": f"{base}/bedrock",  # Anthropic's SDK does not read the other two
        "ANTHROPIC_BEDROCK_MANTLE_BASE_URL": f"{base}/bedrock-mantle/anthropic",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "unused",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_SESSION_TOKEN": None,
        "AWS_PROFILE": None,
        "AWS_BEARER_TOKEN_BEDROCK": None,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": None,
    }


CLAUDE_MODES = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_OAUTH_TOKEN",
)
"""With any of these, Claude Code ignores `ANTHROPIC_BASE_URL`."""


def _claude_code(base: str, key: str) -> Variables:
    return {**dict.fromkeys(CLAUDE_MODES), **_anthropic(base, key)}


def _claude_code_bedrock(base: str, key: str) -> Variables:
    return {
        **dict.fromkeys(CLAUDE_MODES),
        **{"CLAUDE_CODE_USE_BEDROCK": "1", **_bedrock(base, key)},
        **{"ANTHROPIC_API_KEY": None, "ANTHROPIC_AUTH_TOKEN": None},
    }


def _claude_code_vertex(base: str, key: str) -> Variables:
    return {
        **dict.fromkeys(CLAUDE_MODES),
        **{"CLAUDE_CODE_USE_VERTEX": "1", "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1", "CLOUD_ML_REGION": "global"},
        **{"ANTHROPIC_VERTEX_BASE_URL": f"{base}/google-vertex", "ANTHROPIC_VERTEX_PROJECT_ID": "paig"},
        **{"ANTHROPIC_AUTH_TOKEN": key, "ANTHROPIC_API_KEY": None},
    }


def _claude_settings(name: str, route: str) -> Callable[[str], Sequence[str]]:
    """The option that overrides Claude Code's own settings file, which may name another address or choose another mode.

    The file in turn overrides the environment.
    """
    mode = {"bedrock": "CLAUDE_CODE_USE_BEDROCK", "google-vertex": "CLAUDE_CODE_USE_VERTEX"}.get(route)
    modes = {other: "1" if other == mode else "" for other in CLAUDE_MODES}
    return lambda base: ("--settings", json.dumps({"env": {name: f"{base}/{route}", **modes}}))


def _codex(base: str, key: str) -> Variables:
    # Codex takes the address only from its configuration. A key in OPENAI_API_KEY would be sent to OpenAI.
    return {"OPENAI_API_KEY": None, "CODEX_API_KEY": None}


def _codex_arguments(base: str) -> Sequence[str]:
    provider = {**codex_provider(base), "env_key": "PAIG_API_KEY"}
    settings = {"model_provider": "paig", **{f"model_providers.paig.{name}": value for name, value in provider.items()}}
    return [part for name, value in settings.items() for part in ("-c", f"{name}={json.dumps(value)}")]


def codex_provider(base: str) -> Mapping[str, str | bool]:
    """The gateway as a provider in Codex's configuration; without `supports_websockets` Codex uses only HTTP."""
    return {"name": "paig", "base_url": f"{base}/openai/v1", "wire_api": "responses", "supports_websockets": True}


def _gemini_settings(kind: str) -> File:
    """Its system settings, which override the login that the user chose before."""
    text = json.dumps({"security": {"auth": {"selectedType": kind}}}) + "\n"
    return File(f"{kind}.json", lambda base: text, variable="GEMINI_CLI_SYSTEM_SETTINGS_PATH")


def _qwen_settings(base: str) -> str:
    """Its system settings: models of the user's own settings would take the key to the addresses that they name."""
    return json.dumps({"modelProviders": {"openai": []}}) + "\n"


def _opencode(base: str, key: str) -> Variables:
    providers = {
        "openai": {"options": {"baseURL": f"{base}/openai/v1", "apiKey": "{env:PAIG_API_KEY}"}},
        "anthropic": {"options": {"baseURL": f"{base}/anthropic/v1", "apiKey": "{env:PAIG_API_KEY}"}},
        "google": {"options": {"baseURL": f"{base}/google/v1beta", "apiKey": "{env:PAIG_API_KEY}"}},
    }
    return {"OPENCODE_CONFIG_CONTENT": json.dumps({"provider": providers})}


def _qwen_arguments(base: str) -> Sequence[str]:
    return ("--auth-type", "openai", "--openai-base-url", f"{base}/openai/v1")


def _aider_arguments(base: str) -> Sequence[str]:
    """A `.env` beside the code wins over the environment; options win over it."""
    addresses = {name: value for name, value in _litellm(base, "").items() if value and value.startswith(base)}
    set_again = [part for name, value in addresses.items() for part in ("--set-env", f"{name}={value}")]
    return ("--openai-api-base", f"{base}/openai/v1", *set_again)


def _copilot(base: str, key: str) -> Variables:
    return {
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_BASE_URL": f"{base}/openai/v1",
        "COPILOT_PROVIDER_API_KEY": key,
        "COPILOT_PROVIDER_BEARER_TOKEN": None,
    }


def _goose(base: str, key: str) -> Variables:
    return {
        **{"OPENAI_HOST": base, "OPENAI_BASE_PATH": "openai/v1/chat/completions", "OPENAI_API_KEY": key},
        **{"ANTHROPIC_HOST": f"{base}/anthropic", "ANTHROPIC_API_KEY": key},
    }


def _continue(base: str, key: str) -> Variables:
    return {}


def _continue_config(base: str) -> str:
    models = [("gpt-5", "openai", "openai/v1"), ("claude-sonnet-4-5", "anthropic", "anthropic/v1")]
    lines = ["name: paig", "version: 1.0.0", "schema: v1", "models:"]
    for model, provider, path in models:
        lines += [f"  - name: {model}", f"    provider: {provider}", f"    model: {model}"]
        lines += [f"    apiBase: {base}/{path}", "    apiKey: ${{ secrets.PAIG_API_KEY }}", "    roles: [chat]"]
    return "\n".join(lines) + "\n"


_GEMINI_KEY, _VERTEX = _gemini_settings("gemini-api-key"), _gemini_settings("vertex-ai")
_QWEN = File("qwen.json", _qwen_settings, variable="QWEN_CODE_SYSTEM_SETTINGS_PATH")
_CLAUDE = _claude_settings("ANTHROPIC_BASE_URL", "anthropic")
_CLAUDE_BEDROCK = _claude_settings("ANTHROPIC_BEDROCK_BASE_URL", "bedrock")
_CLAUDE_VERTEX = _claude_settings("ANTHROPIC_VERTEX_BASE_URL", "google-vertex")

CLIENTS: Mapping[str, ClientProgram] = {
    # SDKs
    "openai": ClientProgram("OpenAI SDKs", _openai),
    "anthropic": ClientProgram("Anthropic SDKs", _anthropic),
    "google": ClientProgram("google-genai", _google),
    "google-vertex": ClientProgram("google-genai in Vertex mode", _google_vertex),
    "groq": ClientProgram("Groq SDKs", lambda base, key: {"GROQ_BASE_URL": f"{base}/groq", "GROQ_API_KEY": key}),
    "cohere": ClientProgram("Cohere SDKs", lambda base, key: {"CO_API_URL": f"{base}/cohere", "CO_API_KEY": key}),
    "azure": ClientProgram("AzureOpenAI", _azure),
    "bedrock": ClientProgram("boto3, AWS SDKs, AnthropicBedrock", _bedrock),
    # Frameworks
    "litellm": ClientProgram("LiteLLM SDK", _litellm, other_keys=LITELLM_KEYS),
    "langchain": ClientProgram("LangChain", _openai_and_anthropic),
    "llama-index": ClientProgram("LlamaIndex", _openai),
    "openai-agents": ClientProgram("OpenAI Agents SDK", _openai),
    "instructor": ClientProgram("instructor", _openai_and_anthropic),
    "dspy": ClientProgram("DSPy", _litellm, other_keys=LITELLM_KEYS),
    "smolagents": ClientProgram("smolagents", _openai),
    "vercel-ai": ClientProgram(
        "Vercel AI SDK", lambda base, key: {**_openai(base, key), **_vercel_anthropic(base, key)}
    ),
    # Programs
    "claude-code": ClientProgram("Claude Code", _claude_code, ("claude",), _CLAUDE, agent=True),
    "claude-code-bedrock": ClientProgram(
        "Claude Code, Bedrock mode", _claude_code_bedrock, (), _CLAUDE_BEDROCK, agent=True
    ),
    "claude-code-vertex": ClientProgram(
        "Claude Code, Vertex mode", _claude_code_vertex, (), _CLAUDE_VERTEX, agent=True
    ),
    "codex": ClientProgram("Codex", _codex, ("codex",), _codex_arguments, agent=True),
    "gemini-cli": ClientProgram("Gemini CLI", _google, ("gemini",), file=_GEMINI_KEY, agent=True),
    "gemini-cli-vertex": ClientProgram("Gemini CLI, Vertex mode", _google_vertex, (), file=_VERTEX, agent=True),
    "qwen-code": ClientProgram("Qwen Code", _openai, ("qwen",), _qwen_arguments, file=_QWEN, agent=True),
    "opencode": ClientProgram("OpenCode", _opencode, ("opencode",), agent=True),
    "copilot": ClientProgram("Copilot CLI", _copilot, ("copilot",), agent=True),
    "continue": ClientProgram(
        "Continue CLI", _continue, ("cn",), file=File("continue.yaml", _continue_config, option="--config"), agent=True
    ),
    "aider": ClientProgram("aider", _litellm, ("aider",), _aider_arguments, agent=True, other_keys=LITELLM_KEYS),
    "goose": ClientProgram("goose", _goose, ("goose",), agent=True),
    "llm": ClientProgram("llm", _openai_and_anthropic, ("llm",)),
}
"""By the value of `--for`."""


def _vercel_anthropic(base: str, key: str) -> Variables:
    return {"ANTHROPIC_BASE_URL": f"{base}/anthropic/v1", "ANTHROPIC_API_KEY": key, "ANTHROPIC_AUTH_TOKEN": None}


BY_PROGRAM: Mapping[str, str] = {program: name for name, client in CLIENTS.items() for program in client.programs}
"""Which client a command is."""

BY_NAME = frozenset({"claude-code", "claude-code-bedrock", "claude-code-vertex", "opencode"})
"""The clients that are built with BoringSSL (in Bun), which refuses a constrained address in a certificate."""

TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""The variables that name the certificates that a program trusts."""


def variables(base_url: str, key: str, clients: Sequence[str] = ()) -> dict[str, str | None]:
    """The gateway's own variables and those of each of `clients`; None stands for one to unset.

    Raises:
        KeyError: A client is not in `CLIENTS`.
        ValueError: The address is not a gateway's.
    """
    base = root(base_url) + PROXY
    found = dict(gateway(base, key))
    for client in clients:
        found |= CLIENTS[client].variables(base, key)
        others = CLIENTS[client].other_keys
        found |= {name: UNUSED for name in others if name not in found and not os.environ.get(name)}
    if "AWS_ENDPOINT_URL" in found:  # one for a single service wins over it
        found |= {name: None for name in os.environ if name.startswith("AWS_ENDPOINT_URL_") and name not in found}
    return found


def arguments(base_url: str, clients: Sequence[str], folder: Path) -> list[str]:
    """The arguments to put before those of a command that is one of `clients`."""
    base = root(base_url) + PROXY
    found: list[str] = []
    for client in map(CLIENTS.__getitem__, clients):
        found += client.arguments(base)
        if client.file is not None and client.file.option:
            found += [client.file.option, str(folder / client.file.name)]
    return found


def write_files(base_url: str, clients: Sequence[str], folder: Path) -> dict[str, str]:
    """Write the files that `clients` read, and return the variables that name them.

    Raises:
        OSError: A file cannot be written.
    """
    base = root(base_url) + PROXY
    named: dict[str, str] = {}
    for client in map(CLIENTS.__getitem__, clients):
        if client.file is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / client.file.name
            path.write_text(client.file.text(base), "utf-8")
            named |= {client.file.variable: str(path)} if client.file.variable else {}
    return named
