"""The gateway as browsers see it: its origin, its cookies, and which requests come from its own pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from starlette.requests import HTTPConnection
from starlette.responses import Response

SESSION = "paig_session"
"""The cookie that holds a browser's session."""
HOLDER = "paig_key"
"""The cookie that lets the holder of a gateway key see the key's own page."""


class _Attributes(TypedDict):
    path: str
    httponly: bool
    samesite: Literal["lax", "strict"]
    secure: bool


@dataclass(frozen=True, slots=True)
class Site:
    """Where browsers find the gateway.

    Attributes:
        public_url: Its address, where that is not the one that requests name.
    """

    public_url: str | None = None

    def origin(self, connection: HTTPConnection) -> str:
        """Scheme and host, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url
        return _named(connection)

    def cookie(self, connection: HTTPConnection, name: str) -> str:
        """The value of one of our cookies; empty if there is none."""
        return connection.cookies.get(self._name(connection, name), "")

    def set_cookie(self, response: Response, connection: HTTPConnection, name: str, value: str, seconds: int) -> None:
        """Have the browser keep a cookie."""
        response.set_cookie(self._name(connection, name), value, max_age=seconds, **self._attributes(connection, name))

    def forget_cookie(self, response: Response, connection: HTTPConnection, name: str) -> None:
        response.delete_cookie(self._name(connection, name), **self._attributes(connection, name))

    def _name(self, connection: HTTPConnection, name: str) -> str:
        """The cookie's name in the browser; over HTTPS one that browsers accept from exactly this host only."""
        return f"__Host-{name}" if self._secure(connection) else name

    def _secure(self, connection: HTTPConnection) -> bool:
        return self.origin(connection).startswith("https://")

    def _attributes(self, connection: HTTPConnection, name: str) -> _Attributes:
        """What each cookie has: no script reads it, and no other site's form sends it.

        Nothing of another site's sends the session's. The login's comes back with the identity provider's redirect.
        """
        same: Literal["lax", "strict"] = "strict" if name in (SESSION, HOLDER) else "lax"
        return {"path": "/", "httponly": True, "samesite": same, "secure": self._secure(connection)}


def is_own_page(connection: HTTPConnection) -> bool:
    """Whether one of our own pages sent a request, as its browser says; other ports of the host do not count."""
    return connection.headers.getlist("sec-fetch-site") == ["same-origin"]


def is_own_form(connection: HTTPConnection, origin: str) -> bool:
    """Whether one of our own pages has sent a form.

    Browsers leave `sec-fetch-site` out where the gateway is reached without TLS by another name than localhost; the
    form's origin says it then.

    Args:
        origin: Our own.
    """
    if "sec-fetch-site" in connection.headers:
        return is_own_page(connection)
    return connection.headers.getlist("origin") == [origin]


def _named(connection: HTTPConnection) -> str:
    """The origin that a request names itself."""
    scheme = {"ws": "http", "wss": "https"}.get(connection.url.scheme, connection.url.scheme)
    return f"{scheme}://{connection.url.netloc}"
