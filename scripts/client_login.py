"""Claude Code's login at a gateway with https, in a terminal, with oidc-provider from npm as the identity provider.

A new colleague logs in so: nothing of paig is on the machine, only managed settings that name the gateway. The script
answers what Claude Code asks in the terminal as a person would, and counts each answer as a step.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import client_sink

HOST, ADDRESS, PORT = "gateway.example", "10.0.0.1", 8443
"""Claude Code logs in only at a host with a private address."""
URL = f"https://{HOST}:{PORT}"
PERSON, GROUP = "bob", "team-research"
SECONDS, QUIET = 120, 1.5
"""How long the login and the answer may take, and how long a person looks before the next key."""
SETTLED = 5
"""The answer is complete after so many looks without another request: the simulated model calls tool after tool."""
ROWS, COLUMNS = 50, 160
MANAGED = {"forceLoginMethod": "gateway", "forceLoginGatewayUrl": URL, "parentSettingsBehavior": "merge"}
CONFIG = """
[server]
tls_cert = "{folder}/cert.pem"
tls_key = "{folder}/key.pem"
[providers.anthropic]
kind = "anthropic"
base_url = "{simulator}/anthropic"
credential = "value:sk-upstream-0123456789"
[sso]
issuer = "{issuer}"
client_id = "{client}"
client_secret = "file:{folder}/secret"
public_url = "{url}"
scopes = ["openid", "profile", "email", "groups", "offline_access"]
[sso.keys.{group}]
limits = {{ daily = 20 }}
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>78()][AB0]?|\s")
_CODE = re.compile(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}")
_SPINNER = re.compile("[·✢*✶✻✽]")
ENTER, UP = "\r", "\x1b[A"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answers.

    Attributes:
        asked: Text of the screen that asks, without its spaces.
        keys: What is typed.
        step: What the person does, for the record.
    """

    asked: str
    keys: Sequence[str]
    step: str


@dataclass
class Login:
    """The outcome of a login.

    Attributes:
        steps: What the person did, in order.
        rows: The gateway's rows, the oldest first.
        key: The name of the key that the person got.
        trouble: What went wrong; empty if nothing did.
    """

    steps: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    key: str = ""
    trouble: str = ""


def install() -> Path:
    """Install the identity provider, unless it is there."""
    folder: Path = _tests("conftest").installed()
    return folder


def _tests(name: str) -> Any:
    """A module of the tests of single sign-on."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    try:
        return import_module(f"tests.gateway.sso.{name}")
    finally:
        sys.path.pop(0)


@contextmanager
def gateway(home: Path, sink: client_sink.Sink, simulator: str, environment: Mapping[str, str]) -> Iterator[str]:
    """A gateway with https whose people log in at oidc-provider; gives the provider's issuer."""
    provider = _tests("conftest")
    home.mkdir(parents=True)
    sink.names[ADDRESS] = HOST
    sink.issue(HOST, home / "cert.pem", home / "key.pem")
    (home / "secret").write_text(provider.CLIENT_SECRET)
    (home / "secret").chmod(0o600)
    (home / "groups.json").write_text(json.dumps({PERSON: [GROUP]}))
    keys = [provider.new_key("first")]
    with provider.running_provider(
        install(), keys, groups=home / "groups.json", back=f"{URL}/admin/sso/callback"
    ) as issuer:
        names = {"folder": home, "simulator": simulator, "issuer": issuer, "client": provider.CLIENT_ID}
        (home / "paig.toml").write_text(CONFIG.format(**names, url=URL, group=GROUP))
        words = [str(Path(sys.executable).parent / "paig"), "serve", "--config", str(home / "paig.toml")]
        with (home / "log").open("w") as log:
            options = ["--host", ADDRESS, "--port", str(PORT)]
            serving = subprocess.Popen([*words, *options], env=dict(environment), stdout=log, stderr=log)
            try:
                _wait(serving, home / "log")
                yield issuer
            finally:
                serving.terminate()
                serving.wait(30)


