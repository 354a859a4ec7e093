"""Write docs/clients/: a page for each client, from the tables that `paig run`, `paig setup` and `make clients` use.

Run as `python scripts/client_pages.py`; with `--check` it writes nothing and exits with 1 if a page is not
what it would write. What the tables do not say stands in `PAGES`.
"""

# ruff: noqa: E501  (sentences of the pages)

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client_recipes import RECIPES, Recipe

from paig_client.environment import CLIENTS, gateway
from paig_client.setup import SETUPS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "clients"
BASE, KEY = "http://127.0.0.1:8787/proxy", "paig_KEY"


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        title: What the client's makers call it.
        clients: The names that `--for` takes, the usual one first.
        notes: What a user should know besides.
        more: Sections of its own.
        program: How a program that uses it is started, if it is not a program itself.
    """

    title: str
    clients: Sequence[str]
    notes: str = ""
    more: str = ""
    program: str = "python app.py"


_CLAUDE = """## A key that is renewed: apiKeyHelper

A [personal key](../sso.md#give-everybody-a-key-of-their-own) ends after some hours. `paig run` renews it at each start; Claude
Code by itself does so with a helper in `~/.claude/settings.json`, which it runs every five minutes and after a 401:

```json
{
  "apiKeyHelper": "eval \\"$(paig env)\\" && printf %s \\"$PAIG_API_KEY\\"",
  "env": { "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787/proxy/anthropic" }
}
```

With `CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY` set to `"1"` in `env`, `/model` offers what the key may use, as `GET /v1/models` of
the gateway lists it.

## Log in from Claude Code itself

Claude Code 2.1.195 and newer logs in to a gateway without any `paig` command: `/login` shows a code, the person confirms it at
your identity provider, and Claude Code gets the personal key of the person's group, renews it, and ends it at `/logout`. Set up
[keys by single sign-on](../sso.md#give-everybody-a-key-of-their-own), serve the gateway with https at an address inside your
network, and give each machine these managed settings (`/etc/claude-code/managed-settings.json` on Linux):

```json
{
  "forceLoginMethod": "gateway",
  "forceLoginGatewayUrl": "https://gateway.example",
  "parentSettingsBehavior": "merge"
}
```

What you set as `claude_settings` reaches everyone who has logged in, as managed settings:

```toml
[sso]
issuer = "https://login.example.com/realms/acme"
client_id = "paig"
scopes = ["openid", "profile", "email", "groups", "offline_access"]

[sso.keys.everybody]
limits = { daily = 10 }

[sso.claude_settings]
availableModels = ["claude-sonnet-4-6"]
env = { CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY = "1" }
```

The gateway speaks the protocol that Claude Code 2.1.332 describes (`claude gateway` serves it at `/protocol`):

| | |
|---|---|
| `GET /.well-known/oauth-authorization-server` | where to log in |
| `POST /oauth/device_authorization`, `/oauth/token`, `/oauth/revoke` | the device flow, renewal, `/logout` |
| `GET /managed/settings` | `claude_settings`, with a checksum; 404 where there are none |
| `/v1/messages`, `/v1/messages/count_tokens`, `GET /v1/models` | at the [one address](../clients.md#one-address-for-every-api) |

**What was run.** `make clients` logs in with Claude Code in a terminal, against `paig serve` with https in a network in which every
address is recorded, with [oidc-provider](https://www.npmjs.com/package/oidc-provider) as the identity provider. The machine has
nothing of paig but the managed settings. A person takes ten steps to the first answer: choose a theme, connect, trust the gateway's
certificate, confirm the code in the browser, confirm the account, read that the login succeeded, read the notes on security, trust
the folder, ask, read the answer. Every row belongs to the person's key, which went to no other host. `/logout` was tried by hand: it
deletes the key. Claude Code required:

- **A certificate that the machine trusts.** With a certificate authority of your own, install that in the system, or name its
  file in `NODE_EXTRA_CA_CERTS`; otherwise Claude Code says "Could not verify the gateway's TLS certificate" and sends nothing.
- **The person's confirmation of that certificate.** Claude Code shows the beginning of its SHA-256 fingerprint once for each host, keeps it in
  `~/.claude/.credentials.json`, and asks again when the certificate changes. `paig serve --tls` makes a certificate at
  every start, so serve one of your own with `tls_cert` and `tls_key`.
- **A host name with a private address.** With a public one Claude Code says "Gateway hosts must be on your organization's private
  network"; the managed setting `gatewayInternalNetworks` names public blocks that belong to yours.

The page where a person confirms the code is at the identity provider's host, not the gateway's; Claude Code accepts that.

What is missing, because it is not documented or not useful here:

- Metrics, logs and traces (`POST /v1/metrics`, `/v1/logs`, `/v1/traces`) are not accepted, so do not turn them on in
  `claude_settings`. The ledger has what each session cost.
- `login_notice`, `/user/bootstrap` and settings that differ by group are not served.
- Over a cap, Claude Code gets a 402, which it does not repeat. The spend limits of Claude apps gateway
  (`/v1/organizations/spend_limits`) are not served: use [caps](../caps.md).

"""

_LITELLM = (
    " LiteLLM takes `OPENAI_API_KEY` for each provider that has no key of its own, so keys of other providers that your environment"
    " lacks are set to `unused`. LiteLLM makes SageMaker's address from the region, so the region is a name that no host has."
)
_LOCAL = (
    " With `paig serve --tls` on this machine `paig run` and `paig setup` write the address with `localhost`, because the program"
    " accepts no certificate for 127.0.0.1 from an authority that is constrained to addresses."
)
_AGENT = "It sends long requests with a high output maximum, so make its key with `paig keys create NAME --for {}`."
PAGES = {
    "claude-code": Page(
        "Claude Code",
        ("claude-code", "claude-code-bedrock", "claude-code-vertex"),
        "When the cap refuses a request, Claude Code shows the gateway's message and stops: it does not repeat a 402. It looks"
        " for updates and sends telemetry at its maker's, without the gateway key; `DISABLE_TELEMETRY=1` and"
        " `DISABLE_AUTOUPDATER=1` turn that off." + _LOCAL,
        _CLAUDE,
    ),
    "codex": Page(
        "Codex",
        ("codex",),
        "Codex takes its address from `~/.codex/config.toml` or from options, never from `OPENAI_BASE_URL`, so `paig run`"
        " passes options. The key stays in the variable `PAIG_API_KEY`, which the options name. It repeats a 402 up to five"
        " times before it shows it. To models before GPT-6 it offers OpenAI's web search, for which much is held"
        ' (see [bounds](../bounds.md#without-a-bound)); `web_search = "disabled"` in its settings turns that off.',
    ),
    "gemini-cli": Page(
        "Gemini CLI",
        ("gemini-cli", "gemini-cli-vertex"),
        "A login with a Google account would win over the key, so `paig run` passes settings that choose the key.",
    ),
    "qwen-code": Page(
        "Qwen Code", ("qwen-code",), "It speaks OpenAI's API with any route that has an OpenAI-like provider."
    ),
    "opencode": Page(
        "OpenCode",
        ("opencode",),
        "All three of its providers (`openai`, `anthropic`, `google`) go to the gateway. It asks npm for its provider packages,"
        " without the key." + _LOCAL,
    ),
    "copilot": Page(
        "Copilot CLI",
        ("copilot",),
        "Set the model in `COPILOT_MODEL`. It asks GitHub for its own settings, without the gateway key.",
    ),
    "continue": Page(
        "Continue CLI",
        ("continue",),
        "`paig run` passes a configuration with two models; add others in a file of your own, with `apiBase` and `apiKey` as"
        " there.",
    ),
    "cline": Page(
        "Cline CLI", ("cline",), "It reads no variable for its address; `paig setup cline` writes its settings."
    ),
    "pi": Page("pi", ("pi",), "It reads its models from a file; `paig setup pi` writes it."),
    "aider": Page(
        "aider",
        ("aider",),
        "A `.env` file beside the code wins over the environment, so `paig run` passes options, which win over that file."
        " aider gives the model no tools: it reads the edits from the text." + _LITELLM,
    ),
    "goose": Page(
        "goose",
        ("goose",),
        "Its Vertex provider has a fixed address: do not give it the gateway key. The command is called `goose`; `make clients`"
        " runs the program of npm's package `@aaif/goose-binary-linux-x64`, which has a longer name.",
    ),
    "llm": Page("llm", ("llm",), "The plugin `llm-gemini` has a fixed address: do not give it the gateway key."),
    "openai": Page("OpenAI SDKs", ("openai", "azure"), ""),
    "anthropic": Page(
        "Anthropic SDKs",
        ("anthropic", "bedrock"),
        "`AnthropicVertex` takes its token as an argument: `AnthropicVertex(access_token=…)`.",
    ),
    "groq": Page("Groq SDKs", ("groq",), ""),
    "google-genai": Page("google-genai", ("google", "google-vertex"), ""),
    "bedrock": Page(
        "boto3 and the AWS SDKs",
        ("bedrock",),
        "With these variables requests to every AWS service go to the gateway, because each would carry the gateway key in its"
        " signature.",
    ),
    "litellm": Page("LiteLLM SDK", ("litellm",), "It reads its price list from GitHub, without the key." + _LITELLM),
    "langchain": Page("LangChain", ("langchain",), ""),
    "llama-index": Page("LlamaIndex", ("llama-index",), ""),
    "openai-agents": Page(
        "OpenAI Agents SDK",
        ("openai-agents",),
        "Its tracing sends the key to OpenAI, so `paig run` turns tracing off.",
    ),
    "instructor": Page("instructor", ("instructor",), ""),
    "dspy": Page("DSPy", ("dspy",), "Its LiteLLM reads its price list from GitHub, without the key." + _LITELLM),
    "smolagents": Page("smolagents", ("smolagents",), ""),
    "vercel-ai": Page("Vercel AI SDK", ("vercel-ai",), program="node app.mjs"),
}
"""By the page's name."""

# Recipes that are called otherwise than their page's title, by the page's name.
RECIPE_TITLES = {
    "openai": ("OpenAI SDK",),
    "anthropic": ("Anthropic SDK", "AnthropicBedrock"),
    "bedrock": ("boto3", "AWS SDK for JavaScript"),
}


def write(name: str, page: Page) -> str:
    """The text of a page."""
    lines = [f"# {page.title}", ""]
    lines += _one_line(page)
    lines += _modes(page)
    lines += _variables(page)
    lines += _setup(name, page)
    lines += [page.more] if page.more else []
    lines += _run(name, page)
    lines += ["## Good to know", "", *_wrapped(_notes(page))] if _notes(page) else []
    return "\n".join(lines).rstrip() + "\n"


def _notes(page: Page) -> str:
    client = CLIENTS.get(page.clients[0])
    agent = _AGENT.format(page.clients[0]) if client is not None and client.agent else ""
    return " ".join(part for part in (agent, page.notes) if part)


def _one_line(page: Page) -> Iterator[str]:
    client = CLIENTS.get(page.clients[0])
    if client is None:
        return
    yield from ("```sh",)
    if client.programs:
        yield f"paig run -- {client.programs[0]}"
    else:
        yield f"paig run --for {page.clients[0]} -- {page.program}"
        yield f'eval "$(paig env --for {page.clients[0]})"    # or set it for the whole shell'
    yield from ("```", "")
    yield "The gateway's address and key come from `paig login`, or from `PAIG_BASE_URL` and `PAIG_API_KEY`."
    yield ""


def _modes(page: Page) -> Iterator[str]:
    for other in page.clients[1:]:
        program = CLIENTS[page.clients[0]].programs[:1] or (page.program,)
        yield from (f"{CLIENTS[other].title}:", "", "```sh", f"paig run --for {other} -- {program[0]}", "```", "")


def _variables(page: Page) -> Iterator[str]:
    clients = [CLIENTS[name] for name in page.clients if name in CLIENTS]
    if not clients:
        return
    yield from ("## What `paig run` sets", "")
    for client in clients:
        own = {name: value for name, value in client.variables(BASE, KEY).items() if name not in gateway(BASE, KEY)}
        if len(clients) > 1:
            yield from (f"**{client.title}**", "")
        if any(value is not None for value in own.values()):
            yield from ("| variable | value |", "|---|---|")
            yield from (f"| `{name}` | `{value}` |" for name, value in own.items() if value is not None)
            yield ""
        if unset := [f"`{name}`" for name, value in own.items() if value is None]:
            yield from _wrapped(f"Unset, because they name another address or replace the key: {', '.join(unset)}.")
            yield ""
        if arguments := client.arguments(BASE):
            yield from (
                "Options before the program's own:",
                "",
                "```text",
                " ".join(map(_quoted, arguments)),
                "```",
                "",
            )
        if client.file is not None:
            how = f"`{client.file.variable}`" if client.file.variable else f"`{client.file.option}`"
            kind = "json" if client.file.name.endswith("json") else "yaml"
            yield from (f"A file, named by {how}:", "", f"```{kind}", client.file.text(BASE).rstrip(), "```", "")


def _quoted(word: str) -> str:
    return f"'{word}'" if re.search(r"[\s\"{}]", word) else word


def _setup(name: str, page: Page) -> Iterator[str]:
    if (found := SETUPS.get(page.clients[0])) is None:
        return
    yield from (
        "## Write it into the client's own settings",
        "",
        "```sh",
        f"paig setup {name}",
        f"paig setup {name} --undo",
        "```",
        "",
    )
    yield "The command shows the change, asks, and writes it; `--undo` restores the file. The file contains the key, and only you"
    yield "can read it:"
    yield ""
    for path, edit in found.files.items():
        text = edit("", BASE, KEY).rstrip()
        yield from (f"`~/{path}`", "", f"```{_language(path, text)}", text, "```", "")


def _language(path: str, text: str) -> str:
    if path.endswith(".json"):
        json.loads(text)
        return "json"
    if path.endswith(".toml"):
        tomllib.loads(text)
        return "text"
    return "text"


def _run(name: str, page: Page) -> Iterator[str]:
    found = [(title, recipe) for title, recipe in RECIPES.items() if _belongs(title, name, page)]
    if not found:
        return
    yield from (
        "## What was run",
        "",
        "`make clients` ran these with the [release that the table names](checked.md):",
        "",
    )
    shown: set[str] = set()
    for title, recipe in found:
        language, text = _program(recipe)
        if text not in shown:
            shown.add(text)
            yield from (f"{title}:", "", f"```{language}", text, "```", "")


def _belongs(title: str, name: str, page: Page) -> bool:
    titles = RECIPE_TITLES.get(name, (page.title,))
    return title in titles or any(re.match(rf"{re.escape(start)}(,| for JavaScript)", title) for start in titles)


def _program(recipe: Recipe) -> tuple[str, str]:
    if recipe.program == "node":
        return "js", str(recipe.commands[0]).rstrip()
    if recipe.program == "python":
        return "text", "\n\n# and\n".join(str(command).rstrip() for command in recipe.commands)
    start = f"paig run --for {recipe.client} --" if recipe.client and not recipe.setup else "paig run --"
    start = "" if recipe.setup else f"{start} "
    variables = "".join(f"{name}={value} " for name, value in recipe.variables.items())
    lines = [
        variables + start + " ".join([recipe.program, *(f"'{word}'" if " " in word else word for word in command)])
        for command in recipe.commands
    ]
    return "text", "\n".join(lines)


def _wrapped(text: str, width: int = 120) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them; the exit status says whether they were right."""
    wrong = []
    for name, page in PAGES.items():
        path, text = FOLDER / f"{name}.md", write(name, page)
        if not path.is_file() or path.read_text("utf-8") != text:
            wrong.append(path)
            if "--check" not in arguments:
                path.write_text(text, "utf-8")
    for path in wrong:
        print(f"{path.relative_to(ROOT)} {'is not' if '--check' in arguments else 'was not'} what the tables say")
    return 1 if wrong and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
