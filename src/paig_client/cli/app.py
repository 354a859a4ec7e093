"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from paig_client.cli import (
    access,
    configuration,
    init,
    keys,
    ledger,
    objects,
    organisation,
    prices,
    reports,
    routes,
    server,
    session,
)
from paig_client.cli.commands import Commands

HELP = """An AI gateway whose spending caps hold.

Exit codes: 0 done, 1 refused or failed, 2 wrongly called, 3 no gateway answers, 4 no token or not allowed,
130 stopped with Ctrl-C.
"""

app = Commands(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"paig {version('paig')}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What is common to all commands."""


GATEWAY, ADMIN, LEDGER, USE = "Run a gateway", "Administer it", "Look at the ledger", "Use a gateway"
app.command(rich_help_panel=GATEWAY)(server.serve)
app.command(rich_help_panel=GATEWAY)(server.demo)
app.command(rich_help_panel=GATEWAY)(init.init)
app.add_typer(init.app, name="import", rich_help_panel=GATEWAY)
app.command(rich_help_panel=LEDGER)(server.tui)
app.add_typer(organisation.app, name="organisation", rich_help_panel=ADMIN)
app.add_typer(keys.app, name="keys", rich_help_panel=ADMIN)
app.add_typer(objects.projects, name="projects", rich_help_panel=ADMIN)
app.add_typer(objects.users, name="users", rich_help_panel=ADMIN)
app.add_typer(objects.providers, name="providers", rich_help_panel=ADMIN)
app.add_typer(routes.app, name="routes", rich_help_panel=ADMIN)
app.add_typer(prices.app, name="prices", rich_help_panel=ADMIN)
app.add_typer(access.admins, name="admins", rich_help_panel=ADMIN)
app.add_typer(access.tokens, name="tokens", rich_help_panel=ADMIN)
app.command(rich_help_panel=ADMIN)(configuration.apply)
app.command(rich_help_panel=ADMIN)(configuration.export)
app.add_typer(ledger.app, name="usage", rich_help_panel=LEDGER)
app.command(rich_help_panel=LEDGER)(reports.tail)
app.command(rich_help_panel=LEDGER)(access.audit)
app.command(rich_help_panel=USE)(session.login)
app.command(rich_help_panel=USE)(session.logout)
app.command(rich_help_panel=USE)(session.status)
app.command(rich_help_panel=USE)(session.env)
app.command(rich_help_panel=USE, context_settings={"allow_interspersed_args": False})(session.run)
