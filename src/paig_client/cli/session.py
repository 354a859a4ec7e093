"""`paig login`, `logout` and `status`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from paig_client.addresses import is_loopback
from paig_client.cli.limits import print_limits
from paig_client.cli.options import JsonOption, Profile, Url, confirm, holding_key, secret_input
from paig_client.cli.output import print_facts, print_json, print_table, say, usd
from paig_client.cli.sso import end_personal_key, end_session, sign_on
from paig_client.cli.values import did_you_mean

if TYPE_CHECKING:
    from paig_client.api.resources import Health, Me
    from paig_client.credentials import Found

SecretStore = Literal["keyring", "file"]


def login(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="The gateway's address.", show_default=False)] = None,
    profile: Profile = None,
    admin: Annotated[bool, typer.Option("--admin", help="Store an admin token, not a key.")] = False,
    sso: Annotated[bool, typer.Option("--sso", help="Log in at your identity provider, in a browser.")] = False,
    place: Annotated[SecretStore, typer.Option("--store", help="file: unencrypted, readable only by you.")] = "keyring",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check with the gateway that it is accepted.")
    ] = True,
) -> None:
    """Store a key for a gateway.

    It is asked for, or read from standard input. With --sso you get a key of your own, where your group has one, and an
    admin token, where your group has a role.
    """
    from paig_client import credentials, profiles

    root = credentials.find_root(url, profile).value
    if root.startswith("http://") and not is_loopback(root):
        say(f"Warning: {root} is not encrypted. Everyone on the way to it can read the secret.")
        if sys.stdin.isatty():
            confirm("Store a secret for it all the same?", yes=False)
    if sso:
        from paig_client import personal_key

        state = sign_on(root)
        personal_key.keep(root, state, place)
        found = [(state.token, "an admin token"), (state.key, "your key")]
        stored = " and ".join(what for secret, what in found if secret is not None)
    else:
        secret = secret_input("Admin token" if admin else "Gateway key")
        if check:
            _check(root, secret, admin)
        profiles.put(root, "admin" if admin else "key", secret, place)
        stored = "the admin token" if admin else "the key"
    contents = profiles.read()
    contents.profiles[profile or credentials.DEFAULT_PROFILE] = root
    profiles.write(contents)
    where = "the keyring" if place == "keyring" else f"{profiles.path()}, unencrypted"
    say(f"Stored {stored} for {root} in {where}.")


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
        raise CredentialError(f"The gateway does not accept this key ({refusal.code}): {refusal.message}")


def logout(profile: Profile = None) -> None:
    """Remove a profile, and the secrets stored for it.

    Its gateway's secrets stay if another profile names that gateway. A login by --sso ends.
    """
    from paig_client import credentials, profiles

    name = profile or credentials.DEFAULT_PROFILE
    contents = profiles.read()
    root = contents.profiles.pop(name, None)
    if root is None:
        say(f"There is no profile {name}.{did_you_mean(name, contents.profiles)}")
        raise typer.Exit(1)
    if root not in contents.profiles.values():
        if (token := profiles.get(root, "admin")) is not None:
            end_session(root, token[0])
        end_personal_key(root)
        profiles.remove(root)
        contents.secrets.pop(root, None)
    profiles.write(contents)
    say(f"Removed the profile {name} and the secrets stored for {root}.")


def status(json: JsonOption = False, url: Url = None, profile: Profile = None) -> None:
    """Show which gateway the commands use, and whether it answers.

    Also where each value comes from, and where the gateway of PAIG_HOME listens, or why it does not run.
    """
    from paig_client import credentials, profiles
    from paig_client.cli.probe import Unreachable, alive, key_refusal
    from paig_client.listener import gateways

    where = credentials.find_root(url, profile)
    key, key_trouble = _look(lambda: credentials.find_key(where.value, None, profile))
    token, token_trouble = _look(lambda: credentials.find_admin_token(where.value))
    facts: dict[str, object] = {"url": where.value, "url_source": where.source, "reachable": True}
    health: Health | None = None
    try:
        alive(where.value)
        refusal = key_refusal(where.value, key.value) if key else None
        key_state = "none" if key is None else refusal.code if refusal else "accepted"
        health, token_state, token_trouble = _health(where, token, token_trouble)
    except Unreachable as error:
        facts |= {"reachable": False, "trouble": str(error)}
        key_state = token_state = "not checked"
    facts["key"] = {"source": key.source if key else key_trouble, "state": key_state}
    facts["admin_token"] = {"source": token.source if token else token_trouble, "state": token_state}
    facts["gateway"] = health
    here = gateways()
    trouble = None if here or facts["reachable"] or not is_loopback(where.value) else _diagnosis()
    facts["home"] = {"path": str(profiles.home()), "gateways": here, "problem": trouble}
    me = _me(url, profile) if key_state == "accepted" and token is None else None
    if me is not None:
        facts["me"] = me
    if json:
        print_json(facts)
    else:
        rows = [
            ("gateway", where.value, where.source),
            ("key", key_state, key.source if key else key_trouble or "run `paig login`"),
            ("admin token", token_state, token.source if token else token_trouble or "run `paig login --admin`"),
        ]
        if health:
            nodes = f"{health.nodes} node{'s' if health.nodes != 1 else ''}"
            about = f"{health.version}, {health.database}, {nodes}, up {_age(health.started_at)}"
            rows.insert(1, ("state", health.status, about))
            if health.prices:
                rows.insert(
                    2, ("prices", _price_age(health.prices_refreshed_at, health.prices_installed_at), health.prices)
                )
        home = str(profiles.home())
        rows += [("PAIG_HOME", one.url, f"{home}, process {one.pid}, up {_age(one.since)}") for one in here]
        if not here:
            rows.append(("PAIG_HOME", "no gateway runs", home))
        print_table(["", "", "from"], rows)
        if me is not None:
            print()
            print_facts({"spent today": usd(me.spent_today), "requests today": f"{me.requests_today:,}"})
            print_limits(me.limits)
        if token_state == "not sent":
            say(f"The admin token was not sent: {token_trouble}")
    if not facts["reachable"]:
        say(f"paig: {facts['trouble']}")
        for one in here:
            say(f"The gateway of {profiles.home()} listens at {one.url}: use --url {one.url}, or set PAIG_URL.")
        if trouble:
            say(f"It cannot start with {profiles.home()}: {trouble}")
        elif not here and is_loopback(where.value):
            say("Start it with `paig serve`; its log says why if it ends.")
        raise typer.Exit(3)


def _me(url: str | None, profile: str | None) -> Me | None:
    """What the key's holder sees of itself; None at a gateway that is too old to say."""
    from paig_client.admin import AdminError

    try:
        with holding_key(url, profile) as client:
            return client.me()
    except AdminError:
        return None


