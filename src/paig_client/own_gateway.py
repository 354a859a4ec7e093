"""Whether the admin token may be sent: only to this person's own gateway, and beyond this machine only over TLS.

A program of another user could listen at the gateway's address, and would then get the token. So a token that was
found by itself goes to an address of this machine only if what listens there is the gateway that keeps its files in the
home folder: `paig serve` locks a file in `listening` there as long as it runs, and writes its address into it.
Where no such gateway runs, the listener must at least belong to the owner of the token's file, or to root.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from paig_client import profiles
from paig_client.addresses import from_here, is_loopback
from paig_client.credentials import Access, CredentialError

LISTENING = "listening"
"""The folder in the home folder in which each running gateway keeps a locked file with its address."""
HTTP_HOSTS = "PAIG_HTTP_HOSTS"
"""The variable that names hosts, separated by commas, to which secrets may be sent without encryption."""
_LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class UnencryptedError(CredentialError):
    """The address is beyond this machine, and not encrypted."""


class WrongListenerError(CredentialError):
    """What listens at the address is not this person's gateway."""


def check(access: Access) -> None:
    """Return if the admin token may be sent.

    A token in the environment or from `paig login` is meant for the address that it is used with; still it goes
    nowhere without encryption unless that was confirmed: by `paig login`, or in `PAIG_HTTP_HOSTS`.

    Raises:
        UnencryptedError: It would be sent without encryption beyond this machine.
        WrongListenerError: Another program listens where the gateway is expected.
    """
    root = access.root.value
    if not is_loopback(root):
        if root.startswith("http://") and not _confirmed(root):
            raise UnencryptedError(
                f"{root} is not encrypted: everyone on the way to it can read the admin token. Use https, or run"
                f" `paig login {root} --admin` to accept this, or name the host in {HTTP_HOSTS}."
            )
        return
    if access.secret.source.startswith(("environment", "argument")):
        return
    port = urlsplit(root).port or (443 if root.startswith("https://") else 80)
    addresses = running()
    if addresses and access.secret.local:
        if not any(_same(root, port, address) for address in addresses):
            raise WrongListenerError(
                f"The gateway of {profiles.home()} does not listen at {root} but at "
                f"{', '.join(map(from_here, addresses))}. Its admin token is not sent elsewhere. "
                "Use that address, or set PAIG_ADMIN_TOKEN."
            )
        return
    owner = listener_owner(urlsplit(root).hostname or "", port)
    trusted = {0, os.getuid() if os.name == "posix" else 0, *_owner_of_token()}
    if owner is not None and owner not in trusted:
        raise WrongListenerError(
            f"The program at {root} belongs to another user (uid {owner}), so the admin token is not sent to it."
            " To send a token anyway, set PAIG_ADMIN_TOKEN."
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that runs with this home folder.

    Attributes:
        url: Where its admin API listens.
        pid: Its process.
        since: When it began to listen.
    """

    url: str
    pid: int
    since: datetime


def running() -> list[str]:
    """The addresses of the gateways that run with this home folder."""
    return [one.url for one in gateways()]


def gateways() -> list[Running]:
    """The gateways that run with this home folder; none on Windows, which has no such locks."""
    if sys.platform == "win32":
        return []
    import fcntl

    found = []
    for path in sorted((profiles.home() / LISTENING).glob("*.url")):
        with open(path, encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # the gateway holds it
                since = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
                found.append(Running(file.read().strip(), int(path.stem.partition("-")[0]), since))
    return found


def listener_owner(host: str, port: int) -> int | None:
    """The user id of what listens on a port of this machine; None if nothing does, or the system does not say.

    Reads Linux' /proc/net/tcp. Where several listen on the port, the one that is not root's counts.
    """
    owners = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                owners.add(int(fields[7]))
    return max(owners, default=None)


def _same(root: str, port: int, address: str) -> bool:
    """Whether what is at `root` can only be what listens at `address`."""
    parts = urlsplit(address)
    host, own = urlsplit(root).hostname or "", parts.hostname or ""
    if parts.port != port:
        return False
    found = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    anywhere = own in ("0.0.0.0", "::")
    return (
        anywhere
        or found == {own}
        or (host == "localhost" and own in found and listener_owner(host, port) in (0, os.getuid()))
    )


def _confirmed(root: str) -> bool:
    host = urlsplit(root).hostname or ""
    named = {name.strip() for name in os.environ.get(HTTP_HOSTS, "").split(",")}
    return host in named or root in profiles.read().profiles.values()


def _owner_of_token() -> set[int]:
    try:
        return {(profiles.home() / "admin.token").stat().st_uid}
    except OSError:
        return set()
