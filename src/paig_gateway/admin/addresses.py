"""Which of the admin app's paths are served at the data plane's address too, where the two are apart."""

from __future__ import annotations

DISCOVERY = "/.well-known/oauth-authorization-server"
DEVICE, TOKEN, REVOKE = "/oauth/device_authorization", "/oauth/token", "/oauth/revoke"
SETTINGS = "/managed/settings"
"""What Claude Code's `/login` uses."""

_AT_BOTH = frozenset({"/healthz", "/readyz", "/me", "/admin/v1/me", DISCOVERY, DEVICE, TOKEN, REVOKE, SETTINGS})
_BELOW_AT_BOTH = ("/admin/sso/", "/me/", "/admin/v1/me/")


def is_at_both(path: str) -> bool:
    """Whether both addresses serve a path: probes, single sign-on's login, and what holders of keys read."""
    return path in _AT_BOTH or path.startswith(_BELOW_AT_BOTH)