def _diagnosis() -> str | None:
    """Why a gateway could not start here; None if nothing is wrong, or the gateway is not installed here."""
    from paig_client import profiles

    if not profiles.home().exists():
        return None
    try:
        from paig_gateway.diagnosis import problem
    except ImportError:
        return None
    return problem()


def _age(since: datetime) -> str:
    minutes = int((datetime.now(UTC) - since).total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


def _price_age(refreshed_at: datetime | None, installed_at: datetime | None) -> str:
    """How old the price book is."""
    if refreshed_at is None:
        days = (datetime.now(UTC) - installed_at).days if installed_at else 0
        return f"installed {days} days ago" if days > 1 else "as installed"
    minutes = int((datetime.now(UTC) - refreshed_at).total_seconds() // 60)
    return f"{minutes} min old" if minutes < 120 else f"{minutes // 60} h old"


def _look(find: Callable[[], Found | None]) -> tuple[Found | None, str | None]:
    from paig_client.credentials import CredentialError

    try:
        return find(), None
    except CredentialError as error:
        return None, str(error)


def _health(where: Found, token: Found | None, trouble: str | None) -> tuple[Health | None, str, str | None]:
    """The gateway's own state, the state of the admin token, and what is wrong with it."""
    from paig_client.admin import AdminClient, Refused
    from paig_client.credentials import Access, CredentialError
    from paig_client.listener import check
    from paig_client.tls import verification

    if token is None:
        return None, "none", trouble
    try:
        check(Access(where, token))
        with AdminClient(where.value, token=token.value, verify=verification(where.value)) as admin:
            return admin.health(), "accepted", None
    except CredentialError as error:
        return None, "not sent", str(error)
    except Refused as error:
        return None, error.problem.code, None
