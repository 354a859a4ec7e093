"""`import paig_client`: its public names, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import paig_client

PUBLIC = [
    "AdminClient",
    "AsyncAdminClient",
    "BadRequest",
    "BodyTooLarge",
    "Charge",
    "CredentialError",
    "Fitted",
    "KeyRejected",
    "LimitExceeded",
    "LimitTooSmall",
    "ModelNotAllowed",
    "NoPrice",
    "ObjectNotFound",
    "Overloaded",
    "PaigError",
    "PaigGateway",
    "RateLimited",
    "RouteNotFound",
    "Spend",
    "UpstreamFailed",
    "agent",
    "anthropic",
    "async_anthropic",
    "async_azure_openai",
    "async_groq",
    "async_openai",
    "async_spend_of",
    "async_vertex_anthropic",
    "azure_openai",
    "bedrock",
    "budget",
    "from_exception",
    "gateway_model",
    "gateway_provider",
    "google",
    "groq",
    "mistral",
    "openai",
    "register",
    "session",
    "spend_of",
    "spending",
    "tags",
    "unregister",
    "vertex_anthropic",
]

HEAVY = ("openai", "anthropic", "groq", "google", "boto3", "mistralai", "pydantic_ai", "pydantic", "httpx", "httpx2")
HEAVY += ("typer", "rich", "keyring", "platformdirs", "paig_gateway", "paig_tui")


MODULES = 60
"""How many `import paig_client` may load, of which Python 3.11's typing, re and contextlib are some thirty."""


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys, json; {code}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `code`."""
    return {name.partition(".")[0] for name in modules_after(code)}


def test_the_public_names_are_pinned() -> None:
    """What `paig_client` promises is this list, and each name is there."""
    assert paig_client.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(paig_client))
    for name in PUBLIC:
        assert getattr(paig_client, name).__module__.startswith("paig_client"), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="'paig_client' has no attribute 'nope'"):
        paig_client.nope  # noqa: B018


def test_a_missing_pydantic_ai_is_one_friendly_line() -> None:
    """It says what to install."""
    code = "import sys; sys.modules['pydantic_ai'] = None; import paig_client; paig_client.register()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1] == (
        'ImportError: paig_client.register needs pydantic-ai, which is not installed: pip install "paig[pydantic-ai]"'
    )


def test_import_loads_nothing_heavy() -> None:
    """No SDK, HTTP client, keyring or command line is loaded by the import, nor by what needs none of them."""
    assert not loaded_by("import paig_client") & set(HEAVY)
    assert not loaded_by("import paig_client; paig_client.from_exception; paig_client.tags(a=1)") & set(HEAVY)


def test_import_loads_few_modules() -> None:
    """The import is cheap because it is little: `benchmarks/imports.py` has the milliseconds."""
    loaded = modules_after("import paig_client") - modules_after("pass")
    assert "paig_client" in loaded
    assert len(loaded) < MODULES


def test_the_command_line_loads_no_sdk_gateway_or_http_client() -> None:
    """`paig --help` needs none of them."""
    code = "import contextlib, io, paig_client.cli\nwith contextlib.redirect_stdout(io.StringIO()):\n"
    code = code + " try: paig_client.cli.main(['--help'])\n except SystemExit: pass\n"
    found = loaded_by(f"exec({code!r})")
    assert "typer" in found
    assert not found & (set(HEAVY) - {"typer", "rich"})
