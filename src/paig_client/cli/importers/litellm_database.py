"""Teams, users, virtual keys, their budgets and spend from LiteLLM's database, as `pg_dump` writes it.

LiteLLM keeps the SHA-256 of each key, as paig does, so the keys that clients hold stay valid. The tables and columns
are those of LiteLLM's `schema.prisma`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from paig_client.cli.importers.draft import Draft, Table
from paig_client.cli.importers.litellm_budgets import (
    Row,
    add_limits,
    add_members,
    add_organizations,
    is_among,
    members_of,
    number,
)

KEYS, TEAMS, USERS, BUDGETS, ORGANIZATIONS, MEMBERS = (
    f"LiteLLM_{name}"
    for name in ("VerificationToken", "TeamTable", "UserTable", "BudgetTable", "OrganizationTable", "TeamMembership")
)
_AMOUNTS = "tpm_limit rpm_limit max_budget budget_duration soft_budget model_max_budget"
READ = {
    KEYS: f"token key_alias expires models user_id team_id organization_id blocked {_AMOUNTS} budget_id budget_limits",
    TEAMS: f"team_id team_alias organization_id models blocked {_AMOUNTS} budget_limits",
    USERS: f"user_id user_alias user_email organization_id models {_AMOUNTS}",
    BUDGETS: f"budget_id {_AMOUNTS}",
    ORGANIZATIONS: "organization_id organization_alias budget_id",
    MEMBERS: "user_id team_id budget_id",
}
"""The columns that are carried over, by table."""
RECORDS = (
    "created_at created_by updated_at updated_by settings_updated_at last_active spend total_spend model_spend "
    "budget_reset_at key_name soft_budget_cooldown rotation_count last_rotation_at key_rotation_at config metadata "
    "admins members members_with_roles teams sso_user_id password password_reset_required last_breach_check_at "
    "key_type allow_team_guardrail_config"
)
"""Columns that record something, or that limit nothing."""
LIMITING = (
    "temp_budget_increase", "guardrails", "tags", "allowed_passthrough_routes",
    "team_member_budget_id", "disable_global_guardrails", "enforced_params", "soft_budget",
)  # fmt: skip
"""Members of `metadata` that limit something."""
LEFT_OUT: Mapping[str, tuple[str, str, str]] = {
    "ProjectTable": ("budget_id", "LiteLLM projects with budgets", "here a key belongs to its team's project"),
    "OrganizationMembership": ("budget_id", "budgets of members in an organization", "set limits on the users"),
    "EndUserTable": ("budget_id", "end users with budgets", 'a named limit with per = "tag:customer" caps each'),
    "TagTable": ("budget_id", "tags with budgets", "a named limit with match = { tag = … } caps one"),
    "ModelAccessGroupBudgetTable": (
        "",
        "budgets of model access groups",
        "a named limit with match = { model = … } caps one",
    ),
    "ProxyModelTable": ("", "models added in LiteLLM's console", "add them to config.yaml, or to paig.toml"),
    "CredentialsTable": ("", "stored credentials, which are encrypted", "give the providers theirs"),
    "ModelTable": ("", "model aliases of teams", "members of a route rename models"),
    "DeprecatedVerificationToken": ("", "keys that were rotated and work for a while longer", "use the new ones"),
    "SpendLogs": ("", "rows of the request log", "--spend counts what each key has spent in total"),
}
"""Tables that are not carried over, without the prefix: a column that matters (if empty, any row does), what its rows
are, and what to do."""
SILENT = re.compile(
    "LiteLLM_(Daily|Deleted|AdaptiveRouter|AutoRouter|ShadowEval|Lens|Workflow|Managed|Health|Cron|Proxy(Worker|Heart)|"
    "Error|Audit|Invitation|UserNotifications|Telemetry|SpendLog.|BudgetWindow|SSO|UI|Verified|Retired|Background)"
)
"""Tables of records, and of the console, which are left out without a note."""
EVERY_MODEL = frozenset({"all-proxy-models", "all-team-models", "*"})
"""LiteLLM's names for no restriction."""
NO_MODEL = "no-default-models"
"""LiteLLM's name for no model at all."""

OWNERS = {"team": "project", "user": "user"}
"""Our word for each of LiteLLM's owners of keys."""
NOTHING = (None, "", "{}", "[]", "null", "f")
"""The values that a column has if it is not set."""
NAMES_IN_NOTE = 3
"""A note names at most this many keys, teams or users."""
_COPY = re.compile(r'^COPY (?:(?:\w+|"[^"]+")\.)?"(LiteLLM_\w+)" \((.*)\) FROM stdin;$')
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class LitellmSpend:
    """What a key had spent at LiteLLM.

    Attributes:
        key: The key's name in the draft.
        amount: US dollars.
        time: When it counts as spent: now where its budget has a window, else when the key was made.
        id: Identifies this spend, so that it is not counted twice.
    """

    key: str
    amount: Decimal
    time: datetime
    id: str


