"""Run the newest release of every client through `paig run`, and record which addresses it connects to.

`make clients` installs the clients from npm and PyPI below `.cache/clients`, starts a gateway in front of the simulated
providers in a network without a way out (`client_sink`), runs every recipe of `client_recipes` and writes
`docs/clients/checked.md`. Arguments name the recipes to run; the others keep their line on the page.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import client_sink
from client_recipes import RECIPES, Recipe

CACHE = Path(".cache/clients").absolute()
PAGE = Path("docs/clients/checked.md")
ROOT = "http://127.0.0.1:8787"
TOKEN = "clients-admin-token-0123456789abcdef"
BIN = Path(sys.executable).parent
SECONDS = 120
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
        elsewhere: Hosts other than the gateway that it connected to.
        leaks: Requests elsewhere that carried the gateway key.
        trouble: Why it failed; empty where it did not.
    """

    version: str
    rows: list[dict[str, Any]]
    elsewhere: list[str]
    leaks: list[str]
    trouble: str


def main(names: Sequence[str]) -> int:
    """Run the recipes and return the exit code: 1 if a client failed or sent the key elsewhere."""
    wanted = {name: recipe for name, recipe in RECIPES.items() if not names or name in names}
    if not os.environ.get(client_sink.ENTERED):
        for recipe in wanted.values():
            install(recipe)
    client_sink.enter()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:  # Gemini CLI refuses settings below /tmp
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
    PAGE.write_text(page({name: line(name, outcome) for name, outcome in outcomes.items()}), "utf-8")
    return int(any(outcome.trouble or outcome.leaks for outcome in outcomes.values()))


def folder_of(recipe: Recipe) -> Path:
    """Where a recipe's packages are installed."""
    return CACHE / re.sub(r"[^A-Za-z0-9.-]+", "_", recipe.packages[0])


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
            for attempt in range(200):
                try:
                    ask("GET", "health")
                    break
                except OSError:
                    if attempt == 199:
                        raise
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
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


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
        **{"HOME": str(own), "PAIG_HOME": str(own / "paig"), "PAIG_URL": ROOT, "PAIG_API_KEY": key, "TERM": "dumb"},
        **{"CI": "1", "SSL_CERT_FILE": str(trust), "NODE_EXTRA_CA_CERTS": str(trust), "REQUESTS_CA_BUNDLE": str(trust)},
        **recipe.variables,
    }
    before = {row["id"] for row in ask("GET", "requests?limit=200")["items"]}
    sink.forget()
    paig = str(BIN / "paig")
    if recipe.setup:
        subprocess.run([paig, "setup", recipe.client, "--yes"], env=environment, check=True, capture_output=True)
    trouble = ""
    for command in recipe.commands:
        chosen = ["--for", recipe.client] if recipe.client and not recipe.setup else []
        words = [paig, "run", *chosen, "--", *(recipe.words(command, folder_of(recipe)))]
        if recipe.setup:
            words = list(recipe.words(command, folder_of(recipe)))
        try:
            ran = subprocess.run(
                words,
                env=environment,
                cwd=work,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
            )
            if ran.returncode:
                trouble += f"{command[:60]!r} ended with {ran.returncode}: {ran.stdout[-800:]}{ran.stderr[-1200:]}\n"
        except subprocess.TimeoutExpired:
            trouble += f"{command[:60]!r} took more than {SECONDS} s\n"
    time.sleep(0.5)
    rows = [row for row in ask("GET", "requests?limit=200")["items"] if row["id"] not in before]
    elsewhere = sorted({host for host, _ in sink.dialed} | sink.looked_up)
    leaks = [f"{visit.host}: {visit.line}" for visit in sink.visits if visit.leaked]
    if not rows:
        trouble += "the ledger has no row of it\n"
    return Outcome(version(recipe), rows, elsewhere, leaks, trouble)


def line(name: str, outcome: Outcome) -> str:
    """An outcome as a row of the page's table."""
    rows = outcome.rows
    formats = ", ".join(sorted({row["format"] for row in rows}))
    kinds = [
        kind
        for kind, there in {
            "plain": any(not row["stream"] for row in rows),
            "stream": any(row["stream"] for row in rows),
            "tools": RECIPES[name].tools,
        }.items()
        if there
    ]
    right = rows and all(
        row["status"] == 200 and row["certainty"] == "exact" and float(row["cost"]) > 0 and row["key"] == "clients"
        for row in rows
    )
    wrong = sorted({f"{row['status']} {row['error'] or row['certainty']}" for row in rows if row["status"] != 200})
    state = "**failed**" if outcome.trouble else "yes" if right else f"partly: {', '.join(wrong)}" if wrong else "no"
    others = ", ".join(map(_host, outcome.elsewhere)) or "none"
    leak = f"**{'; '.join(outcome.leaks)}**" if outcome.leaks else "no"
    return f"| {name} | {outcome.version} | {formats} | {', '.join(kinds)} | {state} | {others} | {leak} |"


def _host(name: str) -> str:
    """A host as the page names it: package registries in words."""
    return {"npmjs": "npm's registry", "pypi": "PyPI"}.get(name.split(".")[-2], name)


def page(lines: Mapping[str, str]) -> str:
    """The page, with new lines for the recipes that were run; the others keep the line that they had."""
    old = {text.split(" | ")[0].removeprefix("| "): text for text in PAGE.read_text("utf-8").splitlines()}
    head = """# Clients that were run

`make clients` wrote this page. It runs each client by `paig run` (or after `paig setup`) against a gateway with
simulated providers, in a network in which every host name and address leads to a recorder.

- *Tools*: a model was offered tools; SDKs had it call one.
- *Row and cost right*: each request has a row of the right key with status 200, and its cost is exact and above zero.
- *Other hosts*: what the client connected to besides the gateway, such as its maker's telemetry.
- *Key sent elsewhere*: whether the gateway key was in any request to another host. The recorder ends TLS with
  certificates that the clients are told to trust, so it reads these requests.

| client | release | API format | ways | row and cost right | other hosts | key sent elsewhere |
|---|---|---|---|---|---|---|
"""
    return head + "\n".join(lines.get(name) or old.get(name, "") for name in RECIPES) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
