"""Odd dumps of LiteLLM's database: what they say comes over, or is named."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256

import pytest

from paig_client.api.specs import KeySpec
from paig_client.cli.importers import to_toml
from paig_client.cli.importers.draft import Draft
from paig_client.cli.importers.litellm import from_litellm
from paig_client.cli.importers.litellm_database import add_owners_and_keys, tables_of
from paig_gateway.config import parse

TOKEN = sha256(b"sk-1234").hexdigest()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def lines(end: str = "\n", schema: str = "public.", **columns: str) -> list[str]:
    """A dump with one key."""
    row = {"token": TOKEN, "key_alias": "a", "models": "{}", **columns}
    head = f'COPY {schema}"LiteLLM_VerificationToken" ({", ".join(row)}) FROM stdin;'
    return [line + end for line in ("--", head, "\t".join(row.values()), "\\.")]


def made(dump: list[str]) -> tuple[KeySpec, list[str]]:
    """The key as the gateway reads it, and what was noted."""
    draft = Draft()
    add_owners_and_keys(draft, tables_of(dump), NOW)
    return parse(to_toml(draft, "A test.")).keys["a"], draft.notes


@pytest.mark.parametrize("schema", ["", "public.", '"litellm-db".'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_dumps_of_any_schema_and_line_end_are_read(schema: str, end: str) -> None:
    """Also those that were made on Windows."""
    key, notes = made(lines(end, schema, max_budget="5"))
    assert (key.limits.total, notes) == (5, [])


@pytest.mark.parametrize(
    ("columns", "limits", "note"),
    [
        ({"max_budget": "-5"}, {"total": Decimal(0)}, None),
        ({"max_budget": "1.0000000001"}, {"total": Decimal(1)}, None),
        ({"max_budget": "1e+20"}, {}, "more than any limit here"),
        ({"max_budget": "Infinity"}, {}, None),
        ({"tpm_limit": "9223372036854775807"}, {}, "tpm_limit of 9223372036854775807 is left out"),
        ({"rpm_limit": "0"}, {}, "rpm_limit of 0 is left out; disable the key"),
        ({"budget_id": "gone"}, {}, "there is no budget gone"),
        ({"expires": "infinity"}, {}, None),
    ],
)
def test_odd_values(columns: dict[str, str], limits: dict[str, Decimal], note: str | None) -> None:
    """The file can always be applied."""
    key, notes = made(lines(**columns))
    assert key.limits.model_dump(exclude_none=True, exclude_defaults=True) == limits
    assert (key.expires_at, len(notes)) == (None, 0 if note is None else 1)
    assert note is None or note in notes[0]


def test_a_damaged_dump_is_refused() -> None:
    """Keys that are missing from it would stop working without a word."""
    with pytest.raises(ValueError, match="ends in the middle of LiteLLM_VerificationToken"):
        tables_of(lines()[:-1])
    with pytest.raises(ValueError, match="has 1 columns, not 3"):
        tables_of([*lines()[:2], "abc\n"])


MODELS = [
    {"model_name": name, "litellm_params": {"model": f"openai/{name}"}, "model_info": {"access_groups": groups}}
    for name, groups in (("gpt-5", ["beta"]), ("gpt-5-mini", ["beta", "small"]), ("openai/*", []))
]
TEAM = 'COPY "LiteLLM_TeamTable" (team_id, team_alias, models) FROM stdin;'


@pytest.mark.parametrize(
    ("own", "teams", "models", "notes"),
    [
        ("{beta}", "{}", ["gpt-5", "gpt-5-mini"], []),
        ("{gpt-5,beta}", "{}", ["gpt-5", "gpt-5-mini"], []),
        ("{}", "{small}", ["gpt-5-mini"], []),
        ("{gpt-5,gpt-5-mini}", "{small}", ["gpt-5-mini"], ["key a: gpt-5 left out"]),
        ("{openai/*}", "{openai/o3}", ["openai/o3"], ["key a: openai/* left out"]),
        ("{gpt-5}", "{small}", ["no-default-models"], ["key a: gpt-5 left out"]),
        ("{all-team-models,gpt-5}", "{small}", ["gpt-5-mini"], []),
        ("{gpt-5}", "{all-proxy-models}", ["gpt-5"], []),
        ("{unknown,openai/o3}", "{}", ["unknown", "openai/o3"], ["models of keys: unknown is not in model_list"]),
    ],
)
def test_models_are_those_that_key_and_team_allow(own: str, teams: str, models: list[str], notes: list[str]) -> None:
    """Access groups become their models; a name that says nothing here is noted."""
    draft = from_litellm({"model_list": MODELS})
    before = len(draft.notes)
    dump = [*lines(models=own, team_id="t"), TEAM, f"t\tteam\t{teams}", "\\."]
    add_owners_and_keys(draft, tables_of(dump), NOW)
    assert parse(to_toml(draft, "A test.")).keys["a"].models == models
    said = draft.notes[before:]
    assert len(said) == len(notes)
    assert all(note.startswith(start) for note, start in zip(said, notes, strict=True))