@dataclass(frozen=True, slots=True)
class LitellmTables:
    """What a dump has.

    Attributes:
        rows: The rows of the tables that are read, by table.
        counts: How many rows of the other tables hold something that is not carried over, by table.
    """

    rows: dict[str, list[Row]]
    counts: dict[str, int]


def tables_of(lines: Iterable[str]) -> LitellmTables:
    """LiteLLM's tables from a plain dump of `pg_dump`. Of tables that are not carried over, rows are only counted.

    Raises:
        ValueError: There is no such table in it.
    """
    found = LitellmTables({}, {})
    table: str | None = None
    columns: list[str] = []
    for line in lines:
        text = line.rstrip("\r\n")
        if table is None:
            if begun := _COPY.match(text):
                table = begun[1]
                columns = [name.strip().strip('"') for name in begun[2].split(",")]
                if table in READ:
                    found.rows.setdefault(table, [])
        elif text == "\\.":
            table = None
        elif table in READ:
            fields = text.split("\t")
            if len(fields) != len(columns):
                raise ValueError(f"a row of {table} has {len(fields)} columns, not {len(columns)}: the dump is damaged")
            found.rows[table].append(dict(zip(columns, map(_field, fields), strict=True)))
        else:
            wanted, *_ = LEFT_OUT.get(table.removeprefix("LiteLLM_"), ("",))
            if wanted not in columns or text.split("\t")[columns.index(wanted)] != "\\N":
                found.counts[table] = found.counts.get(table, 0) + 1
    if table is not None:
        raise ValueError(f"it ends in the middle of {table}: dump it again")
    if KEYS not in found.rows:
        raise ValueError(f'there is no table "{KEYS}" in it: make it with pg_dump in the plain format, with data')
    return found


def add_owners_and_keys(draft: Draft, dump: LitellmTables, now: datetime) -> list[LitellmSpend]:
    """Put teams, users and keys into a draft; returns what each key has spent.

    Args:
        dump: As `tables_of` found it.
        now: The present: keys that have expired are left out, as blocked ones are.
    """
    tables = dump.rows
    budgets = {row["budget_id"]: row for row in tables.get(BUDGETS, [])}
    rows = {
        kind: {row[f"{kind}_id"]: row for row in tables.get(table, [])}
        for kind, table in (("team", TEAMS), ("user", USERS))
    }
    teams = _owners(draft, draft.projects, "team", rows["team"].values(), ("team_alias", "team_id"))
    users = _owners(draft, draft.users, "user", rows["user"].values(), ("user_email", "user_alias", "user_id"))
    add_members(draft, tables.get(MEMBERS, []), budgets, teams, users)
    parts: dict[str | None, list[Table]] = {}
    for id, name in teams.items():
        parts.setdefault(rows["team"][id].get("organization_id"), []).append({"project": name})
    spent = []
    for row in tables[KEYS]:
        digest = row["token"] or ""
        alias = row.get("key_alias")
        where = f"key {alias or digest[:8]}"
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            draft.note(f"{where}: its stored value is not a SHA-256; make a new key.")
            continue
        expires = _time(row.get("expires"))
        if expires is not None and expires <= now:
            draft.note(f"{where}: it has expired and is left out.")
            continue
        team: Row = rows["team"].get(row.get("team_id"), {})
        if row.get("blocked") == "t" or team.get("blocked") == "t":
            whose = "it" if row.get("blocked") == "t" else "its team"
            draft.note(f"{where}: {whose} is blocked there, and the key is left out.")
            continue
        name = draft.label_for(alias or f"key-{digest[:8]}", draft.keys)
        fields: Table = {"secret": f"sha256:{digest}"}
        for ours, theirs, known in (("project", "team_id", teams), ("user", "user_id", users)):
            if (id := row.get(theirs)) in known:
                fields[ours] = known[id]
            elif id and id != "default_user_id":
                draft.note(f"{where}: there is no {theirs.removesuffix('_id')} {id}.")
        owner = team or rows["user"].get(row.get("user_id"), {})
        if models := _models_of_key(draft, where, row, owner):
            fields["models"] = models
        if expires is not None:
            fields["expires_at"] = expires
        budget = budgets.get(row.get("budget_id"), {})
        if row.get("budget_id") and not budget:
            draft.note(f"{where}: there is no budget {row['budget_id']}.")
        own = {name: text for name, text in row.items() if text not in NOTHING}
        if limits := add_limits(draft, where, {"key": name}, {**budget, **own}):
            fields["limits"] = limits
        if "project" not in fields:
            parts.setdefault(row.get("organization_id"), []).append({"key": name})
        draft.keys[name] = fields
        amount = number(row.get("spend"))
        if amount is not None and amount > 0:
            has_window = bool(row.get("budget_duration") or budget.get("budget_duration"))
            began = now if has_window else _time(row.get("created_at")) or now
            spent.append(LitellmSpend(name, amount, began, f"litellm:{digest}"))
    add_organizations(draft, tables.get(ORGANIZATIONS, []), budgets, parts)
    _tell_what_is_left_out(draft, dump)
    return spent


