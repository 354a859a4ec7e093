"""References to credentials: written in configuration and shown to people, resolved only in the gateway's memory.

An administrator who may set providers may name any secret that the gateway can read, and have it sent to an address of
the same administrator's choice. `References` therefore refuses what is the gateway's own (the home folder, `PAIG_*`,
the variables that its settings name, the keyring service `paig`, `/proc`); and the table `[security]` of the
configuration file can confine the rest. The owner alone, who can read the home folder anyway, may name a credential of
a provider that lies there beside the gateway's own files.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from paig_client.api.fields import Spec
from paig_gateway.secrets import keyring
from paig_gateway.secrets.addresses import is_metadata_host
from paig_gateway.secrets.errors import KeyringTimeoutError, SecretReferenceError
from paig_gateway.secrets.home import FROM_FILES

ReferenceScheme = Literal["env", "keyring", "file", "value"]

STORED = "value:<stored>"
"""Stands for a stored literal, where it is shown or a configuration keeps it; with a number for one of several."""

_SCHEMES: tuple[str, ...] = get_args(ReferenceScheme)
_FORMS = "env:NAME, keyring:SERVICE/USER, file:PATH or value:LITERAL"
_MAX_FILE_BYTES = 1_000_000
_OWN_FILE = re.compile(r"secret\.key|admin\.token|new-keys|tls$|listening$|paig\.db|unrecorded|set-aside|.*backup")
"""The gateway's own files in its home folder."""
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_TOKEN_ADDRESSES = ("token_uri", "token_url", "token_info_url", "service_account_impersonation_url")
"""The fields of a Google credential in JSON that name the address of a token server."""
_SOURCES = {"file", "url", "headers", "format"}
"""What a stored Google credential's `credential_source` may hold."""
_SYSTEM_FOLDERS = (Path("/proc"), Path("/sys"), Path("/dev"))


