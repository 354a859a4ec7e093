"""Settings of a project that win over those of the person: they may take a client past the gateway, with the key.

One row of `PROJECT_FILES` for each client. `paig run` overrides most of them; a client that is started by itself, after
`paig setup`, does not.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

MOST_BYTES = 1 << 20
"""A larger file is no settings file, and is not read."""


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """What one client reads in a project.

    Attributes:
        paths: Files, relative to the project's folder.
        names: The settings that decide where it sends its requests, and with which key; regular expressions.
        harmless: Values of them that lead to the gateway, besides its address and the variable of its key.
    """

    paths: Sequence[str]
    names: Sequence[str]
    harmless: Sequence[str] = ()


_CLAUDE = ProjectFiles(
    (".claude/settings.json", ".claude/settings.local.json"),
    (
        "ANTHROPIC_[A-Z_]*BASE_URL",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_USE_[A-Z_]+",
        "apiKeyHelper",
    ),
)
_GEMINI = ProjectFiles(
    (".gemini/settings.json", ".gemini/.env", ".env"),
    ("GOOGLE_(?:GEMINI|VERTEX)_BASE_URL", "G(?:EMINI|OOGLE)_API_KEY", "GOOGLE_GENAI_USE_[A-Z]+", "selectedType"),
)
PROJECT_FILES: Mapping[str, ProjectFiles] = {
    **dict.fromkeys(("claude-code", "claude-code-bedrock", "claude-code-vertex"), _CLAUDE),
    "gemini-cli": replace(_GEMINI, harmless=["gemini-api-key"]),
    "gemini-cli-vertex": replace(_GEMINI, harmless=["vertex-ai"]),
    "codex": ProjectFiles((".codex/config.toml",), ("model_provider", "openai_base_url", "base_url"), ["paig"]),
    "qwen-code": ProjectFiles(
        (".qwen/settings.json", ".qwen/.env", ".env"),
        ("OPENAI_BASE_URL", "OPENAI_API_KEY", "baseUrl", "selectedType"),
        ["openai"],
    ),
    "opencode": ProjectFiles(
        ("opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"),
        ("baseURL", "apiKey"),
    ),
    "aider": ProjectFiles(
        (".aider.conf.yml", ".env"),
        ("openai-api-base", "openai-api-key", "anthropic-api-key", "api-key", "[A-Z_]+_(?:API_BASE|BASE_URL|API_KEY)"),
    ),
    "continue": ProjectFiles((".continue/config.yaml", ".continue/.env", ".env"), ("apiBase", "PAIG_API_KEY")),
}
"""By what `--for` and `paig setup` take."""


@dataclass(frozen=True, slots=True)
class ProjectSetting:
    """A setting of a project that does not lead to the gateway.

    Attributes:
        path: The file.
        name: The setting.
    """

    path: Path
    name: str


def overriding_settings(client: str, gateway: str, folder: Path, home: Path) -> Iterator[ProjectSetting]:
    """The settings of a project that do not lead to the gateway: at most one of each file.

    Args:
        client: What `--for` or `paig setup` takes. A client without a row has no such settings.
        gateway: The gateway's address.
        folder: Where the client is started, in the project.
        home: The person's own folder, whose files belong to no project.
    """
    known = PROJECT_FILES.get(client)
    if known is None:
        return
    setting = re.compile(rf"""(?<![\w-])({"|".join(known.names)})["']?\s*[:=]\s*("[^"\n]*"|'[^'\n]*'|[^\s,#]+)""")
    right = re.compile(
        "|".join((rf"{re.escape(gateway)}(?:/.*)?", r"\$?\{?(?:env:)?PAIG_API_KEY\}?", *map(re.escape, known.harmless)))
    )
    for place in _project(folder.resolve(), home.resolve()):
        for path in (place / name for name in known.paths):
            for found in setting.finditer(_text(path)):
                if not right.fullmatch(found[2].strip("\"'")):
                    yield ProjectSetting(path, found[1])
                    break


def _project(folder: Path, home: Path) -> Iterator[Path]:
    """The folder, and those above it up to the root of its repository."""
    for place in (folder, *folder.parents):
        if place == home:
            return
        yield place
        if (place / ".git").exists():
            return


def _text(path: Path) -> str:
    """A file's text without whole lines of comments; empty if it cannot be read. A pipe would be waited for."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            return ""
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return re.sub(r"(?m)^[ \t]*(?:#|//).*$", "", text)
