"""Budgets and rates in LiteLLM's database, as limits: of teams, users, keys, organizations, members and single models.

A soft budget, which refuses nothing there, becomes a threshold of alerts. What no limit can say is noted, with what to
do instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase

from paig_client.cli.importers.draft import Draft, Table
from paig_client.cli.importers.litellm import limit_of, object_of

Row = Mapping[str, str | None]

MOST_A_MINUTE = 2**62
"""The largest rate of a limit."""
RATES: Mapping[str, str] = {"requests_per_minute": "rpm_limit", "tokens_per_minute": "tpm_limit"}
"""Our limits on a minute, and LiteLLM's columns."""
THRESHOLDS = (50, 80, 100)
"""The percentages of a limit at which alerts are sent anyway."""


def add_limits(draft: Draft, where: str, match: Table, row: Row) -> Table:
    """An owner's own limits; those of its single models and its soft budget go into the draft.

    Args:
        where: What notes call the owner.
        match: What the named limits of its models match besides the model.
        row: Its columns.
    """
    amounts = _amounts(draft, where, row)
    for model, columns in _of_models(row).items():
        name = _name_in_list(draft, where, model)
        _named(draft, {**match, "model": name}, _amounts(draft, f"{where}, {model}", columns))
    _add_threshold(draft, where, row)
    return amounts


def add_members(
    draft: Draft,
    rows: Iterable[Row],
    budgets: Mapping[str | None, Row],
    projects: Mapping[str | None, str],
    users: Mapping[str | None, str],
) -> None:
    """The budgets of members in a team: a limit on what the user spends in the project."""
    for row in rows:
        project, user = projects.get(row.get("team_id")), users.get(row.get("user_id"))
        budget = budgets.get(row.get("budget_id"))
        if budget is not None and project is not None and user is not None:
            match: Table = {"user": user, "project": project}
            _named(draft, match, add_limits(draft, f"member {user} of team {project}", match, budget))


def add_organizations(
    draft: Draft, rows: Iterable[Row], budgets: Mapping[str | None, Row], parts: Mapping[str | None, Sequence[Table]]
) -> None:
    """The budgets of organizations: of the only one, limits of the whole gateway; else a limit on its one part.

    Args:
        parts: What each organization is made of, by its id, as a limit matches it: teams, and keys without one. Those
            of None belong to none.
    """
    for row in rows:
        id, where = row["organization_id"], f"organization {row.get('organization_alias') or row['organization_id']}"
        budget = budgets.get(row.get("budget_id"), {})
        own = parts.get(id, ())
        if set(parts) == {id}:
            caps = add_limits(draft, where, {}, budget)
            known = draft.organisation.get("limits")
            both = dict(known) if isinstance(known, dict) else {}
            both |= {name: min(amount, both.get(name, amount)) for name, amount in caps.items()}
            draft.organisation |= {"limits": both} if both else {}
        elif len(own) == 1:
            _named(draft, own[0], add_limits(draft, where, own[0], budget))
        elif own and (caps := {**_amounts(Draft(), where, budget), **_of_models(budget)}):
            names = ", ".join(str(name) for part in own for name in part.values())
            draft.note(
                f"{where}: its limits ({', '.join(caps)}) are for {names} together, and no limit here spans them: give"
                " each a share of them, or put the keys into one project with these limits."
            )


def is_among(patterns: Iterable[str], model: str) -> bool:
    """Whether one of the patterns matches the model."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def number(text: str | None) -> Decimal | None:
    """A column's number."""
    try:
        found = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


def members_of(text: str | None) -> Mapping[str, object]:
    """A JSON object's members with a value; of anything else, none."""
    found = json.loads(text) if text else {}
    return {name: value for name, value in found.items() if value} if isinstance(found, dict) else {}


def _named(draft: Draft, match: Table, amounts: Table) -> None:
    """Put a named limit into the draft, if it has an amount."""
    if amounts:
        draft.limits[draft.label_for(" ".join(map(str, match.values())), draft.limits)] = {"match": match, **amounts}


def _amounts(draft: Draft, where: str, row: Row) -> Table:
    found: Table = {}
    for budget, duration in _budgets(row):
        limit = limit_of(draft, where, budget, duration)
        if limit is not None and (limit[0] not in found or limit[1] < Decimal(str(found[limit[0]]))):
            found[limit[0]] = limit[1]
    for ours, theirs in RATES.items():
        if (rate := number(row.get(theirs))) is not None and 0 < rate <= MOST_A_MINUTE:
            found[ours] = int(rate)
        elif rate is not None:
            draft.note(f"{where}: its {theirs} of {rate:f} is left out{'; disable the key' if rate <= 0 else ''}.")
    return found


def _budgets(row: Row) -> Iterator[tuple[Decimal, str | None]]:
    """Amounts and durations: the one budget of its own columns, and those of several windows."""
    if (budget := number(row.get("max_budget"))) is not None:
        yield budget, row.get("budget_duration")
    several = json.loads(row.get("budget_limits") or "null")
    for one in several if isinstance(several, list) else ():
        if isinstance(one, dict) and (budget := number(str(one.get("max_budget")))) is not None:
            yield budget, str(one["budget_duration"]) if one.get("budget_duration") else None


def _of_models(row: Row) -> dict[str, dict[str, str | None]]:
    """The budgets and rates of single models, in the columns that they have for an owner, by model."""
    metadata = members_of(row.get("metadata"))
    found: dict[str, dict[str, str | None]] = {}
    for model, given in {
        **object_of(metadata.get("model_max_budget")),
        **members_of(row.get("model_max_budget")),
    }.items():
        one = object_of(given) or {"max_budget": given}
        found[model] = {
            name: str(value)
            for name, other in (("max_budget", "budget_limit"), ("budget_duration", "time_period"))
            if (value := one.get(name, one.get(other))) is not None
        }
        found[model] |= {name: str(one[name]) for name in RATES.values() if one.get(name) is not None}
    for theirs in RATES.values():
        for model, rate in object_of(metadata.get(f"model_{theirs}")).items():
            found.setdefault(model, {})[theirs] = str(rate)
    return found


def _name_in_list(draft: Draft, where: str, model: str) -> str:
    """The model's name in `model_list`: a budget there may name the provider too."""
    without_provider = model.partition("/")[2]
    if draft.models and not is_among(draft.models, model):
        if without_provider and is_among(draft.models, without_provider):
            return without_provider
        draft.note(f"{where}: its budget for {model} counts nothing, because that model is not in model_list.")
    return model


def _add_threshold(draft: Draft, where: str, row: Row) -> None:
    """An alert at the share of the budget that the soft budget is."""
    soft, budget = number(row.get("soft_budget")), number(row.get("max_budget"))
    if soft is None or soft <= 0:
        return
    if budget is None or soft > budget:
        draft.note(
            f"{where}: its soft budget of ${soft:f} is left out: alerts are sent at percentages of a limit. A limit of"
            f" ${soft * 2:f} sends one when ${soft:f} is spent."
        )
        return
    share = max(1, int(100 * soft / budget))
    known = draft.alerts.get("thresholds")
    draft.alerts["thresholds"] = sorted({share, *(known if isinstance(known, list) else THRESHOLDS)})
    webhook = "" if "webhook" in draft.alerts else ", once [alerts] has a webhook"
    draft.note(
        f"{where}: its soft budget of ${soft:f} is an alert at {share} % of its limit{webhook}; alerts.thresholds are"
        " those of every limit."
    )