def _wait(serving: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the gateway listens."""
    while True:
        with suppress(OSError), socket.create_connection((ADDRESS, PORT), timeout=10):
            return
        if serving.poll() is not None:
            raise RuntimeError(log.read_text("utf-8"))
        time.sleep(0.1)


def ask(path: str, token: str, trust: Path) -> Any:
    """The admin API's answer."""
    request = urllib.request.Request(f"{URL}/admin/v1/{path}", headers={"authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(trust))
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.load(answer)


def confirm(issuer: str, code: str) -> None:
    """Log in at the identity provider in a browser, and confirm the code there."""
    pages = _tests("browser")
    with pages.browser() as client:
        page = pages.walk(client, f"{issuer}/device?user_code={code}", PERSON, user_code=code)
    if page.status_code != 200:
        raise RuntimeError(f"the identity provider answered {page.status_code}")


ANSWERS = (
    Answer("Choosethetextstyle", [ENTER], "choose a theme"),
    Answer("Entertoconnect", [ENTER], "connect"),
    Answer("Yes,trustthisgateway", [UP, ENTER], "trust the gateway's certificate"),
    Answer("Yes,continue", [UP, ENTER], "confirm the account"),
    Answer("Securitynotes", [ENTER], "read the notes on security"),
    Answer("Entertocontinue", [ENTER], "read that the login succeeded"),
    Answer("Yes,Itrustthisfolder", [UP, ENTER], "trust the folder"),
)
"""Each is asked once."""


class Terminal:
    """A program in a terminal: what it shows, and what is typed."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.process, self._at = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe(words[0], list(words), dict(environment))
        fcntl.ioctl(self._at, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._raw = b""
        self.shown = ""
        """All that was shown since the last `type`, without spaces and control sequences."""
        self.ended = False

    def read(self) -> None:
        """Read for as long as a person looks: the spinner never stops, so there is no silence to wait for."""
        until = time.monotonic() + QUIET
        while not self.ended and (left := until - time.monotonic()) > 0:
            if select.select([self._at], [], [], left)[0]:
                try:
                    piece = os.read(self._at, 65536)
                except OSError:  # what Linux answers when the program has ended
                    piece = b""
                self.ended = not piece
                self._raw += piece
        self.shown = _CONTROL.sub("", self._raw.decode("utf-8", "replace"))

    def screen(self) -> str:
        """What was shown, without the spinner."""
        return _SPINNER.sub("", self.shown)

    def type(self, *keys: str) -> None:
        """Type, and forget what was shown."""
        self._raw, self.shown = b"", ""
        for key in keys:
            os.write(self._at, key.encode())
            time.sleep(0.2)  # a paste would be taken for text

    def close(self) -> None:
        """End the program."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._at)


def overlaid(folder: Path, words: Sequence[str]) -> list[str]:
    """A command that sees the managed settings in /etc, where no other program does."""
    (folder / "claude-code").mkdir(parents=True)
    (folder / "claude-code/managed-settings.json").write_text(json.dumps(MANAGED))
    (folder / "resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    # The folder is named by a dot, because commas and colons in its own name would end an option.
    script = 'there=$PWD && cd "$0" && mount -t overlay overlay -o lowerdir=.:/etc /etc && cd "$there" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(folder), *words]


def walk(terminal: Terminal, issuer: str, prompt: str, state: Callable[[], tuple[int, int]]) -> Login:
    """Log in and ask, as a new colleague does.

    Args:
        terminal: Where Claude Code runs.
        issuer: Where the person confirms the code.
        prompt: What is asked.
        state: Tells how many requests were answered with a stream, and how many keys the gateway has.
    """
    login = Login()
    left = list(ANSWERS)
    stage = "log in"
    late = time.monotonic() + SECONDS
    seen = looks = 0
    while time.monotonic() < late and not terminal.ended:
        terminal.read()
        answer = next((found for found in left if found.asked in terminal.shown), None)
        if answer is not None:
            left.remove(answer)
            login.steps.append(answer.step)
            terminal.type(*answer.keys)
        elif stage == "log in" and (code := _CODE.search(terminal.shown)):
            confirm(issuer, code[0])
            login.steps.append("confirm the code in the browser")
            stage = "ask"
            terminal.type()
        elif stage == "ask" and state()[1] and "shift+tabtocycle" in terminal.shown:
            login.steps.append("ask")
            terminal.type(prompt, ENTER)
            stage = "answer"
        elif stage == "answer":
            before, seen = seen, state()[0]
            looks = looks + 1 if seen == before > 0 else 0
            if looks == SETTLED:
                login.steps.append("read the answer")
                return login
    login.trouble = f"after {login.steps}, while it should {stage}: {terminal.screen()[-900:]}\n"
    return login
