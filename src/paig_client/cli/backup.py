"""`paig backup` and `paig restore`: the gateway's database and secrets, in one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from paig_client.cli.options import JsonOption, Yes, confirm, extra
from paig_client.cli.output import print_json, say


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist.")],
    secrets_only: Annotated[
        bool, typer.Option("--secrets-only", help="Only the secret key and the admin token, for use with pg_dump.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write database and secrets to one file.

    Works on PAIG_HOME and the database directly, while the gateway runs. Every credential can be read from the file.
    """
    with extra("gateway"):
        from paig_gateway.backup import BackupError, write
    try:
        made = write(file, secrets_only=secrets_only)
    except BackupError as error:
        say(f"paig: {error}")
        raise typer.Exit(1) from None
    if json:
        return print_json(made)
    tables = f"{sum(made['rows'].values()):,} rows of {len(made['rows'])} tables, " if made["rows"] else ""
    say(f"Wrote {file}: {tables}{', '.join(made['secrets'])}. Keep it as safe as the credentials in it.")


def restore(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A file that `paig backup` wrote.")
    ],
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", metavar="URL", help="The empty database. Default: PAIG_DATABASE_URL."),
    ] = None,
    yes: Yes = False,
    json: JsonOption = False,
) -> None:
    """Restore a backup into an empty PAIG_HOME and database.

    The database may be of another kind than the backup's: this moves a gateway from SQLite to PostgreSQL, and back.
    Nothing that exists is overwritten. Stop the gateway first.
    """
    with extra("gateway"):
        from paig_gateway.backup import BackupError, manifest
        from paig_gateway.backup import restore as restore_from
    from paig_client.own_gateway import running

    if addresses := running():
        say(f"paig: a gateway runs with this PAIG_HOME at {', '.join(addresses)}: stop it before you restore")
        raise typer.Exit(1)
    if database_url is not None and re.search(r"://[^/@]*:[^/@]+@", database_url):
        raise typer.BadParameter(
            "other users of this machine can see a password in an argument: set PAIG_DATABASE_URL instead",
            param_hint="'--database-url'",
        )
    try:
        made = manifest(file)
        confirm(f"Restore the backup of {made['time']} (paig {made['version']})?", yes)
        restore_from(file, database_url)
    except BackupError as error:
        say(f"paig: {error}")
        raise typer.Exit(1) from None
    if json:
        return print_json(made)
    start = f"PAIG_DATABASE_URL='{database_url}' paig serve" if database_url else "paig serve"
    say(f"Restored {sum(made['rows'].values()):,} rows, {', '.join(made['secrets'])}. Start the gateway: {start}")
