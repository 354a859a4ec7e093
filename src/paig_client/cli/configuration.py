"""`paig apply` and `paig export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paig_client.cli.options import Json, Profile, Url, Yes, confirm, connected
from paig_client.cli.output import plain, print_json, say

if TYPE_CHECKING:
    from paig_client.admin import Change, Plan


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", allow_dash=True, help="A paig.toml; - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete what the file does not name.")] = False,
    yes: Yes = False,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Bring the gateway to what a file says, in one transaction. References are looked up where the gateway runs."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from None
    with connected(url, profile) as admin:
        plan = admin.apply(text, dry_run=True, prune=prune)
        if not json:
            _show(plan)
        if not dry_run and plan.items:
            gone = [step.name for step in plan.items if step.action == "delete"]
            if gone:
                confirm(f"Delete {', '.join(gone)}?", yes)
            plan = admin.apply(text, prune=prune)
            if not json:
                _done(plan)
    if json:
        print_json(plan)


def export(url: Url = None, profile: Profile = None) -> None:
    """Print a file that, applied to this gateway, changes nothing; secrets stand as references."""
    with connected(url, profile) as admin:
        print(admin.export(), end="")


def _show(plan: Plan) -> None:
    if not plan.items:
        say("Nothing to change.")
    for step in plan.items:
        print(plain(_line(step)))


def _line(step: Change) -> str:
    sign = {"create": "+", "change": "~", "delete": "-"}.get(step.action, step.action)
    fields = [f"{name}: {_value(before)} → {_value(after)}" for name, (before, after) in step.changes.items()]
    return f"{sign} {step.kind} {step.name}" + (f"  ({'; '.join(fields)})" if fields and sign == "~" else "")


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _done(plan: Plan) -> None:
    say(f"Applied: {len(plan.items)} change{'s' if len(plan.items) != 1 else ''}.")
    for key in plan.keys:
        say(f"The key {key.name}, shown once: only its hash is stored.")
        print(plain(key.key))
