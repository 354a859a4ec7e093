"""`paig login`, `logout`, `status`, `env` and `run`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from paig_client.addresses import is_loopback
from paig_client.cli.completion import clients
from paig_client.cli.options import Json, Profile, Url, secret_input
from paig_client.cli.output import print_json, print_table, say
from paig_client.cli.sso import end_session, sign_on

if TYPE_CHECKING:
    from paig_client.api.resources import Health
    from paig_client.credentials import Found

Place = Literal["keyring", "file"]
Shell = Literal["sh", "fish", "powershell", "cmd", "dotenv"]
Client = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        metavar="CLIENT",
        help="Also set what this client reads, such as openai; repeat.",
        autocompletion=clients,
    ),
]


def login(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="The gateway's address.", show_default=False)] = None,
    profile: Profile = None,
    admin: Annotated[bool, typer.Option("--admin", help="Store an admin token, not a key.")] = False,
    sso: Annotated[bool, typer.Option("--sso", help="Get an admin token by single sign-on, in a browser.")] = False,
    place: Annotated[Place, typer.Option("--store", help="file: unencrypted, readable by you alone.")] = "keyring",
    check: Annotated[bool, typer.Option("--check/--no-check", help="Ask the gateway whether it takes it.")] = True,
) -> None:
    """Store a key for a gateway.

    It is asked for, or read from standard input.
    """
    from paig_client import credentials, profiles

    root = credentials.find_admin_root(url, profile).value
    if root.startswith("http://") and not is_loopback(root):
        say(f"Beware: {root} is not encrypted; whoever is on the way can read the secret.")
    admin = admin or sso
    secret = sign_on(root) if sso else secret_input("Admin token" if admin else "Gateway key")
    if check and not sso:
        _check(root, secret, admin)
    profiles.put(root, "admin" if admin else "key", secret, place)
    contents = profiles.read()
    contents.profiles[profile or credentials.DEFAULT_PROFILE] = root
    profiles.write(contents)
    where = "the keyring" if place == "keyring" else f"{profiles.path()}, unencrypted"
    say(f"Stored the {'admin token' if admin else 'key'} for {root} in {where}.")


def _check(root: str, secret: str, admin: bool) -> None:
    from paig_client.admin import AdminClient, GatewayUnreachable
    from paig_client.cli.probe import Unreachable, key_refusal
    from paig_client.credentials import CredentialError
    from paig_client.tls import verification

    if admin:
        with AdminClient(root, token=secret, verify=verification(root)) as client:
            client.whoami()
        return
    try:
        refusal = key_refusal(root, secret)
    except Unreachable as error:
        raise GatewayUnreachable(root, str(error)) from error
    if refusal is not None:
        raise CredentialError(f"The gateway does not take this key ({refusal.code}): {refusal.message}")


def logout(profile: Profile = None) -> None:
    """Forget a profile, and the secrets stored for it.

    Those of its gateway go if no other profile means it; a login by --sso ends.
    """
    from paig_client import credentials, profiles

    name = profile or credentials.DEFAULT_PROFILE
    contents = profiles.read()
    root = contents.profiles.pop(name, None)
    if root is None:
        say(f"There is no profile {name}.")
        raise typer.Exit(1)
    if root not in contents.profiles.values():
        if (token := profiles.get(root, "admin")) is not None:
            end_session(root, token[0])
        profiles.remove(root)
        contents.secrets.pop(root, None)
    profiles.write(contents)
    say(f"Forgot the profile {name} and what was stored for {root}.")


def status(json: Json = False, url: Url = None, profile: Profile = None) -> None:
    """Say which gateway is used, and whether it answers.

    Also where each value comes from.
    """
    from paig_client import credentials
    from paig_client.cli.probe import Unreachable, alive, key_refusal

    where = credentials.find_root(url, profile)
    key, key_trouble = _look(lambda: credentials.find_key(where.value, None, profile))
    token, token_trouble = _look(lambda: credentials.find_admin_token(where.value))
    facts: dict[str, object] = {"url": where.value, "url_source": where.source, "reachable": True}
    try:
        alive(where.value)
        refusal = key_refusal(where.value, key.value) if key else None
        key_state = "none" if key is None else refusal.code if refusal else "accepted"
        health, token_state = _health(where.value, token)
    except Unreachable as error:
        facts |= {"reachable": False, "trouble": str(error)}
        key_state = token_state = "not checked"
        health = None
    facts["key"] = {"source": key.source if key else key_trouble, "state": key_state}
    facts["admin_token"] = {"source": token.source if token else token_trouble, "state": token_state}
    facts["gateway"] = health
    if json:
        print_json(facts)
    else:
        rows = [
            ("gateway", where.value, where.source),
            ("key", key_state, key.source if key else key_trouble or "run `paig login`"),
            ("admin token", token_state, token.source if token else token_trouble or "run `paig login --admin`"),
        ]
        if health:
            about = f"{health.version}, {health.database}, {health.nodes} node{'s' if health.nodes != 1 else ''}"
            rows.insert(1, ("state", health.status, about))
        print_table(["", "", "from"], rows, empty="")
    if not facts["reachable"]:
        say(f"paig: {facts['trouble']}")
        raise typer.Exit(3)


def _look(find: Callable[[], Found | None]) -> tuple[Found | None, str | None]:
    from paig_client.credentials import CredentialError

    try:
        return find(), None
    except CredentialError as error:
        return None, str(error)


def _health(root: str, token: Found | None) -> tuple[Health | None, str]:
    from paig_client.admin import AdminClient, Refused
    from paig_client.tls import verification

    if token is None:
        return None, "none"
    try:
        with AdminClient(root, token=token.value, verify=verification(root)) as admin:
            return admin.health(), "accepted"
    except Refused as error:
        return None, error.problem.code


def env(
    shell: Annotated[Shell, typer.Option("--shell", help="In which language.")] = "sh",
    client: Client = None,
    json: Json = False,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Print what to put in the environment, key included.

    As in `eval "$(paig env)"`. In JSON, null is to be unset.
    """
    changes = _variables(client, url, profile)
    if json:
        return print_json(changes)
    for name, value in changes.items():
        print(_assignment(shell, name, value))


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="What to run, after --.")],
    client: Client = None,
    url: Url = None,
    profile: Profile = None,
) -> None:
    """Run a command with the gateway in its environment.

    Its exit code is ours.
    """
    changes = _variables(client, url, profile)
    environment = {name: value for name, value in os.environ.items() if name not in changes}
    environment |= {name: value for name, value in changes.items() if value is not None}
    program = shutil.which(command[0])
    if program is None:
        say(f"paig: there is no command {command[0]}")
        raise typer.Exit(127)
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(program, command, environment)
    raise typer.Exit(subprocess.run([program, *command[1:]], env=environment, check=False).returncode)


def _variables(clients: list[str] | None, url: str | None, profile: str | None) -> dict[str, str | None]:
    from paig_client.credentials import resolve
    from paig_client.environment import CLIENTS, TRUST, variables
    from paig_client.tls import bundle

    for name in clients or ():
        if name not in CLIENTS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(sorted(CLIENTS))}", param_hint="--for")
    access = resolve(base_url=url, profile=profile)
    found = variables(access.base_url, access.secret.value, tuple(clients or ()))
    if (trust := bundle(access.root.value)) is not None:
        found |= dict.fromkeys(TRUST, str(trust))
    return found


def _assignment(shell: Shell, name: str, value: str | None) -> str:
    if shell == "fish":
        return f"set -e {name};" if value is None else f"set -gx {name} {shlex.quote(value)};"
    if shell == "powershell":
        return f"Remove-Item Env:{name} -ErrorAction Ignore" if value is None else f"$env:{name} = {_single(value)}"
    if shell == "cmd":
        return f'set "{name}={value or ""}"'
    if shell == "dotenv":
        return f"{name}={shlex.quote(value or '')}"
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _single(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
