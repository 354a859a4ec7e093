"""`paig init` and `paig import litellm`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from paig_client.cli.importers.environment import ADDRESSES, KEYS
from paig_gateway.app import OpenDatabase
from paig_gateway.config import load, parse
from tests.client.cli.conftest import Paig

LITELLM = """\
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-5, api_key: os.environ/OPENAI_API_KEY, rpm: 3}
"""


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any provider's key."""
    for name in {name for names in KEYS.values() for name in names} | {"GOOGLE_APPLICATION_CREDENTIALS"}:
        monkeypatch.delenv(name, raising=False)


def test_init_writes_a_file_once(paig: Paig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With references alone; a file that is there is left as it is."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret")
    file = tmp_path / "paig.toml"
    ran = paig("init", str(file))
    assert (ran.code, ran.out) == (0, "")
    assert "+ provider groq  (env:GROQ_API_KEY)" in ran.err
    assert load(file).providers["groq"].credential == "env:GROQ_API_KEY"
    assert load(file).server.refresh_prices
    before = file.read_text()
    assert "gsk-secret" not in before + ran.err
    again = paig("init", str(file))
    assert again.code == 2
    assert "not overwritten" in again.err
    assert file.read_text() == before


def test_init_can_print(paig: Paig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard output; --json says what was found."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk-secret")
    assert parse(paig("init", "-").out).providers["groq"].kind == "groq"
    told = json.loads(paig("init", str(tmp_path / "x.toml"), "--json").out)
    assert told["providers"] == {"groq": {"kind": "groq", "credential": "env:GROQ_API_KEY"}}


def test_init_takes_every_key_there_is(paig: Paig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider for each, which the gateway takes as it stands: no setting is missing, and no value is in the file."""
    for kind, names in KEYS.items():
        monkeypatch.setenv(names[-1], f"value-of-{kind}")
    for kind, names in ADDRESSES.items():
        monkeypatch.setenv(names[0], f"https://{kind}.example")
    file = tmp_path / "paig.toml"
    assert paig("init", str(file)).code == 0
    found = load(file).providers
    assert {name: spec.kind for name, spec in found.items()} == {kind: kind for kind in KEYS}
    assert {name: spec.credential for name, spec in found.items()} == {k: f"env:{v[-1]}" for k, v in KEYS.items()}
    assert "value-of" not in file.read_text()
    store = OpenDatabase.open(tmp_path / "home")
    for name, spec in found.items():
        store.catalog.providers.create(name, spec, actor="test")
    assert {provider.name for provider in store.catalog.providers.list()} == set(KEYS)


def test_init_without_a_key_says_what_it_looked_for(paig: Paig, tmp_path: Path) -> None:
    """And writes nothing."""
    ran = paig("init", str(tmp_path / "paig.toml"))
    assert ran.code == 1
    assert "OPENAI_API_KEY" in ran.err
    assert list(tmp_path.glob("*.toml")) == []


def test_import_prints_a_file_and_says_what_is_left(paig: Paig, tmp_path: Path) -> None:
    """The file on standard output, with what is left as comments too; the words on standard error."""
    file = tmp_path / "config.yaml"
    file.write_text(LITELLM)
    for ran in (paig("import", "litellm", str(file)), paig("import", "litellm", "-", stdin=LITELLM)):
        assert ran.code == 0
        assert parse(ran.out).routes["gpt"].members[0].provider == "openai"
        assert "# - model_list[0].litellm_params.rpm" in ran.out
        left = "Not carried over, or changed:\n! model_list[0].litellm_params.rpm\n"
        assert ran.err == f"{left}Made 1 provider, 1 route, 0 prices.\n"


@pytest.mark.parametrize(("text", "words"), [("a: [", "config.yaml:1: is not valid YAML"), ("a: 1", "model_list")])
def test_what_cannot_be_imported_is_said(paig: Paig, tmp_path: Path, text: str, words: str) -> None:
    """One that is not valid YAML, one that is not LiteLLM's, one that is not there."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    ran = paig("import", "litellm", str(file))
    assert (ran.code, ran.out) == (1, "")
    assert words in ran.err
    assert paig("import", "litellm", str(tmp_path / "missing.yaml")).code == 2


def test_without_a_yaml_parser_it_says_what_to_install(
    paig: Paig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser comes with the gateway."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    ran = paig("import", "litellm", str(tmp_path / "config.yaml"))
    assert (ran.code, 'pip install "paig[gateway]"' in ran.err) == (1, True)
