"""Writing the gateway into the settings files of clients, and putting the files back.

One row of `SETUPS` for each client. The files hold the key, so they are made readable by their owner alone. What a file
was before is kept below the home folder until it is put back.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paig_client.addresses import PROXY, root
from paig_client.environment import codex_provider

Edit = Callable[[str, str, str], str]
"""`(text, base, key) -> text`: the file's text with the gateway in it; `base` is the gateway's `…/proxy`."""


class SetupError(Exception):
    """A client's settings cannot be changed, or not be put back; the message says why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The files of one client, by path below the person's own folder, and how each is edited."""

    title: str
    files: Mapping[str, Edit]


@dataclass(frozen=True, slots=True)
class Changes:
    """What would be written.

    Attributes:
        client: The client.
        files: The new text of each file that changes.
        before: Its present text; None if there is no file.
        key: The key, which is not shown.
        folder: Where the present texts are kept.
    """

    client: str
    files: Mapping[Path, str]
    before: Mapping[Path, str | None]
    key: str
    folder: Path

    def diff(self) -> list[str]:
        """The change as lines, in the manner of `diff -u`; the key is hidden."""
        lines: list[str] = []
        for path, text in self.files.items():
            old = self.before[path] or ""
            found = difflib.unified_diff(old.splitlines(), text.splitlines(), str(path), str(path), lineterm="")
            lines += [line.replace(self.key, "paig_…") for line in found]
        return lines

    def write(self) -> None:
        """Write the files, and keep their former content."""
        kept = _kept(self.client, self.folder)
        earlier = _read_kept(kept)
        for path, text in self.files.items():
            # After a second setup, undo still restores the state before the first one.
            before = earlier[str(path)]["before"] if str(path) in earlier else self.before[path]
            earlier[str(path)] = {"before": before, "after": text}
        _write(kept, json.dumps(earlier))
        for path, text in self.files.items():
            _write(path, text)


def plan(client: str, base_url: str, key: str, folder: Path) -> Changes:
    """What setting a client up would change.

    Raises:
        SetupError: A file cannot be read or edited.
    """
    base = root(base_url) + PROXY
    files: dict[Path, str] = {}
    before: dict[Path, str | None] = {}
    for name, edit in SETUPS[client].files.items():
        path = Path.home() / name
        try:
            old = path.read_text("utf-8")
        except FileNotFoundError:
            old = None
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"cannot read {path}: {error}") from error
        try:
            new = edit(old or "", base, key)
        except ValueError as error:
            raise SetupError(f"cannot edit {path}: {error}") from error
        if new != old:
            files[path], before[path] = new, old
    return Changes(client, files, before, key, folder)


def restore(client: str, folder: Path) -> list[Path]:
    """Restore a client's files; returns which.

    Raises:
        SetupError: They were not set up, or have been changed since.
    """
    kept = _kept(client, folder)
    found = _read_kept(kept)
    if not found:
        raise SetupError(f"{SETUPS[client].title} was not set up by `paig setup` on this machine")
    for name, texts in found.items():
        path = Path(name)
        if path.exists() and path.read_text("utf-8") != texts["after"]:
            raise SetupError(f"{path} was changed since; edit it by hand. The original is in {kept}")
    for name, texts in found.items():
        if (before := texts["before"]) is None:
            Path(name).unlink(missing_ok=True)
        else:
            _write(Path(name), before)
    kept.unlink()
    return [Path(name) for name in found]


def _kept(client: str, folder: Path) -> Path:
    return folder / f"{client}.before.json"


def _read_kept(path: Path) -> dict[str, dict[str, str | None]]:
    try:
        found: dict[str, dict[str, str | None]] = json.loads(path.read_text("utf-8"))
        return found
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SetupError(f"{path} is damaged: {error}") from error


def _write(path: Path, text: str) -> None:
    """Replace a file whole; its owner alone can read it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = path.resolve()  # a settings file may be a link into a repository of dotfiles
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")  # made with mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise SetupError(f"cannot write {path}: {error.strerror}") from error


def _json(make: Callable[[str, str], dict[str, object]]) -> Edit:
    """Merge an object into a JSON file."""

    def edit(text: str, base: str, key: str) -> str:
        try:
            found = json.loads(text) if text.strip() else {}
        except ValueError as error:
            raise ValueError(f"it is not plain JSON ({error}); remove its comments first") from None
        if not isinstance(found, dict):
            raise ValueError("it does not hold a JSON object")
        return json.dumps(_merged(found, make(base, key)), indent=2, ensure_ascii=False) + "\n"

    return edit


def _merged(old: dict[str, object], new: dict[str, object]) -> dict[str, object]:
    found = dict(old)
    for name, value in new.items():
        inner = found.get(name)
        found[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return found


def _dotenv(make: Callable[[str, str], dict[str, str]]) -> Edit:
    """Set variables in a `.env` file."""

    def edit(text: str, base: str, key: str) -> str:
        wanted = make(base, key)
        kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in wanted]
        return "\n".join([*kept, *(f"{name}={value}" for name, value in wanted.items())]) + "\n"

    return edit


def _codex(text: str, base: str, key: str) -> str:
    """Name the provider above the first table of Codex' TOML file, and describe it below the last."""
    text = re.sub(r"(?ms)^\[model_providers\.paig\]\n.*?(?=^\[|\Z)", "", text)
    first = re.search(r"(?m)^\[", text)
    head, rest = (text[: first.start()], text[first.start() :]) if first else (text, "")
    head = re.sub(r"(?m)^model_provider\s*=.*\n?", "", head)
    table = {**codex_provider(base), "experimental_bearer_token": key}
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    body = f"{head.rstrip()}\n\n{rest.rstrip()}".strip()
    return (
        "\n".join(['model_provider = "paig"', *([body] if body else []), "", "[model_providers.paig]", *lines]) + "\n"
    )


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


def _qwen(base: str, key: str) -> dict[str, object]:
    auth = {"selectedType": "openai", "apiKey": key, "baseUrl": f"{base}/openai/v1"}
    return {"security": {"auth": auth}}


SETUPS: Mapping[str, Setup] = {
    "claude-code": Setup(
        "Claude Code",
        {
            ".claude/settings.json": _json(
                lambda base, key: {"env": {"ANTHROPIC_BASE_URL": f"{base}/anthropic", "ANTHROPIC_AUTH_TOKEN": key}}
            )
        },
    ),
    "codex": Setup("Codex", {".codex/config.toml": _codex}),
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
    "qwen-code": Setup("Qwen Code", {".qwen/settings.json": _json(_qwen)}),
    "opencode": Setup("OpenCode", {".config/opencode/opencode.json": _json(_opencode)}),
    "cline": Setup("Cline CLI", {".cline/data/settings/providers.json": _json(_cline)}),
    "pi": Setup("pi", {".pi/agent/models.json": _json(_pi)}),
}
"""By what `paig setup` takes."""
