"""Run the newest release of every client through `paig run`, and record which addresses it connects to.

`make clients` installs the clients from npm and PyPI below `.cache/clients`, and Node.js beside them, because their
newest releases ask for more than distributions have. It starts a gateway in front of the simulated providers in a
network without a way out (`client_sink`), runs every recipe of `client_recipes` and writes `docs/clients/checked.md`.
Arguments name the recipes to run; the others keep their line on the page.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import client_caps
import client_login
import client_sink
from client_recipes import PROMPT, RECIPES, Recipe

from paig_client.admin import AdminClient
from paig_client.environment import BY_PROGRAM, CLIENTS

CACHE = Path(".cache/clients").absolute()
PAGE = Path("docs/clients/checked.md")
ROOT, SIMULATOR = "http://127.0.0.1:8787", "http://127.0.0.1:8799"
TOKEN = "clients-admin-token-0123456789abcdef"
BIN = Path(sys.executable).parent
SECONDS = 120
NODE = "node@24"
"""An npm package that brings the program itself."""
SIMULATED = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "google": "/google",
    "google-vertex": "/vertex",
    "groq": "/groq/openai/v1",
    "bedrock": "/bedrock",
    "azure": "/azure",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one recipe.

    Attributes:
        version: The client's release.
        rows: The ledger's rows of it.
        offered: How many requests offered tools to a model.
        elsewhere: Hosts other than the gateway that it connected to.
        leaks: Requests elsewhere that carried the gateway key.
        trouble: Why it failed; empty where it did not.
        lacks: Ways of the table that the client does not have.
        key: The name of the key that its rows must have.
        capped: What its requests did at a capped key, if it is an agent that `paig keys create --for` knows.
    """

    version: str
    rows: list[dict[str, Any]]
    offered: int
    elsewhere: list[str]
    leaks: list[str]
    trouble: str
    lacks: Sequence[str] = ()
    key: str = "clients"
    capped: client_caps.Capped | None = None


def main(names: Sequence[str]) -> int:
    """Run the recipes and return the exit code: 1 if a client failed or sent the key elsewhere."""
    wanted = {name: recipe for name, recipe in RECIPES.items() if not names or name in names}
    os.environ["PATH"] = f"{node()}:{os.environ['PATH']}"
    if not os.environ.get(client_sink.ENTERED):
        for recipe in wanted.values():
            install(recipe)
        if any(recipe.login for recipe in wanted.values()):
            client_login.install()
    client_sink.enter()
    CACHE.mkdir(parents=True, exist_ok=True)
    # Gemini CLI refuses settings below /tmp; clients leave programs behind that still write.
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        sink = client_sink.Sink()
        with gateway(home) as key:
            sink.secret = key
            sink.start()
            trust = sink.trust(home)
            outcomes = {}
            for name, recipe in wanted.items():
                outcomes[name] = run(name, recipe, home, key, sink, trust)
                print(line(name, outcomes[name]), flush=True)
                if outcomes[name].trouble:
                    print(outcomes[name].trouble[-2000:], flush=True)
    caps = {name: f"| {name} | {found.capped.cells()} |" for name, found in outcomes.items() if found.capped}
    PAGE.write_text(page({name: line(name, outcome) for name, outcome in outcomes.items()}, caps), "utf-8")
    return int(any(outcome.trouble or outcome.leaks for outcome in outcomes.values()))


def node() -> Path:
    """The folder of the Node.js that the clients run with, which is installed unless it is there."""
    folder = CACHE / "node"
    if not (found := folder / "node_modules/node/bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", NODE], cwd=folder, check=True)
    return found


