"""`paig apply` and `paig export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paig_client.cli.options import JsonOption, Profile, Url, Yes, confirm, connected, text_of
from paig_client.cli.output import plain, print_json, say, when

if TYPE_CHECKING:
    from paig_client.admin import Change, Plan
    from paig_client.api.resources import AuditEntry


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", allow_dash=True, help="A paig.toml; - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete objects that the file does not name.")] = False,
    yes: Yes = False,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Configure the gateway as a paig.toml says.

    Shows what changes, and makes all changes or none. References are read on the gateway's machine.
    """
    text = text_of(file)
    with connected(url, profile) as admin, _located("paig.toml" if str(file) == "-" else str(file)):
        plan = shown = admin.apply(text, dry_run=True, prune=prune)
        for warning in plan.warnings:
            say(f"Note: {warning}")
        if not json:
            _show(plan)
        if not dry_run and plan.items:
            gone = [step.name for step in plan.items if step.action == "delete"]
            if gone:
                confirm(f"Delete {', '.join(gone)}?", yes)
            plan = admin.apply(text, prune=prune)
            if not json:
                if plan.items != shown.items:
                    say("The gateway changed after the plan was shown. These changes were made:")
                    _show(plan)
                _done(plan)
    if json:
        print_json(plan)


def export(url: Url = None, profile: Profile = None) -> None:
    """Print the gateway's configuration as a paig.toml.

    Secrets are references in it. Applying it to this gateway changes nothing.
    """
    with connected(url, profile) as admin:
        print(admin.export(), end="")


@contextmanager
def _located(file: str) -> Iterator[None]:
    """Print each error of the file as `FILE:LINE: MESSAGE`, which editors can jump to.

    Raises:
        typer.Exit: The file has an error.
    """
    from paig_client.admin import Invalid

    try:
        yield
    except Invalid as error:
        if not error.fields:
            raise
        for field, message in error.fields:
            line = field.removeprefix("config line ")
            say(f"{file}:{line}: {message}" if line != field else f"{field}: {message}")
        raise typer.Exit(1) from None


def _show(plan: Plan) -> None:
    """Print each object with its changed fields, then the changes by hand that stay."""
    if not plan.items:
        say("Nothing to change.")
    by_hand = {(entry.kind, entry.name): entry for entry in plan.drift}
    for step in plan.items:
        sign = {"create": "+", "change": "~", "delete": "-"}.get(step.action, step.action)
        print(plain(f"{sign} {step.kind} {step.name}"))
        if step.action != "delete":
            for line in _fields(step):
                print(plain(f"    {line}"))
        if (entry := by_hand.pop((step.kind, step.name), None)) is not None:
            print(plain(f"    {_by_hand(entry)}"))
    for entry in by_hand.values():
        print(plain(f"? {entry.kind} {entry.name}"))
        print(plain(f"    {_by_hand(entry)}; the file does not name it"))


def _fields(step: Change) -> Iterator[str]:
    """The change of each field; of a table, the changes of the fields in it."""
    for name, (before, after) in step.changes.items():
        if isinstance(before or after, dict) and isinstance(after or before, dict):
            was, becomes = before or {}, after or {}
            for inner in {**was, **becomes}:
                if was.get(inner) != becomes.get(inner):
                    yield _field(f"{name}.{inner}", was.get(inner), becomes.get(inner))
        else:
            yield _field(name, before, after)


def _field(name: str, before: Any, after: Any) -> str:
    return f"{name}: {_value(after)}" if before is None else f"{name}: {_value(before)} → {_value(after)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "nothing"
    if isinstance(value, dict):
        return " ".join(f"{name}={_value(inner)}" for name, inner in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _by_hand(entry: AuditEntry) -> str:
    verb = {"create": "made", "update": "changed", "delete": "deleted"}.get(entry.action, entry.action)
    return f"{verb} by hand since the last apply, by {entry.actor} at {when(entry.time)}"


def _done(plan: Plan) -> None:
    say(f"Applied: {len(plan.items)} change{'s' if len(plan.items) != 1 else ''}.")
    for key in plan.keys:
        say(f"The key {key.name}, shown once: only its hash is stored.")
        print(plain(key.key))
