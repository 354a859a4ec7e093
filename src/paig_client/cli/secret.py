"""`paig secret`: the gateway's secret key."""

from __future__ import annotations

from typing import Annotated

import typer

from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import extra
from paig_client.cli.output import say

app = PaigTyper(no_args_is_help=True, help="The key that encrypts the gateway's credentials.")


@app.callback()
def group() -> None:
    """The key that seals the gateway's credentials."""


@app.command(example="paig secret rotate")
def rotate(
    finish: Annotated[
        bool, typer.Option("--finish", help="Drop the old key, after every gateway was started with the new one.")
    ] = False,
) -> None:
    """Seal everything with a new secret key.

    Works on PAIG_HOME and the database themselves, while gateways run; the old key is readable until --finish. Where
    PAIG_SECRET_KEY is set, set it to NEW,OLD first.
    """
    with extra("gateway"):
        from paig_gateway.database.engine import DatabaseError
        from paig_gateway.secret_rotation import rotate
        from paig_gateway.secrets.errors import SecretsError
    try:
        say(rotate(finish=finish))
    except (SecretsError, DatabaseError) as error:
        say(f"paig: {error}")
        raise typer.Exit(1) from None
