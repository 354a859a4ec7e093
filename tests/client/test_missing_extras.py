"""Without an extra, what needs it says in one line how to install it."""

from __future__ import annotations

import subprocess
import sys

import pytest

GATEWAY = ("fastapi", "uvicorn", "sqlalchemy", "sqlmodel", "alembic")
MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def run(missing: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run something in a Python that has no such packages."""
    program = MISSING.format(names=set(missing)) + code
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("serve", GATEWAY, "gateway"),
        ("demo", GATEWAY, "gateway"),
        ("backup x.zip", GATEWAY, "gateway"),
        ("restore /dev/null", GATEWAY, "gateway"),
        ("secret rotate", GATEWAY, "gateway"),
        ("secret reset --yes", GATEWAY, "gateway"),
        ("serve", ("uvicorn",), "gateway"),
        ("demo", ("openai",), "gateway"),
        ("tui --web", ("textual",), "tui"),
    ],
)
def test_a_command_says_which_extra_it_needs(command: str, missing: tuple[str, ...], extra: str) -> None:
    """One line on standard error, the exit code 1, and no traceback."""
    code = f"from paig_client.cli import main\nmain({command.split()!r})"
    done = run(missing, code)
    assert done.returncode == 1, done
    [line] = done.stderr.strip().splitlines()
    assert f'pip install "paig[{extra}' in line
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("code", "missing", "extra"),
    [
        ("import paig_client; paig_client.register()", ("pydantic_ai",), "pydantic-ai"),
        ("from paig_client.sdks import openai; openai()", ("openai",), "openai"),
        ("from paig_client.sdks import anthropic; anthropic()", ("anthropic",), "anthropic"),
        ("import paig_client; paig_client.PaigGateway", ("pydantic_ai",), "pydantic-ai"),
    ],
)
def test_a_function_says_which_extra_it_needs(code: str, missing: tuple[str, ...], extra: str) -> None:
    """An ImportError whose message is one line."""
    done = run(missing, f"try:\n    {code}\nexcept ImportError as error:\n    print(error)")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.strip().splitlines()
    assert f'pip install "paig[{extra}]"' in line
