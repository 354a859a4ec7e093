"""`paig init` and `paig import`: a first `paig.toml`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import JsonOption, Profile, Url, connected, extra, text_of
from paig_client.cli.output import print_json, say

if TYPE_CHECKING:
    from paig_client.cli.importers import Draft
    from paig_client.cli.importers.litellm_database import LitellmSpend

app = PaigTyper(no_args_is_help=True, help="Make a paig.toml from another gateway's configuration.")

HEAD = """\
All settings: docs/settings.md. References are looked up where the gateway runs.
`paig apply {file}` applies it to a running gateway; `paig serve --config {file}` starts one with it.
Caps make it safe to hand out keys, such as: [organisation] limits = {{ daily = 20 }}"""


def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", allow_dash=True, help="Where to write; - for standard output.")
    ] = Path("paig.toml"),
    json: JsonOption = False,
) -> None:
    """Write a first paig.toml from keys in the environment.

    Their names are used, never their values.
    """
    from paig_client.cli.importers import to_toml
    from paig_client.cli.importers.environment import KEYS, from_environment

    draft = from_environment(os.environ)
    if not draft.providers:
        say("There is no provider's key in the environment. These are looked for:")
        say(", ".join(names[0] for names in KEYS.values()))
        _say_notes(draft)
        raise typer.Exit(1)
    name = "paig.toml" if str(file) == "-" else str(file)
    draft.server["refresh_prices"] = True
    text = to_toml(draft, HEAD.format(file=name))
    if str(file) == "-":
        print(text, end="")
    else:
        _write(file, text)
    if json:
        print_json({"file": None if str(file) == "-" else name, "providers": draft.providers, "notes": draft.notes})
        return
    for provider, fields in draft.providers.items():
        say(f"+ provider {provider}  ({fields.get('credential') or 'the AWS credentials of the machine'})")
    _say_notes(draft)
    if str(file) != "-":
        say(f"Wrote {name}. Next: paig serve --config {name}, then paig providers test {next(iter(draft.providers))}")


@app.command("litellm", example="paig import litellm config.yaml --dump litellm.sql > paig.toml")
def import_litellm(
    file: Annotated[Path, typer.Argument(metavar="FILE", allow_dash=True, help="A config.yaml; - for standard input.")],
    dump: Annotated[
        Path | None,
        typer.Option("--dump", metavar="FILE", help="LiteLLM's database by pg_dump: keys, teams, users, budgets."),
    ] = None,
    spend: Annotated[
        bool, typer.Option("--spend", help="Count what the dump's keys have spent at the running gateway.")
    ] = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Print a paig.toml made from LiteLLM's config.yaml.

    What has no counterpart is listed, and added as comments. After `paig apply`, run it again with --spend.
    """
    from paig_client.cli.importers import to_toml
    from paig_client.cli.importers.litellm import from_litellm
    from paig_client.cli.importers.litellm_database import add_owners_and_keys, tables_of

    with extra("gateway"):
        import yaml  # type: ignore[import-untyped]
    if spend and dump is None:
        raise typer.BadParameter("needs --dump, because LiteLLM's database has what was spent", param_hint="--spend")
    source, text = file, text_of(file)
    spent: list[LitellmSpend] = []
    try:
        draft = from_litellm(yaml.safe_load(text))
        if dump is not None:
            source = dump
            spent = add_owners_and_keys(draft, tables_of(text_of(dump).split("\n")), datetime.now(UTC))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        say(f"paig: {file}:{line}: is not valid YAML: {error.problem}")
        raise typer.Exit(1) from None
    except (yaml.YAMLError, ValueError) as error:
        say(f"paig: {source}: {error}")
        raise typer.Exit(1) from None
    if spend:
        return _record(spent, url, profile)
    print(to_toml(draft, f"From LiteLLM's {file.name}.\n{HEAD.format(file='paig.toml')}"), end="")
    if draft.notes:
        say("Not carried over, or changed:")
    _say_notes(draft)
    made = {"provider": draft.providers, "route": draft.routes, "price": draft.prices}
    made |= {"project": draft.projects, "user": draft.users, "key": draft.keys} if dump is not None else {}
    made |= {"limit": draft.limits} if draft.limits else {}
    found = [(len(table), what) for what, table in made.items()]
    say("Made " + ", ".join(f"{count} {what}{'s' if count != 1 else ''}" for count, what in found) + ".")


def _record(spent: list[LitellmSpend], url: str | None, profile: str | None) -> None:
    """Count at the gateway what keys have spent elsewhere."""
    with connected(url, profile) as admin:
        for found in spent:
            row = admin.record_spent(found.key, found.amount, source=found.id, time=found.time)
            already = "" if row.cost or Decimal(0) else " (counted before)"
            say(f"{found.key}: {found.amount} USD{already}")
    say(f"Counted what {len(spent)} key{'s have' if len(spent) != 1 else ' has'} spent.")


def _write(file: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{file} exists already and is not overwritten; name another file, or -") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror}") from None


def _say_notes(draft: Draft) -> None:
    for note in draft.notes:
        say(f"! {note}")
