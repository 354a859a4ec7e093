"""Completion of names by the shell, from the gateway if it answers at once.

Completion never fails: without a gateway or a token, it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

KINDS = ("keys", "projects", "users", "providers", "routes", "prices", "admins", "tokens")
GROUPS = ("day", "hour", "key", "project", "user", "model", "provider", "route", "session", "agent")
TIMEOUT_SECONDS = 1.5
"""Seconds that a shell may be kept waiting."""

Completer = Callable[[typer.Context, str], list[str]]


def names(kind: str | None = None) -> Completer:
    """Names of this kind; without one, of the kind that the command's group is named after. Tokens are known by id."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        chosen = kind or (context.parent.info_name if context.parent else None) or ""
        return _beginning(incomplete, _of_gateway(chosen, context)) if chosen in KINDS else []

    return complete


def group_names(incomplete: str) -> list[str]:
    """What `--by` takes."""
    return _beginning(incomplete, (*GROUPS, "tag:"))


def clients(incomplete: str) -> list[str]:
    """What `--for` takes."""
    from paig_client.environment import CLIENTS

    return _beginning(incomplete, CLIENTS)


def agents(incomplete: str) -> list[str]:
    """What `paig keys create --for` takes."""
    from paig_client.environment import CLIENTS

    return _beginning(incomplete, [name for name, client in CLIENTS.items() if client.agent])


def set_up(incomplete: str) -> list[str]:
    """What `paig setup` takes."""
    from paig_client.setup import SETUPS

    return _beginning(incomplete, SETUPS)


def profiles(incomplete: str) -> list[str]:
    """The profiles that are stored."""
    from paig_client import profiles as stored

    try:
        return _beginning(incomplete, stored.read().profiles)
    except stored.ProfilesError:
        return []


def _beginning(start: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(start))


def _of_gateway(kind: str, context: typer.Context) -> list[str]:
    from paig_client.admin import AdminClient, AdminError
    from paig_client.credentials import CredentialError, resolve_admin
    from paig_client.own_gateway import check
    from paig_client.tls import verification

    try:
        access = resolve_admin(url=context.params.get("url"), profile=context.params.get("profile"))
        check(access)
        root = access.root.value
        with AdminClient(root, token=access.secret.value, timeout=TIMEOUT_SECONDS, verify=verification(root)) as admin:
            return [item.id if kind == "tokens" else item.name for item in getattr(admin, kind).list()]
    except (AdminError, CredentialError):
        return []
