"""Fixtures of the client's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paig_client import keychain
from tests.client.double import Double, serving

if TYPE_CHECKING:
    from tests.client.real import Real

# What a developer's own environment may hold, and what the commands under test would find there.
FOREIGN = (
    "PAIG_",
    "PYDANTIC_AI_",
    "OPENAI_",
    "ANTHROPIC_",
    "GOOGLE_",
    "GEMINI_",
    "GROQ_",
    "AWS_",
    "AZURE_",
    "MISTRAL_",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credentials but those that a test sets; a home folder of its own; a keyring that has not hung yet."""
    for name in list(os.environ):
        if name.startswith((*FOREIGN, "MISTRAL_", "HF_", "CO_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("PAIG_HOME", str(home))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    keychain._stuck.clear()
    return home


@pytest.fixture
def double() -> Double:
    """A double of the gateway, to prepare and to look into."""
    return Double()


@pytest.fixture
def gateway(double: Double) -> Iterator[str]:
    """The double's root address."""
    with serving(double) as root:
        yield root


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A real gateway in front of simulated providers."""
    from tests.client.real import running_real  # the gateway's own dependencies: the oldest pydantic-ai has others

    with running_real(tmp_path_factory.mktemp("real")) as running:
        yield running


@pytest.fixture(scope="session")
def real_key(real: Real) -> str:
    """A key of the real gateway without limits."""
    return real.make_key("unlimited")
