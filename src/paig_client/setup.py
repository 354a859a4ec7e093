"""Writing the gateway into the settings files of clients, and putting the files back.

One row of `SETUPS` for each client. The files hold the key, so they are made readable by their owner alone. What a file
was before is kept below the home folder until it is put back.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paig_client.addresses import PROXY, root
from paig_client.environment import CLAUDE_MODES, codex_provider
from paig_client.settings_text import Wanted, json_of, set_dotenv, set_json, set_toml

Edit = Callable[[str, str, str], str]
"""`(text, base, key) -> text`: the file's text with the gateway in it; `base` is the gateway's `…/proxy`."""


PRIVATE = 0o600
"""The permissions of a file that holds the key: its owner alone can read it."""


_SECRET = re.compile(
    r"""((?<!env)(?<!env_)(?:key|token|secret|password|authorization)["']?\s*[:=]\s*)"""
    r"""("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,"'{}\[\]]+)""",
    re.IGNORECASE,
)
"""A line's name of a secret, and the secret."""
HIDDEN = "paig_…"
"""What is shown in place of the key."""


class SetupError(Exception):
    """A client's settings cannot be changed, or not be put back; the message says why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The files of one client.

    Attributes:
        title: The client's name.
        files: How each is edited, by path below the person's own folder.
        moved: A variable that names another folder, and the folder that it stands for.
        jsonc: Whether it also reads the file by the name `.jsonc`, which wins over `.json`.
    """

    title: str
    files: Mapping[str, Edit]
    moved: tuple[str, str] = ("", "")
    jsonc: bool = False

    def path(self, name: str) -> Path:
        """Where a file is, in the folder that the variable names: of two that are read, the one that wins.

        The key in one and an address in the other would take the key to that address.
        """
        variable, folder = self.moved
        elsewhere = os.environ.get(variable)
        path = Path(elsewhere) / Path(name).relative_to(folder) if elsewhere else Path.home() / name
        commented = path.with_suffix(".jsonc")
        return commented if self.jsonc and commented.exists() else path


@dataclass(frozen=True, slots=True)
class Changes:
    """What would be written.

    Attributes:
        client: The client.
        files: The new text of each file that changes.
        before: Its present text; None if there is no file.
        modes: Its present permissions.
        key: The key, which is not shown.
        folder: Where the present texts are kept.
    """

    client: str
    files: Mapping[Path, str]
    before: Mapping[Path, str | None]
    modes: Mapping[Path, int]
    key: str
    folder: Path

    def diff(self) -> list[str]:
        """The change as lines, in the manner of `diff -u`; the key and the secrets that are there are hidden."""
        lines: list[str] = []
        for path, text in self.files.items():
            old = self.before[path] or ""
            found = difflib.unified_diff(old.splitlines(), text.splitlines(), str(path), str(path), lineterm="")
            lines += [_SECRET.sub(_hidden, line.replace(self.key, HIDDEN)) for line in found]
        return lines

    def write(self) -> None:
        """Write the files, and keep their former content."""
        kept = _kept(self.client, self.folder)
        earlier = _read_kept(kept)
        for path, text in self.files.items():
            # After a second setup, undo still restores the state before the first one.
            first = earlier.get(str(path), {"before": self.before[path], "mode": self.modes.get(path)})
            earlier[str(path)] = {**first, "after": text}
        _write(kept, json.dumps(earlier))
        for path, text in self.files.items():
            _write(path, text)


def _hidden(found: re.Match[str]) -> str:
    name, value = found.groups()
    quote = value[0] if value[0] in "\"'" else ""
    return found[0] if HIDDEN in value else f"{name}{quote}…{quote}"


def plan(client: str, base_url: str, key: str, folder: Path) -> Changes:
    """What setting a client up would change.

    Raises:
        SetupError: A file cannot be read or edited.
    """
    base = root(base_url) + PROXY
    files: dict[Path, str] = {}
    before: dict[Path, str | None] = {}
    modes: dict[Path, int] = {}
    for name, edit in SETUPS[client].files.items():
        path = SETUPS[client].path(name)
        old = _read(path)
        try:
            new = edit(old or "", base, key)
        except ValueError as error:
            raise SetupError(f"cannot edit {path}: {error}") from error
        if new != old:
            files[path], before[path] = new, old
            if old is not None:
                modes[path] = stat.S_IMODE(path.stat().st_mode)
    return Changes(client, files, before, modes, key, folder)


def _read(path: Path) -> str | None:
    """A file's text with its own line ends; None if there is no file.

    Raises:
        SetupError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"cannot read {path}: {error}") from error


def restore(client: str, folder: Path) -> list[Path]:
    """Restore a client's files; returns which.

    Raises:
        SetupError: They were not set up, or have been changed since.
    """
    kept = _kept(client, folder)
    found = _read_kept(kept)
    if not found:
        raise SetupError(f"{SETUPS[client].title} was not set up by `paig setup` on this machine")
    changed = {Path(name): texts for name, texts in found.items() if _read(Path(name)) != texts["before"]}
    for path, texts in changed.items():
        if (present := _read(path)) is not None and present != texts["after"]:
            raise SetupError(f"{path} was changed since; edit it by hand. The original is in {kept}")
    for path, texts in changed.items():
        before, mode = texts["before"], texts.get("mode")
        if isinstance(before, str):
            _write(path, before, mode if isinstance(mode, int) else PRIVATE)
        else:
            path.resolve().unlink(missing_ok=True)
    kept.unlink()
    return [Path(name) for name in found]


def _kept(client: str, folder: Path) -> Path:
    return folder / f"{client}.before.json"


def _read_kept(path: Path) -> dict[str, dict[str, str | int | None]]:
    try:
        found: dict[str, dict[str, str | int | None]] = json.loads(path.read_text("utf-8"))
        return found
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SetupError(f"{path} is damaged: {error}") from error


def _write(path: Path, text: str, mode: int = PRIVATE) -> None:
    """Replace a file whole."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = path.resolve()  # a settings file may be a link into a repository of dotfiles
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")  # made with mode 0600
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(text.encode())
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from error


def _json(make: Callable[[str, str], Wanted]) -> Edit:
    return lambda text, base, key: set_json(text, make(base, key))


def _dotenv(make: Callable[[str, str], Mapping[str, str]]) -> Edit:
    return lambda text, base, key: set_dotenv(text, make(base, key))


def _claude_code(text: str, base: str, key: str) -> str:
    """Name the gateway, and turn off the modes that are chosen there: in them the key would go to another address."""
    modes = {name: "" for name in CLAUDE_MODES if f'"{name}"' in text}
    wanted = {"ANTHROPIC_BASE_URL": f"{base}/anthropic", "ANTHROPIC_AUTH_TOKEN": key}
    return set_json(text, {"env": {**wanted, **modes}})


def _codex(text: str, base: str, key: str) -> str:
    """Choose the gateway as the provider of Codex, and describe it; a variable would be read in place of the key."""
    provider = {**codex_provider(base), "experimental_bearer_token": key, "env_key": None}
    return set_toml(text, {"model_provider": "paig", "model_providers": {"paig": provider}})


def _opencode(base: str, key: str) -> dict[str, object]:
    routes = {"openai": "openai/v1", "anthropic": "anthropic/v1", "google": "google/v1beta"}
    options = {name: {"options": {"baseURL": f"{base}/{path}", "apiKey": key}} for name, path in routes.items()}
    return {"provider": options}


def _pi(base: str, key: str) -> dict[str, object]:
    return {
        "providers": {
            "anthropic": {"baseUrl": f"{base}/anthropic", "apiKey": key},
            "openai": {"baseUrl": f"{base}/openai/v1", "apiKey": key},
        }
    }


def _cline(base: str, key: str) -> dict[str, object]:
    settings = {"provider": "openai-compatible", "apiKey": key, "model": "gpt-5", "baseUrl": f"{base}/openai/v1"}
    provider = {"settings": settings, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}
    kept = {"openai-compatible": provider}
    return {"version": 1, "lastUsedProvider": "openai-compatible", "modes": {}, "providers": kept}


def _qwen(text: str, base: str, key: str) -> str:
    """Name the gateway for models that have no settings of their own.

    Raises:
        ValueError: Some have, and Qwen Code would send the key to the addresses there.
    """
    if json_of(text).get("modelProviders"):
        raise ValueError(
            "the key would go to the addresses in its modelProviders: use `paig run -- qwen`, or remove them"
        )
    auth = {"selectedType": "openai", "apiKey": key, "baseUrl": f"{base}/openai/v1"}
    return set_json(text, {"security": {"auth": auth}})


SETUPS: Mapping[str, Setup] = {
    "claude-code": Setup(
        "Claude Code",
        {".claude/settings.json": _claude_code},
        ("CLAUDE_CONFIG_DIR", ".claude"),
    ),
    "codex": Setup("Codex", {".codex/config.toml": _codex}, ("CODEX_HOME", ".codex")),
    "gemini-cli": Setup(
        "Gemini CLI",
        {
            ".gemini/settings.json": _json(
                lambda base, key: {"security": {"auth": {"selectedType": "gemini-api-key"}}}
            ),
            ".gemini/.env": _dotenv(
                lambda base, key: {"GOOGLE_GEMINI_BASE_URL": f"{base}/google", "GEMINI_API_KEY": key}
            ),
        },
    ),
    "qwen-code": Setup("Qwen Code", {".qwen/settings.json": _qwen}),
    "opencode": Setup(
        "OpenCode",
        {".config/opencode/opencode.json": _json(_opencode)},
        ("XDG_CONFIG_HOME", ".config"),
        jsonc=True,
    ),
    "cline": Setup("Cline CLI", {".cline/data/settings/providers.json": _json(_cline)}),
    "pi": Setup("pi", {".pi/agent/models.json": _json(_pi)}),
}
"""By what `paig setup` takes."""
