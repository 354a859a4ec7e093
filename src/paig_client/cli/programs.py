"""`paig env`, `run` and `setup`: other programs, pointed at the gateway."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from paig_client.cli.completion import clients, set_up
from paig_client.cli.options import JsonOption, Profile, Url, Yes, confirm
from paig_client.cli.output import plain, print_json, say
from paig_client.cli.values import did_you_mean

if TYPE_CHECKING:
    from paig_client.credentials import Access

Shell = Literal["sh", "fish", "csh", "powershell", "cmd", "dotenv"]
Client = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        metavar="CLIENT",
        help="Also set the variables of this client, such as openai; repeat.",
        autocompletion=clients,
    ),
]


def env(
    shell: Annotated[Shell, typer.Option("--shell", help="The format to print.")] = "sh",
    client: Client = None,
    json: JsonOption = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Print what to put in the environment, key included.

    As in `eval "$(paig env)"`, in fish `paig env --shell fish | source`. In JSON, null stands for a variable to unset.
    """
    from paig_client.environment import CLIENTS

    names = _known(client)
    for name in names:
        if CLIENTS[name].arguments("") or CLIENTS[name].file:
            say(f"! {CLIENTS[name].title} also reads its own settings: only `paig run` overrides them.")
        if not any(CLIENTS[name].variables("", "").values()):
            program = CLIENTS[name].programs[0]
            raise typer.BadParameter(
                f"{CLIENTS[name].title} does not read its address from the environment: use `paig run -- {program}`",
                param_hint="--for",
            )
    changes = _variables(names, _access(url, profile, names))
    if json:
        return print_json(changes)
    for name, value in changes.items():
        print(_assignment(shell, name, value))


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command to run, after --.")],
    client: Client = None,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Run a command with the gateway in its environment.

    Clients that are known by name, such as claude, need no --for. The exit code is the command's.
    """
    from paig_client.environment import BY_PROGRAM, CLIENTS, arguments

    names = _known(client)
    program_name = Path(command[0]).stem
    own = [name for name in names if CLIENTS[name].title.startswith(_title(program_name))] if names else []
    if program_name in BY_PROGRAM and not own:
        own = [BY_PROGRAM[program_name]]
        names = [*names, *own]  # last, so that variables that it must not see are unset
    for name in names:
        if name not in own and CLIENTS[name].arguments(""):
            say(f"! {command[0]} is not known as {CLIENTS[name].title}, so its options were not added.")
    program = shutil.which(command[0])
    if program is None:
        say(f"paig: there is no command {command[0]}")
        raise typer.Exit(127)
    access = _access(url, profile, names)
    for name in names:
        _warn_of_project(name, access.root.value, overridden=name in own)
    changes = _variables(names, access)
    environment = {name: value for name, value in os.environ.items() if name not in changes}
    environment |= {name: value for name, value in changes.items() if value is not None}
    words = [command[0], *arguments(access.base_url, own, _folder()), *command[1:]]
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(program, words, environment)
    raise typer.Exit(subprocess.run([program, *words[1:]], env=environment, check=False).returncode)


def setup(
    client: Annotated[
        str, typer.Argument(metavar="CLIENT", help="Such as claude-code or codex.", autocompletion=set_up)
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Restore its files.")] = False,
    yes: Yes = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Write the gateway into a client's own settings.

    Shows the change, asks, and can undo it. The key is written to the file, which only you can read.
    """
    from paig_client.setup import SETUPS, SetupError, plan, restore

    if client not in SETUPS:
        raise typer.BadParameter(
            f"{client!r} has no settings to write.{did_you_mean(client, SETUPS)} Clients: {', '.join(SETUPS)}"
        )
    try:
        if undo:
            for path in restore(client, _folder()):
                say(f"Restored {path}.")
            return
        access = _access(url, profile, [client])
        changes = plan(client, access.base_url, access.secret.value, _folder())
        _warn_of_project(client, access.root.value)
        if not changes.files:
            return say(f"{SETUPS[client].title} is set up already.")
        for line in changes.diff():
            print(plain(line))
        confirm("Write this?", yes)
        changes.write()
    except SetupError as error:
        say(f"paig: {error}")
        raise typer.Exit(1) from None
    say(f"Wrote {', '.join(map(str, changes.files))}. `paig setup {client} --undo` restores it.")


