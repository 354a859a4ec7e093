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


def copied(table: str, **columns: str) -> list[str]:
    """A table with one row."""
    head = f'COPY "LiteLLM_{table}" ({", ".join(columns)}) FROM stdin;'
    return [head, "\t".join(columns.values()), "\\."]


def limited(dump: list[str], draft: Draft | None = None) -> tuple[dict[str, object], list[str]]:
    """The named limits as the gateway reads them, those of the gateway by the name `""`, and what was noted."""
    draft = draft or Draft()
    add_owners_and_keys(draft, tables_of(dump), NOW)
    config = parse(to_toml(draft, "A test."))
    shown = {"exclude_none": True, "exclude_defaults": True}
    found: dict[str, object] = {name: limit.model_dump(**shown) for name, limit in config.limits.items()}
    whole = config.organisation.limits.model_dump(**shown) if config.organisation else {}
    return found | ({"": whole} if whole else {}), draft.notes


@pytest.mark.parametrize(
    ("columns", "limits"),
    [
        ({"model_max_budget": '{"gpt-5": {"budget_limit": 2, "time_period": "1d"}}'}, {"daily": 2}),
        ({"model_max_budget": '{"gpt-5": {"max_budget": 1e-7, "budget_duration": "7d"}}'}, {"weekly": Decimal("1e-7")}),
        ({"model_max_budget": '{"gpt-5": 3.5}'}, {"total": Decimal("3.5")}),
        ({"model_max_budget": '{"gpt-5": {"tpm_limit": 100}}'}, {"tokens_per_minute": 100}),
        ({"metadata": '{"model_rpm_limit": {"gpt-5": 3}}'}, {"requests_per_minute": 3}),
        ({"metadata": '{"model_tpm_limit": {"openai/gpt-5": 4}}'}, {"tokens_per_minute": 4}),
    ],
)
def test_budgets_of_single_models_become_named_limits(columns: dict[str, str], limits: dict[str, Decimal]) -> None:
    """In each of the forms that LiteLLM has kept them in."""
    draft = Draft(models={"gpt-5"})
    assert limited(lines(**columns), draft) == ({"a gpt-5": {"match": {"key": "a", "model": "gpt-5"}, **limits}}, [])


def test_a_budget_of_a_model_that_is_not_in_the_list_is_told() -> None:
    """No request has that name, so it would never count anything."""
    columns = {"model_max_budget": '{"gpt-4": {"budget_limit": 2, "time_period": "1d"}}'}
    found, notes = limited(lines(**columns), Draft(models={"gpt-5"}))
    assert list(found) == ["a gpt-4"]
    assert notes == ["key a: its budget for gpt-4 counts nothing, because that model is not in model_list."]


@pytest.mark.parametrize(
    ("teams", "keys", "limits", "note"),
    [
        ({"t": "o"}, {}, {"": {"monthly": 30}}, ""),
        ({"t": "o", "u": "o"}, {"k": "o"}, {"": {"monthly": 30}}, ""),
        ({"t": "o", "u": "\\N"}, {}, {"t": {"match": {"project": "t"}, "monthly": 30}}, ""),
        ({"t": "p"}, {"k": "o"}, {"k": {"match": {"key": "k"}, "monthly": 30}}, ""),
        ({"t": "o", "u": "o", "v": "p"}, {}, {}, "its limits (monthly) are for t, u together"),
        ({"t": "o"}, {"k": "o", "l": "\\N"}, {}, "its limits (monthly) are for t, k together"),
        ({"t": "p"}, {}, {}, ""),
    ],
)
def test_an_organization_is_the_gateway_or_its_one_part(
    teams: dict[str, str], keys: dict[str, str], limits: dict[str, object], note: str
) -> None:
    """No limit spans several projects, so what several teams may spend together is told."""
    dump = copied("OrganizationTable", organization_id="o", organization_alias="acme", budget_id="b")
    dump += copied("BudgetTable", budget_id="b", max_budget="30", budget_duration="1mo")
    for team, organization in teams.items():
        dump += copied("TeamTable", team_id=team, organization_id=organization)
    dump += ['COPY "LiteLLM_VerificationToken" (token, key_alias, organization_id) FROM stdin;']
    dump += [f"{sha256(key.encode()).hexdigest()}\t{key}\t{organization}" for key, organization in keys.items()]
    found, notes = limited([*dump, "\\."])
    assert found == limits
    assert len(notes) == bool(note)
    assert all(one.startswith(f"organization acme: {note}") for one in notes)


def test_the_stricter_of_two_budgets_of_the_whole_gateway_counts() -> None:
    """That of the configuration, and that of the only organization."""
    config = {"model_list": [], "litellm_settings": {"max_budget": 20, "budget_duration": "30d"}}
    dump = copied("OrganizationTable", organization_id="o", organization_alias="acme", budget_id="b")
    dump += copied("BudgetTable", budget_id="b", max_budget="30", budget_duration="1mo", rpm_limit="9")
    found, _ = limited([*dump, *lines(organization_id="o")], from_litellm(config))
    assert found == {"": {"monthly": 20, "requests_per_minute": 9}}


@pytest.mark.parametrize(
    ("columns", "thresholds", "note"),
    [
        ({"soft_budget": "8", "max_budget": "10"}, [50, 80, 100], "is an alert at 80 % of its limit, once [alerts]"),
        (
            {"soft_budget": "9", "max_budget": "10"},
            [50, 80, 90, 100],
            "is an alert at 90 % of its limit, once [alerts]",
        ),
        ({"soft_budget": "0.01", "max_budget": "10"}, [1, 50, 80, 100], "is an alert at 1 % of its limit"),
        ({"soft_budget": "9"}, None, "is left out: alerts are sent at percentages of a limit. A limit of $18 sends"),
    ],
)
def test_a_soft_budget_is_a_threshold_of_alerts(
    columns: dict[str, str], thresholds: list[int] | None, note: str
) -> None:
    """It refuses nothing there, and nothing here."""
    draft = Draft()
    dump = [*lines(), *copied("TeamTable", team_id="t", team_alias="east", **columns)]
    assert limited(dump, draft)[0] == {}
    assert draft.alerts.get("thresholds") == thresholds
    assert [one for one in draft.notes if note in one] == draft.notes
    assert draft.notes[0].startswith("team east: its soft budget of $")
