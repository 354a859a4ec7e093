"""Reading paig.toml: what it means, and everything that is wrong with it, line by line."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from paig_client.api.limits import LimitsSpec
from paig_client.api.specs import KeySpec, MemberSpec, OrganisationSpec, OwnerSpec, ProjectSpec, ProviderSpec, RouteSpec
from paig_gateway.config import Config, ConfigError, ServerSpec, Timeouts, load, parse

EXAMPLE = """\
[server]
port = 9000
timeouts = { connect = 2.5, total = 60 }
[organisation]
limits = { monthly = 1000 }
[providers.openai]
kind = "openai"
base_url = "https://api.openai.com/v1"
credential = "env:OPENAI_API_KEY"
inject_cost = true
require_price = true
price_provider = "openai"
[providers.groq]
kind = "groq"
[routes.fast]
members = [{ provider = "groq", priority = 10, weight = 3 }, { provider = "openai", priority = 5 }]
[projects.research]
limits = { daily = 10, weekly = 50, monthly = 100 }
[users.ada]
limits = { daily = 0.05 }
[keys.ci]
project = "research"
user = "ada"
routes = ["openai", "fast"]
models = ["gpt-5*"]
limits = { daily = 1, total = "20", requests_per_minute = 600, tokens_per_minute = 200000 }
secret = "env:CI_GATEWAY_KEY"
"""


def issues(text: str) -> list[str]:
    """What is wrong with a file, as it is printed."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == "\n".join(map(str, caught.value.issues))
    return [str(issue) for issue in caught.value.issues]


def test_example_is_read() -> None:
    """Every table becomes its Spec; amounts are exact decimals."""
    assert parse(EXAMPLE) == Config(
        process=("server",),
        server=ServerSpec(port=9000, timeouts=Timeouts(connect=2.5, total=60)),
        organisation=OrganisationSpec(limits=LimitsSpec(monthly=Decimal(1000))),
        providers={
            "openai": ProviderSpec(
                kind="openai", base_url="https://api.openai.com/v1", credential="env:OPENAI_API_KEY", inject_cost=True,
                require_price=True, price_provider="openai",
            ),
            "groq": ProviderSpec(kind="groq"),
        },
        routes={
            "fast": RouteSpec(
                members=[
                    MemberSpec(provider="groq", priority=10, weight=3),
                    MemberSpec(provider="openai", priority=5),
                ]
            )
        },
        projects={
            "research": ProjectSpec(
                limits=LimitsSpec(daily=Decimal(10), weekly=Decimal(50), monthly=Decimal(100)),
            )
        },
        users={"ada": OwnerSpec(limits=LimitsSpec(daily=Decimal("0.05")))},
        keys={
            "ci": KeySpec(
                project="research", user="ada", routes=["openai", "fast"], models=["gpt-5*"],
                secret="env:CI_GATEWAY_KEY",
                limits=LimitsSpec(
                    daily=Decimal(1), total=Decimal(20), requests_per_minute=600, tokens_per_minute=200_000
                ),
            )
        },
    )  # fmt: skip


def test_empty_file_is_all_defaults() -> None:
    """Everything is optional."""
    assert parse("") == Config()
    server = parse("").server
    assert (server.host, server.port, server.workers, server.max_body_mb) == ("127.0.0.1", 8787, 1, 64)
    assert (server.tls, server.on_ledger_down) == (False, "refuse")


def test_amounts_are_exact() -> None:
    """An amount with more digits than a float holds keeps them all."""
    found = parse("[projects.p.limits]\ntotal = 123456789.123456789").projects["p"]
    assert found.limits.total == Decimal("123456789.123456789")


