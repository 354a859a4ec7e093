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
    """

    title: str
    clients: Sequence[str]
    notes: str = ""


_AGENT = "It sends long requests with a high output maximum, so make its key with `paig keys create NAME --for {}`."
PAGES = {
    "claude-code": Page(
        "Claude Code",
        ("claude-code", "claude-code-bedrock", "claude-code-vertex"),
        "When the cap refuses a request, Claude Code shows the gateway's message and stops: it does not repeat a 402. It looks"
        " for updates and sends telemetry at its maker's, without the gateway key; `DISABLE_TELEMETRY=1` and"
        " `DISABLE_AUTOUPDATER=1` turn that off.",
    ),
    "codex": Page(
        "Codex",
        ("codex",),
        "Codex takes its address from `~/.codex/config.toml` or from options, never from `OPENAI_BASE_URL`, so `paig run`"
        " passes options. The key stays in the variable `PAIG_API_KEY`, which the options name. It repeats a 402 up to five"
        " times before it shows it.",
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
        " without the key.",
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
        "A `.env` file beside the code wins over the environment, so `paig run` passes options, which win over that file.",
    ),
    "goose": Page(
        "goose",
        ("goose",),
        "Its Vertex provider has a fixed address: do not give it the gateway key. `make clients` does not run goose, because it"
        " is in neither npm nor PyPI; the variables are those of its documentation.",
    ),
    "llm": Page("llm", ("llm",), "The plugin `llm-gemini` has a fixed address: do not give it the gateway key."),
    "openai": Page("OpenAI SDKs", ("openai", "azure"), ""),
    "anthropic": Page(
        "Anthropic SDKs",
        ("anthropic", "bedrock"),
        "`AnthropicVertex` takes its token as an argument: `AnthropicVertex(access_token=…)`.",
    ),
    "google-genai": Page("google-genai", ("google", "google-vertex"), ""),
    "bedrock": Page(
        "boto3 and the AWS SDKs",
        ("bedrock",),
        "With these variables requests to every AWS service go to the gateway, because each would carry the gateway key in its"
        " signature.",
    ),
    "litellm": Page("LiteLLM SDK", ("litellm",), "It reads its price list from GitHub, without the key."),
    "langchain": Page("LangChain", ("langchain",), ""),
    "llama-index": Page("LlamaIndex", ("llama-index",), ""),
    "openai-agents": Page(
        "OpenAI Agents SDK",
        ("openai-agents",),
        "Its tracing sends the key to OpenAI, so `paig run` turns tracing off.",
    ),
    "instructor": Page("instructor", ("instructor",), ""),
    "dspy": Page("DSPy", ("dspy",), ""),
    "smolagents": Page("smolagents", ("smolagents",), ""),
    "vercel-ai": Page("Vercel AI SDK", ("vercel-ai",), ""),
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
        yield f"paig run --for {page.clients[0]} -- python app.py"
        yield f'eval "$(paig env --for {page.clients[0]})"    # or set it for the whole shell'
    yield from ("```", "")
    yield "The gateway's address and key come from `paig login`, or from `PAIG_BASE_URL` and `PAIG_API_KEY`."
    yield ""


def _modes(page: Page) -> Iterator[str]:
    for other in page.clients[1:]:
        program = CLIENTS[page.clients[0]].programs[:1] or ("python app.py",)
        yield from (f"{CLIENTS[other].title}:", "", "```sh", f"paig run --for {other} -- {program[0]}", "```", "")


def _variables(page: Page) -> Iterator[str]:
    clients = [CLIENTS[name] for name in page.clients if name in CLIENTS]
    if not clients:
        return
    yield from ("## What it is given", "")
    for client in clients:
        own = {name: value for name, value in client.variables(BASE, KEY).items() if name not in gateway(BASE, KEY)}
        if len(clients) > 1:
            yield from (f"**{client.title}**", "")
        if own:
            yield from ("| variable | value |", "|---|---|")
            yield from (f"| `{name}` | `{value}` |" for name, value in own.items() if value is not None)
            yield ""
        if unset := [f"`{name}`" for name, value in own.items() if value is None]:
            yield from _wrapped(f"Unset, because they would lead elsewhere or win over the key: {', '.join(unset)}.")
            yield ""
        if arguments := client.arguments(BASE):
            yield from ("and before its own arguments:", "", "```text", " ".join(map(_quoted, arguments)), "```", "")
        if client.file is not None:
            how = f"`{client.file.variable}`" if client.file.variable else f"`{client.file.option}`"
            kind = "json" if client.file.name.endswith("json") else "yaml"
            yield from (f"and a file, named by {how}:", "", f"```{kind}", client.file.text(BASE).rstrip(), "```", "")


def _quoted(word: str) -> str:
    return f"'{word}'" if re.search(r"[\s\"{}]", word) else word


def _setup(name: str, page: Page) -> Iterator[str]:
    if (found := SETUPS.get(page.clients[0])) is None:
        return
    yield from (
        "## Written into its own settings",
        "",
        "```sh",
        f"paig setup {name}",
        f"paig setup {name} --undo",
        "```",
        "",
    )
    yield "shows the change, asks, and writes it; `--undo` puts the file back. The key stands in the file, which only you"
    yield "can read:"
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