def _warn_of_project(client: str, gateway: str, *, overridden: bool = False) -> None:
    """Say which settings of the project here win over the gateway's, unless `paig run` has overridden them."""
    from paig_client.environment import CLIENTS
    from paig_client.project_files import overriding_settings
    from paig_client.setup import SETUPS

    title = CLIENTS[client].title if client in CLIENTS else SETUPS[client].title
    program = next(iter(CLIENTS[client].programs), None) if client in CLIENTS else None
    advice = f"what {title} is given here: remove it{f', or use `paig run -- {program}`' if program else ''}"
    if overridden:
        advice = f"the gateway's settings when {title} is started without `paig run`"
    for found in overriding_settings(client, gateway, Path.cwd(), Path.home()):
        say(f"! {found.path} has {found.name}, which wins over {advice}.")


def _title(program: str) -> str:
    """How the titles of a program's clients begin; for `claude` there are several modes."""
    from paig_client.environment import BY_PROGRAM, CLIENTS

    return CLIENTS[BY_PROGRAM[program]].title if program in BY_PROGRAM else "\0"


def _known(names: list[str] | None) -> list[str]:
    """The clients that `--for` names.

    Raises:
        typer.BadParameter: One is not known.
    """
    from paig_client.environment import CLIENTS
    from paig_client.setup import SETUPS

    for name in names or ():
        if name not in CLIENTS:
            if name in SETUPS:
                raise typer.BadParameter(
                    f"{SETUPS[name].title} reads its address from a file: run `paig setup {name}`", param_hint="--for"
                )
            raise typer.BadParameter(
                f"{name!r} is not a known client.{did_you_mean(name, CLIENTS)} Clients: {', '.join(sorted(CLIENTS))}",
                param_hint="--for",
            )
    return list(names or ())


def _access(url: str | None, profile: str | None, names: list[str]) -> Access:
    """The gateway and the key for these clients; a personal key is renewed."""
    from paig_client import personal_key, tls
    from paig_client.admin import GatewayUnreachable
    from paig_client.credentials import resolve
    from paig_client.environment import BY_NAME

    access = resolve(base_url=url, profile=profile)
    try:
        personal_key.renew(access)
    except GatewayUnreachable as error:
        say(f"! Your key was not renewed: {error}")
    if BY_NAME.isdisjoint(names):
        return access
    return replace(access, root=replace(access.root, value=tls.by_name(access.root.value)))


def _folder() -> Path:
    """Where files for clients are kept."""
    from paig_client.profiles import home

    return home() / "clients"


def _variables(names: list[str], access: Access) -> dict[str, str | None]:
    from paig_client.environment import TRUST, variables, write_files
    from paig_client.tls import bundle

    found = variables(access.base_url, access.secret.value, names)
    found |= write_files(access.base_url, names, _folder())
    if (trust := bundle(access.root.value)) is not None:
        found |= dict.fromkeys(TRUST, str(trust))
    return found


def _assignment(shell: Shell, name: str, value: str | None) -> str:
    syntax = SHELLS[shell]
    return syntax.unset.format(name) if value is None else syntax.set.format(name, syntax.quote(value))


def _single(escape: Mapping[str, str]) -> Callable[[str], str]:
    """A function that puts a value in single quotes, and escapes what the shell does not take literally there."""
    table = str.maketrans(dict(escape))
    return lambda value: f"'{value.translate(table)}'"


class _ShellSyntax(NamedTuple):
    """How a shell sets a variable, unsets it, and quotes a value."""

    set: str
    unset: str
    quote: Callable[[str], str] = shlex.quote


POWERSHELL_QUOTES = "'\u2018\u2019\u201a\u201b"
"""Each of them ends a text in single quotes."""
SHELLS: Mapping[Shell, _ShellSyntax] = {
    "sh": _ShellSyntax("export {}={}", "unset {}"),
    "fish": _ShellSyntax("set -gx {} {};", "set -e {};", _single({"\\": "\\\\", "'": "\\'"})),
    "csh": _ShellSyntax("setenv {} {};", "unsetenv {};", _single({"'": "'\\''", "!": "\\!"})),
    "powershell": _ShellSyntax(
        "$env:{} = {}",
        "Remove-Item Env:{} -ErrorAction Ignore",
        _single({mark: mark * 2 for mark in POWERSHELL_QUOTES}),
    ),
    "cmd": _ShellSyntax('set "{}={}"', 'set "{}="', str),
    "dotenv": _ShellSyntax("{}={}", "{}=''"),
}
"""By what `--shell` takes."""
