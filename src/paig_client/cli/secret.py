"""`paig secret`: the gateway's secret key."""

from __future__ import annotations

from typing import Annotated

import typer

from paig_client.cli.commands import PaigTyper
from paig_client.cli.options import JsonOption, Yes, confirm, extra
from paig_client.cli.output import print_json, say

app = PaigTyper(no_args_is_help=True, help="The secret key, which encrypts stored credentials.")


@app.callback()
def group() -> None:
    """The key that seals the gateway's credentials."""


@app.command(example="paig secret rotate")
def rotate(
    finish: Annotated[
        bool, typer.Option("--finish", help="Drop the old key, after every gateway was started with the new one.")
    ] = False,
) -> None:
    """Encrypt everything with a new secret key.

    Works on PAIG_HOME and the database directly, while gateways run; the old key is readable until --finish. Where
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


@app.command(example="paig secret reset --yes")
def reset(yes: Yes = False, json: JsonOption = False) -> None:
    """Make a new secret key after the old one was lost.

    Works on PAIG_HOME and the database directly; stop every gateway first. Stored credentials that cannot be decrypted
    are lost: set them again afterwards. Keys, tokens, limits and the ledger stay.
    """
    with extra("gateway"):
        from paig_gateway.database.engine import DatabaseError
        from paig_gateway.secret_rotation import reset
        from paig_gateway.secrets.errors import SecretsError
    from paig_client.own_gateway import running

    if addresses := running():
        say(f"paig: a gateway runs with this PAIG_HOME at {', '.join(addresses)}: stop it first")
        raise typer.Exit(1)
    confirm("Give up every stored credential that cannot be decrypted? A backup of the lost key would save them.", yes)
    try:
        done = reset()
    except (SecretsError, DatabaseError) as error:
        say(f"paig: {error}")
        raise typer.Exit(1) from None
    if json:
        return print_json({"lost_credentials": done.providers, "secret_key": done.key})
    if done.providers is None:
        return say("The secret key opens everything, so nothing was changed.")
    say(f"The new secret key is in {done.key}. Back it up: paig backup FILE --secrets-only")
    for name in done.providers:
        say(f"The credential of {name} must be given again: paig providers update {name} --credential -")
    say("Keys, admin tokens, limits and the ledger are as before; browsers must log in again. The audit log says so.")
