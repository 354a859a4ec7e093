"""A configuration from the environment."""

from __future__ import annotations

import pytest

from paig_client.cli.importers import to_toml
from paig_client.cli.importers.environment import KEYS, from_environment
from paig_gateway.config import parse
from paig_gateway.providers.kinds import KINDS


def test_every_key_becomes_a_reference() -> None:
    """Each kind by its usual variable, no value in the file, and the gateway can read it."""
    environ = {names[0]: f"secret-of-{kind}" for kind, names in KEYS.items()}
    environ |= {"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com", "SNOWFLAKE_BASE_URL": "https://s.example"}
    draft = from_environment({**environ, "AWS_REGION": "eu-west-1"})
    text = to_toml(draft, "A test.")
    assert "secret-of" not in text
    found = parse(text).providers
    assert {name: spec.credential for name, spec in found.items()} == {
        kind: f"env:{names[0]}" for kind, names in KEYS.items()
    }
    assert found["bedrock"].region == "eu-west-1"
    assert draft.notes == []
    assert set(KEYS) <= set(KINDS)


def test_other_spellings_and_what_is_not_one_variable() -> None:
    """A second name is taken where the first is missing; AWS keys and a service account's file by their own ways."""
    draft = from_environment(
        {
            "GOOGLE_API_KEY": "x",
            "AWS_PROFILE": "p",
            "GOOGLE_APPLICATION_CREDENTIALS": "/k.json",
            "GOOGLE_CLOUD_PROJECT": "q",
        }
    )
    found = parse(to_toml(draft, "A test.")).providers
    assert (found["google"].credential, found["bedrock"].credential) == ("env:GOOGLE_API_KEY", None)
    assert (found["google-vertex"].credential, found["google-vertex"].project) == ("file:/k.json", "q")
    assert draft.notes == [
        "bedrock has no credential here: the gateway signs with the AWS credentials of its own machine."
    ]


@pytest.mark.parametrize(
    ("environ", "words"),
    [({"OPENAI_API_KEY": "paig_x"}, "a key of this gateway"), ({"AZURE_API_KEY": "x"}, "set AZURE_OPENAI_ENDPOINT")],
)
def test_what_makes_no_provider_is_noted(environ: dict[str, str], words: str) -> None:
    """A key of the gateway itself, or one without a known address."""
    draft = from_environment(environ)
    assert draft.providers == {}
    assert words in draft.notes[0]


def test_empty_variables_are_none() -> None:
    """Set to nothing is not set."""
    assert from_environment({"OPENAI_API_KEY": " "}).providers == {}
