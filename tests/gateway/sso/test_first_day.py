"""A new colleague's first day: from nothing to an answer, and the last day, at `paig serve` with a real provider."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from paig_gateway.simulator.serve import running_simulator
from tests.gateway.end_to_end.processes import every_row, serving
from tests.gateway.sso.browser import browser, walk
from tests.gateway.sso.conftest import CLIENT_ID, CLIENT_SECRET, new_key, running_provider

PAIG = [sys.executable, "-c", "from paig_client.cli import main; main()"]
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{simulator}/openai/v1"
credential = "value:upstream"
[projects.research]
[sso]
issuer = "{issuer}"
client_id = "{client}"
client_secret = "file:{secret}"
scopes = ["openid", "profile", "email", "groups", "offline_access"]
[sso.keys.team-research]
project = "research"
limits = {{ daily = 5 }}
"""
APP = """import openai, os
with openai.OpenAI() as client:
    say = [{"role": "user", "content": "hi"}]
    print(client.chat.completions.create(model="gpt-4o-mini", messages=say).choices[0].message.content)
print(os.environ["OPENAI_API_KEY"])
"""


@dataclass
class Colleague:
    """A person at a machine of their own, who has been told the gateway's address.

    Attributes:
        home: Their folder.
        did: Each thing that they did.
    """

    home: Path
    did: list[str] = field(default_factory=list)

    def types(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command."""
        self.did.append(f"types paig {words[0]}")
        foreign = ("PAIG_", "PYDANTIC_AI_", "OPENAI_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        environment |= {"HOME": str(self.home), "PAIG_HOME": str(self.home / "paig"), "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen([*PAIG, *words], env=environment, stdout=pipe, stderr=pipe, text=True)

    def logs_in(self, url: str, login: str) -> str:
        """`paig login --sso`, and the code confirmed in a browser; what it said."""
        with self.types("login", url, "--sso", "--store", "file") as process, browser() as client:
            assert process.stderr is not None
            said = process.stderr.readline() + process.stderr.readline()
            page, code = re.search(r"Open (\S+)", said), re.search(r"code (\S+)\.", said)
            assert page is not None
            assert code is not None
            self.did.append("confirms the code")
            walk(client, page[1], login, user_code=code[1])
            _, rest = finished(process)
        assert process.returncode == 0, rest
        return rest

    def runs(self, program: str) -> tuple[int, str, str]:
        """`paig run` of a program with OpenAI's SDK; exit code, output, errors."""
        with self.types("run", "--for", "openai", "--", sys.executable, "-c", program) as process:
            out, err = finished(process)
        return process.returncode, out, err


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command printed, on both streams; one that hangs is killed."""
    try:
        return process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@pytest.mark.slow
@pytest.mark.anyio
async def test_from_login_to_the_first_answer_and_to_the_last(node: Path, tmp_path: Path) -> None:
    """Two commands and one confirmation give an answer; the key is the person's own and ends with the group."""
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"bob": ["team-research"]}), "utf-8")
    config, secret = tmp_path / "paig.toml", tmp_path / "secret"
    secret.write_text(CLIENT_SECRET, "utf-8")
    secret.chmod(0o600)
    person = Colleague(tmp_path / "bob")
    with running_provider(node, [new_key("first")], groups=groups) as issuer:
        async with running_simulator() as simulator:
            text = CONFIG.format(simulator=simulator, issuer=issuer, client=CLIENT_ID, secret=secret)
            config.write_text(text, "utf-8")
            async with serving(tmp_path / "gateway", config) as gateway:
                assert "Stored your key" in await asyncio.to_thread(person.logs_in, gateway.origin, "bob")
                code, out, err = await asyncio.to_thread(person.runs, APP)
                assert code == 0, err
                assert person.did == ["types paig login", "confirms the code", "types paig run"]

                answer, key = out.strip().rsplit("\n", 1)
                assert "simulated" in answer
                assert key.startswith("paig_")
                [row] = await every_row(gateway.admin)
                assert (row.user, row.project, row.status, row.certainty) == (
                    "bob@example.com",
                    "research",
                    200,
                    "exact",
                )
                assert Decimal(row.cost or 0) > 0
                [made] = await gateway.admin.keys.list()
                assert row.key == made.name
                assert (await gateway.admin.users.get("bob@example.com")).limits.daily == 5

                groups.write_text("{}", "utf-8")
                code, out, err = await asyncio.to_thread(person.runs, APP)
                assert (code != 0, out, "log in again" in err or "paig login" in err) == (True, "", True), err
                assert await gateway.admin.keys.list() == []
                refused = await gateway.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
                assert (refused.status_code, refused.headers["x-paig-error"]) == (401, "unknown-key")
                assert len(await every_row(gateway.admin)) <= 2
