"""`paig login --sso`: a login at the organisation's identity provider, on any device with a browser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from paig_client.cli.output import say, when

if TYPE_CHECKING:
    from paig_client.api.resources import DeviceState

SLOWER = 5
"""Seconds added to the interval if the identity provider asks to be polled less often (RFC 8628)."""


def sign_on(root: str) -> DeviceState:
    """Wait until the person has logged in; returns an admin token, a personal key or both.

    Raises:
        CredentialError: The login code expired.
        AdminError: The gateway, or the identity provider, refused.
    """
    from paig_client.admin import AdminClient, Refused
    from paig_client.credentials import CredentialError
    from paig_client.tls import verification

    with AdminClient(root, token="", verify=verification(root)) as admin:
        begun = admin.start_login()
        say(f"Open {begun.verification_uri_complete or begun.verification_uri}")
        say(f"and confirm the code {begun.user_code}. Waiting …")
        until, interval = time.monotonic() + begun.expires_in, begun.interval
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(interval, left))
            try:
                state = admin.finish_login(begun.handle)
            except Refused as error:
                if error.problem.code != "unavailable":
                    raise
                interval += SLOWER  # the identity provider does not answer at present; the login is still valid
                continue
            if state.admin is not None:
                say(f"Logged in as {state.admin}, until {when(state.expires_at)}.")
                return state
            interval += SLOWER if state.slow_down else 0
    raise CredentialError("The login code expired. Run `paig login --sso` again.")


def end_session(root: str, token: str) -> None:
    """Revoke a token that a login by single sign-on made; others stay, because they may be in use elsewhere."""
    from paig_client.admin import AdminClient, AdminError, NotAuthorised
    from paig_client.tls import verification

    try:
        with AdminClient(root, token=token, verify=verification(root)) as admin:
            if admin.whoami().session:
                admin.logout()
    except NotAuthorised:
        return  # it has already ended
    except AdminError as error:
        say(f"The login may not be revoked ({error}): `paig tokens list` shows sessions.")


def end_personal_key(root: str) -> None:
    """End the personal key of a login by single sign-on, if one is stored."""
    from paig_client import personal_key
    from paig_client.admin import AdminError

    try:
        personal_key.end(root)
    except AdminError as error:
        say(f"Your key may not be ended ({error}); it ends by itself.")
