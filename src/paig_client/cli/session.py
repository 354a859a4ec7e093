"""`paig login`, `logout` and `status`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from paig_client.addresses import from_here, is_loopback
from paig_client.api.vocabulary import SecretStore
from paig_client.cli.limits import print_limits
from paig_client.cli.options import JsonOption, Profile, Url, confirm, holding_key, secret_input
from paig_client.cli.output import print_facts, print_json, print_table, say, usd
from paig_client.cli.sso import end_personal_key, end_session, sign_on
from paig_client.cli.values import did_you_mean

if TYPE_CHECKING:
    from paig_client.api.resources import Health, Me
    from paig_client.credentials import Found
    from paig_client.own_gateway import Running


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
    if place == "keyring":
        from paig_client import keychain

        keychain.name()  # before a person is asked for anything: nothing can be kept without one
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
    found = _status_of(url, profile)
    if json:
        print_json(found.facts())
    else:
        _print_status(found)
    if found.unreachable is not None:
        say(f"paig: {found.unreachable}")
        for one in found.gateways:
            url = from_here(one.url)
            say(f"The gateway of {found.home} listens at {url}: use --url {url}, or set PAIG_URL.")
        if found.problem:
            say(f"It cannot start with {found.home}: {found.problem}")
        elif not found.gateways and is_loopback(found.root.value):
            say("Start it with `paig serve`; its log says why if it ends.")
        raise typer.Exit(3)


@dataclass(slots=True)
class _Status:
    """What `paig status` shows.

    Attributes:
        root: The gateway's address.
        unreachable: Why the gateway cannot be reached; None if it answers.
        key: Where the key comes from, or why it cannot be read; None if there is none.
        token: The same of the admin token.
        gateways: The gateways of this home that run.
        problem: Why none can start here.
    """

    root: Found
    home: str
    unreachable: str | None = None
    key: str | None = None
    key_state: str = "not checked"
    token: str | None = None
    token_state: str = "not checked"
    token_problem: str | None = None
    health: Health | None = None
    gateways: list[Running] = field(default_factory=list)
    problem: str | None = None
    me: Me | None = None

    def facts(self) -> dict[str, object]:
        """The same for `--json`."""
        return {
            **{"url": self.root.value, "url_source": self.root.source, "reachable": self.unreachable is None},
            **({} if self.unreachable is None else {"problem": self.unreachable}),
            "key": {"source": self.key, "state": self.key_state},
            "admin_token": {"source": self.token, "state": self.token_state},
            "gateway": self.health,
            "home": {"path": self.home, "gateways": self.gateways, "problem": self.problem},
            **({} if self.me is None else {"me": self.me}),
        }


def _status_of(url: str | None, profile: str | None) -> _Status:
    from paig_client import credentials, profiles
    from paig_client.cli.probe import Unreachable, alive, key_refusal
    from paig_client.own_gateway import gateways

    root = credentials.find_root(url, profile)
    found = _Status(root, str(profiles.home()), gateways=gateways())
    key, key_problem = _look(lambda: credentials.find_key(root.value, None, profile))
    token, token_problem = _look(lambda: credentials.find_admin_token(root.value))
    try:
        alive(root.value)
        refusal = key_refusal(root.value, key.value) if key else None
        found.key_state = "none" if key is None else refusal.code if refusal else "accepted"
        found.health, found.token_state, token_problem = _health(root, token, token_problem)
    except Unreachable as error:
        found.unreachable = str(error)
    found.key = key.source if key else key_problem
    found.token = token.source if token else token_problem
    found.token_problem = token_problem
    if not found.gateways and found.unreachable is not None and is_loopback(root.value):
        found.problem = _diagnosis()
    if found.key_state == "accepted" and token is None:
        found.me = _me(url, profile)
    return found


def _print_status(found: _Status) -> None:
    rows = [("gateway", found.root.value, found.root.source)]
    if health := found.health:
        nodes = f"{health.nodes} node{'s' if health.nodes != 1 else ''}"
        about = f"{health.version}, {health.database}, {nodes}, up {_age(health.started_at)}"
        rows.append(("state", health.status, about))
        if health.prices:
            age = _price_age(health.prices_refreshed_at, health.prices_installed_at)
            rows.append(("prices", age, health.prices))
    rows.append(("key", found.key_state, found.key or "run `paig login`"))
    rows.append(("admin token", found.token_state, found.token or "run `paig login --admin`"))
    for one in found.gateways:
        rows.append(("PAIG_HOME", one.url, f"{found.home}, process {one.pid}, up {_age(one.since)}"))
    if not found.gateways:
        rows.append(("PAIG_HOME", "no gateway runs", found.home))
    print_table(["", "", "from"], rows)
    if found.me is not None:
        print()
        print_facts({"spent today": usd(found.me.spent_today), "requests today": f"{found.me.requests_today:,}"})
        print_limits(found.me.limits)
    if found.token_state == "not sent":
        say(f"The admin token was not sent: {found.token_problem}")


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
    from paig_client.own_gateway import check
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
