"""Logins of browsers: a link that works once gives a browser two secrets, a cookie and a proof.

A cookie alone is not enough: browsers send it to every port of a host, so another user's server on this machine could
collect it. The page keeps the proof in `localStorage`, which pages of other ports cannot read; scripts cannot read the
cookie. A terminal needs both.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LINK_LIFE = timedelta(minutes=5)
"""How long a printed link works."""
IDLE_LIFE = timedelta(hours=12)
"""A login without an open terminal ends after this time."""


class LinkRefused(Exception):
    """The link does not work; the message says why, and what to do.

    Attributes:
        suspicious: Whether the link was used before.
    """

    def __init__(self, message: str, *, suspicious: bool = False) -> None:
        super().__init__(f"{message} Ask for a new one: press Enter where `paig tui --web` runs.")
        self.suspicious = suspicious


@dataclass(eq=False)
class BrowserLogin:
    """A browser that is logged in.

    Attributes:
        seen: When it last had an open terminal.
        ends: One callback for each open terminal, called when the browser is logged out.
    """

    proof: bytes = field(repr=False)
    seen: datetime
    ends: set[Callable[[], None]] = field(default_factory=set)

    def proven(self, proof: str) -> bool:
        """Whether this is the proof that was given with the cookie."""
        return hmac.compare_digest(self.proof, _digest(proof))


@dataclass(frozen=True)
class LoginSecrets:
    """The two secrets of a new login."""

    cookie: str = field(repr=False)
    proof: str = field(repr=False)


class BrowserLogins:
    """The links and the logged-in browsers; only digests of secrets are kept."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._link: tuple[bytes, datetime] | None = None
        self._past: dict[bytes, bool] = {}  # links that no longer work: whether they were used
        self._logins: dict[bytes, BrowserLogin] = {}

    def link(self) -> str:
        """The token of a new link; the one before it no longer works."""
        token = secrets.token_urlsafe(32)
        if self._link is not None:
            self._past[self._link[0]] = False
        self._link = (_digest(token), self._clock() + LINK_LIFE)
        return token

    def enter(self, token: str) -> LoginSecrets:
        """Accept the link's token, once.

        Raises:
            LinkRefused: It is not the newest link, was used, or is too old.
        """
        digest = _digest(token)
        if digest in self._past:
            if self._past[digest]:
                raise LinkRefused("This link was used already; a link works once.", suspicious=True)
            raise LinkRefused("There is a newer link than this.")
        if self._link is None or not hmac.compare_digest(self._link[0], digest):
            raise LinkRefused("This link is unknown: it may be from an earlier run, or incomplete.")
        if self._clock() >= self._link[1]:
            raise LinkRefused("This link is too old.")
        self._link = None
        self._past[digest] = True
        given = LoginSecrets(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._logins[_digest(given.cookie)] = BrowserLogin(_digest(given.proof), self._clock())
        return given

    def login(self, cookie: str | None) -> BrowserLogin | None:
        """The login of a cookie, if there is one and it is not too old."""
        found = self._logins.get(_digest(cookie)) if cookie else None
        if found is None:
            return None
        if not found.ends and self._clock() >= found.seen + IDLE_LIFE:
            self._forget(found)
            return None
        found.seen = self._clock()
        return found

    @contextmanager
    def holding(self, login: BrowserLogin, end: Callable[[], None]) -> Iterator[None]:
        """Keep a login alive while a terminal is open; `end` is called if it is logged out meanwhile."""
        login.ends.add(end)
        try:
            yield
        finally:
            login.ends.discard(end)
            login.seen = self._clock()

    def leave(self, login: BrowserLogin | None = None) -> int:
        """Log out one browser, or all; returns how many."""
        leaving = list(self._logins.values()) if login is None else [login]
        for one in leaving:
            self._forget(one)
            for end in tuple(one.ends):
                end()
        return len(leaving)

    def _forget(self, login: BrowserLogin) -> None:
        self._logins = {digest: other for digest, other in self._logins.items() if other is not login}


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
