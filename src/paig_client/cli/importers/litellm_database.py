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
from decimal import Decimal, InvalidOperation

from paig_client.cli.importers.draft import Draft, Table
from paig_client.cli.importers.litellm import WINDOWS

Row = Mapping[str, str | None]

KEYS, TEAMS, USERS, BUDGETS = (
    f"LiteLLM_{name}" for name in ("VerificationToken", "TeamTable", "UserTable", "BudgetTable")
)
EVERY_MODEL = frozenset({"all-proxy-models", "all-team-models", "*"})
"""LiteLLM's names for no restriction."""

_COPY = re.compile(r'^COPY (?:\w+\.)?"(LiteLLM_\w+)" \((.*)\) FROM stdin;$')
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


def tables_of(lines: Iterable[str]) -> dict[str, list[Row]]:
    """LiteLLM's tables from a plain dump of `pg_dump`.

    Raises:
        ValueError: There is no such table in it.
    """
    found: dict[str, list[Row]] = {}
    table: list[Row] | None = None
    columns: list[str] = []
    for line in lines:
        text = line.rstrip("\n")
        if table is None:
            if begun := _COPY.match(text):
                table = found.setdefault(begun[1], [])
                columns = [name.strip().strip('"') for name in begun[2].split(",")]
        elif text == "\\.":
            table = None
        else:
            table.append(dict(zip(columns, map(_field, text.split("\t")), strict=True)))
    if KEYS not in found:
        raise ValueError(f'there is no table "{KEYS}" in it: make it with pg_dump in the plain format, with data')
    return found


def add_owners_and_keys(draft: Draft, tables: Mapping[str, list[Row]], now: datetime) -> list[LitellmSpend]:
    """Put teams, users and keys into a draft, and tell what each key has spent.

    Args:
        draft: The draft to fill.
        tables: As `tables_of` found them.
        now: The present: keys that have expired are left out.
    """
    budgets = {row["budget_id"]: row for row in tables.get(BUDGETS, [])}
    teams = _owners(draft, draft.projects, "team", tables.get(TEAMS, []), ("team_alias", "team_id"))
    users = _owners(draft, draft.users, "user", tables.get(USERS, []), ("user_email", "user_alias", "user_id"))
    spent = []
    for row in tables[KEYS]:
        digest = row["token"] or ""
        alias = row.get("key_alias")
        where = f"key {alias or digest[:8]}"
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            draft.note(f"{where}: what is stored of it is no SHA-256; make a new key.")
            continue
        expires = _time(row.get("expires"))
        if expires is not None and expires <= now:
            draft.note(f"{where}: it has expired and is left out.")
            continue
        name = draft.label_for(alias or f"key-{digest[:8]}", draft.keys)
        fields: Table = {"secret": f"sha256:{digest}"}
        for ours, theirs, known in (("project", "team_id", teams), ("user", "user_id", users)):
            if (id := row.get(theirs)) in known:
                fields[ours] = known[id]
            elif id and id != "default_user_id":
                draft.note(f"{where}: there is no {theirs.removesuffix('_id')} {id}.")
        if models := [model for model in _array(row.get("models")) if model not in EVERY_MODEL]:
            fields["models"] = models
        if expires is not None:
            fields["expires_at"] = expires
        budget = budgets.get(row.get("budget_id"), {})
        if limits := _limits(
            draft, where, {**budget, **{name: text for name, text in row.items() if text is not None}}
        ):
            fields["limits"] = limits
        if row.get("blocked") == "t":
            draft.note(f"{where}: it is blocked there; `paig keys disable {name}` after the import.")
        for column in ("model_max_budget", "aliases", "max_parallel_requests", "tpd_limit"):
            if row.get(column) not in (None, "{}", "null"):
                draft.note(f"{where}: {column} is left out.")
        draft.keys[name] = fields
        amount = _number(row.get("spend"))
        if amount is not None and amount > 0:
            has_window = bool(row.get("budget_duration") or budget.get("budget_duration"))
            began = now if has_window else _time(row.get("created_at")) or now
            spent.append(LitellmSpend(name, amount, began, f"litellm:{digest}"))
    return spent


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
        limits = _limits(draft, f"{kind} {wanted}", row)
        table[name] = {"limits": limits} if limits else {}
        if [model for model in _array(row.get("models")) if model not in EVERY_MODEL]:
            draft.note(f"{kind} {wanted}: its models are left out; set them on its keys.")
        if row.get("blocked") == "t":
            draft.note(f"{kind} {wanted}: it is blocked there; disable its keys after the import.")
    return found


def _limits(draft: Draft, where: str, row: Row) -> Table:
    found: Table = {}
    if (budget := _number(row.get("max_budget"))) is not None:
        duration = row.get("budget_duration")
        window = WINDOWS.get(duration) if duration else "total"
        if window is None:
            draft.note(f"{where}: its budget is for {duration}; windows here are daily, weekly, monthly and total.")
        else:
            found[window] = budget
    for ours, theirs in (("requests_per_minute", "rpm_limit"), ("tokens_per_minute", "tpm_limit")):
        if (rate := _number(row.get(theirs))) is not None and rate > 0:
            found[ours] = int(rate)
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


def _number(text: str | None) -> Decimal | None:
    try:
        number = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