@pytest.mark.parametrize(
    "written",
    ["2027-01-01T00:00:00Z", "2027-01-01", '"2027-01-01"', '"2027-01-01T01:00:00+01:00"', "2027-01-01 00:00:00"],
)
def test_expiry_may_be_written_in_several_ways(written: str) -> None:
    """A TOML date or time, or a string of either; UTC where it names no zone."""
    assert parse(f"[keys.k]\nexpires_at = {written}").keys["k"].expires_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_everything_wrong_is_told_at_once() -> None:
    """Each mistake is told with its line and path, all in one go, in order; one mistake does not hide another."""
    assert issues(
        """\
[serverr]
port = 1
[server]
port = "80"
timeouts = { conect = 3, idle = 0 }
on_ledger_down = "pray"
[providers.openai]
kind = "opnai"
bas_url = "x"
[providers.eu]
kind = "google"
region = "eu"
credential = "sk-secret"
[[routes.fast.members]]
provider = "opena"
[[routes.fast.members]]
weight = -1
[routes."bad name"]
members = []
[projects.research.limits]
daily = -4
[keys.ci]
project = "reserch"
user = "bob"
routes = ["fst", "eu"]
expires_at = "30d"
[keys.ci.limits]
daly = 1
requests_per_minute = 1.5
[keys."Ada's"]
models = ["", "x"]
secret = "my-value"
limits = 3
"""
    ) == [
        "paig.toml:1: serverr: unknown table; did you mean server?",
        "paig.toml:4: server.port: must be a valid integer",
        "paig.toml:5: server.timeouts.conect: unknown field; did you mean connect?",
        "paig.toml:5: server.timeouts.idle: must be greater than 0",
        "paig.toml:6: server.on_ledger_down: must be 'refuse' or 'allow'",
        "paig.toml:8: providers.openai.kind: is not a known provider kind; did you mean openai?",
        "paig.toml:9: providers.openai.bas_url: unknown field; did you mean base_url?",
        "paig.toml:12: providers.eu.region: is not a setting of the kind google: it takes no settings of its own",
        "paig.toml:13: providers.eu.credential: is not a reference: "
        "write env:NAME, keyring:SERVICE/USER, file:PATH or value:LITERAL",
        "paig.toml:15: routes.fast.members[0].provider: there is no provider 'opena'; did you mean openai?",
        "paig.toml:16: routes.fast.members[1].provider: is needed",
        "paig.toml:17: routes.fast.members[1].weight: must be greater than or equal to 0",
        'paig.toml:18: routes."bad name": the name must start with a letter or digit and hold only letters, digits, '
        "'.', '_' and '-', 64 at most",
        'paig.toml:19: routes."bad name".members: must not be empty',
        "paig.toml:21: projects.research.limits.daily: must be zero or more, and at most a billion dollars",
        "paig.toml:23: keys.ci.project: there is no project 'reserch' in this file: add [projects.reserch]; "
        "did you mean research?",
        "paig.toml:24: keys.ci.user: there is no user 'bob' in this file: add [users.bob]",
        "paig.toml:25: keys.ci.routes[0]: there is no route or provider 'fst' in this file; did you mean fast?",
        "paig.toml:26: keys.ci.expires_at: must be a valid datetime",
        "paig.toml:28: keys.ci.limits.daly: unknown field; did you mean daily?",
        "paig.toml:29: keys.ci.limits.requests_per_minute: must be a valid integer",
        "paig.toml:31: keys.\"Ada's\".models[0]: must not be empty: write a model's name or a pattern such as gpt-5*",
        'paig.toml:32: keys."Ada\'s".secret: is not a reference: '
        "write env:NAME, keyring:SERVICE/USER, file:PATH or value:LITERAL",
        'paig.toml:33: keys."Ada\'s".limits: must be a table',
    ]


@pytest.mark.parametrize(
    ("text", "issue"),
    [
        ("[a]\nb = ", "paig.toml:2: Invalid value"),
        ("[server]\nport = 1\nport = 2", "paig.toml:3: Cannot overwrite a value"),
        ("x = [1,\n\n", "paig.toml:3: Invalid value"),
        ("[a]\n[projects.x]\n[projects.x]\n", "paig.toml:3: [projects.x] is given twice: keep one of them"),
        ("[limits.x]\nper = 'tags:x'", "paig.toml:2: limits.x.per: must be key, user, project, model, provider"),
        ("[server]\nhost = 'x", "paig.toml:2: Expected \"'\""),
        ("providers = 3", "paig.toml:1: providers: must be a table: write [providers.NAME]"),
        ("keys.x = 5", "paig.toml:1: keys.x: must be a table"),
        ("server = 'x'", "paig.toml:1: server: must be a table"),
        ("providers.x.kind = 5", "paig.toml:1: providers.x.kind: must be a valid string"),
        ("[users.x]\nlimits.daily = true", "paig.toml:2: users.x.limits.daily: must be an amount of US dollars"),
        ("[users.x]\nlimits.daily = 'lots'", "paig.toml:2: users.x.limits.daily: "),
        ("[users.x]\nlimits.daily = inf", "paig.toml:2: users.x.limits.daily: must be "),
        ("[users.x]\nlimits.daily = 1e-10", "paig.toml:2: users.x.limits.daily: is finer than a nanodollar"),
        ("[users.x]\nlimits.requests_per_minute = 9223372036854775807", "paig.toml:2: users.x.limits.requests_per_"),
        ("[organisation]\nlimit.daily = 1", "paig.toml:2: organisation.limit: unknown field; did you mean limits?"),
        ("[server]\nlimit_wait = nan", "paig.toml:2: server.limit_wait: "),
        ("[routes.r]\nmembers = 'openai'", "paig.toml:2: routes.r.members: must be a valid list"),
        ("[routes.r]\nmembers = ['openai']", "paig.toml:2: routes.r.members[0]: must be a table"),
        ("[providers.a]\n", "paig.toml:1: providers.a.kind: is needed"),
        ("[users.\"a\\u0007\"]\n", 'paig.toml:1: users."a\\u0007": the name must not hold control characters'),
    ],
)  # fmt: skip
def test_one_thing_wrong(text: str, issue: str) -> None:
    """Syntax errors, wrong types and bad amounts are told with their line, and nothing else is."""
    [told] = issues(text)
    assert told.startswith(issue)


def test_secret_in_the_wrong_place_is_not_shown() -> None:
    """A credential pasted without `value:` does not end up in a terminal or a log."""
    assert "sk-proj" not in "".join(issues('[providers.p]\nkind = "openai"\ncredential = "sk-proj-123"'))


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    """A file saved by Windows' editors is read, and its lines are counted right."""
    file = tmp_path / "my.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\n\r\nprt = 1\r\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == "my.toml:3: server.prt: unknown field; did you mean port?"


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), (b"\xff\xfe", "is not UTF-8 text")])
def test_unreadable_file(tmp_path: Path, content: bytes | None, says: str) -> None:
    """A file that is missing or no text is the same kind of error."""
    file = tmp_path / "paig.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"paig.toml:1: {says}"):
        load(file)
