"""`paig env` in real shells: each sets what it prints, whatever the key has in it, and unsets what is in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest

from tests.client.cli.conftest import Paig

pytestmark = pytest.mark.slow

KEY = "paig_it's $HOME \\ \\' \"%PATH%\" `id` #; !id \u2018\u2019"
SHOWN = ("PAIG_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")
PRINT = "printenv " + "; printenv ".join(SHOWN)
EVALUATE: Mapping[str, tuple[str, list[str]]] = {
    "sh": ("sh", ["-c", f'eval "$(cat)"; {PRINT}']),
    "bash": ("sh", ["-c", f'eval "$(cat)"; {PRINT}']),
    "zsh": ("sh", ["-c", f'eval "$(cat)"; {PRINT}']),
    "fish": ("fish", ["-c", f"source; {PRINT}"]),
    "tcsh": ("csh", ["-f", "-c", f'eval "`cat`"; {PRINT}']),
    "csh": ("csh", ["-f", "-c", f'eval "`cat`"; {PRINT}']),
    "pwsh": ("powershell", ["-NoProfile", "-Command", f"$input | Out-String | Invoke-Expression; {PRINT}"]),
    "nu": ("", ["--no-config-file", "--stdin", "-c", f"$in | from json | compact-env | load-env; {PRINT}"]),
}
"""The `--shell` (none: `--json`) and the arguments of each program, which reads from standard input."""
NU = "transpose name value | where value != null | transpose --header-row --as-record"
"""In Nushell, the record without its nulls: they stand for variables to unset."""


@pytest.mark.parametrize("program", EVALUATE)
def test_a_real_shell_takes_it(paig: Paig, gateway: str, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Also a key with quotes, backslashes and what a shell would run."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")
    monkeypatch.setenv("PAIG_API_KEY", KEY)
    monkeypatch.setenv("PAIG_BASE_URL", gateway)
    shell, arguments = EVALUATE[program]
    text = paig("env", "--for", "anthropic", *(["--shell", shell] if shell else ["--json"])).out
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PAIG", "PYDANTIC"))}
    environment["ANTHROPIC_API_KEY"] = "sk-ant-real"
    words = [word.replace("compact-env", NU) for word in arguments]
    ran = subprocess.run(
        [program, *words], input=text, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    expected = [KEY, KEY, *(["sk-ant-real"] if not shell else [])]
    assert ran.stdout.splitlines() == expected, ran.stderr