def _models_of_key(draft: Draft, where: str, row: Row, owner: Row) -> list[str]:
    """The models that a key and its team (without a team, its user) both allow; empty if it may use all."""
    own, owners = _models(draft, row), _models(draft, owner)
    found = own or owners
    if own and owners:
        narrower = [model for model in owners if is_among(own, model)]
        found = list(dict.fromkeys([*(model for model in own if is_among(owners, model)), *narrower])) or [NO_MODEL]
        if refused := [model for model in own if not is_among(owners, model)]:
            draft.note(f"{where}: {', '.join(refused)} left out: its team or user may not use all of that there.")
    for model in found:
        if not (model == NO_MODEL or "*" in model or is_among(draft.models, model)):
            draft.note(
                f"models of keys: {model} is not in model_list; if it is an access group, write its models instead."
            )
    return found


def _models(draft: Draft, row: Row) -> list[str]:
    """The models of a key, team or user, with those of its access groups; empty if it may use all."""
    listed = _array(row.get("models"))
    if not EVERY_MODEL.isdisjoint(listed):
        return []
    return list(dict.fromkeys(model for name in listed for model in draft.groups.get(name, [name])))


def _tell_what_is_left_out(draft: Draft, dump: LitellmTables) -> None:
    """Note each column and table whose content a draft cannot hold."""
    names = {KEYS: ("key", "key_alias", "token"), TEAMS: ("team", "team_alias", "team_id")}
    names |= {USERS: ("user", "user_email", "user_id"), BUDGETS: ("budget", "budget_id", "budget_id")}
    names |= {ORGANIZATIONS: ("organization", "organization_alias", "organization_id")}
    names |= {MEMBERS: ("member", "user_id", "user_id")}
    for table, rows in dump.rows.items():
        kind, alias, id = names[table]
        known = {*RECORDS.split(), *READ[table].split()}
        found: dict[str, list[str]] = {}
        for row in rows:
            columns = [column for column, text in row.items() if column not in known and text not in NOTHING]
            columns += [f"metadata.{name}" for name in members_of(row.get("metadata")) if name in LIMITING]
            for column in columns:
                found.setdefault(column, []).append(row.get(alias) or (row.get(id) or "")[:8])
        for column, whose in found.items():
            more = f" and {len(whose) - NAMES_IN_NOTE:,} more" if len(whose) > NAMES_IN_NOTE else ""
            draft.note(f"{kind} {', '.join(whose[:NAMES_IN_NOTE])}{more}: {column} is left out.")
    for table, count in dump.counts.items():
        name = table.removeprefix("LiteLLM_")
        if name in LEFT_OUT:
            _, what, advice = LEFT_OUT[name]
            draft.note(f"{what}: {count:,} left out; {advice}.")
        elif not SILENT.match(table):
            draft.note(f"rows of {table}: {count:,} left out; paig has nothing that corresponds to them.")


def _owners(
    draft: Draft, table: dict[str, Table], kind: str, rows: Iterable[Row], names: tuple[str, ...]
) -> dict[str | None, str]:
    """Put teams or users into the draft; their names there by LiteLLM's id."""
    found: dict[str | None, str] = {}
    for row in rows:
        id = row[f"{kind}_id"]
        if id == "default_user_id":
            continue
        wanted = next(text for name in names if (text := row.get(name)))
        name = found[id] = draft.label_for(wanted, table)
        limits = add_limits(draft, f"{kind} {wanted}", {OWNERS[kind]: name}, row)
        table[name] = {"limits": limits} if limits else {}
    return found


def _field(text: str) -> str | None:
    """A column as `COPY` writes it."""
    if text == "\\N":
        return None
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text)


def _array(text: str | None) -> list[str]:
    """A `text[]`, as PostgreSQL writes it."""
    return list(_elements(text)) if text else []


def _elements(text: str) -> Iterator[str]:
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)', text):
        yield json.loads(f'"{quoted}"') if quoted else plain


def _time(text: str | None) -> datetime | None:
    if text is None or text == "infinity":
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