def folder_of(recipe: Recipe) -> Path:
    """Where a recipe's packages are installed."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", recipe.packages[0])
    return CACHE / (f"npm-{name}" if recipe.npm else name)


def install(recipe: Recipe) -> None:
    """Install a recipe's packages, unless they are there."""
    folder = folder_of(recipe)
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.npm:
        (folder / "package.json").write_text("{}")
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent", *recipe.packages], cwd=folder, check=True
        )
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder / "venv"], check=True)
        python = str(folder / "venv/bin/python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *recipe.packages], check=True)
    (folder / "done").touch()


def version(recipe: Recipe) -> str:
    """The release that is installed."""
    name = recipe.packages[0].partition("[")[0]
    if recipe.npm:
        found = json.loads((folder_of(recipe) / "node_modules" / name / "package.json").read_text())
        return str(found["version"])
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    python = folder_of(recipe) / "venv/bin/python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def gateway(home: Path) -> Iterator[str]:
    """A gateway in front of the simulator; gives a key for it."""
    settings = {"PAIG_HOME": str(home / "gateway"), "PAIG_ADMIN_TOKEN": TOKEN, "PAIG_SECRET_KEY": "clients-secret-" * 3}
    environment = {**clean(), **settings}
    simulator = subprocess.Popen(
        [sys.executable, "-m", "paig_gateway.simulator", "--port", "8799"], env=environment, stdout=subprocess.DEVNULL
    )
    config = home / "paig.toml"
    config.write_text(
        "".join(
            f'[providers.{name}]\nkind = "{name}"\nbase_url = "http://127.0.0.1:8799{path}"\n'
            'credential = "value:sk-upstream-0123456789"\n' + ('project = "p"\n' if name == "google-vertex" else "")
            for name, path in SIMULATED.items()
        )
    )
    with (home / "gateway.log").open("w") as log:
        serving = subprocess.Popen([BIN / "paig", "serve", "--config", config], env=environment, stdout=log, stderr=log)
        try:
            while True:
                try:
                    ask("GET", "health")
                    break
                except OSError:
                    if serving.poll() is not None:
                        raise SystemExit((home / "gateway.log").read_text("utf-8")) from None
                    time.sleep(0.1)
            yield str(ask("POST", "keys", {"name": "clients"})["key"])
        finally:
            serving.terminate()
            serving.wait(30)
            simulator.terminate()
            simulator.wait(30)


def ask(method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
    """The admin API's answer."""
    request = urllib.request.Request(
        f"{ROOT}/admin/v1/{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    )
    return _load(request)


def _load(request: urllib.request.Request | str) -> Any:
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def offers_tools(request: Mapping[str, Any]) -> bool:
    """Whether a request, as the simulated provider got it, offers tools to the model."""
    found = [json.loads(text) for text in (request.get("body") or "null", *request.get("messages", ()))]
    found += [part.get(name) for part in found if isinstance(part, dict) for name in ("session", "setup")]
    return any(part.get(name) for part in found if isinstance(part, dict) for name in ("tools", "toolConfig"))


def clean() -> dict[str, str]:
    """This process's environment without what a client might read."""
    foreign = ("PAIG_", "PYDANTIC", "OPENAI", "ANTHROPIC", "CLAUDE", "GOOGLE", "GEMINI", "AWS", "AZURE", "npm_", "XDG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def run(name: str, recipe: Recipe, home: Path, key: str, sink: client_sink.Sink, trust: Path) -> Outcome:
    """Run one recipe in a home folder of its own."""
    own = home / name.replace(" ", "-")
    work = own / "work"
    work.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", work], check=True)
    for path, text in recipe.files.items():
        (own / path).parent.mkdir(parents=True, exist_ok=True)
        (own / path).write_text(text)
    environment = clean() | {
        **{"PATH": f"{BIN}:{os.environ['PATH']}"},
        **{"HOME": str(own), "PAIG_HOME": str(own / "paig"), "PAIG_URL": ROOT, "PAIG_API_KEY": key, "TERM": "dumb"},
        **{"CI": "1", "SSL_CERT_FILE": str(trust), "NODE_EXTRA_CA_CERTS": str(trust), "REQUESTS_CA_BUNDLE": str(trust)},
        **recipe.variables,
    }
    if recipe.login:
        return log_in(recipe, own, environment, sink, trust)
    before = {row["id"] for row in ask("GET", "requests?limit=200")["items"]}
    _load(urllib.request.Request(f"{SIMULATOR}/sim/reset", method="POST"))
    sink.forget()
    paig = str(BIN / "paig")
    if recipe.setup and recipe.client:
        subprocess.run([paig, "setup", recipe.client, "--yes"], env=environment, check=True, capture_output=True)
    trouble = ""
    for command in recipe.commands:
        chosen = ["--for", recipe.client] if recipe.client and not recipe.setup else []
        words = [paig, "run", *chosen, "--", *(recipe.words(command, folder_of(recipe)))]
        if recipe.setup:
            words = list(recipe.words(command, folder_of(recipe)))
        trouble += _trouble(words, str(command)[:60], environment, work)
    time.sleep(0.5)
    rows = [row for row in ask("GET", "requests?limit=200")["items"] if row["id"] not in before]
    received = _load(f"{SIMULATOR}/sim/requests")
    offered = sum(map(offers_tools, received))
    capped = spend_cap(recipe, received) if rows else None
    trouble += capped.trouble if capped else ""
    if recipe.tools and not offered:
        trouble += "no request offered tools\n"
    elsewhere = sorted({host for host, _ in sink.dialed} | sink.looked_up)
    leaks = [f"{visit.host}: {visit.line}" for visit in sink.visits if visit.leaked]
    if not rows:
        trouble += "the ledger has no row of it\n"
    return Outcome(version(recipe), rows, offered, elsewhere, leaks, trouble, recipe.lacks, capped=capped)


def spend_cap(recipe: Recipe, received: Sequence[Mapping[str, Any]]) -> client_caps.Capped | None:
    """Spend a cap with an agent's requests; None if it is no agent, or its own settings were tried."""
    agent = recipe.client or BY_PROGRAM.get(recipe.program.partition("-binary")[0], "")
    if recipe.setup or recipe.files or agent not in CLIENTS or not CLIENTS[agent].agent:
        return None
    paig = client_caps.command(BIN / "paig", {**clean(), "PAIG_URL": ROOT, "PAIG_ADMIN_TOKEN": TOKEN})
    requests = client_caps.requests_of(received, SIMULATED)
    with AdminClient(url=ROOT, token=TOKEN) as admin:
        return client_caps.spend_cap(agent, requests, paig, admin, ROOT)


def log_in(recipe: Recipe, own: Path, environment: Mapping[str, str], sink: client_sink.Sink, trust: Path) -> Outcome:
    """Log in at a gateway with single sign-on, and ask; the simulator is that of the other gateway."""
    _load(urllib.request.Request(f"{SIMULATOR}/sim/reset", method="POST"))
    sink.forget()
    kept, sink.secret = sink.secret, "paig_"  # whatever key the person gets begins with it
    settings = {"PAIG_HOME": str(own / "gateway/home"), "PAIG_ADMIN_TOKEN": TOKEN, "PAIG_SECRET_KEY": "login-" * 6}
    person = {name: value for name, value in environment.items() if not name.startswith(("PAIG_", "CI"))}
    person |= {"TERM": "xterm-256color", "BROWSER": "/bin/true"}

    def listed(what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client_login.ask(what, TOKEN, trust)["items"]
        return found

    names: set[str] = set()

    def state() -> tuple[int, int]:
        keys = [str(key["name"]) for key in listed("keys")]
        names.update(keys)
        return sum(row["stream"] for row in listed("requests")), len(keys)

    try:
        with client_login.gateway(own / "gateway", sink, SIMULATOR, {**clean(), **settings}) as issuer:
            words = client_login.overlaid(own / "etc", recipe.words((), folder_of(recipe)))
            terminal = client_login.Terminal(words, person, own / "work")
            try:
                done = client_login.walk(terminal, issuer, PROMPT, state)
            finally:
                terminal.close()
            rows = listed("requests?limit=200")
    finally:
        sink.secret = kept
    trouble = done.trouble
    print("Steps: " + "; ".join(done.steps), flush=True)
    offered = sum(offers_tools(request) for request in _load(f"{SIMULATOR}/sim/requests"))
    elsewhere = sorted(({host for host, _ in sink.dialed} | sink.looked_up) - {client_login.HOST})
    leaks = [f"{visit.host}: {visit.line}" for visit in sink.visits if visit.leaked]
    trouble += "" if len(names) == 1 else f"the gateway made the keys {sorted(names)}\n"
    return Outcome(version(recipe), rows, offered, elsewhere, leaks, trouble, key=next(iter(names), ""))


def _trouble(words: Sequence[str], title: str, environment: Mapping[str, str], work: Path) -> str:
    """Run a command, with all that it starts; why it failed, or nothing."""
    with subprocess.Popen(
        words,
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired as late:
            said = (late.output or b"").decode("utf-8", "replace")
            return f"{title!r} took more than {SECONDS} s: {said[-2000:]}\n"
        finally:  # what it left behind would be taken for the next client
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return f"{title!r} ended with {process.returncode}: {said[-2000:]}\n" if process.returncode else ""


def line(name: str, outcome: Outcome) -> str:
    """An outcome as a row of the page's table."""
    rows = outcome.rows
    formats = ", ".join(sorted({row["format"] + " (WebSocket)" * (row["status"] == 101) for row in rows}))
    ways = (
        [row for row in rows if not row["stream"]],
        [row for row in rows if row["stream"]],
        rows if outcome.offered else [],
    )
    cells = " | ".join(
        "n/a" if name in outcome.lacks else _way(rows, outcome.key)
        for name, rows in zip(("plain", "stream", "tools"), ways, strict=True)
    )
    others = f"no: {', '.join(map(_host, outcome.elsewhere))}" if outcome.elsewhere else "yes"
    leak = f"**{'; '.join(outcome.leaks)}**" if outcome.leaks else "no"
    failed = " **failed**" if outcome.trouble else ""
    return f"| {name}{failed} | {outcome.version} | {formats} | {cells} | {others} | {leak} |"


def _way(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """Whether the rows of one way are right, and show what it cost."""
    if not rows:
        return "–"
    rows = [row for row in rows if row["format"] != "models" and not _is_unused(row)]  # a list of models costs nothing
    if wrong := {f"{row['status']} {row['error'] or row['certainty']}" for row in rows if not _is_right(row, key)}:
        return f"**{', '.join(sorted(wrong))}**"
    return "row, cost" if all(float(row["cost"]) > 0 for row in rows) else "row"


def _is_unused(row: Mapping[str, Any]) -> bool:
    """Whether it is a turn that was held for a WebSocket and never began."""
    return (row["status"], row["error"]) == (101, "not-dispatched")


def _is_right(row: Mapping[str, Any], key: str) -> bool:
    return bool(row["status"] in (200, 101) and row["certainty"] == "exact" and row["key"] == key)


def _host(name: str) -> str:
    """A host as the page names it: package registries in words."""
    return {"npmjs": "npm's registry", "pypi": "PyPI"}.get(name.split(".")[-2], name)


def page(lines: Mapping[str, str], caps: Mapping[str, str]) -> str:
    """The page, with new lines for the recipes that were run; the others keep the line that they had."""
    clients, _, agents = PAGE.read_text("utf-8").partition(CAPS.splitlines()[0])
    tables = [{**_by_name(clients), **lines}, {**_by_name(agents), **caps}]
    head = """# Clients that were run

`make clients` wrote this page. It runs each client by `paig run` (or after `paig setup`) against a gateway with
simulated providers, in a network in which every host name and address leads to a recorder.

- *Plain*, *stream*, *tools*: the client's requests whose answers come whole, those whose answers are streamed, and
  whether it offered tools to the model (then all its requests count). *Row*: each has a row in the ledger, of the right
  key, with status 200 (a turn over a WebSocket: 101) and an exact cost. *Cost*: and the row shows a cost above zero. A
  dash: the client did not do it. *n/a*: it has no such way ([aider](aider.md) reads edits from the model's text, and
  offers no tools).
- *Only the gateway's address*: whether it connected to the gateway alone, else the other hosts, such as its maker's
  telemetry.
- *Key sent elsewhere*: whether the gateway key was in any request to another host. The recorder ends TLS with
  certificates that the clients are told to trust, so it reads these requests.

| client | release | API format | plain | stream | tools | only the gateway's address | key sent elsewhere |
|---|---|---|---|---|---|---|---|
"""
    first, second = ("".join(f"{table[name]}\n" for name in RECIPES if name in table) for table in tables)
    return f"{head}{first}\n{CAPS}{second}"


CAPS = """## Agents at a cap

Each agent got a key of `paig keys create NAME --for AGENT`, most of whose $20 for the day was spent. Its requests were
sent again and again with this key, until one was refused. Such a key lowers an output maximum that does not fit
(`when_tight = "lower"`). A request may be refused only if the most that its input and a short answer can cost is more
than what is left of the cap.

| agent | answered | with a lowered maximum | then | spent of $20 |
|---|---|---|---|---|
"""


def _by_name(text: str) -> dict[str, str]:
    """The lines of a table, by the client's name."""
    rows = (line for line in text.splitlines() if line.startswith("| "))
    return {row.split(" | ")[0].removeprefix("| ").removesuffix(" **failed**"): row for row in rows}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
