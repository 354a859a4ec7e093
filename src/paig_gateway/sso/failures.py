"""What goes wrong when somebody logs in."""

from __future__ import annotations


class SsoError(Exception):
    """Somebody is not logged in; the message says why, without a token or a secret."""


class ProviderAwayError(SsoError):
    """The identity provider does not answer, or not as it should."""