class SecuritySpec(Spec):
    """`[security]`: what administrators may name. Only the owner, who starts the gateway, sets it; needs a restart.

    A list that is left out allows everything but the gateway's own secrets.
    """

    env_prefixes: list[str] | None = None
    """Beginnings of the environment variables that `env:` may name."""
    file_folders: list[str] | None = None
    """The folders that `file:` may name files in."""
    keyring_services: list[str] | None = None
    """The services that `keyring:` may name."""
    upstream_hosts: list[str] | None = None
    """Patterns of the hosts that providers may have, such as `*.openai.com`."""
    names_by_project: bool = False
    """Whether administrators of a project must name its keys `PROJECT:…`, so that refusals disclose no other name."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The place of a credential; the target of a `value` is the secret itself."""

    scheme: ReferenceScheme
    target: str = field(repr=False)

    @property
    def is_literal(self) -> bool:
        return self.scheme == "value"

    def __str__(self) -> str:
        """As written; a literal is never shown."""
        return STORED if self.is_literal else f"{self.scheme}:{self.target}"


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Raises:
        SecretReferenceError: `malformed`; the text is not shown, because it may be the secret itself.
    """
    scheme, colon, target = text.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise SecretReferenceError("malformed", f"is not a reference: write {_FORMS}")
    if not target:
        raise SecretReferenceError("malformed", f"has nothing after '{scheme}:': write {_FORMS}")
    if scheme != "value" and re.search(r"[\x00-\x1f\x7f]", target):
        raise SecretReferenceError("malformed", f"holds a control character: write {_FORMS}")
    if scheme == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", target):
        raise SecretReferenceError("malformed", "has no environment variable's name after 'env:': write env:NAME")
    if scheme == "keyring" and not all(target.rpartition("/")):
        raise SecretReferenceError(
            "malformed", "needs a service and a user after 'keyring:': write keyring:SERVICE/USER"
        )
    return Reference(cast(ReferenceScheme, scheme), target)


def resolve(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """The secret that the owner's own settings name, without surrounding white space; nothing is refused.

    A relative `file:` path is taken from the working directory.

    Raises:
        SecretReferenceError: It cannot be read; the message says what to do.
    """
    reference = parse_reference(text)
    found = _READ[reference.scheme](reference.target, environ).strip()
    if not found:
        raise SecretReferenceError("empty", f"{reference} is empty: put the credential there")
    return found


@dataclass(frozen=True, slots=True)
class References:
    """The references that are allowed, and the places where they are looked up.

    Attributes:
        environ: The environment that `env:` looks in.
        home: The gateway's home folder.
        own: The references that the gateway's own settings name.
        allowed: The owner's allow-lists.
        of_owner: Whether the references are the owner's own, in whose home folder there may be credentials, too.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    home: Path | None = None
    own: frozenset[str] = frozenset()
    allowed: SecuritySpec = field(default_factory=SecuritySpec)
    of_owner: bool = False

    def check(self, text: str) -> Reference:
        """Read a reference and make sure that it may be resolved.

        Raises:
            SecretReferenceError: `malformed` or `forbidden`.
        """
        reference = parse_reference(text)
        if wrong := self._forbids(reference):
            raise SecretReferenceError("forbidden", wrong)
        return reference

    def resolve(self, text: str) -> str:
        """The secret that a reference names, as the function `resolve` has it.

        Raises:
            SecretReferenceError: It may not be resolved, or cannot be read; the message says what to do.
        """
        self.check(text)
        return resolve(text, self.environ)

    def check_stored(self, literal: str) -> None:
        """Make sure that a stored literal may be used: an earlier version may have accepted more.

        Raises:
            SecretReferenceError: `forbidden`.
        """
        # The owner may name more, and who gave this literal is not known.
        if wrong := replace(self, of_owner=True)._forbids_literal(literal):
            raise SecretReferenceError("forbidden", wrong)

    def check_upstream(self, url: str) -> None:
        """Make sure that a provider may be at an address.

        Raises:
            SecretReferenceError: `forbidden`.
        """
        host = (urlsplit(url).hostname or "").lower().rstrip(".")
        patterns = self.allowed.upstream_hosts
        if patterns is not None and not any(fnmatchcase(host, pattern.lower()) for pattern in patterns):
            raise SecretReferenceError(
                "forbidden", f"the host {host} is not among [security] upstream_hosts: ask the gateway's owner"
            )
        if patterns is None and is_metadata_host(host):
            raise SecretReferenceError(
                "forbidden",
                f"{host} is a link-local or metadata address: the gateway's owner can allow it in [security]"
                " upstream_hosts",
            )

    def _forbids(self, reference: Reference) -> str | None:
        if str(reference) in self.own:
            return f"{reference} holds a secret of the gateway's own settings: name another"
        match reference.scheme:
            case "env":
                return self._forbids_variable(reference.target)
            case "keyring":
                return self._forbids_service(reference.target.rpartition("/")[0])
            case "file":
                return self._forbids_file(reference.target)
            case "value":
                return self._forbids_literal(reference.target)

    def _forbids_variable(self, name: str) -> str | None:
        # On Windows names are one whatever their case.
        if name.upper().startswith("PAIG_"):
            return f"the environment variable {name} holds a secret of the gateway itself: name another"
        prefixes = self.allowed.env_prefixes
        if prefixes is not None and not any(name.startswith(prefix) for prefix in prefixes):
            return f"[security] env_prefixes does not allow the environment variable {name}: ask the gateway's owner"
        return None

    def _forbids_service(self, service: str) -> str | None:
        # Windows compares names without regard to case, and may keep an entry as USER@SERVICE.
        if service.casefold().rpartition("@")[2].strip() == keyring.SERVICE:
            return f"the keyring service {service} holds the gateway's own secrets: name another"
        services = self.allowed.keyring_services
        if services is not None and service not in services:
            return f"[security] keyring_services does not allow the service {service}: ask the gateway's owner"
        return None

    def _forbids_literal(self, literal: str) -> str | None:
        # Google's `external_account` names a file or an address; what is there is sent to an address that it names too.
        try:
            found = json.loads(literal) if literal.lstrip().startswith("{") else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        source = found.get("credential_source", {})
        if source != {} and not self.of_owner:
            return (
                "has a credential_source, which the gateway would read and send away: put the credential into a file on"
                " the gateway's machine and name file:PATH, or ask the gateway's owner"
            )
        if not isinstance(source, dict) or source.keys() - _SOURCES:
            return f"has a credential_source with more than {', '.join(sorted(_SOURCES))}: name file:PATH instead"
        urls = [found.get(name) for name in _TOKEN_ADDRESSES] + [source.get("url")]
        try:
            for url in urls:
                if url is not None:
                    self.check_upstream(str(url))
            file = source.get("file")
            return None if file is None else self._forbids_file(str(file))
        except (ValueError, SecretReferenceError) as error:
            return f"names something that the gateway must not use: {error}"

    def _forbids_file(self, target: str) -> str | None:
        if any(Path(target).is_relative_to(folder) for folder in _SYSTEM_FOLDERS):
            return _not_ours(target)  # before links are followed: those of /proc may lead out of it
        path = _real(target)
        if any(text.startswith("file:") and _real(text.removeprefix("file:")) == path for text in self.own):
            return f"the file {target} holds a secret of the gateway's own settings: name another"
        mounted = (self.environ.get(f"{variable}_FILE") for variable in FROM_FILES)
        if any(name and _real(name) == path for name in mounted):
            return _not_ours(target)
        if any(path.is_relative_to(folder) for folder in _SYSTEM_FOLDERS):
            return _not_ours(target)
        home = self.home.resolve() if self.home is not None else None
        if home is not None and path.is_relative_to(home):
            parts = path.relative_to(home).parts
            if not self.of_owner or not parts or _OWN_FILE.match(parts[0]):
                return _not_ours(target)
        folders = self.allowed.file_folders
        if folders is not None and not any(path.is_relative_to(_real(folder)) for folder in folders):
            return f"[security] file_folders does not allow the file {target}: ask the gateway's owner"
        return None


