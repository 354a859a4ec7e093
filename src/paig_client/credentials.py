"""Finds the gateway's address and the secret for it, for every command and program.

The address: the argument, a profile named in the call, `PAIG_URL`, `PYDANTIC_AI_GATEWAY_BASE_URL` or `PAIG_BASE_URL`,
the logged-in profile, else that of `paig serve` on this machine. The secret: the argument, the environment, what
`paig login` stored for this gateway; for the admin token of a gateway on this machine also the file that it keeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from paig_client import profiles
from paig_client.addresses import DEFAULT_ROOT, PROXY, is_loopback, root
from paig_client.keychain import KeyringError

KEY_VARIABLES = ("PYDANTIC_AI_GATEWAY_API_KEY", "PAIG_API_KEY")
URL_VARIABLES = ("PAIG_URL", "PYDANTIC_AI_GATEWAY_BASE_URL", "PAIG_BASE_URL")
ADMIN_VARIABLE = "PAIG_ADMIN_TOKEN"
PROFILE_VARIABLE = "PAIG_PROFILE"
DEFAULT_PROFILE = "default"


class CredentialError(Exception):
    """There is no usable credential; the message says where it was searched and what to do."""


class AddressError(CredentialError):
    """The gateway's address is not valid."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value and its source.

    Attributes:
        value: The value.
        source: Its source, in words.
        local: Whether it is the token that the gateway of this machine keeps in the home folder.
    """

    value: str = field(repr=False)
    source: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """A gateway and the secret for it.

    Attributes:
        root: The gateway's root address, with its source.
        secret: The gateway key, or the admin token, with its source.
    """

    root: Found
    secret: Found

    @property
    def base_url(self) -> str:
        """The base of API requests: `…/proxy`."""
        return self.root.value + PROXY


def resolve(*, api_key: str | None = None, base_url: str | None = None, profile: str | None = None) -> Access:
    """The gateway and the key to use there.

    The keyring may take up to three seconds to answer: do not call this on the event loop.

    Args:
        api_key: The gateway key.
        base_url: The gateway's root address, or its `…/proxy`.
        profile: The name of a profile that `paig login --profile` made.

    Raises:
        CredentialError: There is no key, no such profile, or the address is not valid.
    """
    where = find_root(base_url, profile)
    secret = find_key(where.value, api_key, profile)
    if secret is None:
        raise CredentialError(
            f"There is no key for the gateway at {where.value}. Set {KEY_VARIABLES[0]}, or run"
            f" `paig login {where.value}`, or pass api_key=…"
        )
    return Access(where, secret)


def find_root(base_url: str | None = None, profile: str | None = None) -> Found:
    """The gateway's root address.

    Raises:
        CredentialError: There is no such profile, or the address is not valid.
    """
    if base_url:
        return _root(base_url, "argument")
    if profile is None and (found := _environment(URL_VARIABLES)):
        return _root(found.value, found.source)
    name = profile or os.environ.get(PROFILE_VARIABLE) or DEFAULT_PROFILE
    try:
        known = profiles.read().profiles
    except profiles.ProfilesError as error:
        raise CredentialError(str(error)) from error
    if name in known:
        return Found(known[name], f"profile {name}")
    if name != DEFAULT_PROFILE:
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CredentialError(f"There is no profile {name!r}.{hint} `paig login URL --profile {name}` makes one.")
    return Found(DEFAULT_ROOT, "default")


def find_key(root: str, api_key: str | None = None, profile: str | None = None) -> Found | None:
    """The key for the gateway at `root`, or None.

    Raises:
        CredentialError: The stored secrets cannot be read.
    """
    if api_key:
        return Found(api_key, "argument")
    if profile is None and (found := _environment(KEY_VARIABLES)):
        return found
    return _stored(root, "key")


def resolve_admin(*, url: str | None = None, profile: str | None = None) -> Access:
    """The gateway and the admin token to use there.

    The token comes from `PAIG_ADMIN_TOKEN` or `PAIG_ADMIN_TOKEN_FILE`, else from what `paig login --admin` stored for
    this gateway, else, for a gateway on this machine, from the file that it keeps in `PAIG_HOME`.

    Raises:
        CredentialError: There is no token, no such profile, or the address is not valid.
    """
    where = find_root(url, profile)
    secret = find_admin_token(where.value)
    if secret is None:
        raise CredentialError(
            f"There is no admin token for the gateway at {where.value}. Set {ADMIN_VARIABLE}, or run"
            f" `paig login {where.value} --admin`. A gateway that runs on this machine keeps its token in"
            f" {profiles.home() / 'admin.token'}."
        )
    return Access(where, secret)


def find_admin_token(root: str) -> Found | None:
    """The admin token for the gateway at `root`, or None.

    Raises:
        CredentialError: The stored secrets cannot be read.
    """
    if found := _environment((ADMIN_VARIABLE,)) or _in_file(ADMIN_VARIABLE):
        return found
    if found := _stored(root, "admin"):
        return found
    if not is_loopback(root):  # this machine's token is sent to no other gateway
        return None
    return replace(found, local=True) if (found := _found(profiles.local_admin_token)) else None


def _environment(names: tuple[str, ...]) -> Found | None:
    return next((Found(os.environ[name], f"environment {name}") for name in names if os.environ.get(name)), None)


def _in_file(name: str) -> Found | None:
    """The content of the file that `NAME_FILE` names, as container platforms mount secrets."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Found(Path(path).read_text("utf-8").strip(), f"the file that {name}_FILE names")
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"Cannot read the file that {name}_FILE names: {error}") from error


def _root(url: str, source: str) -> Found:
    try:
        return Found(root(url), source)
    except ValueError as error:
        raise AddressError(f"{error} ({source})") from error


def _stored(root: str, kind: profiles.SecretKind) -> Found | None:
    return _found(lambda: profiles.get(root, kind))


def _found(look: Callable[[], tuple[str, str] | None]) -> Found | None:
    try:
        found = look()
    except (profiles.ProfilesError, KeyringError) as error:
        raise CredentialError(str(error)) from error
    return Found(*found) if found else None
