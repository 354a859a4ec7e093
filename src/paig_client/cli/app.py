"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from paig_client.cli import (
    audit,
    backup,
    configuration,
    init,
    ledger,
    programs,
    reports,
    requests,
    server,
    session,
)
from paig_client.cli.commands import PaigTyper, lazily
from paig_client.cli.options import JsonOption

HELP = """An AI gateway whose spending caps hold.

Exit codes: 0 done, 1 refused or failed, 2 wrongly called, 3 no gateway answers, 4 no token or not allowed,
130 stopped with Ctrl-C.
"""

app = PaigTyper(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"paig {version('paig')}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of `paig` itself."""


def show_version(json: JsonOption = False) -> None:
    """Print the versions of paig, Python and the system."""
    import platform
    from importlib.metadata import version

    from paig_client.cli.output import print_json

    found = {"paig": version("paig"), "python": platform.python_version(), "system": platform.platform()}
    print_json(found) if json else print("\n".join(f"{name} {text}" for name, text in found.items()))


GATEWAY, ADMIN, LEDGER, USE = "Run a gateway", "Administer it", "Look at the ledger", "Use a gateway"

_command = app.command
_command(rich_help_panel=GATEWAY, example="paig serve --config paig.toml")(server.serve)
_command(rich_help_panel=GATEWAY, example="paig demo")(server.demo)
_command(rich_help_panel=GATEWAY, example="paig init")(init.init)
app.add_typer(init.app, name="import", rich_help_panel=GATEWAY)
_command(rich_help_panel=GATEWAY, example="paig backup paig-backup.zip")(backup.backup)
_command(rich_help_panel=GATEWAY, example="paig restore paig-backup.zip")(backup.restore)
app.add_typer(lazily("secret"), name="secret", help="The key that encrypts credentials.", rich_help_panel=GATEWAY)
_command("version", rich_help_panel=GATEWAY, example="paig version --json")(show_version)

OBJECTS = {
    "organisation": "The caps on everything together.",
    "keys": "Keys: what clients hold, and their caps.",
    "projects": "Projects that keys belong to, and their caps.",
    "users": "Users that keys belong to, and their caps.",
    "providers": "Providers: accounts upstream.",
    "routes": "Routes: groups of providers, in order and by weight.",
    "prices": "Prices of your own, in place of the price book's.",
    "admins": "Admins: who may administer the gateway, or projects of it.",
    "tokens": "Admin tokens: what admins and their programs hold.",
}
for name, text in OBJECTS.items():
    app.add_typer(lazily("objects", name), name=name, help=text, rich_help_panel=ADMIN)
app.add_typer(
    lazily("limit_commands"),
    name="limits",
    help="Limits: balances, named limits, raises, requests for more.",
    rich_help_panel=ADMIN,
)
app.add_typer(
    lazily("stored"),
    name="objects",
    help="Objects stored at providers, and their owners.",
    rich_help_panel=ADMIN,
)
_command(rich_help_panel=ADMIN, example="paig apply paig.toml --dry-run")(configuration.apply)
_command(rich_help_panel=ADMIN, example="paig export > paig.toml")(configuration.export)

_command(rich_help_panel=LEDGER, example="paig tui --read-only")(server.tui)
app.add_typer(ledger.app, name="usage", rich_help_panel=LEDGER)
app.add_typer(requests.app, name="requests", rich_help_panel=LEDGER)
app.add_typer(lazily("sessions"), name="sessions", help="Sessions of coding agents.", rich_help_panel=LEDGER)
_command(rich_help_panel=LEDGER, example="paig tail --errors --key ci")(reports.tail)
app.add_typer(audit.app, name="audit", rich_help_panel=LEDGER)

_command(rich_help_panel=USE, example="paig login https://gateway.example")(session.login)
_command(rich_help_panel=USE, example="paig logout")(session.logout)
_command(rich_help_panel=USE, example="paig status")(session.status)
_command(rich_help_panel=USE, example='eval "$(paig env --for openai)"')(programs.env)
_command(rich_help_panel=USE, example="paig run -- python app.py", context_settings={"allow_interspersed_args": False})(
    programs.run
)
_command(rich_help_panel=USE, example="paig setup claude-code")(programs.setup)