def _not_ours(target: str) -> str:
    return f"the file {target} is the gateway's own or the system's: put the credential into another folder"


def _real(target: str) -> Path:
    """The path with all links resolved.

    Raises:
        SecretReferenceError: It cannot be resolved.
    """
    try:
        return Path(target).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a null byte, an unknown ~user
        raise SecretReferenceError("unreadable", f"the path after 'file:' cannot be used: {error}") from None


def _environment(name: str, environ: Mapping[str, str]) -> str:
    found = environ.get(name)
    if found is None:
        raise SecretReferenceError(
            "missing", f"the environment variable {name} is not set where the gateway runs: set it and start again"
        )
    return found


def _keyring(target: str, environ: Mapping[str, str]) -> str:
    service, _, user = target.rpartition("/")

    def get() -> str | None:
        import keyring  # late: takes 0.1 s to import, and looks for a D-Bus session

        return keyring.get_password(service, user)

    try:
        found = keyring.keyring_call(get)
    except KeyringTimeoutError as error:
        raise SecretReferenceError("timeout", f"cannot read keyring:{target}. {error}") from None
    except Exception as error:  # keyring backends raise any kind of exception
        raise SecretReferenceError(
            "unreadable", f"cannot read keyring:{target}: the keyring failed ({type(error).__name__})"
        ) from error
    if found is None:
        raise SecretReferenceError(
            "missing", f"the keyring has no password of user {user} for service {service}: run `keyring set` to add it"
        )
    return found


def _file(target: str, environ: Mapping[str, str]) -> str:
    path = _real(target)
    try:
        # Opening a pipe would wait for a writer.
        with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | _NO_WAIT)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SecretReferenceError("unreadable", f"{target} is not a file: put the credential into one")
            found = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SecretReferenceError("missing", f"there is no file {target}: put the credential there") from None
    except OSError as error:
        raise SecretReferenceError("unreadable", f"cannot read the file {target}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretReferenceError("unreadable", f"the file {target} is not text") from None
    if len(found) > _MAX_FILE_BYTES:
        raise SecretReferenceError("unreadable", f"the file {target} is too large to be a credential")
    return found


def _literal(target: str, environ: Mapping[str, str]) -> str:
    return target


_READ: Mapping[ReferenceScheme, Callable[[str, Mapping[str, str]], str]] = {
    "env": _environment,
    "keyring": _keyring,
    "file": _file,
    "value": _literal,
}
